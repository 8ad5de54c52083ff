"""What a sealed blob promises: opening, contexts, headers, any place in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    UnsupportedError,
)
from protocol.labels import NO_TEAM
from protocol.sealed_blob import (
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    BlobContext,
    Opener,
    RandomAccess,
    Sealer,
    commitment_of_untrusted,
    open_sealed,
    plain_length_untrusted,
    seal,
    sealed_length,
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
    Reference,
    chunks_of,
    pixels,
    read_at_random,
    refuse,
    stream,
)

SIZES = (0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 200_000)

# What a blob promises ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_opens_to_what_was_sealed_in_every_way_of_opening(size: int) -> None:
    sealed = seal(KEY, CONTEXT, pixels(size), salt=SALT)

    assert pixels(size) == open_sealed(KEY, CONTEXT, sealed)
    assert pixels(size) == stream(sealed)
    assert pixels(size) == read_at_random(sealed)


@pytest.mark.parametrize("size", SIZES)
def test_a_second_writing_of_the_format_gives_the_same_bytes(size: int) -> None:
    assert REFERENCE.seal(pixels(size)) == seal(KEY, CONTEXT, pixels(size), salt=SALT)


@pytest.mark.parametrize("size", SIZES)
def test_lengths_are_computed_without_the_bytes(size: int) -> None:
    sealed = seal(KEY, CONTEXT, pixels(size), salt=SALT)

    assert len(sealed) == sealed_length(size)
    assert size == plain_length_untrusted(len(sealed))


@given(st.integers(0, 2**48 - CHUNK - 1))
def test_the_two_lengths_are_inverse(size: int) -> None:
    assert size == plain_length_untrusted(sealed_length(size))


@given(st.integers(-100, 5 * SEALED_CHUNK_BYTES))
def test_a_length_that_no_blob_has_is_refused(sealed: int) -> None:
    try:
        size = plain_length_untrusted(sealed)
    except EncodingError:
        body = sealed - HEADER_BYTES
        assert body < 0 or body % SEALED_CHUNK_BYTES < 16
    else:
        assert sealed == sealed_length(size)


def test_a_length_beyond_the_counter_is_refused() -> None:
    largest = (2**32 - 1) * CHUNK - 1

    assert largest == plain_length_untrusted(sealed_length(largest))
    with pytest.raises(LimitError):
        sealed_length(largest + 1)
    with pytest.raises(LimitError):
        sealed_length(-1)
    with pytest.raises(EncodingError):
        plain_length_untrusted(sealed_length(largest) + SEALED_CHUNK_BYTES)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 150_000), max_size=6), st.integers(1000, 200_000))
def test_pieces_of_any_size_make_the_same_blob_and_the_same_plaintext(
    pieces: list[int], piece: int
) -> None:
    plaintext = pixels(sum(pieces))
    sealer = Sealer(KEY, CONTEXT, salt=SALT)
    parts, at = [sealer.header], 0
    for size in pieces:
        parts.append(sealer.update(memoryview(plaintext)[at : at + size]))
        at += size
    sealed = b"".join([*parts, sealer.finish()])

    assert seal(KEY, CONTEXT, plaintext, salt=SALT) == sealed
    assert plaintext == stream(sealed, piece=piece)


def test_single_bytes_make_the_same_blob_and_the_same_plaintext() -> None:
    sealer = Sealer(KEY, CONTEXT, salt=SALT)
    pieces = [sealer.update(bytes([byte])) for byte in pixels(CHUNK + 3)]
    sealed = b"".join([sealer.header, *pieces, sealer.finish()])

    assert REFERENCE.seal(pixels(CHUNK + 3)) == sealed
    assert pixels(CHUNK + 3) == stream(sealed, piece=1)


def test_a_buffer_may_be_used_again_after_update_returns() -> None:
    buffer = bytearray(pixels(1000))
    sealer = Sealer(KEY, CONTEXT, salt=SALT)
    sealer.update(buffer)
    buffer[:] = bytes(1000)

    assert REFERENCE.chunk(0, pixels(1000)) == sealer.finish()


def test_a_full_chunk_is_sealed_at_once_and_the_last_one_is_always_shorter() -> None:
    sealer = Sealer(KEY, CONTEXT, salt=SALT)

    assert len(sealer.update(pixels(CHUNK - 1))) == 0
    assert len(sealer.update(b"x")) == SEALED_CHUNK_BYTES
    assert len(sealer.finish()) == 16


def test_the_same_picture_twice_gives_unrelated_bytes() -> None:
    picture = pixels(200_000)
    one = seal(KEY, CONTEXT, picture, salt=SALT)
    two = seal(KEY, CONTEXT, picture, salt=OTHER_SALT)
    alike = sum(a == b for a, b in zip(one[32:], two[32:], strict=True))

    assert one[32:64] != two[32:64]
    # Two unrelated strings agree in 1 of 256 bytes: 782 here, with a deviation of 28.
    assert 600 < alike < 960
    assert not {one[at : at + 16] for at in range(64, len(one) - 16, 16)} & {
        two[at : at + 16] for at in range(64, len(two) - 16, 16)
    }


def test_equal_chunks_of_one_picture_give_unrelated_bytes() -> None:
    sealed = seal(KEY, CONTEXT, bytes(2 * CHUNK), salt=SALT)
    one, two = sealed[64 : 64 + CHUNK], sealed[64 + SEALED_CHUNK_BYTES :][:CHUNK]

    assert sum(a == b for a, b in zip(one, two, strict=True)) < 400


def test_the_commitment_stands_in_the_header() -> None:
    sealer = Sealer(KEY, CONTEXT, salt=SALT)

    assert sealer.commitment == commitment_of_untrusted(sealer.header)
    assert sealer.commitment == sealer.header[32:]


def test_nothing_that_holds_a_key_shows_it() -> None:
    sealer = Sealer(KEY, CONTEXT, salt=SALT)
    shown = repr(sealer) + repr(Opener(KEY, CONTEXT, sealer.header))
    derived = REFERENCE.derived()

    assert KEY.hex() not in shown
    assert derived[:32].hex() not in shown


# A context ---------------------------------------------------------------------------------------


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=64),
)
def test_a_context_decodes_to_what_was_encoded(
    team: bytes, device: bytes, image: bytes, rendition: bytes
) -> None:
    context = BlobContext(team=team, device=device, image=image, rendition=rendition)

    assert context == BlobContext.decode(context.encode())


@given(st.binary(max_size=200))
def test_bytes_are_one_context_or_none(data: bytes) -> None:
    try:
        context = BlobContext.decode(data)
    except EncodingError:
        assert not 80 <= len(data) <= 144
    else:
        assert data == context.encode()


@pytest.mark.parametrize(
    ("team", "device", "image", "rendition"),
    [(31, 32, 16, 0), (32, 33, 16, 0), (32, 32, 15, 0), (32, 32, 16, 65), (0, 0, 0, 0)],
)
def test_a_context_has_parts_of_fixed_size(
    team: int, device: int, image: int, rendition: int
) -> None:
    with pytest.raises(LocalError):
        BlobContext(
            team=bytes(team), device=bytes(device), image=bytes(image), rendition=bytes(rendition)
        )


@pytest.mark.parametrize(
    "elsewhere",
    [
        BlobContext(team=NO_TEAM, device=b"\2" * 32, image=b"\3" * 16, rendition=b"original"),
        BlobContext(team=b"\1" * 32, device=b"\3" * 32, image=b"\3" * 16, rendition=b"original"),
        BlobContext(team=b"\1" * 32, device=b"\2" * 32, image=b"\4" * 16, rendition=b"original"),
        BlobContext(team=b"\1" * 32, device=b"\2" * 32, image=b"\3" * 16, rendition=b"originak"),
        BlobContext(team=b"\1" * 32, device=b"\2" * 32, image=b"\3" * 16, rendition=b"original\0"),
        BlobContext(team=b"\1" * 32, device=b"\2" * 32, image=b"\3" * 16, rendition=b""),
    ],
    ids=["team", "device", "image", "rendition", "longer rendition", "no rendition"],
)
def test_a_blob_moved_to_another_place_does_not_open_there(elsewhere: BlobContext) -> None:
    sealed = seal(KEY, CONTEXT, pixels(100), salt=SALT)

    with pytest.raises(AuthenticationError):
        open_sealed(KEY, elsewhere.encode(), sealed)


# The header --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65])
def test_a_header_of_another_size_is_no_header(size: int) -> None:
    header = (REFERENCE.header() + b"\0")[:size]

    with pytest.raises(EncodingError):
        commitment_of_untrusted(header)
    with pytest.raises(EncodingError):
        Opener(KEY, CONTEXT, header)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_another_magic_is_no_header(offset: int) -> None:
    header = bytearray(REFERENCE.header())
    header[offset] ^= 0x20

    with pytest.raises(EncodingError):
        Opener(KEY, CONTEXT, bytes(header))


@pytest.mark.parametrize(
    "fixed",
    [
        b"SLB1\x00\x10\x00\x00",
        b"SLB1\x02\x10\x00\x00",
        b"SLB1\x01\x0f\x00\x00",
        b"SLB1\x01\x11\x00\x00",
        b"SLB1\x01\x10\x01\x00",
        b"SLB1\x01\x10\x00\x01",
    ],
    ids=["suite 0", "suite 2", "chunk 2^15", "chunk 2^17", "reserved 1", "reserved 2"],
)
def test_a_header_of_the_future_is_unsupported_even_where_it_commits_to_itself(
    fixed: bytes,
) -> None:
    future = Reference(KEY, CONTEXT, SALT, fixed)

    with pytest.raises(UnsupportedError):
        open_sealed(KEY, CONTEXT, future.seal(pixels(10)))
    with pytest.raises(UnsupportedError):
        commitment_of_untrusted(future.header())


def test_the_commitment_is_checked_before_any_chunk_is_asked_for() -> None:
    header = REFERENCE.header()

    with pytest.raises(AuthenticationError):
        Opener(OTHER_KEY, CONTEXT, header)
    with pytest.raises(AuthenticationError):
        RandomAccess(OTHER_KEY, CONTEXT, header, sealed_length(0))


@pytest.mark.parametrize(
    ("key", "context"), [(OTHER_KEY, CONTEXT), (KEY, OTHER_CONTEXT)], ids=["key", "context"]
)
def test_a_blob_opens_under_its_own_key_and_context_only(key: bytes, context: bytes) -> None:
    refuse(seal(KEY, CONTEXT, pixels(70_000), salt=SALT), original=b"", key=key, context=context)


def test_keys_and_salts_have_one_size() -> None:
    with pytest.raises(LocalError):
        Sealer(KEY[:31], CONTEXT, salt=SALT)
    with pytest.raises(LocalError):
        Sealer(KEY, CONTEXT, salt=SALT[:23])
    with pytest.raises(LocalError):
        Opener(KEY + b"\0", CONTEXT, REFERENCE.header())


# Random access -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(LARGE) - 1), st.data())
def test_any_range_opens_from_the_bytes_that_its_chunks_take(
    offset: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, len(LARGE) - offset))
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    access = RandomAccess(KEY, CONTEXT, sealed[:HEADER_BYTES], len(sealed))
    first, last = access.chunk_range(offset, length)
    read = sealed[first : last + 1]
    index = offset // CHUNK
    plaintext = b"".join(
        access.open_chunk(index + i, read[at : at + SEALED_CHUNK_BYTES])
        for i, at in enumerate(range(0, len(read), SEALED_CHUNK_BYTES))
    )

    assert LARGE[offset : offset + length] == plaintext[offset % CHUNK :][:length]
    assert len(plaintext) < length + 2 * CHUNK


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 2), (0, 0), (0, 1001), (1000, 1), (999, 2), (5000, 1)]
)
def test_a_range_outside_the_plaintext_is_refused(offset: int, length: int) -> None:
    sealed = seal(KEY, CONTEXT, pixels(1000), salt=SALT)
    access = RandomAccess(KEY, CONTEXT, sealed[:HEADER_BYTES], len(sealed))

    with pytest.raises(LocalError):
        access.chunk_range(offset, length)


def test_a_chunk_opens_at_its_own_place_and_size_only() -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    access = RandomAccess(KEY, CONTEXT, sealed[:HEADER_BYTES], len(sealed))
    chunks = chunks_of(sealed)
    for index in range(4):
        for other, chunk in enumerate(chunks):
            if other != index:
                with pytest.raises(AuthenticationError):
                    access.open_chunk(index, chunk)
    with pytest.raises(AuthenticationError):
        access.open_chunk(0, chunks[0][:-1])
    with pytest.raises(LocalError):
        access.open_chunk(4, chunks[3])
    with pytest.raises(LocalError):
        access.open_chunk(-1, chunks[3])


def test_a_full_chunk_is_never_taken_for_a_last_one() -> None:
    sealed = seal(KEY, CONTEXT, LARGE, salt=SALT)
    cut = HEADER_BYTES + 2 * SEALED_CHUNK_BYTES
    shorter = RandomAccess(KEY, CONTEXT, sealed[:HEADER_BYTES], cut + 500)

    with pytest.raises(EncodingError):
        RandomAccess(KEY, CONTEXT, sealed[:HEADER_BYTES], cut)
    # The claim of a shorter length fails where the last chunk is opened.
    assert shorter.plain_length == 2 * CHUNK + 484
    with pytest.raises(AuthenticationError):
        shorter.open_chunk(2, sealed[cut : cut + 500])
    # So does a true chunk where the claimed length leaves room for less.
    with pytest.raises(AuthenticationError):
        shorter.open_chunk(2, sealed[cut : cut + SEALED_CHUNK_BYTES])
