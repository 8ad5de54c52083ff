"""The stored log: what an entry says, what it only commits to, and what erasing does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.vault import log_store
from node.vault.database import Database, LogDraft, LogSigner, Subject, WriteTransaction
from node.vault.errors import DamagedError
from node.vault.records import Connection
from protocol.audit.entry import Entry, commitment, decode_entry_untrusted
from protocol.audit.log_keys import OneLogKey
from protocol.audit.verify import verify_log
from protocol.errors import LimitError, LocalError
from tests.node.vault.support import START, ManualClock

ADA, BOB = b"\xaa" * 32, b"\xbb" * 32
HOLDER = Subject(kind="member", reference=BOB)
IMAGE = Subject(kind="image", reference=b"\x07" * 16)

RELEASED = LogDraft(
    event="released",
    actor=BOB,
    subjects=(HOLDER, IMAGE),
    values=(("holder", BOB, HOLDER), ("image", IMAGE.reference, IMAGE), ("name", b"sea", IMAGE)),
    nonce=b"\x09" * 16,
)


async def append(database: Database, draft: LogDraft) -> int:
    return (await database.write(lambda transaction: transaction.append(draft))).value


async def entry(database: Database, index: int) -> Entry:
    stored = await database.read(lambda db: log_store.entry(db, index))
    assert stored is not None
    return decode_entry_untrusted(stored.entry)


async def test_an_entry_carries_pseudonyms_and_commitments_but_no_value(
    database: Database,
) -> None:
    index = await append(database, RELEASED)

    stored = await database.read(lambda db: log_store.entry(db, index))
    assert stored is not None
    written = await entry(database, index)
    assert (written.event, written.seq, written.time) == ("released", 0, START)
    assert written.nonce == "09" * 16
    assert written.actor == written.subjects[0] != written.subjects[1]
    assert set(written.commitments) == {"holder", "image", "name"}
    for secret in (BOB, IMAGE.reference, b"sea"):
        assert secret not in stored.entry
        assert secret.hex().encode() not in stored.entry


async def test_a_subject_has_one_pseudonym_in_one_log_and_others_elsewhere(
    database: Database, tmp_path: Path, signer: LogSigner, clock: ManualClock
) -> None:
    first = await entry(database, await append(database, RELEASED))
    second = await entry(database, await append(database, RELEASED))
    path = tmp_path / "other.db"
    path.touch()
    other = await Database.open(
        path, bytes(32), clock=clock, entropy=os.urandom, prepare=lambda _: signer
    )
    elsewhere = await entry(other, await append(other, RELEASED))
    await other.close()

    assert first.subjects == second.subjects
    assert not set(first.subjects) & set(elsewhere.subjects)


async def test_pseudonyms_lead_back_to_references_inside_the_vault(database: Database) -> None:
    written = await entry(database, await append(database, RELEASED))

    members = await database.read(lambda db: log_store.pseudonyms(db, "member"))
    images = await database.read(lambda db: log_store.pseudonyms(db, "image"))

    assert members == {written.actor: BOB}
    assert images == {written.subjects[1]: IMAGE.reference}


async def test_this_node_itself_is_the_empty_actor(database: Database) -> None:
    index = await append(database, LogDraft(event="imported"))

    assert (await entry(database, index)).actor == ""


async def test_equal_events_are_different_leaves(database: Database) -> None:
    draft = LogDraft(event="imported")
    first = await entry(database, await append(database, draft))
    second = await entry(database, await append(database, draft))

    assert first.nonce != second.nonce


async def test_t24_disclosed_values_open_their_commitments(database: Database) -> None:
    index = await append(database, RELEASED)

    values = await database.read(lambda db: log_store.values(db, index))
    written = await entry(database, index)

    assert {name: one.value for name, one in values.items()} == {
        "holder": BOB,
        "image": IMAGE.reference,
        "name": b"sea",
    }
    for name, one in values.items():
        assert written.commitments[name] == commitment(one.salt, name, one.value).hex()
    assert len({one.salt for one in values.values()}) == 3


async def test_t19_a_shredded_subject_is_gone_and_the_log_still_verifies(
    database: Database, signer: LogSigner
) -> None:
    index = await append(database, RELEASED)

    def shred(transaction: WriteTransaction) -> None:
        transaction.connection.execute(
            "DELETE FROM log_subjects WHERE kind = 'member' AND reference = ?", (BOB,)
        )

    await database.write(shred)

    values = await database.read(lambda db: log_store.values(db, index))
    assert set(values) == {"image", "name"}
    assert await database.read(lambda db: log_store.pseudonyms(db, "member")) == {}
    head = await database.read(log_store.head)
    entries = await database.read(lambda db: [one.entry for one in log_store.walk(db)])
    assert head is not None
    report = verify_log(
        entries, head.note, keys=OneLogKey(origin=signer.origin, public=signer.key.public)
    )
    assert report.ok


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE log_values SET sealed = zeroblob(length(sealed)) WHERE field = 'name'",
        "UPDATE log_values SET field = 'title' WHERE field = 'name'",
        "UPDATE log_values SET log_index = 1 WHERE field = 'name'",
        "UPDATE log_values SET subject_id = 3 - subject_id WHERE field = 'name'",
    ],
    ids=["changed", "renamed", "moved", "of another subject"],
)
async def test_t19d_a_value_that_was_tampered_with_is_damage_not_an_answer(
    database: Database, change: str
) -> None:
    await append(database, RELEASED)
    await append(database, LogDraft(event="imported"))
    await database.write(lambda transaction: transaction.connection.execute(change).rowcount)

    def all_values(db: Connection) -> None:
        for index in (0, 1):
            log_store.values(db, index)

    with pytest.raises(DamagedError):
        await database.read(all_values)


@pytest.mark.parametrize(
    "draft",
    [
        LogDraft(event="nothing we know"),
        LogDraft(event="imported", nonce=b"short"),
        LogDraft(event="imported", values=(("Not a field", b"", IMAGE),)),
        LogDraft(event="imported", values=(("name", b"a", IMAGE), ("name", b"b", IMAGE))),
    ],
    ids=["event", "nonce", "field", "twice"],
)
async def test_a_draft_that_makes_no_entry_is_the_caller_s_fault(
    database: Database, draft: LogDraft
) -> None:
    with pytest.raises(LocalError):
        await append(database, draft)

    assert await append(database, RELEASED) == 0


async def test_an_entry_over_its_bound_is_refused(database: Database) -> None:
    with pytest.raises(LimitError):
        await append(database, LogDraft(event="imported", subjects=(IMAGE,) * 2000))


async def test_pages_of_entries_cover_the_log_once(database: Database) -> None:
    for _ in range(5):
        await append(database, RELEASED)

    def pages(db: Connection) -> list[list[int]]:
        return [
            [one.index for one in log_store.entries(db, start=start, limit=2)]
            for start in (0, 2, 4, 6)
        ]

    assert await database.read(pages) == [[0, 1], [2, 3], [4], []]
    assert await database.read(lambda db: [one.index for one in log_store.walk(db)]) == [*range(5)]
    assert await database.read(lambda db: log_store.entry(db, 5)) is None


async def test_an_empty_log_has_no_head(database: Database) -> None:
    assert await database.read(log_store.head) is None


async def test_a_lost_tree_node_is_damage_not_a_wrong_proof(database: Database) -> None:
    for _ in range(4):
        await append(database, RELEASED)
    await database.write(
        lambda transaction: (
            transaction.connection.execute(
                "UPDATE log_entries SET hashes = substr(hashes, 1, 32)"
            ).rowcount
        )
    )

    with pytest.raises(DamagedError):
        await database.read(lambda db: log_store.inclusion_proof(db, 0, 4))


async def test_values_are_in_no_repr() -> None:
    shown = repr(RELEASED) + repr(log_store.Value(salt=b"salt", value=b"sea"))

    assert "sea" not in shown
    assert repr(BOB) not in shown
