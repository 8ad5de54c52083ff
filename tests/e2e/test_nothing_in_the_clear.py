"""Nothing in the clear at rest, in memory files, arguments or logs (guarantee 1)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image

from node.control.client import ControlClient
from tests.e2e.people import Cli, people

NAME = "canaryname7f3a"
TAG = "canarytag91bc"
ALBUM = "canaryalbum5d20"
TERMS = "canaryterms44e8"
PASSPHRASE = "canarypassphrase0b6d"
PIXELS = b"canarycomment3c17"
"""Stands in a comment of the picture's file, so that any copy of its bytes holds it."""

PLACES = ("home", "tmp", "shm", "arguments", "environment", "output")


def _picture(folder: Path) -> Path:
    data = BytesIO()
    Image.effect_noise((320, 200), 40).convert("RGB").save(data, "JPEG", comment=PIXELS)
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}.jpg"
    path.write_bytes(data.getvalue())
    return path


class Search:
    """Looks for canaries everywhere a node could leave one."""

    def __init__(self, people: list[Cli], source: Path, outputs: list[bytes]) -> None:
        self._homes = [one.home for one in people]
        self._people = people
        self._source = source
        self._outputs = outputs
        # The passphrase itself must stand in the file it is read from, and the picture where
        # it is imported from: those are the person's.
        self._allowed = {one.passphrase_file for one in people} | {source}

    def hits(self, canaries: list[bytes]) -> list[tuple[str, str, bytes]]:
        """Return (kind of place, where, canary) of everything found."""
        wanted = re.compile(b"|".join(map(re.escape, canaries)))
        found = []
        for kind, where, data in self._everything():
            found += [(kind, where, hit) for hit in set(wanted.findall(data))]
        return found

    def _everything(self) -> Iterator[tuple[str, str, bytes]]:
        for home in self._homes:
            yield from self._files("home", home)
        yield from self._files("tmp", Path("/tmp"))
        yield from self._files("shm", Path("/dev/shm"))
        for pid in self._processes():
            for kind, name in (("arguments", "cmdline"), ("environment", "environ")):
                try:
                    yield kind, str(pid), (Path("/proc") / pid / name).read_bytes()
                except OSError:
                    continue
        for number, output in enumerate(self._outputs):
            yield "output", str(number), output

    def _files(self, kind: str, folder: Path) -> Iterator[tuple[str, str, bytes]]:
        for base, folders, names in os.walk(folder):
            # Other runs' files are not ours; pytest keeps those of this test below one folder.
            if kind == "tmp":
                folders[:] = [
                    one
                    for one in folders
                    if one.startswith("safelight") or self._ours(Path(base, one))
                ]
            for name in names:
                path = Path(base, name)
                if path in self._allowed or not path.is_file():
                    continue
                yield kind, f"{path} (its name)", os.fsencode(path)
                try:
                    yield kind, str(path), path.read_bytes()
                except OSError:
                    continue

    def _ours(self, folder: Path) -> bool:
        mine = self._source.parent.parent
        return folder == mine or folder in mine.parents or mine in folder.parents

    def _processes(self) -> list[str]:
        running = [one.name for one in Path("/proc").iterdir() if one.name.isdigit()]
        return [one for one in running if int(one) != os.getpid()]


def test_no_canary_is_anywhere_while_a_picture_is_shared_opened_and_revoked(
    tmp_path: Path,
) -> None:
    source = _picture(tmp_path / "source")
    outputs: list[bytes] = []
    for name in ("alice", "bob"):
        Cli(name, tmp_path, passphrase=PASSPHRASE).write_passphrase()
    with people(tmp_path, "alice", "bob") as everybody:
        alice, bob = everybody
        search = Search(everybody, source, outputs)
        canaries = [one.encode() for one in (NAME, TAG, ALBUM, TERMS, PASSPHRASE)] + [PIXELS]
        assert _found_where_planted(search, canaries, alice, tmp_path, outputs) == set(PLACES)

        def run(person: Cli, *arguments: str) -> object:
            process = person.start(*arguments)
            stdout, stderr = process.communicate(timeout=60)
            # What a command is asked to show it shows; its messages are what is searched.
            outputs.append(stderr.encode())
            assert process.returncode == 0, stdout + stderr
            return json.loads(stdout)

        capability = asyncio.run(_import_and_share(alice, source))
        bob.ready(capability)
        run(bob, "fetch", capability)
        run(bob, "open", capability)
        run(bob, "save", capability)
        assert search.hits(canaries) == []
        alice.kill()
        assert search.hits(canaries) == []
        run(alice, "images")
        run(alice, "revoke", capability, "--yes")
        assert bob.refused("open", capability) == (3, "revoked")
        run(alice, "check", "--read-data")
        assert search.hits(canaries) == []
        for one in everybody:
            run(one, "node", "stop")

        assert search.hits(canaries) == []


async def _import_and_share(alice: Cli, source: Path) -> str:
    """Import and share by the control API: what a person types stands in their own arguments."""
    async with ControlClient(alice.home) as client:
        imported = await client.call(
            "import", {"paths": [str(source.parent)], "tags": [TAG], "album": ALBUM}
        )
        shared = await client.call(
            "share",
            {
                "what": [imported["images"][0]["id"]],
                "to": ["bob"],
                "rights": ["view", "save"],
                "terms": TERMS,
            },
        )
        return str(shared["capabilities"][0]["id"])


def _found_where_planted(
    search: Search, canaries: list[bytes], alice: Cli, folder: Path, outputs: list[bytes]
) -> set[str]:
    """Plant a canary in each kind of place; return the kinds in which the search finds it."""
    planted = [
        alice.home / "planted",
        folder / "planted",
        Path("/dev/shm") / f"safelight-planted-{os.getpid()}",
    ]
    sleep = ["/bin/sleep", "60"]
    processes = [
        subprocess.Popen(sleep, env={"PLANTED": TAG}),
        subprocess.Popen([TERMS, "60"], executable="/bin/sleep"),
    ]
    outputs.append(ALBUM.encode())
    try:
        for path in planted:
            path.write_bytes(PIXELS)
        return {kind for kind, _, _ in search.hits(canaries)}
    finally:
        for path in planted:
            path.unlink(missing_ok=True)
        for process in processes:
            process.kill()
            process.wait()
        outputs.clear()
