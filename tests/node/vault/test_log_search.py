"""Entries found by subject, actor, event and time: those that looking at every one finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from node.vault.database import LogDraft, Subject, WriteTransaction
from node.vault.records import Connection, log
from node.vault.vault import Vault
from tests.node.vault.support import START, ManualClock, new_vault, reopen

EVENTS = ("released", "denied", "opened")
PEOPLE = tuple(Subject("member", bytes([n]) * 32) for n in range(3))
IMAGES = tuple(Subject("image", bytes([n]) * 16) for n in range(3))
UNKNOWN = Subject("image", b"\xff" * 16)
SOUGHT: tuple[list[tuple[str, bytes]], ...] = (
    [], [PEOPLE[0]], [IMAGES[1]], [PEOPLE[2], IMAGES[0]], [IMAGES[0], IMAGES[1]],
    [PEOPLE[0], PEOPLE[1]], [UNKNOWN],
)  # fmt: skip


class Row(NamedTuple):
    incarnation: int
    place: int
    time: int
    event: str
    concerned: frozenset[Subject]


def a_draft(chance: random.Random) -> tuple[LogDraft, frozenset[Subject]]:
    actor = chance.choice([None, *PEOPLE])
    about = chance.sample([*PEOPLE, *IMAGES], chance.randrange(4))
    # A subject may have two values beside one entry, and who did it none.
    values = [(f"f{n}", b"x", one) for n, one in enumerate((*about, *about[:1]))]
    draft = LogDraft(
        event=chance.choice(EVENTS),
        actor=None if actor is None else actor.reference,
        values=tuple(values),
    )
    return draft, frozenset((*about, *([] if actor is None else [actor])))


async def written(
    vault: Vault, clock: ManualClock, *, commits: int, steps: Sequence[int]
) -> list[Row]:
    """Fill two logs; before each commit the clock goes on, or back, by one of the steps."""
    chance = random.Random(7)
    rows: list[Row] = []

    def job(transaction: WriteTransaction) -> None:
        for _ in range(chance.randrange(1, 5)):
            draft, concerned = a_draft(chance)
            index = transaction.append(draft)
            incarnation = 1 if begun else 0
            rows.append(Row(incarnation, index, transaction.now, draft.event, concerned))

    def begin(transaction: WriteTransaction) -> None:
        rows.append(Row(1, 0, transaction.now, "incarnation_started", frozenset()))

    for begun in (False, True):
        if begun:
            await vault.begin_log(1, b"", begin)
        for _ in range(commits):
            clock.time += chance.choice(steps)
            await vault.database.write(job)
    return rows[::-1]


def matches(row: Row, wanted: dict[str, Any]) -> bool:
    return (
        all(one in row.concerned for one in wanted["subjects"])
        and (wanted["since"] is None or row.time >= wanted["since"])
        and (wanted["until"] is None or row.time < wanted["until"])
        and (not wanted["events"] or row.event in wanted["events"])
    )


@pytest.mark.parametrize("few", [1, 1024])
@pytest.mark.parametrize(
    ("steps", "set_back"),
    [
        pytest.param((0, 5, 90), 64, id="a clock that goes on"),
        pytest.param((0, 5, 90, 90, 90, -150), 64, id="a clock set back"),
        pytest.param((0, 5, 90, -60), 2, id="a clock that is set back all the time"),
        pytest.param((40, 40, 40, -100_000), 64, id="a clock that was far ahead"),
    ],
)
async def test_what_is_found_is_what_counting_every_entry_finds(
    vault: Vault,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    steps: Sequence[int],
    set_back: int,
    few: int,
) -> None:
    monkeypatch.setattr(log, "_FEW", few)
    monkeypatch.setattr(log, "_MOST_SET_BACK", set_back)
    rows = await written(vault, clock, commits=25, steps=steps)
    times = sorted(row.time for row in rows)
    bounds = ((None, None), (times[len(times) // 3], None), (None, times[len(times) // 2]),
              (times[len(times) // 4], times[3 * len(times) // 4] + 1), (times[-1] + 1, None),
              (None, START - 10**9))  # fmt: skip
    events = ((), ("denied",), ("denied", "released", "denied"), EVENTS, ("exported",))

    def check(db: Connection) -> int:
        checked = 0
        for about, (since, until), chosen in product(SOUGHT, bounds, events):
            wanted: dict[str, Any] = {
                "subjects": about, "since": since, "until": until, "events": chosen,
            }  # fmt: skip
            expected = [row[:4] for row in rows if matches(row, wanted)]
            for offset, limit in ((0, 500), (1, 3), (len(expected) // 2, 7), (len(expected), 2)):
                total, found = log.page_of(db, **wanted, offset=offset, limit=limit)
                places = [(one.incarnation, one.index, one.time, one.event) for one in found]
                assert (total, places) == (len(expected), expected[offset : offset + limit]), wanted
            last = [(one.incarnation, one.index) for one in log.newest(db, **wanted, limit=6)]
            assert last[::-1] == [place[:2] for place in expected[:6]]
            checked += len(expected)
        return checked

    assert await vault.database.read(check) > 1000


async def test_a_follower_asks_the_same_of_one_entry(vault: Vault, clock: ManualClock) -> None:
    rows = await written(vault, clock, commits=10, steps=(5,))

    def check(db: Connection) -> None:
        _, found = log.page_of(
            db, subjects=[], since=None, until=None, events=(), offset=0, limit=500
        )
        assert len(found) == len(rows)
        for row, stored in zip(rows, found, strict=True):
            for sought in SOUGHT:
                is_meant = all(one in row.concerned for one in sought)
                assert log.concerns(db, stored, sought) == is_meant

    await vault.database.read(check)


async def test_a_log_knows_where_its_clock_was_set_back_also_after_it_was_opened_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    def places(db: Connection) -> list[tuple[int, int]]:
        return db.execute("SELECT incarnation, log_index FROM log_clock_back").fetchall()

    def one(transaction: WriteTransaction) -> None:
        transaction.append(LogDraft(event="verified"))

    vault = await new_vault(tmp_path / "home", clock)
    for step in (0, 10, -1, 0, 1):
        clock.time += step
        await vault.database.write(one)
    await vault.close()
    clock.time -= 5
    vault = await reopen(tmp_path / "home", clock)
    for _ in range(2):
        await vault.database.write(one)

    assert await vault.database.read(places) == [(0, 2), (0, 5)]
    await vault.close()
