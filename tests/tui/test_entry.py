"""The way in: no vault, locked, no node, a node that dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from textual import events
from textual.binding import Binding
from textual.widgets import Button, Input

from tests.e2e.people import Cli, picture_files
from tests.tui.support import SMALL, USUAL, opened
from tui.app import SafelightApp
from tui.gateway import Connection
from tui.keymap import read_keymap
from tui.screens import table
from tui.screens.entry import NewVaultDialog, RecoveryDialog, UnlockDialog
from tui.screens.library import LibraryScreen


@pytest.fixture
def carol(tmp_path: Path) -> Cli:
    """Somebody with a vault of her own, whose node may die."""
    one = Cli("carol", tmp_path)
    one.set_up()
    return one


async def test_a_new_vault_is_made_in_one_walk(tmp_path: Path) -> None:
    dave = Cli("dave", tmp_path, passphrase="four words are easy")
    dave.write_passphrase()
    try:
        async with opened(dave, USUAL) as screen:
            await screen.until(lambda: screen.app.gateway.connection is Connection.NO_VAULT)
            await screen.until(lambda: "Press Enter to make one" in screen.text)
            await screen.press("enter")
            await screen.until(lambda: isinstance(screen.app.screen, NewVaultDialog), seconds=5)

            def lines() -> list[str]:
                return [one.value for one in screen.app.screen.query(Input)]

            # As a slow line brings them: all at once. None of a passphrase stands in the name.
            for key in ("d", "a", "v", "e", "enter", "f", "o", "u", "r", "enter", "f", "o", "u"):
                screen.app.post_message(events.Key(key, key if len(key) == 1 else "\r"))
            await screen.until(lambda: screen.app.screen.query_one("#again", Input).value == "fou")
            await screen.until(lambda: lines() == ["dave", "four", "fou"])
            await screen.type("r")
            await screen.press("enter")
            await screen.until(lambda: "fewer than 8 letters" in screen.text)
            assert lines() == ["dave", "", ""], "nobody adds to letters that are not seen"
            await screen.type("four words are easy")
            await screen.press("enter")
            await screen.type("other words are easy")
            await screen.press("enter")
            await screen.until(lambda: "not the same" in screen.text)
            assert lines() == ["dave", "", ""]
            await screen.type("four words are easy")
            await screen.press("enter")
            await screen.type("four words are easy")
            await screen.press("enter")
            await screen.until(lambda: isinstance(screen.app.screen, RecoveryDialog), seconds=60)
            dialog = screen.app.screen
            assert isinstance(dialog, RecoveryDialog)
            asked = list(dialog._asked)
            words = list(dialog._words)
            assert len(words) == 24
            await screen.until(lambda: all(word in screen.words for word in words))
            await screen.press("escape")
            assert screen.app.screen is dialog, "the phrase is not lost by a slip"
            # Also on a terminal that was small, and is not any more.
            await screen.pilot.resize_terminal(*SMALL)
            await screen.until(lambda: words[-1] not in screen.words)
            await screen.pilot.resize_terminal(*USUAL)
            await screen.until(lambda: all(word in screen.words for word in words))
            await screen.press("enter")
            await screen.until(lambda: "Type the words" in screen.words)
            assert words[0] not in screen.words.split()
            await screen.type("wrong wrong wrong")
            await screen.press("enter")
            await screen.until(lambda: "other words" in screen.text)
            await screen.press("tab", "enter")
            await screen.until(lambda: words[0] in screen.words.split())
            assert "other words" not in screen.text
            await screen.until(lambda: not dialog.query_one(Button).has_class("-active"))
            await screen.press("enter")
            await screen.until(lambda: "Type the words" in screen.words)
            await screen.type(" ".join(words[one] for one in asked))
            await screen.press("enter")
            await screen.until(lambda: "Welcome, dave" in screen.text, seconds=60)
            await screen.press("l")
            await screen.settled()
            assert "Press i to import" in screen.text
    finally:
        dave.run("node", "stop")


async def test_a_name_that_no_vault_takes_is_said_in_the_walk_and_nothing_typed_is_lost(
    tmp_path: Path,
) -> None:
    dave = Cli("dave", tmp_path, passphrase="four words are easy")
    async with opened(dave, USUAL) as screen:
        await screen.until(lambda: screen.app.gateway.connection is Connection.NO_VAULT)
        for key in ("i", "s", "m"):
            await screen.press(key)
        assert "node is not there" not in screen.text, "there is no node to ask for it yet"
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, NewVaultDialog))
        name, first, again = screen.app.screen.query(Input)
        name.value, first.value, again.value = "d" * 300, dave.passphrase, dave.passphrase
        await screen.press("enter", "enter", "enter")
        await screen.until(lambda: "cannot stand in a certificate" in screen.words, seconds=60)
        assert isinstance(screen.app.screen, NewVaultDialog)
        assert (name.value, first.value) == ("d" * 300, dave.passphrase)
        assert screen.app.focused is name


async def test_a_locked_vault_asks_until_the_passphrase_is_right(carol: Cli) -> None:
    carol.do("lock")
    try:
        async with opened(carol, USUAL) as screen:
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
            await screen.until(lambda: "The vault is locked" in screen.text)
            await screen.press("enter")
            await screen.until(lambda: isinstance(screen.app.screen, UnlockDialog))
            await screen.type("wrong")
            await screen.press("enter")
            await screen.until(lambda: "wrong passphrase" in screen.words)
            await screen.type(carol.passphrase)
            await screen.press("enter")
            await screen.settled()
    finally:
        carol.run("node", "stop")


async def test_a_node_that_dies_is_told_and_comes_back_with_what_was_typed(
    carol: Cli, tmp_path: Path
) -> None:
    picture_files(tmp_path / "pictures", 1)
    carol.do("import", str(tmp_path / "pictures"))
    try:
        async with opened(carol, USUAL) as screen:
            await screen.settled()
            await screen.until(lambda: "1 picture" in screen.head)
            await screen.press("slash")
            await screen.type("winter")
            os.kill(carol.pid(), signal.SIGKILL)
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOST)
            await screen.until(lambda: "node lost" in screen.head)
            carol.do("node", "start", "--listen", "127.0.0.1:0", "--no-mdns")
            await screen.settled()
            assert "winter" in screen.text
    finally:
        carol.run("node", "stop")


async def test_l_locks_and_drops_what_was_drawn(carol: Cli, tmp_path: Path) -> None:
    picture_files(tmp_path / "pictures", 3)
    carol.do("import", str(tmp_path / "pictures"))
    try:
        async with opened(carol, USUAL) as screen:
            await screen.settled()
            page = screen.page
            assert isinstance(page, LibraryScreen)
            grid = page.grid
            await screen.until(lambda: grid.settled and grid.drawn == 3)
            await screen.press("L")
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
            await screen.until(lambda: "The vault is locked" in screen.text)
            await screen.until(lambda: grid.drawn == 0)
            assert not any(glyph in screen.text for glyph in "▟▐▝▖▗▞")
    finally:
        carol.run("node", "stop")


async def test_two_programs_on_one_node_stay_in_step(carol: Cli, tmp_path: Path) -> None:
    picture_files(tmp_path / "pictures", 2)
    try:
        async with opened(carol, USUAL) as one:
            await one.settled()
            async with opened(carol, USUAL) as other:
                await other.settled()
                carol.do("import", str(tmp_path / "pictures"))
                await one.until(lambda: "2 pictures" in one.head)
                await other.until(lambda: "2 pictures" in other.head)
    finally:
        carol.run("node", "stop")


# The keymap ---------------------------------------------------------------------------------------


def test_a_keymap_is_read_and_what_is_wrong_in_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "keymap.toml"
    assert read_keymap(path, table.binding_ids) == ({}, [])
    path.write_text(
        '[keys]\n"library.share" = "S, f2"\n"no.such" = "x"\n"rows.down" = "ctrl+s"\n'
        '"rows.up" = ""\n"list.first" = 3\n'
    )
    chosen, problems = read_keymap(path, table.binding_ids)
    assert chosen == {"library.share": "S,f2"}
    assert len(problems) == 4
    path.write_text("not toml")
    assert len(read_keymap(path, table.binding_ids)[1]) == 1
    path.write_text("keys = 3")
    assert len(read_keymap(path, table.binding_ids)[1]) == 1


def test_every_binding_has_an_id_of_its_own_and_none_takes_a_terminals_key() -> None:
    from tui.keymap import NEVER

    ids = table.binding_ids()
    assert len(ids) > 40
    bound = [one for one in SafelightApp.BINDINGS if isinstance(one, Binding)]
    assert all(one.id for one in bound)
    assert not NEVER & {key for one in bound for key in one.key.split(",")}
