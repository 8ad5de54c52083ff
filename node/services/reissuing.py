"""Granting anew what is over because this node began a new log.

Belongs here: what is left of a lapsed capability, and asking for the same again.
Never here: ending (``incarnations``, ``ending``), or issuing itself (``sharing``).
"""

from __future__ import annotations

from typing import Any

from node.errors import UsageError
from node.services.context import Context
from node.services.copies import decode_ownership
from node.services.granted import Granted
from node.services.membership import Membership
from node.services.moments import rfc3339
from node.services.sharing import Sharing
from node.vault.records import Connection, library
from node.vault.records import grants as rows
from node.vault.records.grants import GrantRow
from protocol.capability.terms import parse_terms_untrusted
from protocol.errors import SafelightError
from protocol.identity import format_fingerprint


class Reissuing:
    """Issues lapsed capabilities anew, each once."""

    def __init__(
        self, context: Context, membership: Membership, granted: Granted, sharing: Sharing
    ) -> None:
        self._context = context
        self._membership = membership
        self._granted = granted
        self._sharing = sharing

    async def reissue(
        self, *, capabilities: list[str], opens: int | None, names: bool, dry_run: bool
    ) -> dict[str, Any]:
        """Grant lapsed capabilities anew, on their terms and for what is left of their time.

        ``opens`` is how many a picture; None what is left by the counts of this vault, which came
        from a backup and may lack the newest opens. ``names`` tells holders the pictures' names:
        whether they were told is not known any more. One that cannot be issued is named with the
        reason, and the others are issued.
        """
        wanted = [await self._granted.resolve(text) for text in capabilities]
        lapsed = await self._context.database.read(rows.lapsed)
        chosen = [one for one in lapsed if not wanted or one.capability_id in wanted]
        if missing := set(wanted) - {one.capability_id for one in chosen}:
            raise UsageError(
                f"{min(missing).hex()[:8]} is not over because of a new log, or was issued anew",
                hint="safelight shares --state lapsed lists those that are",
            )
        issued, skipped = [], []
        for grant in chosen:
            try:
                issued.append(await self._one(grant, opens, names=names, dry_run=dry_run))
            except SafelightError as error:
                skipped.append(
                    {
                        "instead_of": grant.capability_id.hex(),
                        "holder": self._membership.name_of(grant.holder),
                        "why": str(error),
                    }
                )
        return {"capabilities": issued, "skipped": skipped, "dry_run": dry_run}

    async def _one(
        self, grant: GrantRow, opens: int | None, *, names: bool, dry_run: bool
    ) -> dict[str, Any]:
        terms = parse_terms_untrusted(grant.terms)
        now = self._context.clock.now()
        if grant.expires_at <= now:
            raise UsageError("its time is over")
        limit = terms.max_opens + grant.opens_added

        def query(db: Connection) -> list[tuple[bytes, int]]:
            """Return each picture that is still here with the opens that are left of it."""
            used = {
                one.image_id: grant.opens if terms.scope == "capability" else one.opens
                for one in rows.grant_images(db, grant.capability_id)
            }
            return [
                (image_id, limit - count)
                for image_id, count in used.items()
                if library.image(db, image_id) is not None
            ]

        left = await self._context.database.read(query)
        # A picture that was opened as often as it might be is not granted again.
        pictures = [(image_id, count) for image_id, count in left if count > 0]
        if not pictures:
            raise UsageError("no open is left of any of its pictures")
        fewest = min(count for _, count in pictures)
        credit = None if grant.ownership is None else decode_ownership(grant.ownership)
        result = await self._sharing.share(
            what=[image_id.hex() for image_id, _ in pictures],
            to=[format_fingerprint(grant.holder)],
            duration=rfc3339(grant.expires_at),
            rights=list(terms.rights),
            opens=fewest if opens is None else min(opens, fewest),
            rendition=terms.rendition,
            watermark=terms.watermark,
            factor=terms.factor_salt is not None,
            not_before=rfc3339(terms.not_before) if terms.not_before > now else None,
            terms=terms.usage_terms,
            lease=f"{-(-terms.lease // 1000)}s" if terms.lease else None,
            dry_run=dry_run,
            credit="" if credit is None else credit.creator,
            copyright_notice="" if credit is None else credit.rights,
            no_credit=credit is None,
            names=names,
            instead_of=grant.capability_id,
        )
        (capability,) = result["capabilities"]
        return {**capability, "instead_of": grant.capability_id.hex()}
