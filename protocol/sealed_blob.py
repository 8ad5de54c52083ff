"""SLB1: how a picture's bytes are sealed, streamed, and opened from any place in them.

Belongs here: the format, a sealer, a streaming opener, an opener at random.
Never here: which key, where a blob is stored, what is in it.

A key, a salt and a context determine a cipher key, a base nonce and a commitment to
all of them. The commitment is checked before any chunk, so that no ciphertext opens
under two keys. The last chunk is the one that is shorter than the others, so that a
cut at the end of a chunk shows. Every order, number and size of chunks but the
sealer's own fails. Specification: docs/spec/sealed-blob.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    LocalProtocolError,
    UnsupportedError,
)
from protocol.labels import KDF_SEALED_BLOB
from protocol.limits import CHUNK_BYTES, MAX_BLOB_CHUNKS, MAX_RENDITION_NAME_BYTES, TAG_BYTES
from protocol.primitives import KEY_BYTES, NONCE_BYTES, Aead, Data, equal, hkdf_expand

# The header, 64 bytes:
#     0   4  "SLB1"
#     4   1  suite: 1 = ChaCha20-Poly1305
#     5   1  log2 of a full chunk's plaintext bytes: 16
#     6   2  zero
#     8  24  salt
#    32  32  commitment

HEADER_BYTES: Final = 64
SALT_BYTES: Final = 24
COMMITMENT_BYTES: Final = 32
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
"""Bytes of every chunk but the last as they stand in the file."""

_MAGIC: Final = b"SLB1"
_SUITE_CHACHA20_POLY1305: Final = 1
_FIXED: Final = _MAGIC + bytes((_SUITE_CHACHA20_POLY1305, CHUNK_BYTES.bit_length() - 1, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobContext:
    """What a sealed blob is and whose: a blob moved to another place does not open there."""

    team: bytes
    """Team id, 32 bytes, NO_TEAM for a blob that never leaves its node."""
    device: bytes
    """Fingerprint of the node that seals, 32 bytes."""
    image: bytes
    """Image id, 16 bytes."""
    rendition: bytes
    """What of the image: a word or an id, at most MAX_RENDITION_NAME_BYTES."""

    def __post_init__(self) -> None:
        sizes = (len(self.team), len(self.device), len(self.image))
        if sizes != (32, 32, 16) or len(self.rendition) > MAX_RENDITION_NAME_BYTES:
            raise LocalError("blob context: a part of the wrong size")

    def encode(self) -> bytes:
        """Return team ‖ device ‖ image ‖ rendition; only the last part's size is free."""
        return self.team + self.device + self.image + self.rendition

    @classmethod
    def decode(cls, data: bytes) -> BlobContext:
        """Return the context that encode wrote as data, or raise EncodingError."""
        if not 80 <= len(data) <= 80 + MAX_RENDITION_NAME_BYTES:
            raise EncodingError("blob context: not of this size")
        return cls(team=data[:32], device=data[32:64], image=data[64:80], rendition=data[80:])


def sealed_length(plain: int) -> int:
    """Return the bytes of a sealed blob of plain bytes; LimitError where there can be none."""
    full, rest = divmod(plain, CHUNK_BYTES)
    if plain < 0 or full >= MAX_BLOB_CHUNKS:
        raise LimitError("no sealed blob has this length")
    return HEADER_BYTES + full * SEALED_CHUNK_BYTES + rest + TAG_BYTES


def plain_length_untrusted(sealed: int) -> int:
    """Return the plaintext bytes of a blob of sealed bytes; EncodingError where there are none.

    The length is a claim until the last chunk has been opened.
    """
    full, last = divmod(sealed - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if not 0 <= full < MAX_BLOB_CHUNKS or last < TAG_BYTES:
        raise EncodingError("sealed blob: no blob has this length")
    return full * CHUNK_BYTES + last - TAG_BYTES


def commitment_of_untrusted(header: bytes) -> bytes:
    """Return the 32-byte commitment that a blob's header claims.

    Raises EncodingError for a header that is none, UnsupportedError for one of another suite.
    """
    return _parse_header_untrusted(header)[1]


def _parse_header_untrusted(header: bytes) -> tuple[bytes, bytes]:
    if len(header) != HEADER_BYTES or not header.startswith(_MAGIC):
        raise EncodingError("sealed blob: no SLB1 header")
    if not header.startswith(_FIXED):
        raise UnsupportedError("sealed blob: a suite or chunk size this build does not know")
    return header[8:32], header[32:]


class _ChunkCipher:
    """The keys of one blob, and one AEAD call for each chunk."""

    __slots__ = ("_aead", "_base_nonce", "commitment")

    # key 32 ‖ base nonce 12 ‖ commitment 32 = HKDF-Expand-SHA-512(K, label ‖ fixed 8 ‖ salt ‖
    # context). Every part but the last has one size, so two inputs never give the same bytes.
    def __init__(self, key: bytes, context: bytes, salt: bytes) -> None:
        if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise LocalError("sealed blob: a key is 32 bytes and a salt 24")
        info = KDF_SEALED_BLOB + _FIXED + salt + context
        derived = hkdf_expand(key, info, KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES)
        self._aead = Aead(derived[:KEY_BYTES])
        self._base_nonce = int.from_bytes(derived[KEY_BYTES : KEY_BYTES + NONCE_BYTES], "big")
        self.commitment = derived[KEY_BYTES + NONCE_BYTES :]

    @classmethod
    def of_header_untrusted(cls, key: bytes, context: bytes, header: bytes) -> _ChunkCipher:
        """Return the cipher of a blob; AuthenticationError unless its header commits to it."""
        salt, commitment = _parse_header_untrusted(header)
        cipher = cls(key, context, salt)
        if not equal(cipher.commitment, commitment):
            raise AuthenticationError
        return cipher

    def seal(self, index: int, plaintext: Data) -> bytes:
        if index >= MAX_BLOB_CHUNKS:
            raise LimitError("sealed blob: too many chunks")
        return self._aead.seal(self._nonce(index), plaintext)

    def open(self, index: int, ciphertext: Data) -> bytes:
        if index >= MAX_BLOB_CHUNKS:
            raise EncodingError("sealed blob: too many chunks")
        return self._aead.open(self._nonce(index), ciphertext)

    def _nonce(self, index: int) -> bytes:
        return (self._base_nonce ^ index).to_bytes(NONCE_BYTES, "big")


class _Splitter:
    """Cuts a stream that arrives in pieces of any size into chunks of one size.

    A whole chunk inside one piece is handed on as a view of it, without a copy.
    """

    __slots__ = ("_size", "rest")

    def __init__(self, size: int) -> None:
        self._size = size
        self.rest = bytearray()
        """What came after the last whole chunk; always shorter than one."""

    def take(self, data: Data) -> list[Data]:
        view = memoryview(data)
        chunks: list[Data] = []
        start = 0
        if self.rest:
            start = min(self._size - len(self.rest), len(view))
            self.rest += view[:start]
            if len(self.rest) == self._size:
                chunks.append(self.rest)
                self.rest = bytearray()
        end = len(view) - (len(view) - start) % self._size
        chunks += [view[at : at + self._size] for at in range(start, end, self._size)]
        self.rest += view[end:]
        return chunks


class Sealer:
    """Seals one plaintext that arrives in pieces of any size.

    Write `header`, then what each `update` returns, then what `finish` returns. A salt
    must be fresh random bytes: a key and context seal under a salt only once.
    """

    __slots__ = ("_cipher", "_ended", "_index", "_splitter", "header")

    def __init__(self, key: bytes, context: bytes, *, salt: bytes) -> None:
        self._cipher = _ChunkCipher(key, context, salt)
        self._splitter = _Splitter(CHUNK_BYTES)
        self._index = 0
        self._ended = False
        self.header = _FIXED + salt + self._cipher.commitment
        """The blob's first HEADER_BYTES."""

    @property
    def commitment(self) -> bytes:
        """32 bytes that stand for the key, the salt and the context together."""
        return self._cipher.commitment

    def update(self, data: Data) -> bytes:
        """Return the chunks that data fills, empty where it fills none. Any size of data will do.

        Fastest in pieces of CHUNK_BYTES to about 1 MiB: less pays for calls, more for memory.
        """
        if self._ended:
            raise LocalProtocolError("the sealer has ended")
        return b"".join([self._seal(chunk) for chunk in self._splitter.take(data)])

    def finish(self) -> bytes:
        """Return the last chunk, which is always shorter than the others and may seal nothing."""
        if self._ended:
            raise LocalProtocolError("the sealer has ended")
        self._ended = True
        return self._seal(self._splitter.rest)

    def _seal(self, chunk: Data) -> bytes:
        sealed = self._cipher.seal(self._index, chunk)
        self._index += 1
        return sealed


class Opener:
    """Opens one sealed blob that arrives in pieces of any size, after its header.

    The constructor raises EncodingError or UnsupportedError for a header that is none,
    AuthenticationError where it commits to another key or context. What `update` returns
    is the beginning of the plaintext; that there is no more is known once `finish` has
    returned. After any error the opener has ended.
    """

    __slots__ = ("_cipher", "_ended", "_index", "_splitter")

    def __init__(self, key: bytes, context: bytes, header_untrusted: bytes) -> None:
        self._cipher = _ChunkCipher.of_header_untrusted(key, context, header_untrusted)
        self._splitter = _Splitter(SEALED_CHUNK_BYTES)
        self._index = 0
        self._ended = False

    def update(self, ciphertext: Data) -> bytes:
        """Return the plaintext of the chunks that ciphertext completes, all of them verified.

        Raises AuthenticationError, and returns nothing, where one of them is not.
        """
        if self._ended:
            raise LocalProtocolError("the opener has ended")
        self._ended = True
        plaintext = b"".join([self._open(chunk) for chunk in self._splitter.take(ciphertext)])
        self._ended = False
        return plaintext

    def finish(self) -> bytes:
        """Return the last chunk's plaintext; AuthenticationError where the blob was cut."""
        if self._ended:
            raise LocalProtocolError("the opener has ended")
        self._ended = True
        return self._open(self._splitter.rest)

    def _open(self, chunk: Data) -> bytes:
        plaintext = self._cipher.open(self._index, chunk)
        self._index += 1
        return plaintext


class RandomAccess:
    """Opens any chunk of a sealed blob that is at hand as a whole.

    Raises as `Opener`, and EncodingError for a sealed_length that no blob has. The
    length, and with it the plaintext's end, is a claim until the last chunk has been
    opened; the bytes of a chunk that opens are not.
    """

    __slots__ = ("_cipher", "_sealed_length", "plain_length")

    def __init__(self, key: bytes, context: bytes, header: bytes, sealed_length: int) -> None:
        self._cipher = _ChunkCipher.of_header_untrusted(key, context, header)
        self._sealed_length = sealed_length
        self.plain_length = plain_length_untrusted(sealed_length)
        """Bytes of the plaintext."""

    def chunk_range(self, offset: int, length: int) -> tuple[int, int]:
        """Return the (first, last) byte, both included, of the sealed file to read.

        They cover the whole chunks that hold plaintext bytes offset to offset + length - 1.
        The first of these is chunk offset // CHUNK_BYTES, and plaintext byte offset is its
        byte offset % CHUNK_BYTES. LocalError where there are no such bytes.
        """
        if offset < 0 or length < 1 or offset + length > self.plain_length:
            raise LocalError("sealed blob: no such bytes")
        last_chunk = (offset + length - 1) // CHUNK_BYTES
        return self._extent(offset // CHUNK_BYTES)[0], self._extent(last_chunk)[1] - 1

    def open_chunk(self, index: int, ciphertext: Data) -> bytes:
        """Return the plaintext of chunk index, whose sealed bytes ciphertext must be exactly.

        AuthenticationError where they are not, LocalError where there is no such chunk.
        """
        if not 0 <= index <= self.plain_length // CHUNK_BYTES:
            raise LocalError("sealed blob: no such chunk")
        start, end = self._extent(index)
        if len(ciphertext) != end - start:
            raise AuthenticationError
        return self._cipher.open(index, ciphertext)

    def _extent(self, index: int) -> tuple[int, int]:
        start = HEADER_BYTES + index * SEALED_CHUNK_BYTES
        return start, min(start + SEALED_CHUNK_BYTES, self._sealed_length)


def seal(key: bytes, context: bytes, plaintext: Data, *, salt: bytes) -> bytes:
    """Return plaintext sealed as one blob; salt is 24 fresh random bytes."""
    sealer = Sealer(key, context, salt=salt)
    return b"".join((sealer.header, sealer.update(plaintext), sealer.finish()))


def open_sealed(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """Return the plaintext of a whole sealed blob, or raise as `Opener`."""
    opener = Opener(key, context, sealed[:HEADER_BYTES])
    return opener.update(memoryview(sealed)[HEADER_BYTES:]) + opener.finish()
