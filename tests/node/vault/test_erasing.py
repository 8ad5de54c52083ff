"""Erasing in the index: no page keeps the key or a value, wherever SQLite had moved them."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from node.vault import log_store
from node.vault.database import Database, LogDraft, Subject, WriteTransaction
from node.vault.records import Connection, erasing, library
from tests.node.vault.pages import occurrences

KEY = bytes(32)
"""Of the index in these tests."""


def person(number: int) -> Subject:
    """Return a member whose fingerprint stands at a random place among the others'."""
    return Subject(kind="member", reference=hashlib.sha256(b"%d" % number).digest())


def said(number: int) -> LogDraft:
    """Return the draft of an entry about a person."""
    one = person(number)
    values = (("holder", one.reference, one), ("name", b"canary %d" % number, one))
    return LogDraft(event="denied", actor=one.reference, subjects=(one,), values=values)


async def fill(database: Database, people: int) -> None:
    """Write entries about so many people, each several times, in many transactions."""
    for start in range(0, people, 50):

        def job(transaction: WriteTransaction, start: int = start) -> None:
            for number in range(start, start + 50):
                transaction.append(said(number))
                transaction.append(said(number // 2))

        await database.write(job)


async def destroy(database: Database, subject: Subject) -> None:
    def job(transaction: WriteTransaction) -> None:
        row = erasing.subject(transaction.connection, subject.kind, subject.reference)
        assert row is not None
        erasing.destroy_subject(transaction.connection, row)
        transaction.forget_subject(subject.kind, subject.reference)

    await database.write(job)
    await database.truncate_wal()


async def sealed_values(database: Database, subject_id: int) -> list[bytes]:
    def query(db: Connection) -> list[Any]:
        return db.execute(
            "SELECT sealed FROM log_values WHERE subject_id = ?", (subject_id,)
        ).fetchall()

    return [sealed for (sealed,) in await database.read(query)]


async def test_t19_no_page_of_the_index_or_its_wal_keeps_the_key_of_who_was_erased(
    database: Database, index: Path
) -> None:
    await fill(database, 1500)
    for number in (3, 700, 1499):
        subject = person(number)
        row = await database.read(
            partial(erasing.subject, kind="member", reference=subject.reference)
        )
        assert row is not None
        sealed = await sealed_values(database, row.subject_id)
        assert sealed
        assert occurrences(index, KEY, row.key) > 0
        assert occurrences(index, KEY, subject.reference) > 0
        assert all(occurrences(index, KEY, one) for one in sealed)

        await destroy(database, subject)

        assert occurrences(index, KEY, row.key) == 0
        assert occurrences(index, KEY, subject.reference) == 0
        assert not [one for one in sealed if occurrences(index, KEY, one[:44])]


async def test_a_subject_that_is_written_of_again_has_another_pseudonym_and_key(
    database: Database,
) -> None:
    await database.write(lambda transaction: transaction.append(said(1)))
    await database.write(lambda transaction: transaction.append(said(2)))
    before = await database.read(lambda db: log_store.pseudonyms(db, "member"))
    await destroy(database, person(1))
    after = await database.read(lambda db: log_store.pseudonyms(db, "member"))

    await database.write(lambda transaction: transaction.append(said(1)))

    again = await database.read(lambda db: log_store.pseudonyms(db, "member"))
    assert person(1).reference in before.values()
    assert list(after.values()) == [person(2).reference]
    assert len(again) == 2
    new = set(again) - set(after)
    assert len(new) == 1
    assert not new & set(before)
    values = await database.read(lambda db: [log_store.values(db, one) for one in (0, 1, 2)])
    assert [set(one) for one in values] == [set(), {"holder", "name"}, {"holder", "name"}]


async def test_what_waited_in_the_transaction_that_erased_is_destroyed_after_it(
    database: Database,
) -> None:
    def job(transaction: WriteTransaction) -> None:
        transaction.append(said(1))
        row = erasing.subject(transaction.connection, "member", person(1).reference)
        assert row is not None
        erasing.destroy_subject(transaction.connection, row)
        transaction.forget_subject("member", person(1).reference)

    await database.write(job)
    assert await database.read(lambda db: log_store.values(db, 0)) == {}

    gone = await database.write(lambda one: erasing.destroy_orphans(one.connection))

    assert gone.value == 2
    rows = await database.read(lambda db: db.execute("SELECT count(*) FROM log_values").fetchone())
    assert rows == (0,)


async def test_single_facts_are_found_and_destroyed_and_the_others_stay(
    database: Database, index: Path
) -> None:
    me = Subject(kind="member", reference=bytes(32))
    texts = ("signed by ada", "signed by bob", "version 3")
    for text in texts:
        values = (("detail", text.encode(), me), ("member", b"x" * 32, me))
        entry = LogDraft(event="roster_changed", values=values)
        await database.write(partial(WriteTransaction.append, draft=entry))
    mine = await database.read(lambda db: erasing.subject(db, "member", bytes(32)))
    assert mine is not None
    facts = await database.read(lambda db: erasing.facts_of(db, mine.subject_id))
    assert sorted(one.text for one in facts) == sorted(texts)
    chosen = [one for one in facts if "ada" in one.text]
    (sealed,) = [
        one
        for one in await sealed_values(database, mine.subject_id)
        if len(one) == 12 + 32 + 13 + 16
    ][:1]

    await database.write(lambda one: erasing.destroy_facts(one.connection, chosen))
    await database.truncate_wal()

    left = await database.read(lambda db: erasing.facts_of(db, mine.subject_id))
    assert sorted(one.text for one in left) == ["signed by bob", "version 3"]
    assert occurrences(index, KEY, sealed) == 0


async def test_the_name_of_a_picture_that_is_gone_is_in_no_page_of_the_search_index(
    database: Database, index: Path
) -> None:
    def insert(transaction: WriteTransaction, start: int) -> None:
        for number in range(start, start + 100):
            image_id = hashlib.sha256(b"%d" % number).digest()[:16]
            transaction.connection.execute(
                "INSERT INTO images (image_id, name, classification, imported_at)"
                " VALUES (?, ?, 'internal', ?)",
                (image_id, f"canary{number:04}picture.jpg", number),
            )
            library.index_for_search(transaction.connection, image_id)

    for start in range(0, 1000, 100):
        await database.write(partial(insert, start=start))
    needle = b"canary0500picture"
    assert occurrences(index, KEY, needle) > 0

    def remove(transaction: WriteTransaction) -> int:
        image_id = hashlib.sha256(b"500").digest()[:16]
        transaction.connection.execute("DELETE FROM images WHERE image_id = ?", (image_id,))
        rows = erasing.forget_image(transaction.connection, image_id)
        erasing.forget_searched_words(transaction.connection)
        return rows

    tail = b"500picture"  # FTS5 stores a word without what it has in common with the one before.
    assert occurrences(index, KEY, tail) > occurrences(index, KEY, needle)

    assert (await database.write(remove)).value == 1
    await database.truncate_wal()

    assert occurrences(index, KEY, needle) == occurrences(index, KEY, tail) == 0
    matching = "SELECT count(*) FROM image_search WHERE image_search MATCH 'canary05*'"
    assert await database.read(lambda db: db.execute(matching).fetchone()) == (99,)
