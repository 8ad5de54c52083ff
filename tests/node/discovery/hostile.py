"""Multicast DNS packets as an enemy makes them, from a seed.

Belongs here: packets as bytes; announcements that are whole but nobody's.
Never here: sending them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from node.discovery.packets import announcement_packet
from protocol.announcement import Announcement, announcement_values

PTR, TXT, SRV, A = 12, 16, 33, 1


def name(*labels: bytes) -> bytes:
    """Return labels as a name."""
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


SERVICE = name(b"_safelight", b"_tcp", b"local")


def packet(*records: bytes, flags: int = 0x8400, questions: int = 0) -> bytes:
    """Return a packet; questions come first among the records."""
    count = len(records) - questions
    return struct.pack(">6H", 0, flags, questions, count, 0, 0) + b"".join(records)


def record(
    owner: bytes, kind: int, data: bytes, *, ttl: int = 4500, length: int | None = None
) -> bytes:
    """Return a record, which may lie about its length."""
    return (
        owner + struct.pack(">HHIH", kind, 1, ttl, len(data) if length is None else length) + data
    )


def question(kind: int = PTR, qclass: int = 1) -> bytes:
    """Return the question who offers the service."""
    return SERVICE + struct.pack(">HH", kind, qclass)


def whole(
    draw: random.Random,
    *,
    instance: str | None = None,
    announcement: Announcement | None = None,
    address: str | None = None,
    port: int | None = None,
    goodbye: bool = False,
) -> bytes:
    """Return a whole announcement; what is not given is random."""
    made = announcement or Announcement(nonce=draw.randbytes(16), tag=draw.randbytes(16))
    return announcement_packet(
        instance=instance or draw.randbytes(8).hex(),
        host=draw.randbytes(8).hex(),
        address=address
        or f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}",
        port=port or draw.randrange(1, 65_536),
        values=announcement_values(made),
        goodbye=goodbye,
    )


def crooked(draw: random.Random) -> bytes:
    """Return a packet that no parser should like."""
    instance = name(draw.randbytes(8).hex().encode())[:-1]
    loop = struct.pack(">H", 0xC000 | 12)
    kinds = [
        lambda: packet(record(SERVICE, TXT, b"\x03v=1", length=65_535)),
        lambda: packet(record(SERVICE, PTR, instance + SERVICE, length=65_535)),
        # A name that points to itself, and two that point to each other.
        lambda: packet(loop + struct.pack(">HHIH", PTR, 1, 1, 0), SERVICE),
        lambda: packet(
            struct.pack(">H", 0xC000 | 14)
            + struct.pack(">H", 0xC000 | 12)
            + struct.pack(">HHIH", PTR, 1, 1, 0),
            SERVICE,
        ),
        # A chain of pointers as long as the packet.
        lambda: packet(
            SERVICE
            + b"".join(struct.pack(">H", 0xC000 | (12 + 2 * step)) for step in range(1, 400))
            + struct.pack(">HHIH", PTR, 1, 1, 0)
        ),
        lambda: whole(draw)[: draw.randrange(200)],
        lambda: struct.pack(">6H", 0, 0x8400, 65_535, 65_535, 65_535, 65_535) + SERVICE,
        lambda: packet(record(SERVICE, SRV, b"\0" * 3)),
        lambda: packet(record(SERVICE, A, b"\x7f")),
        lambda: packet(record(SERVICE, TXT, b"\xff" * draw.randrange(1, 1_200))),
        lambda: packet(record(SERVICE, TXT, draw.randbytes(draw.randrange(1_400)))),
        lambda: SERVICE + draw.randbytes(draw.randrange(1_400)),
        lambda: draw.randbytes(draw.randrange(64)),
        # Everything answers, and asks, at once.
        lambda: packet(question(qclass=0x8001), *[whole(draw)[12:]] * 3, questions=1),
    ]
    return draw.choice(kinds)()


def many(draw: random.Random, count: int) -> Iterator[bytes]:
    """Yield a flood of everything."""
    ours = draw.randbytes(8).hex()
    for _ in range(count):
        choice = draw.random()
        if choice < 0.4:
            yield whole(draw)
        elif choice < 0.5:
            yield whole(draw, instance=ours)
        elif choice < 0.6:
            yield whole(draw, goodbye=True)
        elif choice < 0.7:
            yield packet(
                question(qclass=draw.randrange(1, 65_536)),
                *(
                    record(
                        b"\xc0\x0c", PTR, name(draw.randbytes(4).hex().encode())[:-1] + b"\xc0\x0c"
                    )
                    for _ in range(40)
                ),
                flags=draw.choice((0, 0x0200)),
                questions=1,
            )
        elif choice < 0.8:
            yield packet(
                record(name(draw.randbytes(8).hex().encode(), b"local"), TXT, draw.randbytes(1_300))
            )
        else:
            yield crooked(draw)
