"""Two real connections and a link that is a function call."""

from __future__ import annotations

import os
from collections.abc import Callable

from protocol.channel.connection import Connection
from protocol.channel.events import ConnectionClosed, Established, Event
from protocol.channel.frames import FrameType
from protocol.channel.offer import DIRECT, Offer
from protocol.channel.states import Role, State
from protocol.primitives import Data, Entropy, x25519_public

INITIATOR_SECRET = bytes([1]) * 32
RESPONDER_SECRET = bytes([2]) * 32
TEAM = bytes([7]) * 32


def make_initiator(
    *,
    secret: bytes = INITIATOR_SECRET,
    to: bytes = RESPONDER_SECRET,
    team_id: bytes = TEAM,
    offer: Offer = DIRECT,
    entropy: Entropy = os.urandom,
    now: int = 0,
) -> Connection:
    return Connection(
        role=Role.INITIATOR,
        static_secret=secret,
        remote_static=x25519_public(to),
        team_id=team_id,
        entropy=entropy,
        now=now,
        offer=offer,
    )


def make_responder(
    *,
    secret: bytes = RESPONDER_SECRET,
    team_id: bytes = TEAM,
    offer: Offer = DIRECT,
    entropy: Entropy = os.urandom,
    now: int = 0,
) -> Connection:
    return Connection(
        role=Role.RESPONDER,
        static_secret=secret,
        remote_static=None,
        team_id=team_id,
        entropy=entropy,
        now=now,
        offer=offer,
    )


def drain(connection: Connection) -> list[Event]:
    """Return every event that waits."""
    events = []
    while (event := connection.next_event()) is not None:
        events.append(event)
    return events


def closed(connection: Connection) -> ConnectionClosed:
    """Return the one ConnectionClosed that waits as the last event."""
    *before, last = drain(connection)

    assert connection.state is State.CLOSED
    assert isinstance(last, ConnectionClosed)
    assert not any(isinstance(event, ConnectionClosed) for event in before)
    return last


class Pair:
    """An open channel. ``pump`` carries messages until both sides are quiet."""

    def __init__(
        self, *, initiator: Connection | None = None, responder: Connection | None = None
    ) -> None:
        self.now = 0
        self.initiator = initiator or make_initiator()
        self.responder = responder or make_responder()
        self.pump()
        self.established = [drain(side)[0] for side in self.sides]

        assert all(isinstance(event, Established) for event in self.established)

    @property
    def sides(self) -> tuple[Connection, Connection]:
        return self.initiator, self.responder

    def pump(self) -> None:
        while deliver(self.initiator, self.responder, now=self.now) | deliver(
            self.responder, self.initiator, now=self.now
        ):
            pass

    def ask(self, *, stream: bool) -> int:
        """Let the initiator ask and the responder answer; return the id."""
        request_id = self.initiator.send_request(b"question")
        self.pump()
        self.responder.send_answer(request_id, b"answer", stream_follows=stream)
        self.pump()
        drain(self.initiator)
        drain(self.responder)
        return request_id


def deliver(
    source: Connection,
    target: Connection,
    *,
    now: int = 0,
    through: Callable[[bytes], bytes] = bytes,
) -> bool:
    """Carry what waits at source to target; say whether there was anything."""
    messages = source.data_to_send()
    for message in messages:
        target.receive_data(through(message), now=now)
    return bool(messages)


def forge(connection: Connection, kind: FrameType, request_id: int, payload: Data = b"") -> None:
    """Queue a frame that the connection's own rules may forbid."""
    connection._send(kind, request_id, payload)
