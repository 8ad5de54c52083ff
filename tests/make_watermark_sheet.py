"""Draws docs/images/watermarks.jpg: every strength of the watermark on pictures of every kind.

Run as ``python -m tests.make_watermark_sheet``. The pictures are made by arithmetic, the marks
are those that a holder's copy gets, the last column with a logo.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from node.imaging.made import made_pictures
from node.imaging.messages import Mark, Strength
from node.imaging.watermark import marked
from tests.support import ROOT

TARGET: Final = ROOT / "docs" / "images" / "watermarks.jpg"

_CELL: Final = (480, 320)
_SPACE: Final = 12
_TITLE: Final = 30
_GROUND: Final = (28, 28, 30)
_TEXT: Final = (220, 220, 220)


def mark(strength: Strength) -> Mark:
    """Return a holder's mark."""
    return Mark(
        name="Bob Example",
        words="canyon lava tiger olive ripple spoon fetch arrow",
        date="2026-11-22",
        code="3f9a12c4",
        strength=strength,
    )


def pictures() -> dict[str, Image.Image]:
    """Return a picture of each kind that is hard to mark, by its name."""
    made = [data for _, data in made_pictures(5, _CELL)]
    landscape, *_, night = (Image.open(io.BytesIO(data)).convert("RGB") for data in made)
    return {
        "landscape": landscape,
        "light": Image.new("RGB", _CELL, (250, 250, 248)),
        "dark": night,
        "busy": _busy(_CELL),
        "panorama": landscape.resize((_CELL[0], 60)),
        "tiny, 96 x 64": landscape.resize((96, 64)),
    }


def _busy(size: tuple[int, int]) -> Image.Image:
    """Return a picture of small squares in strong colours."""
    small = (size[0] // 7, size[1] // 7)
    noise = bytes(
        (x * x * 31 + y * y * 17 + x * y * 7 + channel * 101) * 2_654_435_761 >> 7 & 0xFF
        for y in range(small[1])
        for x in range(small[0])
        for channel in range(3)
    )
    return Image.frombytes("RGB", small, noise).resize(size, Image.Resampling.NEAREST)


def logo() -> Image.Image:
    """Return a logo on nothing: a lamp in a ring."""
    image = Image.new("RGBA", (400, 400))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 10, 390, 390), outline=(190, 30, 40, 255), width=36)
    draw.pieslice((110, 100, 290, 280), 180, 360, fill=(190, 30, 40, 255))
    draw.rectangle((110, 190, 290, 225), fill=(190, 30, 40, 255))
    draw.ellipse((165, 215, 235, 285), fill=(244, 180, 60, 255))
    return image


def sheet() -> Image.Image:
    """Return all of them on one sheet: a row for each picture, a column for each strength."""
    rows = pictures()
    columns: list[tuple[str, Mark, Image.Image | None]] = [
        (str(strength), mark(strength), None) for strength in Strength
    ]
    columns += [(f"{one}, logo", mark(one), logo()) for one in (Strength.SUBTLE, Strength.MEDIUM)]
    across = _SPACE + len(columns) * (_CELL[0] + _SPACE)
    down = _TITLE + sum(image.height + _TITLE for image in rows.values())
    whole = Image.new("RGB", (across, down), _GROUND)
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(16)
    for column, (title, _, _) in enumerate(columns):
        draw.text((_left(column), 6), title, _TEXT, font)
    top = _TITLE
    for name, image in rows.items():
        for column, (_, said, drawn) in enumerate(columns):
            whole.paste(marked(image, said, drawn), (_left(column), top))
        draw.text((_left(0), top + image.height + 5), name, _TEXT, font)
        top += image.height + _TITLE
    return whole


def _left(column: int) -> int:
    return _SPACE + column * (_CELL[0] + _SPACE)


def main(target: Path = TARGET) -> None:
    """Write the sheet."""
    target.parent.mkdir(exist_ok=True)
    sheet().save(target, quality=68, optimize=True)
    print(target.relative_to(ROOT) if target.is_relative_to(ROOT) else target)


if __name__ == "__main__":
    main()
