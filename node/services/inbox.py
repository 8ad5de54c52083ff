"""What a holder was granted: the list of it, and how a person means one of its parts.

Belongs here: reading held capabilities and their pictures, their state, and waiting until
a picture is ready.
Never here: taking in what issuers send (``receiving``), or ciphertext (``fetching``).
"""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from typing import Any

from node.errors import AmbiguousError, UnknownError
from node.services.context import Context
from node.services.membership import Membership
from node.services.moments import readable, rfc3339
from node.vault.records import Connection
from node.vault.records import held as rows
from node.vault.records.held import HeldImageRow, HeldRow
from protocol.capability.terms import Terms, parse_terms_untrusted, sentence
from protocol.errors import Reason, Refused
from protocol.limits import MAX_CLOCK_STEP_BACK_MS


class Inbox:
    """Reads what this node was granted."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership
        self._ready = asyncio.Condition()

    async def held(self) -> list[dict[str, Any]]:
        """Return what this node was granted, newest first."""
        now = self._context.clock.now()

        def query(db: Connection) -> list[dict[str, Any]]:
            return [
                self._describe(row, rows.held_images(db, row.capability_id), now)
                for row in rows.all_held(db)
            ]

        return await self._context.database.read(query)

    def _describe(self, row: HeldRow, images: list[HeldImageRow], now: int) -> dict[str, Any]:
        terms = parse_terms_untrusted(row.terms)
        limit = terms.max_opens + row.opens_added
        used = [image.opens for image in images]
        left = limit - (sum(used) if terms.scope == "capability" else min(used, default=0))
        if row.revoked_at is not None:
            state = "revoked"
        elif row.expires_at <= now:
            state = "expired"
        elif left <= 0:
            state = "exhausted"
        elif terms.not_before > now:
            state = "pending"
        else:
            state = "live"
        return {
            "id": row.capability_id.hex(),
            "issuer": self._membership.name_of(row.issuer),
            "images": [
                {
                    "id": image.image_id.hex(),
                    "name": image.name,
                    "ready": image.manifest is not None,
                    "fetched": image.blob_id is not None,
                    "opens_left": max(0, limit - image.opens),
                }
                for image in images
            ],
            "rights": list(terms.rights),
            "rendition": terms.rendition,
            "state": state,
            "received_at": rfc3339(row.received_at),
            "not_before": rfc3339(terms.not_before),
            "expires_at": rfc3339(row.expires_at),
            "opens_left": max(0, left),
            "opened": any(used),
            "factor": terms.factor_salt is not None,
            "usage_terms": terms.usage_terms,
            "sentence": self.sentence(row, terms),
        }

    def sentence(self, row: HeldRow, terms: Terms) -> str:
        """Say a held capability's terms, as they are by now, in one sentence."""
        return sentence(
            terms,
            holder_name=self._context.identity.public.name,
            issuer_name=self._membership.name_of(row.issuer),
            until=readable(row.expires_at),
            since=readable(terms.not_before)
            if terms.not_before > self._context.clock.now()
            else None,
            max_opens=terms.max_opens + row.opens_added,
        )

    async def resolve(self, text: str) -> HeldRow:
        """Return the held capability that an id or unique id prefix means."""
        found = await self._context.database.read(lambda db: rows.find_held(db, text))
        if not found:
            raise UnknownError(f"no capability {text!r}", hint="safelight inbox lists them")
        if len(found) > 1:
            raise AmbiguousError(f"{text!r} fits several", [one.hex()[:12] for one in found])
        row = await self._context.database.read(lambda db: rows.held(db, found[0]))
        assert row is not None, "held capabilities are never deleted"
        return row

    async def resolve_images(self, row: HeldRow, wanted: list[str]) -> list[HeldImageRow]:
        """Return the pictures of a held capability that names or id prefixes mean; all for none."""
        images = await self._context.database.read(
            lambda db: rows.held_images(db, row.capability_id)
        )
        if not wanted:
            return images
        chosen: dict[bytes, HeldImageRow] = {}
        for text in (unicodedata.normalize("NFC", one) for one in wanted):
            found = [image for image in images if image.name == text]
            found = found or [
                image
                for image in images
                if len(text) >= 4 and image.image_id.hex().startswith(text.lower())
            ]
            if not found:
                raise UnknownError(
                    f"no picture {text!r} in that capability", hint="safelight inbox lists them"
                )
            if len(found) > 1:
                raise AmbiguousError(
                    f"{text!r} means several pictures",
                    [f"{image.name} ({image.image_id.hex()[:8]})" for image in found],
                )
            chosen[found[0].image_id] = found[0]
        return list(chosen.values())

    async def current(self, row: HeldRow) -> HeldRow:
        """Return a held capability as it is by now."""
        found = await self._context.database.read(lambda db: rows.held(db, row.capability_id))
        assert found is not None, "held capabilities are never deleted"
        return found

    def check_live(self, row: HeldRow) -> None:
        """Raise Refused where this node knows that a capability is over."""
        if row.revoked_at is not None:
            raise Refused(Reason.REVOKED, "the issuer has revoked that capability")
        late = self._context.clock.now() - MAX_CLOCK_STEP_BACK_MS
        if row.expires_at <= late or row.holder_share is None:
            # Until then the issuer is asked, whose clock alone decides.
            raise Refused(Reason.EXPIRED, "that capability has expired")

    async def wait_ready(
        self,
        row: HeldRow,
        image_id: bytes,
        timeout: float,
    ) -> HeldImageRow:
        """Return a picture once its manifest is here; Refused(not_ready) after timeout seconds."""

        async def current() -> HeldImageRow:
            image = await self._context.database.read(
                lambda db: rows.held_image(db, row.capability_id, image_id)
            )
            assert image is not None, "pictures of held capabilities are never deleted"
            return image

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout)), self._ready:
                while (image := await current()).manifest is None:
                    await self._ready.wait()
                return image
        raise Refused(
            Reason.NOT_READY,
            "the issuer has not made that picture ready yet",
            hint="try again in a moment",
        )

    async def tell_ready(self) -> None:
        """Let those look again who wait until a picture is ready."""
        async with self._ready:
            self._ready.notify_all()
