"""Renditions and manifests made in the background, after a share returned.

Belongs here: turning a version into the bytes that leave, sealed under R, and
binding them to each capability that waits for them.
Never here: pixels (``imaging``), the manifest's format (``protocol``), delivery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.imaging.pool import ImagingError, StripError
from node.services.context import Context
from node.services.copies import Copy, copy_for, rendition_of_spec, watermark_logo
from node.services.deriving import derive
from node.services.drafts import Drafts
from node.services.entries import draft
from node.services.library import blob_row
from node.services.loops import forever
from node.services.membership import Membership
from node.vault.database import WriteTransaction
from node.vault.errors import DamagedError
from node.vault.records import Connection, library, outbox
from node.vault.records import grants as rows
from node.vault.records.grants import GrantImageRow, GrantRow, RenditionRow
from node.vault.records.library import BlobRow, ImageRow
from protocol.capability.keys import commit_issuer, issuer_share, rendition_key, wrap
from protocol.capability.manifest import (
    Disclosure,
    Manifest,
    rendition_context,
    sign_manifest,
    version_hash,
)
from protocol.encoding import decode, encode
from protocol.errors import RemoteError, SafelightError
from protocol.limits import MAX_BODY_BYTES
from protocol.primitives import sha256

_BATCH: Final = 128
"""Manifests of one rendition in one transaction."""

_AT_ONCE: Final = 8
"""Renditions under way: keeps the workers busy while earlier ones are synced to disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    """A manifest for one picture of one capability."""

    grant: GrantRow
    image: GrantImageRow
    rendition_id: bytes
    signed: bytes


class Rendering:
    """One background task that serves the pictures without a manifest, oldest first."""

    def __init__(
        self, context: Context, membership: Membership, poke: Callable[[bytes], None]
    ) -> None:
        self._context = context
        self._membership = membership
        self._poke = poke
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed: dict[Copy, SafelightError] = {}
        """What cannot be made; tried again at the next start."""
        self._unbindable: set[bytes] = set()
        """Capabilities whose keyslot is damaged."""

    def start(self) -> None:
        """Begin with what an earlier run left."""
        self._task = asyncio.create_task(forever(self._run, "rendering"), name="render")

    def wake(self) -> None:
        """Look for pictures that wait."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; what waits is found again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._drop_ended()
            while await self._serve_some():
                pass
            await self._wake.wait()

    async def _serve_some(self) -> bool:
        """Serve some pictures, the oldest first; say whether others may be left."""
        limit = _BATCH * (1 + len(self._failed) + len(self._unbindable))
        waiting = await self._context.database.read(
            lambda db: rows.waiting_for_rendition(db, limit)
        )
        wanted: dict[Copy, list[tuple[GrantImageRow, GrantRow]]] = {}
        for image, grant in waiting:
            copy = copy_for(image, grant, self._membership.name_of(grant.holder))
            if copy in self._failed:
                if image.problem_code is None:
                    await self._note(self._failed[copy], [image])
            elif grant.capability_id not in self._unbindable:
                wanted.setdefault(copy, []).append((image, grant))
        # A few at a time, so that the first pictures can be opened while others are made.
        chosen = list(wanted)[:_AT_ONCE]
        made = await asyncio.gather(*(self._rendition(one, wanted[one]) for one in chosen))
        bound: list[_Bound] = []
        for one, rendition in zip(chosen, made, strict=True):
            if rendition is not None:
                bound += await self._bind_all(wanted[one][:_BATCH], rendition)
        if bound:
            await self._publish(bound)
        return bool(chosen)

    async def _drop_ended(self) -> None:
        """Delete the copies that nobody can open any more."""
        context = self._context
        if copies := await context.database.read(rows.copies_of_ended):
            await context.database.write(
                lambda transaction: rows.drop_copies(transaction.connection, copies)
            )
            await context.vault.blobs.delete(blob for _, blob in copies)

    async def _rendition(
        self, copy: Copy, waiting: list[tuple[GrantImageRow, GrantRow]]
    ) -> RenditionRow | None:
        """Return a copy's rendition, made now if it is missing; None where it fails.

        waiting: the pictures of capabilities that need it; a failure is kept with each.
        """
        row = await self._context.database.read(
            lambda db: rows.rendition_of(db, copy.version_id, copy.spec)
        )
        if row is not None:
            return row
        try:
            return await self._make(copy)
        except (ImagingError, StripError, RemoteError, DamagedError) as error:
            # The picture's own fault; a full disk is not, and is tried again.
            self._failed[copy] = error
            await self._note(error, [image for image, _ in waiting])
            return None

    async def _note(self, error: SafelightError, images: list[GrantImageRow]) -> None:
        """Keep why pictures of capabilities stay not ready, and tell whoever listens."""
        pictures = [(image.capability_id, image.image_id) for image in images]

        def job(transaction: WriteTransaction) -> None:
            rows.set_problem(transaction.connection, pictures, code=error.code, problem=str(error))

        await self._context.database.write(job)
        self._context.events.tell("rendition_failed", code=error.code, message=str(error))

    async def _make(self, copy: Copy) -> RenditionRow:
        context, entropy = self._context, self._context.entropy
        version = await context.database.read(lambda db: library.version_blob(db, copy.version_id))
        assert version is not None, "capabilities keep their versions"
        image_id, blob_id, form, _ = version
        image = await context.database.read(lambda db: library.image(db, image_id))
        blob = await context.database.read(lambda db: library.blob(db, blob_id))
        assert image is not None, "versions belong to pictures"
        assert blob is not None, "versions have originals"
        assert blob.key is not None, "the keys of originals are ours"
        data = await context.vault.blobs.open_bytes(blob_id, blob.key, blob.context)
        logo = b""
        if copy.mark is not None:
            logo = await context.database.read(watermark_logo)
        made = await derive(
            context.imaging, copy, data, form=form, size=(image.width, image.height), logo=logo
        )
        rendition_id, key = entropy(32), entropy(32)
        sealed_under = rendition_context(
            team_id=self._membership.team_id,
            issuer=context.me,
            image_id=image_id,
            rendition_id=rendition_id,
        )
        async with Drafts(context.vault.blobs) as drafts:
            sealed = await drafts.seal(made.data, key, sealed_under)
            row = RenditionRow(
                rendition_id=rendition_id,
                version_id=copy.version_id,
                spec=copy.spec,
                blob_id=sealed.blob_id,
                key=key,
                commitment=sealed.commitment,
                format=made.format,
                width=made.width,
                height=made.height,
                disclosure=encode(made.disclosure),
            )

            def job(transaction: WriteTransaction) -> None:
                now = context.clock.now()
                # The key is R: it stands in the renditions table, once.
                library.insert_blob(
                    transaction.connection,
                    blob_row("rendition", None, sealed_under, sealed),
                    now=now,
                )
                rows.insert_rendition(transaction.connection, row, now)
                transaction.append(
                    draft(
                        "rendered",
                        actor=context.me,
                        about=context.me,
                        references={"image": image_id},
                        facts={
                            "rendition": copy.rendition,
                            "sealed_sha256": sealed.sha256.hex(),
                            **({} if copy.mark is None else {"watermark": copy.mark.code}),
                        },
                    )
                )

            await context.database.write(job)
        return row

    async def _bind_all(
        self, waiting: list[tuple[GrantImageRow, GrantRow]], rendition: RenditionRow
    ) -> list[_Bound]:
        """Return the manifests that bind a rendition to capabilities, but for those just ended."""

        def query(db: Connection) -> tuple[BlobRow | None, ImageRow | None]:
            return (
                library.blob(db, rendition.blob_id),
                library.image(db, waiting[0][0].image_id),
            )

        blob, picture = await self._context.database.read(query)
        assert blob is not None, "renditions have sealed files"
        assert picture is not None, "capabilities keep their pictures"

        def bind() -> list[_Bound]:
            found = (self._bind(grant, image, rendition, blob, picture) for image, grant in waiting)
            return [one for one in found if one is not None]

        return await asyncio.to_thread(bind)

    def _bind(
        self,
        grant: GrantRow,
        image: GrantImageRow,
        rendition: RenditionRow,
        blob: BlobRow,
        picture: ImageRow,
    ) -> _Bound | None:
        """Return one manifest, or None where the capability has just ended."""
        if grant.slot is None or grant.holder_share is None:
            return None
        try:
            record = self._context.vault.keyslots.read(grant.slot, grant.capability_id)
        except DamagedError:
            self._unbindable.add(grant.capability_id)
            return None
        share = issuer_share(record.slot_secret, rendition.rendition_id)
        key = rendition_key(
            holder_share=grant.holder_share,
            mix=record.mix,
            issuer_share=share,
            capability_hash=grant.capability_hash,
            rendition_id=rendition.rendition_id,
        )
        manifest = Manifest(
            capability_hash=grant.capability_hash,
            image_id=image.image_id,
            version_hash=version_hash(image.version_id, picture.sha256),
            rendition_id=rendition.rendition_id,
            rendition=rendition_of_spec(rendition.spec),
            disclosure=decode(Disclosure, rendition.disclosure, limit=MAX_BODY_BYTES),
            ciphertext_sha256=blob.sealed_sha256,
            ciphertext_bytes=blob.sealed_bytes,
            blob_commitment=rendition.commitment,
            commit_issuer=commit_issuer(share, rendition.rendition_id),
            wrapped=wrap(
                key,
                rendition.key,
                capability_hash=grant.capability_hash,
                rendition_id=rendition.rendition_id,
                commitment=rendition.commitment,
            ),
            format=rendition.format,
            width=rendition.width,
            height=rendition.height,
        )
        signed = sign_manifest(
            manifest, issuer=self._context.identity, team_id=self._membership.team_id
        )
        return _Bound(grant=grant, image=image, rendition_id=rendition.rendition_id, signed=signed)

    async def _publish(self, bound: list[_Bound]) -> None:
        """Commit manifests with their log entries and queue them for their holders."""
        context = self._context

        def job(transaction: WriteTransaction) -> None:
            for one in bound:
                live = rows.set_manifest(
                    transaction.connection,
                    one.grant.capability_id,
                    one.image.image_id,
                    rendition_id=one.rendition_id,
                    manifest=one.signed,
                    now=transaction.now,
                )
                if not live:
                    continue
                outbox.put(
                    transaction.connection,
                    peer=one.grant.holder,
                    kind="manifest",
                    body=one.signed,
                    capability_id=one.grant.capability_id,
                    now=context.clock.now(),
                )
                transaction.append(
                    draft(
                        "rendered",
                        actor=context.me,
                        about=context.me,
                        references={
                            "image": one.image.image_id,
                            "capability": one.grant.capability_id,
                        },
                        facts={"manifest": sha256(one.signed).hex()},
                    )
                )

        await context.database.write(job)
        for holder in {one.grant.holder for one in bound}:
            self._poke(holder)
        context.events.tell("rendered", images=len(bound))
