"""`safelight identity`.

Belongs here: showing who this node is, and writing the file that lets others add it.
Never here: keys.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from node.cli.common import Settings, absolute, new_group


@new_group("identity", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show your name, fingerprint and words, to be compared by voice or QR code.

    Example: safelight identity
    """
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Settings))


def _show(settings: Settings) -> None:
    from node.cli import output, reach

    result = reach.call(settings, "identity")

    def people(identity: dict[str, Any]) -> None:
        output.details(identity)
        if output.is_terminal():
            output.raw("\n" + _qr(identity["fingerprint"]))

    output.present(result, people, as_json=settings.json)


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), help="A new file.")
@click.pass_obj
def export(settings: Settings, file: Path) -> None:
    """Write your certificate and addresses to a file for the administrator of a team.

    Example: safelight identity export alice.identity

    The file holds no secret. The administrator compares its words with yours.
    """
    from node.cli import output, reach
    from node.cli.files import PUBLIC, new_file

    with new_file(file, PUBLIC) as write:
        result = reach.call(settings, "identity_export")
        write(base64.b64decode(result.pop("identity_file"), validate=True))
    output.present(
        {"path": absolute(file), **result},
        lambda _: output.line(f"wrote {file}"),
        as_json=settings.json,
    )


def _qr(fingerprint: str) -> str:
    """Return a QR code of the fingerprint as text. Upper case makes it small."""
    import io

    import segno

    text = io.StringIO()
    segno.make(fingerprint.upper(), error="m", micro=False).terminal(out=text, compact=True)
    return text.getvalue()
