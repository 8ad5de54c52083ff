"""`safelight access-review`.

Belongs here: the command.
Never here: what deserves a look (``services.reviewing``).
"""

from __future__ import annotations

from typing import Any, Final

import click

from node.cli.common import Settings, new_command

_WORDS: Final = {
    "former": "they are a member no more",
    "broad": "it is broad: originals, resharing or very many pictures",
    "never_opened": "it was never opened",
    "stale": "nobody has opened it for a month",
    "expiring": "it ends within a day",
}


@new_command("access-review")
@click.option("--sign-off", is_flag=True, help="Log that you have looked at all of it.")
@click.pass_obj
def command(settings: Settings, sign_off: bool) -> None:
    """List what you granted and may have forgotten, with the reason to look at each.

    Example: safelight access-review --sign-off

    A review is due every 90 days. What nobody needs any more: safelight revoke CAP.
    """
    from node.cli import output, reach
    from node.control.schema import AccessReview

    result = reach.call(settings, "access_review", AccessReview(sign_off=sign_off))

    def people(review: dict[str, Any]) -> None:
        output.table(
            ("share", "to", "pictures", "opens", "ends", "look, because"),
            [
                (
                    output.short(one["id"]),
                    one["holder"],
                    one["images"],
                    one["opens"],
                    output.fact("expires_at", one["expires_at"]),
                    "; ".join(_WORDS[reason] for reason in one["reasons"]),
                )
                for one in review["found"]
            ],
            empty="nothing that is shared needs a look",
        )
        if review["overdue"]:
            output.line("a review is overdue: safelight access-review --sign-off")
        elif review["signed_off_at"]:
            output.line(f"signed off {output.fact('signed_off_at', review['signed_off_at'])}")

    output.present(result, people, as_json=settings.json)
