"""A node that was restored or copied goes on with a new log (architecture 4.7)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.errors import TamperedError, UsageError
from node.services.findings import State
from node.vault import log_store
from node.vault.records import team as rows
from protocol.audit.checkpoint import origin_of, parse_checkpoint_untrusted
from protocol.audit.log_keys import verify_log_key_untrusted
from protocol.audit.note import split_note_untrusted
from protocol.audit.tree import leaf_hash
from protocol.capability.statements import Receipt, sign_receipt
from protocol.errors import Refused, SafelightError
from tests.node.services.team import Person, eventually, start_node, team


async def back_up(person: Person, folder: Path) -> None:
    """Copy a person's home as a backup has it: without keyslots."""
    await person.node.close()
    shutil.copytree(person.home, folder)
    (folder / "keyslots").unlink()
    await person.restart()


async def restore(person: Person, folder: Path) -> None:
    """Put a copy of a person's home in the place of the one there is."""
    await person.node.close()
    shutil.rmtree(person.home)
    shutil.copytree(folder, person.home)
    person.node = await start_node(person.home, person.clock, person.imaging)


async def begun(person: Person, number: int = 1) -> None:
    """Wait until a person's node appends to a log of a number."""

    async def is_begun() -> bool:
        described = person.node.incarnations.describe()
        return (described["incarnation"], described["state"]) == (number, "current")

    await eventually(is_begun, seconds=60)


async def granted(alice: Person, holder: Person, **terms: Any) -> str:
    """Let alice share a picture, and wait until it can be opened."""
    image, *_ = await alice.import_pictures(1)
    (shared,) = await alice.share([image["id"]], [holder.name], **terms)
    await holder.wait_ready(shared["id"], seconds=60)
    return str(shared["id"])


async def linked(one: Person, other: Person) -> None:
    """Wait until two people have greeted each other, whoever dials."""
    await other.node.membership.add_addresses(one.me, one.node.addresses(), source="added")

    async def both() -> bool:
        reached = (one.node.peering.link(other.me), other.node.peering.link(one.me))
        return None not in reached

    await eventually(both, seconds=60)


async def test_a_restored_node_goes_on_with_a_new_log_that_cites_the_old_one(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await granted(alice, bob)
        await back_up(alice, tmp_path / "older")
        await linked(alice, bob)
        await bob.open(capability)
        await alice.import_pictures(3)
        await bob.node.peering.ping(alice.me)
        await alice.node.peering.ping(bob.me)
        seen = await bob.read(lambda db: rows.peer_head(db, origin_of(alice.me)))
        assert seen is not None

        await restore(alice, tmp_path / "older")
        await begun(alice)

        # The new log begins by citing what a member knew of the old one.
        (first,) = await alice.events("incarnation_started")
        assert first["detail"]["incarnation"] == "1"
        cited = parse_checkpoint_untrusted(
            split_note_untrusted(first["detail"]["previous"].encode())[0]
        )
        assert (cited.origin, cited.size) == (origin_of(alice.me), seen[0])
        # Dealings go on under it, and what was seen of the old one stays.
        await linked(alice, bob)
        again = await granted(alice, bob)
        opened = await bob.open(again)
        assert opened["log"]["origin"] == origin_of(alice.me, 1)
        assert await bob.read(lambda db: rows.peer_head(db, origin_of(alice.me))) == seen
        assert await bob.read(lambda db: rows.peer_head(db, origin_of(alice.me, 1))) is not None
        # Both logs verify, and people read both.
        assert await alice.read(log_store.incarnations) == [0, 1]
        assert await alice.events("issued") != await alice.events("incarnation_started")
        assert [one["holder"] for one in await issued(alice)] == ["bob", "bob"]


async def issued(person: Person) -> list[dict[str, Any]]:
    """Return what a person's node granted, as `shares` lists it."""
    return await person.node.granted.shares(album=None, to=None, state=None)


async def test_what_a_restored_node_had_granted_is_over_and_its_holder_is_told(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await granted(alice, bob)
        await back_up(alice, tmp_path / "older")
        await linked(alice, bob)

        await restore(alice, tmp_path / "older")
        assert alice.node.incarnations.describe()["state"] == "waiting"
        await begun(alice)
        await linked(alice, bob)

        async def told() -> bool:
            (held,) = await bob.node.inbox.held()
            return bool(held["state"] == "revoked")

        await eventually(told, seconds=60)
        (share,) = await issued(alice)
        assert share["state"] == "lapsed"
        with pytest.raises(SafelightError):
            await bob.open(capability)
        finding = alice.node.incarnations.finding()
        assert (finding.state, finding.code) == (State.WARNING, "new_log")
        assert "shares --reissue" in finding.hint
        # Nothing of it comes back with the next start.
        await alice.restart()
        assert alice.node.incarnations.describe()["incarnation"] == 1
        assert not alice.node.witnessing.behind


async def test_with_nobody_to_ask_a_restored_node_appends_and_releases_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await back_up(alice, tmp_path / "older")
        await bob.node.close()
        await restore(alice, tmp_path / "older")

        await alice.import_pictures(1)

        finding = alice.node.incarnations.finding()
        assert (finding.state, finding.code) == (State.PROBLEM, "restored")
        assert alice.node.incarnations.notice() is not None
        assert alice.node.incarnations.describe()["incarnation"] == 0
        with pytest.raises((UsageError, SafelightError)):
            await alice.node.log_keys.roll()
        bob.node = await start_node(bob.home, bob.clock, bob.imaging)
        await linked(alice, bob)
        await begun(alice)


async def test_a_receipt_names_the_log_that_the_release_stands_in(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await granted(alice, bob)
        opened = await bob.open(capability)
        await eventually(lambda: alice.events("opened"), seconds=60)
        open_id = bytes.fromhex(opened["open_id"])
        (release,) = await alice.events("released")
        row = await bob.node.inbox.resolve(capability)
        entry = await alice.read(lambda db: log_store.entry(db, release["index"]))
        assert entry is not None
        await back_up(alice, tmp_path / "newest")
        await restore(alice, tmp_path / "newest")
        await begun(alice)
        # The new log is made longer than that, so that it has an entry of this index too.
        await alice.import_pictures(12)
        named = Receipt(
            event="saved",
            capability_hash=row.capability_hash,
            image_id=bytes.fromhex(opened["image"]),
            open_id=open_id,
            origin=origin_of(alice.me),
            index=release["index"],
            leaf_hash=leaf_hash(entry.entry),
            time=alice.clock.now(),
        )
        elsewhere = await alice.read(lambda db: log_store.entry(db, release["index"]))
        assert elsewhere is not None
        assert (entry.incarnation, elsewhere.incarnation) == (0, 1)
        confused = [
            msgspec.structs.replace(named, origin=origin_of(alice.me, 1)),
            msgspec.structs.replace(
                named, origin=origin_of(alice.me, 1), leaf_hash=leaf_hash(elsewhere.entry)
            ),
            msgspec.structs.replace(named, leaf_hash=leaf_hash(elsewhere.entry)),
        ]
        holder = bob.node.context.identity
        team_id = bob.node.membership.team_id

        for receipt in confused:
            with pytest.raises(Refused):
                await alice.node.auditing.take_receipt(
                    holder.public, sign_receipt(receipt, holder=holder, team_id=team_id)
                )
        await alice.node.auditing.take_receipt(
            holder.public, sign_receipt(named, holder=holder, team_id=team_id)
        )

        assert len(await alice.events("saved")) == 1


async def test_a_copy_whose_other_has_begun_a_new_log_releases_nothing_and_begins_none(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await alice.node.close()
        shutil.copytree(alice.home, tmp_path / "copy")
        await alice.restart()
        await linked(alice, bob)
        await alice.import_pictures(2)
        await bob.node.peering.ping(alice.me)
        await alice.node.peering.ping(bob.me)
        await alice.node.close()
        first = alice.home
        # The copy is started, and is told that its log had gone on.
        alice.home = tmp_path / "copy"
        alice.node = await start_node(alice.home, alice.clock, alice.imaging)
        await begun(alice)
        await linked(alice, bob)
        await alice.node.close()

        alice.home = first
        alice.node = await start_node(alice.home, alice.clock, alice.imaging)

        async def knows() -> bool:
            return bool(alice.node.incarnations.describe()["state"] == "copied")

        await eventually(knows, seconds=60)
        await alice.restart()
        assert alice.node.incarnations.describe()["state"] == "copied"
        assert alice.node.witnessing.behind
        assert alice.node.incarnations.describe()["incarnation"] == 0
        assert "another copy" in alice.node.incarnations.finding().message


async def test_a_new_log_is_announced_by_the_identity_and_known_to_whoever_comes_later(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, _, carol):
        await back_up(alice, tmp_path / "older")
        await carol.node.close()
        await restore(alice, tmp_path / "older")
        await begun(alice)

        carol.node = await start_node(carol.home, carol.clock, carol.imaging)
        await linked(alice, carol)

        keys = await carol.node.log_keys.keys_of(alice.node.context.identity.public)
        assert keys.origin == origin_of(alice.me, 1)
        statement = verify_log_key_untrusted(
            keys.statements[0], signer=alice.node.context.identity.public
        )
        assert (statement.incarnation, statement.epoch) == (1, 0)
        capability = await granted(alice, carol)
        try:
            await carol.open(capability)
        except (TamperedError, Refused) as error:
            pytest.fail(f"{error}")
