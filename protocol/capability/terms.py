"""What a capability says, the pictures it is about, and how it travels to its holder.

Belongs here: terms, the image list, the sealed capability, and the sentence that
tells a person what the terms mean.
Never here: keys (``keys``), what changes later (``statements``), or whether policy
allows the terms (``protocol.policy``).
Specification: docs/spec/capability.md, sections 1 to 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from protocol.capability.fields import Count, Edge, Format, Hash, Id, Opens, Ordinal, Salt, Time
from protocol.capability.signed import parse_untrusted, sign_value, verified_body_untrusted
from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.identity import Identity, LocalIdentity, clean_text
from protocol.labels import (
    HASH_CAPABILITY,
    HASH_IMAGE_LIST,
    PROLOGUE_SEALED_CAPABILITY,
    SignatureType,
)
from protocol.limits import (
    MAX_BODY_BYTES,
    MAX_IMAGE_LIST_BYTES,
    MAX_IMAGES,
    MAX_NAME_BYTES,
    MAX_PREVIEW_PIXELS,
    MAX_USAGE_TERMS_BYTES,
)
from protocol.noise.one_way import open_from_untrusted, seal_to
from protocol.primitives import Entropy, blake2b
from protocol.sealed_blob import BlobContext, plain_length_untrusted

TERMS_VERSION: Final = 1
"""Fixes every algorithm that the terms do not name, the second factor's cost among them."""

RIGHTS: Final = ("view", "save", "comment", "pick", "rate", "approve", "extend", "reshare")
"""Every right, in the order in which terms name them."""
CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
"""Every classification, the strictest last."""

# Terms ------------------------------------------------------------------------------------------


class Terms(msgspec.Struct, frozen=True, tag="terms", forbid_unknown_fields=True, kw_only=True):
    """The terms of a capability, fixed for ever: who may do what to which pictures."""

    version: int = TERMS_VERSION
    capability_id: Id
    issuer: Hash
    """Fingerprint of the node whose pictures these are, and whose clock decides."""
    holder: Hash
    """Fingerprint of the only node that can use the capability."""
    team: Hash
    image_count: Annotated[int, msgspec.Meta(ge=1, le=MAX_IMAGES)]
    image_list_hash: Hash
    rights: tuple[str, ...]
    """In the order of RIGHTS, each once, ``view`` always."""
    rendition: str
    """``original``, ``clean`` or ``preview:N``."""
    watermark: bool
    not_before: Time
    expires_at: Time
    max_opens: Opens
    scope: Literal["image", "capability"]
    """Whether max_opens is for each picture or for all together."""
    factor_salt: Salt | None
    """Salt of the second factor, None without one."""
    lease: Time
    """Milliseconds for which opens may be taken along offline, 0 for none."""
    classification: str
    usage_terms: str
    """The sharer's words, one line, empty for none."""
    policy_version: Count
    roster_version: Ordinal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """What a rendition's text in terms and manifests means."""

    kind: Literal["original", "clean", "preview"]
    pixels: int | None
    """Longest edge of a preview, None for the other kinds."""


_PREVIEW: Final = re.compile(r"preview:([1-9][0-9]{0,4})", re.ASCII)


def parse_rendition(text: str) -> Rendition:
    """Return what a rendition's text means; UnsupportedError for any other text."""
    if text == "original":
        return Rendition(kind="original", pixels=None)
    if text == "clean":
        return Rendition(kind="clean", pixels=None)
    preview = _PREVIEW.fullmatch(text)
    if preview is None or int(preview[1]) > MAX_PREVIEW_PIXELS:
        raise UnsupportedError("a rendition is original, clean or preview:PIXELS")
    return Rendition(kind="preview", pixels=int(preview[1]))


def validate_terms(terms: Terms) -> None:
    """Check the rules between fields; UnsupportedError for what is unknown, else EncodingError.

    The sizes of fields are the codec's: together they are `parse_terms_untrusted`.
    """
    if terms.version != TERMS_VERSION:
        raise UnsupportedError("terms: a version this build does not know")
    if not set(terms.rights) <= set(RIGHTS):
        raise UnsupportedError("terms: a right this build does not know")
    if terms.rights != tuple(right for right in RIGHTS if right in terms.rights):
        raise EncodingError("terms: rights are not in their order")
    if "view" not in terms.rights:
        raise EncodingError("terms: the right to view is missing")
    if terms.classification not in CLASSIFICATIONS:
        raise UnsupportedError("terms: a classification this build does not know")
    if parse_rendition(terms.rendition).kind == "original" and terms.watermark:
        raise EncodingError("terms: an original has no watermark")
    if terms.expires_at <= terms.not_before:
        raise EncodingError("terms: they end before they begin")
    if terms.issuer == terms.holder:
        raise EncodingError("terms: issuer and holder are one")
    if terms.usage_terms != clean_text(terms.usage_terms, MAX_USAGE_TERMS_BYTES):
        raise EncodingError("terms: usage terms that cannot be shown")


def parse_terms_untrusted(body: bytes) -> Terms:
    """Return the terms that a signed body holds; EncodingError or UnsupportedError."""
    return parse_untrusted(Terms, body, validate_terms)


def capability_hash(terms_body: bytes) -> bytes:
    """Return the 32-byte name of a capability: the hash of its terms' exact bytes."""
    return blake2b(HASH_CAPABILITY + terms_body)


def issue(*, terms: Terms, issuer: LocalIdentity) -> bytes:
    """Return terms of ours, signed; LocalError where a holder would refuse them."""
    if terms.issuer != issuer.public.fingerprint:
        raise LocalError("terms are signed by the issuer they name")
    return sign_value(
        terms,
        SignatureType.CAPABILITY,
        signer=issuer,
        team_id=terms.team,
        rules=validate_terms,
    )


# Image list -------------------------------------------------------------------------------------


class ImageItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a holder knows of a picture before the first open."""

    image_id: Id
    name: str
    """As the issuer calls it, 1 to MAX_NAME_BYTES bytes. Never a path."""
    format: Format
    width: Edge
    """Of the picture itself, as seen; its rendition may be smaller."""
    height: Edge
    bytes: Count


class ImageList(msgspec.Struct, frozen=True, tag="image-list", forbid_unknown_fields=True):
    """The pictures of a capability, in the issuer's order."""

    items: tuple[ImageItem, ...]


def image_list_hash(list_bytes: bytes) -> bytes:
    """Return the 32-byte hash by which terms name an image list."""
    return blake2b(HASH_IMAGE_LIST + list_bytes)


def encode_image_list(items: tuple[ImageItem, ...]) -> bytes:
    """Return the exact bytes of an image list; LocalError where a holder would refuse it."""
    list_bytes = encode(ImageList(items=items))
    try:
        _parse_image_list_untrusted(list_bytes)
    except EncodingError as error:
        raise LocalError(str(error)) from error
    return list_bytes


def parse_image_list_untrusted(list_bytes: bytes, *, terms: Terms) -> tuple[ImageItem, ...]:
    """Return the pictures that verified terms are about, their names fit to be shown.

    Raises AuthenticationError for another list than the terms name, EncodingError for one
    that the issuer should not have written.
    """
    if image_list_hash(list_bytes) != terms.image_list_hash:
        raise AuthenticationError
    items = _parse_image_list_untrusted(list_bytes)
    if len(items) != terms.image_count:
        raise EncodingError("image list: its count is not the terms'")
    return tuple(
        msgspec.structs.replace(item, name=clean_text(item.name, MAX_NAME_BYTES) or "unnamed")
        for item in items
    )


def _parse_image_list_untrusted(list_bytes: bytes) -> tuple[ImageItem, ...]:
    items = decode(ImageList, list_bytes, limit=MAX_IMAGE_LIST_BYTES).items
    if not 1 <= len(items) <= MAX_IMAGES:
        raise EncodingError("image list: too few or too many pictures")
    if len({item.image_id for item in items}) != len(items):
        raise EncodingError("image list: a picture stands in it twice")
    if not all(1 <= len(item.name.encode()) <= MAX_NAME_BYTES for item in items):
        raise EncodingError("image list: a name is empty or too long")
    return items


def image_list_context(terms: Terms) -> bytes:
    """Return the context under which the image list of these terms is sealed (spec section 2)."""
    return BlobContext(
        team=terms.team, device=terms.issuer, image=terms.capability_id, rendition=b"image-list"
    ).encode()


# Capability -------------------------------------------------------------------------------------


class Capability(
    msgspec.Struct, frozen=True, tag="capability", forbid_unknown_fields=True, kw_only=True
):
    """What is sealed to the holder: signed terms, and secrets for nobody else."""

    signed_terms: bytes
    """Exact bytes of `identity.Signed`."""
    holder_share: Hash
    """The holder's part of every K of this capability."""
    list_key: Hash
    list_sealed_sha256: Hash
    list_sealed_bytes: Count

    def __repr__(self) -> str:
        return "Capability()"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCapability:
    """A capability whose seal, signature and terms have been verified."""

    capability: Capability
    terms: Terms
    terms_body: bytes
    """The exact bytes that the issuer signed."""
    hash: bytes
    """capability_hash, 32 bytes."""
    issuer: Identity


def seal_capability(
    capability: Capability,
    *,
    sender: LocalIdentity,
    recipient: Identity,
    team_id: bytes,
    entropy: Entropy,
) -> bytes:
    """Return a capability sealed to its holder's agreement key, at most 64 KiB.

    Raises LimitError where it is larger: usage terms are the only part that grows.
    """
    return seal_to(
        sender_secret=sender.agreement_secret,
        recipient_public=recipient.agreement_key,
        prologue=PROLOGUE_SEALED_CAPABILITY + team_id,
        plaintext=encode(capability),
        entropy=entropy,
    )


def open_capability_untrusted(
    sealed: bytes,
    *,
    holder: LocalIdentity,
    issuer_of: Callable[[bytes], Identity | None],
    team_id: bytes,
) -> OpenedCapability:
    """Open and verify a capability that somebody sent.

    ``issuer_of`` takes an agreement key and returns the member who has it, or None.
    Whatever a stranger or a relay can change is the one AuthenticationError; EncodingError
    and UnsupportedError say that a member wrote what this build refuses.
    """
    try:
        sender, plaintext = open_from_untrusted(
            recipient_secret=holder.agreement_secret,
            prologue=PROLOGUE_SEALED_CAPABILITY + team_id,
            sealed=sealed,
        )
    except RemoteProtocolError:
        raise AuthenticationError from None
    issuer = issuer_of(sender)
    if issuer is None:
        raise AuthenticationError
    capability = decode(Capability, plaintext, limit=MAX_BODY_BYTES)
    body = verified_body_untrusted(
        SignatureType.CAPABILITY, signer=issuer, team_id=team_id, signed=capability.signed_terms
    )
    terms = parse_terms_untrusted(body)
    # Who sealed it, who signed it and who it is for are compared, not assumed: a member could
    # seal to us what it was granted itself, or sign terms that name another issuer.
    if (terms.issuer, terms.holder, terms.team) != (
        issuer.fingerprint,
        holder.public.fingerprint,
        team_id,
    ):
        raise AuthenticationError
    if plain_length_untrusted(capability.list_sealed_bytes) > MAX_IMAGE_LIST_BYTES:
        raise EncodingError("capability: its image list is too long")
    return OpenedCapability(
        capability=capability,
        terms=terms,
        terms_body=body,
        hash=capability_hash(body),
        issuer=issuer,
    )


# For people -------------------------------------------------------------------------------------

_VERBS: Final = {
    "view": "view",
    "save": "save",
    "comment": "comment on",
    "pick": "pick",
    "rate": "rate",
    "approve": "approve",
}
"""Rights that are done to a picture, as people say them."""
_ASKS: Final = {"extend": "more time", "reshare": "a share for somebody else"}
"""Rights to ask the issuer, as people say what for."""


def sentence(
    terms: Terms,
    *,
    holder_name: str,
    until: str,
    since: str | None = None,
    issuer_name: str | None = None,
    max_opens: int | None = None,
) -> str:
    """Return the terms as one plain sentence.

    Times are passed in as people read them: ``until`` is the end with amendments applied,
    ``since`` the begin where it lies ahead. ``max_opens`` is the limit with amendments
    applied, else the terms'. ``holder_name`` is a member's name, or "You".
    """
    opens = terms.max_opens if max_opens is None else max_opens
    verbs = [_VERBS[right] for right in terms.rights if right in _VERBS]
    asks = [_ASKS[right] for right in terms.rights if right in _ASKS]
    parts = [
        f"{holder_name} may {_join(verbs)} {_plural(terms.image_count, 'picture')}",
        f" from {issuer_name}" if issuer_name is not None else "",
        f" as {_rendition_words(terms)}",
        f", {'once' if opens == 1 else f'{opens} times'}",
        _scope_words(terms),
        f", from {since}" if since is not None else "",
        f", until {until}" if since is None else f" until {until}",
        "; a second-factor phrase is needed" if terms.factor_salt is not None else "",
        "; opens may be taken along offline" if terms.lease else "",
        f"; may ask for {_join(asks)}" if asks else "",
        "" if "save" in terms.rights else "; nothing can be saved",
        ".",
    ]
    return "".join(parts)


def _rendition_words(terms: Terms) -> str:
    rendition = parse_rendition(terms.rendition)
    many = terms.image_count > 1
    if rendition.kind == "original":
        return "original files" if many else "the original file"
    if rendition.kind == "clean":
        words = "copies without metadata" if many else "a copy without metadata"
    else:
        words = f"{'previews' if many else 'a preview'} of at most {rendition.pixels} pixels"
    return f"{words} with a watermark" if terms.watermark else words


def _scope_words(terms: Terms) -> str:
    if terms.image_count == 1:
        return ""
    return " each" if terms.scope == "image" else " in all"


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
