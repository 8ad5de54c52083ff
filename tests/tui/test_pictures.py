"""Pictures on every kind of terminal: the ladder, what is sent, and what is taken back."""

from __future__ import annotations

import fcntl
import io
import math
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from node.cli.picture import Blocks, Depth, cells
from node.imaging.made import made_pictures
from tests.e2e.people import Cli
from tests.tui.support import LARGE, opened
from tests.tui.terminals import environment_of, terminal, until
from tui.pictures import kitty
from tui.pictures.painter import Painter
from tui.pictures.strips import Box, Lines, decoded, pixel_strips
from tui.pictures.terminal import (
    SETTING,
    USUAL_CELL,
    Pictures,
    ask_name,
    cell_size,
    depth_of,
    has_true_colours,
    is_known,
    patience_with,
    pictures_of,
)
from tui.screens.doctor import terminal_checks
from tui.screens.library import LibraryScreen
from tui.screens.viewer import ViewerScreen

TRUE = {"COLORTERM": "truecolor"}


# Which way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "answered", "found"),
    [
        ({"TERM": "xterm-256color"}, "", Pictures.QUADRANTS),
        ({"TERM": "xterm-256color"}, "XTerm(390)", Pictures.QUADRANTS),
        ({"TERM": "xterm-kitty", **TRUE}, "kitty(0.38.1)", Pictures.KITTY),
        ({"TERM": "xterm-kitty", **TRUE}, "kitty(0.28.0)", Pictures.KITTY),
        ({"TERM": "xterm-kitty", **TRUE}, "kitty(1.0.0)", Pictures.KITTY),
        ({"TERM": "xterm-ghostty", **TRUE}, "ghostty 1.1.0", Pictures.KITTY),
        ({"TERM": "xterm-256color", **TRUE}, "kitty(0.35.2)", Pictures.KITTY),
        ({"TERM": "xterm-256color", **TRUE}, "ghostty 1.1.0", Pictures.KITTY),
        # Before 0.28.0 kitty showed the placeholders as letters.
        ({"TERM": "xterm-kitty", **TRUE}, "kitty(0.27.1)", Pictures.SEXTANTS),
        ({"TERM": "xterm-256color", **TRUE}, "kitty(0.26.5)", Pictures.SEXTANTS),
        ({"TERM": "xterm-kitty", **TRUE}, "kitty", Pictures.SEXTANTS),
        # Who does not answer may be old, or behind something that takes pixels away.
        ({"TERM": "xterm-kitty", **TRUE}, "", Pictures.SEXTANTS),
        ({"TERM": "xterm-ghostty", **TRUE}, "", Pictures.SEXTANTS),
        # A terminal that was begun from another inherits its environment.
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "XTerm(390)", Pictures.QUADRANTS),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "XTerm(390)", Pictures.QUADRANTS),
        ({"TERM": "xterm-kitty", "TERM_PROGRAM": "WezTerm"}, "kitty(0.38.1)", Pictures.KITTY),
        # Over SSH nothing tells of colours, but what answers this has them all.
        ({"TERM": "xterm-kitty"}, "kitty(0.38.1)", Pictures.KITTY),
        # Pixels have all colours: where fewer are wanted they are not drawn.
        ({"TERM": "xterm-kitty", "NO_COLOR": "1", **TRUE}, "kitty(0.38.1)", Pictures.SEXTANTS),
        (
            {"TERM": "xterm-kitty", "SAFELIGHT_COLOURS": "256", **TRUE},
            "kitty(0.38.1)",
            Pictures.SEXTANTS,
        ),
        ({"TERM": "foot"}, "", Pictures.SEXTANTS),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, "", Pictures.SEXTANTS),
        ({"TERM": "xterm-256color", "VTE_VERSION": "5202"}, "", Pictures.QUADRANTS),
        ({"TERM": "xterm-256color"}, "WezTerm 20240203", Pictures.SEXTANTS),
        # A multiplexer draws what it knows, whatever terminal it was begun in.
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, "", Pictures.QUADRANTS),
        ({"TERM": "linux"}, "", Pictures.HALVES),
        ({"TERM": "dumb"}, "", Pictures.OFF),
        # A setting wins over all of it.
        ({"TERM": "xterm-kitty", "SAFELIGHT_PICTURES": "off"}, "kitty", Pictures.OFF),
        ({"TERM": "tmux", "TMUX": "x", "SAFELIGHT_PICTURES": "kitty"}, "", Pictures.KITTY),
        ({"TERM": "linux", "SAFELIGHT_PICTURES": "nonsense"}, "", Pictures.HALVES),
    ],
)
def test_the_sharpest_way_that_a_terminal_has(
    environment: dict[str, str], answered: str, found: Pictures
) -> None:
    assert pictures_of(environment, answered) is found


def test_colours_are_as_many_as_the_terminal_has() -> None:
    assert depth_of(TRUE) is Depth.TRUE
    assert depth_of({}) is Depth.PALETTE
    assert depth_of({"SAFELIGHT_COLOURS": "true"}) is Depth.TRUE
    assert depth_of({**TRUE, "SAFELIGHT_COLOURS": "256"}) is Depth.PALETTE
    assert depth_of({**TRUE, "NO_COLOR": "1"}) is Depth.GREY


def test_a_terminal_is_asked_only_where_nothing_else_tells() -> None:
    assert not is_known({"TERM": "xterm-256color"})
    assert is_known({"TERM": "xterm-256color", "SAFELIGHT_PICTURES": "halves"})
    assert is_known({"TERM": "xterm-256color", "TMUX": "x"})
    assert is_known({"TERM": "foot"})
    # These say by themselves whether they have pixels.
    assert not is_known({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"})
    assert not is_known({"TERM": "xterm-ghostty"})
    assert patience_with({"TERM": "xterm-kitty"}) > patience_with({"TERM": "xterm-256color"})


def test_a_terminal_that_draws_all_colours_has_them_though_nothing_else_says_so() -> None:
    assert has_true_colours("kitty(0.26.5)")
    assert has_true_colours("WezTerm 20240203")
    assert not has_true_colours("XTerm(390)")
    assert not has_true_colours("")


@pytest.mark.parametrize(
    ("environment", "pictures", "told"),
    [
        ({"TERM": "xterm-kitty"}, Pictures.KITTY, "halves or off"),
        ({"TERM": "xterm-kitty"}, Pictures.SEXTANTS, "from 0.28.0 on"),
        ({"TERM": "tmux-256color", "TMUX": "x"}, Pictures.QUADRANTS, "allow-passthrough"),
        ({"TERM": "tmux-256color", "TMUX": "x"}, Pictures.KITTY, "halves or off"),
    ],
)
def test_doctor_says_what_pixels_need(
    environment: dict[str, str], pictures: Pictures, told: str
) -> None:
    (*_, check) = terminal_checks(environment, pictures, 80, (16, 34))
    assert told in check["hint"]
    assert ("pixels" in check["message"]) is (pictures is Pictures.KITTY)
    assert ("16 × 34" in check["message"]) is (pictures is Pictures.KITTY)


@pytest.fixture
def line() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_a_terminal_tells_its_name(line: tuple[int, int]) -> None:
    ours, theirs = line

    def answer() -> None:
        asked = b""
        while not asked.endswith(b"\x1b[c"):
            asked += os.read(ours, 64)
        os.write(ours, b"\x1bP>|kitty(0.35.2)\x1b\\\x1b[?62;c")

    terminal = threading.Thread(target=answer)
    terminal.start()
    assert ask_name(theirs) == "kitty(0.35.2)"
    terminal.join()


def test_a_terminal_that_does_not_tell_has_no_name(line: tuple[int, int]) -> None:
    assert ask_name(line[1]) == ""


def test_what_a_terminal_answers_is_never_more_than_a_name(line: tuple[int, int]) -> None:
    os.write(line[0], b"\x1bP>|evil\x1b]52;c;ZXZpbA==\x07\x1b\\\x1b[?62;c")
    assert ask_name(line[1]) == ""


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ((24, 80, 800, 480), (10, 20)),
        ((24, 80, 80 * 18 + 7, 24 * 37 + 1), (18, 37)),
        ((24, 80, 80 * 64, 24 * 4), (64, 4)),
        # Terminals that do not tell, and what no terminal can be.
        ((24, 80, 0, 0), USUAL_CELL),
        ((24, 80, 800, 0), USUAL_CELL),
        ((24, 80, 80 * 65, 24 * 130), USUAL_CELL),
        ((24, 80, 80 * 3, 24 * 6), USUAL_CELL),
        ((0, 0, 800, 480), USUAL_CELL),
    ],
)
def test_a_terminal_tells_how_large_its_cells_are(
    line: tuple[int, int], told: tuple[int, ...], found: tuple[int, int]
) -> None:
    fcntl.ioctl(line[0], termios.TIOCSWINSZ, struct.pack("HHHH", *told))
    assert cell_size(line[1]) == found


def test_what_is_no_terminal_tells_nothing() -> None:
    reads, writes = os.pipe()
    assert cell_size(reads) == USUAL_CELL
    os.close(reads)
    os.close(writes)
    assert cell_size(reads) == USUAL_CELL


# Cells --------------------------------------------------------------------------------------------


def picture(size: tuple[int, int]) -> Image.Image:
    (_, data), *_ = made_pictures(1, (640, 427))
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    # A sky has no edges: these are at every angle.
    pen = ImageDraw.Draw(whole)
    for number in range(9):
        pen.line((40 * number, 0, 640 - 90 * number, 427), (20 * number, 30, 60), 9)
        pen.ellipse((70 * number, 50, 70 * number + 48, 140), (240, 25 * number, 90))
    return whole.resize(size, Image.Resampling.BOX)


QUADRANTS = dict(
    zip(" ▗▖▄▝▐▞▟", (0b0000, 0b1000, 0b0100, 0b1100, 0b0010, 0b1010, 0b0110, 0b1110), strict=True)
)


def parts_of(glyph: str, blocks: Blocks) -> tuple[int, int, int]:
    """Return across, down and the pattern of a glyph."""
    if blocks is Blocks.HALVES:
        return 1, 2, 0b10
    if blocks is Blocks.QUADRANTS:
        return 2, 2, QUADRANTS[glyph]
    if glyph in " ▌▐":
        return 2, 3, {" ": 0, "▌": 0b010101, "▐": 0b101010}[glyph]
    number = ord(glyph) - 0x1FB00 + 1
    number += number >= 0b010101
    return 2, 3, number + (number >= 0b101010)


def psnr(blocks: Blocks) -> float:
    """Return how near a made picture comes to itself through cells, in decibels."""
    columns, rows = 60, 20
    whole = picture((columns * 12, rows * 24))
    size = (columns, rows * 2) if blocks is Blocks.HALVES else (columns * 2, rows * 4)
    small = whole.resize(size, Image.Resampling.BOX)
    shown = Image.new("RGB", whole.size)
    for row, line in enumerate(cells(small.tobytes(), *size, blocks)):
        for column, (back, front, glyph) in enumerate(line):
            across, down, pattern = parts_of(glyph, blocks)
            for part in range(across * down):
                wide, high = 12 // across, 24 // down
                left, top = column * 12 + part % across * wide, row * 24 + part // across * high
                shown.paste(
                    front if pattern >> part & 1 else back, (left, top, left + wide, top + high)
                )
    error = sum(
        (one - other) ** 2 for one, other in zip(shown.tobytes(), whole.tobytes(), strict=True)
    ) / (3 * whole.width * whole.height)
    return 10 * math.log10(255 * 255 / error)


def test_more_parts_of_a_cell_come_nearer_to_the_picture() -> None:
    halves, quadrants, sextants = map(psnr, (Blocks.HALVES, Blocks.QUADRANTS, Blocks.SEXTANTS))
    assert halves + 0.3 < quadrants < sextants


def test_a_cell_of_six_parts_is_the_letter_of_those_parts() -> None:
    black, white = (0, 0, 0), (255, 255, 255)
    for pattern in range(2, 63, 2):
        # Twelve pixels high, so that each of the three rows of parts is whole pixels.
        rows = [pattern >> (row // 4 * 2) & 3 for row in range(12)]
        tall = Image.new("RGB", (2, 12))
        for at, bits in enumerate(rows):
            for side in (0, 1):
                tall.putpixel((side, at), white if bits >> side & 1 else black)
        cell = tall.resize((2, 4), Image.Resampling.BOX)
        ((back, front, glyph),) = next(cells(cell.tobytes(), 2, 4, Blocks.SEXTANTS))
        assert parts_of(glyph, Blocks.SEXTANTS)[2] == pattern, bin(pattern)
        assert sum(back) < sum(front)


def test_a_picture_of_sextants_looks_as_it_did() -> None:
    small = picture((24, 32))
    lines = pixel_strips(small.tobytes(), 24, 32, Box(12, 8), Blocks.SEXTANTS)
    assert [strip.text for strip in lines.strips] == GOLDEN


@pytest.mark.parametrize("blocks", Blocks)
@pytest.mark.parametrize(
    ("depth", "allowed"),
    [
        (Depth.TRUE, r"[34]8;2;\d+;\d+;\d+"),
        (Depth.PALETTE, r"[34]8;5;\d+"),
        (Depth.GREY, r"[34]8;5;(16|231|23[2-9]|24\d|25[0-5])"),
    ],
)
def test_only_colours_that_the_terminal_has_are_sent(
    blocks: Blocks, depth: Depth, allowed: str
) -> None:
    small = picture((24, 32))
    lines = pixel_strips(small.tobytes(), 24, 32, Box(24, 16), blocks, depth)
    for strip in lines.strips:
        assert strip.cell_length == lines.columns == sum(cell_len(one.text) for one in strip)
        for segment in strip:
            assert segment.style is not None
            sent = segment.style.render("x")
            assert re.fullmatch(rf"\x1b\[{allowed}(;{allowed})?mx\x1b\[0m", sent), sent


def test_what_is_no_thumbnail_is_refused() -> None:
    for data in (b"", b"\xff\xd8\xff", b"GIF89a" + bytes(40)):
        with pytest.raises(ValueError, match="thumbnail"):
            decoded(data, (30, 20))


# kitty --------------------------------------------------------------------------------------------


PLACED = re.compile(rb"a=T,[^;]*i=(\d+)")
DROPPED = re.compile(rb"a=d,d=I,q=2,i=(\d+)")


def sent_by(inside: bool) -> tuple[list[str], kitty.Held]:
    sent: list[str] = []
    return sent, kitty.Held(sent.append, {"TMUX": "x"} if inside else {})


def test_pixels_travel_inside_the_sequence_and_in_no_other_way() -> None:
    sent, held = sent_by(inside=False)
    small = picture((300, 200))
    lines = held.place(small.tobytes(), 300, 200, Box(30, 10))

    sequences = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", "".join(sent))
    assert "".join(sent) == "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in sequences)
    assert len(sequences) > 1
    ways = [key for keys, _ in sequences for key in keys.split(",") if key.startswith("t=")]
    assert ways == ["t=d"]
    assert all(len(data) <= 4096 for _, data in sequences)
    assert [keys.rpartition("m=")[2] for keys, _ in sequences] == ["1"] * (len(sequences) - 1) + [
        "0"
    ]
    assert len(lines.strips) == 10
    assert lines.columns == 30


def test_where_a_picture_stands_each_cell_tells_its_place() -> None:
    sent, held = sent_by(inside=False)
    lines = held.place(bytes(3 * 40 * 40), 40, 40, Box(4, 2))
    number = int(re.findall(r"i=(\d+)", sent[0])[0])
    for row, strip in enumerate(lines.strips):
        for column, segment in enumerate(strip):
            assert segment.text == "\U0010eeee" + kitty.MARKS[row] + kitty.MARKS[column]
            assert cell_len(segment.text) == 1
            assert segment.style is not None
            assert segment.style.color is not None
            told = segment.style.color.get_truecolor()
            assert told.red << 16 | told.green << 8 | told.blue == number
            # Whatever the framework makes of colours, the number arrives.
            assert f"38;2;{told.red};{told.green};{told.blue}m" in segment.style.render(
                "x", color_system=ColorSystem.EIGHT_BIT
            )
    assert len(set(kitty.MARKS)) == len(kitty.MARKS) >= 240


def painter_on(cell: tuple[int, int], line: tuple[int, int], sent: list[str]) -> Painter:
    size = struct.pack("HHHH", 24, 80, 80 * cell[0], 24 * cell[1])
    fcntl.ioctl(line[0], termios.TIOCSWINSZ, size)
    return Painter(Pictures.KITTY, Depth.TRUE, sent.append, line[1])


def test_a_thumbnail_has_the_pixels_of_the_cells_it_stands_in_and_no_more_than_it_has(
    line: tuple[int, int],
) -> None:
    (_, data), *_ = made_pictures(1, (240, 160))
    # (size of a cell, size of what is sent, cells it stands in)
    for cell, pixels, cells_of_it in (
        ((8, 16), (240, 160), (30, 10)),
        ((6, 12), (180, 120), (30, 10)),
        ((6, 18), (180, 120), (30, 7)),
        ((20, 40), (240, 160), (30, 10)),
    ):
        sent: list[str] = []
        lines = painter_on(cell, line, sent).thumbnail(data, Box(30, 12))
        assert f"s={pixels[0]},v={pixels[1]}," in sent[0]
        assert (lines.columns, len(lines.strips)) == cells_of_it


def test_a_picture_is_as_sharp_as_the_cells_and_never_too_much_to_fetch(
    line: tuple[int, int],
) -> None:
    sent: list[str] = []
    painter = painter_on((16, 34), line, sent)
    assert painter.room(Box(100, 40)) == (1600, 1360)
    for zoom in (1, 1.5, 2, 3, 4, 6, 8):
        for box in (Box(236, 66), Box(236, 8), Box(20, 66), Box(1, 1)):
            wide, high = painter.room(box, zoom)
            assert wide * high * zoom * zoom <= 8_000_000
            assert max(wide, high) * zoom <= 8_192
            lines = painter.pixels(bytes(3 * wide * high), wide, high, box, (wide, high))
            # Fewer pixels take the same place.
            assert (lines.columns, len(lines.strips)) == (box.columns, box.rows)


def test_what_is_dropped_the_terminal_forgets() -> None:
    sent, held = sent_by(inside=False)
    numbers = [held.place(bytes(300), 10, 10, Box(2, 2)).image for _ in range(3)]
    assert len(set(numbers)) == 3
    sent.clear()
    held.drop(numbers[0])
    held.drop(numbers[0])
    assert sent == [f"\x1b_Ga=d,d=I,q=2,i={numbers[0]}\x1b\\"]
    held.drop_all()
    assert sorted(sent[1:]) == sorted(f"\x1b_Ga=d,d=I,q=2,i={one}\x1b\\" for one in numbers[1:])


@pytest.mark.parametrize(
    ("paper", "code"),
    [
        (Style.parse("#ff0000 on #fbf8f3"), "48;2;251;248;243"),
        (Style.parse("red on blue"), "44"),
        (Style.parse("default on default"), "49"),
    ],
)
def test_the_room_that_a_picture_leaves_has_the_background_of_what_is_around(
    paper: Style, code: str
) -> None:
    _, held = sent_by(inside=False)
    lines = held.place(bytes(3 * 40 * 40), 40, 40, Box(4, 2))
    segments = list(kitty.on_paper(lines, 1, paper))
    assert [one.text for one in segments] == [one.text for one in lines.strips[1]]
    number = ";".join(map(str, lines.image.to_bytes(3, "big")))
    for segment in segments:
        assert segment.style is not None
        assert segment.style.render("x") == f"\x1b[38;2;{number};{code}mx\x1b[0m"


def test_cells_that_are_full_are_left_as_they_are() -> None:
    small = picture((8, 8))
    lines = pixel_strips(small.tobytes(), 8, 8, Box(8, 4), Blocks.HALVES)
    assert kitty.on_paper(lines, 1, Style.parse("red on blue")) is lines.strips[1]


def test_through_a_multiplexer_what_it_would_take_is_wrapped() -> None:
    sent, held = sent_by(inside=True)
    lines = held.place(bytes(300), 10, 10, Box(2, 2))
    held.drop(lines.image)
    for one in sent:
        assert one.startswith("\x1bPtmux;\x1b\x1b_G")
        assert one.endswith("\x1b\x1b\\\x1b\\")


async def test_the_terminal_holds_only_what_the_grid_holds(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        sent: list[str] = []
        app = screen.app
        await screen.settled()
        page = screen.page
        assert isinstance(page, LibraryScreen)
        await screen.until(lambda: page.grid.settled)
        painter = Painter(Pictures.KITTY, Depth.TRUE, sent.append)
        app.painter = painter
        page.grid._thumbnails._painter = painter  # type: ignore[attr-defined]
        page.grid.forget()
        await screen.until(lambda: page.grid.drawn == 12 and page.grid.settled)
        placed = set(re.findall(r"a=T,[^;]*i=(\d+)", "".join(sent)))
        assert len(placed) == 12
        assert "\U0010eeee" in screen.text
        for line in range(page.grid.size.height):
            # No cell shows the terminal's own background, which may be dark under a light theme.
            for segment in page.grid.render_line(line):
                assert segment.style is not None
                assert segment.style.bgcolor is not None, segment
        page.grid.forget()
        assert placed <= set(re.findall(r"a=d,d=I,q=2,i=(\d+)", "".join(sent)))
        await screen.until(lambda: page.grid.drawn == 12 and page.grid.settled)
    everything = "".join(sent)
    placed = set(re.findall(r"a=T,[^;]*i=(\d+)", everything))
    assert placed == set(re.findall(r"a=d,d=I,q=2,i=(\d+)", everything))
    assert not re.search(r"[_,]t=[fts]", everything)


async def test_behind_a_dialog_no_picture_is_drawn(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:

        def colours() -> int:
            drawn = [one for line in range(view.size.height) for one in view.render_line(line)]
            return len({one.style.bgcolor for one in drawn if one.style is not None})

        await screen.settled()
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ViewerScreen))
        viewer = screen.app.screen
        assert isinstance(viewer, ViewerScreen)
        view = viewer.view
        await screen.until(lambda: view.drawn)
        assert colours() > 20
        await screen.press("question_mark")
        await screen.until(lambda: screen.app.screen is not viewer)
        await screen.until(lambda: colours() == 2)
        await screen.press("escape")
        await screen.until(lambda: colours() > 20)


@pytest.mark.parametrize("leaves", ["L", "q"])
def test_what_a_terminal_was_sent_is_taken_back_when_it_is_locked_or_left(
    alice: Cli, tmp_path: Path, leaves: str
) -> None:
    environment = environment_of(
        tmp_path,
        {
            "SAFELIGHT_HOME": str(alice.home),
            "SAFELIGHT_PASSPHRASE_FILE": str(alice.passphrase_file),
            SETTING: "kitty",
        },
    )

    def numbers(pattern: re.Pattern[bytes]) -> set[bytes]:
        return set(pattern.findall(one.written))

    with terminal(environment=environment, size=(80, 24)) as one:
        try:
            one.until("12 pictures")
            until(lambda: len(numbers(PLACED)) >= 12, lambda: one.text, seconds=60)
            one.quiet()
            in_grid = numbers(PLACED)
            one.send("\r")
            until(lambda: numbers(PLACED) - in_grid, lambda: one.text, seconds=60)
            one.quiet()
            one.send("L" if leaves == "L" else "qq")
            until(lambda: numbers(PLACED) == numbers(DROPPED), lambda: one.text, seconds=60)
            if leaves == "q":
                assert one.ended() == 0
                # A terminal keeps pictures of each of its screens: they go before that screen does.
                assert one.written.rindex(b"a=d,d=I") < one.written.rindex(b"\x1b[?1049l")
        finally:
            if leaves == "L":
                alice.do("unlock")


def test_where_the_cells_change_their_size_everything_is_drawn_for_it(
    alice: Cli, tmp_path: Path
) -> None:
    environment = environment_of(
        tmp_path,
        {
            "SAFELIGHT_HOME": str(alice.home),
            "SAFELIGHT_PASSPHRASE_FILE": str(alice.passphrase_file),
            SETTING: "kitty",
        },
    )

    def sizes(begun: int) -> set[tuple[int, int]]:
        sent = bytes(one.written[begun:])
        return {(int(wide), int(high)) for wide, high in re.findall(rb"s=(\d+),v=(\d+),", sent)}

    with terminal(environment=environment, size=(80, 24)) as one:
        one.until("12 pictures")
        until(lambda: len(PLACED.findall(one.written)) >= 12, lambda: one.text, seconds=60)
        one.quiet()
        usual, held = sizes(0), set(PLACED.findall(one.written))
        # As many cells as before, and larger ones.
        begun = len(one.written)
        one.resize(80, 24, (13, 26))
        until(lambda: held <= set(DROPPED.findall(one.written)), lambda: one.text, seconds=60)
        until(lambda: len(PLACED.findall(one.written, begun)) >= 12, lambda: one.text, seconds=60)
        one.quiet()
        larger = sizes(begun)
        assert len(larger) == len(usual)
        for (wide, high), (before, low) in zip(sorted(larger), sorted(usual), strict=True):
            assert 1.2 < wide / before < 1.4
            assert 1.2 < high / low < 1.4
        begun = len(one.written)
        one.send("\r")
        until(lambda: PLACED.search(one.written, begun), lambda: one.text, seconds=60)
        one.quiet()
        ((wide, high),) = sizes(begun)
        begun = len(one.written)
        one.resize(80, 24, (10, 20))
        until(lambda: PLACED.search(one.written, begun), lambda: one.text, seconds=60)
        one.quiet()
        assert all(now < wide and low < high for now, low in sizes(begun))


def test_lines_of_a_picture_are_cut_only_between_cells() -> None:
    _, held = sent_by(inside=False)
    strip = held.place(bytes(3 * 40 * 20), 40, 20, Box(4, 1)).strips[0]
    left, right = strip.divide([2, 4])
    assert [len(list(one)) for one in (left, right)] == [2, 2]
    assert isinstance(next(iter(left)), Segment)
    assert isinstance(Lines((strip,), 4).image, int)


GOLDEN: list[str] = [
    "🬱🬻🬫🬵🬵🬞🬹🬱🬱🬱🬭🬭",
    "🬱▐🬵🬉🬦▐▐▐🬉▐▐▐",
    "🬵🬉🬱▐🬏🬱🬱🬷🬵🬏🬉🬷",
    "🬵🬹🬵🬹🬳🬱🬭🬷🬱🬱🬚🬋",
    "🬭🬵🬭🬞🬏🬃🬁🬭🬭🬭🬹🬹",
    "🬵🬅▐▐🬞🬭🬱🬻🬹🬹🬹🬹",
    "🬻🬵🬵🬏🬭🬭🬵🬹🬹🬁🬹🬹",
    "🬘🬞🬷▐🬁▐🬔     ",
]
