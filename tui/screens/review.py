"""Review: what was granted and may have been forgotten, revoked in place, signed off.

Belongs here: the list with its reasons.
Never here: what deserves a look (the node), the dialog of revoking (``shares``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from node.control.schema import AccessReview
from tui.screens.dialog import Answer, Ask
from tui.screens.listed import ListPage, lines
from tui.screens.page import marked_words
from tui.screens.shares import OVER, pictures_of_share, revoke
from tui.text import plural
from tui.times import ago, left
from tui.widgets.fixed import Fixed
from tui.widgets.lines import Key
from tui.widgets.rows import Column

if TYPE_CHECKING:
    from tui.widgets.pages import Row

_WORDS = {
    "former": "✕ no member now",
    "broad": "! broad",
    "never_opened": "○ never opened",
    "stale": "◌ stale",
    "expiring": "◔ ends soon",
}


_BECAUSE = {
    "former": "they are no member any more",
    "broad": "broad: originals, resharing or very many pictures",
    "never_opened": "never opened",
    "stale": "nobody opened it for a month",
    "expiring": "ends within a day",
}
"""The same in whole words."""


class ReviewScreen(ListPage):
    """What deserves a look."""

    NAME = "Review"
    LISTENS = frozenset({"released", "revoked", "expired", "roster", "departed"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "revoke", "revoke", show=False, id="review.revoke"),
        Binding("o", "sign_off", "sign off", show=False, id="review.sign-off"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._review: dict[str, Any] = {}

    def columns(self) -> Sequence[Column]:
        """Return the columns: why, whose, what, how long."""
        return (
            Column(
                title="look, because",
                text=lambda row: ", ".join(_WORDS[one] for one in row["reasons"]),
                style=lambda row: "bad" if "former" in row["reasons"] else "warn",
                width=24,
                narrow=15,
                wide=48,
            ),
            Column(title="to", text=lambda row: str(row["holder"]), width=12, narrow=8, wide=24),
            Column(title="pictures", text=pictures_of_share, ends=True),
            Column(title="last open", text=lambda row: ago(row["last_open"]), width=12, least=90),
            Column(title="ends in", text=lambda row: left(row["expires_at"]), width=9, least=50),
        )

    def told(self, row: Row) -> Content:
        """Return every reason, and what was granted."""
        reasons = "; ".join(_BECAUSE[one] for one in row["reasons"])
        return lines(
            Content.assemble((str(row["holder"]), "bold"), f": {pictures_of_share(row)}"),
            f"{reasons} · ends in {left(row['expires_at'])} · last open {ago(row['last_open'])}",
        )

    def beside(self) -> str:
        """Return how many there are, and when the review is due."""
        review = self._review
        if not review:
            return ""
        parts = [f"{self.rows.total} of {review['live']} live to look at"]
        parts.append(marked_words(len(self.rows.pages.marks), "share"))
        if review["overdue"]:
            parts.append("! overdue")
        elif review["signed_off_at"]:
            parts.append(f"signed off {ago(review['signed_off_at'])}")
        return " · ".join(part for part in parts if part)

    def sentence(self) -> str:
        """Say that nothing needs a look."""
        if not self.rows.pages.loaded or self.rows.total:
            return ""
        if self._review.get("overdue"):
            key = self.program.key_of("review.sign-off")
            return f"Nothing that is shared stands out. Press {key} to sign off the review."
        return "Nothing that is shared needs a look."

    def keys(self) -> Sequence[Key]:
        """Return the keys of a review."""
        return (
            self.bound("review.revoke", "revoke", "revoke"),
            self.bound("review.sign-off", "sign off", "sign_off"),
            self.bound("list.mark", "mark", "mark"),
        )

    async def load(self) -> None:
        """Ask the node."""
        self._review = await self.program.gateway.call("access_review", AccessReview())
        self.rows.show(Fixed(self._review["found"]), keep=self.rows.pages.loaded)

    def forget(self) -> None:
        """Drop the counts too."""
        self._review = {}
        super().forget()

    def action_revoke(self) -> None:
        """Take back what is marked, else the share under the cursor."""
        chosen = [one for one in self.rows.chosen() if one["state"] not in OVER]
        if chosen:
            self.asks(revoke(self, self.rows, chosen))

    def action_sign_off(self) -> None:
        """Log that a person has looked at all of it."""
        self.asks(self._sign_off())

    async def _sign_off(self) -> None:
        answer = await self.program.push_screen_wait(
            Ask(
                "Sign off the review?",
                "The log will say that you looked at "
                f"{plural(self._review.get('live', 0), 'live share')}.",
                answers=(Answer("n", "Not yet", "no"), Answer("s", "Sign off", "sign")),
            )
        )
        if answer == "sign":
            if await self.ask("access_review", AccessReview(sign_off=True)) is not None:
                self.say("signed off: the log has it")
            self.reload()
