"""Letting people go: removing a member from the team, and what they may still hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageGrab

from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui.support import LARGE, Screen, opened
from tests.tui.terminals import display
from tui.screens.dialog import Ask
from tui.screens.team import TeamScreen
from tui.screens.viewer import ViewerScreen
from tui.widgets.picture import PictureView


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Cli]]:
    """Alice, who has shared a picture with Bob; Carol stays in the team."""
    folder = tmp_path_factory.mktemp("people")
    e2e.picture_files(folder / "pictures", 2)
    with e2e.people(folder, "alice", "bob", "carol") as (alice, bob, _carol):
        alice.do("import", str(folder / "pictures"))
        image = alice.do("images")[0]["id"]
        made = alice.do("share", image, "--to", "bob", "--for", "2h", "--allow", "view,save")
        capability = made["capabilities"][0]["id"]
        bob.ready(capability)
        bob.do("open", capability)
        yield alice, bob


async def member(screen: Screen, name: str) -> TeamScreen:
    """Go to the team and put the cursor on a member."""
    page = await screen.show("Team", "5")
    assert isinstance(page, TeamScreen)
    await screen.settled()
    await screen.until(lambda: page.rows.total)
    for index in range(page.rows.total):
        if (page.rows.pages.row(index) or {}).get("name") == name:
            page.rows.move_to(index)
    await screen.until(lambda: (page.rows.current or {}).get("name") == name)
    return page


async def test_one_history_needs_no_joining(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.settled()
        await screen.press("R")
        await screen.until(lambda: screen.status)
        assert isinstance(screen.app.screen, TeamScreen)
        told = alice.run("team", "resolve")[1]["error"]["message"]
        assert told in screen.status


async def test_what_a_member_may_hold_is_told_before_they_go_and_after(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await member(screen, "bob")
        await screen.press("o")
        await screen.until(lambda: "What bob may still hold" in screen.words)
        assert "1 capability granted, 1 not over" in screen.words
        assert "may have kept: " in screen.words
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, TeamScreen))
        # Enter keeps: the safe answer has the focus.
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        assert "Remove bob from the team?" in screen.words
        assert "What they saw or saved already cannot be taken back" in screen.words
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, TeamScreen))
        assert [one["name"] for one in alice.do("team", "show")["members"]].count("bob") == 1
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("r")
        await screen.until(lambda: "What bob may still hold" in screen.words)
        await screen.press("escape")
        await screen.until(lambda: "bob is removed" in screen.status)
        await screen.until(lambda: "bob" not in "".join(screen.lines[1:-2]))
    assert [one["state"] for one in alice.do("shares")] == ["revoked"]
    assert {one["name"] for one in alice.do("team", "show")["members"]} == {"alice", "carol"}


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
async def test_o_shows_the_pixels_in_a_window_and_leaving_the_viewer_closes_it(
    alice: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tkinter")
    with display(tmp_path / "display") as name:
        monkeypatch.setenv("DISPLAY", name)

        def colours() -> int:
            seen = ImageGrab.grab(xdisplay=name).convert("RGB").getcolors(1 << 20)
            return len(seen or ())

        async with opened(alice, LARGE) as screen:
            await screen.settled()
            await screen.press("enter")
            await screen.until(lambda: isinstance(screen.app.screen, ViewerScreen))
            await screen.until(lambda: screen.page.query_one(PictureView).drawn)
            await screen.press("o")
            await screen.until(lambda: colours() > 50)
            await screen.press("escape")
            await screen.until(lambda: not isinstance(screen.app.screen, ViewerScreen))
            await screen.until(lambda: colours() < 5)


async def test_where_there_is_no_display_o_says_so(
    alice: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ViewerScreen))
        await screen.until(lambda: screen.page.query_one(PictureView).drawn)
        await screen.press("o")
        await screen.until(
            lambda: (
                "no display" in screen.status
                or any("no display" in one.message for one in screen.app._notifications)
            )
        )
