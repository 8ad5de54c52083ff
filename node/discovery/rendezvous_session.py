"""A control session with a rendezvous: opening one, asking, and the circuits it gives.

Belongs here: one request and its answer, and what somebody asks who does not attend.
Never here: the session that a node keeps (``rendezvous``), or what passes over a circuit.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, TypeVar

from msgspec import Struct

from node.errors import UnreachableError
from node.ports import Clock
from node.services.context import Context
from node.transport.codec import Codec
from node.transport.dialer import dial, dial_circuit
from node.transport.driver import Handler, Reply, Session
from node.transport.websocket import RENDEZVOUS_PATH, WebSocketLink
from protocol.errors import Reason, Refused, RemoteProtocolError
from protocol.labels import NO_TEAM
from protocol.messages import Done
from protocol.primitives import KEY_BYTES, Entropy
from protocol.rendezvous.address import RendezvousAddress
from protocol.rendezvous.messages import (
    Attend,
    Attending,
    Call,
    Circuit,
    JoinSlot,
    decode_server_answer_untrusted,
    decode_server_request_untrusted,
)

T = TypeVar("T", bound=Struct)

RENDEZVOUS_CODEC: Final = Codec(decode_server_request_untrusted, decode_server_answer_untrusted)
"""What a rendezvous says to a node."""

_DIAL_S: Final = 5.0
_DIALS: Final = 3
"""Of a newcomer, who has one code: a line that loses a third of its packets loses one dial in four,
and nothing is spent by a dial."""
_ANSWER_S: Final = 10.0
"""How long the server may take to answer: a durable deposit on a slow disk."""


async def open_session(
    address: RendezvousAddress,
    *,
    static_secret: bytes,
    handler: Handler,
    clock: Clock,
    entropy: Entropy,
) -> Session:
    """Return a control session with a rendezvous that has proved the key of its address."""
    return await dial(
        address.host,
        address.port,
        remote_static=address.key,
        static_secret=static_secret,
        team_id=NO_TEAM,
        handler=handler,
        clock=clock,
        entropy=entropy,
        timeout=_DIAL_S,
        path=RENDEZVOUS_PATH,
        codec=RENDEZVOUS_CODEC,
    )


async def ask(session: Session, message: Struct, kind: type[T]) -> T:
    """Return the server's answer of this kind; Refused, UnreachableError or RemoteError."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer = await session.request(message)
    except TimeoutError:
        raise UnreachableError("the rendezvous does not answer") from None
    if not isinstance(answer, kind):
        raise RemoteProtocolError("the rendezvous answers something else than was asked")
    return answer


async def open_circuit(address: RendezvousAddress, circuit: Circuit) -> WebSocketLink:
    """Return this end of a circuit that a rendezvous has made."""
    return await dial_circuit(address.host, address.port, circuit.token, timeout=_DIAL_S)


async def join_slot(
    address: RendezvousAddress, number: int, *, clock: Clock, entropy: Entropy
) -> WebSocketLink:
    """Return a circuit to whoever opened a slot of a rendezvous, as a stranger.

    The key shown to the server is fresh: it does not learn who joins. UnreachableError where
    the server is not there, Refused where it has no such slot, or not any more.
    """
    session = await _open_patiently(
        address, static_secret=entropy(KEY_BYTES), handler=deaf, clock=clock, entropy=entropy
    )
    try:
        return await open_circuit(address, await ask(session, JoinSlot(number=number), Circuit))
    finally:
        await session.close()


async def call_member(
    address: RendezvousAddress, agreement_key: bytes, *, team_id: bytes, context: Context
) -> tuple[WebSocketLink, bytes]:
    """Return a circuit to a member of a team that this node knows no roster of yet.

    Its administrator has just told the server of this node. Raises as `RendezvousClient.call`.
    """
    session = await _open_patiently(
        address,
        static_secret=context.identity.agreement_secret,
        handler=_polite,
        clock=context.clock,
        entropy=context.entropy,
    )
    try:
        await ask(session, Attend(team_id=team_id), Attending)
        circuit = await ask(session, Call(key=agreement_key), Circuit)
        return await open_circuit(address, circuit), circuit.session
    finally:
        await session.close()


async def _open_patiently(address: RendezvousAddress, **options: Any) -> Session:
    """Open a session as `open_session` does, where the first dials may get lost."""
    for _ in range(_DIALS - 1):
        with contextlib.suppress(UnreachableError):
            return await open_session(address, **options)
    return await open_session(address, **options)


async def _polite(session: Session, request: Any) -> Reply:
    """Take note of nothing: rings and mail come again."""
    return Done()


async def deaf(session: Session, request: Any) -> Reply:
    """Answer nothing: a stranger is asked nothing."""
    raise Refused(Reason.UNKNOWN)
