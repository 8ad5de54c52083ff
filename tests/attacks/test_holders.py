"""Holders who ask for more than they were granted, and say more than is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.vault import log_store
from node.vault.records import grants as grant_rows
from protocol.audit.checkpoint import origin_of
from protocol.audit.tree import leaf_hash
from protocol.capability.statements import Receipt, ReceiptEvent, sign_receipt
from protocol.identity import sign_statement
from protocol.labels import SignatureType
from protocol.messages import (
    Deliver,
    DeliverManifest,
    DeliverStatement,
    Done,
    FetchRendition,
    OpenRequest,
    Released,
    Request,
    RosterFetch,
    RosterUpdate,
)
from protocol.roster.metadata import next_version, sign_roster
from protocol.roster.update import join_versions
from tests.attacks.mallory import (
    CLOCK,
    Mallory,
    enlisted,
    reason_or,
    receive_grant,
    refused,
    streamed,
)
from tests.attacks.relay import Relay, relaying
from tests.node.services.team import Person, eventually, start_node, team


async def granted_to(alice: Person, mallory: Mallory, **terms: object) -> str:
    (image,) = await alice.import_pictures(1)
    (granted,) = await alice.share([image["id"]], ["mallory"], **terms)
    await receive_grant(mallory)
    return str(granted["id"])


def receipt(mallory: Mallory, event: ReceiptEvent, **fields: Any) -> DeliverStatement:
    made = Receipt(
        event=event,
        capability_hash=mallory.manifests[0].capability_hash,
        time=0,
        **fields,
    )
    return DeliverStatement(
        statement="receipt", signed=sign_receipt(made, holder=mallory.local, team_id=mallory.team)
    )


async def test_row_25_a_storm_of_one_open_id_on_many_channels_counts_once(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        sessions = [await mallory.dial(alice) for _ in range(4)]
        await granted_to(alice, mallory, opens=3)
        open_id = system_entropy(16)

        answers = await asyncio.gather(
            *(
                mallory.open(sessions[number % 4], mallory.manifests[0], open_id=open_id)
                for number in range(200)
            )
        )

        assert all(isinstance(one, Released) for one in answers)
        assert len({one.issuer_share for one in answers if isinstance(one, Released)}) == 1
        assert len(await alice.events("released")) == 1
        (share,) = await alice.node.granted.shares(album=None, to=None, state=None)
        assert share["opens"] == 1


async def test_row_25_a_storm_of_redeliveries_does_not_fill_the_log(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory, opens=3)
        open_id = system_entropy(16)

        for _ in range(4):
            await asyncio.gather(
                *(mallory.open(session, mallory.manifests[0], open_id=open_id) for _ in range(60))
            )

        assert len(await alice.events("redelivered")) <= 20


@pytest.mark.parametrize("event", ["received", "saved", "opened", "revocation_seen"])
async def test_a_replayed_receipt_changes_nothing_and_adds_no_entry(
    tmp_path: Path, event: ReceiptEvent
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        capability = await granted_to(alice, mallory, rights=["view", "save"])
        fields: dict[str, object] = {}
        if event in ("saved", "opened"):
            open_id = system_entropy(16)
            released = await mallory.open(session, mallory.manifests[0], open_id=open_id)
            assert isinstance(released, Released)
            entry = await alice.read(lambda db: log_store.entry(db, released.index))
            fields = {
                "image_id": mallory.manifests[0].image_id,
                "open_id": open_id,
                "origin": origin_of(alice.me),
                "index": released.index,
                "leaf_hash": leaf_hash(released.entry),
            }
            assert entry is not None
        if event == "revocation_seen":
            await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)
        message = receipt(mallory, event, **fields)
        assert await refused(session.request(message)) == "taken"
        head = await alice.read(log_store.head)

        for _ in range(5):
            await refused(session.request(message))

        assert await alice.read(log_store.head) == head


async def test_nobody_has_seen_a_revocation_that_was_never_made(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        capability = await granted_to(alice, mallory)
        mallory.script[DeliverStatement] = _never_answer

        await refused(session.request(receipt(mallory, "revocation_seen")))
        revoked = await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)

        assert not revoked["revoked"][0]["seen_by_holder"]


async def _never_answer(_session: object, _request: object) -> Done:
    await asyncio.sleep(3600)
    return Done()


@pytest.mark.parametrize("changed", ["leaf_hash", "origin", "image_id", "index", "open_id"])
async def test_a_receipt_that_names_another_entry_than_its_release_is_refused(
    tmp_path: Path, changed: str
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory)
        open_id = system_entropy(16)
        released = await mallory.open(session, mallory.manifests[0], open_id=open_id)
        assert isinstance(released, Released)
        fields: dict[str, object] = {
            "image_id": mallory.manifests[0].image_id,
            "open_id": open_id,
            "origin": origin_of(alice.me),
            "index": released.index,
            "leaf_hash": leaf_hash(released.entry),
        }
        wrong: dict[str, object] = {
            "leaf_hash": bytes(32),
            "origin": origin_of(mallory.me),
            "image_id": bytes(16),
            "index": released.index - 1,
            "open_id": bytes(16),
        }

        message = receipt(mallory, "opened", **{**fields, changed: wrong[changed]})

        assert await refused(session.request(message)) == "unknown"
        assert await alice.events("opened") == []


DAY_MS = 24 * 3_600_000
GONE = ("not_member", "closed")
"""What somebody hears who is a member no more."""


async def remove(administrator: Person, name: str = "mallory") -> None:
    """Remove a member as `team remove` does."""
    await administrator.node.administering.remove(name)


async def test_row_22_a_removed_member_is_denied_at_once_on_an_open_channel(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory)
        assert isinstance(await mallory.open(session, mallory.manifests[0]), Released)

        await remove(alice)

        assert await mallory.open(session, mallory.manifests[0]) in GONE
        assert len(await alice.events("released")) == 1


async def test_row_22_a_removed_member_gets_no_new_channel_and_no_ciphertext(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        await mallory.dial(alice)
        await granted_to(alice, mallory)
        await remove(alice)

        session = await mallory.dial(alice, greet=False)
        fetch = FetchRendition(rendition_id=mallory.manifests[0].rendition_id, offset=0)

        assert await refused(session.request(fetch)) in GONE
        assert await refused(session.request(mallory.hello())) in GONE
        assert not alice.node.peering.online()


async def test_row_22_nothing_is_delivered_to_a_removed_member(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        await mallory.dial(alice)
        capability = await granted_to(alice, mallory)
        before = len(mallory.heard)

        await remove(alice)
        await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)
        await asyncio.sleep(0.3)

        assert [one for one in mallory.heard[before:] if isinstance(one, DeliverStatement)] == []
        assert mallory.me not in alice.node.peering.online()


async def test_row_22_no_release_stands_behind_the_removal_however_many_opens_are_under_way(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        sessions = [await mallory.dial(alice) for _ in range(3)]
        await granted_to(alice, mallory, opens=10_000)
        answers: list[object] = []

        async def keep_asking(session: Session) -> None:
            while not answers or answers[-1] not in GONE:
                answers.append(await mallory.open(session, mallory.manifests[0]))

        asking = [asyncio.create_task(keep_asking(session)) for session in sessions]
        while not any(isinstance(one, Released) for one in answers):
            await asyncio.sleep(0.01)
        await remove(alice)
        async with asyncio.timeout(60):
            await asyncio.gather(*asking)

        (removed,) = await alice.events("member_removed")
        released = await alice.events("released")
        assert max(one["index"] for one in released) < removed["index"]


async def test_row_22_every_node_takes_back_what_it_granted_to_a_removed_member(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await mallory.dial(bob)
        capability = await granted_to(bob, mallory)

        await remove(alice)

        async def revoked() -> bool:
            grant = await bob.read(lambda db: grant_rows.grant(db, bytes.fromhex(capability)))
            return grant is not None and grant.ended_at is not None and grant.slot is None

        await eventually(revoked)
        (entry,) = await bob.events("revoked")
        assert entry["detail"]["why"] == "the holder is a member no more"


async def test_row_22_an_online_member_learns_of_a_removal_at_once(tmp_path: Path) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        enlisted(alice) as mallory,
    ):
        session = await mallory.dial(bob)
        assert bob.node.membership.member(mallory.me) is not None

        await remove(alice)

        async def removed() -> bool:
            return bob.node.membership.member(mallory.me) is None

        await eventually(removed)
        assert await refused(session.request(mallory.hello())) in GONE


async def test_row_22_a_member_who_stalls_does_not_keep_a_node_from_learning_of_a_removal(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        mallory.script[RosterFetch] = _never_answer
        stalled = [
            asyncio.create_task(refused(session.request(RosterUpdate(version=99, hash=bytes(32)))))
            for _ in range(50)
        ]
        await asyncio.sleep(0.2)

        await remove(alice)

        async def removed() -> bool:
            return bob.node.membership.member(mallory.me) is None

        await eventually(removed, seconds=9)
        await asyncio.gather(*stalled)


async def test_row_19_an_expired_roster_is_a_frozen_one_and_nothing_is_released_under_it(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        for person in (alice, bob):
            person.clock.advance(300 * DAY_MS)
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], duration="89d")
        await bob.wait_ready(granted["id"])
        manifest = await bob.manifest(granted["id"])
        assert isinstance(await bob.ask(granted["id"], manifest), Released)

        for person in (alice, bob):
            person.clock.advance(66 * DAY_MS)

        assert await bob.ask(granted["id"], manifest) == "not_member"


async def test_a_roster_that_comes_from_two_members_at_once_is_no_reason_to_refuse_either(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        await mallory.dial(bob)
        trusted = mallory.trusted
        body = next_version(trusted.roster, members=trusted.roster.members, now=CLOCK.now())
        signed = sign_roster(body, signers=(alice.node.context.identity,), team_id=trusted.team_id)
        mallory.trusted = trusted.update_untrusted(signed)

        async def after_another(_session: Session, _request: Request) -> Reply:
            await bob.node.membership.update_untrusted(join_versions([signed]))
            return streamed(join_versions([signed]))

        mallory.script[RosterFetch] = after_another
        session = await mallory.dial(bob, greet=False)

        assert await refused(session.request(mallory.hello())) == "taken"


async def test_row_26_a_clock_set_back_does_not_bring_an_ended_capability_back(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory, duration="1h")
        alice.clock.advance(3_600_001)
        alice.node.ending.deadlines_changed()

        async def ended() -> bool:
            return bool(await alice.read(lambda db: not grant_rows.live_slots(db)))

        await eventually(ended)

        alice.clock.advance(-60_000)
        answer = await mallory.open(session, mallory.manifests[0])

        assert answer == "expired"
        assert await alice.events("released") == []


@pytest.mark.parametrize("years", [-10, 10])
async def test_row_26_a_clock_years_away_releases_nothing(tmp_path: Path, years: int) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory)

        alice.clock.shift = years * 365 * 24 * 3_600_000

        assert await mallory.open(session, mallory.manifests[0]) == "clock"
        assert await alice.events("released") == []


async def test_row_46_without_its_keyslots_a_vault_releases_nothing_and_counts_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        await alice.node.close()
        (alice.home / "keyslots").unlink()
        alice.node = await start_node(alice.home, alice.clock, alice.imaging)

        answer = await bob.ask(granted["id"], await bob.manifest(granted["id"]))

        assert isinstance(answer, str)
        (share,) = await alice.node.granted.shares(album=None, to=None, state=None)
        assert await alice.events("released") == []
        assert share["opens"] == 0


KINDS = [kind for kind in SignatureType if kind is not SignatureType.OPEN_REQUEST]


async def test_row_15_no_other_signature_of_a_holder_is_an_open_request(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory)
        honest = mallory.ask(session, mallory.manifests[0])
        body = msgspec.msgpack.decode(honest.signed)["body"]

        for kind in KINDS:
            signed = sign_statement(mallory.local.identity, kind, mallory.team, body)
            answer = await reason_or(session.request(OpenRequest(signed=signed)), Released)
            assert answer == "unknown", kind

        assert await alice.events("released") == []


async def test_row_15_an_open_request_is_no_statement_of_another_kind(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        await granted_to(alice, mallory)
        signed = mallory.ask(session, mallory.manifests[0]).signed

        for statement in ("receipt", "amendment", "revocation", "", "open"):
            message = DeliverStatement(statement=statement, signed=signed)
            assert await refused(session.request(message)) == "unknown"
        assert await refused(session.request(DeliverManifest(signed=signed))) == "unknown"
        assert await refused(session.request(Deliver(sealed=signed))) == "unknown"


async def test_row_14_a_signed_open_request_is_void_on_another_channel(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        first, second = await mallory.dial(alice), await mallory.dial(alice)
        await granted_to(alice, mallory)
        recorded = mallory.ask(first, mallory.manifests[0])

        assert await reason_or(second.request(recorded), Released) == "unknown"
        assert isinstance(await reason_or(first.request(recorded), Released), Released)
        assert len(await alice.events("released")) == 1


async def test_row_43_every_answer_to_an_open_has_one_size_on_the_wire(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice) as mallory:
        session = await mallory.dial(alice)
        capability = await granted_to(alice, mallory, opens=1)
        manifest = mallory.manifests[0]
        await session.close()
        async with relaying(alice.node.peering.listening[0]) as relay:
            session = await mallory.dial_address(
                "127.0.0.1", relay.port, alice.node.context.identity.public
            )
            await _silence(relay)
            again = system_entropy(16)
            requests = [
                mallory.ask(session, manifest, open_id=again),
                mallory.ask(session, manifest, open_id=again),
                mallory.ask(session, manifest),
                mallory.ask(session, manifest, capability_hash=bytes(32)),
                mallory.ask(session, manifest, blob_sha256=bytes(32)),
                OpenRequest(signed=b""),
                OpenRequest(signed=bytes(50_000)),
                OpenRequest(signed=b"revoked by now"),
                mallory.ask(session, manifest),
            ]
            outcomes, sizes = [], Counter[int]()
            for request in requests:
                if request.signed == b"revoked by now":
                    await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)
                    await _silence(relay)
                before = len(relay.heard_from)
                answer = await reason_or(session.request(request), Released)
                await _silence(relay)
                sizes[len(relay.heard_from) - before] += 1
                outcomes.append(answer if isinstance(answer, str) else "released")

        assert set(outcomes) == {"released", "exhausted", "unknown", "revoked"}
        assert len(sizes) == 1, sizes


async def _silence(relay: Relay) -> None:
    """Wait until nothing passes a relay any more."""
    heard = -1
    while heard != (heard := len(relay.heard_from)):
        await asyncio.sleep(0.1)
