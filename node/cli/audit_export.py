"""`safelight audit export` and `safelight audit prove`.

Belongs here: what to hand to others as evidence, and where it is written.
Never here: what a pack holds (``services.evidence_pack``).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, listed, new_command
from node.cli.complete import images, members


@new_command("export")
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE", help="The new file, a ZIP archive.",
)  # fmt: skip
@click.option("--csv", "table", is_flag=True, help="Add a table for spreadsheets.")
@click.option(
    "--disclose", multiple=True, metavar="WHAT", default=("all",), show_default=True,
    help="Which values to tell: all, none, or fields such as holder,image,name.",
)  # fmt: skip
@click.option("--who", metavar="W", shell_complete=members, help="Tell values of this person only.")
@click.option(
    "--image", metavar="I", shell_complete=images, help="Tell values of this picture only."
)
@click.option("--since", metavar="T", help="Tell values from this time on only.")
@click.option("--until", metavar="T", help="Tell values before this time only.")
@click.pass_obj
def export(
    settings: Settings,
    out: Path,
    table: bool,
    disclose: tuple[str, ...],
    who: str | None,
    image: str | None,
    since: str | None,
    until: str | None,
) -> None:
    """Write an evidence pack: your whole log, and what proves it to anybody.

    Example: safelight audit export -o log.zip --who bob --csv

    Every entry is in it, with pseudonyms; you choose which names and values it tells. A program
    in the pack checks it without Safelight. The log keeps that you exported it.
    """
    from node.cli import output, reach
    from node.control.schema import AuditExport

    params = AuditExport(
        out=absolute(out),
        table=table,
        disclose=listed(disclose),
        who=who,
        image=image,
        since=since,
        until=until,
    )
    result = reach.call(settings, "audit_export", params, bar=True)

    def people(found: dict[str, Any]) -> None:
        entries = "1 entry" if found["entries"] == 1 else f"{found['entries']} entries"
        told = output.plural(found["disclosed"], "value")
        receipts = output.plural(found["receipts"], "receipt")
        output.line(f"wrote {found['path']}: {entries}, {told} told, {receipts}")
        output.line(f"tell whoever gets it your fingerprint: {found['fingerprint']}")

    output.present(result, people, as_json=settings.json)


@new_command("prove")
@click.argument("index", type=click.IntRange(min=0), metavar="INDEX")
@click.option("--log", "incarnation", type=click.IntRange(min=0), metavar="N",
              help="Of an earlier log of this node; else of the newest.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the proof to this new file, and the entry to FILE.entry.")  # fmt: skip
@click.pass_obj
def prove(settings: Settings, index: int, incarnation: int | None, out: Path | None) -> None:
    """Prove to anybody that one entry stands in your log.

    Example: safelight audit prove 17 -o entry-17.proof

    The proof is a C2SP tlog-proof, with the entry and your log's keys inside, under the head that
    most others cosigned. `safelight audit verify FILE` checks it on any machine.
    """
    from node.cli import output, reach
    from node.cli.files import PUBLIC, new_file
    from node.control.schema import AuditProve

    params = AuditProve(index=index, incarnation=incarnation)
    if out is None:
        result = reach.call(settings, "audit_prove", params)
        output.present(result, lambda found: output.raw(found["proof"]), as_json=settings.json)
        return
    beside = out.with_name(out.name + ".entry")
    with new_file(out, PUBLIC) as write, new_file(beside, PUBLIC) as write_entry:
        result = reach.call(settings, "audit_prove", params)
        write(result["proof"].encode())
        write_entry(base64.b64decode(result["entry"], validate=True))
    output.present(
        {**result, "path": absolute(out)},
        lambda _: output.line(f"wrote {out} and {beside.name}"),
        as_json=settings.json,
    )
