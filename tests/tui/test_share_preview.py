"""The share dialog shows what a holder would see, and never lets a share wait for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from textual.content import Content
from textual.widgets import Input, Static

from node.control.client import ControlError
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tui.app import SafelightApp
from tui.gateway import Connection
from tui.screens.preview import PreviewDialog, PreviewPane
from tui.screens.share import ShareDialog
from tui.screens.terms import _together
from tui.widgets.grid import Grid
from tui.widgets.picture import PictureView


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Cli, Cli]]:
    """Alice, who has pictures in an album, Bob and Carol; their nodes run."""
    folder = tmp_path_factory.mktemp("three")
    e2e.picture_files(folder / "pictures", 5)
    with e2e.people(folder, "alice", "bob", "carol") as (alice, bob, carol):
        alice.do("import", str(folder / "pictures"), "--album", "Launch")
        yield alice, bob, carol


@pytest.fixture
def alice(three: tuple[Cli, Cli, Cli]) -> Cli:
    """Who shares."""
    return three[0]


class Calls:
    """What the program asks the node, as it asks: held back or refused where a test says so."""

    def __init__(self, screen: Screen) -> None:
        self.previews: list[Any] = []
        self.given_up = 0
        self.held = False
        self.refused = ""
        self._honest = screen.app.gateway._client.call
        screen.app.gateway._client.call = self._call  # type: ignore[method-assign]

    async def _call(self, method: str, params: Any = None, **options: Any) -> Any:
        if method == "preview_share":
            self.previews.append(params)
            if self.refused:
                raise ControlError(self.refused, code="broken", hint="")
            try:
                while self.held:
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.given_up += 1
                raise
        return await self._honest(method, params, **options)


async def dialog_of(screen: Screen) -> ShareDialog:
    """Open the dialog, and wait until it says what Bob would be granted."""
    await screen.settled()
    await screen.press("s")
    await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
    dialog = screen.app.screen
    assert isinstance(dialog, ShareDialog)
    await screen.until(lambda: "bob may view" in screen.words)
    return dialog


def pane(dialog: ShareDialog) -> PreviewPane:
    """Return the preview that there is at this size."""
    [one] = [one for one in dialog.query(PreviewPane) if one.display]
    return one


def drawn(dialog: ShareDialog) -> list[list[Segment]]:
    """Return what stands in the preview, colours included."""
    return [
        list(view.render_line(line))
        for view in pane(dialog).query(PictureView)
        if view.display
        for line in range(view.size.height)
    ]


async def seen(screen: Screen, dialog: ShareDialog, words: str) -> list[list[Segment]]:
    """Wait until the preview is drawn and says these words; return it."""
    await screen.until(
        lambda: (
            words in screen.words
            and all(one.drawn for one in pane(dialog).query(PictureView) if one.display)
        )
    )
    return drawn(dialog)


async def test_it_changes_with_the_person_and_the_mark_and_goes_with_the_dialog(
    alice: Cli,
) -> None:
    async with opened(alice, LARGE) as screen:
        dialog = await dialog_of(screen)
        calls = Calls(screen)
        plain = await seen(screen, dialog, "as bob sees it")
        assert not dialog.query(PictureView).last().has_focus
        await screen.press("o", "6")
        bobs = await seen(screen, dialog, "as bob sees it, and its mark closer")
        await screen.until(lambda: "watermark: subtle: bob" in screen.words)
        await screen.press("j")
        carols = await seen(screen, dialog, "as carol sees it, and its mark closer")
        assert plain != bobs != carols
        # Another duration is another share, and the same picture.
        asked = len(calls.previews)
        await screen.press("right")
        await screen.until(lambda: "[1h]" in screen.words)
        await screen.until(lambda: dialog._meaning is not None and dialog._meaning[0].duration)
        # What was shown before is shown at once, without asking.
        await screen.press("k")
        assert await seen(screen, dialog, "as bob sees it, and its mark closer") == bobs
        assert len(calls.previews) == asked
        await screen.press("6")
        assert await seen(screen, dialog, "as bob sees it ") == plain
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is not dialog)
        await screen.until(lambda: not any("sees it" in line for line in screen.lines))
        await screen.until(lambda: not dialog._looks._kept)


async def test_a_share_never_waits_for_it(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        calls = Calls(screen)
        calls.held = True
        dialog = await dialog_of(screen)
        await screen.until(lambda: calls.previews)
        await screen.until(lambda: "making what bob would see" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.until(lambda: calls.given_up == len(calls.previews))
        assert not any(one.drawn for one in dialog.query(PictureView))
        await screen.press("u")
        await screen.until(lambda: screen.status == "not shared")


async def test_what_is_not_wanted_any_more_is_given_up(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        calls = Calls(screen)
        calls.held = True
        dialog = await dialog_of(screen)
        await screen.until(lambda: len(calls.previews) == 1)
        await screen.press("j")
        await screen.until(lambda: len(calls.previews) == 2)
        await screen.until(lambda: calls.given_up == 1)
        calls.held = False
        await seen(screen, dialog, "as carol sees it")


async def test_a_refusal_is_said_and_shares_all_the_same(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        calls = Calls(screen)
        calls.refused = "this picture is broken"
        await dialog_of(screen)
        await screen.until(lambda: "no preview:" in screen.words)
        await screen.until(lambda: "is broken" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.press("u")


async def test_a_usual_terminal_has_a_small_one_beside_the_people(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        dialog = await dialog_of(screen)
        await seen(screen, dialog, "as bob sees it")
        assert "nothing can be saved" in screen.words
        assert "Enter shares" in screen.words
        await screen.press("o")
        await screen.until(lambda: "t [ ] terms of use" in screen.words)
        assert "bob may view" in screen.words
        await screen.press("o", "o", "6", "o")
        await seen(screen, dialog, "a part, as bob sees it")


async def test_a_small_terminal_shows_it_when_it_is_asked_for(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        calls = Calls(screen)
        await dialog_of(screen)
        await screen.until(lambda: "be saved." in screen.words)
        assert not calls.previews
        await screen.press("v")
        await screen.until(lambda: isinstance(screen.app.screen, PreviewDialog))
        view = screen.app.screen.query_one(PictureView)
        await screen.until(lambda: view.drawn)
        await screen.until(lambda: "as bob sees it · no watermark" in screen.words)
        await screen.press("plus")
        await screen.until(lambda: view.zoom > 1 and view.drawn)
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
        assert len(calls.previews) == 1


async def test_each_picture_of_an_album_is_shown_in_turn(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.press("a")
        await screen.until(lambda: "Launch" in screen.words)
        await screen.press("s")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
        dialog = screen.app.screen
        assert isinstance(dialog, ShareDialog)
        first = await seen(screen, dialog, "1/5 as bob sees it")
        for _ in range(9):
            if "and 2 pictures more" not in screen.words:
                await screen.press("d")
        assert "and 2 pictures more" in screen.words
        await screen.press("p")
        assert await seen(screen, dialog, "2/5 as bob sees it") != first
        for _ in range(4):
            await screen.press("p")
        assert await seen(screen, dialog, "1/5 as bob sees it") == first


async def test_nothing_of_it_is_asked_for_where_pictures_are_off(
    alice: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_PICTURES", "off")
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        calls = Calls(screen)
        await dialog_of(screen)
        await screen.press("v")
        await screen.until(lambda: "pictures are switched off here" in screen.words)
        assert not calls.previews
        assert "v see it" not in screen.words


async def test_somebody_is_found_by_a_part_of_their_name(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        dialog = await dialog_of(screen)
        await screen.press("space")
        await screen.press("slash")
        await screen.until(lambda: dialog.query_one("#find", Input).has_focus)
        await screen.type("ARO")
        await screen.until(lambda: dialog.people.total == 1)
        await screen.press("enter")
        await screen.until(lambda: dialog.people.has_focus)
        assert not screen.app.unsent.waits, "Enter in the line goes to the list"
        await screen.press("space")
        await screen.until(lambda: "bob and carol may view 1 picture" in screen.words)
        await screen.press("slash")
        await screen.type("x")
        await screen.until(lambda: dialog.people.total == 0)
        await screen.press("escape")
        await screen.until(lambda: dialog.people.total == 2)
        assert isinstance(screen.app.screen, ShareDialog)
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is not dialog)


async def test_a_lock_takes_it_from_the_screen_and_the_terminal(
    tmp_path: Path, three: tuple[Cli, Cli, Cli], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = three[0]
    sent: list[str] = []
    monkeypatch.setenv("SAFELIGHT_PICTURES", "kitty")
    monkeypatch.setattr(SafelightApp, "_to_terminal", lambda _, text: sent.append(text))

    def held() -> set[str]:
        text = "".join(sent)
        placed = re.findall(r"a=T,[^;]*?i=(\d+)", text)
        assert not re.search(r"t=[^d]", re.sub(r";[^\x1b]*", "", text))
        return set(placed) - set(re.findall(r"a=d,[^;]*?i=(\d+)", text))

    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.until(lambda: screen.page.query_one(Grid).settled)
        before = held()
        dialog = await dialog_of(screen)
        await screen.until(lambda: pane(dialog).drawn)
        assert len(held()) > len(before & held())
        await screen.press("escape")
        await screen.until(lambda: held() <= before)

        dialog = await dialog_of(screen)
        await screen.until(lambda: pane(dialog).drawn)
        alice.do("lock")
        try:
            screen.app.gateway.look_again()
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
            await screen.until(lambda: screen.app.screen is not dialog)
            await screen.until(lambda: not held())
            await screen.until(lambda: not dialog._looks._kept)
            assert "sees it" not in screen.words
        finally:
            alice.do("unlock")
    assert tmp_path.exists()


def test_people_who_are_granted_the_same_stand_in_one_sentence() -> None:
    rest = " may view 1 picture from alice"
    names = ("bob", "carol", "dan")
    made = [{"holder": name, "sentence": name + rest} for name in names]
    other = {"holder": "eve", "sentence": "eve may view and save 1 picture from alice"}
    assert _together(made[:1]) == ["bob" + rest]
    assert _together(made[:2]) == ["bob and carol" + rest]
    assert _together([*made, other]) == ["bob, carol and dan" + rest, other["sentence"]]
    assert _together([{"holder": "eve", "sentence": "odd"}]) == ["odd"]


async def test_what_stays_here_is_struck_out_and_what_leaves_is_warned_of(alice: Cli) -> None:
    def said(screen: Screen) -> tuple[str, set[str]]:
        content = screen.app.screen.query_one(".words", Static).content
        assert isinstance(content, Content)
        struck = {
            content.plain[one.start : one.end]
            for one in content.spans
            if "strike" in str(one.style)
        }
        return content.plain, struck

    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.press("s")
        await screen.until(lambda: "WHAT LEAVES" in screen.words)
        plain, struck = said(screen)
        camera = next(one for one in struck if one.startswith("camera "))
        assert f"  - {camera}" in plain
        await screen.press("o", "3")
        await screen.until(lambda: f"! {camera}" in screen.words)
        assert said(screen)[1] == set()
