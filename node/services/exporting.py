"""Own pictures as files: originals, clean copies or previews, as shares make them.

Belongs here: what is written under which name, and the log entry before each file.
Never here: making copies (``deriving``), or writing files (``files``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from node.errors import NodeError, UsageError
from node.imaging.pool import ImagingError, Ownership, StripError
from node.services.context import Context
from node.services.copies import Copy
from node.services.crediting import Crediting, Wish
from node.services.deriving import derive
from node.services.entries import draft
from node.services.files import write_new_file
from node.services.library import Library
from node.vault.database import WriteTransaction
from node.vault.records import library as rows
from node.vault.records.library import ImageRow
from protocol.capability.terms import parse_rendition
from protocol.errors import UnsupportedError
from protocol.policy import DEFAULT_PREVIEW_PIXELS
from protocol.primitives import sha256

Progress = Callable[[int, int | None, str], None]

ENDINGS: Final = {"jpeg": "jpg", "tiff": "tif", "heif": "heic"}
"""Endings of file names, where they are not the format's name."""


class Exporting:
    """Writes own pictures as new files."""

    def __init__(self, context: Context, library: Library, crediting: Crediting) -> None:
        self._context = context
        self._library = library
        self._crediting = crediting

    async def export(
        self, what: list[str], *, out: str, rendition: str, wish: Wish, progress: Progress
    ) -> dict[str, Any]:
        """Write pictures as new files of a folder, logged before each is written.

        A picture that cannot be cleaned or drawn is named among `failed` and the rest goes on;
        NodeError where there is nothing else.
        """
        wanted = _rendition(rendition)
        images = await self._library.resolve_many(what)
        if wanted == "original" and wish.says_who:
            raise UsageError(
                "an original is written as it is, without a credit",
                hint="add --rendition clean, or leave out --credit and --copyright",
            )
        ownership = await self._crediting.of_pictures(what, images, wish)
        files: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for done, image in enumerate(images, 1):
            try:
                files += await self._export_one(image, wanted, ownership[image.image_id], Path(out))
            except (ImagingError, StripError) as error:
                failed.append(
                    {
                        "id": image.image_id.hex(),
                        "name": image.name,
                        "code": error.code,
                        "message": str(error),
                    }
                )
            progress(done, len(images), "exporting")
        if not files:
            raise NodeError(
                f"{failed[0]['name']}: {failed[0]['message']}",
                code=failed[0]["code"],
                hint="export a preview: --rendition preview" if wanted == "clean" else "",
            )
        return {"files": files, "failed": failed}

    async def _export_one(
        self, image: ImageRow, rendition: str, ownership: Ownership | None, folder: Path
    ) -> list[dict[str, Any]]:
        original = await self._library.read_blob(image.blob_id)
        is_original = rendition == "original"
        copy = Copy(
            version_id=image.version_id,
            rendition=rendition,
            ownership=None if is_original else ownership,
        )
        made = await derive(
            self._context.imaging,
            copy,
            original,
            form=image.format,
            size=(image.width, image.height),
        )
        name = image.name
        if made.format != image.format:
            name = f"{Path(name).stem}.{ENDINGS.get(made.format, made.format)}"
        digest = sha256(made.data).hex()

        def job(transaction: WriteTransaction) -> None:
            transaction.append(
                draft(
                    "exported",
                    actor=self._context.me,
                    about=self._context.me,
                    references={"image": image.image_id},
                    facts={"name": image.name, "rendition": rendition, "sha256": digest},
                )
            )

        await self._context.database.write(job)
        path = await asyncio.to_thread(write_new_file, folder, name, made.data)
        files = [{"path": str(path), "sha256": digest, "bytes": len(made.data)}]
        return files + await self._export_sidecars(image, path) if is_original else files

    async def _export_sidecars(self, image: ImageRow, path: Path) -> list[dict[str, Any]]:
        """Write the files that belong to a picture beside it, under its new name."""
        kept = await self._context.database.read(lambda db: rows.sidecars_of(db, image.image_id))
        files = []
        for one in kept:
            data = await self._library.read_blob(one.blob_id)
            whose, ending = Path(one.name).stem, Path(one.name).suffix
            # Called harbour.jpg.xmp or harbour.xmp.
            named = path.name if Path(whose).suffix == Path(image.name).suffix else path.stem
            written = await asyncio.to_thread(write_new_file, path.parent, named + ending, data)
            files.append({"path": str(written), "sha256": one.sha256.hex(), "bytes": one.size})
        return files


def _rendition(text: str) -> str:
    """Return a rendition as terms say it; UsageError."""
    rendition = f"preview:{DEFAULT_PREVIEW_PIXELS}" if text == "preview" else text
    try:
        parse_rendition(rendition)
    except UnsupportedError:
        raise UsageError(
            f"no rendition {text!r}", hint="original, clean, preview or preview:2048"
        ) from None
    return rendition
