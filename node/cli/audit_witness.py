"""`safelight audit witness`: witnesses outside the team, and being one.

Belongs here: adding, listing and removing them, and the port this node cosigns at.
Never here: asking a witness, or deciding what is cosigned.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_group


@new_group("witness")
def command() -> None:
    """Let witnesses outside your team sign the heads of your log.

    Example: safelight audit witness list

    Your team-mates' nodes witness your log by themselves. An outside witness learns how long
    your log is and when it grows, and nothing of what it says.
    """


@command.command("add")
@click.argument("url", metavar="URL", help="Where it takes requests, without add-checkpoint.")
@click.argument("vkey", metavar="VKEY", help="Its verifier key, as it publishes it.")
@click.pass_obj
def add(settings: Settings, url: str, vkey: str) -> None:
    """Ask a C2SP witness for its signature under your log's head from now on.

    Example: safelight audit witness add https://witness.example witness.example+c8f3d3b1+BGd…

    It has to know your log: give its operator the origin and key of `audit verify --json`.
    """
    from node.cli import output, reach
    from node.control.schema import AuditWitnessAdd

    result = reach.call(settings, "audit_witness_add", AuditWitnessAdd(url=url, vkey=vkey))
    output.present(
        result,
        lambda found: output.line(f"{found['name']} is asked at {found['url']}"),
        as_json=settings.json,
    )


@command.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """Show the outside witnesses, what each signed last, and what keeps it from signing.

    Example: safelight audit witness list
    """
    from node.cli import output, reach

    def people(found: list[dict[str, Any]]) -> None:
        output.table(
            ("witness", "address", "signed size", "signed at", "problem"),
            [
                (
                    one["name"],
                    one["url"],
                    one["size"],
                    output.fact("signed_at", one["signed_at"]),
                    one["problem"],
                )
                for one in found
            ],
            empty="no witness outside your team is asked",
        )

    output.present(reach.call(settings, "audit_witness_list"), people, as_json=settings.json)


@command.command("remove")
@click.argument("url", metavar="URL", help="As it was added.")
@click.pass_obj
def remove(settings: Settings, url: str) -> None:
    """Ask a witness no more; what it signed stays.

    Example: safelight audit witness remove https://witness.example
    """
    from node.cli import output, reach
    from node.control.schema import AuditWitnessRemove

    result = reach.call(settings, "audit_witness_remove", AuditWitnessRemove(url=url))
    output.present(
        result, lambda found: output.line(f"{found['url']} is asked no more"), as_json=settings.json
    )


@command.command("serve")
@click.option("--listen", metavar="HOST:PORT", help="Listen here; port 0 takes any.")
@click.option("--off", is_flag=True, help="Listen no more.")
@click.pass_obj
def serve(settings: Settings, listen: str | None, off: bool) -> None:
    """Witness your team's logs over HTTP too, for tools that speak C2SP tlog-witness.

    Example: safelight audit witness serve --listen 127.0.0.1:7480

    The node listens there after each start, until --off. Without an option this only says where
    it listens and which key signs. It is HTTP without encryption: use it on this machine, or
    behind a server that adds it.
    """
    from node.cli import output, reach
    from node.control.schema import AuditWitnessServe

    if listen is not None and off:
        raise click.UsageError("--listen and --off are opposites")
    result = reach.call(settings, "audit_witness_serve", AuditWitnessServe(listen=listen, off=off))
    output.present(result, output.details, as_json=settings.json)
