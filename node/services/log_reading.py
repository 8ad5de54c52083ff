"""The own log as people read it: entries in words, filtered and followed.

Belongs here: which entries are shown, and their actors, subjects and values in words.
Never here: verifying (``log_verifying``), exporting (``evidence_pack``), appending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.errors import UsageError
from node.services.context import Context
from node.services.entries import facts_of
from node.services.library import Library, bounded
from node.services.membership import Membership
from node.services.moments import parse_moment, rfc3339
from node.vault import log_store
from node.vault.log_store import StoredEntry
from node.vault.records import Connection, held, library, log
from protocol.audit.entry import EVENTS, Entry, decode_entry_untrusted
from protocol.errors import EncodingError

_FOLLOW_PAUSE_S: Final = 0.2
"""How often a follower looks for entries it was not told of."""

_MOST_OF_A_PAGE: Final = 1_000

ERASED: Final = "erased"
"""What stands where a value or a person has been erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries are meant."""

    subjects: list[tuple[str, bytes]]
    """(kind, reference) of everything that an entry has to be about, or by whom."""
    since: int | None
    """Unix milliseconds."""
    until: int | None
    events: tuple[str, ...]

    @property
    def everything(self) -> bool:
        """Say whether no entry is left out."""
        return not self.subjects and self.since is None and self.until is None and not self.events

    def newest(self, db: Connection, limit: int) -> list[StoredEntry]:
        """Return the newest entries that are meant, oldest first."""
        return log.newest(
            db,
            subjects=self.subjects,
            since=self.since,
            until=self.until,
            events=self.events,
            limit=bounded(limit),
        )

    def page(self, db: Connection, *, offset: int, limit: int) -> tuple[int, list[StoredEntry]]:
        """Return how many entries are meant, and a page of them, newest first."""
        return log.page_of(
            db,
            subjects=self.subjects,
            since=self.since,
            until=self.until,
            events=self.events,
            offset=offset,
            limit=limit,
        )

    def has(self, db: Connection, entry: StoredEntry) -> bool:
        """Say whether an entry is meant."""
        return (
            (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time < self.until)
            and (not self.events or entry.event in self.events)
            and log.concerns(db, entry, self.subjects)
        )


class LogReading:
    """Shows the own log."""

    def __init__(self, context: Context, membership: Membership, library_service: Library) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service

    async def entries(
        self,
        *,
        who: str | None,
        image: str | None,
        since: str | None,
        limit: int,
        until: str | None = None,
        events: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the newest entries that match, oldest first."""
        selection = await self.select(who=who, image=image, since=since, until=until, events=events)

        def query(db: Connection) -> list[dict[str, Any]]:
            people = _people(db)
            return [self.describe(db, one, people) for one in selection.newest(db, limit)]

        return {"entries": await self._context.database.read(query)}

    async def page(
        self,
        *,
        who: str | None,
        image: str | None,
        since: str | None,
        until: str | None,
        events: Sequence[str],
        offset: int,
        limit: int,
    ) -> dict[str, Any]:
        """Return a page of the entries that match, newest first, and how many there are."""
        selection = await self.select(who=who, image=image, since=since, until=until, events=events)
        start, most = max(0, offset), max(0, min(limit, _MOST_OF_A_PAGE))

        def query(db: Connection) -> dict[str, Any]:
            people = _people(db)
            total, found = selection.page(db, offset=start, limit=most)
            return {"total": total, "entries": [self.describe(db, one, people) for one in found]}

        return await self._context.database.read(query)

    async def follow(
        self,
        *,
        who: str | None,
        image: str | None,
        since: str | None,
        limit: int,
        until: str | None = None,
        events: Sequence[str] = (),
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the entries that match, then new ones as they are committed, without end."""
        selection = await self.select(who=who, image=image, since=since, until=until, events=events)

        def begin(db: Connection) -> tuple[tuple[int, int], list[dict[str, Any]]]:
            head, people = log_store.head(db), _people(db)
            found = [self.describe(db, one, people) for one in selection.newest(db, limit)]
            return (log_store.current(db), 0 if head is None else head.size), found

        position, first = await self._context.database.read(begin)
        for entry in first:
            yield entry
        while True:

            def query(
                db: Connection, start: tuple[int, int] = position
            ) -> tuple[tuple[int, int], list[dict[str, Any]]]:
                log, index = start
                found = log_store.entries(db, start=index, limit=256, incarnation=log)
                people = _people(db) if found else {}
                matching = [one for one in found if selection.has(db, one)]
                end = (log, found[-1].index + 1) if found else start
                if not found and (begun := [n for n in log_store.incarnations(db) if n > log]):
                    end = (begun[0], 0)
                return end, [self.describe(db, one, people) for one in matching]

            position, new = await self._context.database.read(query)
            for entry in new:
                yield entry
            if not new:
                await asyncio.sleep(_FOLLOW_PAUSE_S)

    async def select(
        self,
        *,
        who: str | None = None,
        image: str | None = None,
        since: str | None = None,
        until: str | None = None,
        events: Sequence[str] = (),
    ) -> Selection:
        """Return the entries that a person's words mean; UnknownError, UsageError."""
        subjects = []
        if who is not None:
            me = self._context.identity.public
            person = me if who == me.name else self._membership.resolve(who, former=True)
            subjects.append(("member", person.fingerprint))
        if image is not None:
            row = await self._library.resolve_image(image)
            subjects.append(("image", row.image_id))
        for event in events:
            if event not in EVENTS:
                raise UsageError(
                    f"no such event: {event!r}", hint="one of " + ", ".join(sorted(EVENTS))
                )
        now = self._context.clock.now()
        return Selection(
            subjects=subjects,
            since=None if since is None else parse_moment(since, now=now),
            until=None if until is None else parse_moment(until, now=now),
            events=tuple(events),
        )

    # Words ----------------------------------------------------------------------------------------

    def describe(
        self, db: Connection, stored: StoredEntry, people: dict[str, bytes]
    ) -> dict[str, Any]:
        """Return an entry in words; ``people`` are fingerprints by pseudonym."""
        told = log_store.values(db, stored.index, stored.incarnation)
        references, facts = facts_of({name: one.value for name, one in told.items()})
        try:
            entry: Entry | None = decode_entry_untrusted(stored.entry)
        except EncodingError:
            entry = None  # Verifying says so; what is stored beside it can still be read.
        gone = [] if entry is None else [one for one in entry.commitments if one not in told]
        detail = dict(facts)
        for field in ("holder", "issuer", "member"):
            if field in references:
                detail[field] = self._membership.name_of(references[field])
        for field in ("image", "capability", "album"):
            if field in references:
                detail[field] = references[field].hex()
        detail.update(dict.fromkeys(gone, ERASED))
        return {
            "incarnation": stored.incarnation,
            "index": stored.index,
            "time": rfc3339(stored.time),
            "event": stored.event,
            "actor": self._actor(stored.event, entry, references, people),
            "subject": self._subject(db, references, gone),
            "detail": detail,
        }

    def _actor(
        self,
        event: str,
        entry: Entry | None,
        references: dict[str, bytes],
        people: dict[str, bytes],
    ) -> str:
        actor = references.get("holder") if event in _BY_HOLDER else None
        if actor is None and event in _BY_ISSUER:
            actor = references.get("issuer")
        if actor is None and entry is not None and entry.actor:
            actor = people.get(entry.actor)
            if actor is None:
                return ERASED
        return self._membership.name_of(actor or self._context.me)

    def _subject(self, db: Connection, references: dict[str, bytes], gone: list[str]) -> str | None:
        if "image" in references:
            return _picture(db, references)
        if "image" in gone:
            return ERASED
        if "capability" in references:
            return f"capability {references['capability'].hex()[:8]}"
        if "member" in references:
            return self._membership.name_of(references["member"])
        return ERASED if {"capability", "member"} & set(gone) else None


def _picture(db: Connection, references: dict[str, bytes]) -> str:
    """Return the name of a picture of this node's own or of one that it holds, or its short id."""
    image = references["image"]
    if (own := library.image(db, image)) is not None:
        return own.name
    theirs = held.held_image(db, references.get("capability", b""), image)
    return image.hex()[:8] if theirs is None else theirs.name


def _people(db: Connection) -> dict[str, bytes]:
    return log_store.pseudonyms(db, "member")


_BY_HOLDER: Final = frozenset(
    ["released", "redelivered", "denied", "delivered", "opened", "saved", "revocation_seen"]
)
"""Events in the issuer's log that the holder brought about."""

_BY_ISSUER: Final = frozenset(["received", "revocation_seen", "amended"])
"""Events in the holder's log that the issuer brought about."""
