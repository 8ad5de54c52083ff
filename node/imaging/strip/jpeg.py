"""JPEG: the clean copy, made of the segments that decoding needs.

Belongs here: JFIF, colour profiles, what cameras put into APP segments and behind the picture.
Never here: gain maps (``jpeg_gain_map``), or what Exif and XMP say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from node.imaging.strip import jpeg_gain_map
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.exif import PREFIX, exif_block, kept_untrusted, preview_untrusted
from node.imaging.strip.icc import whole_profile_untrusted
from node.imaging.strip.jpeg_segments import (
    APP0,
    COM,
    END,
    MAX_PAYLOAD_BYTES,
    SOS,
    START,
    exact_payload,
    segment,
    segments,
)
from node.imaging.strip.parts import Buffer, Cleaned, Kept, Part
from node.imaging.strip.policy import StripPolicy

_FIRST: Final = b"\xff\xd8\xff"
_JFIF, _JFXX, _ADOBE = b"JFIF\0", b"JFXX\0", b"Adobe"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\0"
_ICC: Final = b"ICC_PROFILE\0"
_PHOTOSHOP: Final = b"Photoshop 3.0\0"
_JFIF_BYTES: Final = 12
"""Without the thumbnail and its two dimensions."""
_ADOBE_BYTES: Final = 12
_MAX_HIDDEN: Final = 16
"""Pictures that are looked for behind the picture."""


@dataclass(slots=True)
class _Picture:
    """One picture of a file, its first one or one behind it."""

    jfif: Buffer = b""
    adobe: Buffer = b""
    profile: bytes | None = None
    iso_gain_map: Buffer = b""
    body: list[Buffer] = field(default_factory=list)
    """Tables, frame and scans, in their order."""
    parts: list[Part] = field(default_factory=list)
    early: int = 0
    """How many of the parts stand before the first scan: decoders read no others."""
    scans: int = 0
    end: int = 0

    def early_parts(self) -> list[Part]:
        return self.parts[: self.early]

    def xmp(self) -> Buffer:
        return next((part.data for part in self.early_parts() if part.kind == "xmp"), b"")


def clean_untrusted(data: bytes, policy: StripPolicy) -> Cleaned:
    """Return a clean copy of a JPEG file; StripError."""
    picture = _read(data, 0)
    if not picture.scans:
        raise StripError(StripCode.BROKEN)
    kept = kept_untrusted(picture.early_parts(), policy)
    if policy.previews:
        kept = _with_preview(kept, picture)
    behind, gain_map = _behind(data, picture, policy)
    head = _head(picture, kept)
    rest = [*picture.body, END]
    pieces = [START, *head, *rest]
    if gain_map is not None:
        pieces = gain_map.attach(head, rest)
    return Cleaned(pieces=pieces, parts=(*picture.parts, *behind), kept=kept)


def clean_fragment_untrusted(data: bytes) -> bytes:
    """Return tables and scans of an abbreviated stream, as TIFF holds them, and nothing else."""
    picture = _read(data, 0)
    return b"".join((START, *_head(picture, Kept()), *picture.body, END))


def _head(picture: _Picture, kept: Kept) -> list[Buffer]:
    """Return the segments that come before the tables."""
    head: list[Buffer] = []
    if picture.jfif:
        head.append(segment(APP0, b"".join((picture.jfif, b"\0\0"))))
    if block := exif_block(kept):
        head.append(segment(APP0 + 1, PREFIX + block))
    if picture.profile:
        head += _profile_segments(picture.profile)
    if picture.adobe:
        head.append(segment(APP0 + 14, picture.adobe))
    return head


def _profile_segments(profile: bytes) -> Iterator[bytes]:
    room = MAX_PAYLOAD_BYTES - len(_ICC) - 2
    chunks = [profile[at : at + room] for at in range(0, len(profile), room)]
    for number, chunk in enumerate(chunks, 1):
        yield segment(APP0 + 2, _ICC + bytes((number, len(chunks))) + chunk)


def _with_preview(kept: Kept, picture: _Picture) -> Kept:
    """Add the first preview of the Exif blocks, itself cleaned, where it fits."""
    for part in picture.early_parts():
        if part.kind == "exif" and (preview := preview_untrusted(part.data)):
            found = _read(bytes(preview), 0)
            if not found.scans:
                continue
            cleaned = b"".join((START, *_head(found, Kept()), *found.body, END))
            with_preview = replace(kept, preview=cleaned)
            if len(PREFIX) + len(exif_block(with_preview)) <= MAX_PAYLOAD_BYTES:
                return with_preview
    return kept


def _read(data: bytes, at: int) -> _Picture:
    """Walk over one picture, sorting what decoding needs from all else."""
    picture = _Picture(end=at)
    profile_chunks: list[memoryview] = []
    for marker, payload, scan, end in segments(data, at):
        picture.end = end
        if marker == SOS:
            if not picture.scans:
                picture.early = len(picture.parts)
            if exact := exact_payload(marker, payload):
                picture.scans += 1
                picture.body += (segment(marker, exact), scan)
        elif exact := exact_payload(marker, payload):
            picture.body.append(segment(marker, exact))
        elif APP0 <= marker < APP0 + 16 and not picture.scans and _is_structure(marker, payload):
            _keep(picture, marker, payload, profile_chunks)
        elif marker == COM or marker >= APP0:
            picture.parts.append(_part(marker, payload))
    if not picture.scans:
        picture.early = len(picture.parts)
    picture.profile = _joined(profile_chunks)
    if profile_chunks:
        joined = b"".join(chunk[len(_ICC) + 2 :] for chunk in profile_chunks)
        kept = picture.profile is not None
        picture.parts.insert(0, Part(kind="icc", name="APP2", data=joined, kept=kept))
        picture.early += 1
    return picture


def _is_structure(marker: int, payload: memoryview) -> bool:
    """Say whether an APP segment says how the pixels are to be read."""
    match marker - APP0:
        case 0:
            return bytes(payload[:5]) == _JFIF and len(payload) >= _JFIF_BYTES + 2
        case 2:
            return bytes(payload[: len(_ICC)]) == _ICC or jpeg_gain_map.is_iso(payload)
        case 14:
            return bytes(payload[:5]) == _ADOBE and len(payload) >= _ADOBE_BYTES
    return False


def _keep(
    picture: _Picture, marker: int, payload: memoryview, profile_chunks: list[memoryview]
) -> None:
    match marker - APP0:
        case 0:
            picture.jfif = payload[:_JFIF_BYTES]
            if len(payload) > _JFIF_BYTES + 2:
                thumbnail = payload[_JFIF_BYTES + 2 :]
                picture.parts.append(Part(kind="thumbnail", name="APP0", data=thumbnail))
        case 2 if jpeg_gain_map.is_iso(payload):
            picture.iso_gain_map = payload
        case 2:
            profile_chunks.append(payload)
        case _:
            picture.adobe = payload[:_ADOBE_BYTES]


def _joined(chunks: list[memoryview]) -> bytes | None:
    """Return the profile that `ICC_PROFILE 0 number:1 of:1 data` chunks make together."""
    numbered = sorted(chunks, key=lambda chunk: bytes(chunk[len(_ICC) : len(_ICC) + 1]))
    if any(len(chunk) < len(_ICC) + 2 for chunk in numbered):
        return None
    if any(chunk[len(_ICC) + 1] != len(numbered) for chunk in numbered):
        return None
    return whole_profile_untrusted(b"".join(chunk[len(_ICC) + 2 :] for chunk in numbered))


def _part(marker: int, payload: memoryview) -> Part:
    """Say what a segment is that decoding does not need."""
    if marker == COM:
        return Part(kind="comment", name="COM", data=payload)
    if marker >= APP0 + 16:
        return Part(kind="application_data", name=f"JPG{marker - APP0 - 16}", data=payload)
    number = marker - APP0
    kind, start = _kind(number, payload)
    return Part(kind=kind, name=f"APP{number}", data=payload[start:])


def _kind(number: int, payload: memoryview) -> tuple[str, int]:
    """Return what an APP segment is, and where what it says begins."""
    head = bytes(payload[:40])
    match number:
        case 0 if head.startswith(_JFXX):
            return "thumbnail", len(_JFXX) + 1
        case 1 if head.startswith(b"Exif\0"):
            return "exif", len(PREFIX)
        case 1 if head.startswith(_XMP):
            return "xmp", len(_XMP)
        case 1 if head.startswith(_XMP_EXTENSION):
            return "xmp_extension", len(_XMP_EXTENSION)
        case 2 if head.startswith(_ICC):
            return "icc", len(_ICC) + 2
        case 11 if head.startswith(b"JP"):
            return "c2pa", 0
        case 13 if head.startswith(_PHOTOSHOP):
            return "photoshop", len(_PHOTOSHOP)
    return "application_data", 0


def _behind(
    data: bytes, picture: _Picture, policy: StripPolicy
) -> tuple[list[Part], jpeg_gain_map.GainMap | None]:
    """Say what stands behind the picture, and return the gain map that stays."""
    view = memoryview(data)
    end = picture.end
    if not view[end:].tobytes().strip(b"\0\r\n "):
        return [], None
    video = data.find(b"ftyp", end) - 4
    stop = video if video >= end else len(data)
    parts: list[Part] = []
    kept: jpeg_gain_map.GainMap | None = None
    at = after = end
    for _ in range(_MAX_HIDDEN):
        at = data.find(_FIRST, at, stop)
        if at < 0:
            break
        hidden = _read(data, at)
        if not hidden.scans or hidden.end > stop:
            at += len(_FIRST)
            continue
        gain_map = jpeg_gain_map.recognise(hidden.xmp(), hidden.iso_gain_map, picture.iso_gain_map)
        stays = gain_map is not None and kept is None and policy.gain_maps
        if gain_map is not None and stays:
            kept = gain_map.with_picture(_head(hidden, Kept()), [*hidden.body, END])
        kind = "gain_map" if gain_map is not None else "second_picture"
        parts.append(Part(kind=kind, name="MPF", data=view[at : hidden.end], kept=stays))
        at = after = hidden.end
    if bytes(view[after:stop]).strip(b"\0\r\n "):
        parts.append(Part(kind="trailer", name="after EOI", data=view[after:stop]))
    if stop < len(data):
        parts.append(Part(kind="video", name="MP4", data=view[stop:]))
    return parts, kept
