"""What a copy tells besides its pixels: said before it leaves, and checked where it arrives.

Belongs here: the report of a dry run, and the alarm at a manifest that lies.
Never here: reading a picture file (``imaging``), what a manifest declares (``rendering``).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import Any, Final

from node.errors import NodeError
from node.imaging.formats import RAW
from node.imaging.pool import MAX_PREVIEW_EDGE, Contents, ImagingError, Ownership, StripError
from node.imaging.strip.errors import Detail, StripCode
from node.services.context import Context
from node.services.copies import Copy, mark_of
from node.services.entries import draft
from node.vault.database import WriteTransaction
from node.vault.records import grants, library
from node.vault.records.library import ImageRow
from protocol.capability.manifest import EVERYTHING, Manifest, undeclared
from protocol.capability.terms import Terms, parse_rendition
from protocol.errors import SafelightError
from protocol.identity import Identity
from protocol.policy import Allow

UNREADABLE: Final = "unreadable parts"
"""What cannot be taken apart may carry anything; every honest copy but an original can be."""

_CHECKED_BYTES: Final = 256 << 20
"""Of originals that are looked at before a share is granted: about a second's work."""

_MOST_ALARMS: Final = 10_000
"""Remembered in one run, so that a picture opened again does not fill the log."""


class Disclosing:
    """Foretells what sharers reveal, and checks what holders were told."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._alarmed: set[tuple[bytes, bytes]] = set()
        """Capability and picture of the alarms of this run."""

    # Before sharing -------------------------------------------------------------------------------

    async def foretell(
        self, images: list[ImageRow], allowed: Allow, ownership: Ownership | None
    ) -> list[dict[str, Any]]:
        """Say for each picture what would leave, by inspecting the originals."""
        # Originals are large: no more of them in memory than are looked at.
        places = asyncio.Semaphore(os.cpu_count() or 1)

        async def one(image: ImageRow) -> dict[str, Any]:
            async with places:
                return await self._foretell_one(image, allowed, ownership)

        return list(await asyncio.gather(*map(one, images)))

    async def _foretell_one(
        self, image: ImageRow, allowed: Allow, ownership: Ownership | None
    ) -> dict[str, Any]:
        wanted = parse_rendition(allowed.rendition)
        contents = await self._look(image, ownership)
        drawn = wanted.kind != "original" and not _is_copied(allowed)
        told: dict[str, Any] = {
            "id": image.image_id.hex(),
            "name": image.name,
            "format": image.format,
            "width": image.width,
            "height": image.height,
            "bytes": None,
            "found": list(contents.lines),
            "removed": [],
            "kept": [EVERYTHING],
            "problem": None,
        }
        if wanted.kind == "original":
            return {**told, "bytes": image.size}
        if drawn:
            longest = max(image.width, image.height)
            scale = min(1.0, (wanted.pixels or MAX_PREVIEW_EDGE) / longest)
            kept = [group for group in contents.found if group == "icc"]
            kept += [] if ownership is None else ["ownership"]
            told |= {
                "format": "jpeg",
                "width": max(1, round(image.width * scale)),
                "height": max(1, round(image.height * scale)),
            }
        else:
            kept = list(contents.kept)
            problem = contents.problem
            told |= {
                "bytes": contents.clean_bytes or None,
                "problem": None if problem is None else str(problem),
            }
        removed = [group for group in contents.found if group not in kept]
        return {**told, "removed": removed, "kept": kept}

    async def _look(self, image: ImageRow, ownership: Ownership | None) -> Contents:
        """Look into the original of a picture, whatever it is."""
        data = await self._original(image)
        try:
            return await self._context.imaging.inspect(data, ownership=ownership)
        except ImagingError as error:
            return Contents(found=(), kept=(), clean_bytes=0, problem=error, findings=())

    async def require_clean(
        self, images: list[ImageRow], allowed: list[Allow], ownership: Ownership | None
    ) -> None:
        """Refuse what would stay not ready for ever: a clean copy of what cannot be cleaned.

        NodeError with the code of the refusal, naming the picture. Of many or large pictures only
        the first are looked into, so that a share returns; ``rendering`` finds the others.
        """
        if not any(_is_copied(one) for one in allowed):
            return
        for image in images:
            if image.format == RAW:
                raise _uncleanable(image, StripError(StripCode.UNSUPPORTED, Detail.RAW))
        copy = Copy(version_id=b"", rendition="clean", ownership=ownership)
        chosen: list[ImageRow] = []
        size = 0
        for image in images:
            spec = replace(copy, version_id=image.version_id).spec
            known = await self._context.database.read(
                partial(grants.rendition_of, version_id=image.version_id, spec=spec)
            )
            size += image.size if known is None else 0
            if size > _CHECKED_BYTES and chosen:
                break
            if known is None:
                chosen.append(image)
        places = asyncio.Semaphore(os.cpu_count() or 1)

        async def one(image: ImageRow) -> None:
            async with places:
                problem = (await self._look(image, ownership)).problem
            if problem is not None:
                raise _uncleanable(image, problem)

        try:
            async with asyncio.TaskGroup() as group:
                for image in chosen:
                    group.create_task(one(image))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _original(self, image: ImageRow) -> bytes:
        context = self._context
        version = await context.database.read(lambda db: library.version_blob(db, image.version_id))
        assert version is not None, "pictures have their version"
        blob_id = version[1]
        blob = await context.database.read(lambda db: library.blob(db, blob_id))
        assert blob is not None, "versions have originals"
        assert blob.key is not None, "the keys of originals are ours"
        return await context.vault.blobs.open_bytes(blob_id, blob.key, blob.context)

    # After an open --------------------------------------------------------------------------------

    async def check(
        self, issuer: Identity, capability_id: bytes, manifest: Manifest, data: bytes
    ) -> tuple[str, ...]:
        """Return what opened bytes carry that their signed manifest does not declare.

        Where there is anything, the log and whoever listens are told, once for a picture.
        """
        found: tuple[str, ...] = ()
        try:
            contents = await self._context.imaging.inspect(data)
            found = contents.found
            readable = contents.problem is None
        except ImagingError:
            readable = False
        if not readable and manifest.rendition != "original":
            found = (*found, UNREADABLE)
        more = undeclared(manifest, found)
        key = (capability_id, manifest.image_id)
        if more and key not in self._alarmed and len(self._alarmed) < _MOST_ALARMS:
            self._alarmed.add(key)
            await self._alarm(issuer, capability_id, manifest.image_id, ", ".join(more))
        return more

    async def _alarm(
        self, issuer: Identity, capability_id: bytes, image_id: bytes, detail: str
    ) -> None:
        def job(transaction: WriteTransaction) -> None:
            transaction.append(
                draft(
                    "manifest_alarm",
                    actor=None,
                    about=self._context.me,
                    references={
                        "issuer": issuer.fingerprint,
                        "image": image_id,
                        "capability": capability_id,
                    },
                    facts={"detail": detail},
                )
            )

        await self._context.database.write(job)
        self._context.events.tell("alarm", name=issuer.name, detail=f"not declared: {detail}")


def _is_copied(allowed: Allow) -> bool:
    """Say whether what leaves is the coded picture, without what else its file says."""
    return parse_rendition(allowed.rendition).kind == "clean" and not allowed.watermark


def _uncleanable(image: ImageRow, problem: SafelightError) -> NodeError:
    return NodeError(
        f"{image.name} cannot be shared as a clean copy: {problem}",
        code=problem.code,
        hint="share a preview of it: --rendition preview",
    )


def watermark_words(terms: Terms, holder_name: str, now: int) -> str | None:
    """Return what a watermark would say of a holder and how strong it is; None without one."""
    if not terms.watermark:
        return None
    mark = mark_of(terms, holder_name, now)
    return f"{mark.strength}: {mark.name}, {mark.date}, the capability's id"
