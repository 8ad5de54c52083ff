"""Amendments, revocations and receipts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.capability.statements import (
    Amended,
    Amendment,
    Receipt,
    Revocation,
    apply_amendment,
    sign_amendment,
    sign_receipt,
    sign_revocation,
    verify_amendment_untrusted,
    verify_receipt_untrusted,
    verify_revocation_untrusted,
)
from protocol.encoding import encode
from protocol.errors import AuthenticationError, EncodingError, LocalError
from protocol.identity import sign_statement
from protocol.labels import SignatureType
from protocol.limits import MAX_OPENS
from tests.protocol.capability.cases import ALICE, BOB, CAROL, ORIGIN, TEAM, case
from tests.protocol.people import NOW


def amendment(**changes: Any) -> Amendment:
    """Return an honest amendment, fields changed."""
    fields: dict[str, Any] = {
        "capability_hash": case().hash,
        "sequence": 1,
        "expires_at": NOW + 1000,
        "opens_added": 5,
        "time": NOW,
    }
    return Amendment(**{**fields, **changes})


def receipt(**changes: Any) -> Receipt:
    """Return an honest receipt of an open, fields changed."""
    fields: dict[str, Any] = {
        "event": "opened",
        "capability_hash": case().hash,
        "image_id": case().manifest.image_id,
        "open_id": case().body.open_id,
        "origin": ORIGIN,
        "index": 3,
        "leaf_hash": bytes(range(32)),
        "time": NOW,
    }
    return Receipt(**{**fields, **changes})


def test_statements_read_back_as_they_were_signed() -> None:
    extended = amendment()
    revoked = Revocation(capability_hash=case().hash, time=NOW)
    opened = receipt()
    received = Receipt(event="received", capability_hash=case().hash, time=NOW)

    assert extended == verify_amendment_untrusted(
        sign_amendment(extended, issuer=ALICE, team_id=TEAM), issuer=ALICE.public, team_id=TEAM
    )
    assert revoked == verify_revocation_untrusted(
        sign_revocation(revoked, issuer=ALICE, team_id=TEAM), issuer=ALICE.public, team_id=TEAM
    )
    for one in (opened, received):
        assert one == verify_receipt_untrusted(
            sign_receipt(one, holder=BOB, team_id=TEAM), holder=BOB.public, team_id=TEAM
        )


def test_nobody_else_amends_revokes_or_receipts() -> None:
    extended = sign_amendment(amendment(), issuer=CAROL, team_id=TEAM)
    revoked = sign_revocation(
        Revocation(capability_hash=case().hash, time=NOW), issuer=BOB, team_id=TEAM
    )
    opened = sign_receipt(receipt(), holder=ALICE, team_id=TEAM)

    with pytest.raises(AuthenticationError):
        verify_amendment_untrusted(extended, issuer=ALICE.public, team_id=TEAM)
    with pytest.raises(AuthenticationError):
        verify_revocation_untrusted(revoked, issuer=ALICE.public, team_id=TEAM)
    with pytest.raises(AuthenticationError):
        verify_receipt_untrusted(opened, holder=BOB.public, team_id=TEAM)


@pytest.mark.parametrize(
    "changes",
    [
        {"capability_hash": bytes(31)},
        {"sequence": 0},
        {"sequence": 2**53},
        {"expires_at": -1},
        {"opens_added": -1},
        {"opens_added": MAX_OPENS + 1},
        {"time": 2**53},
    ],
    ids=str,
)
def test_an_amendment_that_breaks_a_rule_is_refused_by_both_sides(changes: dict[str, Any]) -> None:
    bad = amendment(**changes)
    raw = sign_statement(ALICE.identity, SignatureType.AMENDMENT, TEAM, encode(bad))

    with pytest.raises(EncodingError):
        verify_amendment_untrusted(raw, issuer=ALICE.public, team_id=TEAM)
    with pytest.raises(LocalError):
        sign_amendment(bad, issuer=ALICE, team_id=TEAM)


@pytest.mark.parametrize(
    "bad",
    [
        receipt(event="viewed"),
        receipt(image_id=None),
        receipt(open_id=None),
        receipt(open_id=bytes(15)),
        receipt(origin=""),
        receipt(origin="x" * 129),
        receipt(origin="safelight\x1b[2J"),
        receipt(origin="safelight/x/0\n"),
        receipt(origin="säfelight/x/0"),
        receipt(index=-1),
        receipt(leaf_hash=b""),
        receipt(leaf_hash=bytes(33)),
        receipt(event="received"),
        Receipt(event="opened", capability_hash=case().hash, time=NOW),
        Receipt(event="saved", capability_hash=case().hash, time=NOW),
        Receipt(event="revocation_seen", capability_hash=case().hash, time=NOW, index=1),
        Receipt(event="received", capability_hash=case().hash, time=NOW, open_id=bytes(16)),
    ],
    ids=str,
)
def test_a_receipt_names_a_release_exactly_where_there_was_one(bad: Receipt) -> None:
    raw = sign_statement(BOB.identity, SignatureType.RECEIPT, TEAM, encode(bad))

    with pytest.raises(EncodingError):
        verify_receipt_untrusted(raw, holder=BOB.public, team_id=TEAM)
    with pytest.raises(LocalError):
        sign_receipt(bad, holder=BOB, team_id=TEAM)


# What an amendment does


def test_an_amendment_extends() -> None:
    amended = apply_amendment(expires_at=NOW, opens_added=0, last_sequence=0, amendment=amendment())

    assert Amended(expires_at=NOW + 1000, opens_added=5, sequence=1) == amended


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_amendment_seen_before_or_out_of_date_changes_nothing(sequence: int) -> None:
    amended = apply_amendment(
        expires_at=NOW + 5000,
        opens_added=9,
        last_sequence=2,
        amendment=amendment(sequence=sequence),
    )

    assert Amended(expires_at=NOW + 5000, opens_added=9, sequence=2) == amended


@pytest.mark.parametrize("changes", [{"expires_at": NOW - 1}, {"opens_added": 0}])
def test_an_amendment_never_takes_away(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodingError):
        apply_amendment(
            expires_at=NOW, opens_added=1, last_sequence=0, amendment=amendment(**changes)
        )


@settings(deadline=None)
@given(st.permutations(range(1, 7)), st.sets(st.integers(1, 5)))
def test_amendments_in_any_order_and_with_losses_end_in_the_last_one(
    order: list[int], lost: set[int]
) -> None:
    state = Amended(expires_at=NOW, opens_added=0, sequence=0)
    for sequence in order:
        if sequence in lost:
            continue
        state = apply_amendment(
            expires_at=state.expires_at,
            opens_added=state.opens_added,
            last_sequence=state.sequence,
            amendment=amendment(
                sequence=sequence, expires_at=NOW + sequence * 10, opens_added=sequence
            ),
        )

    assert Amended(expires_at=NOW + 60, opens_added=6, sequence=6) == state
