"""The vault's health: every stored byte that can be checked, and which picture it concerns.

Belongs here: in which order the parts are looked at.
Never here: looking at a part (``checks``), repairing, or what to do about a problem.

A check reads through connections of its own and changes nothing, so it runs beside a
working vault, and on one that is too damaged to open. What looks wrong is looked at a
second time before it is called a problem: in a working vault, files and rows change
one after the other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from node.vault import keyring
from node.vault.checks.blobs import check_blobs
from node.vault.checks.index import check_log, check_pages, check_structure
from node.vault.checks.keyslots import check_keyslots
from node.vault.checks.problem import Problem, Progress, reason
from node.vault.errors import DamagedError
from node.vault.home import Home
from node.vault.keyring import VaultKeys
from node.vault.vault import Vault
from protocol.errors import SafelightError, UnsupportedError

__all__ = ["Problem", "check", "check_closed", "check_files"]


def _no_progress(_done: int, _total: int | None, _label: str) -> None:
    """Tell nobody."""


async def check(
    vault: Vault, *, read_data: bool = False, progress: Progress = _no_progress
) -> list[Problem]:
    """Return what is wrong with an open vault; an empty list where nothing is.

    Without ``read_data`` every sealed file must be there with its length; with it every byte of
    them is hashed, and opened where the key is ours.
    """
    repaired = [
        Problem(
            code="keyslot",
            where=f"keyslot {slot}",
            message="did not authenticate when the vault was opened; no capability used it, and"
            " it is empty again",
        )
        for slot in vault.keyslots.repaired
    ]
    found = await check_files(vault.home, vault.keys, read_data=read_data, progress=progress)
    return repaired + found


async def check_closed(
    folder: Path, *, passphrase: str, read_data: bool = False, progress: Progress = _no_progress
) -> list[Problem]:
    """Check a vault that no process uses, also one that is too damaged to open.

    Raises VaultMissingError, VaultBusyError, WrongPassphraseError; damage is never raised.
    """
    home = Home(folder)
    try:
        await asyncio.to_thread(home.require)
        lock = await asyncio.to_thread(home.lock)
    except DamagedError as error:
        return [_damage(error)]
    try:
        keys = await asyncio.to_thread(keyring.unlock, folder, passphrase)
        return await check_files(home, keys, read_data=read_data, progress=progress)
    except (DamagedError, UnsupportedError) as error:
        return [_damage(error)]
    finally:
        lock.release()


async def check_files(
    home: Home, keys: VaultKeys, *, read_data: bool, progress: Progress = _no_progress
) -> list[Problem]:
    """Return what is wrong with the files of a home whose keys are known."""
    problems = await asyncio.to_thread(_check_header, home)
    for label, look in (
        ("checking pages", check_pages),
        ("checking structure", check_structure),
        ("checking the audit log", check_log),
        ("checking keyslots", check_keyslots),
    ):
        progress(0, None, label)
        problems += await asyncio.to_thread(look, home, keys)
    problems += await check_blobs(home, keys, read_data=read_data, progress=progress)
    return list(dict.fromkeys(problems))


def _check_header(home: Home) -> list[Problem]:
    message = "other users of the machine may touch it"
    problems = [
        Problem(code="permissions", where=path.name, message=message) for path in home.exposed()
    ]
    try:
        keyring.check_header(home.folder)
    except SafelightError as error:
        problems.append(_damage(error))
    return problems


def _damage(error: SafelightError) -> Problem:
    what = error.what if isinstance(error, DamagedError) else "header"
    return Problem(code=what, where=what, message=reason(error))
