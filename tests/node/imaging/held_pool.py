"""A pool whose worker is played by a test.

Belongs here: the socket in place of the process, and what a worker puts on it.
Never here: what is believed of it.
"""

from __future__ import annotations

import signal
import socket

from node.imaging.messages import Answer, HashJob, Job, pack
from node.imaging.pool import ImagingPool
from node.imaging.processes import Worker


class HeldPool(ImagingPool):
    """A pool with one worker that is a socket; only hashes are made by real ones."""

    def __init__(self) -> None:
        super().__init__(2)
        ours, self._theirs = socket.socketpair()
        ours.setblocking(False)
        self._held = Worker(ours, self.hang_up)

    async def _hire(self, job: Job) -> Worker:
        return await super()._hire(job) if isinstance(job, HashJob) else self._held

    def answer(self, reply: bytes) -> None:
        """Answer the one job with these bytes and hang up, as soon as it is asked."""
        self._theirs.sendall(reply)
        self._theirs.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Die."""
        self._theirs.close()
        self._held.report_ended(signal.SIGKILL)


def reply(answer: Answer, body: bytes = b"") -> bytes:
    """Return an answer as a worker sends it."""
    return pack(answer, len(body)) + body
