"""The codec: one value, one encoding, and a refusal of every other spelling."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import decode, encode
from protocol.errors import EncodingError


class Sample(msgspec.Struct, frozen=True, tag="sample", forbid_unknown_fields=True):
    """A value with every kind of field that a wire value has."""

    number: int
    name: str
    data: bytes
    items: tuple[int, ...] = ()
    flag: bool = False
    note: str | None = None


class Other(msgspec.Struct, frozen=True, tag="other", forbid_unknown_fields=True):
    number: int


SAMPLE = Sample(number=5, name="a", data=b"\x01", items=(1,), flag=True, note=None)
WIRE = (
    b"\x87"
    b"\xa4type\xa6sample"
    b"\xa6number\x05"
    b"\xa4name\xa1a"
    b"\xa4data\xc4\x01\x01"
    b"\xa5items\x91\x01"
    b"\xa4flag\xc3"
    b"\xa4note\xc0"
)


# MessagePack -------------------------------------------------------------------------------------


def test_a_value_is_a_map_of_its_tag_and_its_fields_in_order() -> None:
    assert encode(SAMPLE) == WIRE
    assert decode(Sample, WIRE, limit=len(WIRE)) == SAMPLE


@given(
    st.builds(
        Sample,
        number=st.integers(-(2**63), 2**64 - 1),
        name=st.text(),
        data=st.binary(),
        items=st.lists(st.integers(-(2**63), 2**64 - 1)).map(tuple),
        flag=st.booleans(),
        note=st.none() | st.text(),
    )
)
def test_every_value_decodes_to_itself(value: Sample) -> None:
    assert decode(Sample, encode(value), limit=10_000) == value


def edited(old: bytes, new: bytes) -> bytes:
    assert WIRE.count(old) == 1
    return WIRE.replace(old, new)


MORE_FIELDS = b"\x88" + WIRE[1:]
OTHER_SPELLINGS = {
    "integer in 8 bits": edited(b"number\x05", b"number\xcc\x05"),
    "integer in 16 bits": edited(b"number\x05", b"number\xcd\x00\x05"),
    "integer in 32 bits": edited(b"number\x05", b"number\xce\x00\x00\x00\x05"),
    "integer in 64 bits": edited(b"number\x05", b"number\xcf" + bytes(7) + b"\x05"),
    "positive integer as a signed one": edited(b"number\x05", b"number\xd0\x05"),
    "integer as a float": edited(b"number\x05", b"number\xcb\x40\x14" + bytes(6)),
    "string in str8": edited(b"name\xa1a", b"name\xd9\x01a"),
    "string in str16": edited(b"name\xa1a", b"name\xda\x00\x01a"),
    "bytes in bin16": edited(b"data\xc4\x01\x01", b"data\xc5\x00\x01\x01"),
    "bytes as a string": edited(b"data\xc4\x01\x01", b"data\xa1\x01"),
    "array in array16": edited(b"items\x91\x01", b"items\xdc\x00\x01\x01"),
    "map in map16": b"\xde\x00\x07" + WIRE[1:],
    "key in str8": edited(b"\xa4name", b"\xd9\x04name"),
    "same key twice, equal": MORE_FIELDS + b"\xa6number\x05",
    "same key twice, first differs": b"\x88"
    + edited(b"\xa6number\x05", b"\xa6number\x06\xa6number\x05")[1:],
    "tag twice": MORE_FIELDS + b"\xa4type\xa6sample",
    "fields in another order": WIRE.replace(b"\xa4flag\xc3", b"") + b"\xa4flag\xc3",
    "default left out": b"\x86" + WIRE[1:-6],
    "unknown field": MORE_FIELDS + b"\xa5other\x01",
    "unknown tag": edited(b"\xa6sample", b"\xa6simple"),
    "tag of another value": edited(b"\xa6sample", b"\xa5other"),
    "no tag": b"\x86" + WIRE[1:].replace(b"\xa4type\xa6sample", b""),
    "field missing": b"\x86" + WIRE[1:].replace(b"\xa6number\x05", b""),
    "wrong type": edited(b"number\x05", b"number\xa15"),
    "null for a number": edited(b"number\x05", b"number\xc0"),
    "true for a number": edited(b"number\x05", b"number\xc3"),
    "one for true": edited(b"flag\xc3", b"flag\x01"),
    "text that is not UTF-8": edited(b"name\xa1a", b"name\xa1\xff"),
    "text with a surrogate": edited(b"name\xa1a", b"name\xa3\xed\xa0\x80"),
    "key that is no text": edited(b"\xa4name", b"\x01"),
    "trailing byte": WIRE + b"\x00",
    "trailing nil": WIRE + b"\xc0",
    "same value twice": WIRE + WIRE,
    "nothing": b"",
    "not a map": b"\x05",
    "array for a map": b"\x91\x05",
    "reserved byte": b"\xc1",
    "map longer than its bytes": b"\x88" + WIRE[1:],
    "bytes longer than there are": edited(b"data\xc4\x01", b"data\xc4\xff"),
    "four gigabytes claimed": edited(b"data\xc4\x01", b"data\xc6\xff\xff\xff\xff"),
    "four billion items claimed": edited(b"items\x91", b"items\xdd\xff\xff\xff\xff"),
    "deep nesting": b"\x91" * 100_000,
}


@pytest.mark.parametrize("data", OTHER_SPELLINGS.values(), ids=OTHER_SPELLINGS)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(Sample, data, limit=200_000)
    with pytest.raises(EncodingError):
        decode(Sample | Other, data, limit=200_000)


@pytest.mark.parametrize(
    "spelling", ["integer in 8 bits", "same key twice, equal", "same key twice, first differs"]
)
def test_the_library_alone_would_have_accepted_what_only_reencoding_refuses(spelling: str) -> None:
    assert msgspec.msgpack.decode(OTHER_SPELLINGS[spelling], type=Sample) == SAMPLE


def test_every_cut_is_refused() -> None:
    for size in range(len(WIRE)):
        with pytest.raises(EncodingError):
            decode(Sample, WIRE[:size], limit=1000)


def test_more_bytes_than_the_limit_are_not_looked_at() -> None:
    with pytest.raises(EncodingError):
        decode(Sample, WIRE, limit=len(WIRE) - 1)
    with pytest.raises(EncodingError):
        decode(Sample | Other, bytes(10), limit=9)


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: WIRE[:30] + tail))
def test_bytes_decode_to_a_value_of_that_encoding_or_are_refused(data: bytes) -> None:
    try:
        value = decode(Sample, data, limit=1000)
    except EncodingError:
        return

    assert encode(value) == data


@given(st.integers(0, len(WIRE) - 1), st.integers(1, 255))
def test_a_changed_byte_gives_another_value_or_none(position: int, change: int) -> None:
    data = bytearray(WIRE)
    data[position] ^= change
    try:
        value = decode(Sample, bytes(data), limit=1000)
    except EncodingError:
        return

    assert value != SAMPLE
