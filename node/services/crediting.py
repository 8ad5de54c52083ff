"""Who is credited in copies: what an album says of its pictures, and what a share or export says.

Belongs here: the default of an album, and which credit a picture's copies carry.
Never here: writing it into files (``imaging``), or which copies can carry one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from node.errors import UsageError
from node.imaging.pool import Ownership
from node.services.context import Context
from node.services.copies import decode_ownership, encode_ownership
from node.services.library import Library
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import library as rows
from node.vault.records.library import ImageRow
from protocol.identity import clean_text
from protocol.limits import MAX_NAME_BYTES, MAX_USAGE_TERMS_BYTES


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of the credit of some copies; nothing leaves it to the albums."""

    credit: str = ""
    copyright_notice: str = ""
    terms: str = ""
    """Usage terms: they stand beside a credit, and make none by themselves."""
    no_credit: bool = False

    @property
    def says_who(self) -> bool:
        """Whether it names a credit of its own."""
        return bool(self.credit or self.copyright_notice)


class Crediting:
    """Keeps albums' found and says which one counts."""

    def __init__(self, context: Context, library: Library) -> None:
        self._context = context
        self._library = library

    async def album(self, album: str, wish: Wish) -> dict[str, Any]:
        """Set an album's credit where the wish names one or none, and return what it says."""
        check(wish)
        album_id = await self._library.resolve_album(album)
        if wish.terms and not wish.says_who:
            raise UsageError("usage terms stand beside a credit", hint="add --credit NAME")
        if wish.says_who or wish.no_credit:
            credit = None if wish.no_credit else encode_ownership(_ownership(wish))

            def job(transaction: WriteTransaction) -> None:
                rows.set_album_credit(transaction.connection, album_id, credit)

            await self._context.database.write(job)
        kept = await self._context.database.read(lambda db: rows.album_credit(db, album_id))
        said = Ownership() if kept is None else decode_ownership(kept)
        return {
            "id": album_id.hex(),
            "credit": said.creator,
            "copyright": said.rights,
            "terms": said.terms,
        }

    async def of_pictures(
        self, what: list[str], images: list[ImageRow], wish: Wish
    ) -> dict[bytes, Ownership | None]:
        """Return the credit of each picture: what the wish names, else its album's.

        what: images and albums as the person named them. A picture that was named itself takes
        the credit of no album. UsageError where two of the albums credit one picture differently.
        """
        check(wish)
        if wish.no_credit:
            return {image.image_id: None for image in images}
        if wish.says_who:
            return {image.image_id: _ownership(wish) for image in images}
        found: dict[bytes, Ownership] = {}
        for album_id in await self._library.albums_among(what):

            def query(
                db: Connection, album_id: bytes = album_id
            ) -> tuple[bytes | None, list[bytes]]:
                return rows.album_credit(db, album_id), rows.album_image_ids(db, album_id)

            kept, members = await self._context.database.read(query)
            if kept is None:
                continue
            credit = decode_ownership(kept)
            if wish.terms:
                credit = msgspec.structs.replace(credit, terms=wish.terms)
            for image_id in members:
                if found.setdefault(image_id, credit) != credit:
                    raise _undecided()
        return {image.image_id: found.get(image.image_id) for image in images}

    async def of_all(self, what: list[str], images: list[ImageRow], wish: Wish) -> Ownership | None:
        """Return the one credit of pictures that are granted together; UsageError for several."""
        found = set((await self.of_pictures(what, images, wish)).values())
        if len(found) > 1:
            raise _undecided()
        return found.pop()


def check(wish: Wish) -> None:
    """Refuse a credit that contradicts itself or cannot be shown; UsageError."""
    if wish.no_credit and wish.says_who:
        raise UsageError("a credit and no credit contradict each other")
    for text, limit in (
        (wish.credit, MAX_NAME_BYTES),
        (wish.copyright_notice, MAX_NAME_BYTES),
        (wish.terms, MAX_USAGE_TERMS_BYTES),
    ):
        if clean_text(text, limit) != text:
            raise UsageError(
                "the usage terms cannot be shown as they are"
                if text is wish.terms
                else "the credit cannot be shown as it is",
                hint=f"plain text of at most {limit} bytes",
            )


def _ownership(wish: Wish) -> Ownership:
    return Ownership(creator=wish.credit, rights=wish.copyright_notice, terms=wish.terms)


def _undecided() -> UsageError:
    return UsageError(
        "the albums credit these pictures differently",
        hint="decide with --credit NAME or --no-credit",
    )
