"""What a person chose to share, and what that means, in words.

Belongs here: the terms, those that cost more keys, and the lines of what the node says of them.
Never here: choosing (``share``), sending (``sending``), what may be granted: the node decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from textual.content import Content

from node.control.schema import PreviewShare, Share
from tui.text import plural

_EVERYTHING: Final = "everything"
"""Is kept where the original leaves as it is."""
_WORDS: Final = ("removed", "kept")
_TOLD: Final = 3
"""Pictures of which the dialog says what leaves; of the others it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person chose in the dialog."""

    what: tuple[str, ...]
    names: tuple[str, ...]
    """Of the pictures, for the words about it."""
    to: tuple[str, ...]
    """Fingerprints."""
    duration: str | None = None
    opens: int | None = None
    rights: tuple[str, ...] = ("view",)
    rendition: str | None = None
    watermark: bool | None = None
    factor: bool = False
    not_before: str | None = None
    terms: str = ""
    count: int = 0
    """Of pictures, for the words about it: an album has several."""
    sentences: tuple[str, ...] = field(default=())

    def params(self, *, dry_run: bool = False) -> Share:
        """Return the call."""
        return Share(
            what=list(self.what),
            to=list(self.to),
            duration=self.duration,
            rights=list(self.rights),
            opens=self.opens,
            rendition=self.rendition,
            watermark=self.watermark,
            factor=self.factor,
            not_before=self.not_before,
            terms=self.terms,
            dry_run=dry_run,
            look_into=_TOLD,
        )

    def preview(self, place: int) -> PreviewShare:
        """Return the call for a picture as the first person would see it."""
        return PreviewShare(
            what=list(self.what),
            to=self.to[0],
            place=place,
            rights=list(self.rights),
            rendition=self.rendition,
            watermark=self.watermark,
        )


OTHER: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("1", {"opens": 1}, "each picture can be opened once"),
    ("2", {"rights": ("view", "save")}, "they may keep a clean copy, full size"),
    (
        "3",
        {"rights": ("view", "save"), "rendition": "original"},
        "they may keep the original with everything hidden in it",
    ),
    ("4", {"watermark": False}, "no watermark, where the policy allows it"),
    ("5", {"factor": True}, "a second factor: a phrase that you tell them yourself"),
    ("6", {"watermark": True}, "a watermark that names them, drawn into the pixels"),
)
"""Key, terms, meaning: the key switches them on and off."""

TYPED: Final = (
    ("n", "opens", "how often each picture may be opened", "Opens of each picture:"),
    ("b", "not_before", "not before a time", "Nothing opens before (24h, or 2030-01-31T09:00Z):"),
    ("t", "terms", "terms of use, which they read before they open", "Terms of use:"),
)
"""Key, field, meaning, question: the key asks for it; an empty answer takes it back."""


def told(answer: dict[str, Any], count: int, *, airy: bool) -> Content:
    """Return what would be granted and what would leave; ``airy`` where there is room for it."""
    made = answer["capabilities"]
    lines = [Content(line) for line in _together(made)]
    changes = [str(change) for one in made for change in one.get("changed_by_policy") or ()]
    lines += [Content(f"  by the policy: {change}") for change in dict.fromkeys(changes)]
    marks = [str(one["watermark"]) for one in made if one.get("watermark")]
    if marks:
        rest = ", and each of the others by theirs" if len(marks) > 1 else ""
        lines.append(Content(f"  watermark: {marks[0]}{rest}"))
    pictures = answer.get("pictures", ())
    if airy and pictures:
        lines += [Content(""), Content.styled("WHAT LEAVES", "bold $accent")]
    for picture in pictures:
        lines += _leaves(picture)
    if count > len(pictures):
        lines.append(Content(f"and {plural(count - len(pictures), 'picture')} more"))
    return Content("\n").join(lines)


def _together(made: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sentences of several people; one for all who would be granted the same."""
    people: dict[str, list[str]] = {}
    for one in made:
        sentence, holder = str(one["sentence"]), str(one["holder"])
        if sentence.startswith(holder):
            people.setdefault(sentence.removeprefix(holder), []).append(holder)
        else:
            people.setdefault(sentence, [])
    return [_names(names) + rest for rest, names in people.items()]


def _names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _leaves(picture: dict[str, Any]) -> list[Content]:
    """Return what would leave of one picture; what stays here of its original is struck out."""
    size = "" if picture["bytes"] is None else f", {picture['bytes'] / 1e6:.1f} MB"
    lines = [
        Content(
            f"{picture['name']}: {picture['width']} × {picture['height']} {picture['format']}{size}"
        )
    ]
    if picture.get("problem"):
        text = f"  cannot be made: {picture['problem']}; a preview can"
        lines.append(Content.styled(text, "$error"))
    leave = _EVERYTHING in picture["kept"]
    for line in picture["found"]:
        if leave:
            lines.append(Content.assemble("  ", ("! ", "$warning"), line))
        else:
            lines.append(Content.assemble("  ", ("- ", "$dim"), (line, "$dim strike")))
    rest = " · ".join(f"{word}: {', '.join(picture[word]) or 'nothing'}" for word in _WORDS)
    return [*lines, Content(f"  {rest}")]
