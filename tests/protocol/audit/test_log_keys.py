"""Log keys: a key counts inside its range only, and only the epoch that comes next is taken."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import Checkpoint, cosign, origin_of, sign_checkpoint
from protocol.audit.log_keys import (
    LogKeys,
    LogKeyStatement,
    OneLogKey,
    sign_log_key,
    verify_log_key_untrusted,
)
from protocol.audit.tree import EMPTY_ROOT
from protocol.encoding import encode
from protocol.errors import AuthenticationError, EncodingError, LocalError, LogError, RemoteError
from protocol.identity import sign_statement
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_LOG_KEY_BYTES, MAX_LOG_KEYS
from protocol.primitives import SigningKey
from tests.protocol.audit.log_key_support import (
    ANN,
    FIRST,
    KEYS,
    ONE,
    OTHER,
    SECOND,
    TO_ONE,
    TO_TWO,
    TWO,
    new_key,
    note,
    said,
    signed,
)
from tests.protocol.people import person

BASE = LogKeys.of(ANN.public)
AGAIN = functools.partial(signed, origin=SECOND, incarnation=1, epoch=0, key=OTHER.public)
"""Incarnation 1, by another key."""


def refusal(keys: LogKeys, statement: bytes) -> str:
    with pytest.raises(LogError) as error:
        keys.with_statement_untrusted(statement)
    return error.value.code


def opening(note: bytes, origin: str | None = None, keys: LogKeys = KEYS) -> str:
    """Return "" where keys open note, the code of the refusal otherwise."""
    try:
        keys.open_head_untrusted(note, origin)
    except LogError as error:
        return error.code
    return ""


# Statements ---------------------------------------------------------------------------------------


def test_a_statement_comes_back() -> None:
    assert said() == verify_log_key_untrusted(TO_ONE, signer=ANN.public)


def test_a_statement_is_of_one_identity_and_for_one_use() -> None:
    body = encode(said())
    with pytest.raises(AuthenticationError):
        verify_log_key_untrusted(TO_ONE, signer=person("Bea").public)
    for kind in SignatureType:
        if kind is not SignatureType.LOG_KEY:
            with pytest.raises(AuthenticationError):
                verify_log_key_untrusted(
                    sign_statement(ANN.identity, kind, NO_TEAM, body), signer=ANN.public
                )
    with pytest.raises(AuthenticationError):
        verify_log_key_untrusted(
            sign_statement(ANN.identity, SignatureType.LOG_KEY, bytes([1]) * 32, body),
            signer=ANN.public,
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": SECOND}, "origin"),
        ({"incarnation": 1}, "origin"),
        ({"origin": origin_of(bytes(32))}, "origin"),
        ({"epoch": 0}, "key"),
        ({"key": ANN.public.log_key}, "key"),
        ({"key": ANN.public.cosigning_key}, "key"),
        ({"key": ANN.public.identity_key}, "key"),
        ({"key": bytes(32)}, "key"),
        ({"key": b"\x01" + bytes(31)}, "key"),
        ({"key": bytes(31)}, "encoding"),
        ({"epoch": -1}, "encoding"),
        ({"epoch": 2**53}, "encoding"),
        ({"previous": bytes(MAX_LOG_KEY_BYTES)}, "encoding"),
    ],
    ids=str,
)
def test_a_statement_that_says_too_much_is_refused_and_not_made(
    changes: dict[str, Any], code: str
) -> None:
    statement = said(**changes)
    made = sign_statement(ANN.identity, SignatureType.LOG_KEY, NO_TEAM, encode(statement))

    with pytest.raises(RemoteError) as error:
        verify_log_key_untrusted(made, signer=ANN.public)
    assert code == error.value.code
    with pytest.raises(LocalError):
        sign_log_key(statement, signer=ANN)


def test_unknown_fields_are_refused() -> None:
    body = encode(said())
    more = b"\x87" + body[1:] + b"\xa5extra\x01"
    with pytest.raises(EncodingError):
        verify_log_key_untrusted(
            sign_statement(ANN.identity, SignatureType.LOG_KEY, NO_TEAM, more), signer=ANN.public
        )


# Epochs -------------------------------------------------------------------------------------------


def test_the_certificate_alone_names_the_first_key() -> None:
    assert (BASE.origin, BASE.incarnation, BASE.epoch, BASE.statements) == (FIRST, 0, 0, ())
    assert BASE.spans(FIRST) == ((0, None, ANN.public.log_key),)
    assert BASE.closings(FIRST) == ()
    assert BASE.key == ANN.public.log_key
    assert BASE.spans(SECOND) == ()


def test_every_epoch_has_its_range() -> None:
    assert (0, 2, TWO.public) == (KEYS.incarnation, KEYS.epoch, KEYS.key)
    assert KEYS.statements == (TO_ONE, TO_TWO)
    assert KEYS.spans(FIRST) == (
        (0, 6, ANN.public.log_key),
        (7, 12, ONE.public),
        (13, None, TWO.public),
    )
    assert [closing.size for closing in KEYS.closings(FIRST)] == [6, 12]


def test_a_key_signs_every_size_of_its_range_and_no_other() -> None:
    for size in range(21):
        right = ANN.log if size <= 6 else ONE if size <= 12 else TWO
        for key in (ANN.log, ONE, TWO):
            assert opening(note(size, key)) == ("" if key is right else "key")


def test_the_empty_head_is_of_the_first_epoch() -> None:
    assert KEYS.open_head_untrusted(note(0, ANN.log)) == Checkpoint(
        origin=FIRST, size=0, root=EMPTY_ROOT
    )


def test_a_key_that_was_never_announced_is_told_from_no_signature() -> None:
    assert opening(note(15, OTHER)) == "key"
    assert opening(note(15, TWO), keys=BASE) == "key"
    elsewhere = sign_checkpoint(KEYS.open_head_untrusted(note(15, TWO)), OTHER, "another/name")
    assert opening(elsewhere) == "unsigned"


def test_a_bad_signature_of_the_right_key_is_bad() -> None:
    head = note(15, TWO)
    text, _, line = head.partition(b"\n\n")
    assert opening(note(16, TWO).partition(b"\n\n")[0] + b"\n\n" + line) == "bad_signature"
    assert opening(text) == "malformed_note"
    assert opening(head.replace(b"\n15\n", b"\n015\n")) == "malformed_checkpoint"


def test_a_head_counts_with_the_cosignatures_of_others_below_it() -> None:
    head = KEYS.open_head_untrusted(note(15, TWO))
    line = cosign(head, name="w/bob", key=OTHER, now=1000)

    assert opening(note(15, TWO) + line) == ""
    assert opening(note(15, OTHER).replace(b"\n\n", b"\n\n" + line)) == "key"


def test_a_head_is_of_the_log_that_was_meant() -> None:
    assert opening(note(15, TWO), FIRST) == ""
    assert opening(note(15, TWO), SECOND) == "origin"
    assert opening(note(15, TWO, origin=SECOND)) == "origin"
    assert opening(note(15, TWO, origin=SECOND), SECOND) == "origin"


def test_a_known_statement_changes_nothing() -> None:
    assert KEYS.with_statement_untrusted(TO_ONE) is KEYS
    assert KEYS.with_statement_untrusted(TO_TWO) is KEYS


def test_two_statements_for_one_epoch_are_an_equivocation() -> None:
    assert refusal(KEYS, signed(key=OTHER.public)) == "equivocation"
    assert refusal(KEYS, signed(previous=note(5, ANN.log))) == "equivocation"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (signed(epoch=2), "epoch_gap"),
        (AGAIN(previous=b"", epoch=1), "epoch_gap"),
        (signed(previous=note(0, ANN.log)), "epoch_gap"),
        (signed(previous=note(6, OTHER)), "key"),
        (signed(previous=b""), "malformed_note"),
        (signed(previous=note(6, ANN.log, origin=SECOND)), "origin"),
        (AGAIN(previous=note(6, OTHER)), "key"),
        (AGAIN(previous=note(6, ANN.log, origin=SECOND)), "origin"),
        (AGAIN(previous=b"head"), "malformed_note"),
    ],
)
def test_what_does_not_come_next_is_refused(statement: bytes, code: str) -> None:
    assert code == refusal(BASE, statement)


def test_an_epoch_is_not_closed_by_the_head_of_an_earlier_one() -> None:
    keys = BASE.with_statement_untrusted(TO_ONE)

    for size in (1, 6):
        statement = signed(epoch=2, key=TWO.public, previous=note(size, ANN.log))
        assert refusal(keys, statement) == "epoch_gap"
    shortest = signed(epoch=2, key=TWO.public, previous=note(7, ONE))
    assert keys.with_statement_untrusted(shortest).spans(FIRST)[1] == (7, 7, ONE.public)


def test_a_key_is_used_for_one_epoch() -> None:
    statement = signed(epoch=2, previous=note(12, ONE))

    assert refusal(BASE.with_statement_untrusted(TO_ONE), statement) == "key"


def test_statements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = LogKeys.of(ANN.public)
    object.__setattr__(keys, "statements", (b"",) * MAX_LOG_KEYS)

    assert refusal(keys, TO_ONE) == "too_many_keys"


# Incarnations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("previous", [b"", note(9, ONE), note(20, TWO)])
def test_a_later_incarnation_is_a_new_log(previous: bytes) -> None:
    statement = AGAIN(previous=previous)
    keys = KEYS.with_statement_untrusted(statement)

    assert (keys.origin, keys.incarnation, keys.epoch) == (SECOND, 1, 0)
    assert keys.statements == (TO_ONE, TO_TWO, statement)
    assert keys.origins == (FIRST, SECOND)
    assert keys.spans(SECOND) == ((0, None, OTHER.public),)
    assert keys.spans(FIRST) == KEYS.spans(FIRST)
    assert keys.open_head_untrusted(note(3, OTHER, origin=SECOND)).origin == SECOND
    # What peers hold of the old log still opens.
    assert keys.open_head_untrusted(note(20, TWO)).size == 20
    assert refusal(keys, AGAIN(previous=note(8, ONE))) == ("equivocation")


def test_incarnations_may_be_skipped_and_never_come_after() -> None:
    third = origin_of(ANN.public.fingerprint, 2)
    keys = BASE.with_statement_untrusted(
        signed(origin=third, incarnation=2, epoch=0, key=TWO.public, previous=b"")
    )

    assert refusal(keys, AGAIN(previous=b"")) == "epoch_gap"
    assert refusal(keys, TO_ONE) == "epoch_gap"
    begun = signed(origin=third, incarnation=2, epoch=1, previous=note(4, TWO, origin=third))
    assert keys.with_statement_untrusted(begun).epoch == 1


# A log with one key -------------------------------------------------------------------------------


def test_a_log_that_is_no_members_has_one_key() -> None:
    keys = OneLogKey(origin="example.org/log", public=OTHER.public)
    head = note(5, OTHER, origin=keys.origin)

    assert keys.open_head_untrusted(head).size == 5
    assert keys.open_head_untrusted(head, keys.origin).size == 5
    assert keys.closings(keys.origin) == ()
    with pytest.raises(LogError) as error:
        keys.open_head_untrusted(head, FIRST)
    assert error.value.code == "origin"


# Foreign bytes ------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_remote_errors_and_nothing_else(data: bytes) -> None:
    with pytest.raises(RemoteError):
        KEYS.with_statement_untrusted(data)
    with pytest.raises(LogError):
        KEYS.open_head_untrusted(data)


@given(st.integers(0, len(TO_TWO)), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_statement_is_the_same_or_none(at: int, new: bytes, gone: int) -> None:
    data = TO_TWO[:at] + new + TO_TWO[at + gone :]
    try:
        keys = KEYS.with_statement_untrusted(data)
    except RemoteError:
        return

    assert keys is KEYS


numbers = st.integers(0, 3)
a_key = st.sampled_from([ANN.log, ONE, TWO, OTHER, *(new_key(str(n)) for n in range(3))])


@given(numbers, numbers, a_key, st.integers(0, 20), a_key, st.booleans())
def test_whatever_an_identity_signs_ranges_stay_contiguous(
    incarnation: int, epoch: int, key: SigningKey, size: int, closer: SigningKey, empty: bool
) -> None:
    origin = origin_of(ANN.public.fingerprint, incarnation)
    statement = LogKeyStatement(
        origin=origin,
        incarnation=incarnation,
        epoch=epoch,
        key=key.public,
        previous=b"" if empty else note(size, closer, origin=origin if epoch else FIRST),
    )
    made = sign_statement(ANN.identity, SignatureType.LOG_KEY, NO_TEAM, encode(statement))
    keys = KEYS
    try:
        keys = keys.with_statement_untrusted(made)
    except RemoteError:
        return
    for one in (FIRST, origin):
        spans = keys.spans(one)
        assert spans[0][0] == 0
        assert spans[-1][1] is None
        for before, after in itertools.pairwise(spans):
            assert before[1] is not None
            assert before[1] + 1 == after[0]
    public_keys = [span[2] for one in {FIRST, origin} for span in keys.spans(one)]
    assert len(set(public_keys)) == len(public_keys)
