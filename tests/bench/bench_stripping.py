"""Stripping: clean copies a second, alone and verified, against exiftool, Pillow and pyvips.

Belongs here: measurements, each as a dict with what was measured and its figures.
Never here: assertions; the tests next to the code hold what must be true.

All work on the same files in one run, and are compared by the processor's time that they take,
so that a machine with other work to do does not decide. Pillow and pyvips decode and encode
again, so their pixels are not the source's; exiftool copies as Safelight does, and leaves more
behind. Whichever of exiftool and pyvips is not there is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from node.imaging.made import made_pictures
from node.imaging.pool import ImagingPool
from node.imaging.strip.container import container_of
from node.imaging.strip.engine import strip_untrusted
from protocol.errors import SafelightError
from tests.support_pictures import HEADER_ONLY, photographs

ROUNDS = 3
LARGE = (6000, 4000)


def run() -> list[dict[str, Any]]:
    """Measure; rates are megabytes of source a second of one core, best of three rounds."""
    warnings.simplefilter("ignore")
    samples = [data for name, data in photographs().items() if not name.endswith(HEADER_ONLY)]
    by_format: dict[str, list[bytes]] = {}
    for data in samples:
        by_format.setdefault(container_of(data), []).append(data)
    large = [made_pictures(1, LARGE)[0][1]] * 4
    rows = [_compared("24-megapixel JPEGs", large, "jpeg")]
    rows += [
        _compared(f"sample photographs, {name}", some, name) for name, some in by_format.items()
    ]
    rows.append(_typical(by_format["jpeg"]))
    rows.append(asyncio.run(_verified("24-megapixel JPEGs, compared", large)))
    rows.append(asyncio.run(_verified("all sample photographs, compared", samples)))
    return rows


def _compared(what: str, pictures: list[bytes], image_format: str) -> dict[str, Any]:
    """Alternate the ways, so that a noisy machine is noisy for all."""
    size = sum(map(len, pictures)) / 1e6
    ways: dict[str, Callable[[list[bytes]], float | None]] = {
        "strip": lambda some: _timed(strip_untrusted, some),
        "pillow": lambda some: _saved_again(some, image_format),
        "pyvips": lambda some: _saved_by_vips(some, image_format),
        "exiftool": _exiftool,
    }
    best: dict[str, float] = {}
    start = time.perf_counter()
    for data in pictures:
        strip_untrusted(data)
    wall = time.perf_counter() - start
    for _ in range(ROUNDS):
        for way, measure in ways.items():
            seconds = measure(pictures)
            if seconds:
                best[way] = max(best.get(way, 0), size / seconds)
    row = {
        "what": f"strip: {what}",
        "value": best["strip"],
        "unit": "MB/s",
        "by_the_clock": round(size / wall, 1),
    }
    for peer in ("pillow", "pyvips", "exiftool"):
        if peer in best:
            row[f"{peer}_mb_per_second"] = round(best[peer], 1)
            row[f"ratio_to_{peer}"] = round(best["strip"] / best[peer], 1)
    return row


def _timed(job: Callable[[bytes], Any], pictures: list[bytes]) -> float:
    start = time.process_time()
    for data in pictures:
        job(data)
    return time.process_time() - start


def _saved_again(pictures: list[bytes], image_format: str) -> float | None:
    """Do what scripts do to be rid of metadata; None where the library does not know the format."""
    if image_format.upper() not in Image.registered_extensions().values():
        return None

    def save(data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as image:
            image.save(io.BytesIO(), image_format)

    return _timed(save, pictures)


def _saved_by_vips(pictures: list[bytes], image_format: str) -> float | None:
    """Do the same with pyvips; None where it is not there or lacks the format."""
    if importlib.util.find_spec("pyvips") is None:
        return None
    vips = importlib.import_module("pyvips")
    ending = {"jpeg": ".jpg", "tiff": ".tif", "heif": ".heic"}.get(image_format, f".{image_format}")

    def save(data: bytes) -> None:
        vips.Image.new_from_buffer(data, "").write_to_buffer(ending, keep="icc")

    try:
        return _timed(save, pictures)
    except vips.Error:
        return None


def _exiftool(pictures: list[bytes]) -> float | None:
    """Return the seconds of one process for all files, beyond what it takes to start."""
    named = os.environ.get("SAFELIGHT_EXIFTOOL") or shutil.which("exiftool")
    if not named:
        return None
    command = [named] if os.access(named, os.X_OK) else ["perl", named]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(pictures):
            Path(folder, f"{number:03}.{container_of(data)}").write_bytes(data)
        arguments = [*command, "-q", "-q", "-all=", "-o", f"{folder}/out/", folder]
        started = min(_of_children([*command, "-ver"]) for _ in range(3))
        took = _of_children(arguments) - started
        # Of some small pictures it takes no longer than starting varies: that says nothing.
        return took if took > started / 4 else None


def _of_children(command: list[str]) -> float:
    """Return the processor's seconds that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _typical(pictures: list[bytes]) -> dict[str, Any]:
    times = sorted(_timed(strip_untrusted, [data]) * 1000 for data in pictures * ROUNDS)
    return {
        "what": "strip: one sample JPEG, median",
        "value": statistics.median(times),
        "unit": "ms",
        "slowest_ms": round(times[-1], 1),
    }


async def _verified(what: str, pictures: list[bytes]) -> dict[str, Any]:
    """Measure the whole way: walk, check, and both decoded in workers on all cores."""
    pool = ImagingPool()
    await pool.start()
    try:
        start = time.perf_counter()
        results = await asyncio.gather(
            *(pool.clean(data) for data in pictures), return_exceptions=True
        )
        seconds = time.perf_counter() - start
    finally:
        await pool.close()
    refused = sum(isinstance(one, SafelightError) for one in results)
    return {
        "what": f"strip: {what}",
        "value": sum(map(len, pictures)) / 1e6 / seconds,
        "unit": "MB/s",
        "pictures_per_second": round(len(pictures) / seconds, 1),
        "refused": refused,
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    for row in run():
        print(row)
