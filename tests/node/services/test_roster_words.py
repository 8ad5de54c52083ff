"""Every change of a roster has a sentence for people."""

from __future__ import annotations

from typing import get_args

import pytest

from node.services.roster_words import sentence
from protocol.roster.changes import Change, ChangeKind

WORDS: list[tuple[ChangeKind, str, str, str]] = [
    ("added", "", "guest", "bob becomes a member, as guest"),
    ("removed", "editor", "", "bob, editor, is a member no more"),
    ("role", "editor", "guest", "bob becomes guest, was editor"),
    ("certificate", "bob", "robert", "bob gets a new certificate, as robert"),
    ("named", "Desk", "Studio", "the team is called Studio, was Desk"),
    ("threshold", "1", "2", "2 administrators sign each version, was 1"),
    ("threshold", "2", "1", "1 administrator signs each version, was 2"),
    ("joined", "", "2", "two histories of the team become one"),
    (
        *("renewed", "1784000000000", "1815536000000"),
        "the roster lasts until Wed 14 Jul 2027 03:33 UTC, was Tue 14 Jul 2026 03:33 UTC",
    ),
]


@pytest.mark.parametrize(("kind", "before", "after", "said"), WORDS)
def test_a_change_is_said_in_a_sentence(
    kind: ChangeKind, before: str, after: str, said: str
) -> None:
    change = Change(kind=kind, name="bob", fingerprint=bytes(32), before=before, after=after)

    assert sentence(change) == said


def test_no_kind_of_change_is_left_without_one() -> None:
    assert {kind for kind, *_ in WORDS} == set(get_args(ChangeKind))
