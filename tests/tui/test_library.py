"""The library: pictures drawn, found, marked, shared and taken back."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tui.keymap import keymap_path
from tui.screens.dialog import Ask
from tui.screens.library import LibraryFilter, LibraryScreen
from tui.screens.metadata import MetadataDialog
from tui.screens.share import ShareDialog
from tui.screens.viewer import ViewerScreen
from tui.widgets.picture import PictureView


def library(screen: Screen) -> LibraryScreen:
    page = screen.page
    assert isinstance(page, LibraryScreen)
    return page


@pytest.mark.parametrize("size", [SMALL, USUAL, LARGE])
async def test_pictures_are_drawn_at_every_size(alice: Cli, size: tuple[int, int]) -> None:
    async with opened(alice, size) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.until(lambda: grid.settled)
        assert grid.total == 12
        assert "12 pictures" in screen.text
        assert any(glyph in screen.text for glyph in "▄▟▐▝▖▗▞")


async def test_a_key_of_ones_own_is_told_where_keys_are_told(alice: Cli) -> None:
    path = keymap_path()
    path.parent.mkdir(parents=True)
    path.write_text('[keys]\n"library.share" = "z"\n"app.keys" = "f1"\n')
    async with opened(alice) as screen:
        await screen.settled()
        assert not screen.app.problems
        footer = screen.lines[-1]
        assert "z share" in footer
        assert "F1 keys" in footer
        await screen.press("s")
        assert isinstance(screen.app.screen, LibraryScreen)
        await screen.press("z")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))


async def test_what_is_drawn_is_bounded_by_what_is_seen(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.until(lambda: grid.settled)
        seen = grid.columns * (grid.lines_seen // grid.cell.rows + 2)
        assert grid.drawn <= 3 * seen


async def test_thumbnails_come_in_three_sizes(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        grid = library(screen).grid
        for size in (1, 2, 2):
            await screen.press("plus")
            assert grid.zoom == size
            await screen.until(lambda: grid.settled)
        await screen.press("minus", "minus")
        assert grid.zoom == 0


def test_a_filter_is_read_from_words() -> None:
    assert LibraryFilter.typed("sea album:winter  status:shared sun") == LibraryFilter(
        query="sea sun", album="winter", status="shared"
    )
    assert LibraryFilter.typed("person: name:x") == LibraryFilter(query="name:x")
    assert LibraryFilter.typed("album:'winter wa").album == "'winter", "typed on: no end yet"
    assert LibraryFilter.typed("album:'winter walk' sea") == LibraryFilter(
        query="sea", album="winter walk"
    )


async def test_typing_filters_and_escape_takes_it_back(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.press("slash")
        await screen.type("wint")
        await screen.until(lambda: grid.pages.loaded and 0 < grid.total < 12)
        assert "found" in screen.text
        assert all("winter" in str(grid.pages.row(one)) for one in range(grid.total))
        await screen.press("escape")
        await screen.until(lambda: grid.total == 12)
        assert screen.app.focused is grid


async def test_a_filter_that_names_nobody_says_so(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("slash")
        await screen.type("person:nobody")
        await screen.until(lambda: "nobody" in screen.status)


async def test_a_refusal_is_read_whole_where_the_line_is_too_short_for_it(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        await screen.press("slash")
        screen.page.query_one(Input).value = "album:'no such album'"
        await screen.until(lambda: "no such album" in screen.status)
        told = [one.message for one in screen.app._notifications]
        assert any("lists what there is" in one for one in told), "a toast has room for it"


async def test_what_a_field_can_have_is_told_while_it_is_typed(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.press("slash")
        await screen.type("status:un")
        await screen.until(lambda: "status: shared, unshared" in screen.status)
        assert grid.total == 12
        await screen.type("shared")
        await screen.until(lambda: screen.status == "")
        await screen.until(lambda: "found" in screen.text)
        await screen.type(" classification:x")
        await screen.until(lambda: "classification: public, internal" in screen.status)


async def test_marks_ranges_and_all_are_counted_and_cleared(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.press("space", "space")
        assert "2 pictures marked" in screen.text
        await screen.press("V", "l", "l")
        assert len(grid.pages.marks) == 5
        await screen.press("asterisk")
        await screen.until(lambda: len(grid.pages.marks) == 12)
        await screen.press("escape")
        assert not grid.pages.marks
        assert "marked" not in screen.text


async def test_enter_looks_at_a_picture_and_n_goes_on(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ViewerScreen))
        view = screen.page.query_one(PictureView)
        await screen.until(lambda: view.drawn)
        assert "1/12" in screen.text
        await screen.press("n")
        await screen.until(lambda: "2/12" in screen.text)
        await screen.until(lambda: view.drawn)
        await screen.press("plus")
        await screen.until(lambda: view.zoom > 1 and view.drawn)
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, LibraryScreen))
        assert grid.cursor == 1, "going back finds the picture that was looked at"


async def test_two_keys_share_safely_and_u_takes_it_back_unsent(alice: Cli, bob: Cli) -> None:
    before = len(alice.do("shares"))
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("s")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
        await screen.until(lambda: "bob may view 1 picture" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "u takes it back" in screen.status)
        await screen.press("u")
        await screen.until(lambda: screen.status == "not shared")
    assert len(alice.do("shares")) == before
    assert bob.name == "bob"


async def test_what_is_taken_back_is_marked_again(
    alice: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.sending.UNDO_S", 600.0)

    async def share_marked(screen: Screen, count: int) -> None:
        await screen.press("s")
        await screen.until(lambda: isinstance(screen.app.screen, ShareDialog))
        await screen.until(lambda: f"bob may view {count} pictures" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        assert not library(screen).grid.pages.marks

    async with opened(alice) as screen:
        await screen.settled()
        pages = library(screen).grid.pages
        await screen.press("space", "space")
        marks = list(pages.marks)
        await share_marked(screen, 2)
        # Wherever one is by then.
        await screen.show("Team", "5")
        await screen.press("u")
        await screen.until(lambda: screen.status == "not shared")
        await screen.show("Library", "1")
        await screen.until(lambda: "2 pictures marked" in screen.head)
        assert list(pages.marks) == marks
        assert screen.status == "", "nothing is counted down where it began"
        # What was marked since stays so.
        await share_marked(screen, 2)
        await screen.press("space")
        await screen.until(lambda: len(pages.marks) == 1)
        since = list(pages.marks)
        await screen.press("u")
        await screen.until(lambda: list(pages.marks) == marks + since)
        # Of what another filter hides, nothing is marked.
        await share_marked(screen, 3)
        await screen.press("slash")
        await screen.type("wint")
        await screen.until(lambda: pages.loaded and 0 < pages.total < 12)
        await screen.press("enter", "u")
        await screen.until(lambda: screen.status == "not shared")
        assert not pages.marks


async def test_a_share_that_waits_is_sent_first_where_whoever_leaves_says_so(alice: Cli) -> None:
    before = {one["id"] for one in alice.do("shares")}
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("s")
        await screen.until(lambda: "bob may view 1 picture" in screen.text)
        await screen.press("right", "right")
        await screen.until(lambda: "[8h]" in screen.text)
        await screen.press("o", "1")
        await screen.until(lambda: "once, until" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.press("q")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("s")
        await screen.until(lambda: screen.app._exit)
    [made] = [one for one in alice.do("shares") if one["id"] not in before]
    assert made["holder"] == "bob"
    assert made["opens_left"] == 1


async def test_a_dialog_covers_the_pictures(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.until(lambda: grid.settled)
        await screen.press("m")
        await screen.until(lambda: isinstance(screen.app.screen, MetadataDialog))
        await screen.until(lambda: not any(glyph in screen.text for glyph in "▟▐▝▖▗▞"))
