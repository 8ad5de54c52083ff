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

    Asks for the present one first. The node may go on running meanwhile. The key that signs
    your log is replaced too: by the running node, or by the next one when it starts.
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
    reach.run(_roll(settings))
    output.present(
        {"changed": True}, lambda _: output.line("passphrase changed"), as_json=settings.json
    )


async def _roll(settings: Settings) -> None:
    """Let a running node replace the log's key at once; otherwise it does when it is unlocked."""
    from node.cli import reach

    async with reach.found(settings) as (client, status):
        if status is not None and status["state"] == "unlocked":
            await client.call("audit_roll")
