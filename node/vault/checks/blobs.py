"""Checking the sealed files: that each is there, whole, and what was sealed.

Belongs here: comparing files with their rows, and reading every byte where asked to.
Never here: the sealed format (``protocol.sealed_blob``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from node.vault.blob_folder import blob_path
from node.vault.checks.problem import Problem, Progress, index_problem, read_index, reason
from node.vault.errors import VaultError
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from node.vault.records import stored
from node.vault.records.stored import StoredBlob
from protocol.errors import RemoteError
from protocol.limits import MIB
from protocol.primitives import Sha256
from protocol.sealed_blob import HEADER_BYTES, Opener

_PIECE: Final = 1 * MIB
_ROWS_AT_A_TIME: Final = 4096
_FILES_AT_A_TIME: Final = 64


async def check_blobs(
    home: Home, keys: VaultKeys, *, read_data: bool, progress: Progress
) -> list[Problem]:
    """Look at every sealed file that has a row."""
    problems: list[Problem] = []
    done = 0
    page: list[StoredBlob] = []
    try:
        total = await asyncio.to_thread(read_index, home, keys, stored.blob_count)
        while page := await asyncio.to_thread(_read_page, home, keys, page):
            for start in range(0, len(page), _FILES_AT_A_TIME):
                files = page[start : start + _FILES_AT_A_TIME]
                problems += await asyncio.to_thread(_check_files, home, keys, files, read_data)
                done += len(files)
                progress(done, total, "checking sealed files")
    except VaultError as error:
        problems.append(index_problem(reason(error)))
    return problems


def _read_page(home: Home, keys: VaultKeys, before: list[StoredBlob]) -> list[StoredBlob]:
    after = before[-1].blob_id if before else b""
    return read_index(home, keys, lambda db: stored.blobs_after(db, after, _ROWS_AT_A_TIME))


def _check_files(
    home: Home, keys: VaultKeys, files: list[StoredBlob], read_data: bool
) -> list[Problem]:
    found = [(one, _check_file(home.blobs, one, read_data)) for one in files]
    return [
        problem for one, problem in found if problem is not None and _still_there(home, keys, one)
    ]


def _still_there(home: Home, keys: VaultKeys, one: StoredBlob) -> bool:
    """Say whether the index still names a file that looks wrong: rows go before files do."""
    return read_index(home, keys, lambda db: stored.blob(db, one.blob_id)) is not None


def _check_file(folder: Path, one: StoredBlob, read_data: bool) -> Problem | None:
    path = blob_path(folder, one.blob_id)
    try:
        if path.stat().st_size != one.sealed_bytes:
            return _problem("blob_length", one, "does not have its length")
        wrong = _read(path, one) if read_data else None
    except FileNotFoundError:
        return _problem("blob_missing", one, "is missing")
    except OSError as error:
        return _problem("blob", one, f"cannot be read: {error.strerror}")
    return None if wrong is None else _problem("blob", one, wrong)


def _read(path: Path, one: StoredBlob) -> str | None:
    """Read every byte; return what is wrong, or None."""
    digest = Sha256()
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        digest.update(header)
        try:
            opener = None if one.key is None else Opener(one.key, one.context, header)
            while piece := file.read(_PIECE):
                digest.update(piece)
                if opener is not None:
                    opener.update(piece)
            if opener is not None:
                opener.finish()
        except RemoteError:
            return "does not authenticate"
    return None if digest.digest() == one.sealed_sha256 else "is not what was stored"


def _problem(code: str, one: StoredBlob, what: str) -> Problem:
    kind = one.kind.replace("_", " ")
    where = f"sealed file {one.blob_id.hex()}"
    return Problem(code=code, where=where, message=f"its {kind} {what}", picture=one.picture)
