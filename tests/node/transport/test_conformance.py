"""Sessions over memory and over loopback sockets do the same."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.check_transport import CHECKS
from tests.node.transport.support import Check, MakePair, loopback_pair, memory_pair


@pytest.mark.parametrize("make", [memory_pair, loopback_pair])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_transport_conforms(check: Check, make: MakePair) -> None:
    async with asyncio.timeout(30):
        await check(make)

    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not left, "everything a session started has ended with it"
