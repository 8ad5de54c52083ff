"""Announcements: known to those who know the key, random to others, and read strictly."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.announcement import (
    Announcement,
    announcement_tag,
    announcement_values,
    parse_announcement_untrusted,
)
from protocol.errors import EncodingError, LocalError, RemoteError, UnsupportedError
from protocol.labels import HASH_ANNOUNCEMENT
from tests.protocol.people import person

NONCE = bytes(range(16))
KEY = person("Alice").public.agreement_key
TAG = announcement_tag(KEY, nonce=NONCE, port=7411)
ANNOUNCEMENTS = st.builds(
    Announcement,
    nonce=st.binary(min_size=16, max_size=16),
    tag=st.binary(min_size=16, max_size=16),
    invitation=st.none() | st.integers(1, 9_999),
)


def record(announcement: Announcement) -> dict[bytes, bytes | None]:
    """Return the properties that a reader of multicast DNS finds."""
    return {
        key.encode(): value.encode() for key, value in announcement_values(announcement).items()
    }


def test_the_tag_is_keyed_blake2b_of_nonce_and_port() -> None:
    expected = hashlib.blake2b(
        HASH_ANNOUNCEMENT + NONCE + (7411).to_bytes(2, "big"), digest_size=16, key=KEY
    ).digest()

    assert expected == TAG


def test_row_13_another_key_nonce_or_port_gives_another_tag() -> None:
    tags = {
        TAG,
        announcement_tag(KEY, nonce=NONCE, port=7412),
        announcement_tag(KEY, nonce=bytes(16), port=7411),
        announcement_tag(person("Bob").public.agreement_key, nonce=NONCE, port=7411),
    }

    assert len(tags) == 4


@given(announcement=ANNOUNCEMENTS)
def test_an_announcement_reads_as_it_was_written(announcement: Announcement) -> None:
    assert parse_announcement_untrusted(record(announcement)) == announcement


def test_row_13_an_announcement_holds_no_name_key_or_address() -> None:
    values = announcement_values(Announcement(nonce=NONCE, tag=TAG))

    assert values == {"v": "1", "n": NONCE.hex(), "t": TAG.hex()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": bytes(15), "tag": TAG},
        {"nonce": NONCE, "tag": bytes(17)},
        {"nonce": NONCE, "tag": TAG, "invitation": 0},
        {"nonce": NONCE, "tag": TAG, "invitation": 10_000},
    ],
)
def test_we_announce_nothing_that_others_refuse(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        Announcement(**wrong)


GOOD = record(Announcement(nonce=NONCE, tag=TAG, invitation=7))
MALFORMED: dict[str, tuple[dict[bytes, bytes | None], type[RemoteError]]] = {
    "nothing": ({}, UnsupportedError),
    "another version": ({**GOOD, b"v": b"2"}, UnsupportedError),
    "a version without value": ({**GOOD, b"v": None}, UnsupportedError),
    "no nonce": ({b"v": b"1", b"t": TAG.hex().encode()}, EncodingError),
    "an unknown key": (
        {b"v": b"1", b"n": GOOD[b"n"], b"t": GOOD[b"t"], b"x": b""},
        EncodingError,
    ),
    "five keys": ({**GOOD, b"x": b""}, EncodingError),
    "a nonce without value": ({**GOOD, b"n": None}, EncodingError),
    "a nonce of 15 bytes": ({**GOOD, b"n": b"00" * 15}, EncodingError),
    "a nonce of 17 bytes": ({**GOOD, b"n": b"00" * 17}, EncodingError),
    "a nonce in capitals": ({**GOOD, b"n": b"AA" * 16}, EncodingError),
    "a nonce with a line end": ({**GOOD, b"n": b"00" * 16 + b"\n"}, EncodingError),
    "a tag with a blank": ({**GOOD, b"t": b"00" * 15 + b" 0"}, EncodingError),
    "a tag that is not ASCII": ({**GOOD, b"t": "é".encode() * 16}, EncodingError),
    "a value of 65 bytes": ({**GOOD, b"t": b"0" * 65}, EncodingError),
    "an invitation without number": ({**GOOD, b"inv": b""}, EncodingError),
    "invitation 0": ({**GOOD, b"inv": b"0"}, EncodingError),
    "an invitation with a zero before it": ({**GOOD, b"inv": b"07"}, EncodingError),
    "an invitation with a sign": ({**GOOD, b"inv": b"+7"}, EncodingError),
    "an invitation with a line end": ({**GOOD, b"inv": b"7\n"}, EncodingError),
    "an invitation of five digits": ({**GOOD, b"inv": b"10000"}, EncodingError),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_row_12_a_malformed_record_is_refused(case: str) -> None:
    properties, error = MALFORMED[case]

    with pytest.raises(error):
        parse_announcement_untrusted(properties)


@given(
    properties=st.dictionaries(
        st.sampled_from([b"v", b"n", b"t", b"inv", b""]) | st.binary(max_size=300),
        st.none() | st.sampled_from([b"1", b"7", b"00" * 16]) | st.binary(max_size=300),
        max_size=8,
    )
)
def test_row_12_no_record_raises_anything_but_a_remote_error(
    properties: dict[bytes, bytes | None],
) -> None:
    try:
        announcement = parse_announcement_untrusted(properties)
    except RemoteError:
        return

    assert record(announcement) == properties
