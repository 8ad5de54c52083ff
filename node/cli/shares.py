"""`safelight shares`.

Belongs here: the command.
Never here: counting opens.
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import albums, members

STATES = ("pending", "live", "expired", "exhausted", "revoked", "lapsed")


@new_command("shares")
@click.option("--album", metavar="A", shell_complete=albums, help="Only of this album's pictures.")
@click.option("--to", metavar="WHO", shell_complete=members, help="Only to this member.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--reissue", is_flag=True, help="Grant anew what a new log of this node ended.")
@click.option(
    "--opens",
    metavar="N",
    help="With --reissue: at most so many a picture, or `recorded`. 1 is the safe choice.",
)
@click.option("--names", is_flag=True, help="With --reissue: tell holders the pictures' names.")
@click.argument("capabilities", nargs=-1, metavar="[CAP]...", help="With --reissue: only these.")
@click.pass_obj
def command(
    settings: Settings,
    album: str | None,
    to: str | None,
    state: str | None,
    reissue: bool,
    opens: str | None,
    names: bool,
    capabilities: tuple[str, ...],
) -> None:
    """List what you granted, how often it was opened and when it ends.

    Example: safelight shares --to bob --state live

    The states: `pending` is not delivered yet, `live` can be opened, `exhausted` has no
    opens left, `expired` and `revoked` are over; `lapsed` is over because this node was
    restored from a backup, or copied, and began a new log. A picture of which the copy cannot
    be made is named below with the reason: it stays not ready.

    With --reissue what lapsed is granted anew, on its terms and for the time that is left. How
    often it was opened since the backup is not known: with `--opens recorded` a holder may
    get opens again that they have used, with `--opens 1` no more than one a picture.
    """
    from node.cli import output, reach
    from node.control.schema import Shares

    if reissue:
        if album or to or state:
            raise click.UsageError("--reissue takes ids: safelight shares --reissue CAP")
        _reissue(settings, capabilities, opens, names=names)
        return
    if capabilities or opens or names:
        raise click.UsageError("ids, --opens and --names go with --reissue")
    result = reach.call(settings, "shares", Shares(album=album, to=to, state=state))
    output.present(result, show_shares, as_json=settings.json)


def _reissue(
    settings: Settings, capabilities: tuple[str, ...], opens: str | None, *, names: bool
) -> None:
    from node.cli import diagnostics, output, reach
    from node.control.schema import SharesReissue

    if opens is None and settings.yes:
        opens = _SAFE
    elif opens is None and diagnostics.interactive():
        question = "how many opens a picture (a number, or recorded; the safe choice is 1)? "
        opens = diagnostics.ask(question) or _SAFE
    if opens is None or (opens != _RECORDED and not (opens.isdecimal() and int(opens))):
        raise click.UsageError("say how many opens a picture: --opens N, or --opens recorded")
    params = SharesReissue(
        capabilities=list(capabilities),
        opens=None if opens == _RECORDED else int(opens),
        names=names,
    )

    def people(result: dict[str, Any]) -> None:
        for one in result["capabilities"]:
            instead = output.short(one["instead_of"])
            output.line(f"{output.short(one['id'])} instead of {instead}: {one['sentence']}")
            if "factor" in one:
                output.line(f"  second-factor phrase: {one['factor']}")
        for one in result["skipped"]:
            output.line(f"not {output.short(one['instead_of'])} to {one['holder']}: {one['why']}")
        if not result["capabilities"] and not result["skipped"]:
            output.line("nothing has lapsed")

    result = reach.call(settings, "shares_reissue", params)
    output.present(result, people, as_json=settings.json)


_RECORDED = "recorded"
_SAFE = "1"


def show_shares(shares: list[dict[str, Any]]) -> None:
    """Write capabilities that were granted, for people."""
    from node.cli import output
    from node.cli.times import brief

    output.table(
        ("id", "to", "pics", "rights", "state", "opens", "left", "expires", "last open"),
        [
            (
                output.short(share["id"]),
                share["holder"],
                share["images"],
                share["rights"],
                share["state"],
                share["opens"],
                share["opens_left"],
                brief(share["expires_at"]),
                brief(share["last_open"]),
            )
            for share in shares
        ],
        empty="nothing is shared; share a picture: safelight share IMAGE --to WHO",
    )
    for share in shares:
        for problem in share["problems"]:
            output.line(
                f"{output.short(share['id'])}  not ready: {output.plain(problem['name'])}: "
                f"{output.plain(problem['message'])}; share a preview of it instead"
            )
