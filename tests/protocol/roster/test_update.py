"""The stream of roster versions on their way to another node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import EncodingError
from protocol.limits import MAX_ROSTER_UPDATE_BYTES
from protocol.roster.update import join_versions, split_versions_untrusted

versions = st.lists(st.binary(min_size=1, max_size=100))


@given(versions)
def test_versions_arrive_as_they_were_sent(sent: list[bytes]) -> None:
    assert sent == split_versions_untrusted(join_versions(sent))


@given(versions.filter(bool), st.integers(1, 4))
def test_a_stream_that_is_cut_is_refused(sent: list[bytes], cut: int) -> None:
    stream = join_versions(sent)
    last = len(sent[-1]) + 4

    with pytest.raises(EncodingError):
        split_versions_untrusted(stream[: -min(cut, last - 1)])


def test_a_stream_holds_what_fits_and_at_least_one_version() -> None:
    half = bytes(MAX_ROSTER_UPDATE_BYTES // 2)

    assert split_versions_untrusted(join_versions([half, b"x", half])) == [half, b"x"]
    assert join_versions([bytes(MAX_ROSTER_UPDATE_BYTES)])


def test_a_stream_over_its_limit_or_with_an_empty_version_is_refused() -> None:
    for stream in (bytes(MAX_ROSTER_UPDATE_BYTES + 1), bytes(4)):
        with pytest.raises(EncodingError):
            split_versions_untrusted(stream)


@given(st.binary(max_size=64))
def test_any_bytes_split_or_are_refused(stream: bytes) -> None:
    try:
        found = split_versions_untrusted(stream)
    except EncodingError:
        return
    assert stream == join_versions(found)
