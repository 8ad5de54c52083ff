"""The pump: moves bytes, events and time between a channel and its link.

Belongs here: feed, drain events, send, re-arm the timer; the requests that wait.
Never here: a decision of the protocol (``protocol.channel``), sockets (``websocket``),
or answering (``answers``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol, Self, overload

from msgspec import Struct

from node.errors import UnreachableError
from node.faults import reported_faults
from node.ports import Clock
from node.transport.answers import Answers, Reply
from node.transport.codec import NODE_CODEC, Codec
from node.transport.link import Link
from node.transport.outbox import Outbox
from node.transport.streams import Inbox, IncomingStream
from protocol.channel.connection import Connection
from protocol.channel.events import (
    AnswerReceived,
    Cancelled,
    ConnectionClosed,
    Established,
    Event,
    RefusalReceived,
    RequestReceived,
    StreamData,
    StreamEnded,
    StreamReset,
    StreamWritable,
)
from protocol.encoding import encode
from protocol.errors import Reason, Refused, RemoteProtocolError
from protocol.messages import Answer, Denied, Message, OpenRequest, decode_padded_untrusted

_FLUSH_S: Final = 1.0
"""How long the last messages of a session may take to leave."""

__all__ = ["Handler", "Reply", "Session", "SessionClosedError", "StreamBrokenError"]


class SessionClosedError(UnreachableError):
    """The session ended before the request was answered or the stream complete."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the connection to the peer has ended: {reason}")
        self.reason = reason
        """The short code of ``ConnectionClosed``, or ``lost`` where the link ended first."""


class StreamBrokenError(UnreachableError):
    """The peer broke a stream off; what has come is not the whole."""


class Handler(Protocol):
    """Answers requests. It runs in a task of its own, cancelled where nobody waits any more."""

    def __call__(self, session: Session, request: Any) -> Awaitable[Reply]:
        """Return the reply, or raise Refused. Any other SafelightError refuses as unknown."""
        ...


class Session:
    """One open channel: requests out, requests in.

    Made by ``open``. Many requests may be under way at once, in both directions.
    """

    def __init__(
        self,
        link: Link,
        connection: Connection,
        *,
        initiator: bool,
        clock: Clock,
        handler: Handler,
        codec: Codec,
        relayed: bool,
    ) -> None:
        self._link = link
        self._connection = connection
        self._clock = clock
        self._codec = codec
        self._loop = asyncio.get_running_loop()
        self.relayed = relayed
        """Whether a rendezvous carries it."""
        self.initiator = initiator
        """Whether this side dialled."""
        self.peer_key = b""
        """The peer's agreement key, 32 bytes, proved. Whose it is, the roster says."""
        self.handshake_hash = b""
        """The channel's own 64 bytes; open requests are bound to them."""
        self.closed = asyncio.Event()
        """Set once the session is over."""
        self.close_reason = ""
        """Why it is over: the code of ``ConnectionClosed``, ``lost`` or ``overrun``."""
        self.heard_at = clock.monotonic()
        """When the peer was last heard, in milliseconds of the monotonic clock."""
        self.requests = 0
        """How many requests there have been, in both directions."""

        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0
        self._asking = asyncio.Lock()
        self._request_free = asyncio.Event()
        self._asked: dict[int, asyncio.Future[tuple[bytes, Inbox]]] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._outbox = Outbox(link, overrun=partial(self._finish, "overrun"))
        self._answers = Answers(
            connection,
            self._outbox,
            decode=codec.decode_request,
            answer=partial(handler, self),
            send=self._send,
        )
        self._reader = self._loop.create_task(self._read(), name="session reader")
        self._writer = self._loop.create_task(self._write(), name="session writer")
        self._ending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        host, port = self._link.remote
        return f"Session({host}:{port}, {self.close_reason or self._connection.state})"

    @classmethod
    async def open(
        cls,
        link: Link,
        connection: Connection,
        *,
        initiator: bool,
        clock: Clock,
        handler: Handler,
        codec: Codec = NODE_CODEC,
        relayed: bool = False,
    ) -> Self:
        """Return a session once both sides have proved themselves.

        Raises SessionClosedError where they do not within the channel's handshake time. The
        link is the session's from here on.
        """
        session = cls(
            link,
            connection,
            initiator=initiator,
            clock=clock,
            handler=handler,
            codec=codec,
            relayed=relayed,
        )
        try:
            session._pump()
            await session._opened
        except BaseException:
            session._finish("lost")
            raise
        return session

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the peer; of the rendezvous where that carries the session."""
        return self._link.remote

    @property
    def busy(self) -> bool:
        """Whether a request or a stream of either side is under way."""
        return bool(self._asked or self._inboxes or len(self._answers))

    async def close(self, reason: str = "done") -> None:
        """End the session, tell the peer a short code why, and wait until nothing of it runs."""
        self._connection.close(reason)
        self._pump()
        assert self._ending is not None, "a closed channel has finished its session"
        await asyncio.shield(self._ending)

    # Asking ---------------------------------------------------------------------------------------

    @overload
    async def request(self, message: Message) -> Answer: ...
    @overload
    async def request(self, message: Struct) -> Struct: ...
    async def request(self, message: Struct) -> Struct:
        """Send a request and return its answer.

        Raises Refused for a typed no, SessionClosedError, and RemoteError where the peer's
        answer is none. Cancelling it cancels the request at the peer.
        """
        answer, stream = await self.request_stream(message)
        await stream.aclose()
        return answer

    @overload
    async def request_stream(self, message: Message) -> tuple[Answer, IncomingStream]: ...
    @overload
    async def request_stream(self, message: Struct) -> tuple[Struct, IncomingStream]: ...
    async def request_stream(self, message: Struct) -> tuple[Struct, IncomingStream]:
        """Send a request and return its answer and the bytes that follow it, if any.

        Raises as ``request`` does. The peer sends only what the reader keeps up with. A reader
        that wants no more calls ``aclose`` on the stream, is cancelled, or forgets it.
        """
        body, stream = await self._ask(encode(message))
        if isinstance(message, OpenRequest):
            answer: Struct = decode_padded_untrusted(body)
        else:
            answer = self._codec.decode_answer(body)
        if isinstance(answer, Denied):
            raise Refused(_reason_untrusted(answer))
        return answer, stream

    async def _ask(self, body: bytes) -> tuple[bytes, IncomingStream]:
        async with self._asking:
            while not self.closed.is_set() and not self._connection.requests_free:
                self._request_free.clear()
                await self._request_free.wait()
            if self.closed.is_set():
                raise SessionClosedError(self.close_reason)
            request_id = self._connection.send_request(body)
            self.requests += 1
        answered = self._asked[request_id] = self._loop.create_future()
        self._send()
        try:
            answer, inbox = await answered
        except asyncio.CancelledError:
            self._abandon(request_id)
            raise
        finally:
            del self._asked[request_id]
        stream = IncomingStream(
            inbox,
            consumed=partial(self._consumed, request_id),
            abandon=partial(self._abandon, request_id),
        )
        return answer, stream

    def _abandon(self, request_id: int) -> None:
        """Want no more of a request or its stream."""
        self._inboxes.pop(request_id, None)
        self._connection.cancel(request_id)
        self._send()

    def _consumed(self, request_id: int, size: int) -> None:
        self._connection.consume(request_id, size)
        self._send()

    # The pump -------------------------------------------------------------------------------------

    def _pump(self, data: bytes | None = None) -> None:
        """Feed, drain events, send, re-arm the timer."""
        connection = self._connection
        now = self._clock.monotonic()
        if data is not None:
            self.heard_at = now
            connection.receive_data(data, now=now)
        connection.handle_timer(now=now)
        while (event := connection.next_event()) is not None:
            self._ON[type(event)](self, event)
        if connection.requests_free:
            self._request_free.set()
        self._send()
        self._arm(now)

    def _send(self) -> None:
        """Hand what the channel has sealed to the writer."""
        if messages := self._connection.data_to_send():
            self._outbox.put(messages)

    def _arm(self, now: int) -> None:
        """See that the pump runs when the channel next waits for time to pass."""
        due = self._connection.next_timer()
        if due is None:
            self._disarm()
        # A timer that fires too early arms the next: cheaper than one for each message.
        elif self._timer is None or due < self._timer_due:
            self._disarm()
            self._timer_due = due
            self._timer = self._loop.call_later(max(0, due - now) / 1000, self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()

    def _on_established(self, event: Established) -> None:
        self.peer_key = event.remote_static
        self.handshake_hash = event.handshake_hash
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_request(self, event: RequestReceived) -> None:
        self.requests += 1
        self._answers.begin(event.request_id, event.body)

    def _on_cancelled(self, event: Cancelled) -> None:
        self._answers.cancel(event.request_id)

    def _on_writable(self, event: StreamWritable) -> None:
        self._answers.writable(event.request_id)

    def _on_answer(self, event: AnswerReceived) -> None:
        inbox = Inbox(ended=not event.stream_follows)
        if event.stream_follows:
            self._inboxes[event.request_id] = inbox
        # Cancelled in this very turn of the loop: whoever asked is about to abandon it.
        if not (asked := self._asked[event.request_id]).done():
            asked.set_result((event.body, inbox))

    def _on_refusal(self, event: RefusalReceived) -> None:
        if not (asked := self._asked[event.request_id]).done():
            asked.set_exception(Refused(event.reason))

    def _on_data(self, event: StreamData) -> None:
        if (inbox := self._inboxes.get(event.request_id)) is not None:
            inbox.put(event.data)

    def _on_stream_ended(self, event: StreamEnded) -> None:
        if (inbox := self._inboxes.pop(event.request_id, None)) is not None:
            inbox.end(None)

    def _on_stream_reset(self, event: StreamReset) -> None:
        if (inbox := self._inboxes.pop(event.request_id, None)) is not None:
            inbox.end(StreamBrokenError("the peer broke the transfer off"))

    def _on_closed(self, event: ConnectionClosed) -> None:
        self._finish(event.reason)

    _ON: ClassVar[Mapping[type[Event], Callable[[Session, Any], None]]] = {
        Established: _on_established,
        RequestReceived: _on_request,
        Cancelled: _on_cancelled,
        StreamWritable: _on_writable,
        AnswerReceived: _on_answer,
        RefusalReceived: _on_refusal,
        StreamData: _on_data,
        StreamEnded: _on_stream_ended,
        StreamReset: _on_stream_reset,
        ConnectionClosed: _on_closed,
    }

    # The end --------------------------------------------------------------------------------------

    def _finish(self, reason: str) -> None:
        """End everything that waits for the peer, then the link."""
        if self.closed.is_set():
            return
        self.close_reason = reason
        self.closed.set()
        self._disarm()
        # Says nothing where the channel has ended by itself, which is how most sessions end.
        self._connection.close(reason)
        self._send()
        self._outbox.end()
        if not self._opened.done():
            self._opened.set_exception(SessionClosedError(reason))
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(SessionClosedError(reason))
        for inbox in self._inboxes.values():
            inbox.end(SessionClosedError(reason))
        self._inboxes.clear()
        self._request_free.set()
        self._ending = self._loop.create_task(self._end(self._answers.end()), name="session end")

    async def _end(self, answering: list[asyncio.Task[None]]) -> None:
        """Let the last messages leave, then end the link and wait for every task."""
        await asyncio.wait({self._writer}, timeout=_FLUSH_S)
        self._writer.cancel()
        self._reader.cancel()
        await asyncio.wait({self._writer, self._reader})
        self._outbox.clear()
        with reported_faults("the end of a session"):
            await self._link.close()
        if answering:
            await asyncio.wait(answering)

    async def _read(self) -> None:
        """Feed the pump until the link ends."""
        receive, pump = self._link.receive, self._pump
        with reported_faults("a session"):
            while (data := await receive()) is not None:
                pump(data)
        self._finish("lost")

    async def _write(self) -> None:
        """Send what is sealed until the session is over."""
        with reported_faults("a session"), contextlib.suppress(OSError):
            await self._outbox.run()
        self._finish("lost")


def _reason_untrusted(denied: Denied) -> Reason:
    try:
        return Reason(denied.reason)
    except ValueError:
        raise RemoteProtocolError("a refusal for an unknown reason") from None
