"""Verifying the own log: whatever is done to what is stored of it is found and named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.services import log_verifying
from node.vault.connection import SqlConnection
from tests.node.services.conditions import alone
from tests.node.services.team import Person

NAME_OF_5 = "log_index = 5 AND field = 'name'"
OTHER_SEALED = "(SELECT sealed FROM log_values WHERE log_index = 4 AND field = 'name')"
OTHER_NODES = "CAST(substr(hashes, 1, 32) || zeroblob(64) AS BLOB)"
SOMEBODY = "(SELECT max(subject_id) FROM log_subjects)"
CHANGES: dict[str, tuple[str, tuple[int | None, str]]] = {
    "an entry that the index calls another event": (
        "UPDATE log_entries SET event = 'exported' WHERE log_index = 5", (5, "index"),
    ),
    "who did it, where searches look": (
        f"UPDATE log_entries SET actor = {SOMEBODY} WHERE log_index = 5", (5, "index"),
    ),
    "that somebody did it, where searches look": (
        "UPDATE log_entries SET actor = iif(actor IS NULL, 1, NULL) WHERE log_index = 5",
        (5, "index"),
    ),
    "a clock that was never set back": (
        "INSERT INTO log_clock_back (incarnation, log_index) VALUES (0, 5)", (5, "index"),
    ),
    "an entry that the index finds at another time": (
        "UPDATE log_entries SET time = time + 1 WHERE log_index = 5", (5, "index"),
    ),
    "an entry that no search for its picture finds": (
        "DELETE FROM log_values WHERE log_index = 5 AND field = 'image'", (5, "index"),
    ),
    "a stored leaf hash": (
        "UPDATE log_entries SET hashes = zeroblob(length(hashes)) WHERE log_index = 5",
        (5, "tree"),
    ),
    "a stored node": (
        f"UPDATE log_entries SET hashes = {OTHER_NODES} WHERE log_index = 3", (2, "tree"),
    ),
    "a stored node that is gone": (
        "UPDATE log_entries SET hashes = substr(hashes, 1, 64) WHERE log_index = 3", (0, "tree"),
    ),
    "a value": (
        f"UPDATE log_values SET sealed = zeroblob(length(sealed)) WHERE {NAME_OF_5}",
        (5, "value"),
    ),
    "a value of another entry": (
        f"UPDATE log_values SET sealed = {OTHER_SEALED} WHERE {NAME_OF_5}",
        (5, "value"),
    ),
    "a value without its subject": (
        f"UPDATE log_values SET subject_id = 99 WHERE {NAME_OF_5}", (5, "value"),
    ),
    "an entry": ("UPDATE log_entries SET entry = x'7b7d' WHERE log_index = 5", (5, "entry")),
    "the last entry": ("DELETE FROM log_entries WHERE log_index = 8", (8, "fewer")),
    "an entry in the middle": ("DELETE FROM log_entries WHERE log_index = 5", (5, "fewer")),
    "the head": ("DELETE FROM log_head", (None, "malformed_note")),
    "the keys": ("UPDATE log_keys SET statement = x'00'", (None, "damaged")),
}  # fmt: skip


async def sql(person: Person, *statements: str) -> None:
    """Change what is stored behind the node's back."""

    def change(connection: SqlConnection) -> None:
        for statement in statements:
            connection.execute(statement)

    await person.node.context.database._writer.run(change)


async def problems(person: Person) -> set[tuple[int | None, str]]:
    report = await person.node.log_verifying.verify()

    assert report["ok"] == (not report["problems"])
    return {(one["index"], one["code"]) for one in report["problems"]}


@pytest.fixture(params=["in this process", "in two others"])
def _processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in two others":
        monkeypatch.setattr(log_verifying, "_WORTH_PROCESSES", 0)


TABLES = ("log_entries", "log_clock_back", "log_head", "log_values", "log_keys")


@pytest.mark.usefixtures("_processes")
async def test_every_change_of_what_is_stored_is_found(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(9)
        assert await problems(alice) == set()
        await sql(alice, "PRAGMA foreign_keys = OFF")
        for table in TABLES:
            await sql(alice, f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")

        for change, expected in CHANGES.values():
            await sql(alice, change)

            assert expected in await problems(alice), change
            for table in TABLES:
                await sql(alice, f"DELETE FROM {table}")
                await sql(alice, f"INSERT INTO {table} SELECT * FROM kept_{table}")

        assert await problems(alice) == set()


async def test_a_search_index_that_hides_an_entry_is_found(tmp_path: Path) -> None:
    """Row T22 of the tamper matrix: the log is intact, what people search is not."""
    async with alone(tmp_path) as alice:
        images = await alice.import_pictures(6)
        shown = await alice.node.log_reading.entries(
            who=None, image=images[5]["id"], since=None, limit=9
        )
        (index,) = [one["index"] for one in shown["entries"]]

        await sql(alice, f"DELETE FROM log_values WHERE log_index = {index}")

        hidden = await alice.node.log_reading.entries(
            who=None, image=images[5]["id"], since=None, limit=9
        )
        assert hidden["entries"] == []
        assert await problems(alice) == {(index, "index")}


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        ("log_values_by_subject", "log_values (subject_id, incarnation, log_index)"),
        ("log_entries_by_actor", "log_entries (actor, incarnation, log_index)"),
        ("log_entries_by_event", "log_entries (event, incarnation, log_index, time)"),
    ],
)
async def test_an_index_that_leaves_an_entry_out_is_found(
    tmp_path: Path, index: str, columns: str
) -> None:
    """Row T22 again: every row is as it was, the index that finds it is not."""
    async with alone(tmp_path) as alice:
        await alice.import_pictures(3)
        assert await problems(alice) == set()

        await sql(
            alice,
            f"DROP INDEX {index}",
            f"CREATE INDEX {index} ON {columns} WHERE log_index <> 2",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, ' WHERE log_index <> 2', '')"
            f" WHERE name = '{index}'",
            "PRAGMA writable_schema = RESET",
        )

        assert await problems(alice) == {(None, "index")}


async def test_what_was_erased_is_no_problem(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(2)

        await sql(
            alice,
            "DELETE FROM log_values WHERE subject_id ="
            " (SELECT subject_id FROM log_values WHERE log_index = 1 AND field = 'image')",
        )
        await sql(
            alice,
            "DELETE FROM log_subjects WHERE subject_id NOT IN (SELECT subject_id FROM log_values)",
        )

        assert await problems(alice) == set()
        told = await alice.node.log_reading.entries(who=None, image=None, since=None, limit=9)
        assert told["entries"][1]["subject"] == "erased"
        assert set(told["entries"][1]["detail"].values()) == {"erased"}


async def test_progress_is_told_and_a_log_that_grows_meanwhile_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_verifying, "_WORTH_PROCESSES", 0)
    told: list[tuple[int, int | None]] = []
    async with alone(tmp_path) as alice:
        await alice.import_pictures(5)
        verifying = asyncio.create_task(
            alice.node.log_verifying.verify(lambda done, total, _: told.append((done, total)))
        )
        await alice.import_pictures(9)
        report = await verifying

        assert report["ok"]
        assert told[-1] == (report["size"], report["size"])
        assert (await alice.node.log_verifying.verify())["size"] == 9


async def test_an_empty_log_verifies(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        report = await alice.node.log_verifying.verify()

        assert (report["ok"], report["size"], report["root"], report["unwitnessed"]) == (
            True, 0, None, 0,
        )  # fmt: skip


async def test_a_log_that_cannot_be_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(3)
        monkeypatch.setattr(log_verifying, "_WORTH_PROCESSES", 0)
        monkeypatch.setattr("sys.executable", "/bin/false")
        assert await problems(alice) == {(None, "damaged")}
        monkeypatch.undo()
        assert await problems(alice) == set()
