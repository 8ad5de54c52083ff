"""Open requests, the order of refusals, and what a holder verifies of a release."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.log_keys import LogKeys, LogKeyStatement, sign_log_key
from protocol.capability.keys import issuer_share
from protocol.capability.opening import (
    GrantState,
    OpenBody,
    check,
    check_redelivery,
    open_nonce,
    sign_open,
    verify_open_untrusted,
    verify_release_untrusted,
)
from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    LogError,
    Reason,
    RemoteError,
)
from protocol.identity import sign_statement
from protocol.labels import SignatureType
from protocol.limits import ANSWER_BYTES, REDELIVERY_MS
from protocol.messages import Released, encode_padded
from protocol.primitives import SigningKey
from tests.protocol.capability.cases import (
    ALICE,
    BOB,
    CAROL,
    HANDSHAKE,
    ORIGIN,
    TEAM,
    case,
    entry,
    honest_manifest,
    publish,
    release,
)
from tests.protocol.people import NOW

# The request


def test_an_open_request_reads_back_as_it_was_signed() -> None:
    signed = sign_open(case().body, holder=BOB, team_id=TEAM)

    body = verify_open_untrusted(signed, holder=BOB.public, team_id=TEAM, handshake_hash=HANDSHAKE)

    assert case().body == body


@pytest.mark.parametrize(
    "where",
    [
        {"holder": CAROL.public},
        {"team_id": bytes(32)},
        {"handshake_hash": bytes(64)},
    ],
    ids=["holder", "team", "channel"],
)
def test_an_open_request_counts_for_its_holder_team_and_channel_only(where: dict[str, Any]) -> None:
    signed = sign_open(case().body, holder=BOB, team_id=TEAM)
    right: dict[str, Any] = {
        "holder": BOB.public,
        "team_id": TEAM,
        "handshake_hash": HANDSHAKE,
    }

    with pytest.raises(AuthenticationError):
        verify_open_untrusted(signed, **{**right, **where})


@pytest.mark.parametrize(
    "changes",
    [
        {"capability_hash": bytes(31)},
        {"rendition_id": b""},
        {"open_id": bytes(15)},
        {"blob_sha256": bytes(33)},
        {"handshake_hash": bytes(32)},
        {"roster_version": -1},
        {"factor_proof": b""},
    ],
    ids=str,
)
def test_an_open_request_of_wrong_sizes_is_refused_by_both_sides(changes: dict[str, Any]) -> None:
    body = msgspec.structs.replace(case().body, **changes)
    raw = sign_statement(BOB.identity, SignatureType.OPEN_REQUEST, TEAM, encode(body))

    with pytest.raises(EncodingError):
        verify_open_untrusted(raw, holder=BOB.public, team_id=TEAM, handshake_hash=HANDSHAKE)
    with pytest.raises(LocalError):
        sign_open(body, holder=BOB, team_id=TEAM)


def test_the_nonce_of_an_open_is_its_own() -> None:
    nonces = {
        open_nonce(bytes([capability] * 32), bytes([number] * 16))
        for capability in range(3)
        for number in range(3)
    }

    assert len(nonces) == 9
    assert {len(nonce) for nonce in nonces} == {16}


# The order of refusals

LIVE = GrantState(
    revoked=False,
    not_before=NOW,
    expires_at=NOW + 1000,
    max_opens=10,
    opens_added=0,
    scope="image",
    opens_of_image=0,
    opens_of_capability=0,
    rendition_ready=True,
)
GOOD: dict[str, Any] = {
    "state": LIVE,
    "now": NOW,
    "member": True,
    "clock_ok": True,
    "policy_ok": True,
    "factor_ok": True,
}
ORDER = [
    Reason.UNKNOWN,
    Reason.NOT_MEMBER,
    Reason.CLOCK,
    Reason.REVOKED,
    Reason.EXPIRED,
    Reason.NOT_YET,
    Reason.POLICY,
    Reason.FACTOR,
    Reason.NOT_READY,
    Reason.EXHAUSTED,
]


def asked(reasons: set[Reason]) -> dict[str, Any]:
    """Return the arguments of an open to which all these reasons apply."""
    begin = NOW + 500 if Reason.NOT_YET in reasons else NOW - 500
    state = dataclasses.replace(
        LIVE,
        revoked=Reason.REVOKED in reasons,
        not_before=begin,
        expires_at=NOW if Reason.EXPIRED in reasons else NOW + 1000,
        rendition_ready=Reason.NOT_READY not in reasons,
        opens_of_image=10 if Reason.EXHAUSTED in reasons else 0,
    )
    return {
        "state": None if Reason.UNKNOWN in reasons else state,
        "now": NOW,
        "member": Reason.NOT_MEMBER not in reasons,
        "clock_ok": Reason.CLOCK not in reasons,
        "policy_ok": Reason.POLICY not in reasons,
        "factor_ok": Reason.FACTOR not in reasons,
    }


def test_an_open_that_nothing_speaks_against_is_released() -> None:
    assert check(**GOOD) is None


@pytest.mark.parametrize("reason", ORDER)
def test_each_reason_alone_refuses(reason: Reason) -> None:
    assert reason is check(**asked({reason}))


@given(st.sets(st.sampled_from(ORDER)))
def test_of_several_reasons_the_first_is_named(reasons: set[Reason]) -> None:
    expected = next((reason for reason in ORDER if reason in reasons), None)

    assert expected is check(**asked(reasons))


def changed(**changes: Any) -> GrantState:
    """Return the live state, fields changed."""
    return dataclasses.replace(LIVE, **changes)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW - 1, Reason.NOT_YET),
        (NOW, None),
        (NOW + 999, None),
        (NOW + 1000, Reason.EXPIRED),
    ],
)
def test_guarantee_3_the_begin_counts_and_the_end_does_not(
    now: int, expected: Reason | None
) -> None:
    assert expected is check(**{**GOOD, "now": now})


@pytest.mark.parametrize(
    ("state", "left"),
    [
        (changed(), 10),
        (changed(opens_of_image=9), 1),
        (changed(opens_of_image=10), 0),
        (changed(opens_of_image=11), 0),
        (changed(opens_of_image=10, opens_added=2), 2),
        (changed(opens_of_capability=10), 10),
        (changed(opens_of_capability=9, scope="capability"), 1),
        (changed(opens_of_capability=10, scope="capability"), 0),
        (changed(opens_of_image=1, opens_of_capability=2, scope="capability"), 8),
    ],
)
def test_guarantee_3_opens_are_counted_in_their_scope(state: GrantState, left: int) -> None:
    expected = None if left else Reason.EXHAUSTED

    assert left == state.opens_left
    assert expected is check(**{**GOOD, "state": state})


# Redelivery


@pytest.mark.parametrize(
    ("now", "opened", "expected"),
    [
        (NOW, False, None),
        (NOW + REDELIVERY_MS - 1, False, None),
        (NOW + REDELIVERY_MS, False, Reason.EXHAUSTED),
        (NOW, True, Reason.EXHAUSTED),
    ],
)
def test_an_open_is_redelivered_until_its_receipt_or_a_day_later(
    now: int, opened: bool, expected: Reason | None
) -> None:
    state = changed(expires_at=NOW + 2 * REDELIVERY_MS, opens_of_image=10, rendition_ready=False)
    arguments = {**GOOD, "state": state, "now": now}

    assert expected is check_redelivery(**arguments, released_at=NOW, opened=opened)


@pytest.mark.parametrize("reason", ORDER[:8])
def test_a_redelivery_checks_everything_but_the_count_again(reason: Reason) -> None:
    assert reason is check_redelivery(**asked({reason}), released_at=NOW, opened=False)


# What the holder verifies

SHARE = issuer_share(case().slot_secret, case().manifest.rendition_id)


def verify(released: Released, **changes: Any) -> Any:
    """Verify a release as Bob does, some arguments changed."""
    right: dict[str, Any] = {
        "body": case().body,
        "manifest": case().manifest,
        "keys": LogKeys.of(ALICE.public),
    }
    return verify_release_untrusted(released, **{**right, **changes})


@pytest.mark.parametrize("index", range(5))
def test_an_honest_release_gives_the_share(index: int) -> None:
    verified = verify(release(case().body, SHARE, index=index))

    assert verified.issuer_share == SHARE
    assert verified.entry.seq == index
    assert verified.checkpoint.size == 5
    assert verified.opens_left == 9
    assert SHARE.hex() not in repr(verified)
    assert str(SHARE) not in repr(verified)


def test_a_release_fits_its_padded_answer() -> None:
    released = msgspec.structs.replace(case().released, proof=(bytes(32),) * 63)

    assert len(encode_padded(released)) == ANSWER_BYTES


@pytest.mark.parametrize(
    "entries_changed",
    [
        {"event": "denied"},
        {"event": "redelivered"},
        {"nonce": "00" * 16},
        {"seq": 2},
    ],
    ids=str,
)
def test_guarantee_2_an_entry_of_something_else_is_refused(entries_changed: dict[str, Any]) -> None:
    with pytest.raises(LogError) as caught:
        verify(release(case().body, SHARE, **entries_changed))
    assert caught.value.code == "entry"


def honest_entry(index: int) -> bytes:
    """Return the entry of the case's open at some index."""
    nonce = open_nonce(case().hash, case().body.open_id).hex()
    return entry(index, event="released", nonce=nonce)


def test_guarantee_2_a_release_that_is_not_in_the_log_is_refused() -> None:
    honest = publish([entry(number) for number in range(5)], 3, SHARE)
    invented = msgspec.structs.replace(honest, entry=honest_entry(3))

    with pytest.raises(LogError) as caught:
        verify(invented)
    assert caught.value.code == "inclusion"


@pytest.mark.parametrize(
    "changes",
    [
        {"proof": ()},
        {"proof": case().released.proof[:-1]},
        {"proof": (*case().released.proof, bytes(32))},
        {"proof": tuple(reversed(case().released.proof))},
        {"index": 2},
        {"index": 3 + 8},
        {"index": -1},
        {"entry": case().released.entry + b" "},
        {"entry": b""},
        {"entry": b"{}"},
        {"checkpoint": b""},
        {"checkpoint": case().released.checkpoint[:-1]},
        {"checkpoint": case().released.checkpoint.replace(b"\n5\n", b"\n6\n")},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_guarantee_2_a_release_without_its_proof_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(LogError):
        verify(msgspec.structs.replace(case().released, **changes))


def test_guarantee_2_a_head_that_the_log_key_did_not_sign_is_refused() -> None:
    head = Checkpoint(origin=ORIGIN, size=5, root=bytes(32))
    for forged in (
        sign_checkpoint(head, CAROL.log),
        sign_checkpoint(head, ALICE.identity),
        sign_checkpoint(
            Checkpoint(origin=origin_of(CAROL.public.fingerprint), size=5, root=bytes(32)),
            CAROL.log,
        ),
    ):
        with pytest.raises(LogError):
            verify(msgspec.structs.replace(case().released, checkpoint=forged))


def test_a_release_stands_in_the_newest_log_of_its_issuer() -> None:
    known = case().released.checkpoint
    begun = LogKeyStatement(
        origin=origin_of(ALICE.public.fingerprint, 1),
        incarnation=1,
        epoch=0,
        key=SigningKey(bytes(range(32))).public,
        previous=known,
    )
    keys = LogKeys.of(ALICE.public).with_statement_untrusted(sign_log_key(begun, signer=ALICE))

    with pytest.raises(LogError) as caught:
        verify(case().released, keys=keys)
    assert caught.value.code == "origin"


def test_the_proof_of_another_open_is_refused() -> None:
    other = msgspec.structs.replace(case().body, open_id=bytes(16))

    with pytest.raises(LogError) as caught:
        verify(case().released, body=other)
    assert caught.value.code == "entry"


@pytest.mark.parametrize("share", [bytes(32), b"", SHARE[:31], SHARE + b"\x00"])
def test_a_share_that_was_not_committed_to_is_refused(share: bytes) -> None:
    with pytest.raises(AuthenticationError):
        verify(msgspec.structs.replace(case().released, issuer_share=share))


@pytest.mark.parametrize("field", ["rendition_id", "capability_hash", "commit_issuer"])
def test_a_release_does_not_go_with_another_manifest(field: str) -> None:
    with pytest.raises(AuthenticationError):
        verify(case().released, manifest=honest_manifest(**{field: bytes(32)}))


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(EncodingError):
        verify(msgspec.structs.replace(case().released, opens_left=-1))


def test_every_bit_of_a_release_counts() -> None:
    released = case().released
    fields = {
        "issuer_share": released.issuer_share,
        "entry": released.entry,
        "checkpoint": released.checkpoint,
        "proof": b"".join(released.proof),
    }
    for name, value in fields.items():
        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            new: Any = bytes(flipped)
            if name == "proof":
                new = tuple(new[start : start + 32] for start in range(0, len(new), 32))
            with pytest.raises(RemoteError):
                verify(msgspec.structs.replace(released, **{name: new}))


def test_an_open_request_names_everything_that_the_architecture_asks() -> None:
    assert OpenBody.__struct_fields__ == (
        "capability_hash",
        "rendition_id",
        "open_id",
        "blob_sha256",
        "handshake_hash",
        "roster_version",
        "factor_proof",
    )
