"""The real program in tmux, through a whole story, on screens of three sizes.

Alice makes a vault, founds a team, invites Bob, imports, shares, revokes and verifies with keys
alone; Bob works at another node with commands.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.people import Cli, picture_files
from tests.tui.support import LARGE, SMALL, USUAL
from tests.tui.terminals import Tmux, environment_of, tmux, until

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

PASSPHRASE = "four words are easy"


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Cli]:
    """Somebody with a node of his own, in no team yet."""
    one = Cli("bob", tmp_path)
    try:
        one.set_up()
        yield one
    finally:
        one.run("node", "stop")


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Cli]:
    """Somebody who has nothing yet: the story makes her vault."""
    one = Cli("alice", tmp_path, passphrase=PASSPHRASE)
    try:
        yield one
    finally:
        if one.home.exists():
            one.run("node", "stop")


@pytest.mark.parametrize("size", [SMALL, USUAL, LARGE], ids=["40x12", "80x24", "120x40"])
def test_from_nothing_to_a_verified_log(
    alice: Cli, bob: Cli, tmp_path: Path, size: tuple[int, int]
) -> None:
    pictures = picture_files(tmp_path / "pictures", 3)
    environment = environment_of(tmp_path, {"SAFELIGHT_HOME": str(alice.home)})
    with tmux(size, environment) as screen:
        _make_a_vault(screen)
        alice.write_passphrase()
        _import(screen, pictures[0].parent)
        _bring_in(screen, alice, bob)
        capability = _share_with_two_keys(screen, alice, bob)
        bob.ready(capability)
        assert bob.do("open", capability)["opens_left"] == 9
        _revoke(screen)
        assert bob.refused("open", capability) == (3, "revoked")
        _verify(screen)
        screen.press("q")
        screen.until("Library")
        screen.press("q")
        screen.until("it left with 0")
    assert [one["event"] for one in alice.do("audit", "log")["entries"]].count("revoked") == 1


def _make_a_vault(screen: Tmux) -> None:
    screen.until("Press Enter to make one")
    screen.press("Enter")
    screen.until("Your name, as your team")
    screen.fill("alice")
    screen.press("Enter")
    for line in (1, 2):
        _type_hidden(screen, line)
        screen.press("Enter")
    phrase = _read_phrase(screen)
    assert len(phrase) == 24
    screen.press("Enter")
    screen.until("Type the words")
    numbers = re.search(r"Type the words ([\d, ]+),", screen.words)
    assert numbers, screen.text
    screen.fill(" ".join(phrase[int(one)] for one in numbers[1].split(", ")))
    screen.press("Enter")
    screen.until("Welcome, alice")
    screen.press("i")


def _type_hidden(screen: Tmux, line: int) -> None:
    """Type the passphrase into the so-manieth hidden line, once the focus is there."""

    def arrived() -> bool:
        before = screen.text.count("•")
        screen.type(PASSPHRASE[0])
        until(lambda: screen.text.count("•") != before, lambda: screen.text, seconds=60)
        if sum("•" in one for one in screen.lines) == line:
            return True
        screen.press("BSpace")
        until(lambda: screen.text.count("•") == before, lambda: screen.text, seconds=60)
        return False

    until(arrived, lambda: screen.text, seconds=60)
    screen.type(PASSPHRASE[1:])
    until(lambda: screen.text.count("•") == line * len(PASSPHRASE), lambda: screen.text, seconds=60)


def _read_phrase(screen: Tmux) -> dict[int, str]:
    """Read the recovery phrase as a person does, scrolling where it does not fit."""
    screen.until("recovery phrase")
    found: dict[int, str] = {}
    for _ in range(30):
        found |= {
            int(n): word for n, word in re.findall(r"\b(\d{1,2}) ([a-z]{3,8})\b", screen.text)
        }
        if len(found) == 24:
            break
        screen.press("Down")
    return found


def _import(screen: Tmux, folder: Path) -> None:
    screen.until("A file or a folder")
    # Until it stands there, the line takes no letters yet.
    screen.until(f"{Path.home()}/")
    screen.empty(f"{Path.home()}/")
    screen.fill(str(folder), shown=str(folder)[-12:])
    screen.press("Enter")
    screen.until("imported 3 pictures")
    screen.until("3 pictures")


def _bring_in(screen: Tmux, alice: Cli, bob: Cli) -> None:
    screen.press("5")
    screen.until("You are in no team yet")
    screen.press("N")
    screen.until("Found a team")
    screen.fill("The Darkroom")
    screen.press("Enter")
    screen.until("● online alice")
    screen.press("i")
    screen.until("Invite somebody as")
    screen.press("Enter")
    screen.until("safelight join")
    code = re.search(r"\b\d{1,4}-[a-z]+-[a-z]+\b", screen.text)
    assert code, screen.text
    port = alice.do("node", "status")["listen"][0].rpartition(":")[2]
    joining = bob.start("join", "--at", f"127.0.0.1:{port}", stdin=subprocess.PIPE)
    told, why = joining.communicate(code[0] + "\n", timeout=120)
    assert joining.returncode == 0, why
    screen.until("Words of bob")
    assert str(told).count("words")
    screen.press("Enter")
    screen.until("● online bob")


def _share_with_two_keys(screen: Tmux, alice: Cli, bob: Cli) -> str:
    screen.press("1")
    screen.until("3 pictures")
    screen.press("s")
    screen.until("bob may view")
    screen.press("Enter")
    screen.until("sharing 1 picture")
    assert alice.do("shares") == []
    assert bob.do("inbox") == []
    # Ten seconds are enough to look around.
    screen.press("Enter")
    screen.until("Viewer")
    screen.press("q")
    for key, title in (("6", "Review"), ("!", "Doctor"), ("4", "Audit"), ("2", "Shared with me")):
        screen.press(key)
        screen.until(title)
    screen.press("1")
    screen.until("shared 1 picture with bob")
    (granted,) = alice.do("shares")
    return str(granted["id"])


def _revoke(screen: Tmux) -> None:
    screen.press("3")
    screen.until("● live bob")
    screen.press("x")
    screen.until("bob loses")
    screen.press("Enter")
    screen.gone("bob loses")
    screen.press("x")
    screen.until("bob loses")
    screen.press("r")
    screen.until("revoked 1")


def _verify(screen: Tmux) -> None:
    screen.press("4")
    screen.until("revoked")
    screen.press("v")
    screen.until("verified:")
