"""Mail: kept durably, given once it is asked for, refused where there is no room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.rendezvous.settings import RendezvousSettings
from node.system import SystemClock
from protocol.errors import Reason
from protocol.limits import MAX_MAIL_BYTES, MAX_MAILS_AT_ONCE
from protocol.messages import Done
from protocol.rendezvous.messages import Collect, Collected, Deposit, Mails
from tests.node.rendezvous.members import Member, attending, claim, key_of, refusal, until
from tests.node.rendezvous.server import limits, rendezvous

DAY_MS = 24 * 3_600_000


def mail(number: int, *, to: str = "bob", size: int = 100, days: float = 1) -> Deposit:
    return Deposit(
        recipient=key_of(to),
        mail_id=number.to_bytes(16, "big"),
        expires_at=SystemClock().now() + int(days * DAY_MS),
        sealed=number.to_bytes(4, "big") * (size // 4),
    )


async def collect_all(member: Member) -> list[bytes]:
    found: list[tuple[int, bytes]] = []
    more = True
    while more:
        answer = await member.ask(Collect(after=found[-1][0] if found else 0), Mails)
        found += answer.mails
        more = answer.more
    return [sealed for _, sealed in found]


async def test_mail_waits_for_its_recipient_and_outlives_the_server(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice") as (alice,):
            assert await alice.ask(mail(1, size=2_000), Done) == Done()
            assert await alice.ask(mail(2, size=MAX_MAIL_BYTES), Done) == Done()
    async with rendezvous(tmp_path) as server, attending(server.address, "bob") as (bob,):
        await until(bob.mail.is_set)
        first = await bob.ask(Collect(after=0), Mails)
        rest = await bob.ask(Collect(after=first.mails[-1][0]), Mails)

        assert [sealed for _, sealed in first.mails + rest.mails] == [
            mail(1, size=2_000).sealed,
            mail(2, size=MAX_MAIL_BYTES).sealed,
        ]
        assert (first.more, rest.more) == (True, False)
        numbers = tuple(number for number, _ in first.mails + rest.mails)
        # Not acknowledged: it is still there.
        assert len(await collect_all(bob)) == 2
        await bob.ask(Collected(numbers=numbers), Done)
        assert await collect_all(bob) == []


async def test_who_attends_is_told_of_mail(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            await alice.ask(mail(1), Done)
            await until(bob.mail.is_set)

            assert await collect_all(bob) == [mail(1).sealed]


async def test_the_same_mail_again_is_kept_once(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob", "carol")
        async with attending(server.address, "alice", "bob", "carol") as (alice, bob, carol):
            await alice.ask(mail(1), Done)
            await alice.ask(mail(1), Done)
            await carol.ask(mail(1), Done)

            assert len(await collect_all(bob)) == 2


async def test_nobody_collects_or_drops_mail_of_others(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob", "carol")
        async with attending(server.address, "alice", "bob", "carol") as (alice, bob, carol):
            await alice.ask(mail(1), Done)
            ((number, _),) = (await bob.ask(Collect(after=0), Mails)).mails
            await carol.ask(Collected(numbers=(number,)), Done)

            assert await collect_all(carol) == []
            assert await collect_all(alice) == []
            assert len(await collect_all(bob)) == 1
            assert await refusal(alice, mail(2, to="mallory")) is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        (limits(mails_per_sender=3), [4, 4, 4]),
        (limits(mail_bytes_per_sender=10_000), [4_000, 4_000, 2_000]),
        (limits(mails_per_recipient=3), [4, 4, 4]),
        (limits(mail_bytes_per_recipient=10_000), [4_000, 4_000, 2_000]),
        (limits(mailbox_bytes=10_000), [4_000, 5_900]),
    ],
    ids=["mails of a sender", "bytes of a sender", "mails", "bytes", "disk cap and reserve"],
)
async def test_what_is_over_a_quota_is_refused_and_nothing_is_dropped(
    tmp_path: Path, settings: RendezvousSettings, sizes: list[int]
) -> None:
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            for number, size in enumerate(sizes):
                await alice.ask(mail(number, size=size), Done)
            assert await refusal(alice, mail(99, size=4)) is Reason.FULL
            # What is there already is no new mail.
            await alice.ask(mail(0, size=sizes[0]), Done)

            waiting = await bob.ask(Collect(after=0), Mails)
            assert [len(sealed) for _, sealed in waiting.mails] == sizes
            await bob.ask(Collected(numbers=(waiting.mails[0][0],)), Done)
            await alice.ask(mail(99, size=4), Done)


async def test_mail_leaves_the_reserve_of_the_disk_alone(tmp_path: Path) -> None:
    """A reserve that no disk has: every disk counts as full."""
    settings = limits(disk_reserve_percent=100)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice") as (alice,):
            assert await refusal(alice, mail(1)) is Reason.FULL


async def test_mail_is_gone_when_its_time_is_over(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            assert await refusal(alice, mail(1, days=-1)) is Reason.EXPIRED
            soon = mail(2, days=1_000 / DAY_MS)
            await alice.ask(soon, Done)
            await until(lambda: SystemClock().now() > soon.expires_at)

            assert await collect_all(bob) == []
    # The first sweep after a start drops it from the disk.
    async with rendezvous(tmp_path) as server:
        await until(lambda: server.metrics.mail_expired == 1)


async def test_no_sender_makes_mail_wait_longer_than_the_server_says(tmp_path: Path) -> None:
    async with rendezvous(tmp_path, settings=limits(mail_s=1)) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            await alice.ask(mail(1, days=1_000), Done)
            began = SystemClock().now()
            await until(lambda: SystemClock().now() > began + 1_000)

            assert await collect_all(bob) == []


async def test_an_answer_holds_as_many_mails_as_one_message_does(tmp_path: Path) -> None:
    count = MAX_MAILS_AT_ONCE + 10
    settings = limits(mails_per_sender=1_000, messages_burst=1_000)
    async with rendezvous(tmp_path, settings=settings) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob") as (alice, bob):
            for start in range(0, count, 50):
                some = range(start, min(count, start + 50))
                await asyncio.gather(*(alice.ask(mail(n, size=4), Done) for n in some))
            first = await bob.ask(Collect(after=0), Mails)

            assert (len(first.mails), first.more) == (MAX_MAILS_AT_ONCE, True)
            assert len(set(await collect_all(bob))) == count
