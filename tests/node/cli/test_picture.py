from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.picture import Blocks, Canvas, Depth, canvas, draw

Pixel = tuple[int, int, int]
GLYPHS = {
    " ": (0, 0, 0, 0),
    "▗": (0, 0, 0, 1),
    "▖": (0, 0, 1, 0),
    "▄": (0, 0, 1, 1),
    "▝": (0, 1, 0, 0),
    "▐": (0, 1, 0, 1),
    "▞": (0, 1, 1, 0),
    "▟": (0, 1, 1, 1),
}
TOKEN = re.compile(r"\x1b\[48;2;(\d+);(\d+);(\d+)m|\x1b\[38;2;(\d+);(\d+);(\d+)m|([ ▗▖▄▝▐▞▟])")


def screen(blocks: Blocks, depth: Depth = Depth.TRUE) -> Canvas:
    return Canvas(columns=40, rows=20, depth=depth, blocks=blocks)


def seen(lines: list[str]) -> list[list[Pixel]]:
    """Return the quadrants that a truecolor terminal shows, row by row."""
    rows: list[list[Pixel]] = []
    for line in lines:
        upper: list[Pixel] = []
        lower: list[Pixel] = []
        back = front = (0, 0, 0)
        assert line.endswith("\x1b[0m")
        for match in TOKEN.finditer(line.removesuffix("\x1b[0m")):
            if match[1] is not None:
                back = (int(match[1]), int(match[2]), int(match[3]))
            elif match[4] is not None:
                front = (int(match[4]), int(match[5]), int(match[6]))
            else:
                shown = [front if on else back for on in GLYPHS[match[7]]]
                upper += shown[:2]
                lower += shown[2:]
        rows += [upper, lower]
    return rows


def rgb(rows: list[list[Pixel]]) -> bytes:
    return bytes(channel for row in rows for pixel in row for channel in pixel)


RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_two_colours_in_a_cell_are_shown_exactly() -> None:
    for pattern in range(16):
        quadrants = [BLUE if pattern >> place & 1 else RED for place in range(4)]
        pixels = [quadrants[:2]] * 2 + [quadrants[2:]] * 2

        lines = list(draw(rgb(pixels), 2, 4, screen(Blocks.QUADRANTS)))

        assert seen(lines) == [quadrants[:2], quadrants[2:]]


def test_half_blocks_show_every_pixel_exactly() -> None:
    pixels = [[(x * 40, y * 60, 7) for x in range(5)] for y in range(4)]

    lines = list(draw(rgb(pixels), 5, 4, screen(Blocks.HALVES)))

    assert [row[::2] for row in seen(lines)] == pixels


@given(st.integers(1, 12), st.integers(1, 12), st.data(), st.sampled_from(Blocks))
def test_a_picture_of_one_colour_is_shown_in_it(
    width: int, height: int, data: st.DataObject, blocks: Blocks
) -> None:
    colour = data.draw(st.tuples(*[st.integers(0, 255)] * 3))

    lines = list(draw(bytes(colour) * width * height, width, height, screen(blocks)))

    assert {pixel for row in seen(lines) for pixel in row} == {colour}


@given(st.integers(1, 9), st.integers(1, 9), st.data(), st.sampled_from(Depth))
def test_any_pixels_become_colours_and_blocks_and_nothing_else(
    width: int, height: int, data: st.DataObject, depth: Depth
) -> None:
    pixels = data.draw(st.binary(min_size=width * height * 3, max_size=width * height * 3))

    for blocks in Blocks:
        for line in draw(pixels, width, height, screen(blocks, depth)):
            assert re.sub(r"\x1b\[[0-9;]*m|[ ▗▖▄▝▐▞▟\U0001fb00-\U0001fb3b]", "", line) == ""


def test_greys_stand_in_where_colour_is_not_wanted() -> None:
    pixels = rgb([[(0, 0, 0), (255, 255, 255)], [RED, BLUE]])

    (line,) = draw(pixels, 2, 2, screen(Blocks.HALVES, Depth.GREY))

    assert {int(code) for code in re.findall(r"8;5;(\d+)m", line)} <= {16, 231, *range(232, 256)}


@pytest.mark.parametrize(
    ("colour", "code"), [((0, 0, 0), 16), ((255, 255, 255), 231), ((255, 0, 0), 196),
                         ((128, 128, 128), 244), ((95, 135, 175), 67)]
)  # fmt: skip
def test_the_nearest_of_256_colours_is_taken(colour: Pixel, code: int) -> None:
    (line,) = draw(bytes(colour), 1, 1, screen(Blocks.QUADRANTS, Depth.PALETTE))

    assert line == f"\x1b[48;5;{code}m \x1b[0m"


@pytest.mark.parametrize(
    ("data", "width", "height"), [(b"", 0, 0), (b"abc", 1, 2), (b"abcd", 1, 1)]
)
def test_bytes_that_are_no_such_pixels_are_refused(data: bytes, width: int, height: int) -> None:
    with pytest.raises(ValueError):
        list(draw(data, width, height, screen(Blocks.QUADRANTS)))


def test_the_canvas_is_what_the_terminal_says() -> None:
    assert canvas({"COLORTERM": "truecolor"}).depth is Depth.TRUE
    assert canvas({"TERM": "xterm-256color"}).depth is Depth.PALETTE
    assert canvas({"COLORTERM": "truecolor", "NO_COLOR": "1"}).depth is Depth.GREY
    assert canvas({"TERM": "linux"}).blocks is Blocks.HALVES
    assert canvas({"TERM": "xterm"}).blocks is Blocks.QUADRANTS


def test_the_box_keeps_the_shape_of_the_picture() -> None:
    assert screen(Blocks.QUADRANTS).box() == (80, 80)
    assert screen(Blocks.HALVES).box() == (40, 40)
