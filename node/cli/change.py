"""`safelight passphrase`.

Belongs here: the command that changes the passphrase.
Never here: where passphrases come from (``passphrase``), or the keyring.
"""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.common import Settings, new_group


@new_group("passphrase")
def command() -> None:
    """Change the passphrase that opens your vault.

    Example: safelight passphrase change
    """


@command.command("change")
@click.option(
    "--new-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the new passphrase from its first line.",
)
@click.pass_obj
def change(settings: Settings, new_passphrase_file: Path | None) -> None:
    """Set another passphrase; the recovery phrase stays the same.

    Example: safelight passphrase change

    Asks for the present one first. The node may go on running meanwhile.
    """
    from node.cli import output, reach
    from node.cli.passphrase import new_passphrase, read_passphrase
    from node.system import system_entropy
    from node.vault.keyring import change_passphrase

    home = reach.home_of(settings)
    reach.check_vault(home)
    old = read_passphrase(settings)
    new = new_passphrase(Settings(passphrase_file=new_passphrase_file), environment=False)
    change_passphrase(home, old, new, entropy=system_entropy)
    output.present(
        {"changed": True}, lambda _: output.line("passphrase changed"), as_json=settings.json
    )
