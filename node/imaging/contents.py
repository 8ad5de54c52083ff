"""What a picture file carries besides its pixels, and the copy that carries nothing else.

Belongs here: the groups of one file, as a signed disclosure names them; a clean copy with what
became of everything.
Never here: a format (``strip``), plain words (``inspect``), or decoding.

Runs inside a worker process: a stranger's file may be large, however harmless the walk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from node.imaging.formats import RAW, is_raw_untrusted, sniff
from node.imaging.inspect import words
from node.imaging.inspect.finding import Disclosure, Finding
from node.imaging.inspect.words import disclosure_untrusted, findings_untrusted
from node.imaging.messages import Ownership
from node.imaging.metadata import GROUPS, metadata_groups_untrusted, telling_jpeg_untrusted
from node.imaging.ownership import is_credited_untrusted, with_ownership
from node.imaging.strip.container import container_of
from node.imaging.strip.engine import Stripped, strip_untrusted, walk_untrusted
from node.imaging.strip.errors import Detail, StripCode, StripError
from node.imaging.strip.ifd import open_tiff
from node.imaging.strip.parts import Part
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

_SAY_LITTLE: Final = frozenset({"exif", "xmp", "iptc"})
"""Carriers that may hold an orientation or a credit and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCopy:
    """A copy of the same pixels, and what became of the rest."""

    data: bytes = field(repr=False)
    format: str
    found: tuple[str, ...]
    """Groups that the source carries."""
    kept: tuple[str, ...]
    """Groups that the copy carries."""
    findings: tuple[Finding, ...]
    """What the source carries."""
    disclosure: Disclosure

    @property
    def removed(self) -> tuple[str, ...]:
        """Groups that the source carries and the copy does not."""
        return tuple(group for group in self.found if group not in self.kept)


def make_clean_untrusted(
    data: bytes, ownership: Ownership | None, policy: StripPolicy = DEFAULT_POLICY
) -> CleanCopy:
    """Return a clean copy, with a credit where one is given; StripError.

    The copy has been walked over once more, to its last byte. Its pixels are compared
    elsewhere, by decoders. A credited JPEG has no gain map: the map's picture is found by
    where it stands.
    """
    if is_raw_untrusted(data):
        raise StripError(StripCode.UNSUPPORTED, Detail.RAW)
    if ownership is not None and container_of(data) == "jpeg":
        policy = replace(policy, gain_maps=False)
    stripped = strip_untrusted(data, policy)
    copy = stripped.data
    if ownership is not None:
        copy = with_ownership(copy, stripped.format, ownership)
    if copy == stripped.data and policy == DEFAULT_POLICY:
        kept = _of_clean(stripped.left, stripped.kept.orientation)
    else:
        kept = groups_untrusted(copy)
    if (ownership is not None) != ("ownership" in kept):
        raise StripError(StripCode.NOT_CLEAN)
    return CleanCopy(
        data=copy,
        format=stripped.format,
        found=_groups(stripped, data),
        kept=kept,
        findings=findings_untrusted(stripped.parts, stripped.kept.orientation),
        disclosure=disclosure_untrusted(stripped),
    )


def look_untrusted(data: bytes) -> tuple[Finding, ...]:
    """Return what a file tells, also one of which there is no clean copy; StripError."""
    if is_raw_untrusted(data):
        return findings_untrusted(_of_raw(data), 1)
    walked = walk_untrusted(data)
    return findings_untrusted(walked.parts, walked.kept.orientation)


def _of_raw(data: bytes) -> list[Part]:
    """Return what can be read of a raw camera file."""
    parts: list[Part] = []
    if open_tiff(data) is not None:
        parts.append(Part(kind="exif", name="IFD", data=data))
    if jpeg := telling_jpeg_untrusted(data):
        parts += walk_untrusted(jpeg).parts
    return parts


def groups_untrusted(data: bytes) -> tuple[str, ...]:
    """Return the groups of what a file carries, in the order of GROUPS; nothing for no picture."""
    if is_raw_untrusted(data):
        return metadata_groups_untrusted(data, RAW)
    try:
        stripped = strip_untrusted(data)
    except StripError:
        known = sniff(data)
        return () if known is None else metadata_groups_untrusted(data, known)
    return _groups(stripped, data)


def _groups(stripped: Stripped, data: bytes) -> tuple[str, ...]:
    orientation = stripped.kept.orientation
    if stripped.data == data:
        return _of_clean(stripped.parts, orientation)
    packets = [bytes(part.data) for part in stripped.parts if part.kind == "xmp"]
    # A credit is one packet; comparing with many of them would take the square of the time.
    if len(packets) == 1 and is_credited_untrusted(
        data, stripped.data, stripped.format, packets[0]
    ):
        return _of_clean(stripped.parts, orientation, "ownership")
    return words.groups_untrusted(stripped.parts)


def _of_clean(parts: Iterable[Part], orientation: int, *more: str) -> tuple[str, ...]:
    """Return the groups of a file that holds nothing but what a walk writes, and more."""
    # Of application data a clean copy has only what leads to its gain map.
    found = {*words.groups_untrusted(parts), *more} - _SAY_LITTLE - {"application_data"}
    if orientation != 1:
        found.add("orientation")
    return tuple(group for group in GROUPS if group in found)
