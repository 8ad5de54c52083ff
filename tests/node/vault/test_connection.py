"""How the index is opened, and its schema's versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as sqlcipher

from node.vault.connection import MIGRATIONS, SqlConnection, migrate, open_index, read_migrations
from node.vault.errors import DamagedError, StorageFailedError
from protocol.errors import UnsupportedError

KEY = bytes(32)

FIRST = "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);"
SECOND = "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO b SELECT x FROM a;"


@pytest.fixture
def connection(index: Path) -> Iterator[SqlConnection]:
    opened = open_index(index, KEY, read_only=False)
    yield opened
    opened.close()


def version(connection: SqlConnection) -> int:
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def tables(connection: SqlConnection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name for (name,) in rows}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("secure_delete", 1),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("cell_size_check", 1),
        ("mmap_size", 0),
        ("temp_store", 2),
        ("wal_autocheckpoint", 0),
    ],
)
def test_every_setting_that_durability_and_secrecy_need_is_on(
    connection: SqlConnection, setting: str, value: object
) -> None:
    (found,) = connection.execute(f"PRAGMA {setting}").fetchone()

    assert value == found


def test_sqlite_has_no_wal_reset_race() -> None:
    assert sqlcipher.sqlite_version_info >= (3, 51, 3)


def test_nothing_on_disk_is_readable_without_the_key(
    index: Path, connection: SqlConnection
) -> None:
    connection.execute("CREATE TABLE canary (words TEXT)")
    connection.execute("INSERT INTO canary VALUES ('a canary in the clear')")

    files = [path.read_bytes() for path in index.parent.iterdir()]
    assert len(files) == 3
    assert not any(b"canary" in data or b"SQLite format" in data for data in files)


def test_another_key_opens_nothing(index: Path, connection: SqlConnection) -> None:
    connection.execute("CREATE TABLE a (x)")

    with pytest.raises(DamagedError):
        open_index(index, b"\x01" * 32, read_only=False)


def test_an_index_that_is_not_there_is_a_failure_not_a_new_index(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError):
        open_index(tmp_path / "missing.db", KEY, read_only=False)

    assert list(tmp_path.iterdir()) == []


def test_a_read_only_connection_cannot_write(index: Path, connection: SqlConnection) -> None:
    connection.execute("CREATE TABLE a (x)")
    reader = open_index(index, KEY, read_only=True)

    with pytest.raises(sqlcipher.OperationalError):
        reader.execute("INSERT INTO a VALUES (1)")
    reader.close()


def test_a_path_with_signs_of_a_uri_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#b %41"
    path.touch()
    opened = open_index(path, KEY, read_only=False)
    opened.execute("CREATE TABLE a (x)")
    opened.close()

    assert path.stat().st_size > 0


def test_migrations_bring_any_version_to_the_newest(connection: SqlConnection) -> None:
    migrate(connection, [FIRST])
    assert (1, {"a"}) == (version(connection), tables(connection))

    migrate(connection, [FIRST, SECOND])

    assert (2, {"a", "b"}) == (version(connection), tables(connection))
    assert connection.execute("SELECT x FROM b").fetchall() == [(1,)]
    migrate(connection, [FIRST, SECOND])


def test_a_migration_that_fails_leaves_the_version_before_it(connection: SqlConnection) -> None:
    with pytest.raises(sqlcipher.OperationalError):
        migrate(connection, [FIRST, SECOND + "INSERT INTO nowhere VALUES (1);"])

    assert (1, {"a"}) == (version(connection), tables(connection))
    assert not connection.in_transaction


def test_a_newer_schema_is_refused(connection: SqlConnection) -> None:
    migrate(connection, [FIRST, SECOND])

    with pytest.raises(UnsupportedError):
        migrate(connection, [FIRST])


def test_every_table_of_the_schema_is_strict_and_every_reference_is_known(
    connection: SqlConnection,
) -> None:
    migrate(connection)

    loose = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        " AND NOT strict AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    assert loose == []
    assert len(MIGRATIONS) == version(connection)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_one.sql").write_text(FIRST)
    (tmp_path / "0002_two.sql").write_text(SECOND)
    (tmp_path / "notes.txt").write_text("no migration")

    assert read_migrations(tmp_path) == (FIRST, SECOND)
    (tmp_path / "0002_two.sql").rename(tmp_path / "0003_two.sql")
    with pytest.raises(AssertionError):
        read_migrations(tmp_path)
