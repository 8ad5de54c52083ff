"""What other people write, as it really reaches a terminal: every byte of every screen is read.

Once with what the commands let through into a real vault, once with a node that was deceived.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import tui
from node.imaging.made import made_pictures
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.support import ROOT
from tests.tui import deceiver
from tests.tui.payloads import PAYLOADS
from tests.tui.terminals import Terminal, environment_of, until
from tui.screens import table
from tui.screens.dialog import Dialog
from tui.screens.importing import completions
from tui.text import letters

pytestmark = pytest.mark.timeout(1_200)

HUGE = (240, 70)
HONEST = [sys.executable, "-c", "from tests.tui.deceiver import honest; honest()"]
DECEIVED = [sys.executable, "-c", "from tests.tui.deceiver import main; main()"]
PASTED = "".join(one for one in PAYLOADS if "\n" not in one and "\x1b[20" not in one)[:300]

MARKUP = " ".join(PAYLOADS[24:29])

_OWN = re.compile(
    r"\r\n|\x1b\]22;[a-z-]*\x07"
    r"|\x1b\[(?:(?!31m)[0-9;]*m|[0-9;]*H|\?25[hl]|\?2026[hl]|\?2026\$p)"
)
"""What the program writes by itself while it runs: lines, the pointer's shape, colours, the cursor,
whole frames."""


def acting(written: bytes) -> list[str]:
    """Return what a terminal would act upon, besides what the program draws with."""
    rest = _OWN.sub("", written.decode("utf-8"))
    return [
        repr(rest[max(0, place - 10) : place + 20])
        for place, letter in enumerate(rest)
        if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    ]


@pytest.mark.parametrize(
    "payload", [one for one in PAYLOADS if not one.replace("\n", " ").isprintable()]
)
def test_a_payload_that_arrives_would_be_seen(payload: str) -> None:
    """The judge of the tests below can fail."""
    assert acting(f"\x1b[1;1H\x1b[38;2;1;2;3m{payload}".encode())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Cli, str]]:
    """Alice and Bob, whose files, albums, tags, names and terms are as hostile as can be."""
    folder = tmp_path_factory.mktemp("hostile")
    pictures = folder / "pictures"
    [(_, data), (_, other)] = made_pictures(2, (320, 214))
    pictures.mkdir()
    for number, payload in enumerate((*PAYLOADS[::4], *PAYLOADS[24:29])):
        name = payload.encode().replace(b"/", b"").replace(b"\0", b"")[:200] + b".jpg"
        with suppress(OSError):
            # The bytes behind a picture's end make each a picture of its own.
            path = pictures / os.fsdecode(name)
            path.write_bytes((data if number % 2 else other) + bytes([number]))
    with e2e.people(folder, "alice", "bob") as (alice, bob):
        # What acts on a terminal is refused as a name; markup is not.
        assert alice.run("import", str(pictures), "--album", PAYLOADS[0])[0] == 2
        imported = alice.do("import", str(pictures), "--album", MARKUP, "--tag", MARKUP)
        assert len(imported["images"]) >= 12, imported["failed"]
        assert any(MARKUP in one["album"] for one in imported["images"])
        image = imported["images"][0]["id"]
        share = ("share", image, "--to", "bob", "--for", "2h", "--terms")
        assert alice.run(*share, PAYLOADS[0])[0] != 0
        capability = alice.do(*share, MARKUP)["capabilities"][0]["id"]
        bob.ready(capability)
        yield alice, bob, capability


CLASSES = {
    one.__name__: one
    for module in pkgutil.walk_packages(tui.__path__, "tui.")
    for one in vars(importlib.import_module(module.name)).values()
    if isinstance(one, type) and issubclass(one, Dialog)
}
"""Every kind of dialog that there is, by its name."""


def made_by() -> set[str]:
    """Return every place of the program that makes a dialog: the function, and which dialog."""
    found: set[str] = set()

    def look(node: ast.AST, names: tuple[str, ...]) -> None:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in CLASSES:
            assert isinstance(node.func, ast.Name)
            found.add(f"{'.'.join(names)} {node.func.id}")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = (*names, node.name)
        for child in ast.iter_child_nodes(node):
            look(child, names)

    for path in Path("tui").rglob("*.py"):
        look(ast.parse(path.read_text()), (path.stem,))
    return found


class Walk:
    """Somebody who presses keys in front of a program; every byte that it writes is judged."""

    def __init__(self, screen: Terminal, dialogs: Path) -> None:
        self.screen = screen
        self._dialogs = dialogs
        self._judged = 0
        self.shown = ""

    @property
    def dialogs(self) -> list[str]:
        """Which dialogs were made, and by whom."""
        return self._dialogs.read_text().splitlines() if self._dialogs.exists() else []

    def begin(self) -> None:
        """Judge from now on: before, the terminal is asked what it can."""
        self.screen.quiet()
        self._judged = len(self.screen.written)

    def press(self, key: str, wanted: str = "") -> None:
        """Press a key; wait until words stand on the screen, or a kind of dialog was made."""
        screen, before, made = self.screen, len(self.screen.written), len(self.dialogs)
        screen.send(key)

        def came() -> bool:
            if wanted in CLASSES:
                return any(one.endswith(f" {wanted}") for one in self.dialogs[made:])
            return wanted in screen.text_since(before)

        until(
            lambda: came() or screen.process.poll() is not None,
            lambda: (
                f"{key!r} {wanted}\n{self.dialogs[made:]}\n"
                + re.sub(r" +", " ", screen.text_since(before))[-3_000:]
            ),
            seconds=60,
        )
        # An Esc with a key close behind it is read as one key with alt.
        screen.quiet(0.6 if key == ESCAPE else 0.2)
        assert screen.process.poll() is None, screen.text_since(before)[-2_000:]
        self.judge(key)

    def judge(self, key: str) -> None:
        """Find nothing in what was written that a terminal would act upon."""
        found = acting(bytes(self.screen.written[self._judged :]))
        assert not found, (key, found[:3])
        self.shown += self.screen.text_since(self._judged)
        self._judged = len(self.screen.written)


@contextmanager
def walking(person: Cli, program: list[str], dialogs: Path, **environment: str) -> Iterator[Walk]:
    more = {
        "SAFELIGHT_HOME": str(person.home),
        "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file),
        "PYTHONPATH": str(ROOT),
        "SAFELIGHT_PICTURES": "quadrants",
        deceiver.OPENED: str(dialogs),
        **environment,
    }
    screen = Terminal(environment=environment_of(person.folder, more), size=HUGE, program=program)
    try:
        yield Walk(screen, dialogs)
    finally:
        screen.close()


ESCAPE, ENTER = "\x1b", "\r"
BACK = (ESCAPE, "")
SCREENS = tuple(
    (("!" if key == "exclamation_mark" else key), title)
    for key, _, title in (*table.KEYS[1:], table.KEYS[0])
)
WALKS = {
    "alice": (
        *SCREENS,
        *(("m", "reveals"), BACK, ("s", "Share"), BACK),
        *((ENTER, "Viewer"), BACK, ("a", ""), BACK, ("\x10", ""), BACK),
        *(("3", "Shared by me"), ("x", "Revoke"), BACK, ("e", "Extend"), ("24h\r", "")),
        *(("4", "Audit"), (ENTER, "Entry"), BACK),
        *(("5", "Team"), ("j", ""), ("w", "Words"), BACK, ("r", ""), BACK),
        *(("x", "Remove"), BACK, ("6", "Review"), ("?", "Keys"), BACK),
        *(("I", "What happened"), BACK, ("A", ""), BACK),
        *(("2", "Shared with me"), ("1", "Library")),
    ),
    "bob": (
        *SCREENS,
        *(("2", "Shared with me"), ("f", ""), (ENTER, ""), BACK, BACK),
        *(("5", "Team"), ("w", "Words"), BACK, ("1", "Library")),
    ),
}
"""Keys, and what comes of them in front of an honest node."""

DECEIVED_WALKS = {
    "alice": (
        *SCREENS,
        *(("s", "may view"), ("v", "PreviewDialog"), BACK, ("o", "")),
        *(("t", "AskText"), BACK, BACK, ("m", "MetadataDialog"), BACK),
        *(("i", "ImportDialog"), BACK, ("e", "Choose"), (ENTER, "AskText"), BACK),
        *(("c", "Choose"), BACK, ("a", "Choose"), BACK, (":", "AskText"), BACK),
        *(("?", "KeysDialog"), BACK, ("\x10", ""), BACK),
        *((ENTER, "Viewer"), ("m", "MetadataDialog"), BACK, ("s", "ShareDialog"), BACK, BACK),
        *(("3", "Shared by me"), ("x", "Ask"), BACK, ("e", "AskText"), ("24h\r", "")),
        *(("4", "Audit"), (ENTER, "EntryDialog"), BACK, ("t", "AskText"), BACK),
        *(("v", "Ask"), BACK),
        *(("5", "Team"), ("i", "RoleDialog"), (ENTER, "InvitationDialog"), BACK),
        *(("w", "IdentityDialog"), BACK, ("j", ""), ("w", "Ask"), BACK),
        *(("r", "RoleDialog"), BACK, ("x", "Ask"), BACK, ("o", "Ask"), BACK),
        *(("s", "Choose"), (ENTER, "Ask"), BACK, ("R", "Ask"), BACK),
        *(("6", "Review"), ("o", "Ask"), BACK),
        *(("I", "NoticesDialog"), BACK, ("A", "AlarmsDialog"), ("c", "Ask"), ("c", ""), BACK),
        *(("1", "Library"), ("s", "may view"), (ENTER, "takes it back")),
        *(("q", "Ask"), ("k", ""), ("L", "PhraseDialog"), ("k", "")),
        *(("L", "locked"), (ENTER, "UnlockDialog"), ("wrong\r", ""), BACK),
    ),
    "bob": (
        *SCREENS,
        *(("2", "Shared with me"), ("f", ""), (ENTER, "Choose"), (ENTER, "Viewer")),
        *((ENTER, "Ask"), ("o", "AskText"), (ENTER, "needs the phrase"), BACK),
        *(("w", "Ask"), ("s", "AskText"), BACK),
        *(BACK, ("w", "Ask"), BACK, ("1", "Library")),
    ),
}
"""Keys, and what comes of them in front of a deceived one: every dialog there is."""
AFTER_THE_FIRST_WALK = (
    *(("5", "Team"), ("N", "AskText"), BACK, ("J", "AskText"), ("7-canyon-lava\r", "Ask"), BACK),
)
"""What only somebody without a team does."""


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_nothing_that_others_wrote_reaches_the_terminal_as_more_than_letters(
    pair: tuple[Cli, Cli, str], who: str, tmp_path: Path
) -> None:
    alice, bob, capability = pair
    with walking(alice if who == "alice" else bob, HONEST, tmp_path / "dialogs") as walk:
        walk.screen.until("Library")
        walk.begin()
        bob.do("open", capability)  # A toast for Alice.
        for key, words in WALKS[who]:
            walk.press(key, words)
        walk.screen.send("q")
        assert walk.screen.ended() == 0


@pytest.fixture(scope="module")
def opened(pair: tuple[Cli, Cli, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Walk]:
    """What Alice, Bob and Dave, who is new, see of nodes that were deceived."""
    alice, bob, capability = pair
    folder = tmp_path_factory.mktemp("deceived")
    walks = {}
    for person in (alice, bob):
        with walking(person, DECEIVED, folder / person.name) as walk:
            walk.screen.until("Library")
            walk.begin()
            bob.do("open", capability)
            for key, wanted in DECEIVED_WALKS[person.name]:
                walk.press(key, wanted)
        walks[person.name] = walk
    alice.do("unlock")
    dave = Cli("dave", folder, passphrase="four words are easy")
    dave.write_passphrase()
    try:
        with walking(dave, DECEIVED, folder / "dave.dialogs") as walk:
            walk.screen.until("There is no vault here yet")
            walk.begin()
            _first_walk(walk)
        walks["dave"] = walk
    finally:
        dave.run("node", "stop")
    return walks


def _first_walk(walk: Walk) -> None:
    """Make a vault, with a name that is pasted from somewhere, and look around."""
    walk.press(ENTER, "NewVaultDialog")
    walk.press(f"\x1b[200~dave {PASTED}\x1b[201~", "dave")
    for typed in (ENTER, "four words are easy", ENTER, "four words are easy"):
        walk.press(typed)
    begun = len(walk.screen.written)
    walk.press(ENTER, "RecoveryDialog")
    words = dict(re.findall(r"(?<!\d)(\d{1,2}) ([a-z]{3,8})\b", walk.screen.text_since(begun)))
    assert len(words) == 24
    begun = len(walk.screen.written)
    walk.press(ENTER, "Type the words")
    numbers = re.search(r"Type the words ([\d, ]+)", walk.screen.text_since(begun))
    assert numbers is not None
    walk.press(" ".join(words[one] for one in numbers[1].rstrip(", ").split(", ")))
    walk.press(ENTER, "Ask")
    for key, wanted in (("l", ""), *AFTER_THE_FIRST_WALK):
        walk.press(key, wanted)


def test_every_dialog_of_a_deceived_node_is_opened(opened: dict[str, Walk]) -> None:
    made = {one for walk in opened.values() for one in walk.dialogs}
    assert made_by() - made == set(), "walk to it: see DECEIVED_WALKS"
    kinds = {name for name, one in CLASSES.items() if not one.__subclasses__()}
    assert kinds - {one.rpartition(" ")[2] for one in made} == set()


@pytest.mark.parametrize("who", ["alice", "bob", "dave"])
def test_what_a_deceived_node_says_is_shown_and_does_nothing(
    opened: dict[str, Walk], who: str
) -> None:
    shown = opened[who].shown
    # Markup is shown as it was written, and so did nothing.
    for literal in ("[bold red]markup[/]", "[@click=app.quit]press[/]", "$error"):
        assert shown.count(literal) > 2 or who == "dave", literal
    assert "evil.gpj" in shown


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_is_pasted_is_letters(payload: str) -> None:
    assert not acting(letters(payload).encode())


def test_a_file_that_a_terminal_would_act_on_is_left_to_its_folder(tmp_path: Path) -> None:
    for name in (b"harbour \x1b[2J.jpg", b"harbour \xff.jpg", b"harbour one.jpg"):
        (tmp_path / os.fsdecode(name)).touch()
    assert completions(f"{tmp_path}/h") == (f"{tmp_path}/harbour one.jpg", ["harbour one.jpg"])
