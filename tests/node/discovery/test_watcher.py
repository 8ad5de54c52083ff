"""This machine moves or sleeps, and the watcher says so; else it is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import ifaddr
import pytest

from node.discovery import watcher as watcher_module
from node.discovery.watcher import Watcher, own_addresses
from tests.node.services.conditions import until
from tests.node.services.team import ShiftedClock


@dataclass
class Watched:
    clock: ShiftedClock
    changes: int = 0
    looks: int = 0

    def changed(self) -> None:
        self.changes += 1

    async def look(self, times: int = 2) -> None:
        """Wait until the watcher has looked."""
        looks = self.looks
        await until(lambda: self.looks >= looks + times)


@asynccontextmanager
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(watcher_module, "_LOOK_S", 0.05)
    watched = Watched(ShiftedClock())

    def counted() -> frozenset[tuple[str, str]]:
        watched.looks += 1
        return own_addresses()

    monkeypatch.setattr(watcher_module, "own_addresses", counted)
    watcher = Watcher(watched.clock, on_change=watched.changed)
    watcher.start()
    try:
        await watched.look()
        yield watched
    finally:
        await watcher.close()


async def test_nothing_happens_where_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(monkeypatch) as watched:
        await watched.look(5)

        assert watched.changes == 0


@pytest.mark.parametrize("which", ["shift", "monotonic_shift"])
async def test_a_sleep_shows_on_either_clock(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    async with watching(monkeypatch) as watched:
        setattr(watched.clock, which, 60_000)
        await until(lambda: watched.changes)
        await watched.look()

        assert watched.changes == 1


async def test_a_clock_put_back_is_no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(monkeypatch) as watched:
        watched.clock.shift = -3_600_000
        await watched.look(3)

        assert watched.changes == 0


async def test_an_address_that_comes_or_goes_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(ifaddr.get_adapters())
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: found)
    async with watching(monkeypatch) as watched:
        address = ifaddr.IP("192.0.2.77", 24, "test0")
        found.append(ifaddr.Adapter("test0", "test0", [address]))
        await until(lambda: watched.changes == 1)
        found.pop()
        await until(lambda: watched.changes == 2)


def test_loopback_is_no_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    ips = [
        ifaddr.IP("127.0.0.1", 8, "lo"),
        ifaddr.IP(("::1", 0, 0), 128, "lo"),
        ifaddr.IP(("2001:db8::7", 0, 0), 64, "lo"),
        ifaddr.IP("192.0.2.7", 24, "lo"),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [ifaddr.Adapter("lo", "lo", ips)])

    assert own_addresses() == {("lo", "2001:db8::7"), ("lo", "192.0.2.7")}


async def test_a_watcher_that_never_started_can_be_closed() -> None:
    watcher = Watcher(ShiftedClock(), on_change=lambda: None)

    await asyncio.wait_for(watcher.close(), 5)
