"""An index as its key's owner can read it: every page, with what was deleted and not overwritten.

Belongs here: decrypting the pages of a SQLCipher file and of its write-ahead log.
Never here: SQL, which shows only what is still there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

# page: ciphertext (AES-256-CBC) ‖ IV (16) ‖ HMAC (64); the first begins with 16 bytes of salt
_PAGE = 4096
_IV, _HMAC = 16, 64
_SALT = 16

# WAL: header (32), then frames: header (24, the page's number first) ‖ page
_WAL_HEADER, _FRAME_HEADER = 32, 24


def plain_pages(index: Path, key: bytes) -> Iterator[bytes]:
    """Yield the plaintext of every page of an index, and of every frame of its WAL."""
    data = index.read_bytes()
    assert len(data) % _PAGE == 0
    for start in range(0, len(data), _PAGE):
        yield _decrypt(data[start : start + _PAGE], key, first=start == 0)
    wal = index.with_name(index.name + "-wal")
    frames = wal.read_bytes()[_WAL_HEADER:] if wal.exists() else b""
    for start in range(0, len(frames), _FRAME_HEADER + _PAGE):
        number = int.from_bytes(frames[start : start + 4], "big")
        page = frames[start + _FRAME_HEADER : start + _FRAME_HEADER + _PAGE]
        if len(page) == _PAGE:
            yield _decrypt(page, key, first=number == 1)


def _decrypt(page: bytes, key: bytes, *, first: bool) -> bytes:
    end = _PAGE - _IV - _HMAC
    decryptor = Cipher(AES(key), CBC(page[end : end + _IV])).decryptor()
    return decryptor.update(page[_SALT if first else 0 : end]) + decryptor.finalize()


def occurrences(index: Path, key: bytes, needle: bytes) -> int:
    """Return how often bytes stand in the pages of an index and its WAL."""
    return sum(page.count(needle) for page in plain_pages(index, key))
