"""Which bytes a capability needs of a picture: for everybody who is granted the same, or its own.

Belongs here: what makes one copy another than the next, a holder's watermark, and how strong it is.
Never here: making copies (``rendering``), drawing (``imaging``), or what may be granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from node.imaging.pool import Mark, Ownership, Strength
from node.services.moments import rfc3339
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records.grants import GrantImageRow, GrantRow
from protocol.capability.terms import Terms, parse_rendition, parse_terms_untrusted
from protocol.identity import fingerprint_words
from protocol.primitives import sha256

STRENGTHS: Final = {
    "public": Strength.SUBTLE,
    "internal": Strength.SUBTLE,
    "confidential": Strength.MEDIUM,
    "restricted": Strength.FIRM,
}
"""How much a watermark shows, by the classification in the terms."""

_LOGO: Final = "watermark.logo"
"""Under this name the index keeps the logo of watermarks."""

_CODE_LETTERS: Final = 8
"""Of a capability's id: as many as every listing shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One set of bytes that leaves: a version of a picture, what is made of it, and for whom."""

    version_id: bytes
    rendition: str
    """As terms say it."""
    mark: Mark | None = None
    ownership: Ownership | None = None
    capability_id: bytes | None = None
    """The only capability that these bytes are for; None where others may share them."""

    @property
    def spec(self) -> str:
        """What the copy is called in the index: the rendition, and whose it is behind it."""
        if self.capability_id is not None:
            return f"{self.rendition} for {self.capability_id.hex()}"
        if self.ownership is not None:
            credit = sha256(msgspec.msgpack.encode(self.ownership))
            return f"{self.rendition} by {credit.hex()}"
        return self.rendition


def rendition_of_spec(spec: str) -> str:
    """Return a copy's rendition as terms say it."""
    return spec.partition(" ")[0]


def copy_for(image: GrantImageRow, grant: GrantRow, holder_name: str) -> Copy:
    """Return the copy that a capability needs of one of its pictures."""
    terms = parse_terms_untrusted(grant.terms)
    if parse_rendition(terms.rendition).kind == "original":
        return Copy(version_id=image.version_id, rendition=terms.rendition)
    return Copy(
        version_id=image.version_id,
        rendition=terms.rendition,
        mark=mark_of(terms, holder_name, grant.created_at) if terms.watermark else None,
        ownership=None if grant.ownership is None else decode_ownership(grant.ownership),
        capability_id=grant.capability_id if terms.watermark else None,
    )


def mark_of(terms: Terms, holder_name: str, created_at: int) -> Mark:
    """Return the watermark of a capability: its holder, the day it was granted, its id."""
    return Mark(
        name=holder_name,
        words=" ".join(fingerprint_words(terms.holder)),
        date=(rfc3339(created_at) or "")[:10],
        code=terms.capability_id.hex()[:_CODE_LETTERS],
        strength=STRENGTHS[terms.classification],
    )


def watermark_logo(db: Connection) -> bytes:
    """Return the logo that watermarks bear, as ``imaging`` normalised it; empty for none."""
    return get_meta(db, _LOGO) or b""


def set_watermark_logo(db: Connection, logo: bytes) -> None:
    """Keep the logo that watermarks bear from now on; empty for none."""
    set_meta(db, _LOGO, logo)


def encode_ownership(ownership: Ownership) -> bytes:
    """Return a credit as the index keeps it."""
    return msgspec.msgpack.encode(ownership)


def decode_ownership(data: bytes) -> Ownership:
    """Return a credit that the index kept."""
    return msgspec.msgpack.decode(data, type=Ownership)
