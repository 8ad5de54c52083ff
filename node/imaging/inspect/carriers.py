"""XMP, IPTC, Photoshop's resources and colour profiles: what they tell.

Belongs here: which of their names say where, when, who, with what, and what was edited.
Never here: reading them (``xmp``, ``iptc``), or Exif.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from node.imaging.inspect import iptc, xmp
from node.imaging.inspect.finding import Finding, amount, shown
from node.imaging.strip.parts import Buffer

_XMP: Final = {
    "artist": ("who", "artist {}"),
    "creator": ("who", "creator {}"),
    "rights": ("who", "copyright {}"),
    "usageterms": ("who", "terms {}"),
    "credit": ("who", "credit {}"),
    "source": ("who", "source {}"),
    "authorsposition": ("who", "author's position {}"),
    "captionwriter": ("who", "caption by {}"),
    "ownername": ("who", "camera owner {}"),
    "personinimage": ("who", "person {}"),
    "persondisplayname": ("who", "person {}"),
    "ciemailwork": ("who", "e-mail {}"),
    "citelwork": ("who", "telephone {}"),
    "ciadrextadr": ("who", "address {}"),
    "ciurlwork": ("who", "web address {}"),
    "webstatement": ("who", "web address {}"),
    "city": ("where", "city {}"),
    "state": ("where", "state {}"),
    "country": ("where", "country {}"),
    "location": ("where", "location {}"),
    "sublocation": ("where", "location {}"),
    "datetimeoriginal": ("when", "taken {}"),
    "datecreated": ("when", "taken {}"),
    "createdate": ("when", "made {}"),
    "modifydate": ("when", "changed {}"),
    "metadatadate": ("when", "described {}"),
    "model": ("device", "camera {}"),
    "lens": ("device", "lens {}"),
    "lensmodel": ("device", "lens {}"),
    "serialnumber": ("device", "camera serial {}"),
    "bodyserialnumber": ("device", "camera serial {}"),
    "lensserialnumber": ("device", "lens serial {}"),
    "creatortool": ("edits", "software {}"),
    "software": ("edits", "software {}"),
    "softwareagent": ("edits", "edited with {}"),
    "documentid": ("edits", "document number {}"),
    "originaldocumentid": ("edits", "original document number {}"),
    "rawfilename": ("edits", "made from the file {}"),
    "preservedfilename": ("edits", "was named {}"),
    "provenance": ("provenance", "proof of origin at {}"),
    "description": ("text", "description {}"),
    "title": ("text", "title {}"),
    "headline": ("text", "headline {}"),
    "usercomment": ("text", "comment {}"),
    "subject": ("text", "keyword {}"),
    "instructions": ("text", "instructions {}"),
    "transmissionreference": ("text", "job {}"),
}
"""By the name without its prefix, in small letters: prefixes are the file's to choose."""
_XMP_NOT_SENSITIVE: Final = frozenset({"creatortool", "software", "softwareagent", "lens"})
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]{200,}")
_GPS: Final = re.compile(r"([0-9]{1,3}),([0-9]{1,2}(?:\.[0-9]{1,10})?)(?:,([0-9]{1,2}))?([NSEW])")

_IPTC: Final = {
    5: ("text", "title {}"),
    25: ("text", "keyword {}"),
    40: ("text", "instructions {}"),
    55: ("when", "taken {}"),
    62: ("when", "digitised {}"),
    80: ("who", "author {}"),
    85: ("who", "author's position {}"),
    90: ("where", "city {}"),
    92: ("where", "location {}"),
    95: ("where", "state {}"),
    101: ("where", "country {}"),
    103: ("text", "job {}"),
    105: ("text", "headline {}"),
    110: ("who", "credit {}"),
    115: ("who", "source {}"),
    116: ("who", "copyright {}"),
    118: ("who", "contact {}"),
    120: ("text", "description {}"),
    122: ("who", "caption by {}"),
}
"""Data sets of the application record that matter to people."""
_APPLICATION: Final = 2


def xmp_findings_untrusted(packet: Buffer) -> Iterator[Finding]:
    """Yield what an XMP packet tells."""
    position: dict[str, str] = {}
    for name, value in xmp.properties_untrusted(packet):
        local = name.rpartition(":")[2].lower()
        group, words = _XMP.get(local, ("", ""))
        sensitive = bool(group) and local not in _XMP_NOT_SENSITIVE
        if local in ("gpslatitude", "gpslongitude"):
            position[local] = _degrees(value)
            group, sensitive = "where", True
        if _BASE64.fullmatch(value):
            yield from _embedded(name, len(packet))
            continue
        tag = shown(f"XMP {name}")
        text = shown(value)
        if words and text:
            said = shown(words.format(text))
            yield Finding(group=group, tag=tag, value=said, sensitive=sensitive)
        group = group or ("where" if "gps" in local else "other")
        yield Finding(
            group=group, tag=tag, value=text, sensitive=sensitive or "gps" in local, plain=False
        )
    if len(position) == 2 and all(position.values()):
        words = f"position {position['gpslatitude']} {position['gpslongitude']}"
        yield Finding(group="where", tag="XMP exif:GPSLatitude", value=words, sensitive=True)


def groups_inside_untrusted(packet: Buffer) -> set[str]:
    """Return what stands inside a packet: `gps`, `thumbnail`."""
    held = bytes(packet[: xmp.MAX_PACKET_BYTES]).replace(b"\0", b"")
    found = {"gps"} if b"GPSL" in held else set()
    return found | ({"thumbnail"} if b"xmp:Thumbnails" in held or b"xmpGImg" in held else set())


def _embedded(name: str, size: int) -> Iterator[Finding]:
    kind = "hidden data"
    if "depth" in name.lower():
        kind = "a depth map"
    elif "image" in name.lower():
        kind = "a hidden picture"
    words = f"{kind} inside the XMP packet of {amount(size)}"
    yield Finding(group="hidden", tag=shown(f"XMP {name}"), value=words, sensitive=True)


def _degrees(value: str) -> str:
    """Return XMP's `degrees,minutes[,seconds]letter` as degrees with a letter, or ``."""
    found = _GPS.fullmatch(value.strip())
    if not found:
        return ""
    degrees = int(found[1]) + float(found[2]) / 60 + int(found[3] or 0) / 3600
    return f"{degrees:.4f} {found[4]}"


def photoshop_findings_untrusted(data: Buffer) -> Iterator[Finding]:
    """Yield what Photoshop's resources tell, IPTC among them."""
    for number, resource in iptc.resources_untrusted(data):
        tag = f"Photoshop 0x{number:04x}"
        if number == iptc.IIM_RESOURCE:
            yield from iptc_findings_untrusted(resource)
        elif number in iptc.THUMBNAIL_RESOURCES:
            words = f"a small copy of the picture, {amount(len(resource))}"
            yield Finding(group="hidden", tag=tag, value=words, sensitive=True)
        size = amount(len(resource))
        yield Finding(group="other", tag=tag, value=size, sensitive=False, plain=False)


def iptc_findings_untrusted(data: Buffer) -> Iterator[Finding]:
    """Yield what IPTC data sets tell."""
    for record, number, value in iptc.records_untrusted(data):
        tag = f"IPTC {record}:{number:02}"
        text = shown(value)
        group, words = _IPTC.get(number, ("", "")) if record == _APPLICATION else ("", "")
        if words and text:
            yield Finding(group=group, tag=tag, value=shown(words.format(text)), sensitive=True)
        yield Finding(
            group=group or "other", tag=tag, value=text, sensitive=bool(group), plain=False
        )


def profile_name_untrusted(profile: Buffer) -> str:
    """Return the name of a colour profile (ICC.1 section 9.2.41), or ``."""
    view = memoryview(profile)
    if len(view) < 132:
        return ""
    count = min(int.from_bytes(view[128:132]), 200, (len(view) - 132) // 12)
    for number in range(count):
        signature, offset, size = struct.unpack_from(">4sII", view, 132 + 12 * number)
        if signature == b"desc":
            return _profile_text(view[offset : offset + min(size, 4_096)])
    return ""


def _profile_text(element: memoryview) -> str:
    kind = bytes(element[:4])
    if kind == b"desc" and len(element) > 12:
        length = int.from_bytes(element[8:12])
        return shown(bytes(element[12 : 12 + length]).partition(b"\0")[0])
    if kind == b"mluc" and len(element) >= 28:
        length, offset = struct.unpack_from(">II", element, 20)
        return shown(bytes(element[offset : offset + length]).decode("utf-16-be", "replace"))
    return ""
