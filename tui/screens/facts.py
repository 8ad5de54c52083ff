"""Facts of a picture as lines of text: beside the grid, and beside the picture.

Belongs here: what the node tells of a picture, in words.
Never here: asking the node, or where the lines stand.
"""

from __future__ import annotations

from typing import Any, Final

from tui.text import plural
from tui.times import left

_MOST: Final = 8
"""People in the lines; of the others there is the number."""


def row_facts(row: dict[str, Any]) -> str:
    """Return what is known of a picture of the library at once."""
    return "\n".join(
        [
            str(row["name"]),
            "",
            f"{row['width']} × {row['height']} {row['format']}",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"class   {row['classification']}",
            f"albums  {', '.join(row['albums']) or '–'}",
            f"tags    {', '.join(row['tags']) or '–'}",
            f"shared  {plural(row['shares'], 'live capability', 'live capabilities')}",
        ]
    )


def picture_facts(shown: dict[str, Any]) -> str:
    """Return what is told of a picture besides: who has it, its versions, files beside it."""
    lines: list[str] = []
    live = [one for one in shown["capabilities"] if not one["revoked"]]
    if live:
        lines += ["", "", "who has it"]
    for one in live[:_MOST]:
        still = left(one["expires_at"])
        lines += [
            f"{one['holder']}: {', '.join(one['rights'])}",
            f"  {plural(one['opens'], 'open')}, {still if still == 'over' else still + ' left'}",
        ]
        if one["problem"]:
            lines.append(f"  ✕ not ready: {one['problem']}")
    if len(live) > _MOST:
        lines.append(f"and {len(live) - _MOST} more")
    if len(shown["versions"]) > 1:
        lines += ["", "versions"]
        lines += [
            f"{one['number']}  {one['width']} × {one['height']} {one['format']}"
            for one in shown["versions"]
        ]
    if shown["sidecars"]:
        lines += ["", "beside it", *(str(one["name"]) for one in shown["sidecars"])]
    return "\n".join(lines)


def granted_facts(capability: dict[str, Any], image: dict[str, Any]) -> str:
    """Return what is known of somebody else's picture before a pixel of it is seen."""
    lines = [
        str(image["name"]),
        f"from {capability['issuer']}",
        f"{plural(image['opens_left'], 'open')} of this picture left.",
        f"Ends in {left(capability['expires_at'])}.",
        "",
        str(capability["sentence"]),
        f"You get: {capability['rendition']}. Rights: {', '.join(capability['rights'])}.",
    ]
    if capability["factor"]:
        lines.append("It needs the phrase that its issuer tells you.")
    if capability["usage_terms"]:
        lines.append(f"Terms: {capability['usage_terms']}")
    if not image["ready"]:
        lines.append("Not ready: its issuer is still making the copy.")
    elif image["fetched"]:
        lines.append("Fetched already; still sealed.")
    return "\n".join(lines)
