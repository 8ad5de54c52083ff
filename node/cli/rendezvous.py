"""`safelight rendezvous`: running a rendezvous server, and registering a team with one.

Belongs here: options, the claim secret from a prompt or stdin, what is told at the start.
Never here: the server (``node.rendezvous``), or claiming (the node does).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.common import Settings, new_group

if TYPE_CHECKING:
    from node.rendezvous.service import Started

_MAX_SECRET_LETTERS: Final = 4096
"""More on one line of stdin is no secret but a mistake."""


@new_group("rendezvous")
def command() -> None:
    """Run a server that brings your team's nodes together, or register with one.

    Example: safelight rendezvous claim rendezvous.example:7431/KEY
    """


@command.command("serve")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Listen here; port 0 takes any.")
@click.option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the server's key, lists and mail; made where there is none.",
)
@click.option(
    "--public", metavar="HOST:PORT", help="Where nodes reach it, if not where it listens."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    help="Serve numbers for Prometheus on this port of 127.0.0.1; 0 takes any.",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file that changes limits.",
)
@click.option("--new-claim", is_flag=True, help="Make a claim secret for one more team.")
@click.pass_obj
def serve(
    settings: Settings,
    listen: str,
    data: Path,
    public: str | None,
    metrics_port: int | None,
    settings_file: Path | None,
    new_claim: bool,
) -> None:
    """Run a rendezvous server until SIGTERM or Ctrl-C.

    Example: safelight rendezvous serve --listen 0.0.0.0:7431 --data /var/lib/safelight-rendezvous

    Prints the address that nodes are given, and the claim secret until a team has claimed it.
    """
    from node.cli import diagnostics, output
    from node.rendezvous.service import Serving, run_rendezvous
    from node.rendezvous.settings import RendezvousSettings, load_settings
    from node.unlocked import split_address

    host, port = split_address(listen)

    def tell(started: Started) -> None:
        facts = {
            "address": started.address,
            "claim": started.claim,
            "metrics_port": started.metrics_port,
        }
        output.present(facts, output.details, as_json=settings.json)
        if started.claim is not None and not settings.json:
            diagnostics.note(
                f"an administrator registers the team with: safelight rendezvous claim "
                f"{started.address}"
            )

    run_rendezvous(
        Serving(
            data=data.expanduser().absolute(),
            host=host,
            port=port,
            public=None if public is None else split_address(public),
            metrics_port=metrics_port,
            new_claim=new_claim,
            settings=(
                RendezvousSettings() if settings_file is None else load_settings(settings_file)
            ),
        ),
        tell=tell,
        write=diagnostics.note,
    )


@command.command("claim")
@click.argument("address", metavar="ADDR")
@click.pass_obj
def claim(settings: Settings, address: str) -> None:
    """Register your team with a rendezvous, and use it from now on.

    Example: safelight rendezvous claim rendezvous.example:7431/KEY

    Asks for the claim secret that the server printed, or reads it from the first line of stdin.
    """
    from node.cli import output, reach
    from node.control.schema import RendezvousClaim
    from protocol.rendezvous.address import parse_rendezvous_address

    parse_rendezvous_address(address)  # nobody types a secret for an address that is none
    secret = _read_secret()

    def people(result: dict[str, Any]) -> None:
        output.line("the team is registered, and this node uses the rendezvous")
        output.details(result)

    result = reach.call(
        settings, "rendezvous_claim", RendezvousClaim(address=address, secret=secret)
    )
    output.present(result, people, as_json=settings.json)


def _read_secret() -> str:
    from node.cli import diagnostics, passphrase
    from node.errors import UsageError

    if diagnostics.interactive():
        return passphrase.ask("claim secret: ").strip()
    line = "" if sys.stdin is None else sys.stdin.readline(_MAX_SECRET_LETTERS)
    if not line.strip():
        raise UsageError(
            "no claim secret on stdin", hint="type it at the prompt, or pipe its line in"
        )
    return line.strip()
