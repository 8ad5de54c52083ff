"""Members and strangers who send too much, too slowly, or nothing at all (rows 39, 40 and 41)."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from node.services import peering
from node.system import system_entropy
from node.transport.driver import Reply, Session
from protocol.errors import SafelightError
from protocol.identity import Seeds, make_identity
from protocol.messages import (
    FetchHead,
    FetchRendition,
    Head,
    OpenRequest,
    Released,
    Request,
    RosterFetch,
    RosterUpdate,
    Streamed,
)
from tests.attacks.mallory import (
    CLOCK,
    Mallory,
    enlisted,
    receive_grant,
    refused,
    streamed,
)
from tests.node.services.team import Person, eventually, team


def stranger(person: Person) -> Mallory:
    """Return somebody who knows the node's key and team, and is in no roster of it."""
    local = make_identity(Seeds.generate(system_entropy), name="stranger", now=CLOCK.now())
    return Mallory(local, person.node.membership.trusted)


async def _close(mallory: Mallory) -> None:
    await mallory.close()


# Strangers ----------------------------------------------------------------------------------------


async def test_row_40_a_stranger_gets_one_request_and_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peering, "_STRANGER_S", 0.5)
    async with team(tmp_path, "alice") as (alice,):
        eve = stranger(alice)
        for message in (
            eve.hello(),
            FetchHead(from_size=1),
            RosterFetch(have_version=0),
            FetchRendition(rendition_id=bytes(32), offset=0),
            OpenRequest(signed=b""),
            RosterUpdate(version=1, hash=bytes(32)),
        ):
            session = await eve.dial(alice, greet=False)
            assert await refused(session.request(message)) == "not_member"
            async with asyncio.timeout(45):
                await session.closed.wait()


async def test_row_40_a_stranger_makes_the_node_fetch_one_roster_at_a_time(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        eve = stranger(alice)
        asked = 0
        hold = asyncio.Event()

        async def slow(_session: Session, _request: Request) -> Reply:
            nonlocal asked
            asked += 1
            await asyncio.wait_for(hold.wait(), 10)
            return streamed(bytes(100_000))

        eve.script[RosterFetch] = slow
        session = await eve.dial(alice, greet=False)
        updates = [
            asyncio.create_task(
                _quietly(session.request(RosterUpdate(version=9 + number, hash=bytes(32))))
            )
            for number in range(40)
        ]
        await asyncio.sleep(0.5)
        hold.set()
        await asyncio.gather(*updates)
        await eve.close()

        assert asked <= 1


async def test_row_40_a_stranger_who_says_nothing_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peering, "_STRANGER_S", 0.5)
    async with team(tmp_path, "alice") as (alice,):
        eve = stranger(alice)
        session = await eve.dial(alice, greet=False)
        try:
            async with asyncio.timeout(45):
                await session.closed.wait()
        finally:
            await eve.close()


async def _quietly(request: Awaitable[object]) -> None:
    with contextlib.suppress(SafelightError):
        await request


# Members ------------------------------------------------------------------------------------------


async def test_row_40_a_member_holds_a_bounded_number_of_channels(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        for _ in range(40):
            with contextlib.suppress(SafelightError):
                await mallory.dial(alice)
        await asyncio.sleep(0.3)

        assert sum(not one.closed.is_set() for one in mallory.sessions) <= 16
        last = await mallory.dial(alice)
        await last.request(mallory.hello())


def _descriptors() -> int:
    """Return how many descriptors this process has, as far as it has one left to look."""
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_row_41_unread_streams_do_not_use_up_the_nodes_descriptors(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        await mallory.dial(alice)
        noise = Image.frombytes("RGB", (1600, 1100), system_entropy(1600 * 1100 * 3))
        (tmp_path / "alice-pictures").mkdir()
        # More than a stream's window, so that a stream nobody reads stays open.
        noise.save(tmp_path / "alice-pictures" / "noise.png")
        images = await alice.import_pictures(1)
        image = max(images, key=lambda one: int(one["bytes"]))
        await alice.share([image["id"]], ["mallory"], rendition="original")
        (manifest,) = await receive_grant(mallory)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        in_use = _descriptors()
        streams = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 80, hard))
        try:
            for _ in range(4):
                with contextlib.suppress(SafelightError):
                    session = await mallory.dial(alice)
                    for _ in range(25):
                        fetch = FetchRendition(rendition_id=manifest.rendition_id, offset=0)
                        with contextlib.suppress(SafelightError, TimeoutError):
                            async with asyncio.timeout(1):
                                streams.append(await session.request_stream(fetch))
            await asyncio.sleep(0.7)
            count = _descriptors() - in_use
            with contextlib.suppress(SafelightError, OSError):
                await alice.share([image["id"]], ["mallory"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for _, stream in streams:
                await stream.aclose()

        session = await mallory.dial(alice)
        assert isinstance(await mallory.open(session, manifest), Released)
        await alice.share([image["id"]], ["mallory"])
        assert count < 50


async def test_row_41_alarms_do_not_fill_the_log(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(9):
            mallory.log.append()
        await (await mallory.dial(bob)).close()
        shorter = mallory.hello(my_head=mallory.log.head(3))
        for _ in range(10):
            session = await mallory.dial(bob, greet=False)
            mallory.script[FetchHead] = _short(mallory)
            for _ in range(10):
                await _quietly(session.request(shorter))
            await session.close()

        assert 1 <= len(await bob.events("witness_alarm")) <= 10


def _short(mallory: Mallory) -> Callable[[Session, Request], Awaitable[Reply]]:
    async def answer(_session: Session, _request: Request) -> Reply:
        return Head(note=mallory.log.head(3), proof=())

    return answer


async def test_row_39_numbers_no_honest_peer_names_are_refused_and_are_no_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["mallory"])
        (manifest,) = await receive_grant(mallory)
        for number in (-(2**63), -1, 0, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1):
            for message in (
                RosterFetch(have_version=number),
                FetchHead(from_size=number),
                FetchRendition(rendition_id=manifest.rendition_id, offset=number),
                RosterUpdate(version=number, hash=bytes(32)),
                mallory.hello(roster_version=number),
            ):
                await _quietly(session.request(message))
                if session.closed.is_set():
                    session = await mallory.dial(alice)

        assert isinstance(await mallory.open(session, manifest), Released)
        assert "fault" not in capfd.readouterr().err


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Head(note=b"", proof=()),
        Streamed(length=2**63),
        Released(
            issuer_share=b"", entry=b"", index=-1, proof=(), checkpoint=b"", opens_left=2**64 - 1
        ),
    ],
    ids=["head", "streamed", "released"],
)
async def test_an_answer_of_another_kind_to_a_delivery_is_no_acknowledgement(
    tmp_path: Path, answer: Reply
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:

        async def wrong(_session: Session, _request: Request) -> Reply:
            return answer

        for kind in ("Deliver", "DeliverManifest", "DeliverStatement"):
            import protocol.messages

            mallory.script[getattr(protocol.messages, kind)] = wrong
        await mallory.dial(alice)
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["mallory"])

        async def tried() -> bool:
            return bool(mallory.heard)

        await eventually(tried)
        await asyncio.sleep(0.2)
        (share,) = await alice.node.granted.shares(album=None, to=None, state=None)
        assert not share["delivered"]


async def test_a_peer_that_answers_nonsense_once_is_delivered_to_later(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        send_answer = session._connection.send_answer
        nonsense = True

        def corrupted(request_id: int, body: bytes, *, stream_follows: bool = False) -> None:
            send_answer(request_id, b"\xc1" if nonsense else body, stream_follows=stream_follows)

        session._connection.send_answer = corrupted  # type: ignore[method-assign]  # a bad peer
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["mallory"])
        await asyncio.sleep(0.7)
        nonsense = False
        await session.close()

        await mallory.dial(alice)

        await receive_grant(mallory)
        assert mallory.capabilities
