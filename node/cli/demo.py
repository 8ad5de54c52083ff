"""`safelight demo`: the main job, for real, on this machine.

Belongs here: the story, told with the very commands a person would type, and the
clean-up after it.
Never here: anything that a command does not do: every step is a real one.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from node.cli import output
from node.cli.common import Settings, new_command
from node.errors import NodeError

_MOST_FILES: Final = 40
"""Pictures of a folder that the demonstration imports: enough to see, soon done."""

_MADE: Final = 6


@dataclass(frozen=True, slots=True)
class _Person:
    """A team member with a home of their own."""

    name: str
    folder: Path

    @property
    def home(self) -> Path:
        """Where this person's node keeps its data."""
        return self.folder / self.name

    def run(self, *arguments: str, stdin: str | None = None) -> tuple[int, Any]:
        """Run a command as this person; return its exit code and its JSON document."""
        # The commands of the story come from this module; no secret is among them.
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            [
                *(sys.executable, "-P", "-m", "node.cli.main"),
                *("--home", str(self.home), "--json", *arguments),
            ],
            env={
                **os.environ,
                "SAFELIGHT_PASSPHRASE_FILE": str(self.folder / f"{self.name}.passphrase"),
                # Their sockets and locks go with everything else. A short name: sockets need it.
                "XDG_RUNTIME_DIR": str(self.folder / "r"),
            },
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            raise NodeError(
                f"{arguments[0]} of {self.name} ended with {done.returncode} and no document",
                hint=done.stderr.strip()[-500:],
            ) from None


class _Story:
    """Prints steps and runs them."""

    def __init__(self) -> None:
        self._act = 0

    def act(self, title: str) -> None:
        """Begin an act."""
        self._act += 1
        heading = f"{self._act}. {title}"
        output.raw("\n" + _bold(heading) + "\n")

    def say(self, text: str) -> None:
        """Print what happened."""
        output.line(f"   {text}")

    def show(self, person: _Person, command: str) -> None:
        """Print a command as a person would type it."""
        output.raw(_dim(f"   {person.name}$ safelight {command}") + "\n")

    def do(self, person: _Person, *arguments: str, shown: str | None = None) -> Any:
        """Run a command that must succeed, showing it as a person would type it."""
        self.show(person, shown or shlex.join(arguments))
        code, document = person.run(*arguments)
        if code:
            raise _failed(person, arguments, document)
        return document

    def refuse(self, person: _Person, *arguments: str, code: str, shown: str) -> None:
        """Run a command that must be refused with this code."""
        self.show(person, shown)
        exit_code, document = person.run(*arguments)
        error = document.get("error", {}) if isinstance(document, dict) else {}
        if exit_code == 0 or error.get("code") != code:
            raise NodeError(
                f"{shown} of {person.name} should be refused with {code}, but was not",
                hint=str(error.get("message", "")),
            )
        self.say(f"refused: {error['message']} (exit {exit_code}, {code})")


@new_command("demo")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.pass_obj
def command(settings: Settings, folder: Path | None) -> None:
    """Show the main job with three real nodes on this machine, then remove them.

    Example: safelight demo ~/Pictures/holiday

    Without a folder it makes some pictures. Your files are only read.
    """
    if settings.home is not None:
        raise NodeError(
            "the demonstration makes homes of its own", code="usage", hint="leave out --home"
        )
    with _stage() as stage:
        people = [_Person(name, stage) for name in ("alice", "bob", "carol")]
        try:
            _play(_Story(), people, _pictures(folder, stage))
        finally:
            for person in people:
                if person.home.exists():
                    person.run("node", "stop")
    output.line("\nNothing of this is left: the nodes are stopped and their folders removed.")
    output.line("Where to go next:")
    output.line("   safelight init --name YOU        your own identity and vault")
    output.line("   safelight team create NAME       a team; safelight team add brings people in")
    output.line("   safelight import FOLDER          your pictures, sealed")
    output.line("   safelight share --help           everything that can be granted")


def _play(story: _Story, people: list[_Person], pictures: list[Path]) -> None:
    alice, bob, carol = people
    _found_team(story, people)

    story.act("Alice imports pictures: sealed on her disk, originals never leave")
    imported = story.do(
        alice, "import", *map(str, pictures), "--album", "demo", shown="import … --album demo"
    )
    images, failed = imported["images"], imported["failed"]
    size = sum(image["bytes"] for image in images)
    skipped = f"; {len(failed)} files, damaged or of other formats, were skipped" if failed else ""
    story.say(f"{len(images)} pictures, {size / 1e6:.1f} MB{skipped}")
    first = images[0]

    story.act("Alice grants Bob two looks at one picture, for an hour")
    granted = story.do(
        alice, "share", first["id"], "--to", "bob", "--for", "1h", "--opens", "2",
        shown=f"share {shlex.quote(first['name'])} --to bob --for 1h --opens 2",
    )["capabilities"][0]  # fmt: skip
    story.say(granted["sentence"])
    held = _wait_for(bob, granted["id"])
    fetched = story.do(bob, "fetch", held["id"][:8])
    story.say(f"{fetched['fetched']} sealed picture is on Bob's disk; it stays shut")

    story.act("Bob looks: each open is counted and logged before the key is released")
    for _ in range(2):
        opened = story.do(bob, "open", held["id"][:8])
        story.say(
            f"{opened['width']}×{opened['height']} pixels, {opened['opens_left']} left; "
            f"entry {opened['log']['index']} of Alice's log, proven to Bob"
        )
    story.refuse(bob, "open", held["id"][:8], code="exhausted", shown=f"open {held['id'][:8]}")

    story.act("Alice adds one more look; Carol, a member, has no use for Bob's capability")
    story.do(alice, "extend", granted["id"][:8], "--for", "2h", "--opens", "1")
    _wait_for(bob, granted["id"], opens_left=1)
    opened = story.do(bob, "open", held["id"][:8])
    story.say(f"opened from the sealed bytes fetched before; {opened['opens_left']} left")
    story.refuse(carol, "open", held["id"][:8], code="unknown", shown=f"open {held['id'][:8]}")

    story.act("Alice shares the album with both, then takes it back")
    everyone = story.do(alice, "share", "demo", "--to", "bob,carol", "--for", "2d")
    for capability in everyone["capabilities"]:
        story.say(capability["sentence"])
    for person, capability in zip((bob, carol), everyone["capabilities"], strict=True):
        _wait_for(person, capability["id"], ready=True)
        story.do(person, "fetch", capability["id"][:8])
    mine = everyone["capabilities"][1]["id"]
    story.do(
        carol,
        "open",
        mine[:8],
        first["id"][:8],
        shown=f"open {mine[:8]} {shlex.quote(first['name'])}",
    )
    revoked = story.do(alice, "revoke", "--album", "demo", "--yes")["revoked"]
    seen = sum(one["seen_by_holder"] for one in revoked)
    story.say(f"{len(revoked)} capabilities revoked, {seen} seen by their holders already")
    story.refuse(
        carol, "open", mine[:8], first["id"][:8], code="revoked",
        shown=f"open {mine[:8]} {shlex.quote(first['name'])}",
    )  # fmt: skip

    _meet_at_a_rendezvous(story, people, first["id"])
    _prove(story, people)


def _found_team(story: _Story, people: list[_Person]) -> None:
    story.act("Three people, three machines: each an identity and an encrypted vault")
    for person in people:
        who = story.do(
            person, "init", "--name", person.name, "--recovery-out",
            str(person.folder / f"{person.name}.recovery"), shown=f"init --name {person.name}",
        )  # fmt: skip
        story.do(person, "node", "start", "--listen", "127.0.0.1:0")
        story.say("in words: " + " ".join(who["words"]))

    alice, bob, carol = people
    story.act("Alice founds a team; Bob joins by a code that she reads to him")
    story.do(alice, "team", "create", "The Darkroom", shown='team create "The Darkroom"')
    _join_by_code(story, alice, bob)

    story.act("Carol has no wire to Alice: files carry the introductions, words are compared")
    _, administrator = alice.run("identity")
    identity = str(carol.folder / "carol.identity")
    welcome = str(carol.folder / "carol.welcome")
    story.do(carol, "identity", "export", identity, shown="identity export carol.id")
    story.do(alice, "team", "add", identity, "-o", welcome,
             shown="team add carol.id -o carol.welcome")  # fmt: skip
    joined = story.do(
        carol, "join", "--file", welcome, "--expect", administrator["fingerprint"],
        shown=f"join --file carol.welcome --expect {administrator['fingerprint'][:9]}…",
    )  # fmt: skip
    story.say(f"carol is in {joined['team']}")
    for other in (bob, carol):
        path = _wait_for_peer(alice, other, "lan")
        story.say(f"{other.name} is reached by Alice: {path['why']}")


def _join_by_code(story: _Story, alice: _Person, bob: _Person) -> None:
    """Let Bob join by a code: found by multicast where this machine has it, else by address."""
    code = story.do(alice, "invite", "--no-wait", shown="invite")["code"]
    story.say(f"the code: {code}")
    story.show(bob, "join")
    story.say(f"code? {code}")
    exit_code, joined = bob.run("join", stdin=code + "\n")
    if exit_code and joined.get("error", {}).get("code") == "unreachable":
        # Containers often have no multicast. The invitation is as good as before.
        _, status = alice.run("node", "status")
        story.say("no multicast on this machine, so Bob is told where Alice's node listens")
        story.show(bob, f"join --at {status['listen'][0]}")
        exit_code, joined = bob.run("join", "--at", status["listen"][0], stdin=code + "\n")
    if exit_code:
        raise _failed(bob, ("join",), joined)
    story.say(f"bob is in {joined['team']}; both see: {' '.join(joined['words'])}")


def _meet_at_a_rendezvous(story: _Story, people: list[_Person], picture: str) -> None:
    """Share where no address leads from one to another, and to somebody who is away."""
    alice, bob, _ = people
    story.act("The direct ways are cut: every node moves, and announces nothing")
    with _rendezvous(alice.folder) as server:
        story.say("a rendezvous of the team's own runs: it passes ciphertext on, and keeps mail")
        address = server["address"]
        brief = address.partition("/")[0] + "/…"
        for person in people:
            story.do(person, "node", "stop")
            story.do(
                person, "node", "start", "--listen", f"127.0.0.1:{_free_port()}", "--no-mdns",
                "--rendezvous", address,
                shown=f"node start --no-mdns --rendezvous {brief}",
            )  # fmt: skip
        story.show(alice, f"rendezvous claim {brief}")
        exit_code, claimed = alice.run("rendezvous", "claim", address, stdin=server["claim"] + "\n")
        if exit_code:
            raise _failed(alice, ("rendezvous", "claim"), claimed)
        path = _wait_for_peer(alice, bob, "relay")
        story.say(f"bob is reached by Alice: {path['why']}")
        granted = story.do(
            alice, "share", picture, "--to", "bob", "--for", "1h",
            shown=f"share {picture[:8]} --to bob --for 1h",
        )["capabilities"][0]  # fmt: skip
        held = _wait_for(bob, granted["id"])
        opened = story.do(bob, "open", held["id"][:8])
        story.say(f"{opened['width']}×{opened['height']} pixels, through the rendezvous")

        story.act("Bob is away when Alice shares, and Alice when Bob comes back")
        story.do(bob, "node", "stop")
        granted = story.do(
            alice, "share", picture, "--to", "bob", "--for", "3h",
            shown=f"share {picture[:8]} --to bob --for 3h",
        )["capabilities"][0]  # fmt: skip
        _wait_for_mail(alice, granted["id"])
        story.do(alice, "node", "stop")
        story.do(
            bob, "node", "start", "--listen", f"127.0.0.1:{_free_port()}", "--no-mdns",
            shown="node start",
        )  # fmt: skip
        held = _wait_for(bob, granted["id"], ready=False)
        story.say(f"in Bob's inbox: {held['sentence']}")
        story.do(
            alice, "node", "start", "--listen", f"127.0.0.1:{_free_port()}", "--no-mdns",
            shown="node start",
        )  # fmt: skip
        held = _wait_for(bob, granted["id"])
        opened = story.do(bob, "open", held["id"][:8])
        story.say(f"opened now that Alice's node is there; {opened['opens_left']} left")


def _prove(story: _Story, people: list[_Person]) -> None:
    alice = people[0]
    story.act("Everything is in signed logs that prove themselves")
    for person in people:
        verified = story.do(person, "audit", "verify")
        story.say(f"{verified['size']} entries verified against the signed head")
    for entry in story.do(alice, "audit", "log")["entries"]:
        if entry["event"] in ("released", "denied", "opened", "revoked", "amended"):
            reason = entry["detail"].get("reason")
            story.say(
                f"{entry['index']:>4}  {entry['event']:<9} {entry['actor']:<6} "
                f"{entry['subject'] or ''}" + (f" ({reason})" if reason else "")
            )
    for person in people:
        health = story.do(person, "check", "--read-data")
        if not health["ok"]:
            raise NodeError(f"the vault of {person.name} is not sound")
    story.say("every sealed byte of all three vaults authenticates")


def _wait_for(
    person: _Person, capability: str, *, ready: bool = True, opens_left: int = 0
) -> dict[str, Any]:
    """Return a capability of a person's inbox once it is there and as wanted."""
    for _ in range(200):
        code, inbox = person.run("inbox")
        if code:
            raise _failed(person, ("inbox",), inbox)
        for held in inbox:
            pictures = held["images"]
            if (
                held["id"] == capability
                and held["opens_left"] >= opens_left
                and (not ready or all(picture["ready"] for picture in pictures))
            ):
                found: dict[str, Any] = held
                return found
        time.sleep(0.1)
    raise NodeError(f"the capability did not reach {person.name}", code="unreachable")


def _wait_for_peer(person: _Person, other: _Person, path: str) -> dict[str, Any]:
    """Return how a person reaches another one once it is by this path."""
    for _ in range(200):
        code, peers = person.run("peers")
        if code:
            raise _failed(person, ("peers",), peers)
        for peer in peers:
            if peer["name"] == other.name and peer["path"] == path:
                found: dict[str, Any] = peer
                return found
        time.sleep(0.1)
    raise NodeError(f"{other.name} was not reached by {person.name}", code="unreachable")


def _wait_for_mail(person: _Person, capability: str) -> None:
    """Return once a rendezvous keeps a capability for its holder."""
    for _ in range(200):
        code, shares = person.run("shares")
        if code:
            raise _failed(person, ("shares",), shares)
        if any(one["id"] == capability and one["mailed"] for one in shares):
            return
        time.sleep(0.1)
    raise NodeError("the rendezvous did not take the mail", code="unreachable")


@contextmanager
def _rendezvous(folder: Path) -> Iterator[dict[str, Any]]:
    """Run a rendezvous server of this demonstration's own; yields what it said of itself."""
    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        [
            *(sys.executable, "-P", "-m", "node.cli.main", "--json", "rendezvous", "serve"),
            *("--listen", "127.0.0.1:0", "--data", str(folder / "rendezvous")),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None, "it is a pipe"
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _failed(person: _Person, arguments: tuple[str, ...], document: Any) -> NodeError:
    error = document.get("error", {}) if isinstance(document, dict) else {}
    return NodeError(
        f"{' '.join(arguments[:2])} of {person.name} failed: {error.get('message', document)}",
        hint=str(error.get("hint", "")),
    )


@contextmanager
def _stage() -> Iterator[Path]:
    """Make a folder only this user can enter, with three passphrases; remove all of it."""
    from node.system import system_entropy

    folder = Path(tempfile.mkdtemp(prefix="safelight-"))
    try:
        for name in ("alice", "bob", "carol"):
            path = folder / f"{name}.passphrase"
            path.touch(0o600)
            path.write_text(system_entropy(16).hex() + "\n")
        (folder / "r").mkdir(0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pictures(folder: Path | None, stage: Path) -> list[Path]:
    """Return files to import: those of the folder, or made ones."""
    if folder is None:
        from node.imaging.made import made_pictures

        made = stage / "made"
        made.mkdir()
        for name, data in made_pictures(_MADE):
            (made / name).write_bytes(data)
        return sorted(made.iterdir())
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise NodeError(f"{folder} holds no files", code="usage", hint="name a folder of pictures")
    if len(found) > _MOST_FILES:
        output.line(f"the first {_MOST_FILES} of {len(found)} files")
    return [path.absolute() for path in found[:_MOST_FILES]]


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if output.colourful() else text


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m" if output.colourful() else text
