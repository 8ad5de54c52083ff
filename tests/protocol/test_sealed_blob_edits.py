"""Every edit of a sealed blob fails closed, and no false byte leaves."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocol import sealed_blob
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalProtocolError,
    RemoteError,
)
from protocol.sealed_blob import (
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    Opener,
    Sealer,
    open_sealed,
    seal,
)
from tests.protocol.sealed_blob_reference import (
    CHUNK,
    CONTEXT,
    KEY,
    LARGE,
    OTHER_CONTEXT,
    OTHER_KEY,
    OTHER_SALT,
    REFERENCE,
    SALT,
    SMALL,
    Reference,
    bad_tag,
    chunks_of,
    pixels,
    refuse,
    stream,
)
from tests.support import vectors

# Every edit fails closed -------------------------------------------------------------------------


def test_every_bit_of_a_small_blob_matters() -> None:
    sealed = seal(KEY, CONTEXT, SMALL, salt=SALT)
    for bit in range(8 * len(sealed)):
        edited = bytearray(sealed)
        edited[bit // 8] ^= 1 << bit % 8
        refuse(bytes(edited), original=b"")


def test_every_cut_of_a_small_blob_is_refused() -> None:
    sealed = seal(KEY, CONTEXT, SMALL, salt=SALT)
    for length in range(len(sealed)):
        refuse(sealed[:length], original=b"")


def test_sampled_bits_of_a_large_blob_matter() -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    starts = range(HEADER_BYTES, len(sealed), SEALED_CHUNK_BYTES)
    edges = [start + at for start in starts for at in (-17, -16, -1, 0, 1, 500)]
    sample = random.Random(7).sample(range(HEADER_BYTES, len(sealed)), 100)
    for position in [*edges, len(sealed) - 1, *sample]:
        edited = bytearray(sealed)
        edited[position] ^= 1 << position % 8
        refuse(bytes(edited), original=LARGE)


@pytest.mark.parametrize("size", [3 * CHUNK, 3 * CHUNK + 1000])
def test_every_cut_near_the_end_of_a_chunk_is_refused(size: int) -> None:
    sealed = seal(KEY, CONTEXT, pixels(size), salt=SALT)
    for end in range(HEADER_BYTES, len(sealed) + 1, SEALED_CHUNK_BYTES):
        for length in (end - 17, end - 16, end - 15, end - 1, end, end + 1, end + 15, end + 16):
            if length < len(sealed):
                refuse(sealed[:length], original=pixels(size))


@pytest.mark.parametrize("index", range(4))
def test_a_chunk_left_out_is_refused(index: int) -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    chunks = chunks_of(sealed)
    del chunks[index]
    refuse(sealed[:HEADER_BYTES] + b"".join(chunks), original=LARGE)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("to", range(5))
def test_a_chunk_repeated_anywhere_is_refused(index: int, to: int) -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    chunks = chunks_of(sealed)
    chunks.insert(to, chunks[index])
    refuse(sealed[:HEADER_BYTES] + b"".join(chunks), original=LARGE)


@pytest.mark.parametrize(("one", "two"), [(0, 1), (0, 2), (1, 2), (0, 3), (2, 3)])
def test_two_chunks_swapped_are_refused(one: int, two: int) -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    chunks = chunks_of(sealed)
    chunks[one], chunks[two] = chunks[two], chunks[one]
    refuse(sealed[:HEADER_BYTES] + b"".join(chunks), original=LARGE)


@pytest.mark.parametrize(
    "more", [1, 15, 16, 17, CHUNK, SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES + 16]
)
@pytest.mark.parametrize("size", [0, 20, CHUNK - 1, CHUNK])
def test_a_blob_with_more_behind_it_is_refused(size: int, more: int) -> None:
    sealed = seal(KEY, CONTEXT, pixels(size), salt=SALT)
    refuse(sealed + bytes(more), original=pixels(size))


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(
    "other",
    [
        Reference(KEY, CONTEXT, OTHER_SALT),
        Reference(OTHER_KEY, CONTEXT, SALT),
        Reference(KEY, OTHER_CONTEXT, SALT),
    ],
    ids=["salt", "key", "context"],
)
def test_a_chunk_of_another_blob_is_refused(other: Reference, index: int) -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    chunks = chunks_of(sealed)
    chunks[index] = chunks_of(other.seal(LARGE))[index]
    refuse(sealed[:HEADER_BYTES] + b"".join(chunks), original=LARGE)


def flip(draw: st.DrawFn, blob: bytearray) -> None:
    position = draw(st.integers(0, len(blob) - 1))
    blob[position] ^= draw(st.integers(1, 255))


def cut_out(draw: st.DrawFn, blob: bytearray) -> None:
    start = draw(st.integers(0, len(blob) - 1))
    del blob[start : start + draw(st.sampled_from([1, 16, 64, CHUNK, SEALED_CHUNK_BYTES]))]


def put_in(draw: st.DrawFn, blob: bytearray) -> None:
    at = draw(st.integers(0, len(blob)))
    blob[at:at] = draw(st.binary(min_size=1, max_size=40))


def truncate(draw: st.DrawFn, blob: bytearray) -> None:
    del blob[draw(st.integers(0, len(blob) - 1)) :]


def move_chunk(draw: st.DrawFn, blob: bytearray) -> None:
    chunks = chunks_of(bytes(blob)) or [b""]
    chunk = chunks.pop(draw(st.integers(0, len(chunks) - 1)))
    chunks.insert(draw(st.integers(0, len(chunks))), chunk)
    blob[HEADER_BYTES:] = b"".join(chunks)


def repeat_chunk(draw: st.DrawFn, blob: bytearray) -> None:
    chunks = chunks_of(bytes(blob)) or [b""]
    chunk = chunks[draw(st.integers(0, len(chunks) - 1))]
    chunks.insert(draw(st.integers(0, len(chunks))), chunk)
    blob[HEADER_BYTES:] = b"".join(chunks)


def splice(draw: st.DrawFn, blob: bytearray) -> None:
    other = Reference(KEY, CONTEXT, OTHER_SALT).seal(LARGE)
    start = draw(st.integers(0, len(blob) - 1))
    end = draw(st.integers(start + 1, start + SEALED_CHUNK_BYTES))
    blob[start:end] = other[start:end]


EDITS = (flip, cut_out, put_in, truncate, move_chunk, repeat_chunk, splice)


@st.composite
def edited_blobs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    plaintext = pixels(draw(st.sampled_from([0, 20, CHUNK, CHUNK + 20, 2 * CHUNK + 20])))
    sealed = seal(KEY, CONTEXT, plaintext, salt=SALT)
    blob = bytearray(sealed)
    for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=4)):
        if blob:
            edit(draw, blob)
    assume(bytes(blob) != sealed)
    return plaintext, bytes(blob)


@settings(deadline=None, max_examples=300)
@given(edited_blobs())
def test_no_sequence_of_edits_opens_or_releases_a_false_byte(case: tuple[bytes, bytes]) -> None:
    plaintext, blob = case
    refuse(blob, original=plaintext)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_of_a_stranger_raise_nothing_but_a_remote_error(data: bytes) -> None:
    with pytest.raises(RemoteError):
        open_sealed(KEY, CONTEXT, data)
    with pytest.raises(RemoteError):
        open_sealed(KEY, CONTEXT, REFERENCE.header() + data)


def test_no_byte_of_a_chunk_leaves_before_its_last_byte_came() -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    opener = Opener(KEY, CONTEXT, sealed[:HEADER_BYTES])
    body = sealed[HEADER_BYTES:]

    assert opener.update(body[: SEALED_CHUNK_BYTES - 1]) == b""
    assert LARGE[:CHUNK] == opener.update(body[SEALED_CHUNK_BYTES - 1 : SEALED_CHUNK_BYTES])


def test_good_chunks_before_a_bad_one_in_the_same_piece_are_not_released() -> None:
    sealed = bytearray(seal(KEY, CONTEXT, LARGE, salt=SALT))
    sealed[HEADER_BYTES + SEALED_CHUNK_BYTES] ^= 1
    opener = Opener(KEY, CONTEXT, bytes(sealed[:HEADER_BYTES]))

    with pytest.raises(AuthenticationError):
        opener.update(sealed[HEADER_BYTES:])


def test_an_opener_that_failed_stays_failed() -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    opener = Opener(KEY, CONTEXT, sealed[:HEADER_BYTES])
    with pytest.raises(AuthenticationError):
        opener.update(bytes(SEALED_CHUNK_BYTES))

    with pytest.raises(LocalProtocolError):
        opener.update(sealed[HEADER_BYTES:])
    with pytest.raises(LocalProtocolError):
        opener.finish()


def test_a_sealer_and_an_opener_end_once() -> None:
    sealer = Sealer(KEY, CONTEXT, salt=SALT)
    opener = Opener(KEY, CONTEXT, sealer.header)
    opener.update(sealer.finish())
    opener.finish()

    with pytest.raises(LocalProtocolError):
        sealer.update(b"more")
    with pytest.raises(LocalProtocolError):
        sealer.finish()
    with pytest.raises(LocalProtocolError):
        opener.update(b"more")
    with pytest.raises(LocalProtocolError):
        opener.finish()


def test_the_counter_ends_before_a_nonce_could_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    monkeypatch.setattr(sealed_blob, "MAX_BLOB_CHUNKS", 3)

    with pytest.raises(LimitError):
        seal(KEY, CONTEXT, LARGE, salt=SALT)
    with pytest.raises(EncodingError):
        open_sealed(KEY, CONTEXT, sealed)
    assert LARGE[: 3 * CHUNK - 1] == open_sealed(
        KEY, CONTEXT, seal(KEY, CONTEXT, LARGE[: 3 * CHUNK - 1], salt=SALT)
    )


# The published checklist -------------------------------------------------------------------------


def counterpart(
    *plaintexts: bytes, edit: Callable[[bytes], bytes] = bytes, opens: bool = False
) -> tuple[bytes, bytes, bool]:
    """Return a blob whose chunks hold these plaintexts, their whole, and whether it opens."""
    return edit(REFERENCE.blob(*plaintexts)), b"".join(plaintexts), opens


FULL = pixels(CHUNK)
SHORT = pixels(300)


# A case of age's that ends a file by a flag has its counterpart in one that ends it by a short
# chunk: "not final" is a file whose last chunk is full, "final too early" a short chunk before
# another. Two outcomes differ, on purpose: here a full chunk is never the last, and an empty one is
# the last wherever the plaintext fills its chunks.
AGE_STREAM_CASES: dict[str, tuple[bytes, bytes, bool]] = {
    "stream_empty_payload": counterpart(b"", opens=True),
    "stream_two_chunks": counterpart(FULL, SHORT, opens=True),
    "stream_three_chunks": counterpart(FULL, FULL, SHORT, opens=True),
    "stream_257_chunks": counterpart(*[FULL] * 256, SHORT, opens=True),
    "stream_257_chunks_full": counterpart(*[FULL] * 257, b"", opens=True),
    "stream_258_chunks": counterpart(*[FULL] * 257, SHORT, opens=True),
    "stream_last_chunk_empty": counterpart(FULL, b"", opens=True),
    "stream_last_chunk_full": counterpart(FULL),
    "stream_last_chunk_full_second": counterpart(FULL, FULL),
    "stream_no_chunks": counterpart(),
    "stream_no_nonce": counterpart(b"", edit=lambda sealed: sealed[:8] + sealed[32:]),
    "stream_short_nonce": counterpart(b"", edit=lambda sealed: sealed[:20] + sealed[32:]),
    "stream_missing_tag": counterpart(SHORT, edit=lambda sealed: sealed[:-16]),
    "stream_short_chunk": counterpart(SHORT, edit=lambda sealed: sealed[: HEADER_BYTES + 15]),
    "stream_short_second_chunk": counterpart(
        FULL, SHORT, edit=lambda sealed: sealed[: HEADER_BYTES + SEALED_CHUNK_BYTES + 15]
    ),
    "stream_bad_tag": counterpart(SHORT, edit=bad_tag),
    "stream_bad_tag_second_chunk": counterpart(FULL, SHORT, edit=bad_tag),
    "stream_bad_tag_second_chunk_full": counterpart(
        FULL, FULL, b"", edit=lambda sealed: bad_tag(sealed[:-16]) + sealed[-16:]
    ),
    "stream_no_final": counterpart(FULL[:-1], edit=lambda sealed: sealed[:-1]),
    "stream_no_final_full": counterpart(FULL, b"", edit=lambda sealed: sealed[:-16]),
    "stream_no_final_two_chunks": counterpart(
        FULL, SHORT, edit=lambda sealed: sealed[: HEADER_BYTES + SEALED_CHUNK_BYTES]
    ),
    "stream_no_final_two_chunks_full": counterpart(FULL, FULL, b"", edit=lambda s: s[:-16]),
    "stream_two_final_chunks": counterpart(SHORT, SHORT),
    "stream_two_final_chunks_full": counterpart(SHORT, FULL),
    "stream_two_final_chunks_second": counterpart(FULL, SHORT, SHORT),
    "stream_two_final_chunks_short": counterpart(b"", b""),
    "stream_trailing_garbage_short": counterpart(SHORT, edit=lambda sealed: sealed + bytes(10)),
    "stream_trailing_garbage_long": counterpart(SHORT, edit=lambda sealed: sealed + bytes(99_999)),
}


@pytest.mark.parametrize("name", AGE_STREAM_CASES)
def test_the_counterpart_of_a_published_stream_case_ends_as_it_must(name: str) -> None:
    sealed, plaintext, opens = AGE_STREAM_CASES[name]
    if opens:
        assert plaintext == open_sealed(KEY, CONTEXT, sealed)
        assert plaintext == stream(sealed, piece=1_000_003)
    else:
        refuse(sealed, original=plaintext)


def test_every_published_stream_case_has_its_counterpart_here() -> None:
    published = {path.name for path in vectors("age", "testdata").glob("stream_*")}

    assert published == set(AGE_STREAM_CASES)
