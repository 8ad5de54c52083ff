"""Import with encryption and durable commit, against bare Pillow thumbnails."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from node.imaging.made import made_pictures
from tests.bench.bench_imaging import LARGE, _bare_pillow, _forked, _readable
from tests.node.services.team import Person, team
from tests.support import samples

ROUNDS = 3


def run() -> list[dict[str, Any]]:
    """Return pictures a second of imports and of bare thumbnails of the same files."""
    cores = os.cpu_count() or 1
    large = made_pictures(4, LARGE)
    sets = {
        "sample photographs": _readable(samples("photos")),
        # A byte behind the end makes another file of the same picture.
        "24-megapixel JPEGs": [data + bytes([turn]) for turn in range(2) for _, data in large],
    }
    rows = []
    for what, pictures in sets.items():
        with tempfile.TemporaryDirectory() as folder:
            ours = max(asyncio.run(_import(Path(folder), pictures)))
        bare = max(len(pictures) / _forked(_bare_pillow, pictures, cores) for _ in range(ROUNDS))
        rows.append({
            "what": f"import of {len(pictures)} {what}", "value": ours, "unit": "pictures/s",
            "peer": "bare Pillow thumbnails", "ratio": ours / bare, "budget": ">= 0.8",
        })  # fmt: skip
    return rows


async def _import(folder: Path, pictures: list[bytes]) -> list[float]:
    files = folder / "files"
    files.mkdir()
    for number, data in enumerate(pictures):
        (files / f"{number:03}").write_bytes(data)
    rates = []
    for number in range(ROUNDS):
        home = folder / str(number)
        home.mkdir()
        async with team(home, "alice") as (alice,):
            # The pool's parent process is warm in a node that runs.
            await alice.import_pictures(1)
            rates.append(await _timed(alice, files, len(pictures)))
        shutil.rmtree(home)
    return rates


async def _timed(alice: Person, files: Path, count: int) -> float:
    begin = time.perf_counter()
    result = await alice.node.library.import_paths(
        [str(files)], album=None, tags=[], classification="internal", progress=lambda *_: None
    )
    seconds = time.perf_counter() - begin
    assert len(result["images"]) == count, result["failed"]
    return count / seconds
