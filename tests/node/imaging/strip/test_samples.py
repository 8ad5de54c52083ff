"""Every sample photograph and every broken one, through the strip as people use it."""

from __future__ import annotations

import asyncio
import io
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from node.imaging.inspect.words import disclosure_untrusted
from node.imaging.pixels import configure_decoders
from node.imaging.pool import ImagingPool
from node.imaging.strip.engine import Stripped, strip_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.strip.policy import StripPolicy
from node.imaging.strip.verified import strip_verified
from protocol.errors import SafelightError
from tests.node.imaging.strip.traps import holds_canary
from tests.support import samples
from tests.support_pictures import HEADER_ONLY, corrupt_files, photographs

LONG = bool(os.environ.get("SAFELIGHT_LONG"))
FUZZED = 20_000 if LONG else 600

EVERYTHING = StripPolicy(depth_maps=True, previews=True, capture_time=True)


async def stripped_samples(
    files: dict[str, bytes], policy: StripPolicy | None = None
) -> dict[str, Stripped | str]:
    """Clean every file; a refusal counts as its code."""
    pool = ImagingPool(2)
    places = asyncio.Semaphore(3)

    async def one(data: bytes) -> Stripped | str:
        async with places:
            try:
                return await strip_verified(pool, data, policy or StripPolicy())
            except SafelightError as refusal:
                return refusal.code

    try:
        results = await asyncio.gather(*map(one, files.values()))
    finally:
        await pool.close()
    return dict(zip(files, results, strict=True))


def seen(data: bytes) -> tuple[int, bytes | None]:
    """Return orientation and colour profile as the picture library reads them."""
    configure_decoders()
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(0x0112) or 1, image.info.get("icc_profile")


async def test_every_photograph_is_clean_and_looks_the_same_or_is_refused() -> None:
    files = photographs()

    results = await stripped_samples(files)

    refused = {name: one for name, one in results.items() if isinstance(one, str)}
    assert refused == {name: "broken" for name in files if name.endswith(HEADER_ONLY)}
    for name, one in results.items():
        if isinstance(one, Stripped):
            assert not holds_canary(one.data), name
            assert seen(one.data) == seen(files[name]), name
            assert strip_untrusted(one.data).data == one.data, name


async def test_no_policy_lets_a_canary_through() -> None:
    files = {name: data for name, data in photographs().items() if name.startswith("made")}

    results = await stripped_samples(files, EVERYTHING)

    assert len(results) == 10
    for name, one in results.items():
        assert isinstance(one, Stripped), name
        assert not holds_canary(one.data), name


async def test_every_broken_file_is_cleaned_or_refused_with_a_reason() -> None:
    files = corrupt_files()

    start = time.monotonic()
    results = await stripped_samples(files)

    assert len(results) == 86
    codes = {one for one in results.values() if isinstance(one, str)}
    assert codes <= {"empty", "unknown_format", "broken", "too_large", "unsupported", "not_clean"}
    assert time.monotonic() - start < 120


@pytest.mark.slow
def test_changed_files_are_cleaned_or_refused_in_bounded_time_and_room() -> None:
    files = [data for data in (photographs() | corrupt_files()).values() if 0 < len(data) < 100_000]
    chance = random.Random(20_300_131)
    codes = set()
    for _ in range(FUZZED):
        data = damaged(chance.choice(files), chance)
        start = time.monotonic()
        try:
            stripped = strip_untrusted(data, chance.choice((StripPolicy(), EVERYTHING)))
            disclosure = disclosure_untrusted(stripped)
            assert len(stripped.data) <= 5 * len(data) + 100_000
            assert all(len(line.encode()) <= 256 for line in disclosure.removed)
        except StripError as refusal:
            codes.add(refusal.code)
        assert time.monotonic() - start < 20

    assert codes <= {"empty", "unknown_format", "broken", "too_large", "unsupported", "not_clean"}


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return data with some bytes changed, gone, doubled or new, mostly near its beginning."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 3, 20))):
        if not changed:
            break
        at = chance.randrange(min(len(changed), chance.choice((100, 2_000, len(changed)))))
        match chance.randrange(6):
            case 0 | 1:
                changed[at] = chance.randrange(256)
            case 2:
                extreme = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1")
                changed[at : at + 4] = chance.choice(extreme)
            case 3:
                del changed[at : at + chance.randrange(1, 50)]
            case 4:
                del changed[at:]
            case _:
                other = chance.randrange(len(changed))
                changed[at:at] = changed[other : other + chance.randrange(1, 3_000)]
    return bytes(changed)


def exiftool() -> list[str]:
    """Return the command of exiftool 13 or newer, or skip: older ones see less."""
    named = os.environ.get("SAFELIGHT_EXIFTOOL") or shutil.which("exiftool")
    if not named:
        pytest.skip("exiftool is absent; name it in $SAFELIGHT_EXIFTOOL")
    perl = shutil.which("perl")
    command = [perl, named] if perl and not os.access(named, os.X_OK) else [named]
    version = subprocess.run([*command, "-ver"], capture_output=True, text=True, check=True).stdout
    if int(version.split(".")[0]) < 13:
        pytest.skip(f"exiftool {version.strip()} is older than 13 and does not see enough")
    return command


STRUCTURE = (
    *("ExifTool", "System", "File", "Composite", "JFIF", "PNG", "PNG-pHYs", "RIFF", "GIF"),
    *("Adobe", "QuickTime", "Meta", "HEVC"),
)
"""Groups of exiftool that say how the pixels are coded."""
TIFF_STRUCTURE = (
    *("SubfileType", "ImageWidth", "ImageHeight", "BitsPerSample", "Compression", "FillOrder"),
    *("PhotometricInterpretation", "StripOffsets", "Orientation", "SamplesPerPixel"),
    *("RowsPerStrip", "StripByteCounts", "XResolution", "YResolution", "PlanarConfiguration"),
    *("ResolutionUnit", "Predictor", "ExtraSamples", "SampleFormat", "ReferenceBlackWhite"),
    *("YCbCrSubSampling", "YCbCrPositioning", "YCbCrCoefficients", "JPEGTables"),
)


def test_exiftool_finds_nothing_but_structure_orientation_and_profile(tmp_path: Path) -> None:
    command = exiftool()
    base = samples("photos")
    for name, data in photographs().items():
        if not name.endswith(HEADER_ONLY):
            target = tmp_path / name.replace("/", "_")
            target.write_bytes(strip_untrusted(data).data)
    assert len(list(tmp_path.iterdir())) == 75, base

    found = subprocess.run(
        [*command, "-ee3", "-a", "-G1", "-s", "-U", "-r", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    left = []
    for line in found.splitlines():
        group, _, rest = line.removeprefix("[").partition("]")
        tag = rest.split(":")[0].strip()
        if not line.startswith("[") or group in STRUCTURE or group.startswith("ICC"):
            continue
        if group == "IFD0" and tag in TIFF_STRUCTURE:
            continue
        if group == "XMP-tiff" and tag == "Orientation":
            continue
        left.append(line)
    assert left == []
