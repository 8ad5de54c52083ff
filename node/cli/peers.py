"""`safelight peers`.

Belongs here: who is reachable and how, and fixed addresses.
Never here: finding or dialling anybody.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_group
from node.cli.complete import members


@new_group("peers", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show which members are reachable, and by which path.

    Example: safelight peers
    """
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Settings))


def _show(settings: Settings) -> None:
    from node.cli import output, reach

    def people(peers: list[dict[str, Any]]) -> None:
        output.table(
            ("name", "path", "round trip", "why", "fingerprint"),
            [
                (
                    peer["name"],
                    peer["path"],
                    _milliseconds(peer["rtt_ms"]),
                    peer["why"],
                    peer["fingerprint"],
                )
                for peer in peers
            ],
            empty="nobody else is in your team yet",
        )

    output.present(reach.call(settings, "peers"), people, as_json=settings.json)


@command.command("add")
@click.argument("who", shell_complete=members, help="A member.")
@click.argument("address", metavar="HOST:PORT", help="Where their node listens.")
@click.pass_obj
def add(settings: Settings, who: str, address: str) -> None:
    """Remember where a member's node listens, for networks without multicast.

    Example: safelight peers add bob 192.0.2.7:7421
    """
    from node.cli import output, reach
    from node.control.schema import PeersAdd

    host, port = _host_and_port(address)
    result = reach.call(settings, "peers_add", PeersAdd(who=who, host=host, port=port))
    output.present(
        result, lambda _: output.line(f"{who} is dialled at {address}"), as_json=settings.json
    )


@command.command("remove")
@click.argument("who", shell_complete=members, help="A member.")
@click.pass_obj
def remove(settings: Settings, who: str) -> None:
    """Forget the fixed addresses of a member.

    Example: safelight peers remove bob
    """
    from node.cli import output, reach
    from node.control.schema import PeersRemove

    result = reach.call(settings, "peers_remove", PeersRemove(who=who))
    output.present(
        result, lambda _: output.line(f"forgot the addresses of {who}"), as_json=settings.json
    )


def _host_and_port(address: str) -> tuple[str, int]:
    """Split `HOST:PORT`; an IPv6 address stands in brackets."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise click.BadParameter("write it as HOST:PORT, or [IPV6]:PORT", param_hint="HOST:PORT")
    return host, int(port)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
