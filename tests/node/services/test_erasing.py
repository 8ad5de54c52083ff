"""Erasing: the values are in no file of the home any more, and every proof is as good as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.services import erasing as service
from node.vault import log_store
from node.vault.connection import open_index
from node.vault.records import Connection
from node.vault.records import erasing as rows
from node.vault.records import grants as grant_rows
from protocol.audit.checkpoint import open_checkpoint_untrusted, origin_of
from protocol.audit.proof import verify_inclusion
from protocol.audit.tree import leaf_hash
from protocol.capability.terms import parse_terms_untrusted
from tests.node.services.conditions import alone
from tests.node.services.team import Person, eventually, team
from tests.node.vault.pages import plain_pages

NAME = "Quillfeather"
TERMS = "canaryterms44e8"


async def erase(person: Person, subject: str, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"kind": None, "dry_run": False, **options}
    return await person.node.erasing.erase(subject=subject, **settings)


async def entries(person: Person) -> list[dict[str, Any]]:
    found = await person.node.log_reading.entries(who=None, image=None, since=None, limit=100_000)
    listed: list[dict[str, Any]] = found["entries"]
    return listed


async def stored(person: Person) -> list[bytes]:
    """Return the exact entries of the log."""
    return await person.read(lambda db: [one.entry for one in log_store.walk(db)])


async def key_of(person: Person, kind: str, reference: bytes) -> bytes:
    row = await person.read(lambda db: rows.subject(db, kind, reference))
    assert row is not None
    return row.key


async def every_entry_is_proven(person: Person) -> None:
    """Check the inclusion proof of each entry under the newest head, as a stranger would."""

    def query(db: Connection) -> None:
        head = log_store.head(db)
        assert head is not None
        public = person.node.context.identity.public
        checkpoint = open_checkpoint_untrusted(
            head.note, origin_of(public.fingerprint), public.log_key
        )
        for one in log_store.walk(db):
            proof = log_store.inclusion_proof(db, one.index, head.size)
            leaf = leaf_hash(one.entry)
            verify_inclusion(one.index, head.size, leaf, proof, checkpoint.root)

    await person.read(query)


async def tables(person: Person) -> dict[str, bytes]:
    """Return every value of each table of the index, those of the search index too."""

    def query(db: Connection) -> dict[str, bytes]:
        found = {}
        names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in names:
            rows = db.execute(f"SELECT * FROM {table}").fetchall()
            cells = [one for row in rows for one in row]
            found[table] = b"\n".join(
                one if isinstance(one, bytes) else str(one).encode() for one in cells
            )
        return found

    return await person.read(query)


async def dumped(person: Person) -> bytes:
    return b"\n".join((await tables(person)).values())


async def tables_with(person: Person, canary: bytes) -> set[str]:
    """Return the tables in which some bytes stand."""
    return {table for table, data in (await tables(person)).items() if canary in data}


def pages(person: Person) -> bytes:
    vault = person.node.context.vault
    return b"".join(plain_pages(vault.home.index, vault.keys.index))


def files(person: Person) -> bytes:
    """Return every file of the home as it is on disk, names included."""
    found = [one for one in person.home.rglob("*") if one.is_file()]
    return b"\n".join(str(one).encode() + one.read_bytes() for one in found)


async def shared_and_opened(alice: Person, holder: Person, **terms: Any) -> str:
    (image,) = await alice.import_pictures(1)
    (capability,) = await alice.share([image["id"]], [holder.name], **terms)
    await holder.wait_ready(capability["id"])
    await holder.open(capability["id"])

    async def receipted() -> bool:
        return bool(await alice.events("opened"))

    await eventually(receipted)
    return str(capability["id"])


async def removed(alice: Person, name: str) -> None:
    """Remove a member, and wait until what was granted to them has ended."""
    await alice.node.administering.remove(name)

    async def ended() -> bool:
        found = await alice.read(grant_rows.grants)
        return all(one.ended_at is not None for one in found)

    await eventually(ended)


async def test_t19_t20_a_former_member_is_in_no_file_and_every_proof_stays_valid(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob", NAME) as (alice, _, carol):
        await shared_and_opened(alice, carol, terms=TERMS)
        await removed(alice, NAME)
        key = await key_of(alice, "member", carol.me)
        before = await stored(alice)
        assert NAME in str(await entries(alice))
        issued_at = (await alice.events("opened"))[-1]["time"]
        assert TERMS.encode() in await dumped(alice)
        assert key in pages(alice)

        told = await erase(alice, NAME)

        assert told["subject"]["kind"] == "person"
        assert told["subject"]["name"] == NAME
        assert (told["erased"], told["rewritten"] > 0, told["receipts"] > 0) == (True,) * 3
        assert told["values"] > told["entries"] > 5
        assert any("roster" in one for one in told["remains"])
        assert any("backups" in one for one in told["elsewhere"])
        # The roster's history is what every member verifies: it stays, as the answer says.
        log_name = origin_of(carol.me).split("/")[1].encode()
        for canary in (NAME.encode(), carol.me, log_name, key, TERMS.encode()):
            assert await tables_with(alice, canary) <= {"roster_versions"}
            assert canary not in files(alice)
        for canary in (key, TERMS.encode()):
            assert canary not in pages(alice)
        # The certificate in the roster's versions names them; no other page does.
        versions = await alice.read(
            lambda db: b"".join(
                one for (one,) in db.execute("SELECT signed FROM roster_versions").fetchall()
            )
        )
        assert pages(alice).count(NAME.encode()) <= versions.count(NAME.encode())

        after = await stored(alice)
        assert after[: len(before)] == before
        assert (await alice.node.log_verifying.verify())["ok"]
        await every_entry_is_proven(alice)
        (erased,) = await alice.events("erased")
        assert erased["detail"]["what"] == "person"
        assert erased["detail"]["pseudonym"] == told["pseudonym"]
        assert told["pseudonym"].encode() in before[-1] + b"".join(before)
        listed = await entries(alice)
        assert NAME not in str(listed)
        assert {one["actor"] for one in listed if one["event"] == "opened"} == {"erased"}

        await alice.restart()
        assert (await alice.node.log_verifying.verify())["ok"]
        for canary in (key, TERMS.encode()):
            assert canary not in pages(alice)
        (image,) = await alice.node.library.images(query="", album=None, tag=None, limit=9)
        (holder,) = (await alice.node.questions.holders(image=image["id"]))["holders"]
        assert (holder["holder"], holder["form"], holder["member"]) == ("erased", "opened", False)
        answer = await alice.node.questions.who_could(at=issued_at, image=image["id"])
        assert [one["reason"] for one in answer["could_not"]] == ["not_member"]
        assert any("1 capabilities are erased" in one for one in answer["notes"])
        shares = await alice.node.granted.shares(album=None, to=None, state=None)
        assert [one["state"] for one in shares] == ["revoked"]
        with pytest.raises(UnknownError):
            await erase(alice, NAME)


async def test_a_member_keeps_what_is_in_use_and_gets_another_pseudonym(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await shared_and_opened(alice, bob, opens=5)
        before = await alice.read(lambda db: log_store.pseudonyms(db, "member"))

        told = await erase(alice, "bob")

        assert any("roster names them" in one for one in told["remains"])
        assert any("to them or from them: 1" in one for one in told["remains"])
        assert told["rewritten"] == 0
        assert "bob" not in str(await entries(alice))
        await bob.open(capability)
        (latest,) = [one for one in await alice.events("released") if "bob" in str(one)]
        assert latest["detail"]["holder"] == "bob"
        after = await alice.read(lambda db: log_store.pseudonyms(db, "member"))
        assert {one for one, who in before.items() if who == bob.me}.isdisjoint(after)
        assert (await alice.node.log_verifying.verify())["ok"]


async def test_trying_it_out_changes_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await shared_and_opened(alice, bob)
        before, size = await dumped(alice), len(await stored(alice))

        tried = await erase(alice, "bob", dry_run=True)

        assert (tried["erased"], tried["subject"]["name"]) == (False, "bob")
        assert tried["values"] > 0
        assert (await dumped(alice), len(await stored(alice))) == (before, size)
        done = await erase(alice, "bob")
        assert {**done, "erased": False} == tried


async def test_the_words_of_a_capability_go_once_it_is_over_on_both_sides(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await shared_and_opened(alice, bob, terms=TERMS)
        live = await erase(alice, capability[:10])
        assert any("it is live" in one for one in live["remains"])
        grant = await alice.read(lambda db: grant_rows.grant(db, bytes.fromhex(capability)))
        assert grant is not None
        assert parse_terms_untrusted(grant.terms).usage_terms == TERMS
        await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)

        async def seen() -> bool:
            return bool(await bob.events("revocation_seen"))

        await eventually(seen)
        for person in (alice, bob):
            key = await key_of(person, "capability", bytes.fromhex(capability))
            told = await erase(person, capability)
            assert (told["rewritten"], told["remains"]) == (1, [])
            for canary in (TERMS.encode(), key):
                assert canary not in await dumped(person)
                assert canary not in pages(person)
            assert (await person.node.log_verifying.verify())["ok"]
        assert len(await alice.node.granted.shares(album=None, to="bob", state=None)) == 1
        assert len(await bob.node.inbox.held()) == 1


async def test_a_picture_that_is_gone_leaves_no_name_behind(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        first, second = await alice.import_pictures(2)
        in_use = await erase(alice, first["name"])
        assert in_use["values"] == 4
        assert any("in the library" in one for one in in_use["remains"])
        image_id = bytes.fromhex(second["id"])
        key = await key_of(alice, "image", image_id)

        def purge(transaction: Any) -> None:
            # What destroying a picture for good leaves of it: entries of the log, and words.
            transaction.connection.execute("DELETE FROM images WHERE image_id = ?", (image_id,))

        await alice.node.context.database.write(purge)
        assert second["name"].encode() in await dumped(alice)

        told = await erase(alice, second["id"][:8])

        assert (told["subject"]["kind"], told["values"], told["remains"]) == ("picture", 4, [])
        for canary in (second["name"].encode(), key):
            assert canary not in pages(alice)
            assert canary not in await dumped(alice)
        assert [one["name"] for one in await alice.node.library.images(
            query="picture", album=None, tag=None, limit=9
        )] == [first["name"]]  # fmt: skip
        assert (await alice.node.log_verifying.verify())["ok"]


async def test_what_names_nothing_or_several_things_or_oneself_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        folder = tmp_path / "album"
        folder.mkdir()
        (image,) = await alice.import_pictures(1)
        await alice.node.library.import_paths(
            [str(alice.home.parent / "alice-pictures")],
            album="bob", tags=[], classification="internal", progress=lambda *_: None,
        )  # fmt: skip
        with pytest.raises(AmbiguousError):
            await erase(alice, "bob")
        for text in ("nobody", "ffffffffff", ""):
            with pytest.raises(UnknownError):
                await erase(alice, text)
        with pytest.raises(UnknownError):
            await erase(alice, image["name"], kind="person")
        with pytest.raises(UnknownError):  # nothing is said of an album
            await erase(alice, "bob", kind="album")
        with pytest.raises(UsageError):
            await erase(alice, "bob", kind="house")
        with pytest.raises(UsageError):
            await erase(alice, "alice")
        assert await alice.events("erased") == []
        assert (await erase(alice, "bob", kind="person"))["erased"]


async def test_one_who_works_alone_can_erase_too(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        (image,) = await alice.import_pictures(1)
        with pytest.raises(UsageError):
            await erase(alice, "alice")

        told = await erase(alice, image["id"])

        assert told["values"] == 4
        (imported,) = [one for one in await entries(alice) if one["event"] == "imported"]
        assert imported["detail"] == dict.fromkeys(
            ("classification", "image", "name", "sha256"), "erased"
        )
        assert imported["subject"] == "erased"


async def test_it_is_said_where_older_pages_cannot_be_emptied_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_WAL_TRIES", 1)
    async with alone(tmp_path) as alice:
        (image,) = await alice.import_pictures(1)
        vault = alice.node.context.vault
        reader = open_index(vault.home.index, vault.keys.index, read_only=True)
        try:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log_entries").fetchone()

            with pytest.raises(NodeError) as caught:
                await erase(alice, image["id"])
        finally:
            reader.close()

        assert caught.value.code == "wal_busy"
        assert len(await alice.events("erased")) == 1
