"""How the screens are laid out from 40 × 12 to 240 × 70: even cells, nothing cut that matters."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.widgets import Button, Input

from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tui.screens.dialog import Answer, Ask, AskText, Dialog
from tui.screens.library import LibraryScreen
from tui.screens.page import Page
from tui.screens.table import KEYS
from tui.text import fit_ends
from tui.widgets.grid import SIZES, Grid, cell_of
from tui.widgets.lines import TopLine
from tui.widgets.rows import Rows

HUGE = (240, 70)
EVERY_SIZE = (SMALL, USUAL, LARGE, HUGE)
SHOWN = [("!" if key == "exclamation_mark" else key, title) for key, _, title in KEYS]


def grid_of(screen: Screen) -> Grid:
    page = screen.page
    assert isinstance(page, LibraryScreen)
    return page.grid


# Cells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("least", SIZES)
@pytest.mark.parametrize("width", [20, 39, 41, 79, 85, 119, 187, 239])
def test_cells_share_a_width_evenly(least: int, width: int) -> None:
    cell = cell_of(least, width, 40)
    beside = width // cell.columns
    assert width - beside * cell.columns < beside
    assert cell.columns >= min(least, width)
    assert cell.box.columns + cell.gutter == cell.columns


@pytest.mark.parametrize("least", SIZES)
def test_a_picture_leaves_room_for_its_text_in_a_low_terminal(least: int) -> None:
    assert cell_of(least, 39, 9).box.rows <= 7


@pytest.mark.parametrize("size", EVERY_SIZE, ids=str)
async def test_rows_of_pictures_are_centred_with_a_gap_between(
    alice: Cli, size: tuple[int, int]
) -> None:
    async with opened(alice, size) as screen:
        await screen.settled()
        grid = grid_of(screen)
        await screen.until(lambda: grid.settled)
        cell, width = grid.cell, grid.scrollable_content_region.width
        free = width - grid.columns * cell.columns
        assert free < grid.columns
        first = grid.render_line(cell.box.rows).text.replace("▌", " ")
        assert len(first) - len(first.lstrip()) <= free // 2 + cell.gutter
        assert not grid.render_line(cell.rows - 1).text.strip()


async def test_a_mark_and_the_cursor_have_signs_of_their_own(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        grid = grid_of(screen)
        await screen.press("space", "left")
        name, told = (grid.render_line(grid.cell.box.rows + line).text for line in (0, 1))
        assert name.lstrip().startswith("•")
        assert told.lstrip().startswith("▌")
        assert "◇ internal" in told


def test_a_name_is_cut_in_its_middle() -> None:
    cut = fit_ends("dunes in the evening 6.jpg", 14)
    assert cell_len(cut) == 14
    assert cut.startswith("dunes")
    assert cut.endswith("6.jpg")
    assert fit_ends("short.jpg", 14) == "short.jpg     "
    assert cell_len(fit_ends("写真写真写真写真写真.jpg", 13)) == 13


# The frame ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", EVERY_SIZE, ids=str)
async def test_every_screen_says_where_one_is_and_how_to_get_help(
    alice: Cli, size: tuple[int, int]
) -> None:
    async with opened(alice, size) as screen:
        await screen.settled()
        for key, title in SHOWN:
            await screen.show(title, key)
            await screen.settled()
            await screen.until(lambda title=title: title in screen.lines[0])  # type: ignore[misc]
            assert "? keys" in screen.lines[-1]
            assert all(cell_len(line) <= size[0] for line in screen.lines)
            if size[0] >= 80:
                assert all(f"{one} " in screen.lines[0] for one, _ in SHOWN)
            if size[0] >= 120:
                assert all(f"{one} {name}" in screen.lines[0] for one, name in SHOWN)


async def test_a_tab_is_clicked(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        at = screen.lines[0].index("5 Team")
        await screen.pilot.click(TopLine, offset=(at + 2, 0))
        await screen.until(lambda: isinstance(screen.app.screen, Page))
        await screen.until(lambda: screen.page.NAME == "Team")


async def test_an_empty_screen_says_one_sentence_in_its_middle(bob: Cli) -> None:
    async with opened(bob, USUAL) as screen:
        await screen.settled()
        await screen.until(lambda: "Press i to import" in screen.text)
        at = next(place for place, line in enumerate(screen.lines) if "Press i" in line)
        assert abs(at - USUAL[1] // 2) <= 2
        line = screen.lines[at]
        assert abs((len(line) - len(line.lstrip())) - (len(line) - len(line.rstrip()))) <= 2


# Lists --------------------------------------------------------------------------------------------


async def test_a_list_of_a_small_terminal_shows_who_and_what(alice: Cli, bob: Cli) -> None:
    image = alice.do("images")[0]
    alice.do("share", image["id"], "--to", "bob", "--for", "2h")
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        await screen.show("Shared by me", "3")
        await screen.settled()
        await screen.until(
            lambda: f"bob      {image['name'][:6]}" in screen.text and image["name"] in screen.words
        )
        await screen.until(lambda: "ends in" in screen.words)
        await screen.show("Team", "5")
        await screen.until(lambda: "2 members" in screen.lines[0])


async def test_a_list_of_a_large_terminal_uses_its_width(alice: Cli) -> None:
    async with opened(alice, HUGE) as screen:
        await screen.settled()
        await screen.show("Audit", "4")
        await screen.settled()
        rows = screen.page.query_one(Rows)
        await screen.until(lambda: "classification internal" in rows.render_line(5).text
                           or "detail" in rows.render_line(0).text)  # fmt: skip
        assert "detail" in rows.render_line(0).text


async def test_the_panel_says_who_can_open_it_until_when_and_what_it_tells(alice: Cli) -> None:
    image = alice.do("images")[0]
    alice.do("share", image["id"], "--to", "bob", "--for", "2h")
    for size in (LARGE, HUGE):
        async with opened(alice, size) as screen:
            await screen.settled()
            panel = screen.page.query_one("#panel").region
            await screen.until(lambda: "BESIDES ITS PIXELS" in screen.text)
            shown = [line[panel.x :] for line in screen.lines]
            assert any("● bob" in line and "left" in line for line in shown)
            assert any(line.strip().startswith("until ") for line in shown)
            assert any("! position" in line for line in shown)
            assert not any("…" in line for line in shown)


# Dialogs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, USUAL, HUGE], ids=str)
@pytest.mark.parametrize(
    ("screen_key", "title", "key"),
    [
        ("1", "Library", "m"),
        ("1", "Library", "a"),
        ("1", "Library", "c"),
        ("1", "Library", "i"),
        ("1", "Library", "question_mark"),
        ("1", "Library", "I"),
        ("3", "Shared by me", "x"),
        ("3", "Shared by me", "e"),
        ("4", "Audit", "enter"),
        ("4", "Audit", "t"),
        ("5", "Team", "i"),
        ("5", "Team", "w"),
    ],
)
async def test_every_dialog_says_its_keys_and_stays_on_the_screen(
    alice: Cli, size: tuple[int, int], screen_key: str, title: str, key: str
) -> None:
    if not any(one["state"] == "live" for one in alice.do("shares")):
        alice.do("share", alice.do("images")[0]["id"], "--to", "bob", "--for", "2h")
    async with opened(alice, size) as screen:
        await screen.settled()
        await screen.show(title, screen_key)
        await screen.settled()
        await screen.until(lambda: screen.page.first() is None or screen.app.focused is not None)
        await screen.press(key)
        await screen.until(lambda: isinstance(screen.app.screen, Dialog))
        box = screen.app.screen.query_one(".box")
        await screen.until(lambda: box.region.height > 2)
        await screen.until(lambda: "Esc" in screen.lines[box.region.bottom - 1])
        assert Size(*size).region.contains_region(box.region)
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, Page))


async def test_taking_back_names_person_picture_and_consequence_and_keeps_by_default(
    alice: Cli,
) -> None:
    image = alice.do("images")[0]
    alice.do("share", image["id"], "--to", "bob", "--for", "1h")
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        await screen.show("Shared by me", "3")
        await screen.settled()
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, Dialog))
        await screen.until(lambda: "Revoke bob's share of" in screen.words)
        await screen.until(lambda: "No later open will succeed" in screen.words)
        focused = screen.app.focused
        assert focused is not None
        assert focused.id == "answer-keep"
        assert focused.region.bottom < SMALL[1]


ANSWERS = (
    Answer("i", "Import pictures", "import"),
    Answer("j", "Join a team", "join"),
    Answer("l", "Look around", "look"),
)
LABELS = ("Import pictures (i)", "Join a team (j)", "Look around (l)")


@pytest.mark.parametrize("size", [SMALL, USUAL], ids=str)
async def test_a_long_question_is_read_by_keys_with_every_answer_in_sight(
    alice: Cli, size: tuple[int, int]
) -> None:
    answered: list[str | None] = []
    async with opened(alice, size) as screen:
        await screen.settled()
        asked = Ask(
            "Begin, with a heading that is longer than a line of any small terminal has room for?",
            "\n".join(f"line {number}" for number in range(40)),
            consequence="What was seen cannot be taken back.",
            answers=ANSWERS,
        )
        screen.app.push_screen(asked, answered.append)
        await screen.until(lambda: "line 0" in screen.words)
        words = asked.query_one(VerticalScroll)

        def frame() -> str:
            return screen.lines[asked.query_one(".box").region.bottom - 1]

        def in_sight() -> bool:
            return all(label in screen.words for label in LABELS) and "Begin, with" in screen.words

        await screen.until(lambda: "PgDn more" in frame() and in_sight())
        assert "taken back" not in screen.words
        for key, line in (("down", 1), ("up", 0)):
            await screen.press(key)
            await screen.until(lambda line=line: round(words.scroll_y) == line)  # type: ignore[misc]
        seen = set(screen.words.split())
        while words.scroll_y < words.max_scroll_y:
            before = words.scroll_y
            await screen.press("pagedown")
            await screen.until(lambda before=before: words.scroll_y > before)  # type: ignore[misc]
            seen |= set(screen.words.split())
        assert {str(number) for number in range(40)} <= seen
        await screen.until(lambda: "! What was seen cannot be taken back." in screen.words)
        await screen.until(lambda: "PgUp back" in frame() and in_sight())
        await screen.press("pageup")
        await screen.until(lambda: "PgDn more" in frame())
        # Reading has not moved the answer that Enter would give.
        assert screen.app.focused is asked.query_one("#answer-import", Button)
        await screen.press("tab", "enter")
        await screen.until(lambda: answered == ["join"])


async def test_a_short_question_has_nothing_more_to_read(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        asked = Ask("Begin?", "A few words.", consequence="It counts.", answers=ANSWERS)
        screen.app.push_screen(asked)
        await screen.until(lambda: "! It counts." in screen.words)
        for size in (SMALL, USUAL, SMALL):
            await screen.pilot.resize_terminal(*size)
            await screen.until(lambda: all(one in screen.words for one in LABELS))
            await screen.until(
                lambda: "Tab another" in screen.lines[asked.query_one(".box").region.bottom - 1]
            )
            rows = {button.region.y for button in asked.query(Button)}
            assert len(rows) == (3 if size == SMALL else 1)
            assert "PgDn" not in screen.words


@pytest.mark.parametrize(
    ("title", "keys", "needed"),
    [
        ("Library", ("1", "colon"), "needs a number"),
        ("Library", ("1", "e", "enter"), "needs a folder"),
        ("Shared by me", ("3", "e"), "Nothing to extend by yet"),
        ("Audit", ("4", "t"), "needs a time"),
    ],
)
async def test_an_empty_line_is_told_what_is_needed(
    alice: Cli, title: str, keys: tuple[str, ...], needed: str
) -> None:
    if not any(one["state"] == "live" for one in alice.do("shares")):
        alice.do("share", alice.do("images")[0]["id"], "--to", "bob", "--for", "2h")
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        await screen.show(title, keys[0])
        await screen.settled()
        for key in keys[1:]:
            await screen.press(key)
            await screen.until(lambda: isinstance(screen.app.screen, Dialog))
        await screen.until(lambda: isinstance(screen.app.screen, AskText))
        line = screen.app.screen.query_one(Input)
        line.value = " "
        await screen.press("enter")
        await screen.until(lambda: needed in screen.words)
        assert isinstance(screen.app.screen, AskText)
        await screen.press("x")
        await screen.until(lambda: needed not in screen.words)
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, Page))


# Resizing -----------------------------------------------------------------------------------------


async def test_the_cursor_stays_in_sight_whatever_the_size(alice: Cli) -> None:
    async with opened(alice, HUGE) as screen:
        await screen.settled()
        grid = grid_of(screen)
        await screen.press("G")
        assert grid.cursor == grid.total - 1
        for size in (SMALL, LARGE, (60, 20), USUAL, (20, 6), HUGE, SMALL):
            await screen.pilot.resize_terminal(*size)
            await screen.pilot.pause()
            first, count = grid.lines_of(grid.cursor)
            top = round(grid.scroll_y)
            assert top <= first, size
            assert first + min(count, grid.lines_seen) <= top + grid.lines_seen + 1, size


async def test_every_screen_and_a_dialog_take_every_size(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        for key, title in SHOWN:
            await screen.show(title, key)
            for size in (SMALL, HUGE, (12, 4), USUAL):
                await screen.pilot.resize_terminal(*size)
                await screen.pilot.pause()
                assert len(screen.lines) == size[1]
        await screen.press("question_mark")
        for size in (SMALL, HUGE, (12, 4), USUAL):
            await screen.pilot.resize_terminal(*size)
            await screen.pilot.pause()
        await screen.until(lambda: "Keys" in screen.text)
