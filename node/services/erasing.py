"""Erasing a subject: what the log and the index say about a person, a picture, a capability.

Belongs here: finding who or what is meant, destroying what was said of it, and saying what stays.
Never here: the rows (``vault.records.erasing``), or asking a person whether they mean it.

Entries hold commitments and pseudonyms only, so they stay as they are and so does every proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.entries import draft
from node.services.library import Library
from node.services.membership import Membership
from node.services.standing import NoTeamError
from node.services.whole import whole
from node.vault.database import WriteTransaction
from node.vault.records import Connection, library
from node.vault.records import erasing as rows
from node.vault.records import grants as grant_rows
from node.vault.records import held as held_rows
from node.vault.records.erasing import SubjectRow, TermsRow
from protocol.audit.checkpoint import origin_of
from protocol.capability.terms import parse_terms_untrusted
from protocol.encoding import encode
from protocol.identity import format_fingerprint

KINDS: Final = {
    "person": "member",
    "picture": "image",
    "album": "album",
    "capability": "capability",
}
"""What people call the kinds of subjects that the log has keys for."""

_CALLED: Final = {kind: called for called, kind in KINDS.items()}
_LEAST_PREFIX: Final = 4
"""Digits of an id that name something which is in no table any more."""

_WAL_TRIES: Final = 20
_WAL_PAUSE_S: Final = 0.1

ELSEWHERE: Final = (
    "backups made before still hold it, until they are deleted",
    "other people's nodes keep their own logs",
)
"""What no node can erase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is to be erased."""

    kind: str
    reference: bytes = field(repr=False)
    name: str
    """As people know it, for the question and the answer; nothing is stored under it."""

    def describe(self) -> dict[str, Any]:
        member = self.kind == "member"
        return {
            "kind": _CALLED[self.kind],
            "id": format_fingerprint(self.reference) if member else self.reference.hex(),
            "name": self.name,
        }


@dataclass(slots=True, kw_only=True)
class _Done:
    """What an erasure destroys, and what it has to leave."""

    values: int = 0
    entries: int = 0
    mentions: int = 0
    """Values about this node itself that named the person too."""
    receipts: int = 0
    """Signed receipts beside its entries."""
    rewritten: int = 0
    """Rows outside of the log."""
    pseudonym: str = ""
    remains: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to erase."""
        return not (self.pseudonym or self.mentions or self.rewritten)


class _RehearsedError(Exception):
    """Takes back the transaction in which an erasure was only tried."""


class Erasing:
    """Destroys what this node keeps about a subject."""

    def __init__(self, context: Context, membership: Membership, library_service: Library) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service

    async def erase(self, *, subject: str, kind: str | None, dry_run: bool) -> dict[str, Any]:
        """Erase a subject, or with ``dry_run`` only say what would be destroyed and what stays.

        On return the key and the values are in no file of the home. UnknownError where nothing
        is kept about it, AmbiguousError where the text means several things.
        """
        if kind is not None and kind not in KINDS:
            raise UsageError(f"no kind {kind!r}", hint="one of: " + ", ".join(KINDS))
        chosen = await self._find(subject, None if kind is None else KINDS[kind])
        if (chosen.kind, chosen.reference) == ("member", self._context.me):
            raise UsageError(
                "that is yourself: your name stands in your certificate",
                hint="who wants to leave no trace deletes the home folder",
            )
        done = await (self._rehearse(chosen) if dry_run else whole(self._destroy(chosen)))
        if done.nothing:
            raise UnknownError(
                f"nothing is kept about {chosen.name} that could be erased",
                hint=done.remains[0] if done.remains else "safelight audit log",
            )
        return {
            "subject": chosen.describe(),
            "erased": not dry_run,
            "values": done.values,
            "entries": done.entries,
            "mentions": done.mentions,
            "receipts": done.receipts,
            "rewritten": done.rewritten,
            "pseudonym": done.pseudonym or None,
            "remains": done.remains,
            "elsewhere": list(ELSEWHERE),
        }

    # Who or what is meant -------------------------------------------------------------------------

    async def _find(self, text: str, kind: str | None) -> _Subject:
        found: dict[tuple[str, bytes], _Subject] = {}
        for wanted, look in (
            ("member", self._person),
            ("image", self._picture),
            ("album", self._album),
            ("capability", self._capability),
            (None, self._gone),
        ):
            if wanted is None or kind in (None, wanted):
                for one in await look(text):
                    if kind in (None, one.kind):
                        found.setdefault((one.kind, one.reference), one)
        if not found:
            raise UnknownError(
                f"no person, picture, album or capability {text!r}",
                hint="what is gone already is named by the first digits of its id",
            )
        if len(found) > 1:
            raise AmbiguousError(
                f"{text!r} means several things",
                [
                    f"{_CALLED[one.kind]} {one.name} ({one.describe()['id'][:14]})"
                    for one in found.values()
                ],
            )
        return next(iter(found.values()))

    async def _person(self, text: str) -> list[_Subject]:
        try:
            person = self._membership.resolve(text, former=True)
        except (UnknownError, NoTeamError):
            me = self._context.identity.public
            return [_member(me.fingerprint, me.name)] if text == me.name else []
        return [_member(person.fingerprint, person.name)]

    async def _picture(self, text: str) -> list[_Subject]:
        try:
            row = await self._library.resolve_image(text)
        except UnknownError:
            return []
        return [_Subject(kind="image", reference=row.image_id, name=row.name)]

    async def _album(self, text: str) -> list[_Subject]:
        try:
            album_id = await self._library.resolve_album(text)
        except UnknownError:
            return []
        return [_Subject(kind="album", reference=album_id, name=text)]

    async def _capability(self, text: str) -> list[_Subject]:
        def query(db: Connection) -> set[bytes]:
            return {*grant_rows.find_grants(db, text), *held_rows.find_held(db, text)}

        return [
            _Subject(kind="capability", reference=one, name=one.hex()[:8])
            for one in sorted(await self._context.database.read(query))
        ]

    async def _gone(self, text: str) -> list[_Subject]:
        """Return what only the log still knows, by the beginning of its id."""
        prefix = text.lower().replace("-", "")
        if len(prefix) < _LEAST_PREFIX:
            return []
        known = await self._context.database.read(rows.subjects)
        found = []
        for kind, reference in known:
            if kind not in _CALLED:
                continue
            names = [reference.hex()]
            if kind == "member":
                names.append(format_fingerprint(reference).replace("-", ""))
            if any(one.startswith(prefix) for one in names):
                name = self._membership.name_of(reference) if kind == "member" else names[0][:8]
                found.append(_Subject(kind=kind, reference=reference, name=name))
        return found

    # Destroying -----------------------------------------------------------------------------------

    async def _rehearse(self, chosen: _Subject) -> _Done:
        """Return what erasing would do: it is done, and the transaction is taken back."""
        tried: list[_Done] = []

        def job(transaction: WriteTransaction) -> None:
            tried.append(self._erase(transaction, chosen))
            raise _RehearsedError

        with contextlib.suppress(_RehearsedError):
            await self._context.database.write(job)
        return tried[0]

    async def _destroy(self, chosen: _Subject) -> _Done:
        """Destroy in one transaction, log it there, and empty the write-ahead log behind it."""

        def job(transaction: WriteTransaction) -> _Done:
            done = self._erase(transaction, chosen)
            if not done.nothing:
                transaction.append(
                    draft(
                        "erased",
                        actor=self._context.me,
                        about=self._context.me,
                        facts={
                            "what": _CALLED[chosen.kind],
                            "values": str(done.values + done.mentions),
                            **({"pseudonym": done.pseudonym} if done.pseudonym else {}),
                        },
                    )
                )
            return done

        done = (await self._context.database.write(job)).value
        # Entries that waited in the same transaction were sealed under the key that is gone.
        await self._context.database.write(
            lambda transaction: rows.destroy_orphans(transaction.connection)
        )
        await self._empty_wal()
        if chosen.kind == "member":
            self._membership.changed.set()
        return done

    async def _empty_wal(self) -> None:
        """Leave no older state of a page in the write-ahead log, or say that it is still there."""
        index = self._context.vault.home.index
        wal = index.with_name(index.name + "-wal")
        for _ in range(_WAL_TRIES):
            await self._context.database.truncate_wal()
            size = await asyncio.to_thread(lambda: wal.stat().st_size if wal.exists() else 0)
            if not size:
                return
            await asyncio.sleep(_WAL_PAUSE_S)
        raise NodeError(
            "the values are erased, and older pages of the index are still in its write-ahead log",
            code="wal_busy",
            hint="another query reads them: lock --full the node, which empties it",
        )

    def _erase(self, transaction: WriteTransaction, chosen: _Subject) -> _Done:
        db, done = transaction.connection, _Done()
        if chosen.kind == "member":
            self._erase_person(db, chosen, done)
        elif chosen.kind == "image":
            self._erase_picture(db, chosen, done)
        elif chosen.kind == "capability":
            self._erase_capability(db, chosen, done)
        elif library.find_albums(db, chosen.reference.hex()):
            done.remains.append("the album is in the library, under its name")
        row = rows.subject(db, chosen.kind, chosen.reference)
        if row is not None:
            self._erase_values(transaction, row, done)
        return done

    def _erase_values(self, transaction: WriteTransaction, row: SubjectRow, done: _Done) -> None:
        db = transaction.connection
        done.values, done.entries = rows.value_count(db, row.subject_id)
        done.pseudonym = row.pseudonym
        done.receipts = rows.destroy_subject(db, row)
        transaction.forget_subject(row.kind, row.reference)

    # A person -------------------------------------------------------------------------------------

    def _erase_person(self, db: Connection, chosen: _Subject, done: _Done) -> None:
        self._erase_mentions(db, chosen, done)
        person, called = chosen.reference, chosen.name
        concerned = rows.terms_with(db, person)
        if self._membership.member(person) is not None:
            done.remains.append(f"{called} is a member: the roster names them while they are")
            if concerned:
                done.remains.append(f"capabilities to them or from them: {len(concerned)}")
            return
        stranger = self._context.entropy(len(person))
        for row in concerned:
            if row.ended:
                self._rewrite(db, row, stranger)
                done.rewritten += 1
            else:
                done.remains.append(f"capability {row.capability_id.hex()[:8]} is live: revoke it")
        done.rewritten += self._rewrite_provenance(db, person, stranger)
        done.rewritten += rows.forget_peer(db, person, origin_of(person).split("/")[1])
        if self._membership.founded:
            done.remains.append(
                "the roster's signed history, which every member checks, says who was a member"
            )

    def _erase_mentions(self, db: Connection, chosen: _Subject, done: _Done) -> None:
        """Destroy what is said about this node and names the person: who signed a roster, say."""
        naming = re.compile(
            rf"(?<!\w)(?:{re.escape(chosen.name)}|{re.escape(format_fingerprint(chosen.reference))})"
            r"(?!\w)"
        )
        mine = rows.subject(db, "member", self._context.me)
        if mine is not None:
            facts = [one for one in rows.facts_of(db, mine.subject_id) if naming.search(one.text)]
            rows.destroy_facts(db, facts)
            done.mentions = len(facts)

    def _rewrite(self, db: Connection, row: TermsRow, stranger: bytes) -> None:
        """Let a capability that is over be of somebody who is nobody, without its words."""
        terms = parse_terms_untrusted(row.terms)
        changed = {"holder" if row.table == "grants" else "issuer": stranger}
        body = encode(msgspec.structs.replace(terms, usage_terms="", **changed))
        rows.rewrite_terms(db, row, body, stranger)

    def _rewrite_provenance(self, db: Connection, person: bytes, stranger: bytes) -> int:
        changed = 0
        for image_id, provenance in rows.provenances(db):
            came: dict[str, Any] = msgspec.msgpack.decode(provenance)
            if came.get("issuer") == person:
                rows.set_provenance(db, image_id, encode({**came, "issuer": stranger}))
                changed += 1
        return changed

    # A picture, a capability ----------------------------------------------------------------------

    def _erase_picture(self, db: Connection, chosen: _Subject, done: _Done) -> None:
        if rows.image_exists(db, chosen.reference):
            done.remains.append("the picture is in the library, under its name")
            return
        if live := rows.live_with_image(db, chosen.reference):
            done.remains.append(f"{live} live capabilities name it: they end or are revoked first")
        done.rewritten = rows.forget_image(db, chosen.reference)
        rows.forget_searched_words(db)

    def _erase_capability(self, db: Connection, chosen: _Subject, done: _Done) -> None:
        for row in rows.terms_of(db, chosen.reference):
            if not row.ended:
                done.remains.append("it is live: its terms stay until it is revoked or expires")
                continue
            if not row.signed:
                continue
            terms = parse_terms_untrusted(row.terms)
            other = terms.holder if row.table == "grants" else terms.issuer
            body = encode(msgspec.structs.replace(terms, usage_terms=""))
            rows.rewrite_terms(db, row, body, other)
            done.rewritten += 1


def _member(fingerprint: bytes, name: str) -> _Subject:
    return _Subject(kind="member", reference=fingerprint, name=name)
