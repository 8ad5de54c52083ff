"""Two people who join by code, and how far they come."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import msgspec

from protocol.identity import export_identity_file
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Accepted, Inviter, Joiner
from tests.protocol.people import person, stream

CODE = parse_code("7-canyon-lava")
WRONG = parse_code("7-canyon-large")


@functools.cache
def file_of(name: str) -> bytes:
    """Return somebody's identity file."""
    return export_identity_file(person(name), [("192.0.2.9", 7411)])


def accepted(name: str = "Alice", **changes: Any) -> Accepted:
    """Return what somebody says of their team to a newcomer."""
    verdict = Accepted(
        team_id=bytes([7]) * 32,
        team_name="Studio",
        role="editor",
        version=2,
        roster_hash=bytes([8]) * 32,
        certificate=person(name).public.certificate,
        addresses=(("192.0.2.7", 7411),),
        rendezvous="",
    )
    return msgspec.structs.replace(verdict, **changes)


def joiner(name: str = "Bob", code: InvitationCode = CODE, label: str = "") -> Joiner:
    """Return somebody who was told a code."""
    return Joiner(code, person(name), file_of(name), stream(f"joiner/{name}/{label}"))


def inviter(name: str = "Alice", code: InvitationCode = CODE, label: str = "") -> Inviter:
    """Return somebody who made a code."""
    return Inviter(code, person(name), stream(f"inviter/{name}/{label}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A joiner and an inviter, and what passed between them so far."""

    joiner: Joiner
    inviter: Inviter
    messages: list[bytes]


def played(until: int, *, label: str = "") -> Pair:
    """Return a pair whose messages up to this number have been made, and but the last received."""
    pair = Pair(joiner=joiner(label=label), inviter=inviter(label=label), messages=[])
    messages = pair.messages
    messages.append(pair.joiner.first())
    while len(messages) < until:
        to_inviter = len(messages) % 2 == 1
        side = pair.inviter if to_inviter else pair.joiner
        answer = side.receive_untrusted(messages[-1])
        messages.append(pair.inviter.accept(accepted()) if answer is None else answer)
    return pair


def some(message: bytes | None) -> bytes:
    """Return a message that there has to be."""
    assert message is not None
    return message
