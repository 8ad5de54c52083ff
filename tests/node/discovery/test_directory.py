"""Where members may be: merged, bounded, and in the order that is worth trying."""

from __future__ import annotations

from pathlib import Path

from node.discovery.directory import Directory, Place
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from tests.node.services.conditions import alone
from tests.node.services.team import Person

BOB, CAROL = bytes([1]) * 32, bytes([2]) * 32


async def _add(person: Person, *places: tuple[str, int, str]) -> None:
    def job(transaction: WriteTransaction) -> None:
        for host, port, source in places:
            rows.add_address(transaction.connection, BOB, host, port, source=source)

    await person.node.context.database.write(job)


def _directory(person: Person) -> tuple[Directory, list[bytes]]:
    told: list[bytes] = []
    directory = Directory(person.node.context.database, person.clock)
    directory.changed = told.append
    return directory, told


def _hosts(directory: Directory, who: bytes = BOB) -> list[str]:
    return [place.host for place in directory.places(who)]


async def test_the_likeliest_place_comes_first_and_each_place_once(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await _add(
            alice,
            ("file", 1, "identity"),
            ("old", 1, "seen"),
            ("friend", 1, "welcome"),
            ("person", 1, "added"),
            ("new", 1, "seen"),
        )
        directory, told = _directory(alice)
        await directory.load()
        directory.sighted(BOB, "earlier", 1)
        directory.sighted(BOB, "now", 1)
        directory.sighted(BOB, "file", 1)
        directory.sighted(CAROL, "elsewhere", 1)

        assert _hosts(directory) == ["new", "old", "person", "file", "now", "earlier", "friend"]
        assert directory.places(BOB)[3] == Place("lan", "file", 1, "sighted")
        assert directory.places(BOB)[2].kind == "fixed"
        assert told == [BOB, BOB, BOB, CAROL]
        assert directory.places(bytes(32)) == []


async def test_a_place_that_was_left_is_not_tried_again(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        directory, _ = _directory(alice)
        directory.sighted(BOB, "here", 1)
        directory.lost(BOB, "here", 1)
        directory.lost(BOB, "nowhere", 1)
        directory.lost(CAROL, "here", 1)

        assert directory.places(BOB) == []


async def test_only_what_led_to_the_member_is_kept_and_of_that_the_newest_four(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        await _add(alice, ("known", 7, "added"))
        directory, _ = _directory(alice)
        await directory.load()
        for number in (1, 2, 3, 4, 5, 2, 2):
            await directory.proved(BOB, Place("lan", "host", number, "sighted"))
        await directory.proved(BOB, Place("fixed", "host", 9, "identity"))
        # An address that a person told of stays theirs to remove.
        await directory.proved(BOB, Place("lan", "known", 7, "sighted"))

        other, _ = _directory(alice)
        await other.load()
        assert [(place.host, place.port) for place in other.places(BOB)] == [
            ("host", 2),
            ("host", 5),
            ("host", 4),
            ("host", 3),
            ("known", 7),
        ]
        assert [place.source for place in other.places(BOB)] == ["seen"] * 4 + ["added"]


async def test_a_flood_of_sightings_fills_nothing_and_hides_no_fixed_address(
    tmp_path: Path,
) -> None:
    """Row 12: anybody on a network can announce any address for a member."""
    async with alone(tmp_path) as alice:
        await _add(alice, ("known", 7, "added"))
        directory, told = _directory(alice)
        await directory.load()
        for number in range(100_000):
            directory.sighted(BOB, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1)

        assert len(directory.places(BOB)) == 9
        assert _hosts(directory)[0] == "known"
        assert len(told) <= 32

        alice.clock.advance(20_000)
        directory.sighted(BOB, "later", 1)
        assert _hosts(directory)[1] == "later"
