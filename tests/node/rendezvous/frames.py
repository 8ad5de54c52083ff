"""Bytes of a WebSocket client, written by hand: for those who do not follow the rules."""

from __future__ import annotations

import struct


def upgrade_request(path: str) -> bytes:
    """Return a request to upgrade."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def binary_frame(payload: bytes, *, first: int = 0x82) -> bytes:
    """Return a masked frame (RFC 6455, 5.2), its mask all zeros; ``first`` is its first byte."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = b"\xfe" + struct.pack(">H", size)
    else:
        length = b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + length + bytes(4) + payload
