"""Sealing and opening SLB1 against the bare AEAD in the same run."""

from __future__ import annotations

import os
import time
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.limits import CHUNK_BYTES
from protocol.sealed_blob import Opener, Sealer

SIZE = 512 * 1024 * 1024
PIECE = 16 * CHUNK_BYTES


def run() -> list[dict[str, Any]]:
    """Return MB/s of sealing, opening and the bare AEAD."""
    pieces = [os.urandom(PIECE) for _ in range(4)]
    count = SIZE // PIECE
    bare = ChaCha20Poly1305(bytes(32))
    chunk = pieces[0][:CHUNK_BYTES]
    begin = time.perf_counter()
    for _ in range(SIZE // CHUNK_BYTES):
        bare.encrypt(bytes(12), chunk, b"")
    bare_rate = SIZE / 1e6 / (time.perf_counter() - begin)

    sealer = Sealer(bytes(32), b"bench", salt=bytes(24))
    opener = Opener(bytes(32), b"bench", sealer.header)
    sealing = opening = 0.0
    for number in range(count):
        begin = time.perf_counter()
        sealed = sealer.update(pieces[number % 4])
        between = time.perf_counter()
        opener.update(sealed)
        opening += time.perf_counter() - between
        sealing += between - begin
    opener.update(sealer.finish())
    opener.finish()
    seal_rate, open_rate = SIZE / 1e6 / sealing, SIZE / 1e6 / opening
    return [
        {"what": "bare ChaCha20-Poly1305, 64 KiB chunks", "value": bare_rate, "unit": "MB/s"},
        {"what": "SLB1 seal", "value": seal_rate, "unit": "MB/s", "peer": "bare AEAD",
         "ratio": seal_rate / bare_rate},
        {"what": "SLB1 open", "value": open_rate, "unit": "MB/s", "peer": "bare AEAD",
         "ratio": open_rate / bare_rate},
    ]  # fmt: skip
