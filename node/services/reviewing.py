"""The access review: what was granted and may have been forgotten, and signing off on it.

Belongs here: which live capabilities deserve a look and why, when the next review is due.
Never here: revoking (``ending``), or how a list is shown.
"""

from __future__ import annotations

from typing import Any, Final

from node.services.context import Context
from node.services.entries import draft
from node.services.granted import Granted
from node.services.membership import Membership
from node.services.moments import parse_moment, rfc3339
from node.vault.database import WriteTransaction
from node.vault.records import get_meta, set_meta

_REVIEWED: Final = "reviewed_at"
"""Key in ``meta`` of the time of the last sign-off: 8 bytes, Unix milliseconds."""

_DAY_MS: Final = 24 * 3600 * 1000
EVERY_DAYS: Final = 90
"""Between two reviews: quarterly is what auditors ask for."""
STALE_DAYS: Final = 30
"""Nobody has opened it for so long."""
UNOPENED_DAYS: Final = 7
"""Granted so long ago and never opened."""
EXPIRING_HOURS: Final = 24
BROAD_IMAGES: Final = 100
"""Pictures in one capability from which it counts as broad."""

REASONS: Final = ("former", "broad", "never_opened", "stale", "expiring")
"""In the order in which a person should look."""


class Reviewing:
    """Reviews what this node granted."""

    def __init__(self, context: Context, membership: Membership, granted: Granted) -> None:
        self._context = context
        self._membership = membership
        self._granted = granted

    async def review(self) -> dict[str, Any]:
        """Return live capabilities with the reasons to look at each, and when a review is due."""
        now = self._context.clock.now()
        shares = [
            one
            for one in await self._granted.shares(album=None, to=None, state=None)
            if one["state"] not in ("revoked", "expired", "lapsed")
        ]
        found = []
        for one in shares:
            reasons = [reason for reason in REASONS if self._fits(reason, one, now)]
            if reasons:
                found.append({**one, "reasons": reasons})
        found.sort(key=lambda one: REASONS.index(one["reasons"][0]))
        signed = await self._signed_off()
        due = None if signed is None else signed + EVERY_DAYS * _DAY_MS
        return {
            "live": len(shares),
            "found": found,
            "signed_off_at": rfc3339(signed),
            "due_at": rfc3339(due),
            "overdue": bool(shares) and (due is None or due < now),
        }

    async def sign_off(self) -> dict[str, Any]:
        """Log that a person has looked at all of it, and return the review as it stands."""
        standing = await self.review()
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> None:
            set_meta(transaction.connection, _REVIEWED, now.to_bytes(8, "big"))
            transaction.append(
                draft(
                    "reviewed",
                    actor=self._context.me,
                    about=self._context.me,
                    facts={
                        "live": str(standing["live"]),
                        **{
                            reason: str(sum(reason in one["reasons"] for one in standing["found"]))
                            for reason in REASONS
                        },
                    },
                )
            )

        await self._context.database.write(job)
        return await self.review()

    async def _signed_off(self) -> int | None:
        kept = await self._context.database.read(lambda db: get_meta(db, _REVIEWED))
        return None if kept is None else int.from_bytes(kept, "big")

    def _fits(self, reason: str, share: dict[str, Any], now: int) -> bool:
        granted = _moment(share["granted_at"], now)
        if reason == "former":
            return bool(share["former"])
        if reason == "broad":
            rights = set(share["rights"])
            return (
                share["rendition"] == "original"
                or "reshare" in rights
                or share["images"] >= BROAD_IMAGES
            )
        if reason == "never_opened":
            return not share["opens"] and granted < now - UNOPENED_DAYS * _DAY_MS
        if reason == "stale":
            return (
                bool(share["opens"])
                and _moment(share["last_open"], now) < now - STALE_DAYS * _DAY_MS
            )
        return _moment(share["expires_at"], now) < now + EXPIRING_HOURS * 3600 * 1000


def _moment(text: str | None, now: int) -> int:
    return now if text is None else parse_moment(text, now=now)
