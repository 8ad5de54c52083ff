"""Clean copies as the pool makes them: in one process, judged by the pixels of two others."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest

from node.imaging.errors import ImagingError
from node.imaging.inspect.finding import Disclosure, Finding
from node.imaging.messages import (
    Answer,
    CleanJob,
    CleanMade,
    Inspected,
    Job,
    JobRefused,
    pack_told,
)
from node.imaging.pool import ImagingPool
from node.imaging.strip.engine import strip_untrusted
from node.imaging.strip.errors import Detail, StripError
from node.imaging.strip.policy import StripPolicy
from protocol.errors import SafelightError
from tests.node.imaging.held_pool import HeldPool, reply
from tests.node.imaging.strip import traps
from tests.support_pictures import corners, encoded

SOURCE = encoded(corners(), "PNG")
NOTHING = pack_told(Disclosure(removed=(), kept=()))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
async def test_a_copy_is_compared_with_its_source(pool: ImagingPool, image_format: str) -> None:
    source = encoded(corners(), image_format)

    copy = await pool.clean(source)

    assert copy.format == image_format.lower()
    assert copy.data == strip_untrusted(source).data


async def test_a_copy_says_what_became_of_everything(pool: ImagingPool) -> None:
    keep = StripPolicy(capture_time=True)

    copy = await pool.clean(traps.trapped_jpeg(), policy=keep)

    assert "position 48.8500 N 2.3500 E" in copy.disclosure.removed
    assert "taken 2024:05:06 07:08:09" in copy.disclosure.kept
    assert {"gps", "maker_note", "thumbnail"} <= set(copy.removed)
    assert copy.data == strip_untrusted(traps.trapped_jpeg(), keep).data


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF"])
async def test_every_frame_counts(pool: ImagingPool, image_format: str) -> None:
    source = traps.animated(image_format)

    whole = await pool.hash_pixels(source, image_format.lower())
    first = await pool.hash_pixels(encoded(traps.frames()[0], image_format), image_format.lower())

    assert whole.frames == 3
    assert first.frames == 1
    assert whole.digest != first.digest


async def test_a_source_that_no_decoder_takes_is_refused(pool: ImagingPool) -> None:
    short = b"".join(
        traps.chunk(kind, payload[: len(payload) // 2] if kind == b"IDAT" else payload)
        for kind, payload in traps.png_chunks(SOURCE)
    )

    with pytest.raises(ImagingError) as refusal:
        await pool.clean(SOURCE[:8] + short)

    assert refusal.value.code == "broken"


async def test_what_is_not_supported_is_said_exactly(pool: ImagingPool) -> None:
    sequence = b"\0\0\0\x18ftypavis\0\0\0\0msf1avis" + b"\0\0\0\x08meta\0\0\0\x08moov"

    with pytest.raises(StripError) as refusal:
        await pool.clean(sequence)
    looked = await pool.inspect(sequence)

    assert refusal.value.detail is Detail.SEQUENCE
    assert str(refusal.value) == "sequences of HEIF and AVIF are not cleaned"
    assert isinstance(looked.problem, StripError)
    assert looked.problem.detail is Detail.SEQUENCE


@pytest.fixture
async def held() -> AsyncIterator[HeldPool]:
    pool = HeldPool()
    yield pool
    pool.hang_up()
    await pool.close()


def made(copy: bytes) -> CleanMade:
    return CleanMade(format="png", removed=(), kept=(), copy_bytes=len(copy))


@pytest.mark.parametrize("other", [encoded(corners().rotate(90), "PNG"), SOURCE[:60]])
async def test_a_copy_that_looks_different_is_refused(held: HeldPool, other: bytes) -> None:
    held.answer(reply(made(other), other + NOTHING))

    with pytest.raises(StripError) as refusal:
        await held.clean(SOURCE)

    assert refusal.value.code == "pixels_differ"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (made(b""), NOTHING),
        (made(SOURCE), SOURCE),
        (made(SOURCE), SOURCE + NOTHING + b"\0"),
        (made(SOURCE), SOURCE + pack_told(Disclosure(removed=("a",) * 65, kept=()))),
        (made(encoded(corners(), "GIF")), encoded(corners(), "GIF") + NOTHING),
        (msgspec.structs.replace(made(SOURCE), copy_bytes=1 << 40), SOURCE + NOTHING),
        (msgspec.structs.replace(made(SOURCE), copy_bytes=-1), SOURCE + NOTHING),
        (msgspec.structs.replace(made(SOURCE), removed=("\x1b[2J",)), SOURCE + NOTHING),
        (JobRefused(code="unsupported", detail="\x1b[2J"), b""),
        (JobRefused(code="pixels_differ"), b""),
    ],
    ids=itertools.count(),
)
async def test_a_worker_that_lies_about_a_copy_is_not_believed(
    held: HeldPool, answer: Answer, body: bytes
) -> None:
    held.answer(reply(answer, body))

    with pytest.raises(SafelightError) as refusal:
        await held.clean(SOURCE)

    assert refusal.value.code == "crashed"


INSPECTED = Inspected(found=("exif",), kept=(), clean_bytes=1, problem="")
FINDING = Finding(group="who", tag="Exif Artist", value="artist \x1b[2JAnn", sensitive=True)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (INSPECTED, b""),
        (INSPECTED, b"\xc1"),
        (INSPECTED, pack_told([FINDING] * 2_002)),
        (INSPECTED, pack_told([Finding(group="x", tag="", value="", sensitive=True)])),
        (msgspec.structs.replace(INSPECTED, found=("x",)), pack_told([])),
        (msgspec.structs.replace(INSPECTED, clean_bytes=-1), pack_told([])),
        (msgspec.structs.replace(INSPECTED, problem="\x1b"), pack_told([])),
        (made(SOURCE), SOURCE + NOTHING),
    ],
    ids=itertools.count(),
)
async def test_a_worker_that_lies_about_findings_is_not_believed(
    held: HeldPool, answer: Answer, body: bytes
) -> None:
    held.answer(reply(answer, body))

    with pytest.raises(ImagingError) as refusal:
        await held.inspect(SOURCE)

    assert refusal.value.code == "crashed"


async def test_what_a_worker_says_is_fit_to_be_shown(held: HeldPool) -> None:
    held.answer(reply(INSPECTED, pack_told([FINDING])))

    contents = await held.inspect(SOURCE)

    assert contents.lines == ("artist [2JAnn",)


async def test_text_of_a_copy_is_fit_to_be_shown(held: HeldPool) -> None:
    told = pack_told(Disclosure(removed=("a\x1b[2Jb",), kept=("c\nd",)))
    held.answer(reply(made(SOURCE), SOURCE + told))

    copy = await held.clean(SOURCE)

    assert copy.disclosure == Disclosure(removed=("a[2Jb",), kept=("c d",))
    assert isinstance(CleanJob(), Job)
