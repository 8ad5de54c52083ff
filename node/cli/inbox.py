"""`safelight inbox`.

Belongs here: the command.
Never here: pictures, which only `open` shows.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command


@new_command("inbox")
@click.pass_obj
def command(settings: Settings) -> None:
    """List what others let you open, how often, and until when.

    Example: safelight inbox
    """
    from node.cli import output, reach

    output.present(reach.call(settings, "inbox"), _people, as_json=settings.json)


def _people(inbox: list[dict[str, Any]]) -> None:
    from node.cli import output
    from node.cli.times import brief

    output.table(
        ("id", "from", "pics", "ready", "rights", "state", "left", "expires"),
        [
            (
                output.short(one["id"]),
                one["issuer"],
                len(one["images"]),
                sum(1 for image in one["images"] if image["ready"]),
                one["rights"],
                one["state"],
                one["opens_left"],
                brief(one["expires_at"]),
            )
            for one in inbox
        ],
        empty="nobody shares anything with you yet",
    )
    for one in inbox:
        if one["state"] != "live":
            continue
        output.line(f"\n{output.short(one['id'])}  {output.plain(one['sentence'])}")
        if usage_terms := one.get("usage_terms"):
            output.line(f"  terms: {output.plain(usage_terms)}")
        for image in one["images"][:_NAMED]:
            waiting = "" if image["ready"] else "  (not ready)"
            output.line(f"  {output.short(image['id'])}  {output.plain(image['name'])}{waiting}")
        if len(one["images"]) > _NAMED:
            output.line(f"  and {len(one['images']) - _NAMED} more: --json has all")


_NAMED = 10
"""Pictures of a capability that are named; a screen holds no more."""
