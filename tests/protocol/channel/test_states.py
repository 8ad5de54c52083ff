from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.channel.frames import FrameType
from protocol.channel.states import (
    EXCHANGE_TRANSITIONS,
    INITIAL_STATE,
    TRANSITIONS,
    ExchangeState,
    Role,
    State,
    Step,
)
from tests.protocol.channel.examples import STATES, print_states


def test_the_tables_name_every_state() -> None:
    assert set(State) == set(TRANSITIONS)
    assert set(ExchangeState) == set(EXCHANGE_TRANSITIONS)
    assert set(Role) == set(INITIAL_STATE)


def test_the_tables_name_every_step() -> None:
    about_exchanges = set(FrameType) - {FrameType.REQUEST, FrameType.PING, FrameType.CLOSE}

    assert set(Step) == {step for steps in TRANSITIONS.values() for step in steps}
    assert about_exchanges == {kind for kinds in EXCHANGE_TRANSITIONS.values() for kind in kinds}


def test_every_state_is_reached_and_every_way_ends() -> None:
    machines: list[tuple[Any, Mapping[Any, Mapping[Any, Any]]]] = [
        *((state, TRANSITIONS) for state in INITIAL_STATE.values()),
        (ExchangeState.ASKED, EXCHANGE_TRANSITIONS),
    ]
    for start, table in machines:
        reached, waiting = set(), [start]
        while waiting:
            state = waiting.pop()
            reached.add(state)
            waiting += set(table[state].values()) - reached

        assert reached & {State.CLOSED, ExchangeState.DONE}


def test_closing_is_possible_from_every_state_but_the_last() -> None:
    for state, steps in TRANSITIONS.items():
        assert (state is not State.CLOSED) == (steps.get(Step.CLOSE) is State.CLOSED)


def test_the_document_is_printed_from_the_tables() -> None:
    assert print_states() == STATES.read_text()
