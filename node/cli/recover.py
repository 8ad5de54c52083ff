"""`safelight recover`.

Belongs here: asking for the recovery phrase and a new passphrase.
Never here: what the phrase opens (``node.vault``).
"""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.common import Settings, new_command


@new_command("recover")
@click.option(
    "--recovery-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the recovery phrase from its first line instead of asking.",
)
@click.pass_obj
def command(settings: Settings, recovery_file: Path | None) -> None:
    """Set a new passphrase with the recovery phrase of 24 words.

    Example: safelight recover

    For a vault whose passphrase is lost. The node must not be running. When it starts next it
    replaces the key that signs your log.
    """
    import asyncio

    from node.cli import output, reach
    from node.cli.passphrase import ask, new_passphrase, read_secret_file
    from node.system import system_entropy
    from node.vault.vault import recover

    home = reach.home_of(settings)
    reach.check_vault(home)
    if recovery_file is None:
        phrase = ask("recovery phrase: ")
    else:
        phrase = read_secret_file(recovery_file, "recovery phrase")
    new = new_passphrase(settings)
    asyncio.run(recover(home, phrase=phrase, passphrase=new, entropy=system_entropy))
    output.present(
        {"recovered": True},
        lambda _: output.line("the new passphrase opens the vault"),
        as_json=settings.json,
    )
