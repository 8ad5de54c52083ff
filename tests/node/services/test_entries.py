"""Drafts of log entries: whose key seals what, and the way back to words."""

from __future__ import annotations

import random

from node.services.entries import draft, facts_of, limits_in_words, limits_of
from node.vault.database import Subject

ME, BOB = b"m" * 32, b"b" * 32
IMAGE, CAPABILITY = b"i" * 16, b"c" * 16
YEAR_2200_MS = 7_258_118_400_000


def test_each_reference_is_sealed_for_its_own_subject_and_facts_for_the_last() -> None:
    made = draft(
        "released",
        actor=BOB,
        about=BOB,
        references={"holder": BOB, "image": IMAGE, "capability": CAPABILITY},
        facts={"reason": "why"},
    )

    holder = Subject(kind="member", reference=BOB)
    image = Subject(kind="image", reference=IMAGE)
    capability = Subject(kind="capability", reference=CAPABILITY)
    assert made.subjects == (holder, image, capability)
    assert made.values == (
        ("holder", BOB, holder),
        ("image", IMAGE, image),
        ("capability", CAPABILITY, capability),
        ("reason", b"why", capability),
    )


def test_facts_without_a_reference_are_about_the_member() -> None:
    made = draft("roster_changed", actor=None, about=ME, facts={"version": "2"})

    assert made.subjects == ()
    assert made.values == (("version", b"2", Subject(kind="member", reference=ME)),)


def test_disclosed_values_become_references_and_facts_again() -> None:
    values = {"holder": BOB, "image": IMAGE, "reason": "expiré".encode(), "broken": b"\xff"}

    references, facts = facts_of(values)

    assert references == {"holder": BOB, "image": IMAGE}
    assert facts == {"reason": "expiré", "broken": "\ufffd"}


def test_a_text_that_names_somebody_is_erased_with_them() -> None:
    made = draft(
        "issued",
        actor=ME,
        about=ME,
        references={"holder": BOB, "capability": CAPABILITY},
        facts={"terms": "ab"},
        personal={"sentence": "bob may view"},
    )

    assert made.values[2:] == (
        ("terms", b"ab", Subject(kind="capability", reference=CAPABILITY)),
        ("sentence", b"bob may view", Subject(kind="member", reference=BOB)),
    )


def test_limits_are_read_back_from_their_words_to_the_millisecond() -> None:
    for _ in range(2000):
        limits = (random.randrange(YEAR_2200_MS), random.randrange(1 << 31))
        assert limits_of(limits_in_words(*limits)) == limits
    for text in ("", "expires never, 3 opens", "expires 2030-01-01T00:00:00Z, x opens"):
        assert limits_of(text) is None
