"""`safelight audit roll`.

Belongs here: the command.
Never here: replacing the key.
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command


@new_command("roll")
@click.pass_obj
def command(settings: Settings) -> None:
    """Replace the key that signs your log, and erase the old one.

    Example: safelight audit roll

    Whoever steals the new key can sign no head of what the log has until now, and a stolen old
    one signs nothing that comes after. Members are told. It also happens when the passphrase
    is changed or set by the recovery phrase.
    """
    from node.cli import output, reach

    result = reach.call(settings, "audit_roll")
    output.present(
        result,
        lambda _: output.line(
            f"the log has a new key, number {result['epoch']}; the old one is erased"
        ),
        as_json=settings.json,
    )
