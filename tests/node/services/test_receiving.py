"""What a holder takes in: resumed transfers, tampered bytes, foreign statements."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from node.errors import TamperedError, UnreachableError
from node.vault.errors import StorageFullError
from node.vault.records import outbox
from protocol.capability.statements import (
    Amendment,
    Revocation,
    sign_amendment,
    sign_revocation,
)
from protocol.errors import Reason, Refused, SafelightError
from protocol.messages import (
    Deliver,
    DeliverManifest,
    DeliverStatement,
    Done,
    FetchList,
    FetchRendition,
    Message,
    Streamed,
)
from tests.node.services.conditions import blob_files, cut, execute, flip_byte
from tests.node.services.team import Person, eventually, join, new_person, team
from tests.node.vault.disks import tmpfs


async def share_noise(alice: Person, bob: Person, edge: int) -> tuple[str, bytes]:
    """Share the original of a picture that does not compress; return its id and bytes."""
    file = io.BytesIO()
    Image.frombytes("RGB", (edge, edge), os.urandom(edge * edge * 3)).save(
        file, "PNG", compress_level=0
    )
    image = await alice.node.library.import_bytes(
        file.getvalue(), name="noise.png", classification="internal", provenance=b""
    )
    (shared,) = await alice.share([image["id"]], ["bob"], rendition="original")
    await bob.wait_ready(shared["id"])
    return str(shared["id"]), file.getvalue()


async def fetch(person: Person, capability: str) -> dict[str, Any]:
    row = await person.node.inbox.resolve(capability)
    images = await person.node.inbox.resolve_images(row, [])
    return await person.node.fetching.fetch(row, images, progress=lambda *_: None)


def part(person: Person) -> Path | None:
    """Return the file in which a transfer gathers."""
    folder = person.node.context.vault.home.blobs / "incoming"
    return next((path for path in folder.rglob("*") if path.is_file()), None)


async def cut_after(person: Person, capability: str, size: int) -> int:
    """Fetch, and lose the network once this many bytes are on disk; return how many stay."""
    fetching = asyncio.create_task(fetch(person, capability))
    while not ((path := part(person)) and path.stat().st_size >= size):
        assert not fetching.done()
        await asyncio.sleep(0)
    cut(person)
    with pytest.raises(UnreachableError):
        await fetching
    path = part(person)
    assert path is not None
    return path.stat().st_size


# Transfers ------------------------------------------------------------------------------------


async def test_a_fetch_that_was_cut_goes_on_where_it_stopped_and_costs_only_the_rest(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability, original = await share_noise(alice, bob, 2_600)
        (sealed,) = await blob_files(alice, "rendition")
        total = sealed.stat().st_size
        assert total > 20_000_000

        first = await cut_after(bob, capability, 3_000_000)
        second = await cut_after(bob, capability, first + 3_000_000)
        await bob.restart()
        assert 3_000_000 <= first < second < total
        # What has come once is never asked for again: it would not be good any more.
        flip_byte(sealed, second // 2)

        assert (await fetch(bob, capability))["fetched"] == 1

        assert part(bob) is None
        assert await alice.events("released") == []
        opened = await bob.open(capability)
        assert opened["bytes"] == len(original)
        assert bob.node.pixels.data(bytes.fromhex(opened["open_id"])) == original


async def test_bytes_that_are_not_the_manifests_are_refused_before_an_open_is_spent(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability, _ = await share_noise(alice, bob, 300)
        (sealed,) = await blob_files(alice, "rendition")
        good = sealed.read_bytes()

        for damage in (b"\x00", good[:-1] + b"\x00", b"SLB2" + good[4:], bytes(len(good))):
            sealed.write_bytes(damage.ljust(len(good), b"\x00"))
            with pytest.raises(TamperedError):
                await bob.open(capability)
            assert part(bob) is None

        assert await alice.events("released") == []
        assert await blob_files(bob, "received") == []
        sealed.write_bytes(good)
        assert (await bob.open(capability))["opens_left"] == 9


@pytest.mark.parametrize("what", ["short", "missing"])
async def test_an_issuer_who_lacks_its_bytes_costs_no_open(tmp_path: Path, what: str) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability, _ = await share_noise(alice, bob, 300)
        (sealed,) = await blob_files(alice, "rendition")
        good = sealed.read_bytes()
        if what == "short":
            sealed.write_bytes(good[: len(good) // 2])
        else:
            sealed.unlink()

        with pytest.raises(SafelightError):
            await bob.open(capability)

        assert await alice.events("released") == []
        sealed.write_bytes(good)
        assert (await bob.open(capability))["opens_left"] == 9


async def test_a_part_that_was_damaged_meanwhile_is_thrown_away(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability, _ = await share_noise(alice, bob, 1_500)
        await cut_after(bob, capability, 1_000_000)
        path = part(bob)
        assert path is not None
        flip_byte(path, 500)

        with pytest.raises(TamperedError):
            await fetch(bob, capability)

        assert part(bob) is None
        assert (await fetch(bob, capability))["fetched"] == 1


async def test_fetching_again_or_at_once_transfers_once(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability, _ = await share_noise(alice, bob, 400)

        results = await asyncio.gather(*(fetch(bob, capability) for _ in range(5)))

        assert [one["fetched"] for one in results] == [1] * 5
        assert len(await blob_files(bob, "received")) == 1
        (held,) = await bob.node.inbox.held()
        assert held["images"][0]["fetched"]


async def test_two_capabilities_for_the_same_bytes_end_apart(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        first, second = [(await alice.share([image["id"]], ["bob"]))[0]["id"] for _ in range(2)]
        for capability in (first, second):
            await bob.wait_ready(capability)
        await asyncio.gather(fetch(bob, first), fetch(bob, second))

        await alice.node.ending.revoke(capabilities=[first], to=None, album=None)

        await eventually(lambda: _has_state(bob, first, "revoked"))
        assert (await bob.open(second))["opens_left"] == 9
        assert (await bob.node.check(read_data=True, progress=lambda *_: None))["ok"]


async def _has_state(person: Person, capability: str, state: str) -> bool:
    inbox = await person.node.inbox.held()
    return any(one["id"] == capability and one["state"] == state for one in inbox)


async def test_a_fetch_says_what_is_not_ready_and_refuses_what_is_over(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await alice.node.rendering.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        await eventually(bob.node.inbox.held)

        assert await fetch(bob, shared["id"]) == {
            "fetched": 0,
            "not_ready": 1,
            "leased": 0,
            "until": None,
        }
        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        await eventually(lambda: _has_state(bob, shared["id"], "revoked"))
        with pytest.raises(Refused) as refused:
            await fetch(bob, shared["id"])
        assert refused.value.reason is Reason.REVOKED


# Hostile members ------------------------------------------------------------------------------


async def refused(person: Person, to: Person, message: Message) -> Reason:
    """Return why a member refuses a message."""
    link = await person.node.peering.reach(to.me, 45)
    with pytest.raises(Refused) as no:
        await link.session.request(message)
    return no.value.reason


async def test_nobody_but_the_issuer_changes_ends_or_completes_a_capability(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        row = await bob.node.inbox.resolve(shared["id"])
        (before,) = await bob.node.inbox.held()
        await carol.node.membership.add_addresses(bob.me, bob.node.addresses(), source="added")
        later = Amendment(
            capability_hash=row.capability_hash,
            sequence=1,
            expires_at=row.expires_at + 1,
            opens_added=5,
            time=1,
        )
        end = Revocation(capability_hash=row.capability_hash, time=1)
        team_id = alice.node.membership.team_id
        (held_image,) = await bob.node.inbox.resolve_images(row, [])
        assert held_image.manifest is not None

        for signer in (alice, carol):
            keys = signer.node.context.identity
            for kind, signed in (
                ("amendment", sign_amendment(later, issuer=keys, team_id=team_id)),
                ("revocation", sign_revocation(end, issuer=keys, team_id=team_id)),
                ("revocation", sign_revocation(end, issuer=keys, team_id=bytes(32))),
            ):
                statement = DeliverStatement(statement=kind, signed=signed)
                assert await refused(carol, bob, statement) is Reason.UNKNOWN
        for message in (
            DeliverManifest(signed=held_image.manifest),
            DeliverManifest(signed=b""),
            DeliverStatement(statement="receipt", signed=b"\x00" * 100),
            DeliverStatement(statement="something", signed=b""),
            Deliver(sealed=b"\xff" * 500),
        ):
            assert await refused(carol, bob, message) is Reason.UNKNOWN

        assert await bob.node.inbox.held() == [before]
        assert (await bob.open(shared["id"]))["opens_left"] == 9


async def test_a_statement_that_takes_something_away_is_refused_and_an_old_one_ignored(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        row = await bob.node.inbox.resolve(shared["id"])

        def amendment(sequence: int, expires_at: int, opens_added: int) -> DeliverStatement:
            value = Amendment(
                capability_hash=row.capability_hash,
                sequence=sequence,
                expires_at=expires_at,
                opens_added=opens_added,
                time=1,
            )
            signed = sign_amendment(
                value,
                issuer=alice.node.context.identity,
                team_id=alice.node.membership.team_id,
            )
            return DeliverStatement(statement="amendment", signed=signed)

        link = await alice.node.peering.reach(bob.me, 45)
        newest = amendment(3, row.expires_at + 1_000, 5)
        assert await link.session.request(newest) == Done()
        assert await link.session.request(newest) == Done()
        assert await link.session.request(amendment(2, row.expires_at, 0)) == Done()
        assert await refused(alice, bob, amendment(4, row.expires_at, 5)) is Reason.UNKNOWN
        assert await refused(alice, bob, amendment(4, row.expires_at + 1_000, 4)) is Reason.UNKNOWN

        after = await bob.node.inbox.resolve(shared["id"])
        assert (after.expires_at, after.opens_added, after.amendments) == (
            row.expires_at + 1_000,
            5,
            3,
        )
        assert len(await bob.events("amended")) == 1


async def test_a_capability_that_comes_again_or_passed_on_is_the_same_or_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        waiting = await alice.read(lambda db: outbox.waiting(db, bob.me, limit=1))
        sealed = waiting[0].body
        await bob.restart()
        await bob.wait_ready(shared["id"])
        await carol.node.membership.add_addresses(bob.me, bob.node.addresses(), source="added")

        link = await alice.node.peering.reach(bob.me, 45)
        assert await link.session.request(Deliver(sealed=sealed)) == Done()
        assert await refused(carol, bob, Deliver(sealed=sealed)) is Reason.UNKNOWN

        assert len(await bob.node.inbox.held()) == 1
        assert len(await bob.events("received")) == 1


async def test_only_its_holder_gets_an_image_list_and_no_offset_is_out_of_the_file(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        row = await bob.node.inbox.resolve(shared["id"])
        manifest = await bob.manifest(shared["id"])
        length = manifest.ciphertext_bytes

        assert (
            await refused(carol, alice, FetchList(capability_hash=row.capability_hash))
            is Reason.UNKNOWN
        )
        for offset in (-1, length + 1, 2**63):
            message = FetchRendition(rendition_id=manifest.rendition_id, offset=offset)
            assert await refused(bob, alice, message) is Reason.UNKNOWN
        assert (
            await refused(bob, alice, FetchRendition(rendition_id=bytes(32), offset=0))
            is Reason.UNKNOWN
        )
        link = await carol.node.peering.reach(alice.me, 45)
        for offset in (0, length - 1, length):
            answer, stream = await link.session.request_stream(
                FetchRendition(rendition_id=manifest.rendition_id, offset=offset)
            )
            assert answer == Streamed(length=length - offset)
            assert sum([len(piece) async for piece in stream]) == length - offset


async def test_an_issuer_whose_list_is_not_the_signed_one_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await bob.node.close()
        await alice.share([image["id"]], ["bob"])
        (first,) = await blob_files(alice, "image_list")
        flip_byte(first)
        await bob.restart()

        async def settled() -> bool:
            left = await alice.read(lambda db: db.execute("SELECT 1 FROM outbox").fetchall())
            return not left

        await eventually(settled)
        assert await bob.node.inbox.held() == []
        assert await bob.events("received") == []


async def test_the_inbox_of_a_member_who_left_no_name_still_lists(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        await execute(bob, "UPDATE held SET issuer = ?", b"x" * 32)

        (held,) = await bob.node.inbox.held()

        assert len(held["issuer"]) == 9
        with pytest.raises(Refused) as no:
            await bob.open(shared["id"])
        assert no.value.reason is Reason.NOT_MEMBER


@pytest.mark.root
async def test_a_transfer_that_does_not_fit_on_the_disk_leaves_room_for_everything_else(
    tmp_path: Path,
) -> None:
    with tmpfs(tmp_path, kib=9_000) as disk:
        async with team(tmp_path / "people", "alice") as (alice,):
            bob = await new_person(disk, "bob", alice.imaging)
            try:
                await join(alice, bob)
                await bob.node.peering.reach(alice.me, 45)
                capability, _ = await share_noise(alice, bob, 2_600)
                with pytest.raises(StorageFullError):
                    await fetch(bob, capability)

                (image,) = await alice.import_pictures(1)
                (small,) = await alice.share([image["id"]], ["bob"])
                await bob.wait_ready(small["id"])
                assert (await bob.open(small["id"]))["opens_left"] == 9
            finally:
                await bob.node.close()
