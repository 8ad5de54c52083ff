"""The own pictures: import, search, show.

Belongs here: what people do with pictures that are theirs.
Never here: decoding (``imaging``), sealing (``vault.blobs``), or sharing.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from node.errors import AmbiguousError, UnknownError, UsageError
from node.imaging.likeness import MOST_APART, distance
from node.imaging.pool import ImagingError, Measured
from node.services.context import Context
from node.services.drafts import Drafts
from node.services.entries import draft
from node.services.importing import (
    Imported,
    ImportFileError,
    Sidecar,
    Source,
    collect,
    failure,
    name_of,
    read_file,
    read_sidecars,
    remove_sidecars,
    remove_unchanged,
    shown,
)
from node.services.moments import rfc3339
from node.services.whole import whole
from node.vault.blobs import SealedFile
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import grants as grant_rows
from node.vault.records import library as rows
from node.vault.records.library import BlobRow, ImageRow, SidecarRow
from protocol.capability.terms import CLASSIFICATIONS, parse_terms_untrusted
from protocol.errors import SafelightError
from protocol.identity import clean_text
from protocol.labels import NO_TEAM
from protocol.limits import MAX_NAME_BYTES
from protocol.primitives import sha256
from protocol.sealed_blob import BlobContext

Progress = Callable[[int, int | None, str], None]

THUMBNAIL_SIZES: Final = (256, 1024)
"""Long edges in pixels: a grid cell, and a first look."""

_MOST_ROWS: Final = 1_000_000
"""Rows of one listing."""

_IN_FLIGHT: Final = 6
"""Files between reading and commit: overlaps decoding with the disk's syncs."""

_MOST_SIMILAR: Final = 3
"""Pictures named to somebody who may be importing a picture again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """Where imported pictures go, and whether their files stay."""

    album: str | None
    tags: list[str]
    classification: str
    move: bool = False
    provenance: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A picture whose sealed files are durable."""

    row: ImageRow
    blobs: list[BlobRow]
    thumbnails: dict[int, bytes]
    likeness: bytes | None
    sidecars: list[tuple[SidecarRow, BlobRow]]


class Library:
    """Imports and finds own pictures."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._importing: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """By content: the same bytes are one picture, however many imports meet."""

    # Finding --------------------------------------------------------------------------------------

    async def resolve_image(self, text: str) -> ImageRow:
        """Return the picture that a name, id or id prefix means."""
        text = _nfc(text)
        found = await self._context.database.read(lambda db: rows.find_images(db, text))
        image_id = _only(found, text, "image")
        row = await self._context.database.read(lambda db: rows.image(db, image_id))
        assert row is not None, "found a moment ago; pictures are never deleted here"
        return row

    async def resolve_album(self, text: str) -> bytes:
        """Return the id of the album that a name, id or id prefix means."""
        text = _nfc(text)
        found = await self._context.database.read(lambda db: rows.find_albums(db, text))
        return _only(found, text, "album")

    async def resolve_many(self, what: list[str]) -> list[ImageRow]:
        """Return the pictures of images and albums as people name them, each once, in order."""
        chosen: dict[bytes, ImageRow] = {}
        for text in map(_nfc, what):
            albums = await self._context.database.read(partial(rows.find_albums, text=text))
            images = await self._context.database.read(partial(rows.find_images, text=text))
            if len(albums) + len(images) > 1:
                candidates = [f"album {name} ({one.hex()[:8]})" for one, name in albums]
                candidates += [f"{name} ({one.hex()[:8]})" for one, name in images]
                raise AmbiguousError(f"{text!r} means several things", candidates)
            if albums:
                album_id = albums[0][0]
                ids = await self._context.database.read(
                    partial(rows.album_image_ids, album_id=album_id)
                )
            else:
                ids = [_only(images, text, "image or album")]
            for image_id in ids:
                row = await self._context.database.read(partial(rows.image, image_id=image_id))
                if row is not None:
                    chosen[image_id] = row
        if not chosen:
            raise UnknownError("there is no picture in that")
        return list(chosen.values())

    async def albums_among(self, what: list[str]) -> list[bytes]:
        """Return the ids of the albums among names as `resolve_many` takes them."""
        found: dict[bytes, None] = {}
        for text in map(_nfc, what):
            albums = await self._context.database.read(partial(rows.find_albums, text=text))
            found |= dict.fromkeys(album_id for album_id, _ in albums)
        return list(found)

    async def images(
        self, *, query: str, album: str | None, tag: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Search by words, album and tag; newest first."""
        album_id = None if album is None else await self.resolve_album(album)

        def search(db: Connection) -> list[dict[str, Any]]:
            found = rows.search(
                db,
                words=_nfc(query).replace("\0", " ").split(),
                album_id=album_id,
                tag=None if tag is None else _nfc(tag),
                limit=bounded(limit),
            )
            return [
                {
                    **describe(row),
                    "tags": rows.tags_of(db, row.image_id),
                    "albums": rows.album_names(db, row.image_id),
                }
                for row in found
            ]

        return await self._context.database.read(search)

    async def albums(self) -> list[dict[str, Any]]:
        """Return every album with its number of pictures."""
        found = await self._context.database.read(rows.albums)
        return [
            {"id": album_id.hex(), "name": name, "images": count} for album_id, name, count in found
        ]

    async def show(self, text: str) -> dict[str, Any]:
        """Return everything about one picture: versions, tags, albums, who has it."""
        row = await self.resolve_image(text)

        def query(db: Connection) -> dict[str, Any]:
            return {
                **describe(row),
                "tags": rows.tags_of(db, row.image_id),
                "albums": rows.album_names(db, row.image_id),
                "versions": [
                    {
                        "number": number,
                        "format": form,
                        "width": width,
                        "height": height,
                        "bytes": size,
                        "sha256": digest.hex(),
                    }
                    for number, form, width, height, size, digest in rows.versions_of(
                        db, row.image_id
                    )
                ],
                "sidecars": [
                    {"name": one.name, "bytes": one.size, "sha256": one.sha256.hex()}
                    for one in rows.sidecars_of(db, row.image_id)
                ],
                "capabilities": [
                    {
                        "id": grant.capability_id.hex(),
                        "holder": grant.holder.hex(),
                        "expires_at": rfc3339(grant.expires_at),
                        "revoked": grant.revoked_at is not None,
                        "opens": grant.opens,
                        "rights": list(parse_terms_untrusted(grant.terms).rights),
                        "problem": grant_rows.problem_of(db, grant.capability_id, row.image_id),
                    }
                    for grant in grant_rows.holders_of(db, row.image_id)
                ],
            }

        return await self._context.database.read(query)

    async def inspect(self, text: str) -> list[dict[str, Any]]:
        """Return what the original of a picture tells besides its pixels, raw tags too."""
        row = await self.resolve_image(text)
        data = await self.read_blob(row.blob_id)
        contents = await self._context.imaging.inspect(data)
        if contents.problem is not None and not contents.findings:
            raise contents.problem
        return [asdict(one) for one in contents.findings]

    async def classify(self, what: list[str], classification: str) -> dict[str, Any]:
        """Give pictures another classification; from then on it bounds their opens too."""
        _check_classification(classification)
        chosen = await self.resolve_many(what)

        def job(transaction: WriteTransaction) -> None:
            for row in chosen:
                rows.classify(transaction.connection, row.image_id, classification)
                transaction.append(
                    draft(
                        "classified",
                        actor=self._context.me,
                        about=self._context.me,
                        references={"image": row.image_id},
                        facts={"old": row.classification, "new": classification},
                    )
                )

        await self._context.database.write(job)
        return {"images": [{**describe(row), "classification": classification} for row in chosen]}

    async def thumbnail(self, text: str, size: int) -> bytes:
        """Return the encoded bytes of a picture's thumbnail."""
        row = await self.resolve_image(text)
        blob_id = await self._context.database.read(
            lambda db: rows.thumbnail_blob(db, row.version_id, size)
        )
        if blob_id is None:
            raise UnknownError(f"{row.name} has no thumbnail of {size} pixels")
        return await self.read_blob(blob_id)

    async def read_blob(self, blob_id: bytes) -> bytes:
        """Return the plaintext of a sealed file whose key is ours."""
        blob = await self._context.database.read(lambda db: rows.blob(db, blob_id))
        if blob is None or blob.key is None:
            raise UnknownError("that sealed file is not ours to open")
        return await self._context.vault.blobs.open_bytes(blob_id, blob.key, blob.context)

    # Import ---------------------------------------------------------------------------------------

    async def import_paths(
        self,
        paths: list[str],
        *,
        album: str | None,
        tags: list[str],
        classification: str,
        move: bool = False,
        progress: Progress,
    ) -> dict[str, Any]:
        """Import files and folders; a bad file is reported and the rest goes on.

        move: remove each file once its sealed copy is committed, was read back and is the same.
        """
        _check_classification(classification)
        wish = _Wish(
            album=None if album is None else _label(album),
            tags=[_label(text) for text in tags],
            classification=classification,
            move=move,
        )
        sources, failed = await asyncio.to_thread(collect, paths)
        imported: dict[Source, Imported] = {}
        done = 0
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(source: Source) -> None:
            nonlocal done
            async with slots:
                try:
                    imported[source] = await self._import_source(source, wish)
                except (ImportFileError, ImagingError) as error:
                    failed.append(failure(source.path, error.code, str(error)))
                done += 1
                progress(done, len(sources), "importing")

        try:
            async with asyncio.TaskGroup() as group:
                for source in sources:
                    group.create_task(one(source))
        except ExceptionGroup as errors:
            # The vault itself, not a file: what was committed stays, the rest is not tried.
            raise errors.exceptions[0] from None
        for result in imported.values():
            failed += result.failed
        if move:
            failed += await asyncio.to_thread(remove_sidecars, sources, imported)
        images = [imported[source].image for source in sources if source in imported]
        return {"images": images, "failed": failed}

    async def import_bytes(
        self, data: bytes, *, name: str, classification: str, provenance: bytes
    ) -> dict[str, Any]:
        """Import a picture that was saved under a capability, with where it came from."""
        wish = _Wish(album=None, tags=[], classification=classification, provenance=provenance)
        return await self._import_data(data, await asyncio.to_thread(sha256, data), name, wish, ())

    async def _import_source(self, source: Source, wish: _Wish) -> Imported:
        data = await asyncio.to_thread(read_file, source.path)
        sidecars, failed = await asyncio.to_thread(read_sidecars, source.sidecars)
        digest = await asyncio.to_thread(sha256, data)
        image = await self._import_data(data, digest, name_of(source.path), wish, sidecars)
        del data
        stays = ""
        spent: dict[Path, bytes | None] = {}
        if wish.move:
            image_id = bytes.fromhex(image["id"])
            stays = await self._let_go(image_id, source.path, digest)
            if not stays:
                spent = await self._kept_sidecars(image_id, sidecars)
        image |= {"path": shown(source.path), "moved": wish.move and not stays, "stays": stays}
        return Imported(image=image, failed=failed, spent=spent)

    async def _let_go(self, image_id: bytes, path: Path, digest: bytes) -> str:
        """Remove a file that the vault has; return why it stays, or nothing."""
        blob_id = await self._context.database.read(
            lambda db: rows.content_blob(db, image_id, digest)
        )
        if blob_id is None or not await self._reads_back(blob_id, digest):
            return "the copy in the vault is damaged: run safelight check --read-data"
        return await asyncio.to_thread(remove_unchanged, path, digest)

    async def _kept_sidecars(
        self, image_id: bytes, sidecars: Sequence[Sidecar]
    ) -> dict[Path, bytes | None]:
        """Return the SHA-256 of each sidecar, None where its sealed copy does not read back."""
        kept = await self._context.database.read(lambda db: rows.sidecars_of(db, image_id))
        blobs = {(row.name, row.sha256): row.blob_id for row in kept}
        sound: dict[Path, bytes | None] = {}
        for sidecar in sidecars:
            digest = sha256(sidecar.data)
            blob_id = blobs.get((sidecar.name, digest))
            is_sound = blob_id is not None and await self._reads_back(blob_id, digest)
            sound[sidecar.path] = digest if is_sound else None
        return sound

    async def _reads_back(self, blob_id: bytes, digest: bytes) -> bool:
        try:
            data = await self.read_blob(blob_id)
        except SafelightError:
            return False
        return await asyncio.to_thread(sha256, data) == digest

    async def _import_data(
        self,
        data: bytes,
        digest: bytes,
        name: str,
        wish: _Wish,
        sidecars: Sequence[Sidecar],
    ) -> dict[str, Any]:
        lock = self._importing.setdefault(digest, asyncio.Lock())
        async with lock:
            known = await self._context.database.read(lambda db: rows.images_by_content(db, digest))
            if known:
                return await whole(self._known_again(known[0], wish, sidecars))
            measured = await self._context.imaging.measure_and_thumbnail(data, THUMBNAIL_SIZES)

            async def keep() -> dict[str, Any]:
                async with Drafts(self._context.vault.blobs) as drafts:
                    row, blobs, thumbnails = await self._seal(
                        drafts, data, digest, name, wish.classification, measured
                    )
                    ready = _Ready(
                        row=row,
                        blobs=blobs,
                        thumbnails=thumbnails,
                        likeness=measured.likeness or None,
                        sidecars=await self._seal_sidecars(drafts, row.image_id, sidecars),
                    )
                    return await self._commit(ready, wish)

            return await whole(keep())

    async def _known_again(
        self, row: ImageRow, wish: _Wish, sidecars: Sequence[Sidecar]
    ) -> dict[str, Any]:
        """Put a picture that is here already where this import wants it."""
        kept = await self._context.database.read(lambda db: rows.sidecars_of(db, row.image_id))
        known = {(one.name, one.sha256) for one in kept}
        new = [one for one in sidecars if (one.name, sha256(one.data)) not in known]
        async with Drafts(self._context.vault.blobs) as drafts:
            sealed = await self._seal_sidecars(drafts, row.image_id, new)

            def job(transaction: WriteTransaction) -> None:
                self._insert_sidecars(transaction, row.image_id, sealed)
                self._place(transaction, row.image_id, wish)

            if wish.album is not None or wish.tags or new:
                await self._context.database.write(job)
        return {**describe(row), "album": wish.album, "duplicate": True, "similar": []}

    async def _seal(
        self,
        drafts: Drafts,
        data: bytes,
        digest: bytes,
        name: str,
        classification: str,
        measured: Measured,
    ) -> tuple[ImageRow, list[BlobRow], dict[int, bytes]]:
        """Return a new picture's row, its sealed files, and which of them are thumbnails."""
        image_id, version_id = self._context.entropy(16), self._context.entropy(16)
        original, *thumbnails = await asyncio.gather(
            self._seal_one(drafts, image_id, "original", data, "original"),
            *(
                self._seal_one(drafts, image_id, "thumbnail", encoded, f"thumbnail:{size}")
                for size, encoded in measured.thumbnails.items()
            ),
        )
        row = ImageRow(
            image_id=image_id,
            name=name,
            classification=classification,
            imported_at=self._context.clock.now(),
            version_id=version_id,
            number=1,
            format=measured.format,
            width=measured.width,
            height=measured.height,
            size=len(data),
            sha256=digest,
            blob_id=original.blob_id,
        )
        sizes = dict(zip(measured.thumbnails, (one.blob_id for one in thumbnails), strict=True))
        return row, [original, *thumbnails], sizes

    async def _seal_sidecars(
        self, drafts: Drafts, image_id: bytes, sidecars: Sequence[Sidecar]
    ) -> list[tuple[SidecarRow, BlobRow]]:
        sealed = []
        for one in sidecars:
            blob = await self._seal_one(drafts, image_id, "sidecar", one.data, "sidecar")
            row = SidecarRow(
                name=one.name, size=len(one.data), sha256=sha256(one.data), blob_id=blob.blob_id
            )
            sealed.append((row, blob))
        return sealed

    async def _seal_one(
        self, drafts: Drafts, image_id: bytes, kind: str, plaintext: bytes, rendition: str
    ) -> BlobRow:
        context = BlobContext(
            team=NO_TEAM, device=self._context.me, image=image_id, rendition=rendition.encode()
        ).encode()
        key = self._context.entropy(32)
        return blob_row(kind, key, context, await drafts.seal(plaintext, key, context))

    async def _commit(self, ready: _Ready, wish: _Wish) -> dict[str, Any]:
        row = ready.row

        def job(transaction: WriteTransaction) -> list[dict[str, str]]:
            similar = _similar(transaction.connection, ready.likeness)
            for blob in ready.blobs:
                rows.insert_blob(transaction.connection, blob, now=row.imported_at)
            rows.insert_image(
                transaction.connection,
                row,
                thumbnails=ready.thumbnails,
                provenance=wish.provenance,
                likeness=ready.likeness,
            )
            self._insert_sidecars(transaction, row.image_id, ready.sidecars)
            self._place(transaction, row.image_id, wish)
            transaction.append(
                draft(
                    "imported",
                    actor=self._context.me,
                    about=self._context.me,
                    references={"image": row.image_id},
                    facts={
                        "name": row.name,
                        "classification": row.classification,
                        "sha256": row.sha256.hex(),
                    },
                )
            )
            return similar

        committed = await self._context.database.write(job)
        self._context.events.tell("imported", image=row.image_id.hex())
        return {
            **describe(row),
            "album": wish.album,
            "duplicate": False,
            "similar": committed.value,
        }

    def _insert_sidecars(
        self,
        transaction: WriteTransaction,
        image_id: bytes,
        sidecars: list[tuple[SidecarRow, BlobRow]],
    ) -> None:
        for row, blob in sidecars:
            rows.insert_blob(transaction.connection, blob, now=transaction.now)
            rows.insert_sidecar(transaction.connection, image_id, row)

    def _place(self, transaction: WriteTransaction, image_id: bytes, wish: _Wish) -> None:
        db = transaction.connection
        rows.add_tags(db, image_id, wish.tags)
        if wish.album is not None:
            album_id = rows.ensure_album(
                db, wish.album, album_id=self._context.entropy(16), now=self._context.clock.now()
            )
            rows.add_to_album(db, album_id, image_id)
        rows.index_for_search(db, image_id)


def _check_classification(classification: str) -> None:
    if classification not in CLASSIFICATIONS:
        raise UsageError(
            f"no classification {classification!r}",
            hint="one of: " + ", ".join(CLASSIFICATIONS),
        )


def bounded(limit: int) -> int:
    """Return how many rows a listing may have at most."""
    return max(0, min(limit, _MOST_ROWS))


def _nfc(text: str) -> str:
    """Return text composed as names are stored, however the keyboard composed it."""
    return unicodedata.normalize("NFC", text)


def describe(row: ImageRow) -> dict[str, Any]:
    """Return a picture as JSON has it."""
    return {
        "id": row.image_id.hex(),
        "name": row.name,
        "format": row.format,
        "width": row.width,
        "height": row.height,
        "bytes": row.size,
        "sha256": row.sha256.hex(),
        "classification": row.classification,
        "imported_at": rfc3339(row.imported_at),
    }


def blob_row(kind: str, key: bytes | None, context: bytes, sealed: SealedFile) -> BlobRow:
    """Return the row of a sealed file."""
    return BlobRow(
        blob_id=sealed.blob_id,
        kind=kind,
        key=key,
        context=context,
        sealed_bytes=sealed.length,
        sealed_sha256=sealed.sha256,
    )


def _only(found: list[tuple[bytes, str]], text: str, what: str) -> bytes:
    if not found:
        raise UnknownError(f"no {what} {text!r}", hint="safelight images lists what there is")
    if len(found) > 1:
        raise AmbiguousError(
            f"{text!r} means several of them",
            [f"{name} ({one.hex()[:8]})" for one, name in found],
        )
    return bytes(found[0][0])


def _label(text: str) -> str:
    label = unicodedata.normalize("NFC", text).strip()
    if not label or clean_text(label, MAX_NAME_BYTES) != label:
        raise UsageError(f"not a name: {text!r}", hint="use letters, digits and spaces")
    return label


def _similar(db: Connection, likeness: bytes | None) -> list[dict[str, str]]:
    """Return the pictures that look most like one of this hash."""
    if likeness is None:
        return []
    nearest: dict[bytes, tuple[int, str]] = {}
    for image_id, name, other in rows.similar_candidates(db, likeness):
        apart = distance(likeness, other)
        if apart <= MOST_APART and apart <= nearest.get(image_id, (MOST_APART, ""))[0]:
            nearest[image_id] = (apart, name)
    found = sorted(nearest.items(), key=lambda one: one[1])[:_MOST_SIMILAR]
    return [{"id": image_id.hex(), "name": name} for image_id, (_, name) in found]
