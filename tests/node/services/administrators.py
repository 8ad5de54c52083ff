"""Nodes of one team who are all its administrators, together and apart.

Belongs here: making such a team, and waiting for what passes between its nodes.
Never here: what a change must come to (the tests).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.node.services.team import Person, eventually, team


async def at_version(person: Person, version: int) -> None:
    """Wait until a person's node holds a version of the roster."""

    async def there() -> bool:
        return person.node.membership.version == version

    await eventually(there)


@asynccontextmanager
async def administrators(
    folder: Path, *names: str, threshold: int = 1
) -> AsyncIterator[list[Person]]:
    """Hold connected nodes of one team who are all its administrators."""
    async with team(folder, *names) as people:
        first, *others = people
        for person in others:
            await first.node.administering.role(person.name, "admin")
        version = first.node.membership.version
        for person in others:
            await at_version(person, version)
        if threshold > 1:
            told = await first.node.administering.threshold(threshold)
            for person in others[: told["missing"]]:
                await pending(person, 1)
                await person.node.administering.sign("")
            for person in people:
                await at_version(person, version + 1)
        yield people


@asynccontextmanager
async def apart(folder: Path, *names: str) -> AsyncIterator[list[Person]]:
    """Hold nodes of one team, all its administrators, between which nothing passes any more."""
    async with administrators(folder, *names) as people:
        for person in people:
            await person.node.peering.close()
        yield people


async def pending(person: Person, count: int) -> list[str]:
    """Return the ids of what waits for signatures once there are so many."""

    async def there() -> bool:
        return len(person.node.administering.pending()) == count

    await eventually(there)
    return [one["id"] for one in person.node.administering.pending()]


async def tell(source: Person, target: Person) -> None:
    """Hand everything that one node knows of the team to another."""
    stream = await source.node.membership.versions_after(0)
    await target.node.membership.hear_rival_untrusted(stream)


def identity_of(person: Person) -> bytes:
    """Return a person's identity file, without addresses."""
    return person.node.membership.identity_file([])


def role_at(person: Person, of: Person) -> str | None:
    """Return the role that somebody has by one person's roster."""
    return person.node.membership.role_of(of.me)
