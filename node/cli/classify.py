"""`safelight classify`.

Belongs here: the command.
Never here: what a classification allows (``protocol.policy``).
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command
from node.cli.options import pictures_argument


@new_command("classify")
@pictures_argument
@click.option(
    "--as",
    "classification",
    required=True,
    type=click.Choice(["public", "internal", "confidential", "restricted"]),
    help="The new classification.",
)
@click.pass_obj
def command(settings: Settings, what: tuple[str, ...], classification: str) -> None:
    """Say how sensitive pictures are: the ceiling of what may be granted.

    Example: safelight classify launch --as internal

    A stricter one also counts for capabilities that are live: an open that today's
    policy would not allow is refused.
    """
    from node.cli import output, reach
    from node.control.schema import Classify

    params = Classify(what=list(what), classification=classification)
    result = reach.call(settings, "classify", params)
    output.present(
        result,
        lambda done: output.line(f"{len(done['images'])} pictures are {classification}"),
        as_json=settings.json,
    )
