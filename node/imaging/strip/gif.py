"""GIF: the walk over the blocks, and the clean copy made of those on a list.

Belongs here: GIF89a, and the extension by which browsers repeat an animation.
Never here: pixels.

    GIF8xa, screen:7 [colours], blocks, 3B
    image      2C descriptor:9 [colours] code size:1 sub-blocks
    extension  21 label:1 sub-blocks
    sub-blocks `size:1 payload`, until a size of 0
"""

from __future__ import annotations

import re
from typing import Final

from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.parts import Buffer, Cleaned, Kept, Part, count_part
from node.imaging.strip.policy import StripPolicy

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_NEXT_BLOCK: Final = re.compile(rb"[\x21\x2c\x3b]")
_CONTROL, _COMMENT, _TEXT, _APPLICATION = 0xF9, 0xFE, 0x01, 0xFF
_CONTROL_BYTES: Final = 4
_LOOPS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_XMP: Final = b"XMP DataXMP"
_XMP_END: Final = 258
"""Bytes that lead a reader of sub-blocks out of an XMP packet: 01 FF FE … 01 00 00."""
_SCREEN_END: Final = 13
_MAX_SUB_BLOCKS: Final = 5_000_000
"""Of one file: a gigabyte of full ones."""


def clean_untrusted(data: bytes, _policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a GIF file; StripError. A GIF has neither orientation nor profile."""
    return _Walk(data).clean()


class _Walk:
    """One pass over the blocks of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._parts: list[Part] = []
        self._sub_blocks = 0

    def clean(self) -> Cleaned:
        data, view = self._data, self._view
        at = _SCREEN_END + _colours(data, 10)
        pieces: list[Buffer] = [view[:at]]
        images = 0
        count = 0
        # Decoders skip whatever begins no block.
        while found := _NEXT_BLOCK.search(data, at):
            count += 1
            count_part(count)
            at = found.start()
            if data[at] == _TRAILER:
                if bytes(view[at + 1 :]).strip(b"\0"):
                    self._add("trailer", "after the end", view[at + 1 :])
                break
            if data[at] == _IMAGE:
                end = self._end(at + 11 + _colours(data, at + 9))
                pieces.append(view[at:end])
                if end > len(data):
                    pieces.append(b"\0")
                images += 1
            else:
                end = self._end(at + 2)
                pieces += self._extension(data[at + 1 : at + 2], at + 2, end)
            at = end
        if not images:
            raise StripError(StripCode.BROKEN)
        pieces.append(bytes((_TRAILER,)))
        return Cleaned(pieces=pieces, parts=self._parts, kept=Kept())

    def _end(self, at: int) -> int:
        """Return the byte after the sub-blocks that begin at; StripError `broken` in a cut one.

        Where the file ends before the size of 0, that byte is one behind the file.
        """
        data, size = self._data, len(self._data)
        while at < size and data[at]:
            at += 1 + data[at]
            self._sub_blocks += 1
            if self._sub_blocks > _MAX_SUB_BLOCKS:
                raise StripError(StripCode.TOO_LARGE)
        if at > size:
            raise StripError(StripCode.BROKEN)
        return at + 1

    def _extension(self, label: bytes, start: int, end: int) -> list[Buffer]:
        """Return what stays of an extension; what does not becomes a part."""
        blocks = self._view[start:end]
        head = bytes(blocks[1:12])
        if label[:1] == bytes((_CONTROL,)):
            if bytes(blocks[:1]) == bytes((_CONTROL_BYTES,)) and len(blocks) > _CONTROL_BYTES:
                return [b"\x21\xf9\x04", blocks[1 : 1 + _CONTROL_BYTES], b"\0"]
        elif label[:1] == bytes((_COMMENT,)):
            self._add("comment", "comment", _joined(blocks))
        elif label[:1] == bytes((_TEXT,)):
            self._add("text", "plain text", _joined(blocks))
        elif head in _LOOPS and bytes(blocks[12:14]) == b"\x03\x01" and len(blocks) > 15:
            return [b"\x21\xff\x0b", head, b"\x03\x01", blocks[14:16], b"\0"]
        elif head == _XMP:
            self._add("xmp", "application", blocks[12 : max(12, len(blocks) - _XMP_END)])
        else:
            self._add("application_data", "application", blocks)
        return []

    def _add(self, kind: str, name: str, data: Buffer) -> None:
        self._parts.append(Part(kind=kind, name=name, data=data))


def _colours(data: bytes, at: int) -> int:
    """Return the bytes of the colour table that the packed field at announces."""
    return 3 << ((data[at] & 7) + 1) if at < len(data) and data[at] & 0x80 else 0


def _joined(blocks: memoryview) -> bytes:
    """Return the payloads of sub-blocks."""
    payloads = []
    at = 0
    while at < len(blocks) and blocks[at]:
        payloads.append(blocks[at + 1 : at + 1 + blocks[at]])
        at += 1 + blocks[at]
    return b"".join(payloads)
