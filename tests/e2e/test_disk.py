"""Real disks: one that fills up, and one whose raw bytes are searched after a revocation."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.people import Cli, join, picture_files

_SLOT_BYTES = 512


def _need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for tool in ("mount", "umount", "mkfs.ext4"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_is_a_clear_error_and_work_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    _need_root()
    pictures = picture_files(tmp_path / "pictures", 8, (1600, 1067))
    with _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=6m", "tmpfs") as disk:
        alice = Cli("alice", disk)
        alice.write_passphrase()
        alice.set_up()
        try:
            small = alice.do("import", str(picture_files(tmp_path / "small", 1, (200, 133))[0]))
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                try:
                    while True:
                        file.write(bytes(65536))
                        file.flush()
                except OSError:
                    pass

            code, document = alice.run("import", *map(str, pictures))

            assert code == 1
            assert "disk" in document["error"]["message"] or "space" in document["error"]["message"]
            assert [one["id"] for one in alice.do("images")] == [small["images"][0]["id"]]
            ballast.unlink()
            assert len(alice.do("import", str(pictures[0]))["images"]) == 1
            assert alice.do("audit", "verify")["ok"]
            assert alice.do("check", "--read-data")["ok"]
        finally:
            alice.run("node", "stop")


@pytest.mark.root
def test_revoking_removes_the_keyslots_bytes_from_the_raw_disk(tmp_path: Path) -> None:
    _need_root()
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with _mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        alice, carol = Cli("alice", disk), Cli("carol", tmp_path)
        try:
            alice.set_up()
            carol.set_up()
            alice.do("team", "create", "Two")
            join(alice, carol)
            before = (alice.home / "keyslots").read_bytes()
            granted = _share(alice, carol, tmp_path)
            secrets = _changed_slots(before, (alice.home / "keyslots").read_bytes())
            assert len(secrets) == 1
            assert _times_on_disk(image, secrets) >= 1

            alice.do("revoke", granted, "--yes")

            assert _times_on_disk(image, secrets) == 0
            assert carol.refused("open", granted) == (3, "revoked")
        finally:
            for one in (alice, carol):
                if one.home.exists():
                    one.run("node", "stop")


def _share(alice: Cli, carol: Cli, folder: Path) -> str:
    """Share a picture and let the holder prefetch it; return the capability's id."""
    (path,) = picture_files(folder / "pictures", 1, (200, 133))
    picture = alice.do("import", str(path))["images"][0]["id"]
    (granted,) = alice.do("share", picture, "--to", "carol")["capabilities"]
    carol.ready(granted["id"])
    carol.do("fetch", granted["id"])
    return str(granted["id"])


def _changed_slots(before: bytes, after: bytes) -> list[bytes]:
    """Return the exact bytes of the keyslots that were written in between."""
    starts = range(0, len(after), _SLOT_BYTES)
    return [
        after[start : start + _SLOT_BYTES]
        for start in starts
        if after[start : start + _SLOT_BYTES] != before[start : start + _SLOT_BYTES]
    ]


def _times_on_disk(image: Path, secrets: list[bytes]) -> int:
    """Count how often any of the secrets stands in the raw image, once all is written out."""
    os.sync()
    data = image.read_bytes()
    return sum(data.count(one) for one in secrets)
