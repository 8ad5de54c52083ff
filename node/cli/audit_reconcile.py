"""`safelight audit reconcile`.

Belongs here: showing opens that one side's log has and the other's lacks.
Never here: matching them (``services.reconciling``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, absolute, new_command
from node.cli.complete import members

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode


@new_command("reconcile")
@click.argument("who", required=False, metavar="[WHO]", shell_complete=members)
@click.option("--pack", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The other side's log, as `audit export` wrote it.")  # fmt: skip
@click.pass_obj
def reconcile(settings: Settings, who: str | None, pack: Path | None) -> ExitCode:
    """Compare what you served with what the others say they opened.

    Example: safelight audit reconcile bob --pack bob.zip

    Without --pack: releases of which no receipt has come; the other side may be offline. With it
    the two logs are compared open by open, and the command exits with 5 where they differ.
    """
    from node.cli import output, reach
    from node.cli.diagnostics import ExitCode
    from node.control.schema import AuditReconcile

    params = AuditReconcile(who=who, pack=None if pack is None else absolute(pack))
    result = reach.call(settings, "audit_reconcile", params, bar=True)
    output.present(result, _show, as_json=settings.json)
    return ExitCode.UNVERIFIED if result["contradicted"] else ExitCode.DONE


def _show(result: dict[str, Any]) -> None:
    from node.cli import output

    if not result["peers"]:
        output.line("nothing was served to anybody")
    for peer in result["peers"]:
        name = output.plain(peer["name"] or "somebody who was erased")
        if "matched" in peer:
            output.line(f"{name}: {output.plural(peer['matched'], 'open')} stand in both logs")
        else:
            output.line(
                f"{name}: {output.plural(peer['released'], 'open')} served, "
                f"{peer['opened']} with a receipt"
            )
        for field, words in _LISTS.items():
            rows = peer.get(field) or []
            if rows:
                output.line(f"\n{words}")
                output.table(
                    ("entry", "time", "event", "picture"),
                    [
                        (
                            one["index"],
                            output.fact("time", one["time"]),
                            one["event"],
                            one["name"] or output.short(one["image"] or ""),
                        )
                        for one in rows
                    ],
                    empty="",
                )


_LISTS = {
    "without_receipt": "served, and no receipt has come:",
    "not_in_theirs": "in your log, and NOT in theirs:",
    "not_in_mine": "in their log, and NOT in yours:",
}
