"""`safelight init`.

Belongs here: asking for what a new vault needs, and showing the recovery phrase once.
Never here: making keys or files of the vault (``node.app``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.common import Settings, new_command

if TYPE_CHECKING:
    from node.app import Created


@new_command("init")
@click.option("--name", required=True, help="Your name, as your team will see it.")
@click.option(
    "--recovery-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the recovery phrase to this new file (0600) instead of showing it.",
)
@click.pass_obj
def command(settings: Settings, name: str, recovery_out: Path | None) -> None:
    """Create your identity and an empty vault.

    Example: safelight init --name alice

    The recovery phrase of 24 words is shown once, on stderr. With a backup it brings
    the vault back when the passphrase is lost; whoever reads it can open the vault.
    """
    from node.cli import diagnostics, output
    from node.cli.files import PRIVATE, new_file
    from node.cli.passphrase import new_passphrase
    from node.cli.reach import has_vault, home_of
    from node.errors import NodeError

    home = home_of(settings)
    if has_vault(home):
        raise NodeError(
            f"there is a vault in {home} already",
            code="exists",
            hint="name another folder with --home",
        )
    passphrase = new_passphrase(settings).encode()
    if recovery_out is None:
        created = create(home, name, passphrase)
        diagnostics.note(
            "recovery phrase, shown this once; keep it on paper, away from this machine:\n\n"
            f"{created.recovery_phrase}\n"
        )
    else:
        with new_file(recovery_out, PRIVATE) as write:
            created = create(home, name, passphrase)
            write(f"{created.recovery_phrase}\n".encode())
    output.present(
        {
            "fingerprint": _formatted(created.fingerprint),
            "words": list(created.words),
            "name": created.name,
        },
        output.details,
        as_json=settings.json,
    )


def create(home: Path, name: str, passphrase: bytes) -> Created:
    """Create an identity and an empty vault in a home; what it gives holds the recovery phrase."""
    from node.app import create_home

    return create_home(home, name=name, passphrase=passphrase)


def _formatted(fingerprint: bytes) -> str:
    from protocol.identity import format_fingerprint

    return format_fingerprint(fingerprint)
