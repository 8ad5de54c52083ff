"""The states of a channel and of one exchange on it, as tables.

Belongs here: every state, every step, every transition, and the printer of their diagrams.
Rule: whatever changes a state looks the new one up here; a step that a table lacks is illegal.
Never here: bytes, events, or what a step does besides changing the state.

An exchange is one request with its answer and the stream that may follow. Its steps are the
frames themselves; who sends which frame follows from the side (requester or answerer).
After a cancel the answerer still takes every step of its application, but says only RESET.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from protocol.channel.frames import FrameType


class Role(StrEnum):
    """Which side of the handshake."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class State(StrEnum):
    """Where a channel is."""

    EXPECT_OFFER = "expect_offer"
    """Responder: nothing has arrived."""
    EXPECT_FIRST = "expect_first"
    """Responder: the clear offer has arrived."""
    EXPECT_SECOND = "expect_second"
    """Initiator: offer and first handshake message are sent."""
    EXPECT_THIRD = "expect_third"
    """Responder: the second handshake message is sent."""
    OPEN = "open"
    """Both sides have proved themselves: frames may pass."""
    CLOSED = "closed"
    """Over, for whatever reason."""


class Step(StrEnum):
    """What moves a channel."""

    OFFER = "offer"
    """The clear offer has passed."""
    FIRST = "first"
    """The first handshake message has passed."""
    SECOND = "second"
    """The second handshake message has passed."""
    THIRD = "third"
    """The third handshake message has passed."""
    CLOSE = "close"
    """Either side has ended the channel, a rule is broken, or a timer has run out."""


INITIAL_STATE: Final[Mapping[Role, State]] = {
    Role.INITIATOR: State.EXPECT_SECOND,
    Role.RESPONDER: State.EXPECT_OFFER,
}

TRANSITIONS: Final[Mapping[State, Mapping[Step, State]]] = {
    State.EXPECT_OFFER: {Step.OFFER: State.EXPECT_FIRST, Step.CLOSE: State.CLOSED},
    State.EXPECT_FIRST: {Step.FIRST: State.EXPECT_THIRD, Step.CLOSE: State.CLOSED},
    State.EXPECT_SECOND: {Step.SECOND: State.OPEN, Step.CLOSE: State.CLOSED},
    State.EXPECT_THIRD: {Step.THIRD: State.OPEN, Step.CLOSE: State.CLOSED},
    State.OPEN: {Step.CLOSE: State.CLOSED},
    State.CLOSED: {},
}


class ExchangeState(StrEnum):
    """Where one exchange is, seen from either side."""

    ASKED = "asked"
    """The request has passed, its answer has not."""
    STREAMING = "streaming"
    """The answer has passed, its stream goes on."""
    CANCELLED = "cancelled"
    """Cancelled before the answer; whatever still comes is dropped."""
    DRAINING = "draining"
    """Cancelled, and the answer has passed; the rest of its stream is dropped."""
    DONE = "done"
    """The last frame has passed. The id is never used again."""


EXCHANGE_TRANSITIONS: Final[Mapping[ExchangeState, Mapping[FrameType, ExchangeState]]] = {
    ExchangeState.ASKED: {
        FrameType.ANSWER: ExchangeState.DONE,
        FrameType.REFUSAL: ExchangeState.DONE,
        FrameType.ANSWER_STREAM: ExchangeState.STREAMING,
        FrameType.CANCEL: ExchangeState.CANCELLED,
    },
    ExchangeState.STREAMING: {
        FrameType.DATA: ExchangeState.STREAMING,
        FrameType.CREDIT: ExchangeState.STREAMING,
        FrameType.END: ExchangeState.DONE,
        FrameType.RESET: ExchangeState.DONE,
        FrameType.CANCEL: ExchangeState.DRAINING,
    },
    ExchangeState.CANCELLED: {
        FrameType.ANSWER: ExchangeState.DONE,
        FrameType.REFUSAL: ExchangeState.DONE,
        FrameType.RESET: ExchangeState.DONE,
        FrameType.ANSWER_STREAM: ExchangeState.DRAINING,
    },
    ExchangeState.DRAINING: {
        FrameType.DATA: ExchangeState.DRAINING,
        FrameType.END: ExchangeState.DONE,
        FrameType.RESET: ExchangeState.DONE,
    },
    ExchangeState.DONE: {},
}
"""The same table on both sides. The requester sends CANCEL and CREDIT, the answerer the rest."""


def diagram(
    table: Mapping[State, Mapping[Step, State]]
    | Mapping[ExchangeState, Mapping[FrameType, ExchangeState]],
) -> str:
    """Return a table as a Mermaid state diagram, one line for each pair of states."""
    lines = ["stateDiagram-v2"]
    for state, steps in table.items():
        edges: dict[str, list[str]] = {}
        for step, target in steps.items():
            edges.setdefault(target.value, []).append(step.name.lower())
        lines += [
            f"    {state.value} --> {target}: {', '.join(names)}" for target, names in edges.items()
        ]
    return "\n".join(lines)
