"""Issuers who send what no honest node sends (rows 3, 4, 6, 25, 28, 29 and 41)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.errors import TamperedError
from node.imaging.made import made_pictures
from node.system import system_entropy
from node.transport.driver import Reply, Session
from node.vault import log_store
from protocol.capability.statements import (
    Amendment,
    Revocation,
    sign_amendment,
    sign_revocation,
)
from protocol.errors import Refused, SafelightError
from protocol.labels import SignatureType
from protocol.limits import MAX_CLOCK_STEP_BACK_MS, MIB
from protocol.messages import (
    Deliver,
    DeliverManifest,
    DeliverStatement,
    FetchList,
    FetchRendition,
    OpenRequest,
    Request,
    Streamed,
)
from protocol.sealed_blob import sealed_length
from tests.attacks.mallory import (
    CLOCK,
    PICTURE,
    Mallory,
    enlisted,
    refused,
    streamed,
    whole,
)
from tests.node.services.team import Person, eventually, team


def _amendment(capability_hash: bytes, **fields: object) -> Amendment:
    made = Amendment(
        capability_hash=capability_hash,
        sequence=1,
        expires_at=CLOCK.now() + 7_200_000,
        opens_added=1,
        time=CLOCK.now(),
    )
    return msgspec.structs.replace(made, **fields)


def amendment(mallory: Mallory, capability_hash: bytes, **fields: object) -> DeliverStatement:
    """Return an amendment that mallory signed."""
    signed = sign_amendment(
        _amendment(capability_hash, **fields), issuer=mallory.local, team_id=mallory.team
    )
    return DeliverStatement(statement="amendment", signed=signed)


def revocation(mallory: Mallory, capability_hash: bytes) -> DeliverStatement:
    made = Revocation(capability_hash=capability_hash, time=CLOCK.now())
    signed = sign_revocation(made, issuer=mallory.local, team_id=mallory.team)
    return DeliverStatement(statement="revocation", signed=signed)


async def blobs_of_kind(person: Person, kind: str) -> int:
    """Count the sealed files of a kind in a person's index."""
    query = "SELECT count(*) FROM blobs WHERE kind = ?"
    (count,) = await person.read(lambda db: db.execute(query, (kind,)).fetchone())
    return int(count)


# Other people's capabilities ----------------------------------------------------------------------


async def test_row_3_a_member_changes_nothing_of_a_capability_of_another_issuer(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], rights=["view", "save"])
        await bob.wait_ready(granted["id"])
        manifest = await bob.manifest(granted["id"])
        before = await bob.node.inbox.held()
        session = await mallory.dial(bob)

        substituted = mallory.sign_manifest(
            msgspec.structs.replace(manifest, wrapped=system_entropy(48))
        )
        answers = [
            await refused(session.request(DeliverManifest(signed=substituted))),
            await refused(session.request(amendment(mallory, manifest.capability_hash))),
            await refused(session.request(revocation(mallory, manifest.capability_hash))),
        ]

        assert answers == ["unknown"] * 3
        assert await bob.node.inbox.held() == before
        assert await bob.manifest(granted["id"]) == manifest
        assert (await bob.open(granted["id"]))["opens_left"] == 9


async def test_row_3_a_capability_passed_on_or_for_somebody_else_is_refused(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        (image,) = await alice.import_pictures(1)
        await mallory.dial(alice)
        await alice.share([image["id"]], ["mallory"])

        async def granted() -> bool:
            return bool(mallory.capabilities)

        await eventually(granted)
        session = await mallory.dial(bob)
        bobs = bob.node.context.identity.public
        passed_on = mallory.seal(mallory.capabilities[0].capability, bobs)
        for_alice = mallory.forge(alice)
        to_bob = mallory.seal(for_alice.capability, bobs)

        for sealed in (passed_on, to_bob, for_alice.sealed, b"", bytes(50_000)):
            assert await refused(session.request(Deliver(sealed=sealed))) == "unknown"

        assert await bob.node.inbox.held() == []


async def test_row_4_what_nobody_asked_for_is_not_stored(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        head = await bob.read(log_store.head)

        for message in (
            DeliverManifest(signed=forged.signed_manifest),
            amendment(mallory, forged.hash),
            revocation(mallory, forged.hash),
        ):
            assert await refused(session.request(message)) == "unknown"

        assert await bob.node.inbox.held() == []
        assert await bob.read(log_store.head) == head
        assert await blobs_of_kind(bob, "received") == 0


async def test_a_capability_with_the_id_of_a_held_one_replaces_nothing_and_is_not_acknowledged(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        before = await bob.wait_ready(granted["id"])
        session = await mallory.dial(bob)
        collision = mallory.forge(bob, capability_id=bytes.fromhex(granted["id"]))

        answer = await refused(session.request(Deliver(sealed=collision.sealed)))

        assert await bob.node.inbox.held() == [before]
        assert answer == "unknown"


async def test_row_6_a_manifest_of_another_picture_or_capability_does_not_fit(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        one = mallory.forge(bob, names=("one.jpg", "two.jpg"))
        other = mallory.forge(bob)
        await mallory.grant(session, other)
        await session.request(Deliver(sealed=one.sealed))
        swapped = [
            msgspec.structs.replace(one.manifest, capability_hash=other.hash),
            msgspec.structs.replace(one.manifest, image_id=other.manifest.image_id),
            msgspec.structs.replace(one.manifest, rendition="preview:100"),
            msgspec.structs.replace(one.manifest, rendition="original"),
        ]

        for manifest in swapped:
            message = DeliverManifest(signed=mallory.sign_manifest(manifest))
            assert await refused(session.request(message)) == "unknown"


async def test_row_6_the_ciphertext_of_another_picture_does_not_open(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        one, other = mallory.forge(bob), mallory.forge(bob)
        mixed = msgspec.structs.replace(
            one.manifest,
            ciphertext_sha256=other.manifest.ciphertext_sha256,
            ciphertext_bytes=other.manifest.ciphertext_bytes,
            blob_commitment=other.manifest.blob_commitment,
        )
        one.signed_manifest, one.manifest = mallory.sign_manifest(mixed), mixed
        one.ciphertext = other.ciphertext
        capability = await mallory.grant(session, one)

        with pytest.raises(TamperedError):
            await bob.open(capability)

        assert not bob.node.pixels._shown


# Ciphertext ---------------------------------------------------------------------------------------


async def test_row_28_bytes_that_were_changed_burn_no_open(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob, plaintext=PICTURE * 100)
        capability = await mallory.grant(session, forged)
        honest = forged.ciphertext
        for place in (0, 40, 64, 70_000, len(honest) - 1):
            changed = bytearray(honest)
            changed[place] ^= 1
            forged.ciphertext = bytes(changed)

            with pytest.raises(TamperedError):
                await bob.open(capability)

        assert not [one for one in mallory.heard if isinstance(one, OpenRequest)]
        forged.ciphertext = honest
        assert (await bob.open(capability))["opens_left"] == 9


@pytest.mark.parametrize("sent", ["less", "more", "nothing", "announced_more"])
async def test_row_28_another_length_than_the_manifests_burns_no_open(
    tmp_path: Path, sent: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob, plaintext=PICTURE * 100)
        capability = await mallory.grant(session, forged)
        whole_file = forged.ciphertext

        async def answer(_session: Session, request: Request) -> Reply:
            assert isinstance(request, FetchRendition)
            rest = whole_file[request.offset :]
            data = {
                "less": rest[:-1],
                "more": rest + b"!",
                "nothing": b"",
                "announced_more": rest,
            }[sent]
            length = len(rest) + (sent == "announced_more")
            return Streamed(length=length), whole(data)

        mallory.script[FetchRendition] = answer
        with pytest.raises(SafelightError):
            await bob.open(capability)

        assert not [one for one in mallory.heard if isinstance(one, OpenRequest)]
        del mallory.script[FetchRendition]
        forged.ciphertext = whole_file

        async def from_offset(_session: Session, request: Request) -> Reply:
            assert isinstance(request, FetchRendition)
            return streamed(whole_file[request.offset :])

        mallory.script[FetchRendition] = from_offset
        assert (await bob.open(capability))["opens_left"] == 9


async def test_row_28_what_another_issuer_sent_under_the_same_hash_spoils_nothing(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        enlisted(alice) as mallory,
    ):
        (image,) = await alice.import_pictures(1, size=(1600, 1067))
        (granted,) = await alice.share([image["id"]], ["bob"], rendition="preview:1500")
        await bob.wait_ready(granted["id"])
        honest = await bob.manifest(granted["id"])
        session = await mallory.dial(bob)
        forged = mallory.forge(
            bob,
            manifest={
                "ciphertext_sha256": honest.ciphertext_sha256,
                "ciphertext_bytes": honest.ciphertext_bytes,
                "blob_commitment": honest.blob_commitment,
            },
        )
        capability = await mallory.grant(session, forged)

        async def half(_session: Session, _request: Request) -> Reply:
            length = honest.ciphertext_bytes
            return Streamed(length=length), whole(bytes(length // 2))

        mallory.script[FetchRendition] = half
        with pytest.raises(SafelightError):
            await bob.open(capability)

        assert (await bob.open(granted["id"]))["opens_left"] == 9


async def test_row_41_a_rendition_of_impossible_size_is_refused_before_it_is_fetched(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        await session.request(Deliver(sealed=forged.sealed))
        endless = msgspec.structs.replace(forged.manifest, ciphertext_bytes=sealed_length(2**40))

        message = DeliverManifest(signed=mallory.sign_anything(SignatureType.MANIFEST, endless))

        assert await refused(session.request(message)) == "unknown"


async def test_row_41_lists_are_fetched_a_few_at_a_time(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        waiting, most = 0, 0
        go_on = asyncio.Event()

        async def slow(_session: Session, request: Request) -> Reply:
            nonlocal waiting, most
            assert isinstance(request, FetchList)
            waiting += 1
            most = max(most, waiting)
            await asyncio.wait_for(go_on.wait(), 10)
            waiting -= 1
            return streamed(mallory.forged[request.capability_hash].sealed_list)

        mallory.script[FetchList] = slow
        capabilities = [mallory.forge(bob) for _ in range(40)]
        delivering = asyncio.gather(
            *(session.request(Deliver(sealed=one.sealed)) for one in capabilities)
        )
        await asyncio.sleep(0.7)
        go_on.set()
        await delivering

        assert len(await bob.node.inbox.held()) == 40
        # Each may hold 40 MiB of names.
        assert most <= 4


async def test_row_41_an_issuer_that_stalls_holds_up_nobody_else(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        mallory.script[FetchList] = never
        stalled = [
            asyncio.create_task(refused(session.request(Deliver(sealed=mallory.forge(bob).sealed))))
            for _ in range(40)
        ]
        (image,) = await alice.import_pictures(1)

        (granted,) = await alice.share([image["id"]], ["bob"])

        await bob.wait_ready(granted["id"])
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)


async def never(_session: Session, _request: Request) -> Reply:
    """Announce bytes that never come."""
    return Streamed(length=1000), no_bytes()


async def no_bytes() -> AsyncIterator[bytes]:
    """Yield nothing for an hour."""
    await asyncio.sleep(3600)
    yield b""


async def test_a_list_of_another_length_or_content_is_refused_and_nothing_is_stored(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        for change in (
            {"list_key": bytes(32)},
            {"list_sealed_sha256": bytes(32)},
            {"list_sealed_bytes": 100},
            {"list_sealed_bytes": 60 * MIB},
            {"list_sealed_bytes": 2**50},
        ):
            forged = mallory.forge(bob, capability=change)
            assert await refused(session.request(Deliver(sealed=forged.sealed))) == "unknown"
        other = mallory.forge(bob)
        forged = mallory.forge(bob)
        forged.sealed_list = other.sealed_list
        assert await refused(session.request(Deliver(sealed=forged.sealed))) == "unknown"

        assert await bob.node.inbox.held() == []


# Ends ---------------------------------------------------------------------------------------------


async def test_an_ended_capability_keeps_no_ciphertext_and_no_secret(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        revoked, expiring = mallory.forge(bob), mallory.forge(bob, expires_at=CLOCK.now() + 60_000)
        for forged in (revoked, expiring):
            capability = await mallory.grant(session, forged)
            await bob.open(capability)
        files = set(bob.home.glob("blobs/??/*"))
        assert await blobs_of_kind(bob, "received") == 2

        await session.request(revocation(mallory, revoked.hash))
        bob.clock.advance(60_001 + MAX_CLOCK_STEP_BACK_MS)
        bob.node.dropping.deadlines_changed()

        async def ended() -> bool:
            return await blobs_of_kind(bob, "received") == 0

        await eventually(ended)
        await asyncio.sleep(0.1)
        assert not files & set(bob.home.glob("blobs/??/*"))
        assert not bob.node.pixels._shown
        query = "SELECT count(*) FROM held WHERE holder_share IS NOT NULL"
        assert await bob.read(lambda db: db.execute(query).fetchone()) == (0,)


async def test_a_revocation_during_a_fetch_leaves_no_ciphertext(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        capability = await mallory.grant(session, forged)

        async def revoke_meanwhile(session: Session, _request: Request) -> Reply:
            await session.request(revocation(mallory, forged.hash))
            return streamed(forged.ciphertext)

        mallory.script[FetchRendition] = revoke_meanwhile
        with pytest.raises(SafelightError):
            await bob.open(capability)

        assert await blobs_of_kind(bob, "received") == 0


async def test_a_revocation_during_an_open_leaves_no_pixels(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        capability = await mallory.grant(session, forged)

        async def revoke_meanwhile(session: Session, request: Request) -> Reply:
            assert isinstance(request, OpenRequest)
            await session.request(revocation(mallory, forged.hash))
            return mallory.release(session, request)

        mallory.script[OpenRequest] = revoke_meanwhile
        with pytest.raises(Refused):
            await bob.open(capability)

        assert not bob.node.pixels._shown


async def test_what_nobody_needs_any_more_is_not_remembered(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        for _ in range(5):
            forged = mallory.forge(bob)
            capability = await mallory.grant(session, forged)
            opened = await bob.open(capability)
            bob.node.viewing.close_open(opened["open_id"])
            await session.request(revocation(mallory, forged.hash))

        assert not bob.node.fetching._running
        assert not bob.node.viewing._opening


# Numbers ------------------------------------------------------------------------------------------

FAR = 2**53 - 1


async def test_times_beyond_the_calendar_are_refused_and_are_no_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        honest = mallory.forge(bob)
        terms = msgspec.structs.replace(honest.terms, expires_at=FAR)
        signed = mallory.sign_anything(SignatureType.CAPABILITY, terms)
        capability = msgspec.structs.replace(honest.capability, signed_terms=signed)
        endless = mallory.seal(capability, bob.node.context.identity.public)
        live = mallory.forge(bob)
        await mallory.grant(session, live)

        answers = [
            await refused(session.request(Deliver(sealed=endless))),
            await refused(
                session.request(
                    DeliverStatement(
                        statement="amendment",
                        signed=mallory.sign_anything(
                            SignatureType.AMENDMENT,
                            msgspec.structs.replace(_amendment(live.hash), expires_at=FAR),
                        ),
                    )
                )
            ),
        ]

        assert len(await bob.node.inbox.held()) == 1
        assert "fault" not in capfd.readouterr().err
        assert answers == ["unknown", "unknown"]


async def test_amendments_never_take_away_and_a_gap_or_repeat_changes_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        await mallory.grant(session, forged)
        later = amendment(mallory, forged.hash, sequence=7, opens_added=5)
        assert await refused(session.request(later)) == "taken"
        after = await bob.node.inbox.held()
        head = await bob.read(log_store.head)

        for _ in range(3):
            assert await refused(session.request(later)) == "taken"
            assert (
                await refused(session.request(amendment(mallory, forged.hash, sequence=6)))
                == "taken"
            )
        shorter = amendment(mallory, forged.hash, sequence=8, expires_at=CLOCK.now(), opens_added=9)
        assert await refused(session.request(shorter)) == "unknown"

        assert await bob.node.inbox.held() == after
        assert await bob.read(log_store.head) == head


async def test_row_41_amendments_do_not_fill_the_log(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        await mallory.grant(session, forged)
        end = forged.terms.expires_at

        for sequence in range(1, 201):
            message = amendment(mallory, forged.hash, sequence=sequence, expires_at=end + sequence)
            await refused(session.request(message))

        assert len(await bob.events("amended")) <= 100


async def test_row_41_capabilities_that_are_over_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.receiving._MOST_HELD", 1_000)
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        over: dict[str, Any] = {
            "not_before": CLOCK.now() - 9_000_000,
            "expires_at": CLOCK.now() - 8_000_000,
        }
        names = tuple(f"{number}.jpg" for number in range(500))

        answers = [
            await refused(
                session.request(Deliver(sealed=mallory.forge(bob, names=names, **over).sealed))
            )
            for _ in range(4)
        ]

        assert answers == ["taken", "taken", "policy", "policy"]
        query = "SELECT count(*) FROM held_images"
        assert await bob.read(lambda db: db.execute(query).fetchone()) == (1_000,)


async def test_a_saved_picture_with_the_longest_name_is_a_picture_like_any_other(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        await mallory.dial(alice)
        (_, data), *_ = made_pictures(1, (64, 48))
        forged = mallory.forge(bob, names=("x" * 256,), plaintext=data)
        capability = await mallory.grant(session, forged)

        await bob.node.viewing.save(
            capability=capability, images=[], out=None, factor=None, progress=lambda *_: None
        )

        (image,) = await bob.node.library.images(query="", album=None, tag=None, limit=9)
        (granted,) = await bob.share([image["id"]], ["alice"])
        assert (await alice.wait_ready(granted["id"]))["images"][0]["name"].startswith("xxx")


@pytest.mark.skipif(not os.environ.get("SAFELIGHT_LONG"), reason="waits for half a minute")
@pytest.mark.parametrize("kind", [OpenRequest, FetchRendition])
async def test_an_issuer_that_never_answers_does_not_hold_a_command_for_ever(
    tmp_path: Path, kind: type
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob)
        capability = await mallory.grant(session, forged)

        async def stall(_session: Session, request: Request) -> Reply:
            if isinstance(request, OpenRequest):
                await asyncio.sleep(3600)
            return Streamed(length=len(forged.ciphertext)), no_bytes()

        mallory.script[kind] = stall

        async with asyncio.timeout(35):
            with pytest.raises(SafelightError):
                await bob.open(capability)
