"""The second factor of a capability, asked for only where there is one.

Belongs here: where the phrase comes from for `open` and `save`.
Never here: deriving anything from it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from protocol.errors import SafelightError

factor_option = click.option(
    "--factor-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the second-factor phrase from its first line.",
)


async def with_factor(
    attempt: Callable[[str | None], Coroutine[Any, Any, Any]], file: Path | None
) -> Any:
    """Return what an attempt gives, with the phrase of a file, of a prompt, or of nobody.

    Without a file the first attempt has no phrase. Its refusal is how we learn that there
    is a second factor; it is not counted.
    """
    from node.cli import diagnostics
    from node.cli.passphrase import ask, read_secret_file

    if file is not None:
        return await attempt(read_secret_file(file, "second-factor"))
    try:
        return await attempt(None)
    except SafelightError as error:
        if error.code != "factor" or not diagnostics.interactive():
            raise
    return await attempt(ask("second-factor phrase: "))
