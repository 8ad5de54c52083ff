"""One thing that a picture file tells, and what became of all of them.

Belongs here: the values, the groups by which people care, and how foreign text is made fit to show.
Never here: where in a file it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.identity import clean_text

GROUPS: Final = (
    *("where", "when", "who", "device", "hidden", "edits", "provenance", "text", "other"),
)
"""In the order in which they are listed: `hidden` are pictures and other bytes that viewers do not
show, `text` is what somebody wrote, `other` says how the picture is to be shown, and the rest."""

MAX_VALUE_BYTES: Final = 200
"""Of one value as it is shown. A disclosure's line has 256."""
MAX_FINDINGS: Final = 2_000
"""Of one file. Cameras write some hundred tags."""
MAX_LINES: Final = 64
"""Of what was removed: as many as a signed disclosure has room for."""
_MAX_TEXT_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a picture file tells, fit to be shown: clean text on one line."""

    group: str
    """One of GROUPS."""
    tag: str
    """The name it has in the file: `Exif GPSLatitude`, `XMP dc:creator`, `APP11`."""
    value: str
    """In plain words where the finding is plain, else the tag's value."""
    sensitive: bool
    """Whether it says something about a person, a place, a moment or one device."""
    plain: bool = True
    """Whether it is in words for people; the others are the tags as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """What became of everything that a source carried besides its pixels, in plain words."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


def bounded_lines(said: Iterable[str]) -> tuple[str, ...]:
    """Return lines, each once and at most MAX_LINES; the last one counts what is left out."""
    lines = list(dict.fromkeys(said))
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]
    return tuple(lines)


def shown(value: str | bytes | memoryview, limit: int = MAX_VALUE_BYTES) -> str:
    """Return foreign text as one clean line of at most limit bytes, cut with an ellipsis."""
    if not isinstance(value, str):
        value = _decoded(bytes(value[:_MAX_TEXT_BYTES]))
    text = clean_text(value[:_MAX_TEXT_BYTES].replace("\0", " "), _MAX_TEXT_BYTES)
    if len(text.encode()) <= limit:
        return text
    return clean_text(text, limit - len("…".encode())) + "…"


def amount(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1_000:
        return f"{count} bytes"
    return f"{count / 1_000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data.decode("utf-8", "ignore")
        return data.decode("latin-1")
