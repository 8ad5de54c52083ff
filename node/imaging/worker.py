"""The decoding processes: a warm parent that forks, and the workers it forks.

Belongs here: reading jobs, doing them, writing answers; forking, reaping, killing.
Never here: anything the node runs in its own process, or asyncio.

Started as ``python -m node.imaging.worker`` with its control socket as standard input. It loads
the picture library once, tries behind which of the kernel's walls a worker can decode, then
forks a worker for each order, each with a socket pair of its own to the node. Forking happens
here because this process has one thread and no secrets.
When the control socket closes, however the node ended, every worker dies and so does this.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from node.imaging import rendition
from node.imaging.confine import (
    Walls,
    allow_cpu_seconds,
    confine_worker,
    keep_pixels_in_memory,
    possible_walls,
    silence_standard_streams,
    weaker_walls,
)
from node.imaging.contents import groups_untrusted, look_untrusted, make_clean_untrusted
from node.imaging.decode import configure_pillow
from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.formats import RAW
from node.imaging.inspect.finding import Finding
from node.imaging.messages import (
    FRAME,
    Answer,
    CleanJob,
    CleanMade,
    HashJob,
    Inspected,
    InspectJob,
    Job,
    JobRefused,
    KillWorker,
    Limits,
    LogoJob,
    LogoMade,
    Mark,
    Ownership,
    PixelsHashed,
    PreviewJob,
    PreviewMade,
    Ready,
    Report,
    ScreenJob,
    ScreenMade,
    StartWorker,
    Strength,
    ThumbnailJob,
    ThumbnailsMade,
    WorkerEnded,
    pack,
    pack_told,
    unpack_answer_untrusted,
    unpack_job,
    unpack_order,
)
from node.imaging.pixels import configure_decoders, hash_pixels_untrusted
from node.imaging.strip.errors import StripError
from node.imaging.tiny import tiny_pictures

_MARK: Final = Mark(name="ö", words="warm up", date="", code="", strength=Strength.MEDIUM)
_CODECS: Final = ("ascii", "latin-1", "utf-8", "utf-16-le", "utf-16-be")
"""In which metadata is written; Python loads each from a file at its first use."""
_CREDIT: Final = Ownership(creator="ö", rights="©", terms="none")
_TRIAL_SECONDS: Final = 10
"""For a handful of tiny pictures, which take some milliseconds."""


def perform(job: Job, data: bytes) -> tuple[Answer, bytes]:
    """Do one job; whatever is wrong with the picture becomes a JobRefused."""
    try:
        match job:
            case ThumbnailJob():
                return _thumbnails(job, data)
            case LogoJob():
                return LogoMade(), rendition.make_logo_untrusted(data)
            case PreviewJob():
                return _preview(job, data)
            case CleanJob():
                return _clean(job, data)
            case InspectJob():
                return _inspect(job, data)
            case ScreenJob():
                return _screen(job, data)
            case HashJob():
                return _hash(job, data)
    except StripError as refusal:
        return JobRefused(code=refusal.code, detail=refusal.detail or ""), b""
    except ImagingError as refusal:
        return JobRefused(code=refusal.code), b""
    except MemoryError:
        return JobRefused(code=ImagingCode.TOO_LARGE), b""


def _thumbnails(job: ThumbnailJob, data: bytes) -> tuple[Answer, bytes]:
    made = rendition.make_thumbnails_untrusted(data, job.sizes)
    encoded = [made.encoded[size] for size in job.sizes]
    answer = ThumbnailsMade(
        format=made.format,
        width=made.width,
        height=made.height,
        lengths=tuple(len(one) for one in encoded),
        likeness=made.likeness,
    )
    return answer, b"".join(encoded)


def _preview(job: PreviewJob, data: bytes) -> tuple[Answer, bytes]:
    end = len(data) - job.logo_bytes
    picture, logo = (data[:end], data[end:]) if job.logo_bytes else (data, b"")
    made = rendition.make_preview_untrusted(
        picture, job.long_edge, job.mark, job.ownership, logo=logo
    )
    answer = PreviewMade(
        format=made.format,
        width=made.width,
        height=made.height,
        removed=made.removed,
        kept=made.kept,
    )
    return answer, made.encoded


def _clean(job: CleanJob, data: bytes) -> tuple[Answer, bytes]:
    made = make_clean_untrusted(data, job.ownership, job.policy)
    answer = CleanMade(
        format=made.format, removed=made.removed, kept=made.kept, copy_bytes=len(made.data)
    )
    return answer, made.data + pack_told(made.disclosure)


def _inspect(job: InspectJob, data: bytes) -> tuple[Answer, bytes]:
    try:
        made = make_clean_untrusted(data, job.ownership)
    except StripError as refusal:
        answer = Inspected(
            found=groups_untrusted(data),
            kept=(),
            clean_bytes=0,
            problem=refusal.code,
            detail=refusal.detail or "",
        )
        return answer, pack_told(_look(data))
    answer = Inspected(found=made.found, kept=made.kept, clean_bytes=len(made.data), problem="")
    return answer, pack_told(made.findings)


def _look(data: bytes) -> tuple[Finding, ...]:
    """Return what a picture tells of which there is no clean copy; nothing for a broken one."""
    try:
        return look_untrusted(data)
    except StripError:
        return ()


def _screen(job: ScreenJob, data: bytes) -> tuple[Answer, bytes]:
    made = rendition.make_screen_untrusted(data, (job.width, job.height))
    return ScreenMade(width=made.width, height=made.height), made.rgb


def _hash(job: HashJob, data: bytes) -> tuple[Answer, bytes]:
    made = hash_pixels_untrusted(data, job.format)
    answer = PixelsHashed(
        width=made.width, height=made.height, frames=made.frames, digest=made.digest
    )
    return answer, b""


class _Worker:
    """One forked process: jobs in, answers out, until the node closes the socket."""

    def __init__(self, jobs: socket.socket, limits: Limits) -> None:
        self._jobs = jobs
        self._limits = limits

    def serve(self) -> None:
        while frame := _receive(self._jobs, FRAME.size):
            head_length, body_length = FRAME.unpack(frame)
            job = unpack_job(_receive(self._jobs, head_length))
            data = _receive(self._jobs, body_length)
            allow_cpu_seconds(self._limits.cpu_seconds)
            answer, body = perform(job, data)
            self._jobs.sendall(pack(answer, len(body)))
            self._jobs.sendall(body)


class _Parent:
    """The warm parent: forks on order, reports every worker that ends."""

    def __init__(self, control: socket.socket, walls: Walls, wanted: Walls) -> None:
        self._control = control
        self._walls = walls
        self._wanted = wanted
        self._workers: dict[int, int] = {}
        # A signal that arrives just before select would be slept through without this pipe.
        self._wakes, self._waker = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._waker, False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._report(Ready(walls=self._walls.describe(self._wanted)))
        while True:
            readable, _, _ = select.select([self._control.fileno(), self._wakes], [], [])
            if self._wakes in readable:
                os.read(self._wakes, 512)
                self._reap()
            if self._control.fileno() in readable and not self._obey():
                break
        for pid in self._workers.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _obey(self) -> bool:
        """Read and follow one order; False once the node is gone."""
        frame, descriptors, _, _ = socket.recv_fds(self._control, FRAME.size, 1)
        frame += _receive(self._control, FRAME.size - len(frame)) if frame else b""
        if not frame:
            return False
        match unpack_order(_receive(self._control, FRAME.unpack(frame)[0])):
            case StartWorker(number=number, limits=limits):
                self._fork(number, descriptors[0], limits)
                os.close(descriptors[0])
            case KillWorker(number=number) if number in self._workers:
                os.kill(self._workers[number], signal.SIGKILL)
        return True

    def _fork(self, number: int, jobs: int, limits: Limits) -> None:
        try:
            self._workers[number] = _fork_worker(jobs, limits, self._walls)
        except OSError:
            self._report(WorkerEnded(number=number, signal=0))

    def _reap(self) -> None:
        for number, pid in list(self._workers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._workers[number]
                self._report(WorkerEnded(number=number, signal=os.WTERMSIG(status)))

    def _report(self, report: Report) -> None:
        with contextlib.suppress(OSError):  # the node is gone; the next read says so
            self._control.sendall(pack(report))


def _fork_worker(jobs: int, limits: Limits, walls: Walls) -> int:
    """Return the process id of a new worker that serves one end of a socket pair; OSError."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _Worker(confine_worker(jobs, limits, parent, walls), limits).serve()
    finally:
        # Never back into the parent's loop, and no traceback of a picture's making.
        os._exit(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A job of the warm parent's own, and what it got."""

    job: Job
    data: bytes
    got: tuple[Answer, bytes]


def _strongest(possible: Walls, trials: Sequence[_Trial]) -> Walls:
    """Return the strongest walls behind which a worker does what this process has done."""
    for walls in weaker_walls(possible):
        if _try_worker(walls, trials) == [trial.got for trial in trials]:
            return walls
    return Walls()


def _try_worker(walls: Walls, trials: Sequence[_Trial]) -> list[tuple[Answer, bytes]]:
    """Return what a confined worker answers, as far as it comes."""
    answers = []
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = _fork_worker(theirs.fileno(), Limits(), walls)
        # A timeout of Python's own would make reads return early.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _TRIAL_SECONDS, 0))
        try:
            for trial in trials:
                ours.sendall(pack(trial.job, len(trial.data)) + trial.data)
                head_length, body_length = FRAME.unpack(_receive(ours, FRAME.size))
                answer = unpack_answer_untrusted(_receive(ours, head_length))
                answers.append((answer, _receive(ours, body_length)))
        except (OSError, struct.error, msgspec.MsgspecError):
            pass  # it ended, hangs or babbles: what it has answered says enough
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return answers


def _receive(connection: socket.socket, length: int) -> bytes:
    """Return exactly length bytes, or none where the other end has closed."""
    if not length:
        return b""
    data = connection.recv(length, socket.MSG_WAITALL)
    return data if len(data) == length else b""


def _warm_up() -> list[_Trial]:
    """Do every kind of job once, so that a worker, which can open no file, has all modules.

    Returns what came of the undamaged pictures.
    """
    for name in _CODECS:
        codecs.lookup(name)
    trials = []
    for name, whole in tiny_pictures():
        jobs: list[Job] = [
            ThumbnailJob(sizes=(4, 64)),
            LogoJob(),
            PreviewJob(long_edge=8, mark=_MARK, ownership=_CREDIT),
            CleanJob(ownership=_CREDIT),
            InspectJob(),
            ScreenJob(width=8, height=8),
        ]
        if name != RAW:  # it is never compared with a copy
            jobs.append(HashJob(format=name))
        for job in jobs:
            trials.append(_Trial(job=job, data=whole, got=perform(job, whole)))
            perform(job, whole[: len(whole) // 2])
            perform(job, whole[:40])
    return trials


def main() -> None:
    """Run the warm parent until the node goes away."""
    control = socket.socket(fileno=os.dup(0))
    configure_pillow()
    configure_decoders()
    trials = _warm_up()
    keep_pixels_in_memory()
    silence_standard_streams()
    wanted = possible_walls()
    walls = _strongest(wanted, trials)
    # What is loaded by now is shared with every worker and never collected.
    gc.collect()
    gc.freeze()
    _Parent(control, walls, wanted).run()


if __name__ == "__main__":
    main()
