"""Handles on the decoding processes: the warm parent, and the workers it forks.

Belongs here: starting, feeding, killing and outliving them.
Never here: which worker does which job (``pool``), or what runs inside them (``worker``).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import socket
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from node.imaging.errors import ImagingCode, ImagingError
from node.imaging.messages import (
    FRAME,
    MAX_ANSWER_BYTES,
    MAX_HEAD_BYTES,
    Answer,
    Job,
    KillWorker,
    Limits,
    Order,
    Ready,
    StartWorker,
    Wall,
    WorkerEnded,
    pack,
    unpack_answer_untrusted,
    unpack_report,
)

_START_SECONDS: Final = 30.0
"""Loading Python and the picture library takes 0.3 s; a machine under load gets its time."""
_STOP_SECONDS: Final = 5.0
_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All that the parent gets of the node's environment: some Pythons do not start without."""
OWN_VARIABLES: Final = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Huge pages where the kernel has them: a fresh process pays for every page it first touches,
which is a fifth of the time of a large picture. And no threads of libraries: the parent forks."""


class WorkerFaultError(Exception):
    """A worker died, or said something that no sound worker says."""


class Worker:
    """One worker process, by its socket. Whoever asks it has it alone."""

    def __init__(self, jobs: socket.socket, kill: Callable[[], None]) -> None:
        self._jobs = jobs
        self._kill = kill
        self.jobs_done = 0
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether the process has not been reported dead."""
        return not self._ended.done()

    async def ask(self, job: Job, data: bytes) -> tuple[Answer, bytes]:
        """Send a job and its picture, wait for the answer; WorkerFaultError, and no time limit."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._jobs, pack(job, len(data)))
            await loop.sock_sendall(self._jobs, data)
            head_length, body_length = FRAME.unpack(await _receive(self._jobs, FRAME.size))
            if head_length > MAX_HEAD_BYTES or body_length > MAX_ANSWER_BYTES:
                raise WorkerFaultError
            answer = unpack_answer_untrusted(await _receive(self._jobs, head_length))
            return answer, await _receive(self._jobs, body_length)
        except (OSError, EOFError, msgspec.MsgspecError):
            raise WorkerFaultError from None

    async def ended_by(self, within: float) -> int | None:
        """Return the signal that ended the process, 0 for none; None if it lives on.

        within: seconds to wait for the report.
        """
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._ended), within)
        return None

    def dismiss(self) -> None:
        """Kill the process, whatever it is doing, and let go of it."""
        self._jobs.close()
        if self.alive:
            self._kill()

    def report_ended(self, signal: int) -> None:
        """Note that the process is gone."""
        if self.alive:
            self._ended.set_result(signal)


class WarmParent:
    """The process that has the picture library loaded and forks workers. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._numbers = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._abandoned = False
        self.walls: tuple[Wall, ...] = ()
        """What stands around every worker, as tried when this process started."""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listener = asyncio.create_task(self._listen(), name="imaging parent")

    @classmethod
    async def start(cls) -> WarmParent:
        """Start the process and wait until it can fork; ImagingError `crashed`."""
        environment = OWN_VARIABLES | {
            name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ
        }
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the folder the node was started in supplies no modules
                    "-m",
                    "node.imaging.worker",
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    env=environment,
                    cwd="/",
                    start_new_session=True,  # Ctrl-C is for the node, which then stops this
                )
        except OSError:
            ours.close()
            raise _does_not_start() from None
        parent = cls(process, ours)
        try:
            await asyncio.wait_for(asyncio.shield(parent._ready), _START_SECONDS)
        except (TimeoutError, EOFError):
            await parent.stop()
            raise _does_not_start() from None
        except asyncio.CancelledError:
            await parent.stop()
            raise
        return parent

    @property
    def alive(self) -> bool:
        """Whether the process still answers for its workers."""
        return not self._abandoned and not self._listener.done()

    def hire(self, limits: Limits) -> Worker:
        """Order a fresh worker; it may be asked at once. WorkerFaultError without a parent."""
        number = next(self._numbers)
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            raise WorkerFaultError from None
        ours.setblocking(False)
        try:
            with theirs:
                self._order(StartWorker(number=number, limits=limits), theirs.fileno())
        except WorkerFaultError:
            ours.close()
            raise
        worker = self._workers[number] = Worker(ours, functools.partial(self._kill, number))
        return worker

    def abandon(self) -> None:
        """Kill the process without asking; the kernel ends its workers with it."""
        # Its end is reported later than it happens: nobody hires from it in between.
        self._abandoned = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Close the control socket, on which everything ends, and wait for the end."""
        self._listener.cancel()
        await asyncio.wait([self._listener])
        self._control.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self.abandon()
            await self._process.wait()

    def _kill(self, number: int) -> None:
        with contextlib.suppress(WorkerFaultError):  # the parent's death was the worker's too
            self._order(KillWorker(number=number))

    def _order(self, order: Order, *descriptors: int) -> None:
        try:
            # Orders are short and promptly read: one that does not fit means nobody reads.
            socket.send_fds(self._control, [pack(order)], descriptors)
        except OSError:
            self.abandon()
            raise WorkerFaultError from None

    async def _listen(self) -> None:
        """Take reports until the process is gone; then no worker of it lives."""
        try:
            while True:
                head_length, _ = FRAME.unpack(await _receive(self._control, FRAME.size))
                match unpack_report(await _receive(self._control, head_length)):
                    case Ready(walls=walls):
                        self.walls = walls
                        self._ready.set_result(None)
                    case WorkerEnded(number=number, signal=signal):
                        self._workers.pop(number).report_ended(signal)
        except (OSError, EOFError):
            pass
        finally:
            for worker in self._workers.values():
                worker.report_ended(0)
            self._workers.clear()
            if not self._ready.done():
                self._ready.set_exception(EOFError())


def _does_not_start() -> ImagingError:
    return ImagingError(ImagingCode.CRASHED, "the picture decoder does not start")


async def _receive(connection: socket.socket, length: int) -> bytes:
    """Return exactly length bytes; EOFError, OSError."""
    loop = asyncio.get_running_loop()
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        count = await loop.sock_recv_into(connection, rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return bytes(data)
