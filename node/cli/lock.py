"""`safelight lock`.

Belongs here: the command.
Never here: what locking drops (``services``).
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command


@new_command("lock")
@click.option("--full", is_flag=True, help="Drop all keys too and serve nobody.")
@click.pass_obj
def command(settings: Settings, full: bool) -> None:
    """Lock the vault until `unlock`.

    Example: safelight lock

    Commands are refused and pictures on display are dropped. What you granted is still
    served; with --full nothing is, and the keys leave memory.
    """
    from node.cli import output, reach
    from node.control.schema import Lock

    async def job() -> bool:
        async with reach.found(settings) as (client, status):
            if status is not None and (full or status["state"] != "locked"):
                await client.call("lock", Lock(full=full))
            return status is not None

    ran = reach.run(job())
    output.present(
        {"state": "locked" if ran else "stopped"},
        lambda _: output.line("locked" if ran else "no node runs: there is nothing to lock"),
        as_json=settings.json,
    )
