"""The capabilities this node issued, as people look at them.

Belongs here: listing and finding what was granted, and the state of each.
Never here: changing any of it (``sharing``, ``amending``, ``ending``).
"""

from __future__ import annotations

from typing import Any

from node.errors import AmbiguousError, UnknownError
from node.services.context import Context
from node.services.library import Library
from node.services.membership import Membership
from node.services.moments import rfc3339
from node.vault.records import Connection, outbox
from node.vault.records import grants as rows
from node.vault.records.grants import GrantRow
from protocol.capability.terms import parse_terms_untrusted


class Granted:
    """Looks up what this node granted."""

    def __init__(self, context: Context, membership: Membership, library: Library) -> None:
        self._context = context
        self._membership = membership
        self._library = library

    async def shares(
        self, *, album: str | None, to: str | None, state: str | None
    ) -> list[dict[str, Any]]:
        """Return what this node granted, newest first."""
        now = self._context.clock.now()
        album_id = None if album is None else await self._library.resolve_album(album)
        holder = None if to is None else self._membership.resolve(to, former=True).fingerprint

        def query(db: Connection) -> list[dict[str, Any]]:
            of_album = (
                None if album_id is None else set(rows.grants_with_image_of_album(db, album_id))
            )
            return [
                self._describe(db, grant, now)
                for grant in rows.grants(db)
                if (holder is None or grant.holder == holder)
                and (of_album is None or grant.capability_id in of_album)
            ]

        found = await self._context.database.read(query)
        return [one for one in found if state is None or one["state"] == state]

    def _describe(self, db: Connection, grant: GrantRow, now: int) -> dict[str, Any]:
        terms = parse_terms_untrusted(grant.terms)
        limit = terms.max_opens + grant.opens_added
        used = (
            grant.opens if terms.scope == "capability" else rows.opens_used(db, grant.capability_id)
        )
        if grant.lapsed_at is not None:
            state = "lapsed"
        elif grant.revoked_at is not None:
            state = "revoked"
        elif grant.expires_at <= now:
            state = "expired"
        elif rows.every_image_used_up(db, grant.capability_id, limit):
            state = "exhausted"
        elif grant.delivered_at is None:
            state = "pending"
        else:
            state = "live"
        names = rows.image_names(db, grant.capability_id)
        return {
            "id": grant.capability_id.hex(),
            "holder": self._membership.name_of(grant.holder),
            "former": self._membership.member(grant.holder) is None,
            "images": grant.image_count,
            "ready": rows.count_ready(db, grant.capability_id),
            "names": [name for _, name in names[:10]],
            "rights": list(terms.rights),
            "rendition": terms.rendition,
            "state": state,
            "granted_at": rfc3339(grant.created_at),
            "expires_at": rfc3339(grant.expires_at),
            "opens": grant.opens,
            "opens_left": max(0, limit - used),
            "delivered": grant.delivered_at is not None,
            "mailed": grant.delivered_at is None
            and outbox.is_mailed(db, grant.holder, grant.capability_id),
            "last_open": rfc3339(grant.last_open),
            "problems": [
                {"id": image_id.hex(), "name": name, "code": code, "message": message}
                for image_id, name, code, message in rows.problems_of(db, grant.capability_id)
            ],
            **({} if grant.reissued_as is None else {"reissued_as": grant.reissued_as.hex()}),
        }

    async def describe(self, capability_id: bytes) -> dict[str, Any]:
        """Return one capability as `shares` lists it."""
        now = self._context.clock.now()

        def query(db: Connection) -> dict[str, Any]:
            grant = rows.grant(db, capability_id)
            assert grant is not None, "grants are never deleted"
            return self._describe(db, grant, now)

        return await self._context.database.read(query)

    async def of_person_or_album(self, to: str | None, album: str | None) -> list[bytes]:
        """Return the live capabilities to a person, or holding an album's pictures, or both."""
        holder = None if to is None else self._membership.resolve(to, former=True).fingerprint
        album_id = None if album is None else await self._library.resolve_album(album)

        def query(db: Connection) -> list[bytes]:
            of_album = (
                None if album_id is None else set(rows.grants_with_image_of_album(db, album_id))
            )
            return [
                grant.capability_id
                for grant in rows.grants(db)
                if grant.ended_at is None
                and (holder is None or grant.holder == holder)
                and (of_album is None or grant.capability_id in of_album)
            ]

        return await self._context.database.read(query)

    async def resolve(self, text: str) -> bytes:
        """Return the id of the issued capability that an id or unique id prefix means."""
        found = await self._context.database.read(lambda db: rows.find_grants(db, text))
        if not found:
            raise UnknownError(f"no capability {text!r}", hint="safelight shares lists them")
        if len(found) > 1:
            raise AmbiguousError(f"{text!r} fits several", [one.hex()[:12] for one in found])
        return found[0]
