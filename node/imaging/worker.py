"""The decoding processes: a warm parent that forks, and the workers it forks.

Belongs here: reading jobs, doing them, writing answers; forking, reaping, killing.
Never here: anything the node runs in its own process, or asyncio.

Started as ``python -m node.imaging.worker`` with its control socket as standard input. It loads
the picture library once, then forks a worker for each order, each with a socket pair of its
own to the node. Forking happens here because this process has one thread and no secrets.
When the control socket closes, however the node ended, every worker dies and so does this.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import signal
import socket

from PIL import Image, ImageCms

from node.imaging import rendition
from node.imaging.confine import (
    JOB_DESCRIPTOR,
    allow_cpu_seconds,
    confine_worker,
    keep_pixels_in_memory,
    silence_standard_streams,
)
from node.imaging.decode import configure_pillow
from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.messages import (
    FRAME,
    Answer,
    Job,
    JobRefused,
    KillWorker,
    Limits,
    PreviewJob,
    PreviewMade,
    Ready,
    Report,
    ScreenJob,
    ScreenMade,
    StartWorker,
    ThumbnailJob,
    ThumbnailsMade,
    WorkerEnded,
    pack,
    unpack_job,
    unpack_order,
)


def perform(job: Job, data: bytes) -> tuple[Answer, bytes]:
    """Do one job; whatever is wrong with the picture becomes a JobRefused."""
    try:
        match job:
            case ThumbnailJob():
                return _thumbnails(job, data)
            case PreviewJob():
                return _preview(job, data)
            case ScreenJob():
                return _screen(job, data)
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
    )
    return answer, b"".join(encoded)


def _preview(job: PreviewJob, data: bytes) -> tuple[Answer, bytes]:
    made = rendition.make_preview_untrusted(data, job.long_edge)
    answer = PreviewMade(
        format=made.format,
        width=made.width,
        height=made.height,
        removed=made.removed,
        kept=made.kept,
    )
    return answer, made.encoded


def _screen(job: ScreenJob, data: bytes) -> tuple[Answer, bytes]:
    made = rendition.make_screen_untrusted(data, (job.width, job.height))
    return ScreenMade(width=made.width, height=made.height), made.rgb


class _Worker:
    """One forked process: jobs in, answers out, until the node closes the socket."""

    def __init__(self, limits: Limits) -> None:
        self._jobs = socket.socket(fileno=JOB_DESCRIPTOR)
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

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, int] = {}
        # A signal that arrives just before select would be slept through without this pipe.
        self._wakes, self._waker = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._waker, False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._report(Ready())
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
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            self._report(WorkerEnded(number=number, signal=0))
            return
        if pid:
            self._workers[number] = pid
            return
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            confine_worker(jobs, limits, parent)
            _Worker(limits).serve()
        finally:
            # Never back into the parent's loop, and no traceback of a picture's making.
            os._exit(0)

    def _reap(self) -> None:
        for number, pid in list(self._workers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._workers[number]
                self._report(WorkerEnded(number=number, signal=os.WTERMSIG(status)))

    def _report(self, report: Report) -> None:
        with contextlib.suppress(OSError):  # the node is gone; the next read says so
            self._control.sendall(pack(report))


def _receive(connection: socket.socket, length: int) -> bytes:
    """Return exactly length bytes, or none where the other end has closed."""
    if not length:
        return b""
    data = connection.recv(length, socket.MSG_WAITALL)
    return data if len(data) == length else b""


def _warm_up() -> None:
    """Do every kind of job once, so that a worker, which can open no file, has all modules."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format in ("JPEG", "PNG", "WEBP", "GIF"):
        picture = io.BytesIO()
        Image.new("RGB", (16, 8)).save(picture, image_format, exif=exif, icc_profile=profile)
        whole = picture.getvalue()
        for data in (whole, whole[: len(whole) // 2], whole[:40]):
            perform(ThumbnailJob(sizes=(4,)), data)
            perform(PreviewJob(long_edge=8), data)
            perform(ScreenJob(width=8, height=8), data)


def main() -> None:
    """Run the warm parent until the node goes away."""
    control = socket.socket(fileno=os.dup(0))
    configure_pillow()
    _warm_up()
    keep_pixels_in_memory()
    silence_standard_streams()
    # What is loaded by now is shared with every worker and never collected.
    gc.collect()
    gc.freeze()
    _Parent(control).run()


if __name__ == "__main__":
    main()
