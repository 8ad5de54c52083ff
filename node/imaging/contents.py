"""What a picture file carries besides its pixels, as a signed disclosure names it.

Belongs here: the groups of one file; a clean copy with what became of everything.
Never here: a format (``strip``), plain words (``inspect``), or decoding.

Runs inside a worker process: a stranger's file may be large, however harmless the walk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from node.imaging.formats import sniff
from node.imaging.inspect.words import disclosure_untrusted, findings_untrusted
from node.imaging.messages import Ownership
from node.imaging.metadata import GROUPS, metadata_groups_untrusted
from node.imaging.ownership import is_credited_untrusted, with_ownership
from node.imaging.strip.engine import Stripped, strip_untrusted
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

MAX_LINES: Final = 64
"""Of plain words about one picture."""

_WITHOUT_GAIN_MAPS: Final = StripPolicy(gain_maps=False)
_INSIDE: Final = frozenset({"gps", "thumbnail"})
"""What stands inside another carrier, in an Exif block or an XMP packet."""
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
    lines: tuple[str, ...]
    """What the source carries in plain words, fit to be shown."""

    @property
    def removed(self) -> tuple[str, ...]:
        """Groups that the source carries and the copy does not."""
        return tuple(group for group in self.found if group not in self.kept)


def make_clean_untrusted(data: bytes, ownership: Ownership | None) -> CleanCopy:
    """Return a clean copy, with a credit where one is given; StripError.

    The copy has been walked over once more, to its last byte. Its pixels are compared
    elsewhere, by decoders. A credited copy has no gain map: the map's picture is found by
    where it stands.
    """
    policy = DEFAULT_POLICY if ownership is None else _WITHOUT_GAIN_MAPS
    stripped = strip_untrusted(data, policy)
    copy = stripped.data
    if ownership is not None:
        copy = with_ownership(copy, stripped.format, ownership)
    kept = groups_untrusted(copy)
    if (ownership is not None) != ("ownership" in kept):
        raise StripError(StripCode.NOT_CLEAN)
    return CleanCopy(
        data=copy,
        format=stripped.format,
        found=_groups(stripped, data),
        kept=kept,
        lines=_lines(stripped),
    )


def groups_untrusted(data: bytes) -> tuple[str, ...]:
    """Return the groups of what a file carries, in the order of GROUPS; nothing for no picture."""
    try:
        stripped = strip_untrusted(data)
    except StripError:
        known = sniff(data)
        return () if known is None else metadata_groups_untrusted(data, known)
    return _groups(stripped, data)


def _lines(stripped: Stripped) -> tuple[str, ...]:
    found = findings_untrusted(stripped.parts, stripped.kept.orientation)
    lines = list(dict.fromkeys(one.value for one in found if one.plain))
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]
    return tuple(lines)


def _groups(stripped: Stripped, data: bytes) -> tuple[str, ...]:
    said = disclosure_untrusted(stripped)
    found = {*said.removed_groups, *said.kept_groups}
    known = sniff(data)
    if known is not None:
        found |= _INSIDE.intersection(metadata_groups_untrusted(data, known))
    is_clean = stripped.data == data
    is_credited = not is_clean and any(
        is_credited_untrusted(data, stripped.data, stripped.format, bytes(part.data))
        for part in stripped.parts
        if part.kind == "xmp"
    )
    if is_clean or is_credited:
        found -= _SAY_LITTLE
        # Of these a clean copy has only what leads to its gain map.
        found -= {"application_data"}
        found |= {"ownership"} if is_credited else set()
        found |= {"orientation"} if stripped.kept.orientation != 1 else set()
    return tuple(group for group in GROUPS if group in found)
