from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from PIL import Image, ImageChops, ImageStat

from node.imaging.messages import Mark, Strength
from node.imaging.watermark import drawable, marked
from tests.make_watermark_sheet import logo, main, mark, pictures

WORDS = "canyon lava tiger olive ripple spoon fetch arrow"


def share_of_changed(before: Image.Image, after: Image.Image) -> float:
    """Return which part of the pixels a mark changes visibly."""
    grey = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L")
    changed = grey.point([0] * 12 + [255] * 244)
    return ImageStat.Stat(changed).mean[0] / 255


def contrast(before: Image.Image, after: Image.Image) -> int:
    """Return by how much the plainest pixels of a mark differ from the picture."""
    grey = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L")
    return max(level for level, count in enumerate(grey.histogram()) if count >= 20)


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("Bob Example", "Bob Example"),
        ("  Bob \t Example ", "Bob Example"),
        ("Zoë Müller-Łukasiewicz", "Zoe Muller-Lukasiewicz"),
        ("Bjørn Þorsteinsson", "Bjorn Thorsteinsson"),
        ("Đặng Strauß", "Dang Strauss"),
        ("O’Neill – Press", "O'Neill - Press"),
        ("写真家", WORDS),
        ("Ольга", WORDS),
        ("Bob 📷", WORDS),
        ("", WORDS),
    ],
)
def test_a_name_is_drawn_in_letters_that_the_font_has_or_as_words(name: str, drawn: str) -> None:
    assert drawable(name, WORDS) == drawn


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("level", [0, 20, 90, 127, 170, 235, 255])
def test_a_mark_shows_on_light_and_on_dark(strength: Strength, level: int) -> None:
    ground = Image.new("RGB", (640, 480), (level, level, level))

    after = marked(ground, mark(strength))

    assert contrast(ground, after) >= 20
    assert 0.001 < share_of_changed(ground, after) < 0.25
    assert (after.mode, after.size) == ("RGB", (640, 480))


@pytest.mark.parametrize("kind", pictures())
def test_a_stronger_mark_shows_more_on_every_kind_of_picture(kind: str) -> None:
    picture = pictures()[kind]

    sums = [
        sum(ImageStat.Stat(ImageChops.difference(picture, marked(picture, mark(one)))).sum)
        for one in Strength
    ]

    assert 0 < sums[1] < sums[2]
    assert 0 < sums[0] < sums[2]


@pytest.mark.parametrize("strength", Strength)
def test_a_subtle_mark_leaves_most_of_a_picture_as_it_is(strength: Strength) -> None:
    picture = pictures()["landscape"]

    changed = share_of_changed(picture, marked(picture, mark(strength)))

    assert changed < {Strength.SUBTLE: 0.02, Strength.MEDIUM: 0.08, Strength.FIRM: 0.2}[strength]


@pytest.mark.parametrize("strength", Strength)
def test_a_mark_is_as_large_as_its_picture_wants_it(strength: Strength) -> None:
    small, large = (Image.new("L", (1200 * one, 800 * one), 40) for one in (1, 3))

    parts = [share_of_changed(one, marked(one, mark(strength))) for one in (small, large)]

    assert parts[0] == pytest.approx(parts[1], rel=0.35)


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("size", [(1, 1), (3, 900), (24, 24), (96, 64), (4000, 60), (60, 4000)])
def test_tiny_and_very_long_pictures_are_marked_too(
    strength: Strength, size: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, (120, 60, 200))

    after = marked(picture, mark(strength))

    assert after.size == size
    if min(size) >= 24:
        assert contrast(picture, after) >= 12


@pytest.mark.parametrize(("mode", "colour"), [("L", 30), ("RGB", (9, 9, 9)), ("RGBA", (0,) * 4)])
def test_every_mode_that_previews_have_is_marked(mode: str, colour: int | tuple[int, ...]) -> None:
    picture = Image.new(mode, (300, 200), colour)

    after = marked(picture, mark(Strength.FIRM))

    assert after.mode == mode
    assert picture.tobytes() != after.tobytes()
    if mode == "RGBA":
        # Where a picture is transparent its mark is not, or it would show on no ground.
        assert sum(after.getchannel("A").histogram()[100:])


def test_the_picture_that_is_marked_is_left_as_it_was() -> None:
    picture = Image.new("RGB", (300, 200), (1, 2, 3))

    marked(picture, mark(Strength.FIRM))

    assert picture.getextrema() == ((1, 1), (2, 2), (3, 3))


def test_every_fact_of_a_mark_makes_another_picture() -> None:
    picture = pictures()["landscape"]
    plain = mark(Strength.SUBTLE)
    marks = [
        plain,
        msgspec.structs.replace(plain, name="Carol Example"),
        msgspec.structs.replace(plain, name="写真家"),
        msgspec.structs.replace(plain, name="写真家", words="other words"),
        msgspec.structs.replace(plain, date="2026-11-23"),
        msgspec.structs.replace(plain, code="3f9a12c5"),
    ]

    drawn = [marked(picture, one).tobytes() for one in marks]

    assert all(one != other for one, other in itertools.combinations(drawn, 2))
    assert marked(picture, plain).tobytes() == drawn[0]


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("name", ["x" * 256, "a " * 128, "W" * 60, "long name " * 20])
def test_a_long_name_is_wrapped_and_cut(strength: Strength, name: str) -> None:
    picture = Image.new("RGB", (600, 400), (200, 200, 200))
    long = Mark(name=name, words=WORDS, date="2026-11-22", code="3f9a12c4", strength=strength)

    after = marked(picture, long)

    assert contrast(picture, after) >= 20
    assert share_of_changed(picture, after) < 0.3


def test_the_sheet_of_the_documentation_is_drawn(tmp_path: Path) -> None:
    target = tmp_path / "sheet.jpg"

    main(target)

    with Image.open(target) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width > 1_000


# A logo -------------------------------------------------------------------------------------------


def reddish(image: Image.Image) -> int:
    """Return how many pixels are redder than green."""
    red, green, _ = image.convert("RGB").split()
    return sum(ImageChops.subtract(red, green).histogram()[30:])


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_logo_shows_beside_the_words_on_light_and_on_dark(
    strength: Strength, level: int, mode: str
) -> None:
    ground = Image.new("L", (640, 480), level).convert(mode)

    plain, after = marked(ground, mark(strength)), marked(ground, mark(strength), logo())

    assert reddish(plain) == 0
    assert reddish(after) > 100
    assert after.size == ground.size
    assert after.mode == ("RGB" if mode == "L" else mode)
    assert share_of_changed(ground, after) < 0.3


@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_logo_of_one_colour_shows_on_a_ground_of_the_same(colour: str) -> None:
    ground = Image.new("RGB", (640, 480), colour)
    disc = Image.new("RGBA", (90, 90))
    disc.paste(colour, (20, 20, 70, 70))

    plain, after = (marked(ground, mark(Strength.SUBTLE), one) for one in (None, disc))

    assert ImageChops.difference(plain, after).getbbox() is not None
    assert contrast(plain, after) >= 60


def test_a_picture_too_small_for_a_logo_bears_the_words_alone() -> None:
    ground = Image.new("RGB", (96, 64), "grey")

    assert marked(ground, mark(Strength.FIRM), logo()) == marked(ground, mark(Strength.FIRM))


@pytest.mark.parametrize("size", [(2_000, 4), (4, 2_000), (1, 1)])
def test_a_logo_of_any_shape_can_be_drawn(size: tuple[int, int]) -> None:
    ground = Image.new("RGB", (800, 600), "white")

    after = marked(ground, mark(Strength.MEDIUM), Image.new("RGBA", size, (200, 0, 0, 255)))

    assert after.size == ground.size
