"""Verifying a whole log offline: what entries and heads decide."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import encode_entry
from protocol.audit.log_keys import OneLogKey
from protocol.audit.tree import EMPTY_ROOT, leaf_hash, root_of
from protocol.audit.verify import (
    Report,
    SliceResult,
    combine_slices,
    plan_slices,
    verify_log,
    verify_slice,
)
from protocol.errors import LocalError
from protocol.limits import LOG_SLICE_ENTRIES, MAX_REPORTED_PROBLEMS
from tests.protocol.audit import log_key_support as epochs
from tests.protocol.audit.support import ALICE, BOB, ORIGIN, START, entries, entry, head

LOG = entries(20)
HEAD = head(LOG)
KEYS = OneLogKey(origin=ORIGIN, public=ALICE.public)


def verify(log: Sequence[bytes], signed: bytes) -> Report:
    return verify_log(log, signed, keys=KEYS)


def codes(report: Report) -> list[str]:
    assert report.ok is not bool(report.problems)
    return [problem.code for problem in report.problems]


def flags(report: Report) -> list[tuple[str, int | None]]:
    return [(flag.code, flag.index) for flag in report.flagged]


def with_entry(log: Sequence[bytes], index: int, **changes: object) -> list[bytes]:
    return [*log[:index], encode_entry(entry(index, **changes)), *log[index + 1 :]]


# Tamper matrix, level L0: entries and a signed head -----------------------------------------------


def test_t00_an_honest_log_verifies() -> None:
    report = verify(LOG, HEAD)

    assert report == Report(
        ok=True,
        origin=ORIGIN,
        size=20,
        root=root_of(leaf_hash(data) for data in LOG),
        problems=(),
        flagged=(),
    )


@pytest.mark.parametrize("index", [0, 5, 19])
def test_t01_one_changed_byte_of_an_entry_is_rejected(index: int) -> None:
    nonce = LOG[index].index(b'"nonce":"') + len(b'"nonce":"')
    for at in (0, nonce, len(LOG[index]) - 1):
        changed = bytearray(LOG[index])
        changed[at] = ord("0") if changed[at] != ord("0") else ord("1")
        report = verify([*LOG[:index], bytes(changed), *LOG[index + 1 :]], HEAD)
        assert "root" in codes(report)


def test_t02_a_deleted_entry_is_rejected_because_there_are_fewer() -> None:
    report = verify(LOG[:7] + LOG[8:], HEAD)

    assert "fewer" in codes(report)
    assert (report.problems[0].code, report.problems[0].index) == ("sequence", 7)
    assert (report.problems[-1].code, report.problems[-1].index) == ("fewer", 19)


def test_t03_two_swapped_entries_are_rejected() -> None:
    report = verify([*LOG[:4], LOG[5], LOG[4], *LOG[6:]], HEAD)

    assert codes(report) == ["sequence", "sequence", "root"]
    assert [problem.index for problem in report.problems] == [4, 5, None]


def test_t04a_a_log_rewritten_and_signed_again_verifies_alone() -> None:
    rewritten = with_entry(LOG, 5, event="denied")

    assert verify(rewritten, head(rewritten)).ok
    assert codes(verify(rewritten, HEAD)) == ["root"]


def test_t05a_a_log_cut_back_to_an_older_head_verifies_alone() -> None:
    assert verify(LOG[:10], head(LOG, 10)).ok


def test_t12a_a_head_of_another_key_is_rejected_as_unsigned() -> None:
    assert codes(verify(LOG, head(LOG, key=BOB))) == ["unsigned"]


def test_t12c_a_head_of_another_log_is_rejected_as_unsigned() -> None:
    other = Checkpoint(origin=origin_of(bytes(32)), size=20, root=EMPTY_ROOT)

    assert codes(verify(LOG, sign_checkpoint(other, ALICE))) == ["unsigned"]


def test_t12d_a_head_of_another_log_under_this_ones_name_is_rejected() -> None:
    other = Checkpoint(origin=origin_of(bytes(32)), size=20, root=EMPTY_ROOT)
    report = verify(LOG, sign_checkpoint(other, ALICE, ORIGIN))

    assert codes(report) == ["origin"]
    assert (report.origin, report.size, report.root) == (ORIGIN, 0, b"")


@pytest.mark.parametrize("signed", [b"", HEAD[:-1], HEAD.replace(b"\n20\n", b"\n020\n")])
def test_t13_a_malformed_head_is_rejected_and_never_raised(signed: bytes) -> None:
    report = combine_slices((), signed, keys=KEYS)

    assert codes(report) == codes(verify(LOG, signed))
    assert codes(report)[0] in {"malformed_note", "bad_signature"}


def test_t15a_torn_bytes_after_the_signed_entries_are_flagged_only() -> None:
    report = verify([*LOG, LOG[0][:100]], HEAD)

    assert report.ok
    assert flags(report) == [("uncovered", 20)]


def test_t15b_a_head_over_more_entries_than_are_durable_is_rejected() -> None:
    report = verify(LOG[:18], HEAD)

    assert codes(report) == ["fewer"]
    assert report.problems[0].index == 18


def test_t18_a_clock_set_back_is_flagged_and_accepted() -> None:
    log = with_entry(LOG, 11, time=START - 3_600_000)
    report = verify(log, head(log))

    assert report.ok
    assert flags(report) == [("clock", 11)]
    assert "3600010 ms" in report.flagged[0].message


# What else a verification says --------------------------------------------------------------------


def test_an_entry_that_is_none_is_named_even_where_the_root_is_right() -> None:
    log = [*LOG[:3], b"{}", *LOG[4:]]
    report = verify(log, head(log))

    assert codes(report) == ["entry"]
    assert report.problems[0].index == 3


def test_an_entry_with_the_number_of_another_is_named_even_where_the_root_is_right() -> None:
    log = [*LOG[:3], encode_entry(entry(4)), *LOG[4:]]
    report = verify(log, head(log))

    assert codes(report) == ["sequence"]
    assert report.problems[0].index == 3


def test_an_empty_log_verifies_against_a_head_of_nothing() -> None:
    assert verify([], head([])).ok


def test_a_head_of_nothing_has_the_root_of_nothing() -> None:
    zero = sign_checkpoint(Checkpoint(origin=ORIGIN, size=0, root=bytes(32)), ALICE)

    assert codes(verify([], zero)) == ["root"]


def test_problems_and_flags_are_bounded_and_start_with_the_first() -> None:
    bad = [b"" for _ in range(3 * MAX_REPORTED_PROBLEMS)]
    swinging = [
        encode_entry(entry(seq, time=START - seq)) for seq in range(3 * MAX_REPORTED_PROBLEMS)
    ]
    report = verify(bad, head(bad))

    assert list(range(MAX_REPORTED_PROBLEMS)) == [problem.index for problem in report.problems]
    assert len(verify(swinging, head(swinging)).flagged) == MAX_REPORTED_PROBLEMS


# Slices -------------------------------------------------------------------------------------------

SMALL = 4
"""Entries of a slice in tests that cut the log themselves."""


def in_slices(log: Sequence[bytes]) -> list[SliceResult]:
    return [
        verify_slice(log[first : first + SMALL], first=first) for first in range(0, len(log), SMALL)
    ]


def combine(slices: Sequence[SliceResult], signed: bytes, uncovered: int = 0) -> Report:
    return combine_slices(slices, signed, keys=KEYS, uncovered=uncovered)


def test_a_plan_covers_the_log_in_aligned_slices() -> None:
    assert list(plan_slices(0)) == []
    assert list(plan_slices(1)) == [range(1)]
    size = 2 * LOG_SLICE_ENTRIES + 5
    assert [
        range(LOG_SLICE_ENTRIES),
        range(LOG_SLICE_ENTRIES, 2 * LOG_SLICE_ENTRIES),
        range(2 * LOG_SLICE_ENTRIES, size),
    ] == list(plan_slices(size))


@given(
    st.integers(0, 19),
    st.sampled_from(["honest", "changed", "foreign", "backwards", "cut", "torn"]),
)
def test_slices_combine_to_the_report_of_the_whole(size: int, case: str) -> None:
    log = list(LOG[:size])
    signed = head(log)
    match case:
        case "changed" if log:
            log[size // 2] = encode_entry(entry(size // 2, event="denied"))
        case "foreign" if log:
            log[size // 2] = b"{}"
            signed = head(log)
        case "backwards" if log:
            log[size // 2] = encode_entry(entry(size // 2, time=1))
            signed = head(log)
        case "cut":
            log = log[: size // 2]
        case "torn":
            torn = [*log, b"{"]
            assert verify(torn, signed) == combine(in_slices(log), signed, uncovered=1)

    assert verify(log, signed) == combine(in_slices(log), signed)


def test_a_clock_set_back_between_slices_is_flagged() -> None:
    log = with_entry(LOG, 8, time=START)
    unreadable = [*log[:4], b"", b"", b"", b"", *log[8:]]

    assert flags(combine(in_slices(log), head(log))) == [("clock", 8)]
    assert flags(combine(in_slices(unreadable), head(unreadable))) == [("clock", 8)]
    assert verify(unreadable, head(unreadable)) == combine(in_slices(unreadable), head(unreadable))


@pytest.mark.parametrize(
    "slices",
    [
        [verify_slice(LOG[4:8], first=4)],
        [verify_slice(LOG[:4], first=0), verify_slice(LOG[8:12], first=8)],
        [verify_slice(LOG[:4], first=0), verify_slice(LOG[:4], first=0)],
        [*in_slices(LOG), verify_slice(LOG[:1], first=20)],
    ],
)
def test_slices_follow_each_other_and_end_with_the_head(slices: list[SliceResult]) -> None:
    with pytest.raises(LocalError):
        combine(slices, HEAD)


@pytest.mark.parametrize(("first", "count"), [(1, 2), (2, 3), (4, 5), (6, 4)])
def test_a_slice_starts_where_its_subtrees_do(first: int, count: int) -> None:
    with pytest.raises(LocalError):
        verify_slice(LOG[first : first + count], first=first)


def test_an_empty_slice_is_nothing() -> None:
    empty = verify_slice([], first=0)

    assert (empty.count, empty.subtrees, empty.start) == (0, (), None)


def test_progress_counts_the_entries_of_each_slice() -> None:
    size = LOG_SLICE_ENTRIES + 3
    log = [b"" for _ in range(size)]
    seen: list[int] = []
    verify_log(log, head(log), keys=KEYS, progress=seen.append)

    assert [LOG_SLICE_ENTRIES, size] == seen


def test_a_head_far_over_the_entries_costs_no_more_than_they_do() -> None:
    signed = sign_checkpoint(Checkpoint(origin=ORIGIN, size=2**63 - 1, root=bytes(32)), ALICE)

    assert codes(verify(LOG, signed)) == ["fewer"]


def test_the_result_of_a_slice_crosses_a_process_boundary() -> None:
    result = verify_slice(with_entry(LOG, 2, time=1)[:4], first=0)

    assert result == pickle.loads(pickle.dumps(result))


def test_the_result_of_a_slice_is_small() -> None:
    assert len(pickle.dumps(verify_slice(LOG[:16], first=0))) < 1000


# Heads to compare with ----------------------------------------------------------------------------


def seen(size: int, root: bytes | None = None) -> Checkpoint:
    right = root_of(leaf_hash(data) for data in LOG[:size])
    return Checkpoint(origin=ORIGIN, size=size, root=right if root is None else root)


@pytest.mark.parametrize("size", range(21))
def test_a_head_that_others_hold_is_compared_at_every_size(size: int) -> None:
    agreed = verify_log(LOG, HEAD, keys=KEYS, seen=[seen(size), seen(12), seen(size)])
    forked = verify_log(LOG, HEAD, keys=KEYS, seen=[seen(12), seen(size, bytes(32))])

    assert agreed.ok
    assert [(one.code, one.index) for one in forked.problems] == [("fork", max(size - 1, 0))]


def test_a_head_over_the_own_one_is_a_rollback() -> None:
    report = verify_log(LOG[:12], head(LOG, 12), keys=KEYS, seen=[seen(13), seen(12)])

    assert [(one.code, one.index) for one in report.problems] == [("rollback", 12)]


def test_a_closing_head_over_what_is_verified_is_passed_over() -> None:
    keys, log = epochs.KEYS, epochs.LOG
    short = verify_log(log[:10], epochs.note(10, epochs.ONE), keys=keys)
    whole = verify_log(log, epochs.note(20, epochs.TWO), keys=keys, origin=epochs.FIRST)

    assert (short.ok, short.size) == (True, 10)
    assert (whole.ok, whole.size) == (True, 20)


def test_every_rewritten_epoch_is_named() -> None:
    log = with_entry(epochs.LOG, 3, event="denied")
    report = verify_log(log, epochs.note(20, epochs.TWO, log=log), keys=epochs.KEYS)

    assert [(one.code, one.index) for one in report.problems] == [("root", 5), ("root", 11)]


def test_a_log_is_not_compared_with_the_heads_of_another() -> None:
    other = Checkpoint(origin=origin_of(bytes(32)), size=12, root=bytes(32))

    with pytest.raises(LocalError):
        verify_log(LOG, HEAD, keys=KEYS, seen=[other])


def test_fewer_entries_than_a_seen_head_are_fewer() -> None:
    report = verify_log(LOG[:9], HEAD, keys=KEYS, seen=[seen(12, bytes(32))])

    assert codes(report) == ["fewer"]


@pytest.mark.parametrize("cuts", [[], [5], [1, 2, 3], [19, 20], [7, 13], [40], [0, 20]])
def test_slices_that_end_at_heads_combine_to_the_whole(cuts: list[int]) -> None:
    heads = [seen(size) if size <= 20 else seen(20) for size in cuts]
    plan = list(plan_slices(20, heads))
    slices = [verify_slice(LOG[one.start : one.stop], first=one.start) for one in plan]

    assert combine_slices(slices, HEAD, keys=KEYS, seen=heads).ok
    assert [index for one in plan for index in one] == list(range(20))


def test_a_plan_keeps_to_aligned_slices_between_large_heads() -> None:
    size = 3 * LOG_SLICE_ENTRIES + 5
    heads = [
        Checkpoint(origin=ORIGIN, size=cut, root=bytes(32))
        for cut in (1, LOG_SLICE_ENTRIES + 3, 2 * LOG_SLICE_ENTRIES, size + 9)
    ]
    plan = list(plan_slices(size, heads))

    assert (plan[0].start, plan[-1].stop) == (0, size)
    assert all(one.stop == two.start for one, two in itertools.pairwise(plan))
    assert all(0 < len(one) <= LOG_SLICE_ENTRIES for one in plan)
    assert all(not one.start & ((1 << (len(one) - 1).bit_length()) - 1) for one in plan)
    assert {cut.size for cut in heads[:3]} <= {one.stop for one in plan}


def test_slices_that_do_not_end_at_a_head_are_a_mistake() -> None:
    slices = [verify_slice(LOG, first=0)]

    with pytest.raises(LocalError):
        combine_slices(slices, HEAD, keys=KEYS, seen=[seen(12)])


def test_a_slice_tells_the_nodes_that_it_hashes() -> None:
    told: list[tuple[int, int]] = []
    alone = verify_slice(LOG, first=0)

    assert (
        verify_slice(LOG, first=0, nodes=lambda level, row: told.append((level, len(row)))) == alone
    )
    assert told == [(0, 20), (1, 10), (2, 5), (3, 2), (4, 1)]
