"""Changed files, as no camera and no program writes them, through strip, credit and inspection.

Whatever they hold, a worker answers with a clean copy or with a reason, in bounded time and room.
SAFELIGHT_LONG=1 tries for ten minutes. A failing number of a round is its seed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from node.imaging.messages import (
    CleanJob,
    CleanMade,
    Inspected,
    InspectJob,
    JobRefused,
    Ownership,
    unpack_disclosure_untrusted,
    unpack_findings_untrusted,
)
from node.imaging.strip.policy import StripPolicy
from node.imaging.worker import perform
from tests.node.imaging.strip import heif_files, traps
from tests.node.imaging.strip.test_tiff import plain_tiff
from tests.support_pictures import corners, corrupt_files, encoded, landscape, photographs

LONG = bool(os.environ.get("SAFELIGHT_LONG"))
ROUNDS = 600_000 if LONG else 4_000

EVERYTHING = StripPolicy(depth_maps=True, previews=True, capture_time=True)
CREDIT = Ownership(creator="Zoë", rights="© Zoë", terms="none")
JOBS = (
    CleanJob(),
    CleanJob(policy=EVERYTHING),
    CleanJob(policy=StripPolicy(gain_maps=False)),
    CleanJob(ownership=CREDIT),
    InspectJob(),
)
REFUSALS = {"empty", "unknown_format", "broken", "too_large", "unsupported", "not_clean"}
LARGEST = 100_000
"""Bytes of a file that is changed: larger ones take time and hold nothing new."""

NUMBERS = (
    *(bytes(4), b"\0\0\0\1", b"\1\0\0\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"),
    *(b"\0\0", b"\0\1", b"\1\0", b"\xff\xff", b"\x80\0", b"\0", b"\xff", b"\0\0\0\x08"),
)


def sources() -> list[bytes]:
    """Return the files that are changed: sample pictures, and made ones that hide something."""
    files = [data for data in (photographs() | corrupt_files()).values() if len(data) < LARGEST]
    made = [traps.trapped_jpeg(), traps.gain_map_jpeg(), heif_files.trapped(), landscape(60, 40)]
    made += [traps.animated(name) for name in ("PNG", "WEBP", "GIF")]
    made += [encoded(corners(), name) for name in ("TIFF", "AVIF", "WEBP")]
    made += [plain_tiff({}, {}), b"\xff\xd8\xff"]
    # The made ones are small, and every byte of them means something.
    return [data for data in files if data] + made * 4


def damaged(files: list[bytes], chance: random.Random) -> bytes:
    """Return a file with some bytes changed, gone, doubled or another's, mostly near its head."""
    changed = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 2, 3, 8, 20))):
        if not changed:
            break
        at = chance.randrange(min(len(changed), chance.choice((100, 500, 2_000, len(changed)))))
        chance.choice(CHANGES)(changed, at, files, chance)
    return bytes(changed[: 2 * LARGEST])


Change = Callable[[bytearray, int, list[bytes], random.Random], None]


def _byte(data: bytearray, at: int, _files: list[bytes], chance: random.Random) -> None:
    data[at] = chance.randrange(256)


def _bit(data: bytearray, at: int, _files: list[bytes], chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _number(data: bytearray, at: int, _files: list[bytes], chance: random.Random) -> None:
    number = chance.choice(NUMBERS)
    data[at : at + len(number)] = number


def _gone(data: bytearray, at: int, _files: list[bytes], chance: random.Random) -> None:
    del data[at : at + chance.randrange(1, 50)]


def _cut(data: bytearray, at: int, _files: list[bytes], _chance: random.Random) -> None:
    del data[at:]


def _twice(data: bytearray, at: int, _files: list[bytes], chance: random.Random) -> None:
    other = chance.randrange(len(data))
    data[at:at] = data[other : other + chance.randrange(1, 3_000)]


def _of_another(data: bytearray, at: int, files: list[bytes], chance: random.Random) -> None:
    other = chance.choice(files)
    start = chance.randrange(len(other))
    piece = other[start : start + chance.randrange(1, 3_000)]
    data[at : at + chance.choice((0, len(piece)))] = piece


CHANGES: tuple[Change, ...] = (
    _byte,
    _byte,
    _bit,
    _number,
    _number,
    _gone,
    _cut,
    _twice,
    _of_another,
)


@pytest.mark.slow
@pytest.mark.timeout(0 if LONG else 300)
def test_a_changed_file_is_cleaned_or_refused_in_bounded_time_and_room() -> None:
    files = sources()
    kinds = set()
    for number in range(ROUNDS):
        chance = random.Random(number)
        data = damaged(files, chance)
        job = chance.choice(JOBS)
        start = time.process_time()

        answer, body = perform(job, data)

        # A worker has ten seconds; this machine may be slow.
        assert time.process_time() - start < 10, number
        kinds.add(type(answer))
        match answer:
            case JobRefused(code=code):
                assert code in REFUSALS, number
            case Inspected(problem=problem):
                assert problem in {"", *REFUSALS}, number
                unpack_findings_untrusted(body)
                assert len(body) < 1_500_000, number
            case CleanMade(copy_bytes=length):
                # TIFF strips may be shared by a few pages, and a credit takes its place.
                assert 0 < length <= 5 * len(data) + 100_000, number
                said = unpack_disclosure_untrusted(body[length:])
                lines = (*said.removed, *said.kept)
                assert all(len(line.encode()) <= 256 for line in lines), number
                assert perform(CleanJob(policy=EVERYTHING), body[:length]), number
            case _:
                pytest.fail(f"round {number} was answered with {answer!r}")

    assert kinds == {JobRefused, Inspected, CleanMade}
