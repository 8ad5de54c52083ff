"""What other people write, as it really reaches a terminal: every byte of every screen is read.

Once with what the commands let through into a real vault, once with a node that was deceived.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

import pytest

from node.imaging.made import made_pictures
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.support import ROOT
from tests.tui.payloads import PAYLOADS
from tests.tui.terminals import PROGRAM, Terminal, environment_of
from tui.screens import table

HUGE = (240, 70)
DECEIVED = [sys.executable, "-c", "from tests.tui.deceiver import main; main()"]

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


def _start(person: Cli, program: list[str]) -> Terminal:
    more = {
        "SAFELIGHT_HOME": str(person.home),
        "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file),
        "PYTHONPATH": str(ROOT),
        "SAFELIGHT_PICTURES": "quadrants",
    }
    return Terminal(environment=environment_of(person.folder, more), size=HUGE, program=program)


SCREENS = tuple(
    (("!" if key == "exclamation_mark" else key), title)
    for key, _, title in (*table.KEYS[1:], table.KEYS[0])
)
WALKS = {
    "alice": (
        *SCREENS,
        *(("m", "reveals"), ("\x1b", ""), ("s", "Share"), ("\x1b", "")),
        *(("\r", "Viewer"), ("\x1b", ""), ("a", ""), ("\x1b", ""), ("\x10", ""), ("\x1b", "")),
        *(("3", "Shared by me"), ("x", "Revoke"), ("\x1b", ""), ("e", "Extend"), ("24h\r", "")),
        *(("4", "Audit"), ("\r", "Entry"), ("\x1b", "")),
        *(("5", "Team"), ("j", ""), ("w", "Words"), ("\x1b", ""), ("r", ""), ("\x1b", "")),
        *(("x", "Remove"), ("\x1b", ""), ("6", "Review"), ("?", "Keys"), ("\x1b", "")),
        *(("I", "What happened"), ("\x1b", ""), ("A", ""), ("\x1b", "")),
        *(("2", "Shared with me"), ("1", "Library")),
    ),
    "bob": (
        *SCREENS,
        *(("2", "Shared with me"), ("f", ""), ("\r", ""), ("\x1b", ""), ("\x1b", "")),
        *(("5", "Team"), ("w", "Words"), ("\x1b", ""), ("1", "Library")),
    ),
}
"""Keys, and words that stand on the screen after them."""


@pytest.mark.parametrize("program", [PROGRAM, DECEIVED], ids=["real", "deceived"])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_nothing_that_others_wrote_reaches_the_terminal_as_more_than_letters(
    pair: tuple[Cli, Cli, str], who: str, program: list[str]
) -> None:
    alice, bob, capability = pair
    person = alice if who == "alice" else bob
    screen = _start(person, program)
    try:
        screen.until("Library")
        screen.quiet()
        begun = len(screen.written)
        bob.do("open", capability)  # A toast for Alice.
        for key, words in WALKS[who]:
            before = len(screen.text)
            screen.send(key)
            if words:
                e2e_until(screen, words, before)
            # An Esc with a key close behind it is read as one key with alt.
            screen.quiet(0.6 if key == "\x1b" else 0.15)
            assert screen.process.poll() is None, screen.text[-2_000:]
            found = acting(screen.written[begun:])
            assert not found, (key, found[:3])
        shown = screen.text
        if program is DECEIVED:
            # Markup is shown as it was written, and so did nothing.
            for literal in ("[bold red]markup[/]", "[@click=app.quit]press[/]", "$error"):
                assert shown.count(literal) > 2, literal
            assert "evil.gpj" in shown
        screen.send("q")
        assert screen.ended() == 0
    finally:
        screen.close()


def e2e_until(screen: Terminal, words: str, since: int) -> None:
    """Wait until words were written after a place of the text."""
    from tests.tui.terminals import until

    until(
        lambda: words in screen.text[since:] or screen.process.poll() is not None,
        lambda: f"{words}\n" + re.sub(r" +", " ", screen.text[since:])[-3_000:],
        seconds=60,
    )
