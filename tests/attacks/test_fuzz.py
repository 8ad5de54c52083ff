"""Random bytes of a member to a running node: it keeps serving, without a fault (row 39)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.transport.driver import Session, SessionClosedError
from protocol.encoding import encode
from protocol.errors import SafelightError
from protocol.identity import Signed, sign_statement
from protocol.labels import SignatureType
from protocol.limits import MIB
from protocol.messages import (
    AddCheckpoint,
    AnnounceLogKey,
    Deliver,
    DeliverManifest,
    DeliverStatement,
    FetchHead,
    FetchHeads,
    FetchList,
    FetchLogKeys,
    FetchRendition,
    Hello,
    OpenRequest,
    Released,
    RosterFetch,
    RosterUpdate,
    encode_message,
)
from tests.attacks.mallory import Mallory, enlisted, receive_grant
from tests.node.services.team import Person, team

MESSAGES = 200_000 if os.environ.get("SAFELIGHT_LONG") else 2_000


@contextlib.contextmanager
def no_unhandled_exception() -> Iterator[None]:
    """Fail where a task ends with an exception that nobody asks for."""
    loop = asyncio.get_running_loop()
    found: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: found.append(context))
    try:
        yield
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert found == []


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Fuzz:
    """Makes requests that are wrong in every way the seed thinks of."""

    def __init__(self, mallory: Mallory, person: Person, seed: int) -> None:
        self._random = random.Random(seed)
        self._mallory = mallory
        self._known = [
            mallory.manifests[0].capability_hash,
            mallory.manifests[0].rendition_id,
            mallory.manifests[0].image_id,
            mallory.me,
            person.me,
        ]
        self._statements = [
            mallory.forge(person).signed_manifest,
            mallory.forge(person).signed_terms,
        ]
        self._sealed = mallory.forge(person).sealed
        self._makers: list[Callable[[], bytes]] = [
            self._noise,
            self._any_message,
            self._any_message,
            self._damaged_message,
            self._signed_noise,
        ]

    def body(self) -> bytes:
        """Return the body of one request."""
        return self._random.choice(self._makers)()

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 7, 100, 4096, 60_000)))

    def _bytes(self) -> bytes:
        return self._random.choice(
            (
                b"",
                self._random.choice(self._known),
                self._random.choice(self._statements),
                self._sealed,
                self._mallory.log.head(),
                self._random.randbytes(self._random.choice((1, 16, 31, 32, 33, 64, 200))),
            )
        )

    def _number(self) -> int:
        return self._random.choice(
            (-(2**63), -1, 0, 1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
        )

    def _text(self) -> str:
        return self._random.choice(
            ("receipt", "amendment", "revocation", "", "\x1b[2J", "\ud7ff" * 9, "x" * 5000)
        )

    def _any_message(self) -> bytes:
        number, data, other = self._number(), self._bytes(), self._bytes()
        return encode_message(
            self._random.choice(
                (
                    Hello(
                        roster_version=number,
                        roster_hash=data,
                        my_head=other,
                        your_head=data,
                        log_keys=number,
                    ),
                    RosterUpdate(version=number, hash=data),
                    RosterFetch(have_version=number),
                    Deliver(sealed=data),
                    DeliverManifest(signed=data),
                    FetchList(capability_hash=data),
                    FetchRendition(rendition_id=data, offset=number),
                    FetchHead(from_size=number),
                    FetchHeads(after=number),
                    FetchLogKeys(after=number),
                    AnnounceLogKey(signed=data),
                    AddCheckpoint(old=number, proof=(other,), note=data),
                    OpenRequest(signed=data),
                    DeliverStatement(statement=self._text(), signed=data),
                )
            )
        )

    def _damaged_message(self) -> bytes:
        damaged = bytearray(self._any_message())
        for _ in range(self._random.randint(1, 4)):
            damaged[self._random.randrange(len(damaged))] = self._random.randrange(256)
        return bytes(damaged)

    def _signed_noise(self) -> bytes:
        """Return a statement that verifies, of a body that means nothing."""
        kind = self._random.choice(list(SignatureType))
        body = self._random.choice(
            (self._random.randbytes(40), encode(Signed(body=b"", signature=b"")), b"", b"\x80")
        )
        signed = sign_statement(self._mallory.local.identity, kind, self._mallory.team, body)
        return encode_message(
            self._random.choice(
                (
                    OpenRequest(signed=signed),
                    DeliverManifest(signed=signed),
                    DeliverStatement(statement=self._text(), signed=signed),
                    Deliver(sealed=signed),
                )
            )
        )


async def _ask(session: Session, body: bytes) -> None:
    with contextlib.suppress(SafelightError):
        async with asyncio.timeout(20):
            _, stream = await session._ask(body)
            await stream.aclose()


async def _forgive(person: Person) -> None:
    """Look into what random heads have raised, as a person would: it stopped all dealings."""
    for alarm in person.node.witnessing.alarms.standing():
        await person.node.witnessing.alarms.clear(alarm.alarm_id)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_row_39_random_requests_of_a_member_leave_the_node_serving(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        (image,) = await alice.import_pictures(1)
        (to_mallory,) = await alice.share([image["id"]], ["mallory"])
        (granted,) = await alice.share([image["id"]], ["bob"])
        await receive_grant(mallory)
        await bob.wait_ready(granted["id"])
        fuzz = Fuzz(mallory, alice, seed=20261122)
        with no_unhandled_exception():
            before = resident()
            for _ in range(MESSAGES // 40):
                if session.closed.is_set():
                    await _forgive(alice)
                    session = await mallory.dial(alice)
                await asyncio.gather(*(_ask(session, fuzz.body()) for _ in range(40)))
            grown = resident() - before

            assert (await bob.open(granted["id"]))["opens_left"] == 9

        assert grown < 60 * MIB
        assert "fault" not in capfd.readouterr().err
        assert (await alice.node.log_verifying.verify())["ok"]
        assert await alice.node.check(read_data=True, progress=lambda *_: None) == {
            "ok": True,
            "problems": [],
        }
        await _forgive(alice)
        session = await mallory.dial(alice)
        assert isinstance(await mallory.open(session, mallory.manifests[0]), Released)
        assert to_mallory["holder"] == "mallory"


@pytest.mark.slow
async def test_row_39_random_answers_of_a_member_leave_the_node_serving(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        numbers = random.Random(7)
        with no_unhandled_exception():
            for _ in range(MESSAGES // 100):
                session = await mallory.dial(bob, greet=False)
                send_answer = session._connection.send_answer

                def corrupted(
                    request_id: int,
                    body: bytes,
                    *,
                    stream_follows: bool = False,
                    send: Callable[..., None] = send_answer,
                ) -> None:
                    if numbers.random() < 0.7:
                        body = numbers.randbytes(numbers.choice((0, 1, 40, 4096)))
                    send(request_id, body, stream_follows=stream_follows)

                session._connection.send_answer = corrupted  # type: ignore[method-assign]  # a bad peer
                forged = mallory.forge(bob)
                for message in (
                    mallory.roster_update(),
                    mallory.hello(),
                    Deliver(sealed=forged.sealed),
                    DeliverManifest(signed=forged.signed_manifest),
                ):
                    with contextlib.suppress(SafelightError, TimeoutError):
                        async with asyncio.timeout(2):
                            await session.request(message)
                with contextlib.suppress(SafelightError, TimeoutError):
                    await bob.open(forged.terms.capability_id.hex(), wait=0.1)
                with contextlib.suppress(SessionClosedError):
                    await session.close()

        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        assert (await bob.open(granted["id"]))["opens_left"] == 9
        assert "fault" not in capfd.readouterr().err
