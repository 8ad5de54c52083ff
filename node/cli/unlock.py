"""`safelight unlock`.

Belongs here: the command, the one that ends an explicit lock.
Never here: checking the passphrase (the node does).
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command


@new_command("unlock")
@click.pass_obj
def command(settings: Settings) -> None:
    """Unlock the vault; starts the node where none runs.

    Example: safelight unlock --passphrase-file ~/.safelight-passphrase
    """
    from node.cli import output, reach
    from node.cli.passphrase import is_at_hand, read_passphrase

    async def job() -> None:
        async with reach.found(settings) as (client, status):
            if status is None:
                await reach.start(settings, client, reach.Listening())
            elif status["state"] == "locked" or is_at_hand(settings):
                # Also where it is unlocked already: a wrong passphrase is never called right.
                await reach.unlock(client, read_passphrase(settings))

    reach.run(job())
    output.present({"state": "unlocked"}, lambda _: output.line("unlocked"), as_json=settings.json)
