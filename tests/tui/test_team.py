"""Letting people go: removing a member from the team, and what they may still hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageGrab

from node.control.schema import Join
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tests.tui.terminals import display
from tui.screens.dialog import Ask
from tui.screens.inviting import InvitationDialog, RoleDialog, join_by
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


async def test_a_code_is_shown_with_what_to_scan_wherever_it_is_whole(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await member(screen, "bob")
        await screen.press("i")
        await screen.until(lambda: isinstance(screen.app.screen, RoleDialog))
        await screen.until(lambda: "shares nothing; looks, comments, rates" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, InvitationDialog))
        code = screen.app.screen.query_one(".qr")
        await screen.until(lambda: code.region.height > 10)
        assert screen.app.size == USUAL
        assert code.region.bottom < USUAL[1]
        await screen.pilot.resize_terminal(*SMALL)
        await screen.until(lambda: "█" not in screen.text and "type this code" in screen.words)
        await screen.pilot.resize_terminal(*LARGE)
        await screen.until(lambda: "█" in screen.text)
        await screen.press("escape")
        await screen.until(lambda: "taken back" in screen.status)


async def test_two_histories_are_told_for_as_long_as_there_are_two(alice: Cli) -> None:
    """A node that tells of two: making two is tested with the administrators."""
    async with opened(alice) as screen:
        await screen.settled()
        honest = screen.app.gateway._client.call
        told = {"conflict": "two histories since version 4"}

        async def deceived(method: str, params: Any = None, **options: Any) -> Any:
            answer = await honest(method, params, **options)
            return {**answer, **told} if method == "team_show" else answer

        screen.app.gateway._client.call = deceived  # type: ignore[method-assign]
        await screen.show("Team", "5")
        await screen.until(lambda: "! two histories, R joins them" in screen.head)
        told["conflict"] = ""
        screen.app._heard({"kind": "roster_resolved"})
        await screen.until(lambda: "two histories" not in screen.head)


async def test_words_that_differ_lead_to_what_to_do(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await member(screen, "bob")
        await screen.press("w")
        await screen.until(lambda: "They differ" in screen.words)
        await screen.press("d")
        await screen.until(lambda: "Remove them, and invite bob anew" in screen.words)


async def test_who_may_not_change_the_team_is_told_so_before_any_dialog(bob: Cli) -> None:
    async with opened(bob) as screen:
        await screen.settled()
        await member(screen, "alice")
        assert "invite" not in screen.lines[-1]
        for key in ("i", "x", "r"):
            await screen.press(key)
            await screen.until(lambda: "ask alice" in screen.status)
            assert isinstance(screen.app.screen, TeamScreen)
        for key in ("J", "N"):
            await screen.press(key)
            await screen.until(lambda: "another team needs another vault" in screen.status)
            assert isinstance(screen.app.screen, TeamScreen)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("7-canyon-lava", Join(code="7-canyon-lava")),
        ("7 canyon lava", Join(code="7 canyon lava")),
        ("7-canyon-lava 192.0.2.1:74", Join(code="7-canyon-lava", at="192.0.2.1:74")),
        ("7 canyon lava r.example:74/K", Join(code="7 canyon lava", rendezvous="r.example:74/K")),
    ],
)
def test_an_address_may_stand_after_the_code(typed: str, meant: Join) -> None:
    assert join_by(typed) == meant


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
