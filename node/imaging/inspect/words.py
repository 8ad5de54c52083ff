"""Everything a picture file tells, gathered from all its parts; and what a clean copy removes.

Belongs here: which reader takes which part, and sentences for parts that have none.
Never here: a format's or a carrier's own rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from node.imaging.inspect import carriers, exif
from node.imaging.inspect.finding import (
    GROUPS,
    MAX_FINDINGS,
    Disclosure,
    Finding,
    amount,
    bounded_lines,
    shown,
)
from node.imaging.metadata import GROUPS as MANIFEST_GROUPS
from node.imaging.strip.engine import Stripped
from node.imaging.strip.parts import Part

_HIDDEN: Final = {
    "thumbnail": "a small copy of the picture, {}",
    "second_picture": "a hidden second picture, {}",
    "gain_map": "a gain map, {}",
    "depth_map": "a depth map, {}",
    "video": "a hidden video, {}",
    "trailer": "bytes behind the picture, {}",
}
_ORIENTATIONS: Final = {
    2: "mirrored",
    3: "upside down",
    4: "upside down and mirrored",
    5: "mirrored and turned a quarter left",
    6: "turned a quarter right",
    7: "mirrored and turned a quarter right",
    8: "turned a quarter left",
}
_OF_MANIFEST: Final = {
    "xmp_extension": "xmp",
    "photoshop": "iptc",
    "depth_map": "second_picture",
    "gain_map": "second_picture",
}
"""Kinds of parts by the words of a signed disclosure, where they are others."""

_CUT: Final = {"c2pa": 0, "xmp_extension": 40}
"""Kinds that come in several segments, and the bytes of each that say which piece it is."""


def findings_untrusted(parts: Iterable[Part], orientation: int) -> tuple[Finding, ...]:
    """Return everything that the parts of a file tell, by group, each once; at most 2,000."""
    found = itertools.chain.from_iterable(map(_of_part, _whole(parts)))
    unique = dict.fromkeys(itertools.islice(found, MAX_FINDINGS))
    if orientation in _ORIENTATIONS:
        words = f"to be shown {_ORIENTATIONS[orientation]}"
        unique[Finding(group="other", tag="Orientation", value=words, sensitive=False)] = None
    return tuple(sorted(unique, key=lambda finding: GROUPS.index(finding.group)))


def disclosure_untrusted(stripped: Stripped) -> Disclosure:
    """Return what a clean copy leaves out and what it keeps."""
    gone = findings_untrusted((part for part in stripped.parts if not part.kept), 1)
    stays = findings_untrusted(
        (part for part in stripped.parts if part.kept), stripped.kept.orientation
    )
    kept = dict.fromkeys(finding.value for finding in stays if finding.plain)
    if stripped.kept.taken:
        kept[f"taken {stripped.kept.taken.decode('ascii')}"] = None
    if stripped.kept.preview:
        kept[f"a small copy of the picture, {amount(len(stripped.kept.preview))}"] = None
    removed = dict.fromkeys(finding.value for finding in gone if finding.plain)
    return Disclosure(
        removed=bounded_lines(line for line in removed if line not in kept),
        kept=bounded_lines(kept),
    )


def groups_untrusted(parts: Iterable[Part]) -> tuple[str, ...]:
    """Return what parts are and what stands inside them, by ``node.imaging.metadata.GROUPS``."""
    found = set()
    for part in parts:
        found.add(_OF_MANIFEST.get(part.kind, part.kind))
        match part.kind:
            case "exif":
                found |= exif.groups_inside_untrusted(part.data)
            case "xmp" | "xmp_extension":
                found |= carriers.groups_inside_untrusted(part.data)
    return tuple(group for group in MANIFEST_GROUPS if group in found)


def _whole(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts, those that a JPEG had to cut into segments put together again."""
    pieces: dict[str, list[Part]] = {}
    for part in parts:
        if part.kind in _CUT:
            pieces.setdefault(part.kind, []).append(part)
        else:
            yield part
    for kind, some in pieces.items():
        whole = b"".join(part.data[_CUT[kind] :] for part in some)
        yield Part(kind=kind, name=some[0].name, data=whole)


def _of_part(part: Part) -> Iterator[Finding]:
    """Yield what one part tells, in words and tag by tag."""
    size = amount(len(part.data))
    match part.kind:
        case "exif":
            said = list(exif.findings_untrusted(part.data))
            yield from said
            if not any(finding.plain for finding in said):
                yield _plain("other", part, f"an Exif block, {size}")
        case "xmp":
            yield from carriers.xmp_findings_untrusted(part.data)
            yield _plain("other", part, f"an XMP packet, {size}")
        case "xmp_extension":
            yield from carriers.xmp_findings_untrusted(part.data)
            yield _plain("hidden", part, f"a long XMP packet, {size}")
        case "photoshop":
            yield from carriers.photoshop_findings_untrusted(part.data)
            yield _plain("edits", part, f"Photoshop's own record, {size}")
        case "iptc":
            yield from carriers.iptc_findings_untrusted(part.data)
            yield _plain("other", part, f"an IPTC record, {size}")
        case "icc":
            name = carriers.profile_name_untrusted(part.data)
            words = f"colour profile {name}" if name else f"colour profile, {size}"
            yield _plain("other", part, shown(words), sensitive=False)
        case "comment":
            yield _plain("text", part, shown(f"comment {shown(part.data)}"))
        case "text":
            keyword, _, text = bytes(part.data[:4_096]).partition(b"\0")
            yield _plain("text", part, shown(f"{shown(keyword, 80)} {shown(text)}"))
        case "time":
            yield _plain("when", part, _png_time(bytes(part.data[:7])))
        case "c2pa":
            yield _plain("provenance", part, f"signed content credentials, {size}")
        case kind if kind in _HIDDEN:
            yield _plain("hidden", part, _HIDDEN[kind].format(size))
        case _:
            yield _plain("other", part, f"data of an application ({part.name}), {size}")


def _plain(group: str, part: Part, words: str, *, sensitive: bool = True) -> Finding:
    return Finding(group=group, tag=part.name, value=words, sensitive=sensitive)


def _png_time(raw: bytes) -> str:
    if len(raw) < 7:
        return "changed"
    year, (month, day, hour, minute, second) = int.from_bytes(raw[:2]), raw[2:]
    return f"changed {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
