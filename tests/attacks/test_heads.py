"""Logs that are forked, cut or restored, and members who hide it (rows 23 and 47)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from node.errors import UnreachableError
from node.services import incarnations
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.vault import log_store
from node.vault.records import team as rows
from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.errors import Refused
from protocol.messages import Done, FetchHead, OpenRequest, Released, Request
from tests.attacks.mallory import (
    enlisted,
    receive_grant,
    refused,
    show_two_histories,
)
from tests.attacks.test_text import harmless
from tests.node.services.team import Person, eventually, start_node, team


async def test_row_23_a_forked_log_is_an_alarm_and_its_owner_is_not_greeted(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await show_two_histories(mallory, bob)

        (alarm,) = await bob.events("witness_alarm")
        assert alarm["detail"]["member"] == "mallory"


@pytest.mark.parametrize("head", ["shorter", "forked", "none"])
async def test_row_23_nothing_is_taken_from_a_member_whose_log_was_forked(
    tmp_path: Path, head: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(5):
            mallory.log.append()
        honest = await mallory.dial(bob)
        await honest.close()
        session = await mallory.dial(bob, greet=False)
        fork = mallory.log = mallory.log.fork(2, grown=9 if head == "forked" else 0)
        note = b"" if head == "none" else fork.head()
        assert await refused(session.request(mallory.hello(my_head=note))) != "taken"

        forged = mallory.forge(bob)
        with pytest.raises((Refused, Exception)):
            await mallory.grant(session, forged)

        assert await bob.node.inbox.held() == []
        assert len(await bob.events("witness_alarm")) == 1


async def test_row_23_no_share_is_released_on_a_channel_without_an_exchange_of_heads(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _), enlisted(alice) as mallory:
        greeted = await mallory.dial(alice)
        (image,) = await alice.import_pictures(1)
        await alice.share([image["id"]], ["mallory"])
        (manifest,) = await receive_grant(mallory)
        silent = await mallory.dial(alice, greet=False)

        answer = await mallory.open(silent, manifest)

        assert isinstance(answer, str)
        assert not await alice.events("released")
        assert isinstance(await mallory.open(greeted, manifest), Released)


async def test_row_23_a_release_under_a_head_shorter_than_the_one_held_is_refused(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(20):
            mallory.log.append()
        session = await mallory.dial(bob)
        capability = await mallory.grant(session, mallory.forge(bob))
        fork = mallory.log.fork(2)

        async def release_on_a_fork(session: Session, request: Request) -> Reply:
            assert isinstance(request, OpenRequest)
            return mallory.release(session, request, log=fork)

        mallory.script[OpenRequest] = release_on_a_fork

        with pytest.raises(Exception, match="does not verify"):
            await bob.open(capability)

        assert await bob.events("opened") == []


async def test_row_23_a_fork_shown_in_a_release_is_found_when_the_next_head_comes(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        capability = await mallory.grant(session, mallory.forge(bob))
        fork = mallory.log.copy()

        async def release_on_a_fork(session: Session, request: Request) -> Reply:
            assert isinstance(request, OpenRequest)
            return mallory.release(session, request, log=fork)

        mallory.script[OpenRequest] = release_on_a_fork
        await bob.open(capability)
        for _ in range(5):
            mallory.log.append()

        await refused(session.request(mallory.hello()))

        assert len(await bob.events("witness_alarm")) == 1


async def _restore_index_of(person: Person, backup: Path) -> None:
    """Put an older copy of a person's index back, as a restored disk would."""
    await person.node.close()
    for ending in ("", "-wal", "-shm"):
        (person.home / f"index.db{ending}").unlink(missing_ok=True)
    shutil.copy2(backup, person.home / "index.db")
    person.node = await start_node(person.home, person.clock, person.imaging)


async def _witness(holder: Person, of: Person) -> None:
    """Let a person's node greet another anew, and wait until it holds the newest head."""
    await holder.restart()
    mine = await of.read(log_store.head)
    assert mine is not None

    async def held() -> bool:
        found = await holder.read(lambda db: rows.peer_head(db, origin_of(of.me)))
        return found is not None and found[0] >= mine.size

    await eventually(held)


async def _set_back(issuer: Person, opener: Person, other: Person, backup: Path) -> dict[str, Any]:
    """Restore an index to before an open that was witnessed; return what the other was granted."""
    (image,) = await issuer.import_pictures(1)
    opened, held = await issuer.share([image["id"]], [opener.name, other.name])
    await opener.wait_ready(opened["id"])
    await other.wait_ready(held["id"])
    await _backup_index_of(issuer, backup)
    await opener.open(opened["id"])
    await _witness(opener, issuer)
    await _restore_index_of(issuer, backup)
    return held


async def _backup_index_of(person: Person, backup: Path) -> None:
    await person.node.context.database.truncate_wal()
    shutil.copy2(person.home / "index.db", backup)


@pytest.fixture
def no_next_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody begin the next log: what is shown of the old one stays what peers look at."""
    monkeypatch.setattr(incarnations, "_GATHER_S", 3600.0)


@pytest.mark.usefixtures("no_next_log")
async def test_row_47_a_restored_index_is_noticed_by_the_first_peer_and_releases_stop(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        to_carol = await _set_back(alice, bob, carol, tmp_path / "older")

        async def noticed() -> bool:
            return bool(await alice.events("witness_alarm") and await bob.events("witness_alarm"))

        await eventually(noticed, seconds=60)
        try:
            answer = await carol.ask(to_carol["id"], await carol.manifest(to_carol["id"]))
        except UnreachableError:
            answer = "bob has told carol, and she deals with alice no more"
        assert isinstance(answer, str)
        assert not await alice.events("released")


@pytest.mark.usefixtures("no_next_log")
async def test_row_47_a_restored_log_that_has_grown_past_what_its_peers_hold_is_noticed(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        await _backup_index_of(alice, tmp_path / "older")
        await bob.open(granted["id"])
        await _witness(bob, alice)
        await bob.node.close()
        await _restore_index_of(alice, tmp_path / "older")
        for number in range(6):
            await alice.import_pictures(1, size=(64 + number, 48))

        bob.node = await start_node(bob.home, bob.clock, bob.imaging)

        async def alarmed() -> bool:
            return bool(await bob.events("witness_alarm") and await alice.events("witness_alarm"))

        await eventually(alarmed, seconds=60)
        assert len(await alice.events("witness_alarm")) == 1


async def test_row_47_a_restored_node_still_knows_after_another_start(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        to_carol = await _set_back(alice, bob, carol, tmp_path / "older")

        async def noticed() -> bool:
            return bool(await alice.events("witness_alarm"))

        await eventually(noticed)
        await bob.node.close()
        await alice.restart()

        try:
            answer = await carol.ask(to_carol["id"], await carol.manifest(to_carol["id"]))
        except UnreachableError:
            answer = "bob has told carol, and she deals with alice no more"
        bob.node = await start_node(bob.home, bob.clock, bob.imaging)
        assert isinstance(answer, str)
        assert not await alice.events("released")


async def test_row_23_a_fork_is_not_hidden_by_growing_between_two_proofs(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        capability = await mallory.grant(session, mallory.forge(bob))
        fork = mallory.log.copy()
        mallory.script[FetchHead] = _never

        async def release_on_a_fork(session: Session, request: Request) -> Reply:
            assert isinstance(request, OpenRequest)
            return mallory.release(session, request, log=fork)

        mallory.script[OpenRequest] = release_on_a_fork
        await bob.open(capability)
        shown = len(fork.entries)
        mallory.log.append()

        async def whichever_fits(_session: Session, request: Request) -> Reply:
            assert isinstance(request, FetchHead)
            log = fork if shown in (request.from_size, request.to_size) else mallory.log
            for _ in range(3):
                log.append()
            return log.answer(request)

        mallory.script[FetchHead] = whichever_fits
        second = await mallory.dial(bob, greet=False)
        answers = [await refused(second.request(mallory.hello())) for _ in range(3)]

        assert await bob.events("witness_alarm")
        assert answers[-1] != "taken"


async def _never(_session: Session, _request: Request) -> Reply:
    await asyncio.sleep(3600)
    return Done()


async def test_row_23_a_head_that_was_overtaken_on_its_way_is_no_alarm(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        for _ in range(9):
            mallory.log.append()
        session = await mallory.dial(bob)

        # What an honest node says that began two greetings at once, and logged between them.
        answer = await refused(session.request(mallory.hello(my_head=mallory.log.head(7))))

        assert await bob.events("witness_alarm") == []
        assert answer == "taken"


async def test_row_23_a_head_told_in_a_greeting_is_one_of_the_log_that_is_shown(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await (await mallory.dial(bob)).close()
        fork = mallory.log.copy()
        fork.entries[0:] = []
        for _ in range(4):
            fork.append()
            mallory.log.append()
        session = await mallory.dial(bob, greet=False)

        # Signed by its log, and no prefix of the log that it shows a moment later.
        await refused(session.request(mallory.hello(my_head=fork.head())))

        assert len(await bob.events("witness_alarm")) == 1


async def test_row_32_what_is_wrong_with_a_head_is_said_in_own_words_and_not_without_end(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await (await mallory.dial(bob)).close()
        local = mallory.local
        heads = [b"\x1b[2J\n\n", b"", bytes(500), b"\x9b", "\u202e\n\n".encode()]
        for number in range(40):
            made = Checkpoint(origin=f"evil/{number}\u009b2J", size=number, root=bytes(32))
            heads.append(sign_checkpoint(made, local.log))
            heads.append(system_entropy(60))
        for number in range(40):
            made = Checkpoint(origin=mallory.log.origin, size=number, root=bytes(32))
            heads.append(sign_checkpoint(made, local.log))
        session = await mallory.dial(bob, greet=False)
        for head in heads:
            if session.closed.is_set():
                session = await mallory.dial(bob, greet=False)
            await refused(session.request(mallory.hello(my_head=head)))

        alarms = await bob.events("witness_alarm")
        assert 1 <= len(alarms) <= 12
        assert all(harmless(alarm["detail"]["detail"]) for alarm in alarms)
