"""Bad moments that tests bring about: a held writer, a full disk, damage, a lost network.

Belongs here: what happens to real nodes from outside, made at an exact moment.
Never here: building a team (``team``), or anything a node does by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from node.imaging.pool import ImagingPool
from node.system import system_entropy
from node.transport.dialer import dial
from node.transport.driver import Handler, Session
from node.vault.blob_folder import blob_path
from node.vault.connection import SqlConnection
from node.vault.database import WriteTransaction
from node.vault.errors import StorageFullError
from node.vault.keyslots import SLOT_BYTES, SlotState, look
from protocol.messages import Answer, Done, FetchHead, Request
from tests.node.kept_imaging import kept_imaging
from tests.node.services.team import Person, new_person


@asynccontextmanager
async def alone(
    folder: Path, name: str = "alice", *, imaging: ImagingPool | None = None
) -> AsyncIterator[Person]:
    """Hold the running node of a person without a team."""
    person = await new_person(folder, name, imaging or await kept_imaging())
    try:
        yield person
    finally:
        await person.node.close()


async def until(condition: Callable[[], object], *, seconds: float = 45.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


# The writer -----------------------------------------------------------------------------------


class _Hold:
    """A job that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()

    def __call__(self, _transaction: WriteTransaction) -> None:
        self.entered.set()
        assert self.go.wait(60)


@asynccontextmanager
async def writer_held(person: Person) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Let nothing be committed meanwhile; reading goes on. Gives what waits for waiting jobs."""
    database = person.node.context.database

    async def waiting(jobs: int) -> None:
        await until(lambda: len(database._waiting) >= jobs)

    hold = _Hold()
    writing = asyncio.create_task(database.write(hold))
    assert await asyncio.to_thread(hold.entered.wait, 60)
    try:
        yield waiting
    finally:
        hold.go.set()
        await writing


async def cancel_while_committing(person: Person, work: Awaitable[Any]) -> None:
    """Cancel work at the moment when its first write stands in a transaction under way."""
    database = person.node.context.database
    hold = _Hold()
    async with writer_held(person) as waiting:
        task = asyncio.ensure_future(work)
        await waiting(1)
        behind = asyncio.create_task(database.write(hold))
        await waiting(2)
    # Both are one transaction now, and it is open.
    assert await asyncio.to_thread(hold.entered.wait, 60)
    task.cancel()
    await asyncio.wait([task], timeout=0.2)
    hold.go.set()
    await behind
    await asyncio.wait([task])


# The disk -------------------------------------------------------------------------------------


@asynccontextmanager
async def full_index(person: Person) -> AsyncIterator[None]:
    """Let the index grow no more, as on a full disk: SQLite refuses every new page."""
    database = person.node.context.database

    def limit(connection: SqlConnection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def unlimit(connection: SqlConnection) -> None:
        connection.execute("PRAGMA max_page_count = 1073741823")

    await database._writer.run(limit)
    with contextlib.suppress(StorageFullError):
        for number in range(10_000):

            def fill(transaction: WriteTransaction, number: int = number) -> None:
                transaction.connection.execute(
                    "INSERT INTO meta (key, value) VALUES (?, zeroblob(3000))", (f"fill {number}",)
                )

            await database.write(fill)
    try:
        yield
    finally:
        await database._writer.run(unlimit)


async def blob_files(person: Person, kind: str) -> list[Path]:
    """Return where the sealed files of a kind are that have a row."""
    found = await person.read(
        lambda db: db.execute(
            "SELECT blob_id FROM blobs WHERE kind = ? ORDER BY created_at", (kind,)
        ).fetchall()
    )
    return [blob_path(person.node.context.vault.home.blobs, blob_id) for (blob_id,) in found]


def flip_byte(path: Path, offset: int = -1) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


async def used_slots(person: Person) -> list[int]:
    """Return the numbers of the keyslots that are not empty."""
    vault = person.node.context.vault
    _, found = await asyncio.to_thread(look, vault.home.keyslots, vault.keys.keyslots)
    used = (SlotState.RECORD, SlotState.DAMAGED)
    return [slot.number for slot in found if slot.state in used]


def damage_slot(person: Person, slot: int) -> None:
    """Make a keyslot one that does not authenticate."""
    with person.node.context.vault.home.keyslots.open("r+b") as file:
        file.seek((slot + 1) * SLOT_BYTES)
        file.write(b"\xaa" * SLOT_BYTES)


async def execute(person: Person, sql: str, *values: Any) -> None:
    """Change the index underneath the services, with the right key."""

    def change(connection: SqlConnection) -> None:
        assert connection.execute(sql, values).rowcount == 1

    await person.node.context.database._writer.run(change)


# Connections ----------------------------------------------------------------------------------


def cut(person: Person) -> None:
    """End every session of a person at once, as a lost network does."""
    for links in person.node.peering._links.values():
        for link in links:
            link.session._link._transport.abort()  # type: ignore[attr-defined]  # a socket's


async def cut_off(person: Person, other: Person) -> None:
    """End every session of a person, and wait until their link to another is none, or a new one."""
    link = person.node.peering.link(other.me)
    cut(person)
    await until(lambda: link is None or person.node.peering.link(other.me) is not link)


@asynccontextmanager
async def raw_session(
    person: Person, to: Person, answer: Handler | None = None
) -> AsyncIterator[Session]:
    """Dial with a person's key and none of its services: what a hostile member can do."""

    async def done(session: Session, request: Request) -> Answer:
        if isinstance(request, FetchHead):
            return await person.node.witnessing.answer_head(request)
        return Done()

    host, port = to.node.peering.listening[0]
    session = await dial(
        host,
        port,
        remote_static=to.node.context.identity.public.agreement_key,
        static_secret=person.node.context.identity.agreement_secret,
        team_id=to.node.membership.team_id,
        handler=answer or done,
        clock=person.clock,
        entropy=system_entropy,
        timeout=45,
    )
    try:
        yield session
    finally:
        await session.close()


async def greet(person: Person, to: Person, session: Session) -> None:
    """Greet over a raw session as the person's node would, and wait to be taken for greeted."""
    await session.request(await person.node.peering._hello(to.me))
    links = to.node.peering._links
    await until(lambda: len([one for one in links.get(person.me, []) if one.greeted]) > 1)
