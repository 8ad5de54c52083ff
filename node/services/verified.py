"""Noting in the log that somebody had something verified, and how it came out.

Belongs here: that one entry.
Never here: verifying (``log_verifying``, ``vault.check``).
"""

from __future__ import annotations

import contextlib

from node.services.context import Context
from node.services.entries import draft
from node.vault.database import WriteTransaction
from node.vault.errors import VaultError


async def note_verified(context: Context, what: str, *, ok: bool, facts: dict[str, str]) -> None:
    """Log that ``what`` was verified; a vault that takes no entry any more keeps the report."""

    def job(transaction: WriteTransaction) -> None:
        transaction.append(
            draft(
                "verified",
                actor=context.me,
                about=context.me,
                facts={"what": what, "ok": "yes" if ok else "no", **facts},
            )
        )

    # What was found is told all the same: a damaged vault may be the very finding.
    with contextlib.suppress(VaultError):
        await context.database.write(job)
