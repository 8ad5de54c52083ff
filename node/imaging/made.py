"""Pictures made by arithmetic: landscapes to try Safelight with, free of anybody's rights.

Belongs here: the maker, used by the demonstration, by tests and by benchmarks.
Never here: pictures that anybody took.

They carry what a camera writes, a position included, so that there is something to remove.
The same count and size give the same pixels.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import piexif
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

_QUALITY: Final = 90
_RIDGES: Final = 5
_GRAIN_TILE: Final = 256


@dataclass(frozen=True, slots=True)
class _Scene:
    name: str
    zenith: Colour
    horizon: Colour
    sun: Colour
    far: Colour
    """Of the farthest ridge; those between blend into `near`."""
    near: Colour
    latitude: float
    longitude: float


_SCENES: Final = (
    _Scene(
        "fjord at dawn", (46, 72, 128), (250, 196, 160), (255, 226, 180), (150, 146, 178),
        (22, 32, 50), 61.2144, 6.6193,
    ),
    _Scene(
        "dunes in the evening", (88, 96, 150), (252, 176, 112), (255, 214, 140), (214, 150, 104),
        (92, 46, 34), 24.7331, -4.9614,
    ),
    _Scene(
        "hills after rain", (112, 160, 206), (226, 238, 240), (255, 252, 232), (150, 178, 184),
        (34, 72, 44), 43.0711, 11.6822,
    ),
    _Scene(
        "winter ridge", (92, 126, 178), (214, 224, 240), (255, 250, 244), (176, 192, 216),
        (52, 68, 92), 46.5588, 7.8922,
    ),
    _Scene(
        "island at night", (8, 12, 34), (58, 70, 116), (206, 214, 240), (44, 52, 88),
        (6, 9, 20), 37.7412, -25.6756,
    ),
    _Scene(
        "red canyon", (74, 118, 176), (240, 206, 176), (255, 236, 196), (206, 132, 98),
        (88, 28, 24), 36.1069, -112.1129,
    ),
)  # fmt: skip


def made_pictures(count: int, size: tuple[int, int] = (1600, 1067)) -> list[tuple[str, bytes]]:
    """Return count pictures of size (width, height in pixels): file name and JPEG bytes."""
    return [_picture(number, size) for number in range(count)]


def _picture(number: int, size: tuple[int, int]) -> tuple[str, bytes]:
    scene = _SCENES[number % len(_SCENES)]
    round_number = number // len(_SCENES) + 1
    name = scene.name if round_number == 1 else f"{scene.name} {round_number}"
    output = io.BytesIO()
    image = _paint(scene, _numbers(number + 1), size)
    image.save(output, "JPEG", quality=_QUALITY, exif=_exif(scene, number, size))
    return f"{name}.jpg", output.getvalue()


def _paint(scene: _Scene, numbers: Iterator[float], size: tuple[int, int]) -> Image.Image:
    width, height = size
    horizon = 0.52 + 0.1 * next(numbers)
    fall = Image.linear_gradient("L").resize((width, round(height * horizon)))
    sky = Image.new("RGB", size, scene.horizon)
    sky.paste(
        Image.composite(
            Image.new("RGB", fall.size, scene.horizon),
            Image.new("RGB", fall.size, scene.zenith),
            fall,
        )
    )
    image = ImageChops.screen(sky, _sun(scene.sun, size, 0.2 + 0.6 * next(numbers), horizon))
    draw = ImageDraw.Draw(image)
    for ridge in range(_RIDGES):
        depth = ridge / (_RIDGES - 1)
        base = height * (horizon + (1 - horizon) * depth * 0.72)
        line = _ridge(numbers, base, height * (0.1 + 0.05 * depth), 0.5 - 0.1 * depth)
        points = [(width * step / (len(line) - 1), y) for step, y in enumerate(line)]
        draw.polygon([*points, (width, height), (0, height)], _blend(scene.far, scene.near, depth))
        # What is drawn so far recedes into haze.
        image.paste(image.filter(ImageFilter.GaussianBlur(width / 1600 * (1.6 - 1.2 * depth))))
    return ImageChops.add(image, _grain(numbers, size), scale=1.0, offset=-8)


def _sun(colour: Colour, size: tuple[int, int], x: float, horizon: float) -> Image.Image:
    """Return a glow above the horizon on black."""
    width, height = size
    reach = round(width * 0.9)
    glow = ImageChops.invert(Image.radial_gradient("L").resize((reach, reach)))
    # The gradient ends in the corners of its square; the glow has to end at the edges.
    glow = glow.point([round(255 * max(0, (level - 78) / 177) ** 2) for level in range(256)])
    disc = Image.new("L", (reach, reach))
    radius = width * 0.022
    middle = (reach / 2 - radius, reach / 2 - radius, reach / 2 + radius, reach / 2 + radius)
    ImageDraw.Draw(disc).ellipse(middle, fill=255)
    disc = disc.filter(ImageFilter.GaussianBlur(radius / 10))
    light = Image.new("RGB", size)
    corner = (round(width * x - reach / 2), round(height * (horizon - 0.17) - reach / 2))
    light.paste(colour, corner, ImageChops.lighter(glow, disc))
    return light


def _ridge(numbers: Iterator[float], base: float, height: float, roughness: float) -> list[float]:
    """Return the heights of a mountain line by midpoint displacement, from left to right."""
    line = [base - height * next(numbers) for _ in range(4)]
    while len(line) < 1_500:
        height *= roughness
        finer = [line[0]]
        for left, right in itertools.pairwise(line):
            finer += [(left + right) / 2 + height * (next(numbers) - 0.5), right]
        line = finer
    return line


def _grain(numbers: Iterator[float], size: tuple[int, int]) -> Image.Image:
    """Return faint noise around 8: without any, a picture compresses like no photograph."""
    tile = Image.frombytes(
        "L",
        (_GRAIN_TILE, _GRAIN_TILE),
        bytes(round(16 * next(numbers)) for _ in range(_GRAIN_TILE**2)),
    )
    grain = Image.new("L", size)
    for turn, left in enumerate(range(0, size[0], _GRAIN_TILE)):
        for top in range(0, size[1], _GRAIN_TILE):
            grain.paste(tile.transpose(Image.Transpose((turn + top) % 7)), (left, top))
    return Image.merge("RGB", (grain, grain, grain))


def _blend(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _numbers(seed: int) -> Iterator[float]:
    """Yield numbers from 0 to 1, the same ones for a seed (Lehmer's generator): not random."""
    state = seed * 48_271 % 2_147_483_647
    while True:
        state = state * 48_271 % 2_147_483_647
        yield state / 2_147_483_647


def _exif(scene: _Scene, number: int, size: tuple[int, int]) -> bytes:
    taken = f"2024:{number % 12 + 1:02}:{number % 28 + 1:02} 07:{number % 60:02}:00"
    exif: bytes = piexif.dump(
        {
            "0th": {
                piexif.ImageIFD.Make: "Safelight",
                piexif.ImageIFD.Model: "Arithmetic One",
                piexif.ImageIFD.ImageDescription: scene.name,
                piexif.ImageIFD.Orientation: 1,
                piexif.ImageIFD.DateTime: taken,
            },
            "Exif": {
                piexif.ExifIFD.DateTimeOriginal: taken,
                piexif.ExifIFD.BodySerialNumber: f"ARITHMETIC-{number:05}",
                piexif.ExifIFD.PixelXDimension: size[0],
                piexif.ExifIFD.PixelYDimension: size[1],
            },
            "GPS": {
                piexif.GPSIFD.GPSLatitudeRef: "N" if scene.latitude >= 0 else "S",
                piexif.GPSIFD.GPSLatitude: _degrees(scene.latitude),
                piexif.GPSIFD.GPSLongitudeRef: "E" if scene.longitude >= 0 else "W",
                piexif.GPSIFD.GPSLongitude: _degrees(scene.longitude),
            },
        }
    )
    return exif


def _degrees(angle: float) -> tuple[tuple[int, int], ...]:
    """Return degrees, minutes and seconds as Exif rationals."""
    hundredths = round(abs(angle) * 360_000)
    return (
        (hundredths // 360_000, 1),
        (hundredths // 6_000 % 60, 1),
        (hundredths % 6_000, 100),
    )
