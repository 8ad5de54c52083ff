"""Two logs side by side: every open has its counterpart, or is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.reconcile import check_receipts, match_opens
from protocol.audit.tree import leaf_hash
from tests.protocol.audit.support import digits, entries, entry

LEAVES = [leaf_hash(one) for one in entries(20)]

nonces = st.lists(st.integers(0, 5).map(lambda number: digits(number, 32)), max_size=8)


@given(nonces, nonces)
def test_every_open_is_matched_once_or_named_once(served: list[str], opened: list[str]) -> None:
    issuer = [entry(seq, nonce=nonce) for seq, nonce in enumerate(served)]
    holder = [entry(seq, nonce=nonce, event="opened") for seq, nonce in enumerate(opened)]
    found = match_opens(issuer, holder)

    assert all(one.nonce == other.nonce for one, other in found.matched)
    ours = [*(one for one, _ in found.matched), *found.released_only]
    theirs = [*(other for _, other in found.matched), *found.opened_only]
    assert sorted(one.seq for one in ours) == list(range(len(issuer)))
    assert sorted(one.seq for one in theirs) == list(range(len(holder)))
    assert not {one.nonce for one in found.released_only} & {one.nonce for one in found.opened_only}
    for left in (found.released_only, found.opened_only):
        assert [one.seq for one in left] == sorted(one.seq for one in left)


def test_other_events_are_no_opens() -> None:
    issuer = [entry(0, event="redelivered"), entry(1, event="denied")]
    holder = [entry(0, event="received"), entry(1, event="released")]
    found = match_opens(issuer, holder)

    assert (found.matched, found.released_only, found.opened_only) == ((), (), ())


def test_a_receipt_names_an_entry_that_the_log_has() -> None:
    def leaf_of(index: int) -> bytes | None:
        return LEAVES[index] if index < 15 else None

    problems = check_receipts([(3, LEAVES[3]), (4, LEAVES[3]), (17, LEAVES[17])], leaf_of)

    assert [(one.index, one.code) for one in problems] == [(4, "receipt"), (17, "receipt")]
    assert problems[0].message != problems[1].message
