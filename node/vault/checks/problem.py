"""What a health check finds, and how it reads the index.

Belongs here: what every part of a check shares.
Never here: looking at any one part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import sqlcipher3.dbapi2 as sqlcipher

from node.vault.connection import SqlConnection, open_index
from node.vault.errors import DamagedError, index_errors
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from protocol.errors import SafelightError

T = TypeVar("T")

Progress = Callable[[int, int | None, str], None]
"""Takes how much is done, of how much, and of what."""

_MOST_OF_A_KIND: Final = 20
"""Messages of one kind before the rest is counted: a lost page fails in a thousand places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    code: str
    """``header``, ``permissions``, ``index``, ``log``, ``keyslot``, ``keyslot_left``, ``restored``,
    ``blob_missing``, ``blob_length`` or ``blob``."""
    where: str
    """The file or part of the vault."""
    message: str
    """For people; lower case, no full stop."""
    picture: str | None = None
    """Name of the picture concerned; None where it concerns no single one."""


def some(problems: list[Problem]) -> list[Problem]:
    """Return the first problems, and one that counts the others."""
    more = len(problems) - _MOST_OF_A_KIND
    if more <= 0:
        return problems
    counted = replace(problems[-1], message=f"{more} more of the same kind")
    return [*problems[:_MOST_OF_A_KIND], counted]


def index_problem(message: str) -> Problem:
    """Return a problem of the index."""
    return Problem(code="index", where="index.db", message=message)


def reason(error: SafelightError) -> str:
    """Return what an error says, without the part that `Problem.where` names."""
    return error.reason if isinstance(error, DamagedError) else str(error)


def read_index(home: Home, keys: VaultKeys, query: Callable[[SqlConnection], T]) -> T:
    """Return what query finds in one snapshot of the index, on a connection of its own.

    SQLCipher refuses everything on a connection that has met a damaged page, so each question is
    asked on a new one. Raises DamagedError and StorageFailedError.
    """
    try:
        with index_errors():
            connection = open_index(home.index, keys.index, read_only=True)
            try:
                connection.execute("BEGIN")
                return query(connection)
            finally:
                connection.close()
    except sqlcipher.Error as error:
        raise DamagedError("index", str(error)) from error
