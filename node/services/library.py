"""The own pictures: import, search, show, export.

Belongs here: what people do with pictures that are theirs.
Never here: decoding (``imaging``), sealing (``vault.blobs``), or sharing.
"""

from __future__ import annotations

import asyncio
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.imaging.pool import ImagingError, Measured
from node.services.context import Context
from node.services.drafts import Drafts
from node.services.entries import draft
from node.services.files import write_new_file
from node.services.moments import rfc3339
from node.services.whole import whole
from node.vault.blobs import SealedFile
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import grants as grant_rows
from node.vault.records import library as rows
from node.vault.records.library import BlobRow, ImageRow
from protocol.capability.terms import CLASSIFICATIONS, parse_rendition
from protocol.errors import UnsupportedError
from protocol.identity import clean_text
from protocol.labels import NO_TEAM
from protocol.limits import MAX_NAME_BYTES
from protocol.policy import DEFAULT_PREVIEW_PIXELS
from protocol.primitives import sha256
from protocol.sealed_blob import BlobContext

Progress = Callable[[int, int | None, str], None]

THUMBNAIL_SIZES: Final = (256, 1024)
"""Long edges in pixels: a grid cell, and a first look."""

_MAX_FILE_BYTES: Final = 512 * 1024 * 1024
"""A file is held in memory once while it is imported."""

_MOST_ROWS: Final = 1_000_000
"""Rows of one listing."""

_IN_FLIGHT: Final = 6
"""Files between reading and commit: overlaps decoding with the disk's syncs."""


class ImportFileError(NodeError):
    """One file that cannot be imported; the rest goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A picture whose sealed files are durable."""

    row: ImageRow
    blobs: list[BlobRow]
    thumbnails: dict[int, bytes]


class Library:
    """Imports, finds and exports own pictures."""

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
            albums = await self._context.database.read(lambda db, t=text: rows.find_albums(db, t))  # type: ignore[misc]
            images = await self._context.database.read(lambda db, t=text: rows.find_images(db, t))  # type: ignore[misc]
            if len(albums) + len(images) > 1:
                candidates = [f"album {name} ({one.hex()[:8]})" for one, name in albums]
                candidates += [f"{name} ({one.hex()[:8]})" for one, name in images]
                raise AmbiguousError(f"{text!r} means several things", candidates)
            if albums:
                album_id = albums[0][0]
                ids = await self._context.database.read(
                    lambda db, a=album_id: rows.album_image_ids(db, a)  # type: ignore[misc]
                )
            else:
                ids = [_only(images, text, "image or album")]
            for image_id in ids:
                row = await self._context.database.read(lambda db, i=image_id: rows.image(db, i))  # type: ignore[misc]
                if row is not None:
                    chosen[image_id] = row
        if not chosen:
            raise UnknownError("there is no picture in that")
        return list(chosen.values())

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
                "capabilities": [
                    {
                        "id": grant.capability_id.hex(),
                        "holder": grant.holder.hex(),
                        "expires_at": rfc3339(grant.expires_at),
                        "revoked": grant.revoked_at is not None,
                        "opens": grant.opens,
                    }
                    for grant in grant_rows.holders_of(db, row.image_id)
                ],
            }

        return await self._context.database.read(query)

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
        progress: Progress,
    ) -> dict[str, Any]:
        """Import files and folders; a bad file is reported and the rest goes on."""
        _check_classification(classification)
        labels = [_label(text) for text in tags]
        album = None if album is None else _label(album)
        files, failed = await asyncio.to_thread(_collect, [Path(path) for path in paths])
        images: list[dict[str, Any]] = []
        done = 0
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(path: Path) -> None:
            nonlocal done
            async with slots:
                try:
                    images.append(await self._import_file(path, album, labels, classification))
                except (ImportFileError, ImagingError) as error:
                    failed.append(_failure(path, error.code, str(error)))
                done += 1
                progress(done, len(files), "importing")

        try:
            async with asyncio.TaskGroup() as group:
                for path in files:
                    group.create_task(one(path))
        except ExceptionGroup as errors:
            # The vault itself, not a file: what was committed stays, the rest is not tried.
            raise errors.exceptions[0] from None
        order = {str(path): place for place, path in enumerate(files)}
        images.sort(key=lambda image: order[image.pop("_path")])
        if failed and not images:
            raise NodeError(
                f"nothing was imported: {failed[0]['path']}: {failed[0]['message']}",
                code="nothing_imported",
                hint=f"{len(failed)} files failed" if len(failed) > 1 else "",
            )
        return {"images": images, "failed": failed}

    async def import_bytes(
        self, data: bytes, *, name: str, classification: str, provenance: bytes
    ) -> dict[str, Any]:
        """Import a picture that was saved under a capability, with where it came from."""
        return await self._import_data(data, name, None, [], classification, provenance=provenance)

    async def _import_file(
        self,
        path: Path,
        album: str | None,
        tags: list[str],
        classification: str,
    ) -> dict[str, Any]:
        data = await asyncio.to_thread(_read_file, path)
        imported = await self._import_data(
            data, _name_of(path), album, tags, classification, provenance=None
        )
        return {**imported, "_path": str(path)}

    async def _import_data(
        self,
        data: bytes,
        name: str,
        album: str | None,
        tags: list[str],
        classification: str,
        *,
        provenance: bytes | None,
    ) -> dict[str, Any]:
        digest = await asyncio.to_thread(sha256, data)
        lock = self._importing.setdefault(digest, asyncio.Lock())
        async with lock:
            known = await self._context.database.read(lambda db: rows.images_by_content(db, digest))
            if known:
                return await self._known_again(known[0], album, tags)
            measured = await self._context.imaging.measure_and_thumbnail(data, THUMBNAIL_SIZES)

            async def keep() -> dict[str, Any]:
                async with Drafts(self._context.vault.blobs) as drafts:
                    ready = await self._seal(drafts, data, digest, name, classification, measured)
                    return await self._commit(ready, album, tags, provenance)

            return await whole(keep())

    async def _known_again(
        self, row: ImageRow, album: str | None, tags: list[str]
    ) -> dict[str, Any]:
        """Put a picture that is here already where this import wants it."""

        def job(transaction: WriteTransaction) -> None:
            self._place(transaction, row.image_id, album, tags)

        if album is not None or tags:
            await self._context.database.write(job)
        return {**describe(row), "album": album, "duplicate": True}

    async def _seal(
        self,
        drafts: Drafts,
        data: bytes,
        digest: bytes,
        name: str,
        classification: str,
        measured: Measured,
    ) -> _Ready:
        entropy = self._context.entropy
        image_id, version_id = entropy(16), entropy(16)

        async def seal(kind: str, plaintext: bytes, rendition: str) -> BlobRow:
            context = BlobContext(
                team=NO_TEAM, device=self._context.me, image=image_id, rendition=rendition.encode()
            ).encode()
            key = entropy(32)
            sealed = await drafts.seal(plaintext, key, context)
            return blob_row(kind, key, context, sealed)

        original, *thumbnails = await asyncio.gather(
            seal("original", data, "original"),
            *(
                seal("thumbnail", encoded, f"thumbnail:{size}")
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
        return _Ready(row=row, blobs=[original, *thumbnails], thumbnails=sizes)

    async def _commit(
        self, ready: _Ready, album: str | None, tags: list[str], provenance: bytes | None
    ) -> dict[str, Any]:
        row = ready.row

        def job(transaction: WriteTransaction) -> None:
            for blob in ready.blobs:
                rows.insert_blob(transaction.connection, blob, now=row.imported_at)
            rows.insert_image(
                transaction.connection, row, thumbnails=ready.thumbnails, provenance=provenance
            )
            self._place(transaction, row.image_id, album, tags)
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

        await self._context.database.write(job)
        self._context.events.tell("imported", image=row.image_id.hex())
        return {**describe(row), "album": album, "duplicate": False}

    def _place(
        self, transaction: WriteTransaction, image_id: bytes, album: str | None, tags: list[str]
    ) -> None:
        db = transaction.connection
        rows.add_tags(db, image_id, tags)
        if album is not None:
            album_id = rows.ensure_album(
                db, album, album_id=self._context.entropy(16), now=self._context.clock.now()
            )
            rows.add_to_album(db, album_id, image_id)
        rows.index_for_search(db, image_id)

    # Export ---------------------------------------------------------------------------------------

    async def export(
        self, what: list[str], *, out: str, rendition: str, progress: Progress
    ) -> dict[str, Any]:
        """Write own pictures as new files, logged before each is written."""
        edge = _edge_of(rendition)
        chosen = await self.resolve_many(what)
        folder = Path(out)
        files = []
        for done, row in enumerate(chosen, 1):
            data, name = await self.read_blob(row.blob_id), row.name
            if edge is not None:
                rendered = await self._context.imaging.render_preview(data, edge)
                data, name = rendered.data, f"{Path(name).stem}.{rendered.format}"

            def job(transaction: WriteTransaction, row: ImageRow = row) -> None:
                transaction.append(
                    draft(
                        "exported",
                        actor=self._context.me,
                        about=self._context.me,
                        references={"image": row.image_id},
                        facts={"name": row.name, "rendition": rendition},
                    )
                )

            await self._context.database.write(job)
            path = await asyncio.to_thread(write_new_file, folder, name, data)
            files.append({"path": str(path), "sha256": sha256(data).hex(), "bytes": len(data)})
            progress(done, len(chosen), "exporting")
        return {"files": files}


def _check_classification(classification: str) -> None:
    if classification not in CLASSIFICATIONS:
        raise UsageError(
            f"no classification {classification!r}",
            hint="one of: " + ", ".join(CLASSIFICATIONS),
        )


def _edge_of(rendition: str) -> int | None:
    """Return the long edge of a preview in pixels, None for the original."""
    try:
        wanted = parse_rendition(
            f"preview:{DEFAULT_PREVIEW_PIXELS}" if rendition == "preview" else rendition
        )
    except UnsupportedError:
        wanted = None
    if wanted is None or wanted.kind == "clean":
        raise UsageError(
            f"no rendition {rendition!r} here", hint="write original, preview or preview:2048"
        )
    return wanted.pixels


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


def _name_of(path: Path) -> str:
    """Return a picture's name from its file's: never more than text."""
    return clean_text(os.fsencode(path.name).decode(errors="replace"), MAX_NAME_BYTES) or "unnamed"


def _failure(path: Path, code: str, message: str) -> dict[str, str]:
    return {
        "path": clean_text(os.fsencode(path).decode(errors="replace"), 4096),
        "code": code,
        "message": message,
    }


def _collect(paths: list[Path]) -> tuple[list[Path], list[dict[str, str]]]:
    """Return the files below paths, each once, and what cannot be looked at."""
    files: dict[Path, None] = {}
    failed: list[dict[str, str]] = []

    def walk(folder: Path) -> Iterator[Path]:
        for base, folders, names in os.walk(folder, onerror=note):
            folders.sort()
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(base, name)

    def note(error: OSError) -> None:
        failed.append(_failure(Path(error.filename), "unreadable", error.strerror or "unreadable"))

    for path in paths:
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                files.update(dict.fromkeys(walk(path)))
            else:
                files[path] = None
        except FileNotFoundError:
            failed.append(_failure(path, "not_found", "there is no such file"))
        except OSError as error:
            failed.append(_failure(path, "unreadable", error.strerror or "unreadable"))
    return list(files), failed


def _read_file(path: Path) -> bytes:
    """Return a regular file's bytes; ImportFileError for everything else."""
    try:
        # Not blocking: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImportFileError("not a regular file", code="not_a_file")
            if status.st_size > _MAX_FILE_BYTES:
                raise ImportFileError("larger than 512 MiB", code="too_large")
            return file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImportFileError(error.strerror or "unreadable", code="unreadable") from None
