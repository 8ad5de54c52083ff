"""Facts of a picture as lines of text: beside the grid, and beside the picture.

Belongs here: what the node tells of a picture, in words, grouped and aligned.
Never here: asking the node, or where the lines stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any, Final

from textual.content import Content

from tui.text import plural
from tui.times import ago, left, seconds_left

CLASS_SIGNS: Final = {
    "public": ("○ public", "dim"),
    "internal": ("◇ internal", "dim"),
    "confidential": ("◆ confidential", "warn"),
    "restricted": ("■ restricted", "bad"),
}
"""A glyph, a word and a colour for each classification."""
_COLOURS: Final = {"dim": "$dim", "warn": "$warning", "bad": "$error"}
_MOST: Final = 8
"""People in the lines; of the others there is the number."""
_MOST_FINDINGS: Final = 7
_LABEL: Final = 9
"""Cells of a label, the space behind it included."""
NARROW: Final = 36
BROAD: Final = 50
"""Cells of a line of facts."""

Part = str | tuple[str, str] | Content


def row_facts(row: dict[str, Any], width: int = NARROW) -> Content:
    """Return what is known of a picture of the library at once."""
    sign, style = CLASS_SIGNS.get(row["classification"], (str(row["classification"]), "bad"))
    parts: list[Part] = [
        (str(row["name"]), "bold"),
        "\n",
        (sign, _COLOURS[style]),
        *_heading("what it is"),
        *_fact("size", f"{row['width']:,} × {row['height']:,} {row['format']}", width),
        *_fact("bytes", _bytes(row["bytes"]), width),
        *_fact("albums", ", ".join(row["albums"]) or "none", width),
        *_fact("tags", ", ".join(row["tags"]) or "none", width),
    ]
    if row.get("imported_at"):
        parts += _fact("here for", ago(row["imported_at"]).removesuffix(" ago"), width)
    return Content.assemble(*parts)


def picture_facts(shown: dict[str, Any], width: int = NARROW) -> Content:
    """Return what is told of a picture besides: its versions, files beside it, who has it."""
    parts: list[Part] = []
    if len(shown["versions"]) > 1:
        for one in shown["versions"]:
            size = f"{one['width']:,} × {one['height']:,} {one['format']}"
            parts += _fact(f"version {one['number']}"[:8], size, width)
    for one in shown["sidecars"]:
        parts += _fact("beside it", str(one["name"]), width)
    parts += _heading("who can open it")
    live = [
        one
        for one in shown["capabilities"]
        if not one["revoked"] and seconds_left(one["expires_at"]) > 0
    ]
    if not live:
        parts += ["\n", ("nobody but you", "$dim")]
    for one in live[:_MOST]:
        parts += _person(one, width)
    if len(live) > _MOST:
        parts += ["\n", f"and {len(live) - _MOST} more"]
    over = len(shown["capabilities"]) - len(live)
    if over:
        parts += ["\n", (f"{plural(over, 'share is', 'shares are')} over", "$dim")]
    return Content.assemble(*parts)


def told_facts(findings: Sequence[dict[str, Any]], key: str, width: int = NARROW) -> Content:
    """Return what an original tells besides its pixels: what is sensitive, and how much else.

    ``key`` shows all of it.
    """
    parts: list[Part] = [*_heading("besides its pixels")]
    if not findings:
        return Content.assemble(*parts, "\n", ("nothing", "$dim"))
    # A finding in plain words says what raw tags say again.
    words = dict.fromkeys(
        str(one["value"])
        for one in findings
        if one["sensitive"] and str(one["value"])[:1].islower() and " " in str(one["value"])
    )
    told = [one for one in words if not any(other.endswith(f" {one}") for other in words)]
    for value in told[:_MOST_FINDINGS]:
        parts += ["\n", ("! ", "$warning"), "\n  ".join(wrap(value, width - 2))]
    parts += [
        "\n",
        (f"{plural(len(findings), 'tag')} in all ({key}); a share leaves", "$dim"),
        "\n",
        ("them out, unless it is of the original", "$dim"),
    ]
    return Content.assemble(*parts)


def _person(capability: dict[str, Any], width: int) -> list[Part]:
    """Return who, for how long still, until when, and what they did."""
    name, still = str(capability["holder"]), f"{left(capability['expires_at'])} left"
    room = width - len(still) - 1
    parts: list[Part] = ["\n"]
    if len(name) + 2 <= room:
        parts += [("● ", "$success"), (name.ljust(room - 2), "bold"), f" {still}"]
    else:
        parts += [("● ", "$success"), (name, "bold"), f"\n  {still}"]
    until = datetime.fromisoformat(capability["expires_at"]).astimezone()
    said = f"{', '.join(capability['rights'])} · {plural(capability['opens'], 'open')} so far"
    for line in (f"until {until:%a %-d %b %Y %H:%M}", *wrap(said, width - 2)):
        parts += ["\n  ", (line, "$dim")]
    if capability["problem"]:
        said = f"✕ not ready: {capability['problem']}"
        parts += ["\n  ", ("\n  ".join(wrap(said, width - 2)), "$error")]
    return parts


def _heading(words: str) -> list[Part]:
    return ["\n\n", (words.upper(), "bold $secondary")]


def _fact(label: str, value: str, width: int) -> list[Part]:
    """Return a line of a label and a value; a long one goes on under itself."""
    lines = wrap(value, width - _LABEL, break_long_words=True) or [""]
    gap = "\n" + " " * _LABEL
    return ["\n", (label.ljust(_LABEL), "$dim"), gap.join(lines)]


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def granted_facts(capability: dict[str, Any], image: dict[str, Any]) -> str:
    """Return what is known of somebody else's picture before a pixel of it is seen."""
    lines = [
        str(image["name"]),
        f"from {capability['issuer']}",
        f"{plural(image['opens_left'], 'open')} of this picture left.",
        f"Ends in {left(capability['expires_at'])}.",
        "",
        str(capability["sentence"]),
    ]
    if capability["factor"]:
        lines.append(f"It needs the phrase that {capability['issuer']} tells you.")
    if capability["usage_terms"]:
        lines.append(f"Terms: {capability['usage_terms']}")
    if not image["ready"]:
        lines.append("Not ready: its issuer is still making the copy.")
    elif image["fetched"]:
        lines.append("Fetched already; still sealed.")
    return "\n".join(lines)
