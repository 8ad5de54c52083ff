from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import uvloop

from node.imaging.messages import (
    FRAME,
    MAX_ANSWER_BYTES,
    MAX_HEAD_BYTES,
    MAX_PICTURE_BYTES,
    JobRefused,
    PreviewMade,
    ScreenMade,
    ThumbnailsMade,
)
from node.imaging.pool import ImagingError, ImagingPool, Limits, Measured
from protocol.errors import LimitError
from tests.node.imaging.held_pool import HeldPool, reply
from tests.node.imaging.process_tree import is_running, parent_of_workers, until, workers
from tests.support_pictures import corners, encoded, landscape, png, slow_picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SMALL = encoded(corners(), "PNG")


async def code_of(job: asyncio.Future[object] | asyncio.Task[object]) -> str:
    """Return the code with which a job is refused."""
    with pytest.raises(ImagingError) as refusal:
        await job
    return refusal.value.code


@pytest.fixture
async def pool() -> AsyncIterator[ImagingPool]:
    """A started pool of two workers, whose processes come to harm here."""
    pool = ImagingPool(2)
    await pool.start()
    yield pool
    await pool.close()


async def busy(pool: ImagingPool) -> tuple[asyncio.Task[object], int]:
    """Start a slow job; return it and its worker, which is stopped in the middle of it."""
    before = set(workers())
    job: asyncio.Task[object] = asyncio.create_task(pool.render_preview(slow_picture(), 64))
    (worker,) = await until(lambda: set(workers()) - before)
    await asyncio.sleep(0.3)
    os.kill(worker, signal.SIGSTOP)
    return job, worker


async def test_the_three_jobs_are_done(pool: ImagingPool) -> None:
    measured = await pool.measure_and_thumbnail(landscape(), sizes=(64, 300))
    rendered = await pool.render_preview(landscape(), 200)
    pixels = await pool.pixels(landscape(), 150, 150)

    assert (measured.format, measured.width, measured.height) == ("jpeg", 600, 400)
    assert list(measured.thumbnails) == [64, 300]
    assert measured.thumbnail_format == "jpeg"
    assert (rendered.format, rendered.width, rendered.height) == ("jpeg", 200, 133)
    assert (rendered.removed, rendered.kept) == (("exif", "gps"), ())
    assert (pixels.width, pixels.height, len(pixels.rgb)) == (150, 100, 45_000)


async def test_pixels_and_files_never_show_in_a_repr(pool: ImagingPool) -> None:
    shown = repr(
        [
            await pool.measure_and_thumbnail(SMALL),
            await pool.render_preview(SMALL, 64),
            await pool.pixels(SMALL, 8, 8),
        ]
    )

    assert "b'" not in shown
    assert "\\x" not in shown


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"no picture", "unknown_format"),
        (b"II*\0\x08\0\0\0", "broken"),
        (SMALL[: len(SMALL) // 2], "broken"),
        (png(20_000, 20_000), "too_large"),
        (b"\xff\xd8\xff" + bytes(MAX_PICTURE_BYTES), "too_large"),
    ],
    ids=["nothing", "text", "tiff", "half", "bomb", "giant"],
)
async def test_every_refusal_has_its_code(pool: ImagingPool, data: bytes, code: str) -> None:
    assert code == await code_of(asyncio.ensure_future(pool.measure_and_thumbnail(data)))
    assert code == await code_of(asyncio.ensure_future(pool.render_preview(data, 64)))
    assert code == await code_of(asyncio.ensure_future(pool.pixels(data, 64, 64)))


async def test_sizes_out_of_bounds_are_the_callers_fault(pool: ImagingPool) -> None:
    for job in (
        pool.measure_and_thumbnail(SMALL, ()),
        pool.measure_and_thumbnail(SMALL, (256, 0)),
        pool.measure_and_thumbnail(SMALL, (4_097,)),
        pool.render_preview(SMALL, 16_385),
        pool.pixels(SMALL, 64, 8_193),
    ):
        with pytest.raises(LimitError):
            await job


async def test_many_jobs_share_few_workers_and_each_gets_its_own_answer() -> None:
    pool = ImagingPool(2)
    pictures = [encoded(corners(40 + number, 40), "PNG") for number in range(40)]
    most = 0

    async def one(data: bytes) -> Measured:
        nonlocal most
        measured = await pool.measure_and_thumbnail(data, (32,))
        most = max(most, len(workers()))
        return measured

    measured = await asyncio.gather(*map(one, pictures))
    await pool.close()

    assert [one.width for one in measured] == [40 + number for number in range(40)]
    assert most <= 2


async def test_no_worker_stays_once_nothing_waits(pool: ImagingPool) -> None:
    await asyncio.gather(*(pool.measure_and_thumbnail(SMALL) for _ in range(10)))
    await pool.pixels(SMALL, 8, 8)

    await until(lambda: workers() == [])


async def test_a_preview_comes_from_a_process_that_saw_no_other_picture() -> None:
    pool = ImagingPool(1)
    await pool.start()
    seen = []
    for _ in range(3):
        job, worker = await busy(pool)
        seen.append(worker)
        os.kill(worker, signal.SIGCONT)
        job.cancel()
        await asyncio.wait([job])
        await until(lambda: workers() == [])
    await pool.close()

    assert len(set(seen)) == 3


async def test_a_killed_worker_fails_its_job_and_the_next_one_works(pool: ImagingPool) -> None:
    job, worker = await busy(pool)

    os.kill(worker, signal.SIGKILL)

    assert await code_of(job) == "crashed"
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80


async def test_a_job_over_its_wall_time_fails_and_the_next_one_works() -> None:
    pool = ImagingPool(1, limits=Limits(wall_seconds=1.0))
    await pool.start()
    job, worker = await busy(pool)

    assert await code_of(job) == "timeout"
    assert not is_running(worker)
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    await pool.close()


async def test_a_job_over_its_cpu_time_is_ended_by_the_kernel() -> None:
    pool = ImagingPool(1, limits=Limits(cpu_seconds=0))
    job = asyncio.ensure_future(pool.render_preview(slow_picture(), 6_000))

    assert await code_of(job) == "timeout"
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    await pool.close()


async def test_a_job_over_its_memory_is_too_large() -> None:
    pool = ImagingPool(1, limits=Limits(memory_bytes=250_000_000))
    job = asyncio.ensure_future(pool.measure_and_thumbnail(slow_picture()))

    assert await code_of(job) == "too_large"
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    await pool.close()


async def test_a_cancelled_job_frees_its_place_and_its_worker() -> None:
    pool = ImagingPool(1)
    await pool.start()
    job, worker = await busy(pool)

    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job

    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    await until(lambda: not is_running(worker))
    await pool.close()


async def test_cancelled_waiting_jobs_leave_nothing_behind() -> None:
    pool = ImagingPool(1)
    await pool.start()
    job, worker = await busy(pool)
    waiting = [asyncio.create_task(pool.measure_and_thumbnail(SMALL)) for _ in range(5)]
    await asyncio.sleep(0)

    for one in waiting[:4]:
        one.cancel()
    os.kill(worker, signal.SIGCONT)
    job.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one).__name__ for one in results] == ["CancelledError"] * 4 + ["Measured"]
    await until(lambda: workers() == [])
    await pool.close()


async def test_a_dead_parent_fails_what_runs_and_is_replaced(pool: ImagingPool) -> None:
    job, worker = await busy(pool)
    parent = parent_of_workers()
    assert parent is not None

    os.kill(parent, signal.SIGKILL)

    assert await code_of(job) == "crashed"
    await until(lambda: not is_running(worker))
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    assert parent_of_workers() != parent


async def test_a_parent_that_hangs_is_replaced() -> None:
    pool = ImagingPool(1, limits=Limits(wall_seconds=5.0))
    await pool.start()
    parent = parent_of_workers()
    assert parent is not None
    os.kill(parent, signal.SIGSTOP)

    assert await code_of(asyncio.ensure_future(pool.measure_and_thumbnail(SMALL))) == "timeout"
    await until(lambda: not is_running(parent))
    assert (await pool.measure_and_thumbnail(SMALL)).width == 80
    await pool.close()


async def test_closing_ends_every_process_and_every_job() -> None:
    pool = ImagingPool(1)
    await pool.start()
    running, worker = await busy(pool)
    waiting: asyncio.Task[object] = asyncio.create_task(pool.pixels(SMALL, 8, 8))
    parent = parent_of_workers()
    assert parent is not None

    await pool.close()

    assert not is_running(parent)
    assert not is_running(worker)
    assert await code_of(running) == "crashed"
    assert await code_of(waiting) == "crashed"
    assert await code_of(asyncio.ensure_future(pool.pixels(SMALL, 8, 8))) == "crashed"
    await pool.close()


async def test_nothing_outlives_a_node_that_is_killed() -> None:
    script = (
        "import asyncio\n"
        "from node.imaging.pool import ImagingPool\n"
        "from tests.support_pictures import slow_picture\n"
        "async def main():\n"
        "    pool = ImagingPool(1)\n"
        "    await pool.start()\n"
        "    print('started', flush=True)\n"
        "    await pool.render_preview(slow_picture(), 64)\n"
        "asyncio.run(main())\n"
    )
    node = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    # Before that, the parent's own trial of the walls is the worker to be seen.
    assert node.stdout is not None
    assert await asyncio.to_thread(node.stdout.readline) == "started\n"
    (worker,) = await until(lambda: workers(node.pid))
    parent = parent_of_workers(node.pid)
    assert parent is not None
    os.kill(worker, signal.SIGSTOP)

    node.kill()
    node.wait()

    await until(lambda: not is_running(parent) and not is_running(worker))
    node.stdout.close()


async def test_the_event_loop_goes_on_while_pictures_decode(pool: ImagingPool) -> None:
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            start = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - start)

    beating = asyncio.create_task(heartbeat())
    start = time.monotonic()
    await asyncio.gather(*(pool.pixels(slow_picture(), 512, 512) for _ in range(2)))
    taken = time.monotonic() - start
    beating.cancel()

    assert longest < taken / 3


def test_it_works_on_the_loop_the_node_runs_on() -> None:
    async def jobs() -> int:
        pool = ImagingPool(2)
        results = await asyncio.gather(*(pool.measure_and_thumbnail(SMALL) for _ in range(8)))
        job, worker = await busy(pool)
        os.kill(worker, signal.SIGKILL)
        assert await code_of(job) == "crashed"
        await pool.close()
        return len(results)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(jobs()) == 8


@pytest.fixture
async def held() -> AsyncIterator[HeldPool]:
    pool = HeldPool()
    yield pool
    pool.hang_up()


THUMBNAIL = encoded(corners(), "JPEG")
MEASURED = ThumbnailsMade(format="png", width=80, height=40, lengths=(len(THUMBNAIL),))
PREVIEWED = PreviewMade(format="jpeg", width=64, height=32, removed=("exif",), kept=("icc",))
changed = msgspec.structs.replace


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0",
        FRAME.pack(MAX_HEAD_BYTES + 1, 0),
        FRAME.pack(4, MAX_ANSWER_BYTES + 1),
        FRAME.pack(4, 0) + b"\xc1\xc1\xc1\xc1",
        reply(JobRefused(code="crashed")),
        reply(JobRefused(code="\x1b[2J")),
        reply(ScreenMade(width=80, height=40)),
        reply(PREVIEWED, THUMBNAIL),
        reply(MEASURED, THUMBNAIL[:-1]),
        reply(MEASURED, THUMBNAIL + b"\0"),
        reply(MEASURED, bytes(len(THUMBNAIL))),
        reply(changed(MEASURED, width=0), THUMBNAIL),
        reply(changed(MEASURED, height=-1), THUMBNAIL),
        reply(changed(MEASURED, format="jpeg"), THUMBNAIL),
        reply(changed(MEASURED, lengths=()), b""),
        reply(changed(MEASURED, lengths=(len(THUMBNAIL), 0)), THUMBNAIL),
        reply(changed(MEASURED, lengths=(-1, len(THUMBNAIL) + 1)), THUMBNAIL),
    ],
    ids=itertools.count(),
)
async def test_a_worker_that_lies_about_thumbnails_is_not_believed(
    held: HeldPool, said: bytes
) -> None:
    job: asyncio.Task[object] = asyncio.create_task(held.measure_and_thumbnail(SMALL, (64,)))
    held.answer(said)

    assert await code_of(job) == "crashed"


@pytest.mark.parametrize(
    "said",
    [
        reply(MEASURED, THUMBNAIL),
        reply(PREVIEWED, b""),
        reply(changed(PREVIEWED, format="png"), THUMBNAIL),
        reply(changed(PREVIEWED, width=65), THUMBNAIL),
        reply(changed(PREVIEWED, height=0), THUMBNAIL),
        reply(changed(PREVIEWED, removed=("\x1b[2J",)), THUMBNAIL),
        reply(changed(PREVIEWED, kept=("exif",)), THUMBNAIL),
    ],
    ids=itertools.count(),
)
async def test_a_worker_that_lies_about_a_preview_is_not_believed(
    held: HeldPool, said: bytes
) -> None:
    job: asyncio.Task[object] = asyncio.create_task(held.render_preview(SMALL, 64))
    held.answer(said)

    assert await code_of(job) == "crashed"


@pytest.mark.parametrize(
    "said",
    [
        reply(MEASURED, THUMBNAIL),
        reply(ScreenMade(width=4, height=4), bytes(47)),
        reply(ScreenMade(width=5, height=4), bytes(60)),
        reply(ScreenMade(width=0, height=4), b""),
    ],
    ids=itertools.count(),
)
async def test_a_worker_that_lies_about_pixels_is_not_believed(held: HeldPool, said: bytes) -> None:
    job: asyncio.Task[object] = asyncio.create_task(held.pixels(SMALL, 4, 4))
    held.answer(said)

    assert await code_of(job) == "crashed"


async def test_an_honest_answer_in_the_same_way_is_believed(held: HeldPool) -> None:
    job = asyncio.create_task(held.measure_and_thumbnail(SMALL, (64,)))
    held.answer(reply(MEASURED, THUMBNAIL))

    assert (await job).thumbnails == {64: THUMBNAIL}
