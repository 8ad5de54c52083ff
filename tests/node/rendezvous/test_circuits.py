"""Circuits and slots: whom they join, what passes, what ends them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.rendezvous import store
from node.rendezvous.slots import Slots
from node.system import SystemClock, system_entropy
from node.transport.websocket import WebSocketLink
from protocol.errors import Reason
from protocol.limits import MAX_INVITATION_NUMBER, MAX_SLOT_BYTES
from protocol.messages import Done
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.rendezvous.messages import (
    NO_CALLER,
    Call,
    Circuit,
    CloseSlot,
    JoinSlot,
    OpenSlot,
    Slot,
)
from tests.node.rendezvous.members import (
    Member,
    attending,
    circuit_end,
    claim,
    hang_up,
    key_of,
    receive,
    refusal,
    until,
    visitor,
)
from tests.node.rendezvous.server import limits, rendezvous


async def joined(caller: Member, callee: Member) -> tuple[WebSocketLink, WebSocketLink]:
    """Return the two ends of a new circuit."""
    circuit = await caller.ask(Call(key=key_of(callee.name)), Circuit)
    ring = await callee.ring()

    assert (ring.caller, ring.session, ring.slot) == (key_of(caller.name), circuit.session, 0)
    assert ring.token != circuit.token
    return await caller.join(circuit), await callee.join(ring)


async def send_for_ever(link: WebSocketLink) -> None:
    async with asyncio.timeout(60):
        while True:
            await link.send([bytes(65_535)])


async def test_every_message_passes_unchanged_both_ways(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours, theirs = await joined(alice, bob)
            messages = [bytes([size % 251]) * size for size in (0, 1, 125, 126, 65_535)]
            for one in messages:
                await ours.send([one])
                assert await receive(theirs) == one
                await theirs.send([one[::-1]])
                assert await receive(ours) == one[::-1]
            await ours.close()
            assert await receive(theirs) is None
            await theirs.close()
            await until(lambda: server.gauges()["open_circuits"] == 0)
            assert server.metrics.relayed_bytes == 2 * sum(map(len, messages))


async def test_what_is_sent_before_the_other_end_comes_reaches_it(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours = await alice.join(await alice.ask(Call(key=key_of("bob")), Circuit))
            await ours.send([b"first", b"second"])
            theirs = await bob.join(await bob.ring())

            assert [await receive(theirs), await receive(theirs)] == [b"first", b"second"]
            await ours.close()
            await theirs.close()


async def test_a_token_admits_once_and_no_other_does(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(circuit_claim_s=600)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            circuit = await alice.ask(Call(key=key_of("bob")), Circuit)
            ring = await bob.ring()
            ours = await alice.join(circuit)
            for token in (circuit.token, bytes(32), b"", bytes(65_535), ring.token[:-1]):
                stolen = await circuit_end(alice.address, token)
                assert await receive(stolen) is None
                await stolen.close()
            theirs = await bob.join(ring)
            await ours.send([b"still ours"])

            assert await receive(theirs) == b"still ours"
            await ours.close()
            await theirs.close()


async def test_a_circuit_that_nobody_answers_ends(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(circuit_claim_s=1)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours = await alice.join(await alice.ask(Call(key=key_of("bob")), Circuit))

            assert await receive(ours) is None
            late = await bob.join(await bob.ring())
            assert await receive(late) is None
            await ours.close()
            await late.close()


@pytest.mark.parametrize("limit", ["circuit_s", "circuit_idle_s"])
async def test_a_circuit_ends_when_its_time_is_over(tmp_path: Path, limit: str) -> None:
    async with rendezvous(tmp_path, settings=limits(**{limit: 2})) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours, theirs = await joined(alice, bob)

            assert await receive(ours) is None
            assert await receive(theirs) is None
            await ours.close()
            await theirs.close()


async def test_a_member_calls_for_few_circuits_at_a_time(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(circuits_per_member=2)) as server:
        await claim(server.address, server.claim, "alice", "bob", "carol")
        async with attending(server.address, "alice", "bob", "carol") as (alice, bob, carol):
            ends = [*await joined(alice, bob), *await joined(alice, bob)]

            assert await refusal(alice, Call(key=key_of("bob"))) is Reason.BUSY
            # What alice called for counts for her alone.
            ends += await joined(bob, alice)
            ends += await joined(carol, bob)
            await ends[0].close()
            await until(lambda: server.gauges()["open_circuits"] == 3)
            ends += await joined(alice, bob)
            for end in ends:
                await end.close()


async def test_only_members_who_attend_can_be_called(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice") as (alice,):
            assert await refusal(alice, Call(key=key_of("bob"))) is Reason.NOT_READY
            assert await refusal(alice, Call(key=key_of("alice"))) is Reason.UNKNOWN
            assert await refusal(alice, Call(key=key_of("mallory"))) is Reason.UNKNOWN


async def test_a_reader_that_takes_nothing_holds_the_sender_back_and_is_dropped(
    tmp_path: Path,
) -> None:
    async with rendezvous(tmp_path, settings=limits(stalled_s=2)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours, theirs = await joined(alice, bob)
            with pytest.raises(OSError):
                await send_for_ever(ours)

            # The reader's own kernel and library take some megabytes, and then nobody.
            assert server.metrics.relayed_bytes < 64 * 1024 * 1024
            await until(lambda: server.gauges()["open_circuits"] == 0)
            await ours.close()
            await theirs.close()


async def test_an_operator_may_slow_circuits_down(tmp_path: Path) -> None:
    settings = limits(circuit_bytes_per_s=100_000)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            ours, theirs = await joined(alice, bob)
            loop = asyncio.get_running_loop()
            began = loop.time()
            for _ in range(6):
                await ours.send([bytes(50_000)])
            for _ in range(6):
                await receive(theirs)

            # A second's worth at once, then the pace: 300,000 bytes take two seconds, and the
            # last one is carried before it is paid for.
            assert loop.time() - began > 1
            await ours.close()
            await theirs.close()


# Slots ------------------------------------------------------------------------------------------


async def test_a_stranger_joins_a_slot_once(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice")
        async with attending(server.address, "alice") as (alice,):
            slot = await alice.ask(OpenSlot(), Slot)
            newcomer = await visitor(server.address, "newcomer")
            circuit = await newcomer.ask(JoinSlot(number=slot.number), Circuit)
            ring = await alice.ring()

            assert (ring.caller, ring.slot) == (NO_CALLER, slot.number)
            ours, theirs = await newcomer.join(circuit), await alice.join(ring)
            await hang_up(newcomer)
            await ours.send([b"an offer"])
            assert await receive(theirs) == b"an offer"
            second = await visitor(server.address, "mallory")
            assert await refusal(second, JoinSlot(number=slot.number)) is Reason.UNKNOWN
            await hang_up(second)
            await ours.close()
            await theirs.close()


async def test_a_slot_carries_what_a_joining_needs_and_no_more(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice")
        async with attending(server.address, "alice") as (alice,):
            slot = await alice.ask(OpenSlot(), Slot)
            newcomer = await visitor(server.address, "newcomer")
            ours = await newcomer.join(await newcomer.ask(JoinSlot(number=slot.number), Circuit))
            theirs = await alice.join(await alice.ring())
            half = bytes(MAX_SLOT_BYTES // 2)
            await ours.send([half])
            assert await receive(theirs) == half
            await theirs.send([half])
            assert await receive(ours) == half
            await ours.send([b"one more"])

            assert await receive(theirs) is None
            await hang_up(newcomer)
            await ours.close()
            await theirs.close()


async def test_slots_that_are_closed_over_or_never_were_look_alike(tmp_path: Path) -> None:
    settings = limits(stranger_requests=100, slot_s=1)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            closed = await alice.ask(OpenSlot(), Slot)
            assert await refusal(bob, CloseSlot(number=closed.number)) is Reason.UNKNOWN
            assert await alice.ask(CloseSlot(number=closed.number), Done) == Done()
            over = await alice.ask(OpenSlot(), Slot)
            await until(lambda: SystemClock().now() >= over.expires_at)
            newcomer = await visitor(server.address, "newcomer")
            for number in (closed.number, over.number, MAX_INVITATION_NUMBER):
                assert await refusal(newcomer, JoinSlot(number=number)) is Reason.UNKNOWN
            await hang_up(newcomer)


async def test_a_slot_outlives_a_cut_of_who_opened_it(tmp_path: Path) -> None:
    settings = limits(stranger_requests=100)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice")
        async with attending(server.address, "alice") as (alice,):
            slot = await alice.ask(OpenSlot(), Slot)
        newcomer = await visitor(server.address, "newcomer")
        await until(lambda: server.gauges()["attending"] == 0)
        assert await refusal(newcomer, JoinSlot(number=slot.number)) is Reason.NOT_READY
        async with attending(server.address, "alice") as (alice,):
            await newcomer.ask(JoinSlot(number=slot.number), Circuit)
            assert (await alice.ring()).slot == slot.number
        await hang_up(newcomer)


async def test_looking_for_slots_is_throttled(tmp_path: Path) -> None:
    settings = limits(stranger_requests=100, slot_tries_per_minute=3)
    async with rendezvous(tmp_path, settings=settings) as server:
        mallory = await Member(parse_rendezvous_address(server.address), "mallory").connect()
        reasons = [await refusal(mallory, JoinSlot(number=n)) for n in range(1, 5)]

        assert reasons == [Reason.UNKNOWN] * 3 + [Reason.BUSY]
        await hang_up(mallory)


async def test_a_member_opens_few_slots_at_a_time(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(slots_per_member=2)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            numbers = {(await alice.ask(OpenSlot(), Slot)).number for _ in range(2)}

            assert len(numbers) == 2
            assert await refusal(alice, OpenSlot()) is Reason.BUSY
            assert (await bob.ask(OpenSlot(), Slot)).number not in numbers


async def test_slots_outlive_a_restart_and_so_does_that_they_were_used(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice")
        async with attending(server.address, "alice") as (alice,):
            slots = [await alice.ask(OpenSlot(), Slot) for _ in range(3)]
            first = await visitor(server.address, "first")
            await first.ask(JoinSlot(number=slots[0].number), Circuit)
            await alice.ask(CloseSlot(number=slots[1].number), Done)
            await hang_up(first)
    async with rendezvous(tmp_path, settings=limits(stranger_requests=100)) as server:
        assert server.gauges()["open_slots"] == 2
        async with attending(server.address, "alice") as (alice,):
            newcomer = await visitor(server.address, "newcomer")
            for over in slots[:2]:
                assert await refusal(newcomer, JoinSlot(number=over.number)) is Reason.UNKNOWN
            await newcomer.ask(JoinSlot(number=slots[2].number), Circuit)
            assert (await alice.ring()).slot == slots[2].number
            await hang_up(newcomer)


async def test_slots_that_are_over_are_forgotten_at_a_start(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(slot_s=1)) as server:
        await claim(server.address, server.claim, "alice")
        async with attending(server.address, "alice") as (alice,):
            slot = await alice.ask(OpenSlot(), Slot)
    await until(lambda: SystemClock().now() >= slot.expires_at)
    async with rendezvous(tmp_path) as server:
        assert server.gauges()["open_slots"] == 0
        assert await server._store.run(store.slots) == []


async def test_numbers_are_short_while_few_are_taken(tmp_path: Path) -> None:
    database = await store.Store.open(tmp_path / "rendezvous.db", failed=lambda: None)
    settings = limits(slots_per_member=10**6)
    slots = await Slots.load(database, settings, clock=SystemClock(), entropy=system_entropy)
    taken = [(await slots.open(b"team", b"key")).number for _ in range(40)]
    await database.close()

    assert max(taken) <= 99
    assert len(set(taken)) == 40
