"""The visible watermark: whose copy a picture is, drawn into its pixels.

Belongs here: what a mark says, how large, how strong and where; drawing it, and a logo with it.
Never here: who holds the copy, decoding or encoding.

Letters are light where the picture around them is dark and dark where it is light, with an edge
of the other kind. Both let the picture through, less so where it is busy. A logo keeps its own
colours and has a rim that is light around a dark one and dark around a light one. Everything is
measured in the picture's own size: a mark looks the same on a small preview and on a whole picture.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageStat

from node.imaging.messages import Mark, Strength

_LIGHT: Final[dict[str, float | tuple[float, ...]]] = {
    "L": 255,
    "RGB": (255, 255, 255),
    "RGBA": (255, 255, 255, 255),
}
_DARK: Final[dict[str, float | tuple[float, ...]]] = {
    "L": 0,
    "RGB": (0, 0, 0),
    "RGBA": (0, 0, 0, 255),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """How one strength is drawn."""

    letter: float
    """How much of a letter covers the picture, 0 to 1."""
    edge: float
    """How much of its edge does."""
    size: float
    """Height of the letters as a part of the picture's size, the root of its area."""
    apart: float | None
    """Distance between two marks in marks; None for one mark in the corner."""


_STYLES: Final = {
    Strength.SUBTLE: _Style(letter=0.5, edge=0.3, size=0.022, apart=None),
    Strength.MEDIUM: _Style(letter=0.26, edge=0.16, size=0.03, apart=0.5),
    Strength.FIRM: _Style(letter=0.5, edge=0.34, size=0.036, apart=0.1),
}

_SMALLEST_LETTERS: Final = 8
"""Pixels: smaller ones cannot be read."""
_LARGEST_LETTERS: Final = 600
_MOST_OF_HEIGHT: Final = 0.14
"""Letters on a panorama are no larger than this part of its short edge."""
_STEEPEST, _FLATTEST = 32.0, 8.0
"""Degrees by which marks all over a picture rise, along its diagonal."""
_LINE: Final = 1.25
"""Height of a line, in heights of its letters."""
_LOGO_LETTERS: Final = 9.0
"""As many heights of a letter a logo is wide at most."""
_LINE_LETTERS: Final = 28
_MOST_NAME_LINES: Final = 3

_SQUARES: Final = 48
"""Into as many along its long edge a picture is divided to see where it is light or busy."""
_MIDDLE: Final = 118
"""From this level on, of 255, a dark letter shows better than a light one."""
_CALM: Final = 14
"""Contrast inside a square, of 255, that hides no letters: skin, leaves, grain."""
_MOST, _STRONGER = 0.95, 0.75
"""Where a picture is at its busiest, so much of what is missing to _MOST is added to a mark."""

_SPELLED: Final = str.maketrans(
    {
        "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O",
        "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i",
        "’": "'", "‘": "'", "–": "-", "—": "-", "\u00a0": " ",
    }
)  # fmt: skip
"""Letters that are no letter with a sign: how they are written without one."""


def marked(image: Image.Image, mark: Mark, logo: Image.Image | None = None) -> Image.Image:
    """Return an upright image in mode L, RGB or RGBA with a mark on it; RGB for L with a logo.

    logo: in mode RGB or RGBA. It stands before the words, unless the picture is too small for it.
    """
    style = _STYLES[mark.strength]
    letters = _letters(image.size, style.size)
    font = ImageFont.load_default(letters)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built with FreeType"
    lines = _lines(mark)
    if style.apart is None:
        lines, font = _fitting(lines, font, image.size)
    badge = None if logo is None else _badge(logo, font.size, len(lines))
    letter, edge, emblem = _stamp(lines, font, badge)
    if emblem is not None and (font.size <= _SMALLEST_LETTERS or letter.width > image.width):
        letter, edge, emblem = _stamp(lines, font, None)
    if style.apart is None:
        places = [_corner(letter.size, image.size)]
    else:
        angle = _angle(image.size, letters)
        letter, edge = (
            one.rotate(angle, Image.Resampling.BICUBIC, expand=True) for one in (letter, edge)
        )
        if emblem is not None:
            emblem = emblem.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        places = list(_all_over(letter.size, image.size, style.apart))
    letter, edge = (_laid(one, places, image.size) for one in (letter, edge))
    is_light, is_busy = _ground(image)
    is_dark = ImageChops.invert(is_light)
    image = image.copy()
    for shape, part, on_light, on_dark in (
        (edge, style.edge, _LIGHT, _DARK),
        (letter, style.letter, _DARK, _LIGHT),
    ):
        strong = part + (_MOST - part) * _STRONGER
        cover = Image.composite(_thinned(shape, strong), _thinned(shape, part), is_busy)
        image.paste(on_light[image.mode], mask=ImageChops.multiply(cover, is_light))
        image.paste(on_dark[image.mode], mask=ImageChops.multiply(cover, is_dark))
    if emblem is None:
        return image
    image = image.convert("RGB") if image.mode == "L" else image
    strong = style.letter + (_MOST - style.letter) * _STRONGER
    shape = emblem.getchannel("A")
    plain, firm = _thinned(shape, style.letter), _thinned(shape, strong)
    for left, top in places:
        box = (left, top, left + emblem.width, top + emblem.height)
        image.paste(emblem, (left, top), Image.composite(firm, plain, is_busy.crop(box)))
    return image


def _badge(logo: Image.Image, letters: float, lines: int) -> Image.Image:
    """Return a logo in RGBA, as high as lines of letters, with a rim that sets it off."""
    logo = logo.convert("RGBA")
    rim = max(1, round(letters / 10))
    most = (_LOGO_LETTERS * letters, lines * _LINE * letters)
    scale = min(most[0] / logo.width, most[1] / logo.height)
    size = (max(1, round(logo.width * scale)), max(1, round(logo.height * scale)))
    small = Image.new("RGBA", (size[0] + 2 * rim, size[1] + 2 * rim))
    small.paste(logo.resize(size, Image.Resampling.LANCZOS), (rim, rim))
    shape = small.getchannel("A")
    mean = ImageStat.Stat(small.convert("L"), shape).mean[0] if shape.getbbox() else 0.0
    ground = Image.new("RGBA", small.size, "white" if mean < _MIDDLE else "black")
    ground.putalpha(shape.filter(ImageFilter.MaxFilter(2 * rim + 1)))
    return Image.alpha_composite(ground, small)


def _ground(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Return masks of where the picture is light, and where it is busy, over a few letters."""
    ground = image
    if image.mode == "RGBA":
        # What shows through is not known; most things that pictures lie on are light.
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
    grey = ground.convert("L")
    width, height = (max(1, round(one * _SQUARES / max(image.size))) for one in image.size)
    levels = grey.resize((width, height), Image.Resampling.BOX)
    smooth = levels.resize(image.size, Image.Resampling.BILINEAR)
    contrast = ImageChops.difference(grey, smooth).resize((width, height), Image.Resampling.BOX)
    # A step, softened between squares: half light and half dark letters would cancel out.
    light = levels.point([255 * (level >= _MIDDLE) for level in range(256)])
    busy = contrast.point([max(0, min(255, (level - _CALM) * 8)) for level in range(256)])
    return (
        light.resize(image.size, Image.Resampling.BILINEAR),
        busy.resize(image.size, Image.Resampling.BILINEAR),
    )


def drawable(name: str, words: str) -> str:
    """Return a name in letters that the font has; words where that is not possible."""
    plain = unicodedata.normalize("NFKD", name.translate(_SPELLED))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = " ".join(plain.split())
    return plain if plain and plain.isascii() and plain.isprintable() else words


def _lines(mark: Mark) -> list[str]:
    name = list(_wrapped(drawable(mark.name, mark.words)))
    if len(name) > _MOST_NAME_LINES:
        name = [*name[: _MOST_NAME_LINES - 1], name[_MOST_NAME_LINES - 1] + "..."]
    return [*name, f"{mark.date}  {mark.code}"]


def _wrapped(text: str) -> Iterator[str]:
    """Yield lines of at most _LINE_LETTERS, broken at spaces where there are any."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > _LINE_LETTERS:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while len(line) > _LINE_LETTERS:
            yield line[:_LINE_LETTERS]
            line = line[_LINE_LETTERS:]
    if line:
        yield line


def _letters(size: tuple[int, int], part: float) -> int:
    """Return the height of letters in pixels."""
    wanted = min(part * math.sqrt(size[0] * size[1]), _MOST_OF_HEIGHT * min(size))
    return max(_SMALLEST_LETTERS, min(_LARGEST_LETTERS, round(wanted)))


def _angle(size: tuple[int, int], letters: int) -> float:
    if letters == _SMALLEST_LETTERS:
        return 0.0  # turned, they could not be read
    return max(_FLATTEST, min(_STEEPEST, math.degrees(math.atan2(size[1], size[0]))))


def _fitting(
    lines: list[str], font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Return lines, or more and shorter ones, and a font in which they are as wide as allowed."""
    room = 0.94 * size[0]
    widest = max(font.getlength(line) for line in lines)
    if widest > room:
        lines = [part for line in lines for part in line.split("  ")]
        widest = max(font.getlength(line) for line in lines)
    if widest > room:
        smaller = max(_SMALLEST_LETTERS, int(font.size * room / widest))
        found = ImageFont.load_default(smaller)
        assert isinstance(found, ImageFont.FreeTypeFont), "Pillow is built with FreeType"
        font = found
    return lines, font


def _stamp(
    lines: list[str], font: ImageFont.FreeTypeFont, badge: Image.Image | None
) -> tuple[Image.Image, Image.Image, Image.Image | None]:
    """Return a mark once: where its letters are, where their edges are, and its logo before."""
    edge = max(1, round(font.size / 10))
    step = round(font.size * _LINE)
    width = math.ceil(max(font.getlength(line) for line in lines)) + 4 * edge
    if badge is not None:
        width += badge.width + round(font.size / 2)
    size = (width, step * len(lines) + 4 * edge)
    letters, thick = Image.new("L", size), Image.new("L", size)
    for number, line in enumerate(lines):
        at = (width - 2 * edge - font.getlength(line), 2 * edge + step * number)
        ImageDraw.Draw(letters).text(at, line, 255, font)
        ImageDraw.Draw(thick).text(at, line, 255, font, stroke_width=edge)
    emblem = None
    if badge is not None:
        emblem = Image.new("RGBA", size)
        emblem.paste(badge, (edge, max(0, (size[1] - badge.height) // 2)))
    return letters, ImageChops.subtract(thick, letters), emblem


def _corner(stamp: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return where a mark lies in the lower right; of a larger one the rest is cut off there."""
    space = round(0.015 * min(size))
    return max(0, size[0] - stamp[0] - space), max(0, size[1] - stamp[1] - space)


def _all_over(
    stamp: tuple[int, int], size: tuple[int, int], apart: float
) -> Iterator[tuple[int, int]]:
    """Yield where marks lie all over a picture, every other row moved by half."""
    across = round(stamp[0] * (1 + apart * 0.6))
    down = round(stamp[1] * (1 + apart))
    # The first mark lies in the middle, so that a small picture has a whole one.
    left, top = (size[0] - stamp[0]) // 2, (size[1] - stamp[1]) // 2
    for row in range(-math.ceil((top + stamp[1]) / down), math.ceil(size[1] / down) + 1):
        y = top + row * down
        x = left + (across // 2 if row % 2 else 0)
        x -= math.ceil((x + stamp[0]) / across) * across
        while x < size[0]:
            yield x, y
            x += across


def _laid(stamp: Image.Image, places: list[tuple[int, int]], size: tuple[int, int]) -> Image.Image:
    """Return a mask with a mark in each of the places."""
    mask = Image.new("L", size)
    for place in places:
        mask.paste(stamp, place)
    return mask


def _thinned(mask: Image.Image, part: float) -> Image.Image:
    return mask.point([round(level * part) for level in range(256)])
