"""Nothing is lost: not when the node goes away, nor when keys come fast, nor when one leaves."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from tests.e2e.people import Cli, picture_files
from tests.tui.support import USUAL, Screen, opened
from tui.gateway import Connection
from tui.screens.dialog import Ask, AskText
from tui.screens.entry import UnlockDialog
from tui.screens.importing import ImportDialog
from tui.screens.library import LibraryScreen
from tui.screens.share import ShareDialog
from tui.screens.shares import SharesScreen

START = ("node", "start", "--listen", "127.0.0.1:0", "--no-mdns")


@pytest.fixture(autouse=True)
def _waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a share wait until the test is done with it, however slow the machine."""
    monkeypatch.setattr("tui.screens.sending.UNDO_S", 600.0)


async def lost(screen: Screen, person: Cli) -> None:
    """Kill the node of a person, and wait until the screen knows."""
    await asyncio.to_thread(person.kill)
    await screen.until(lambda: screen.app.gateway.connection is Connection.LOST)


async def back(screen: Screen, person: Cli) -> None:
    """Start the node again, and wait until the screen has it."""
    await asyncio.to_thread(person.do, *START)
    await screen.until(lambda: screen.app.gateway.connection is Connection.READY)


def burst(screen: Screen, *keys: str) -> None:
    """Press keys as a terminal sends them that were typed ahead: nothing is waited for."""
    for key in keys:
        screen.app.post_message(events.Key(key, key if len(key) == 1 else None))


def many(folder: Path, count: int) -> Path:
    """Write a folder of small pictures that all differ."""
    [one] = picture_files(folder, 1)
    data = one.read_bytes()
    for number in range(count):
        (folder / f"many-{number:03}.jpg").write_bytes(data + f"{folder.name}{number}".encode())
    one.unlink()
    return folder


async def share_dialog(screen: Screen) -> None:
    """Open the dialog for the picture under the cursor, and wait for what it would mean."""
    await screen.press("s")
    await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
    await screen.until(lambda: "bob may view 1 picture" in screen.words)


# Keys ---------------------------------------------------------------------------------------------


async def test_keys_that_come_fast_ask_once_and_reach_nothing_behind(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        burst(screen, "s", "s", "enter", "s")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
        await screen.until(lambda: "bob may view 1 picture" in screen.words)
        assert [type(one).__name__ for one in screen.app.screen_stack].count("ShareDialog") == 1
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, LibraryScreen))
        # Once it is answered, keys count again.
        await screen.press("c")
        await screen.until(lambda: "how sensitive?" in screen.text)


async def test_escape_never_ends_the_program(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, LibraryScreen))
        await screen.press("escape", "escape")
        await screen.until(lambda: screen.status == "q quits")
        assert screen.app.is_running
        assert not screen.app._exit


# Typed and chosen ---------------------------------------------------------------------------------


async def test_what_was_typed_for_an_import_stays_and_enter_starts_the_node(
    alice: Cli, tmp_path: Path
) -> None:
    folder = many(tmp_path / "typed", 1)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, ImportDialog))
        screen.app.screen.query_one("#path", Input).value = str(folder)
        screen.app.screen.query_one("#album", Input).value = "Kept"
        await lost(screen, alice)
        await screen.press("enter")
        await screen.until(lambda: "This stays" in screen.words)
        await screen.until(lambda: screen.app.gateway.connection is Connection.READY)
        assert isinstance(screen.app.screen, ImportDialog)
        assert screen.app.screen.query_one("#album", Input).value == "Kept"
        await screen.press("enter")
        await screen.until(lambda: screen.status == "imported 1 picture")
    assert alice.do("images", "--album", "Kept")


async def test_what_was_typed_into_a_question_stays(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Audit", "4")
        await screen.settled()
        await screen.press("t")
        await screen.until(lambda: isinstance(screen.app.screen, AskText))
        await screen.type("3h")
        await lost(screen, alice)
        await screen.type("x")
        await back(screen, alice)
        assert isinstance(screen.app.screen, AskText)
        assert screen.app.screen.query_one(Input).value == "3hx"
        await screen.press("enter")
        await screen.until(lambda: screen.status == "not a time: 3hx")


async def test_what_was_chosen_in_a_share_stays(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await share_dialog(screen)
        await lost(screen, alice)
        await screen.press("enter")
        await screen.until(lambda: "This stays" in screen.words)
        await screen.until(lambda: screen.app.gateway.connection is Connection.READY)
        assert isinstance(screen.app.screen, ShareDialog)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.press("u")
        await screen.until(lambda: screen.status == "not shared")


# Shares that wait ---------------------------------------------------------------------------------


async def test_a_share_that_waits_is_kept_while_there_is_no_node(
    alice: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(alice.do("shares"))
    async with opened(alice) as screen:
        await screen.settled()
        await share_dialog(screen)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await lost(screen, alice)
        await screen.until(lambda: "not shared yet" in screen.status)
        monkeypatch.setattr("tui.screens.sending.UNDO_S", 2.0)
        await back(screen, alice)
        await screen.until(lambda: not screen.app.unsent.waits)
        await screen.until(lambda: "shared 1 picture with bob" in screen.status)
    assert len(alice.do("shares")) == before + 1


async def test_leaving_asks_about_a_share_that_is_not_sent(alice: Cli) -> None:
    before = len(alice.do("shares"))
    async with opened(alice) as screen:
        await screen.settled()
        await share_dialog(screen)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.press("q")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        assert "bob may view 1 picture" in screen.words
        await screen.press("k")
        await screen.until(lambda: isinstance(screen.app.screen, LibraryScreen))
        assert screen.app.unsent.waits
        await screen.press("q")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("d")
        await screen.until(lambda: screen.app._exit)
    assert len(alice.do("shares")) == before


async def test_no_second_passes_while_whoever_leaves_is_asked(alice: Cli) -> None:
    counted: list[int] = []

    def counts() -> bool:
        found = re.search(r"sharing 1 picture in (\d+) s", screen.status)
        if found:
            counted.append(int(found[1]))
        return found is not None

    async with opened(alice) as screen:
        await screen.settled()
        await share_dialog(screen)
        await screen.press("enter")
        await screen.until(counts)
        burst(screen, "q")
        await screen.until(lambda: not counts())
        assert screen.status == "not shared yet: it waits for your answer"
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        held, since = counted[-1], time.monotonic()
        await screen.until(lambda: time.monotonic() > since + 4)
        assert isinstance(screen.app.screen, Ask)
        assert "It waits for your answer" in screen.words
        await screen.press("k")
        await screen.until(counts)
        assert held - 2 <= counted[-1] <= held
        await screen.press("u")
        await screen.until(lambda: screen.status == "not shared")


async def test_a_share_that_could_not_be_sent_keeps_the_program_open(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("space")
        await share_dialog(screen)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        assert "marked" not in screen.head
        await lost(screen, alice)
        await screen.press("q")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("s")
        await screen.until(lambda: screen.status == "not shared: the node is not there")
        assert not screen.app._exit
        await back(screen, alice)
        # Nothing was shared: what it was to be is marked again.
        await screen.until(lambda: "1 picture marked" in screen.head)


async def test_a_lock_from_elsewhere_drops_a_share_that_waits(alice: Cli) -> None:
    before = len(alice.do("shares"))
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("space")
        await share_dialog(screen)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await asyncio.to_thread(alice.do, "lock")
        try:
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
            await screen.until(lambda: "what waited is not shared" in screen.status)
            assert not screen.app.unsent.waits
        finally:
            await asyncio.to_thread(alice.do, "unlock")
        await screen.settled()
        assert "marked" not in screen.head, "nothing of it is held while it is locked"
    assert len(alice.do("shares")) == before


# Work ---------------------------------------------------------------------------------------------


async def test_an_import_is_cancelled_by_escape(alice: Cli, tmp_path: Path) -> None:
    folder = many(tmp_path / "cancelled", 400)
    async with opened(alice) as screen:
        await screen.settled()
        before = len(alice.do("images"))
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, ImportDialog))
        screen.app.screen.query_one("#path", Input).value = str(folder)
        burst(screen, "enter")
        await screen.until(lambda: "/400" in screen.status)
        await screen.press("escape")
        await screen.until(lambda: screen.status == "importing: cancelled")
        # What was typed is offered again: it did not end by itself.
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, ImportDialog))
        assert screen.app.screen.query_one("#path", Input).value == str(folder)
        await screen.press("escape")
    assert len(alice.do("images")) < before + 400


async def test_a_node_that_dies_while_it_works_is_told_and_the_work_goes_on(
    alice: Cli, tmp_path: Path
) -> None:
    folder = many(tmp_path / "killed", 400)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, ImportDialog))
        screen.app.screen.query_one("#path", Input).value = str(folder)
        screen.app.screen.query_one("#album", Input).value = "Killed"
        pid = alice.pid()
        burst(screen, "enter")
        await screen.until(lambda: "/400" in screen.status)

        os.kill(pid, signal.SIGKILL)
        await screen.until(lambda: screen.app.gateway.connection is Connection.LOST)
        await screen.until(lambda: screen.status == "the node is not there")
        # Enter starts it and, the passphrase being in a file, unlocks it.
        await screen.press("enter")
        await screen.settled()
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, ImportDialog))
        assert screen.app.screen.query_one("#album", Input).value == "Killed"
        await screen.press("enter")
        await screen.until(lambda: "imported" in screen.status, seconds=60)
    assert len(alice.do("images", "--album", "Killed")) == 400


async def test_a_node_that_dies_while_it_verifies_is_told(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Audit", "4")
        await screen.settled()
        pid = alice.pid()

        os.kill(pid, signal.SIGSTOP)
        await screen.press("v")
        await screen.until(lambda: screen.status.startswith("verifying"))
        os.kill(pid, signal.SIGKILL)
        await screen.until(lambda: screen.status == "the node is not there")
        await back(screen, alice)
        await screen.settled()
        await screen.press("v")
        await screen.until(lambda: screen.status.startswith("verified: "))


# Two at once --------------------------------------------------------------------------------------


async def test_a_share_and_a_lock_in_one_program_show_in_the_other(alice: Cli) -> None:
    async with opened(alice, USUAL) as one:
        await one.settled()
        async with opened(alice, USUAL) as other:
            await other.settled()
            page = await other.show("Shared by me", "3")
            assert isinstance(page, SharesScreen)
            await other.settled()
            before = page.rows.total
            await share_dialog(one)
            await one.press("enter")
            await one.until(lambda: one.app.unsent.waits)
            await one.app.unsent.send_now()
            await other.until(lambda: page.rows.total == before + 1)
            # Taken back in the other, it is over in the first.
            await other.press("x")
            await other.until(lambda: isinstance(other.app.screen, Ask))
            await other.press("r")
            await other.until(lambda: "revoked 1" in other.status)
            await one.until(lambda: "0 live" not in one.text)
            await one.press("L")
            await one.until(lambda: one.app.gateway.connection is Connection.LOCKED)
            await other.until(lambda: other.app.gateway.connection is Connection.LOCKED)
            await other.until(lambda: "The vault is locked" in other.words)
            assert page.rows.total == 0
            # Unlocked in one, the other asks no more.
            await other.press("enter")
            await other.until(lambda: isinstance(other.app.screen, UnlockDialog))
            await one.press("enter")
            await one.until(lambda: isinstance(one.app.screen, UnlockDialog))
            await one.type(alice.passphrase)
            await one.press("enter")
            await one.settled()
            await other.settled()
            assert not isinstance(other.app.screen, UnlockDialog)


# Exporting ----------------------------------------------------------------------------------------


async def test_marked_pictures_are_written_as_files(alice: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("space", "right", "space", "e")
        await screen.until(lambda: "Export 2 pictures" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, AskText))
        screen.app.screen.query_one(Input).value = str(out)
        await screen.press("enter")
        await screen.until(lambda: "wrote 2 files" in screen.status)
    assert len(list(out.iterdir())) == 2
    assert alice.events("exported")
