"""What answers a peer's requests: a task for each, and the streams that follow.

Belongs here: calling the handler, refusing, sending streams as the peer takes them.
Never here: what an answer says (the handler), or when a request is over (the channel).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from msgspec import Struct

from node.faults import report_fault
from node.transport.outbox import Outbox
from node.transport.streams import full_messages
from protocol.channel.connection import Connection
from protocol.channel.frames import DATA_BYTES
from protocol.encoding import encode
from protocol.errors import LocalProtocolError, Reason, Refused, SafelightError
from protocol.messages import Denied, OpenRequest, Released, Streamed, encode_padded

_TURN_BYTES: Final = 4 * DATA_BYTES
"""What a stream seals before the next one has its turn."""

Reply: TypeAlias = Struct | tuple[Streamed, AsyncIterator[bytes]]
"""What answers a request: a message, or one that says how many bytes follow and the bytes."""


@dataclass(slots=True, eq=False)
class _Answering:
    """A request that is being answered."""

    task: asyncio.Task[None]
    writable: asyncio.Event = field(default_factory=asyncio.Event)


class Answers:
    """The requests of one peer that are being answered."""

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        *,
        decode: Callable[[bytes], Any],
        answer: Callable[[Any], Awaitable[Reply]],
        send: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._decode = decode
        self._handler = answer
        self._send = send
        self._answering: dict[int, _Answering] = {}

    def __len__(self) -> int:
        return len(self._answering)

    def begin(self, request_id: int, body: bytes) -> None:
        """Answer a request in a task of its own."""
        work = self._answer(request_id, body)
        task = asyncio.get_running_loop().create_task(work, name="answer")
        self._answering[request_id] = _Answering(task=task)
        task.add_done_callback(partial(self._on_answered, request_id))

    def cancel(self, request_id: int) -> None:
        """Stop answering: the peer no longer wants it."""
        if (answering := self._answering.get(request_id)) is not None:
            answering.task.cancel()

    def writable(self, request_id: int) -> None:
        """Let a stream go on: the peer takes more."""
        if (answering := self._answering.get(request_id)) is not None:
            answering.writable.set()

    def end(self) -> list[asyncio.Task[None]]:
        """Stop answering anything; return the tasks to wait for."""
        tasks = [one.task for one in self._answering.values()]
        self._answering.clear()
        for task in tasks:
            task.cancel()
        return tasks

    async def _answer(self, request_id: int, body: bytes) -> None:
        padded = False
        try:
            try:
                request = self._decode(body)
                padded = isinstance(request, OpenRequest)
                reply = await self._handler(request)
            except Refused as refusal:
                self._refuse(request_id, refusal.reason, padded=padded)
            except SafelightError:
                self._refuse(request_id, Reason.UNKNOWN, padded=padded)
            else:
                await self._reply(request_id, reply, padded=padded)
        except Exception as error:  # noqa: BLE001  one request must not end the session
            # A session that is over has cancelled this task; the handler may have missed that.
            if request_id in self._answering:
                report_fault("the answer to a peer", error)
                self._give_up(request_id, padded=padded)

    def _on_answered(self, request_id: int, task: asyncio.Task[None]) -> None:
        """Free a request's place; confirm to the peer that a cancelled one has ended."""
        if request_id in self._answering:
            if task.cancelled():
                self._give_up(request_id)
            del self._answering[request_id]
            self._send()

    def _give_up(self, request_id: int, *, padded: bool = False) -> None:
        """Say that no answer comes, or that its stream is not whole."""
        try:
            self._refuse(request_id, Reason.UNKNOWN, padded=padded)
        except LocalProtocolError:
            with contextlib.suppress(LocalProtocolError):
                self._connection.reset_stream(request_id)

    def _refuse(self, request_id: int, reason: Reason, *, padded: bool) -> None:
        if padded:
            self._connection.send_answer(request_id, encode_padded(Denied(reason=reason.value)))
        else:
            self._connection.send_refusal(request_id, reason)

    async def _reply(self, request_id: int, reply: Reply, *, padded: bool) -> None:
        if isinstance(reply, tuple):
            head, pieces = reply
            self._connection.send_answer(request_id, encode(head), stream_follows=True)
            self._send()
            await self._stream(request_id, head.length, pieces)
        elif padded and isinstance(reply, Released | Denied):
            self._connection.send_answer(request_id, encode_padded(reply))
        else:
            self._connection.send_answer(request_id, encode(reply))

    async def _stream(self, request_id: int, length: int, pieces: AsyncIterator[bytes]) -> None:
        """Send a stream as the peer and the link take it; break it off where it is not whole."""
        left = length
        try:
            async with contextlib.aclosing(full_messages(pieces)) as messages:
                async for data in messages:
                    left -= len(data)
                    await self._send_turns(request_id, data)
        except Exception as error:  # noqa: BLE001  the peer learns that it is not the whole
            if request_id in self._answering:
                self._connection.reset_stream(request_id)
                if not isinstance(error, SafelightError):
                    report_fault("a stream to a peer", error)
            return
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        if left:
            self._connection.reset_stream(request_id)
        else:
            self._connection.end_stream(request_id)

    async def _send_turns(self, request_id: int, data: memoryview) -> None:
        writable = self._answering[request_id].writable
        while data:
            part = data[:_TURN_BYTES]
            while self._connection.stream_credit(request_id) < len(part):
                writable.clear()
                await writable.wait()
            async with self._outbox.turn():
                self._connection.send_stream(request_id, part)
                self._send()
            data = data[len(part) :]
