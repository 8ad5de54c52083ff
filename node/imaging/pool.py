"""The node's side of picture decoding: jobs out to worker processes, checked answers back.

Belongs here: the calls, who gets a worker when, time limits, cancellation, and distrust of
every answer.
Never here: a picture library; this process looks at a picture's first 32 bytes and no further.

A job has its worker alone. A job that ends in any other way than with an answer (time over,
cancelled, worker dead) takes its worker with it, so no answer can reach another job.

What may leave the machine or is looked at comes from a process that has seen no other picture:
previews and screens get a fresh worker each. Only thumbnail jobs share workers, and only while
more of them wait, so that no idle process keeps pixels in its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import msgspec

from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.formats import RAW, SNIFF_BYTES, THUMBNAIL_FORMAT, require_format, sniff
from node.imaging.inspect.finding import GROUPS as FINDING_GROUPS
from node.imaging.inspect.finding import (
    MAX_FINDINGS,
    MAX_LINES,
    Disclosure,
    Finding,
    bounded_lines,
    shown,
)
from node.imaging.likeness import LIKENESS_BYTES
from node.imaging.messages import (
    MAX_PICTURE_BYTES,
    Answer,
    CleanJob,
    CleanMade,
    HashJob,
    Inspected,
    InspectJob,
    Job,
    JobRefused,
    Limits,
    LogoJob,
    LogoMade,
    Mark,
    Ownership,
    PixelsHashed,
    PreviewJob,
    PreviewMade,
    ScreenJob,
    ScreenMade,
    Strength,
    ThumbnailJob,
    ThumbnailsMade,
    Wall,
    unpack_disclosure_untrusted,
    unpack_findings_untrusted,
)
from node.imaging.metadata import GROUPS
from node.imaging.processes import WarmParent, Worker, WorkerFaultError
from node.imaging.strip.container import container_of
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy
from protocol.errors import LimitError

__all__ = [
    "CleanCopy",
    "Contents",
    "ImagingCode",
    "ImagingError",
    "ImagingPool",
    "Limits",
    "Mark",
    "Measured",
    "Ownership",
    "Pixels",
    "Rendered",
    "Strength",
    "StripError",
]

T = TypeVar("T")

MAX_THUMBNAIL_EDGE: Final = 4_096
MAX_PREVIEW_EDGE: Final = 16_384
MAX_SCREEN_EDGE: Final = 8_192
MAX_LOGO_BYTES: Final = 1 << 20
"""Of a logo: more than its pixels take."""

_DIGEST_BYTES: Final = 32
_JOBS_PER_WORKER: Final = 64
"""Thumbnail jobs of one worker while an import runs: forking costs as much as a small picture."""
_REPORT_SECONDS: Final = 2.0
"""A dead worker's socket closes before its parent has reaped it; the report follows at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an import needs to know of a picture."""

    format: str
    """One of formats.FORMATS."""
    width: int
    """Pixels as seen: orientation applied. Of a raw file those of its sensor."""
    height: int
    thumbnails: dict[int, bytes] = field(repr=False)
    """Encoded thumbnails by the size asked for: upright, sRGB, without metadata."""
    thumbnail_format: str
    likeness: bytes = field(default=b"", repr=False)
    """8 bytes that are much the same for pictures that look alike; empty for an even picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A preview, encoded anew from pixels."""

    data: bytes = field(repr=False)
    format: str
    """`jpeg`, or `png` where something is transparent."""
    width: int
    height: int
    removed: tuple[str, ...]
    """Groups of metadata (metadata.GROUPS) that the source carries and this does not."""
    kept: tuple[str, ...]
    """Of `icc` and `ownership`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCopy:
    """A copy whose every pixel is the source's, without what the source says besides."""

    data: bytes = field(repr=False)
    format: str
    removed: tuple[str, ...]
    """Groups of metadata (metadata.GROUPS) that the source carries and this does not."""
    kept: tuple[str, ...]
    """Groups that this carries."""
    disclosure: Disclosure
    """The same in plain words; values of the picture's own stand in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a picture carries besides its pixels."""

    found: tuple[str, ...]
    """Groups of metadata (metadata.GROUPS) that it carries."""
    kept: tuple[str, ...]
    """Those that a clean copy of it would carry."""
    clean_bytes: int
    """Length of a clean copy; 0 where there is a problem."""
    problem: StripError | ImagingError | None
    """Why there can be no clean copy."""
    findings: tuple[Finding, ...]
    """What it tells, fit to be shown; nothing for one that cannot be read."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What it tells in plain words; values of the picture's own stand in them."""
        return bounded_lines(one.value for one in self.findings if one.plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """A picture for a screen: sRGB, three bytes a pixel, rows from the top."""

    width: int
    height: int
    rgb: bytes = field(repr=False)


class ImagingPool:
    """Decodes pictures in worker processes, at most ``workers`` at a time, in order of arrival.

    Every method takes any bytes and raises ImagingError, whatever they contain: code
    `empty` and `unknown_format` without asking a worker, else `broken`, `too_large`,
    `timeout` or `crashed`. The pool stays usable after each of them. Cancelling a call
    kills its worker and frees its place.
    """

    def __init__(self, workers: int | None = None, *, limits: Limits | None = None) -> None:
        self._slots = asyncio.Semaphore(workers or os.cpu_count() or 1)
        self._limits = limits or Limits()
        self._starting = asyncio.Lock()
        self._parent: WarmParent | None = None
        self._thumbnails_waiting = 0
        self._idle: list[Worker] = []
        """Workers between two thumbnail jobs; never more than such jobs wait."""
        self._closed = False

    async def start(self) -> None:
        """Load the picture library in the warm parent; ImagingError `crashed` if it cannot run."""
        await self._warm_parent()

    @property
    def walls(self) -> tuple[Wall, ...]:
        """What stands around every worker, as tried at the start; empty before `start`."""
        return () if self._parent is None else self._parent.walls

    async def close(self) -> None:
        """End every process. Jobs under way or waiting fail with `crashed`. May be repeated."""
        self._closed = True
        async with self._starting:
            parent, self._parent = self._parent, None
            if parent is not None:
                await parent.stop()
        while self._idle:
            self._idle.pop().dismiss()

    async def measure_and_thumbnail(
        self, data: bytes, sizes: Sequence[int] = (256, 1024)
    ) -> Measured:
        """Decode the whole picture, measure it, and make a thumbnail for each size.

        sizes: long edges in pixels, 1 to 4,096; a smaller picture is not enlarged.
        """
        _require_edges(MAX_THUMBNAIL_EDGE, *sizes)
        picture_format = require_format(data)

        def accept(answer: Answer, body: bytes) -> Measured:
            match answer:
                case ThumbnailsMade(format=said, width=width, height=height, lengths=lengths):
                    _trust(said == picture_format or (said, picture_format) == (RAW, "tiff"))
                    _trust(width > 0 and height > 0)
                    _trust(len(answer.likeness) in (0, LIKENESS_BYTES))
                    _trust(len(lengths) == len(sizes))
                    thumbnails = dict(zip(sizes, _cut(body, lengths), strict=True))
                    formats = {sniff(thumbnail) for thumbnail in thumbnails.values()}
                    _trust(formats == {THUMBNAIL_FORMAT})
                    return Measured(
                        format=said,
                        width=width,
                        height=height,
                        thumbnails=thumbnails,
                        thumbnail_format=THUMBNAIL_FORMAT,
                        likeness=answer.likeness,
                    )
            raise WorkerFaultError

        return await self._run(ThumbnailJob(sizes=tuple(sizes)), data, accept)

    async def render_preview(
        self,
        data: bytes,
        long_edge: int,
        *,
        mark: Mark | None = None,
        logo: bytes = b"",
        ownership: Ownership | None = None,
    ) -> Rendered:
        """Re-encode the picture from its pixels: upright, without metadata but a colour profile.

        long_edge: at most as many pixels, 1 to 16,384; a smaller picture is not enlarged.
        mark: a watermark to draw. logo: what it bears besides its words, of `make_logo`.
        ownership: a credit to write into the file.
        """
        _require_edges(MAX_PREVIEW_EDGE, long_edge)
        require_format(data)
        allowed = () if ownership is None else ("ownership",)
        logo = b"" if mark is None else logo
        job = PreviewJob(long_edge=long_edge, logo_bytes=len(logo), mark=mark, ownership=ownership)

        def accept(answer: Answer, body: bytes) -> Rendered:
            match answer:
                case PreviewMade(format=said, width=width, height=height):
                    _trust(said == sniff(body))
                    _trust(0 < width <= long_edge and 0 < height <= long_edge)
                    _trust(set(GROUPS).issuperset(answer.removed))
                    _trust(answer.kept in (allowed, ("icc", *allowed)))
                    return Rendered(
                        data=body,
                        format=said,
                        width=width,
                        height=height,
                        removed=answer.removed,
                        kept=answer.kept,
                    )
            raise WorkerFaultError

        return await self._run(job, data + logo if logo else data, accept)

    async def make_logo(self, data: bytes) -> bytes:
        """Return a picture, best one with transparency, as the logo of watermarks: a small PNG."""
        require_format(data)

        def accept(answer: Answer, body: bytes) -> bytes:
            _trust(isinstance(answer, LogoMade))
            _trust(sniff(body) == "png" and len(body) <= MAX_LOGO_BYTES)
            return body

        return await self._run(LogoJob(), data, accept)

    async def clean(
        self,
        data: bytes,
        *,
        ownership: Ownership | None = None,
        policy: StripPolicy = DEFAULT_POLICY,
    ) -> CleanCopy:
        """Return a clean copy, with a credit where one is given; its pixels are compared.

        policy: what may stay besides orientation and colour profile. Raises StripError too:
        `unsupported` for what cannot be taken apart or credited, `not_clean` and
        `pixels_differ` for a copy that did not pass its checks.
        """
        if sniff(data[:SNIFF_BYTES]) == RAW:
            raise StripError(StripCode.UNSUPPORTED, Detail.RAW)
        picture_format = _container(data)

        def accept(answer: Answer, body: bytes) -> CleanCopy:
            match answer:
                case CleanMade(format=said, removed=removed, kept=kept, copy_bytes=length):
                    copy = body[:length]
                    _trust(0 < length <= len(body))
                    _trust(said == picture_format == _container(copy))
                    _trust(set(GROUPS).issuperset(removed) and set(GROUPS).issuperset(kept))
                    return CleanCopy(
                        data=copy,
                        format=said,
                        removed=removed,
                        kept=kept,
                        disclosure=_disclosure(body[length:]),
                    )
            raise WorkerFaultError

        copy = await self._run(CleanJob(ownership=ownership, policy=policy), data, accept)
        # What made the copy does not also judge it.
        before, after = await asyncio.gather(
            self.hash_pixels(data, picture_format),
            self.hash_pixels(copy.data, picture_format),
            return_exceptions=True,
        )
        if isinstance(before, BaseException):
            raise before
        if before != after:
            raise StripError(StripCode.PIXELS_DIFFER)
        return copy

    async def inspect(self, data: bytes, *, ownership: Ownership | None = None) -> Contents:
        """Say what a picture carries besides its pixels, and what a clean copy of it would.

        ownership: the credit that the copy would have. No pixel is looked at.
        """
        require_format(data)

        def accept(answer: Answer, body: bytes) -> Contents:
            match answer:
                case Inspected(found=found, kept=kept, clean_bytes=clean_bytes):
                    _trust(set(GROUPS).issuperset(found) and set(GROUPS).issuperset(kept))
                    _trust(clean_bytes >= 0)
                    problem = None
                    if answer.problem:
                        problem = _strip_refusal(answer.problem, answer.detail)
                    return Contents(
                        found=found,
                        kept=kept,
                        clean_bytes=clean_bytes,
                        problem=problem,
                        findings=_findings(body),
                    )
            raise WorkerFaultError

        return await self._run(InspectJob(ownership=ownership), data, accept)

    async def pixels(self, data: bytes, max_width: int, max_height: int) -> Pixels:
        """Decode the picture for a screen: sRGB on black, upright, fitted into the box.

        max_width, max_height: pixels, 1 to 8,192; a smaller picture is not enlarged.
        """
        _require_edges(MAX_SCREEN_EDGE, max_width, max_height)
        require_format(data)

        def accept(answer: Answer, body: bytes) -> Pixels:
            match answer:
                case ScreenMade(width=width, height=height):
                    _trust(0 < width <= max_width and 0 < height <= max_height)
                    _trust(len(body) == 3 * width * height)
                    return Pixels(width=width, height=height, rgb=body)
            raise WorkerFaultError

        return await self._run(ScreenJob(width=max_width, height=max_height), data, accept)

    async def hash_pixels(self, data: bytes, image_format: str) -> PixelsHashed:
        """Decode every frame of a picture and return one hash over what is seen.

        image_format: one of those that ``node.imaging.strip`` cleans. Two files have equal
        answers where they look the same to the last bit.
        """

        def accept(answer: Answer, _body: bytes) -> PixelsHashed:
            match answer:
                case PixelsHashed(width=width, height=height, frames=frames, digest=digest):
                    _trust(width > 0 and height > 0 and frames > 0)
                    _trust(len(digest) == _DIGEST_BYTES)
                    return answer
            raise WorkerFaultError

        return await self._run(HashJob(format=image_format), data, accept)

    async def _run(self, job: Job, data: bytes, accept: Callable[[Answer, bytes], T]) -> T:
        """Have one worker do one job, and return what accept makes of the answer."""
        if len(data) > MAX_PICTURE_BYTES:
            raise ImagingError(ImagingCode.TOO_LARGE)
        async with self._place(job):
            worker: Worker | None = None
            try:
                async with asyncio.timeout(self._limits.wall_seconds):
                    worker = await self._hire(job)
                    answer, body = await worker.ask(job, data)
                result: T | ImagingError | StripError
                if isinstance(answer, JobRefused):
                    result = _refusal(answer)
                else:
                    result = accept(answer, body)
            except TimeoutError:
                await self._end(worker)
                raise ImagingError(ImagingCode.TIMEOUT) from None
            except WorkerFaultError:
                killed_by = await self._end(worker)
                if self._closed:
                    raise _stopped() from None
                out_of_time = killed_by == signal.SIGXCPU
                raise ImagingError(
                    ImagingCode.TIMEOUT if out_of_time else ImagingCode.CRASHED
                ) from None
            except BaseException:
                if worker is not None:
                    worker.dismiss()
                raise
            self._keep_or_dismiss(worker, job)
        if isinstance(result, ImagingError | StripError):
            raise result
        return result

    @contextlib.asynccontextmanager
    async def _place(self, job: Job) -> AsyncIterator[None]:
        """Wait for one of the places; a context in which the caller has it."""
        is_thumbnail = isinstance(job, ThumbnailJob)
        self._thumbnails_waiting += is_thumbnail
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            self._thumbnails_waiting -= is_thumbnail
            while len(self._idle) > self._thumbnails_waiting:
                self._idle.pop().dismiss()
            raise
        self._thumbnails_waiting -= is_thumbnail
        try:
            yield
        finally:
            self._slots.release()

    async def _hire(self, job: Job) -> Worker:
        if isinstance(job, ThumbnailJob) and self._idle:
            return self._idle.pop()
        parent = await self._warm_parent()
        try:
            return parent.hire(self._limits)
        except WorkerFaultError:
            if parent.alive:
                raise
        # It died since its last job, through no fault of this picture.
        return (await self._warm_parent()).hire(self._limits)

    def _keep_or_dismiss(self, worker: Worker, job: Job) -> None:
        worker.jobs_done += 1
        if (
            isinstance(job, ThumbnailJob)
            and worker.jobs_done < _JOBS_PER_WORKER
            and len(self._idle) < self._thumbnails_waiting
            and not self._closed
        ):
            self._idle.append(worker)
        else:
            worker.dismiss()

    async def _end(self, worker: Worker | None) -> int | None:
        """Kill a worker that failed and return the signal it died of."""
        if worker is None:
            return None
        worker.dismiss()
        killed_by = await worker.ended_by(_REPORT_SECONDS)
        if killed_by is None and self._parent is not None:
            # Not even the parent answers: all its workers go with it, and the next job
            # starts another.
            self._parent.abandon()
        return killed_by

    async def _warm_parent(self) -> WarmParent:
        async with self._starting:
            if self._closed:
                raise _stopped()
            if self._parent is not None and not self._parent.alive:
                await self._parent.stop()
                self._parent = None
            if self._parent is None:
                self._parent = await WarmParent.start()
            return self._parent


def _require_edges(largest: int, *edges: int) -> None:
    if not edges or not all(0 < edge <= largest for edge in edges):
        raise LimitError(f"edges of a picture are 1 to {largest} pixels here")


def _trust(condition: bool) -> None:
    """Go on only with an answer that a sound worker gives."""
    if not condition:
        raise WorkerFaultError


def _cut(body: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    """Cut the body into consecutive parts, none of them empty and nothing left over."""
    _trust(all(length > 0 for length in lengths) and sum(lengths) == len(body))
    start = 0
    for length in lengths:
        yield body[start : start + length]
        start += length


def _container(data: bytes) -> str:
    """Return the format by its first bytes; ImagingError `empty` or `unknown_format`."""
    try:
        return container_of(data[:SNIFF_BYTES])
    except StripError as refusal:
        raise ImagingError(ImagingCode(refusal.code), str(refusal)) from None


def _disclosure(body: bytes) -> Disclosure:
    try:
        said = unpack_disclosure_untrusted(body)
    except msgspec.MsgspecError:
        raise WorkerFaultError from None
    _trust(max(len(said.removed), len(said.kept)) <= MAX_LINES)
    return Disclosure(removed=tuple(map(shown, said.removed)), kept=tuple(map(shown, said.kept)))


def _findings(body: bytes) -> tuple[Finding, ...]:
    try:
        said = unpack_findings_untrusted(body)
    except msgspec.MsgspecError:
        raise WorkerFaultError from None
    _trust(len(said) <= MAX_FINDINGS + 1)
    _trust(all(one.group in FINDING_GROUPS for one in said))
    return tuple(replace(one, tag=shown(one.tag), value=shown(one.value)) for one in said)


def _refusal(answer: JobRefused) -> ImagingError | StripError:
    """Return the refusal in this module's words: a worker supplies a code, never text."""
    if answer.code in (StripCode.UNSUPPORTED, StripCode.NOT_CLEAN):
        return _strip_refusal(answer.code, answer.detail)
    _trust(answer.code in (ImagingCode.BROKEN, ImagingCode.TOO_LARGE, ImagingCode.UNKNOWN_FORMAT))
    return ImagingError(ImagingCode(answer.code))


def _strip_refusal(code: str, detail: str) -> StripError:
    _trust(code in set(StripCode) and detail in ("", *Detail))
    return StripError(StripCode(code), Detail(detail) if detail else None)


def _stopped() -> ImagingError:
    return ImagingError(ImagingCode.CRASHED, "the picture decoder is stopped")
