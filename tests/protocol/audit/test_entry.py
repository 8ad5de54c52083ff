"""Entries: one spelling, and commitments instead of values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.entry import (
    EVENTS,
    Entry,
    EntryScanner,
    commitment,
    decode_entry_untrusted,
    encode_entry,
    scan_entry_untrusted,
)
from protocol.errors import EncodingError, LimitError, LocalError
from protocol.limits import MAX_ENTRY_BYTES
from tests.protocol.audit.canonical_json import decode_json, encode_json
from tests.protocol.audit.support import digits, entry
from tests.support import vectors

EXAMPLE = encode_entry(entry(7))


def hexadecimal(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=count, max_size=count)


field_names = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
integers = st.integers(0, 2**53 - 1)
some_entries = st.builds(
    Entry,
    actor=st.just("") | hexadecimal(32),
    commitments=st.dictionaries(field_names, hexadecimal(64), max_size=6),
    event=st.sampled_from(sorted(EVENTS)),
    nonce=hexadecimal(32),
    seq=integers,
    subjects=st.lists(hexadecimal(32), max_size=4).map(tuple),
    time=integers,
)


def as_object(value: Entry) -> dict[str, Any]:
    return {
        "actor": value.actor,
        "commitments": value.commitments,
        "event": value.event,
        "nonce": value.nonce,
        "seq": value.seq,
        "subjects": list(value.subjects),
        "time": value.time,
        "v": value.v,
    }


@given(some_entries)
def test_an_entry_is_encoded_as_rfc_8785_demands(value: Entry) -> None:
    data = encode_entry(value)

    assert encode_json(as_object(value)) == data
    assert as_object(value) == decode_json(data, limit=MAX_ENTRY_BYTES)


@given(some_entries)
def test_what_was_encoded_decodes_to_the_same_entry(value: Entry) -> None:
    data = encode_entry(value)

    assert value == decode_entry_untrusted(data)
    assert (value.seq, value.time) == scan_entry_untrusted(data)


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_every_event_has_an_entry(event: str) -> None:
    assert event == decode_entry_untrusted(encode_entry(entry(0, event=event))).event


REFUSED = {
    "nothing": b"",
    "not JSON": b"entry",
    "torn": EXAMPLE[:-1],
    "a byte more": EXAMPLE + b"\n",
    "a space": EXAMPLE.replace(b',"v"', b', "v"'),
    "another order of fields": b'{"v":1,' + EXAMPLE[1:].replace(b',"v":1', b""),
    "a field twice": EXAMPLE.replace(b'"v":1', b'"v":1,"v":1'),
    "a field more": EXAMPLE.replace(b'"v":1', b'"v":1,"w":1'),
    "a field missing": EXAMPLE.replace(b',"v":1', b""),
    "another version": EXAMPLE.replace(b'"v":1', b'"v":2'),
    "an unknown event": EXAMPLE.replace(b'"released"', b'"viewed"'),
    "an escaped letter": EXAMPLE.replace(b'"released"', b'"\\u0072eleased"'),
    "a sequence number as text": EXAMPLE.replace(b'"seq":7', b'"seq":"7"'),
    "a leading zero": EXAMPLE.replace(b'"seq":7', b'"seq":07'),
    "a plus sign": EXAMPLE.replace(b'"seq":7', b'"seq":+7'),
    "a minus sign": EXAMPLE.replace(b'"seq":7', b'"seq":-7'),
    "a fraction": EXAMPLE.replace(b'"seq":7', b'"seq":7.0'),
    "an exponent": EXAMPLE.replace(b'"seq":7', b'"seq":7e0'),
    "digits of another script": EXAMPLE.replace(b'"seq":7', '"seq":٧'.encode()),
    "an integer over 2^53 - 1": EXAMPLE.replace(b'"seq":7', b'"seq":9007199254740992'),
    "a time over 2^53 - 1": EXAMPLE.replace(b'"time":1760000000007', b'"time":9007199254740992'),
    "an actor in capitals": EXAMPLE.replace(
        digits("actor 1", 32).encode(), digits("actor 1", 32).upper().encode()
    ),
    "a short actor": EXAMPLE.replace(digits("actor 1", 32).encode(), b"00"),
    "a short nonce": EXAMPLE.replace(digits("nonce 7", 32).encode(), b""),
    "a short subject": EXAMPLE.replace(digits("subject 7", 32).encode(), b""),
    "a subject without comma": EXAMPLE.replace(b'"],"time', b'""],"time'),
    "a short commitment": EXAMPLE.replace(digits("image 7", 64).encode(), b"00"),
    "a commitment that is no hexadecimal": EXAMPLE.replace(
        digits("image 7", 64).encode(), b"g" * 64
    ),
    "a field name in capitals": EXAMPLE.replace(b'"image"', b'"Image"'),
    "a field name that starts with a digit": EXAMPLE.replace(b'"image"', b'"9mage"'),
    "an empty field name": EXAMPLE.replace(b'"image"', b'""'),
    "a field name of 33 letters": EXAMPLE.replace(b'"image"', b'"i' + b"m" * 32 + b'"'),
    "commitments out of order": EXAMPLE.replace(b'"image"', b'"a"'),
    "a commitment twice": EXAMPLE.replace(b'"image"', b'"holder"'),
    "commitments as a list": encode_json({**as_object(entry(7)), "commitments": []}),
    "a byte order mark": b"\xef\xbb\xbf" + EXAMPLE,
}


@pytest.mark.parametrize("spelling", REFUSED)
def test_every_other_spelling_is_refused(spelling: str) -> None:
    data = REFUSED[spelling]
    scanner = EntryScanner()
    scanner.scan_untrusted(EXAMPLE)

    assert data != EXAMPLE
    for refuse in (decode_entry_untrusted, scan_entry_untrusted, scanner.scan_untrusted):
        with pytest.raises(EncodingError):
            refuse(data)


def entry_of(size: int, seq: int) -> Entry:
    """Return an entry that encodes to size bytes: many subjects, and names that fill the rest."""
    spare = size - len(encode_entry(entry(seq, subjects=(), commitments={})))
    # A subject is 35 bytes, a commitment 70 and its name, the last of each a comma less.
    subjects, rest = divmod(spare + 2 - 2 * 70 - 2, 35)
    names = ("a" * (1 + rest // 2), "b" * (1 + rest - rest // 2))
    commitments = dict.fromkeys(names, "0" * 64)
    return entry(seq, subjects=("0" * 32,) * subjects, commitments=commitments)


def test_an_entry_of_65535_bytes_is_the_largest() -> None:
    largest = entry_of(MAX_ENTRY_BYTES, 1)
    data = encode_entry(largest)
    over = data.replace(b'"seq":1', b'"seq":10')
    scanner = EntryScanner()

    assert len(data) == MAX_ENTRY_BYTES
    assert largest == decode_entry_untrusted(data)
    assert (1, largest.time) == scanner.scan_untrusted(data)
    for refuse in (decode_entry_untrusted, scanner.scan_untrusted):
        with pytest.raises(EncodingError):
            refuse(over)
    with pytest.raises(LimitError):
        encode_entry(entry_of(MAX_ENTRY_BYTES + 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": "alice@example.com"},
        {"commitments": {"image": "holiday.jpg"}},
        {"commitments": {"Image": "0" * 64}},
        {"event": "viewed"},
        {"event": "\ud800"},
        {"nonce": ""},
        {"seq": -1},
        {"seq": 2**53},
        {"seq": 2**64},
        {"subjects": ("bob",)},
        {"time": 2**53},
        {"v": 2},
    ],
    ids=ascii,
)
def test_an_entry_that_would_not_decode_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        encode_entry(entry(0, **changes))


# A scanner answers as the function does -----------------------------------------------------------


def verdict(
    scan: Callable[[bytes], tuple[int, int]], data: bytes
) -> tuple[int, int] | type[Exception]:
    try:
        return scan(data)
    except EncodingError:
        return EncodingError


def test_a_scanner_refuses_every_single_byte_change_that_the_function_refuses() -> None:
    value = entry(
        7, commitments={"abcdef": "0" * 64, "image": "f" * 64}, subjects=("a" * 32, "b" * 32)
    )
    data = encode_entry(value)
    scanner = EntryScanner()
    scanner.scan_untrusted(data)

    for at in range(len(data)):
        for byte in range(256):
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            assert verdict(scan_entry_untrusted, changed) == verdict(
                scanner.scan_untrusted, changed
            )


@given(st.lists(some_entries, min_size=2, max_size=4), st.data())
def test_a_scanner_answers_as_the_function_does(values: list[Entry], data: st.DataObject) -> None:
    scanner = EntryScanner()
    known = [encode_entry(value) for value in values]
    for entry_bytes in known:
        assert scan_entry_untrusted(entry_bytes) == scanner.scan_untrusted(entry_bytes)

    mixed = bytearray(data.draw(st.sampled_from(known)))
    other = data.draw(st.sampled_from(known))
    start = data.draw(st.integers(0, len(mixed)))
    end = data.draw(st.integers(start, len(mixed)))
    mixed[start:end] = other[data.draw(st.integers(0, len(other))) :][: end - start]

    assert verdict(scan_entry_untrusted, bytes(mixed)) == verdict(
        scanner.scan_untrusted, bytes(mixed)
    )


def test_a_scanner_takes_more_shapes_than_it_learns() -> None:
    scanner = EntryScanner()
    many = [encode_entry(entry(0, subjects=("0" * 32,) * n)) for n in range(100)]

    for data in many * 2:
        assert scan_entry_untrusted(data) == scanner.scan_untrusted(data)


def test_a_scanner_tells_shapes_apart_that_differ_in_letters_a_to_f_only() -> None:
    scanner = EntryScanner()
    ordered = encode_entry(entry(0, commitments={"ma": "0" * 64, "mb": "1" * 64}))
    disordered = ordered.replace(b'"ma"', b'"mc"')

    scanner.scan_untrusted(ordered)
    with pytest.raises(EncodingError):
        scanner.scan_untrusted(disordered)


def test_a_scanner_does_not_take_a_field_name_for_digits() -> None:
    name = "a" * 32
    scanner = EntryScanner()
    data = encode_entry(entry(0, commitments={name: "0" * 64}))
    scanner.scan_untrusted(data)

    with pytest.raises(EncodingError):
        scanner.scan_untrusted(data.replace(name.encode(), b"0" * 32))


@given(st.binary(max_size=600))
def test_foreign_bytes_raise_encoding_error_and_nothing_else(data: bytes) -> None:
    for scan in (decode_entry_untrusted, EntryScanner().scan_untrusted):
        with pytest.raises(EncodingError):
            scan(data)


@given(st.integers(0, len(EXAMPLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_entries_decode_canonically_or_not_at_all(at: int, new: bytes, gone: int) -> None:
    damaged = EXAMPLE[:at] + new + EXAMPLE[at + gone :]
    try:
        value = decode_entry_untrusted(damaged)
    except EncodingError:
        return

    assert damaged == encode_entry(value)


def test_msgspec_alone_would_take_a_repeated_field() -> None:
    twice = EXAMPLE.replace(b'"seq":7', b'"seq":7,"seq":7')

    assert json.loads(EXAMPLE) == json.loads(twice)
    with pytest.raises(EncodingError):
        decode_entry_untrusted(twice)


# Commitments --------------------------------------------------------------------------------------

SALT = bytes(range(32))
WHO = bytes.fromhex("fb45946d18ed7f181c59dec04f5581198bfe05a2da3b5ede3126beb6b71e1d6a")


def test_t24a_a_commitment_opens() -> None:
    assert commitment(SALT, "who", b"bob@example.com") == WHO


@pytest.mark.parametrize(
    ("salt", "field", "value"),
    [
        (SALT, "who", b"eve@example.com"),
        (SALT, "whom", b"bob@example.com"),
        (bytes(32), "who", b"bob@example.com"),
        (SALT, "who", b""),
    ],
)
def test_t24b_a_commitment_of_anything_else_is_refused(
    salt: bytes, field: str, value: bytes
) -> None:
    assert commitment(salt, field, value) != WHO


def test_the_published_commitment_is_reproduced() -> None:
    known = json.loads(vectors("tlog", "worked.json").read_bytes())["commitment_proposal"]

    assert known["commitment"] == (
        commitment(bytes.fromhex(known["salt"]), known["field"], known["value"].encode()).hex()
    )


def test_a_boundary_between_field_and_value_cannot_move() -> None:
    with pytest.raises(LocalError):
        commitment(SALT, "who\x00bob", b"@example.com")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_is_32_bytes(size: int) -> None:
    with pytest.raises(LocalError):
        commitment(bytes(size), "who", b"bob@example.com")
