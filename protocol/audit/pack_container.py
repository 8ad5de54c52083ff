"""The archive of an evidence pack: a ZIP file that can be written in one way only.

Belongs here: the records of the archive, and the reader that refuses every other spelling.
Never here: what the files say (``pack``), or reading and writing files.

Files are stored, not compressed, one behind the other from the first byte on, each behind its
local header; the directory and its end follow, and nothing else. All but names, sizes and
checksums is constant, so a reader writes every record anew and compares. That leaves no room for
two files of a name, hidden bytes, other paths, or sizes that unpack to more.
Format: docs/spec/evidence-pack.md, section 3.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import EncodingError, LimitError

MAX_PACK_BYTES: Final = 2**32 - 1
"""An archive of the classic kind says sizes in 32 bits."""
MAX_PACK_FILES: Final = 65_535
_NAME: Final = re.compile(rb"[A-Za-z0-9.-]{1,64}")

_COMMON: Final = struct.Struct("<5H3L2H")
_DIRECTORY_ENTRY: Final = struct.Struct("<3H2L")
_END: Final = struct.Struct("<4s4H2LH")
_DIRECTORY_HEAD_BYTES: Final = 46
_DATE: Final = 33
"""1 January 1980: no file says when it was written."""
_REGULAR_FILE: Final = 0x81A40000
"""``-rw-r--r--``, where Unix looks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of the archive."""

    name: str
    length: int
    crc: int
    """CRC-32 of its bytes."""


def local_header(file: StoredFile) -> bytes:
    """Return what stands before a file's bytes; LimitError for one that no archive can hold."""
    name = file.name.encode()
    if not _NAME.fullmatch(name) or not 0 <= file.length <= MAX_PACK_BYTES:
        raise LimitError(f"evidence pack: no room for {file.name} of {file.length} bytes")
    return b"PK\x03\x04" + _common(file, name) + name


def directory(files: Sequence[StoredFile]) -> bytes:
    """Return what stands behind all files, which are in this order; LimitError for too many."""
    position = 0
    records = []
    for file in files:
        header = local_header(file)
        records.append(_directory_entry(file, position))
        position += len(header) + file.length
    size = sum(map(len, records))
    if len(files) > MAX_PACK_FILES or position + size > MAX_PACK_BYTES:
        raise LimitError("evidence pack: more than an archive can hold", hint="export less of it")
    return b"".join((*records, _end(len(files), size, position)))


def read_container_untrusted(data: memoryview) -> dict[str, memoryview]:
    """Return the files of an archive by name, in its order; EncodingError for anything else."""
    if len(data) < _END.size:
        raise _malformed("it is no archive")
    signature, _, _, _, count, _, start, _ = _END.unpack(data[-_END.size :])
    if signature != b"PK\x05\x06":
        raise _malformed("it is no archive")
    files: dict[str, memoryview] = {}
    at, position = start, 0
    for _ in range(count):
        file = _read_entry_untrusted(data, at)
        header, entry = local_header(file), _directory_entry(file, position)
        begin = position + len(header)
        if data[at : at + len(entry)] != entry or data[position:begin] != header:
            raise _malformed("a record is not what it has to be")
        at, position = at + len(entry), begin + file.length
        if position > start or file.name in files:
            raise _malformed("a file stands there twice, or ends too late")
        files[file.name] = data[begin:position]
        if binascii.crc32(files[file.name]) != file.crc:
            raise _malformed(f"{file.name} has a wrong checksum")
    if position != start or data[at:] != _end(count, at - start, start):
        raise _malformed("it holds more than its files")
    return files


def _read_entry_untrusted(data: memoryview, at: int) -> StoredFile:
    if at + _DIRECTORY_HEAD_BYTES > len(data) - _END.size:
        raise _malformed("its directory is cut")
    crc, length, name_length = struct.unpack_from("<L4xLH", data, at + 16)
    first = at + _DIRECTORY_HEAD_BYTES
    name = bytes(data[first : first + name_length])
    if not _NAME.fullmatch(name):
        raise _malformed("a name that no file of a pack has")
    return StoredFile(name=name.decode(), length=length, crc=crc)


def _common(file: StoredFile, name: bytes) -> bytes:
    return _COMMON.pack(20, 0, 0, 0, _DATE, file.crc, file.length, file.length, len(name), 0)


def _directory_entry(file: StoredFile, position: int) -> bytes:
    name = file.name.encode()
    places = _DIRECTORY_ENTRY.pack(0, 0, 0, _REGULAR_FILE, position)
    return b"PK\x01\x02\x14\x03" + _common(file, name) + places + name


def _end(count: int, size: int, start: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, size, start, 0)


def _malformed(why: str) -> EncodingError:
    return EncodingError(f"evidence pack: {why}", code="pack")
