"""Every sample photograph and every broken one, through the strip as people use it."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from node.imaging.pixels import configure_decoders
from node.imaging.pool import CleanCopy, ImagingPool
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.policy import StripPolicy
from protocol.errors import SafelightError
from tests.node.imaging.strip.traps import holds_canary
from tests.support import samples
from tests.support_pictures import HEADER_ONLY, corrupt_files, photographs

EVERYTHING = StripPolicy(depth_maps=True, previews=True, capture_time=True)


async def stripped_samples(
    files: dict[str, bytes], policy: StripPolicy | None = None
) -> dict[str, CleanCopy | str]:
    """Clean every file; a refusal counts as its code."""
    pool = ImagingPool(2)
    places = asyncio.Semaphore(3)

    async def one(data: bytes) -> CleanCopy | str:
        async with places:
            try:
                return await pool.clean(data, policy=policy or StripPolicy())
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
        if isinstance(one, CleanCopy):
            assert not holds_canary(one.data), name
            assert seen(one.data) == seen(files[name]), name
            assert strip_untrusted(one.data).data == one.data, name


async def test_no_policy_lets_a_canary_through() -> None:
    files = {name: data for name, data in photographs().items() if name.startswith("made")}

    results = await stripped_samples(files, EVERYTHING)

    assert len(results) == 10
    for name, one in results.items():
        assert isinstance(one, CleanCopy), name
        assert not holds_canary(one.data), name


async def test_every_broken_file_is_cleaned_or_refused_with_a_reason() -> None:
    files = corrupt_files()

    start = time.monotonic()
    results = await stripped_samples(files)

    assert len(results) == 86
    codes = {one for one in results.values() if isinstance(one, str)}
    assert codes <= {"empty", "unknown_format", "broken", "too_large", "unsupported", "not_clean"}
    assert time.monotonic() - start < 120


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
