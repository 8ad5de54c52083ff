"""Cutting a stream into full messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given, settings
from hypothesis import strategies as st

from node.transport.streams import STREAM_PIECE_BYTES, Inbox, full_messages
from protocol.channel.frames import DATA_BYTES
from tests.node.transport.support import pattern

SIZES = st.lists(
    st.one_of(
        st.integers(0, 3 * DATA_BYTES),
        st.sampled_from([0, 1, DATA_BYTES - 1, DATA_BYTES, DATA_BYTES + 1, 65_536]),
    ),
    max_size=8,
)


@given(SIZES)
@settings(deadline=None, max_examples=60)
def test_the_bytes_stay_and_all_but_the_last_message_are_full(sizes: list[int]) -> None:
    whole = pattern(sum(sizes))

    async def cut() -> list[memoryview]:
        async def source() -> AsyncIterator[bytes]:
            start = 0
            for size in sizes:
                yield whole[start : start + size]
                start += size

        return [part async for part in full_messages(source())]

    parts = asyncio.run(cut())

    assert b"".join(parts) == whole
    assert all(len(part) % DATA_BYTES == 0 for part in parts[:-1])
    assert all(len(part) > 0 for part in parts)


def test_full_pieces_are_not_copied() -> None:
    piece = bytes(STREAM_PIECE_BYTES)

    async def cut() -> list[memoryview]:
        async def source() -> AsyncIterator[bytes]:
            yield piece
            yield piece

        return [part async for part in full_messages(source())]

    assert [part.obj for part in asyncio.run(cut())] == [piece, piece]
    assert all(part.obj is piece for part in asyncio.run(cut()))


async def test_an_inbox_gives_what_arrived_before_it_tells_what_cut_it_short() -> None:
    inbox = Inbox()
    inbox.put(b"a")
    inbox.put(b"b")
    inbox.end(OSError())

    assert [await inbox.get(), await inbox.get()] == [b"a", b"b"]
    for _ in range(2):
        try:
            await inbox.get()
        except OSError:
            continue
        raise AssertionError("what cut it short is raised each time")
