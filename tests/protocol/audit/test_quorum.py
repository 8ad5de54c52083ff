"""Quorum: who counts, how often, and for how long (rows T10 and T11 of the tamper matrix)."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.log_keys import OneLogKey
from protocol.audit.note import KeyType, VerifierKey, parse_vkey_untrusted
from protocol.audit.quorum import NO_WITNESS, Quorum, open_witnessed_untrusted
from protocol.errors import LocalError, LogError
from protocol.limits import COSIGNATURE_CLOCK_SLACK_MS
from tests.protocol.audit.support import START
from tests.protocol.audit.tamper_support import (
    BOB,
    CAROL,
    HOUR,
    LOG,
    ONE_KEY,
    STRANGER,
    at,
    head,
    line,
    witness,
)
from tests.support import vectors

HEAD = head(LOG)
NAMES = {"bob": BOB, "carol": CAROL, "dan": STRANGER}
WITNESSES = tuple(witness(name, key) for name, key in NAMES.items())


def counted(note: bytes, quorum: Quorum, now: int = START) -> list[str] | str:
    """Return the names of the witnesses that count, or the code of the refusal."""
    try:
        found = open_witnessed_untrusted(note, keys=ONE_KEY, quorum=quorum, now=now)
    except LogError as error:
        return error.code
    assert found.checkpoint == at(LOG)
    return [one.key.name.removeprefix("w/") for one in found.cosignatures]


@pytest.mark.parametrize(
    "signed", [names for size in range(4) for names in itertools.combinations(NAMES, size)]
)
def test_any_witnesses_make_a_quorum_where_they_are_enough(signed: tuple[str, ...]) -> None:
    note = HEAD + b"".join(line(name, NAMES[name], at(LOG)) for name in signed)
    for threshold in range(4):
        quorum = Quorum(witnesses=WITNESSES, threshold=threshold)
        expected = list(signed) if len(signed) >= threshold else "quorum"
        assert expected == counted(note, quorum)


def test_a_key_under_two_names_is_one_witness() -> None:
    both = (witness("bob", BOB), witness("robert", BOB))
    note = HEAD + line("bob", BOB, at(LOG)) + line("robert", BOB, at(LOG))

    assert counted(note, Quorum(witnesses=both, threshold=1)) == ["bob"]
    with pytest.raises(LocalError):
        Quorum(witnesses=both, threshold=2)


@pytest.mark.parametrize(
    ("age", "counts"),
    [
        (0, True),
        (HOUR, True),
        (HOUR + 1000, False),
        (-COSIGNATURE_CLOCK_SLACK_MS, True),
        (-COSIGNATURE_CLOCK_SLACK_MS - 1000, False),
    ],
)
def test_a_cosignature_counts_while_it_is_fresh(age: int, counts: bool) -> None:
    note = HEAD + line("bob", BOB, at(LOG), START - age)
    fresh = Quorum(witnesses=WITNESSES, threshold=1, max_age=HOUR)

    assert counted(note, fresh) == (["bob"] if counts else "quorum")
    assert counted(note, Quorum(witnesses=WITNESSES, threshold=1)) == ["bob"]


def test_whoever_signs_the_log_is_no_witness() -> None:
    plain = VerifierKey(name="w/bob", key_type=KeyType.NOTE, public=BOB.public)
    with pytest.raises(LocalError):
        Quorum(witnesses=(plain,), threshold=1)


@pytest.mark.parametrize("threshold", [-1, 1])
def test_a_threshold_can_be_reached(threshold: int) -> None:
    with pytest.raises(LocalError):
        Quorum(witnesses=(), threshold=threshold)


def test_a_bad_cosignature_fails_the_head_even_where_it_is_not_needed() -> None:
    note = HEAD + line("bob", BOB, at(LOG)) + line("carol", CAROL, at(LOG, 19))

    assert counted(note, Quorum(witnesses=WITNESSES, threshold=1)) == "bad_signature"
    assert counted(note, NO_WITNESS) == []


def test_a_head_of_another_log_is_refused() -> None:
    with pytest.raises(LogError) as refusal:
        open_witnessed_untrusted(HEAD, keys=ONE_KEY, quorum=NO_WITNESS, now=0, origin="other")
    assert refusal.value.code == "origin"


def test_the_worked_cosignatures_make_a_quorum_of_two() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    log, bob, carol = (
        parse_vkey_untrusted(worked["keys"][name]["vkey"]) for name in ("log", "bob", "carol")
    )
    note = worked["checkpoint_size5"]["cosigned"].encode()
    now = 1_760_000_000_000
    keys = OneLogKey(origin=log.name, public=log.public)
    both = Quorum(witnesses=(bob, carol), threshold=2, max_age=HOUR)
    found = open_witnessed_untrusted(note, keys=keys, quorum=both, now=now)

    assert (found.checkpoint.size, found.checkpoint.root.hex()) == (5, worked["roots"][5])
    assert {one.key for one in found.cosignatures} == {bob, carol}
    with pytest.raises(LogError) as refusal:
        open_witnessed_untrusted(note, keys=keys, quorum=both, now=now + 2 * HOUR)
    assert refusal.value.code == "quorum"


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_log_error_and_nothing_else(data: bytes) -> None:
    for note in (data, HEAD + data):
        found = counted(note, Quorum(witnesses=WITNESSES, threshold=1))
        assert found in ("malformed_note", "quorum")
