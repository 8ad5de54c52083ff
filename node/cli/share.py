"""`safelight share`.

Belongs here: the command, and showing a second factor once.
Never here: what may be granted (``protocol.policy``).
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, listed, new_command
from node.cli.complete import members
from node.cli.options import pictures_argument


@new_command("share")
@pictures_argument
@click.option(
    "--to",
    metavar="WHO",
    multiple=True,
    required=True,
    shell_complete=members,
    help="Members, with commas or by repeating --to.",
)
@click.option(
    "--for",
    "duration",
    metavar="DURATION",
    help="48h, 7d, or a time; without it the policy's default.",
)
@click.option(
    "--allow",
    metavar="RIGHTS",
    multiple=True,
    default=("view",),
    help="Of view,save,comment,pick,approve.  [default: view]",
)
@click.option(
    "--opens",
    metavar="N",
    type=click.IntRange(min=1),
    help="How often each picture may be opened.  [default: 10]",
)
@click.option("--once", is_flag=True, help="The same as --opens 1.")
@click.option(
    "--rendition",
    metavar="R",
    help="original, clean, preview or preview:PX.  [default: clean to save, else preview:2048]",
)
@click.option("--watermark/--no-watermark", default=None, help="Mark the pictures, or do not.")
@click.option("--factor", is_flag=True, help="Make a second-factor phrase, shown once.")
@click.option("--not-before", metavar="T", help="Nothing can be opened before this time.")
@click.option("--terms", metavar="TEXT", default="", help="Usage terms, shown to the holder.")
@click.option("--lease", metavar="DURATION", help="How long opens may be taken offline.")
@click.option("--credit", metavar="NAME", default="", help="Write who made them into the copies.")
@click.option(
    "--copyright", "notice", metavar="TEXT", default="", help="Write whose they are into them."
)
@click.option("--no-credit", is_flag=True, help="Write no credit, not even the album's.")
@click.option(
    "--names/--no-names",
    default=None,
    help="Tell the pictures' names, or call them picture-1.  [default: not to guests]",
)
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be granted, and what would leave."
)
@click.pass_obj
def command(
    settings: Settings,
    what: tuple[str, ...],
    to: tuple[str, ...],
    duration: str | None,
    allow: tuple[str, ...],
    opens: int | None,
    once: bool,
    rendition: str | None,
    watermark: bool | None,
    factor: bool,
    not_before: str | None,
    terms: str,
    lease: str | None,
    credit: str,
    notice: str,
    no_credit: bool,
    names: bool | None,
    dry_run: bool,
) -> None:
    """Let people open pictures for a while.

    Example: safelight share launch --to bob,carol --for 48h --opens 3

    Each person gets a capability of their own. Without options: view only, a preview of
    2048 pixels without hidden metadata, ten opens a picture, and the duration that the
    policy has for these pictures. Who may save gets a clean copy: every pixel, no metadata.
    """
    from node.cli import output, reach
    from node.control.schema import Share

    if once and opens not in {None, 1}:
        raise click.UsageError("--once and --opens contradict each other")
    params = Share(
        what=list(what),
        to=listed(to),
        duration=duration,
        rights=listed(allow),
        opens=1 if once else opens,
        rendition=rendition,
        watermark=watermark,
        factor=factor,
        not_before=not_before,
        terms=terms,
        lease=lease,
        dry_run=dry_run,
        credit=credit,
        copyright_notice=notice,
        no_credit=no_credit,
        names=names,
    )
    result = reach.call(settings, "share", params, bar=True)

    def people(shared: dict[str, Any]) -> None:
        for capability in shared["capabilities"]:
            output.line(output.plain(capability["sentence"]))
            for change in capability.get("changed_by_policy") or ():
                output.line(f"  by the policy: {output.plain(change)}")
            if not dry_run:
                output.line(f"  capability {output.short(capability['id'])}")
            if phrase := capability.get("factor"):
                holder = output.plain(capability["holder"])
                output.line(f"  second factor, shown this once: {phrase}")
                output.line(f"  tell it to {holder} by another way than Safelight")
            if marked := capability.get("watermark"):
                output.line(f"  watermark {output.plain(marked)}")
        if dry_run:
            for place, picture in enumerate(shared.get("pictures", ())):
                _picture(picture, [one["names"][place] for one in shared["capabilities"]])
            output.line("nothing was granted: this was a dry run")

    output.present(result, people, as_json=settings.json)


def _picture(picture: dict[str, Any], names: list[str]) -> None:
    """Say what would leave of one picture."""
    from node.cli import output

    size = "" if picture["bytes"] is None else f", {output.size(picture['bytes'])}"
    output.line(
        f"{output.plain(picture['name'])}: {picture['width']}×{picture['height']} "
        f"{picture['format']}{size}"
    )
    if problem := picture["problem"]:
        output.line(f"  cannot be made: {output.plain(problem)}; a preview can")
    for name in dict.fromkeys(names):
        if name != picture["name"]:
            output.line(f"  is called {output.plain(name)}")
    for line in picture["found"]:
        output.line(f"  carries {output.plain(line)}")
    if problem:
        return
    for word in ("removed", "kept"):
        output.line(f"  {word}: {output.plain(', '.join(picture[word]) or 'nothing')}")
