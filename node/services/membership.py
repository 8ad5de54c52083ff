"""The team as this node knows it: founding, adding, joining, and newer rosters.

Belongs here: how the trusted roster changes, a rival of it, and their persistence.
Never here: what the roster says (``standing``), its rules (``protocol.roster``), versions that
lack signatures (``pending``), what administrators ask for (``administering``), or connections
(``peering``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from node.errors import NodeError, UsageError
from node.services.context import Context
from node.services.pending import Outcome, Pending
from node.services.roster_words import change_entries, conflict_entry
from node.services.standing import Standing
from node.services.whole import whole
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import team as rows
from protocol.encoding import decode
from protocol.errors import AuthenticationError, RemoteError
from protocol.identity import (
    Identity,
    clean_text,
    export_identity_file,
    fingerprint_words,
    format_fingerprint,
    is_clean_name,
    parse_fingerprint,
    parse_identity_file_untrusted,
)
from protocol.labels import NO_TEAM
from protocol.limits import MAX_NAME_BYTES, MAX_ROSTER_UPDATE_BYTES
from protocol.roster.changes import merge, overrule
from protocol.roster.metadata import (
    ROLES,
    Roster,
    founding_roster,
    parse_roster_untrusted,
    parse_signed_roster_untrusted,
    sign_roster,
    with_member,
)
from protocol.roster.proposal import Proposal
from protocol.roster.trusted import TrustedRoster
from protocol.roster.update import join_versions, split_versions_untrusted
from protocol.roster.welcome import open_welcome_untrusted, seal_welcome

Address = tuple[str, int]


class Membership(Standing):
    """Holds the newest trusted roster; every change is on disk before it counts."""

    def __init__(
        self,
        context: Context,
        trusted: TrustedRoster | None,
        *,
        rival: TrustedRoster | None = None,
        proposals: Sequence[rows.ProposalRow] = (),
    ) -> None:
        super().__init__(context, trusted, rival)
        self._changing = asyncio.Lock()
        self.pending = Pending(context, self, proposals, take=self._accept)
        """Changed through the methods here alone, which take turns."""
        self._watchers: list[asyncio.Event] = []
        self.changed = asyncio.Event()
        """Set whenever the roster or an address changed; whoever waits clears it."""

    @classmethod
    async def load(cls, context: Context) -> Membership:
        """Return the membership that the vault keeps."""

        def query(db: Connection) -> tuple[list[bytes], list[bytes], list[rows.ProposalRow]]:
            return rows.roster_versions(db), rows.rival_versions(db), rows.proposals(db)

        ours, theirs, proposals = await context.database.read(query)
        return cls(
            context,
            TrustedRoster.load_untrusted(ours) if ours else None,
            rival=TrustedRoster.load_untrusted(theirs) if theirs else None,
            proposals=proposals,
        )

    def watch(self) -> asyncio.Event:
        """Return an event that is set at every change of the roster; its one waiter clears it."""
        watcher = asyncio.Event()
        self._watchers.append(watcher)
        return watcher

    # What people do -----------------------------------------------------------------------------

    def describe_identity(self) -> dict[str, Any]:
        """Return the own fingerprint, words and name."""
        public = self._context.identity.public
        return {
            "fingerprint": format_fingerprint(public.fingerprint),
            "words": list(fingerprint_words(public.fingerprint)),
            "name": public.name,
        }

    def identity_file(self, addresses: list[Address]) -> bytes:
        """Return the own identity file: certificate and addresses."""
        return export_identity_file(self._context.identity, tuple(addresses))

    async def create(self, name: str) -> dict[str, Any]:
        """Found a team with this node as its administrator."""
        async with self._changing:
            if self._trusted is not None:
                raise UsageError(
                    f"this node is in the team {self._trusted.roster.team_name!r} already",
                    hint="one home, one team: use another --home for another team",
                )
            if not is_clean_name(name) or len(name.encode()) > MAX_NAME_BYTES:
                raise UsageError("that is no name for a team", hint="use letters, digits, spaces")
            local = self._context.identity
            body = founding_roster(
                team_name=name, admin=local.public, now=self._context.clock.now()
            )
            signed = sign_roster(body, signers=(local,), team_id=NO_TEAM)
            await self._accept(TrustedRoster.found_untrusted(signed))
        return self.show({}, set())

    async def admit(
        self, person: Identity, role: str, addresses: list[Address]
    ) -> Literal["member", "pending"]:
        """Make a person a member, or a proposal of it where other administrators sign too.

        ``addresses`` are where the person's node listens.
        """
        if role not in ROLES:
            raise UsageError(f"no role {role!r}", hint="roles: " + ", ".join(ROLES))
        async with self._changing:
            self.check_administrator()
            trusted = self.trusted
            if person.fingerprint not in trusted.members:
                self.may_change()
                now = self._context.clock.now()
                body = with_member(trusted.roster, person, role, now=now)
                outcome = await self.pending.propose(body)
                if outcome.pending:
                    return "pending"
            elif trusted.role_of(person.fingerprint) != role:
                raise UsageError(
                    f"{person.name} is a member already, as {trusted.role_of(person.fingerprint)}"
                )
        await self.add_addresses(person.fingerprint, addresses, source="identity")
        return "member"

    async def add(
        self, identity_file: bytes, role: str, *, addresses: list[Address]
    ) -> tuple[bytes, Identity]:
        """Add the person of an identity file; return the sealed WELCOME and who it is.

        The WELCOME is empty while other administrators have yet to sign.
        """
        try:
            person, theirs = parse_identity_file_untrusted(identity_file)
        except RemoteError as error:
            raise NodeError(
                "that is no identity file",
                code="identity_file",
                hint="ask for the output of: safelight identity export FILE",
            ) from error
        if await self.admit(person, role, list(theirs)) == "pending":
            return b"", person
        return await self._welcome(person, addresses), person

    async def _welcome(self, person: Identity, addresses: list[Address]) -> bytes:
        """Return the team and its addresses, sealed to a member."""

        def query(db: Connection) -> tuple[list[bytes], dict[bytes, list[Address]], str]:
            return rows.roster_versions(db), rows.addresses(db), rows.rendezvous(db)

        versions, known, rendezvous = await self._context.database.read(query)
        told = [(self._context.me, host, port) for host, port in addresses]
        told += [
            (fingerprint, host, port)
            for fingerprint, places in known.items()
            for host, port in places
            if fingerprint != person.fingerprint
        ]
        return seal_welcome(
            rosters=tuple(versions),
            addresses=tuple(told),
            sender=self._context.identity,
            recipient=person,
            entropy=self._context.entropy,
            rendezvous=rendezvous,
        )

    async def join(self, welcome: bytes, expect: str | None) -> dict[str, Any]:
        """Join by WELCOME if its administrator is the expected one; else only say who it is."""
        try:
            administrator, trusted, addresses, rendezvous = open_welcome_untrusted(
                welcome, recipient=self._context.identity
            )
        except RemoteError as error:
            raise NodeError(
                "that WELCOME does not open here",
                code="welcome",
                hint="it is sealed to one identity: send yours with safelight identity export, "
                "and ask for a new WELCOME",
            ) from error
        if trusted.expired(self._context.clock.now()):
            raise NodeError(
                "that WELCOME is too old: its roster has expired",
                code="welcome",
                hint="ask for a new one",
            )
        told = {
            "team": clean_text(trusted.roster.team_name, MAX_NAME_BYTES),
            "administrator": administrator.name,
            "fingerprint": format_fingerprint(administrator.fingerprint),
            "words": list(fingerprint_words(administrator.fingerprint)),
            "member": self._context.identity.public.name,
            "rendezvous": None if rendezvous is None else rendezvous.text,
        }
        if expect is None:
            return {**told, "joined": False}
        if parse_fingerprint(expect) != administrator.fingerprint:
            raise NodeError(
                "the WELCOME is from somebody else than expected",
                code="tampered",
                hint=f"it is from {told['fingerprint']}",
            )
        await self.adopt(trusted)
        for fingerprint, host, port in addresses:
            if self.member(fingerprint) is not None and fingerprint != self._context.me:
                await self.add_addresses(fingerprint, [(host, port)], source="welcome")
        return {**told, "joined": True}

    async def adopt(self, trusted: TrustedRoster) -> None:
        """Take the roster of the team that this node joins.

        That it is the right team is vouched for: by a person who compared words, or by a code.
        UsageError where this node is in another team; a roster that is older than the one in
        use changes nothing. NodeError where the two are histories of one team that do not fit.
        """
        async with self._changing:
            if self._trusted is None:
                await self._accept(trusted)
                return
            if self._trusted.team_id != trusted.team_id:
                raise UsageError("this node is in another team already", hint="use another --home")
            if self._trusted.extends(trusted):
                return
            followed = _follow(self._trusted, trusted)
            if followed is None:
                raise self._conflict("the one offered does not follow the one known here")
            await self._accept(followed)

    async def add_addresses(
        self, fingerprint: bytes, places: list[Address], *, source: str
    ) -> None:
        """Remember where a member listens."""

        def job(transaction: WriteTransaction) -> None:
            for host, port in places:
                rows.add_address(transaction.connection, fingerprint, host, port, source=source)

        await self._context.database.write(job)
        self.changed.set()

    async def remove_addresses(self, fingerprint: bytes) -> int:
        """Forget where a member listens; return how many addresses there were."""
        removed = await self._context.database.write(
            lambda transaction: rows.remove_addresses(transaction.connection, fingerprint)
        )
        self.changed.set()
        return removed.value

    # Changes that administrators sign -----------------------------------------------------------

    async def change(
        self, make: Callable[[TrustedRoster], bytes], *, urgent: bool = False
    ) -> Outcome:
        """Sign the version that make builds on the newest; take it, or propose it to the others.

        Where the same change is proposed already, it is signed instead. An ``urgent`` one is
        made also where `may_change` says no. Raises what make does.
        """
        async with self._changing:
            self.check_administrator()
            if not urgent:
                self.may_change()
            return await self.pending.propose(make(self.trusted))

    def proposals(self) -> list[Proposal]:
        """Return the versions that lack signatures, oldest first."""
        return self.pending.all()

    def proposal_adding(self, fingerprint: bytes) -> Outcome | None:
        """Return the proposal by which a person would become a member, or None."""
        return self.pending.adding(fingerprint)

    async def sign(self, proposal_hash: bytes) -> Outcome:
        """Sign a version that lacks signatures; UnknownError where it is pending no more."""
        async with self._changing:
            self.check_administrator()
            return await self.pending.sign(proposal_hash)

    async def hear_proposal_untrusted(self, member: Identity, signed: bytes) -> None:
        """Take in a version that lacks signatures from another administrator; Refused if bad."""
        async with self._changing:
            await self.pending.hear_untrusted(member, signed)

    # Two histories ------------------------------------------------------------------------------

    async def hear_rival_untrusted(self, stream: bytes) -> None:
        """Take in another history of the team: newer, a rival, or of the past.

        The stream holds its versions from 1 on, or from the first on that is not known here.
        A newer one is followed, a rival is kept until somebody joins the two, whatever was
        settled before is ignored. RemoteError for one that is not good.
        """
        versions = split_versions_untrusted(stream)
        async with self._changing:
            trusted = self.trusted
            theirs = TrustedRoster.load_untrusted(_from_the_start_untrusted(trusted, versions))
            if theirs.team_id != trusted.team_id:
                raise AuthenticationError("roster: of another team")
            if trusted.extends(theirs):
                return
            if (followed := _follow(trusted, theirs)) is not None:
                await self._accept(followed)
            elif trusted.rivals(theirs) and (self._rival is None or theirs.extends(self._rival)):
                # One after another: a third history is heard of again once these two are joined.
                await self._keep_rival(theirs)

    async def _keep_rival(self, theirs: TrustedRoster) -> None:
        trusted = self.trusted
        if self._rival is not None and self._rival.hash == theirs.hash:
            return

        def job(transaction: WriteTransaction) -> None:
            rows.set_rival(transaction.connection, _numbered(theirs))
            transaction.append(conflict_entry(trusted, theirs, about=self._context.me))

        async def keep() -> None:
            await self._context.database.write(job)
            self._use(trusted, theirs)

        await whole(keep())
        self._tell_changed()
        self._context.events.tell("roster_conflict", version=theirs.version)

    def joined_roster(self, *, keep_ours: bool) -> Roster:
        """Return the version that `join_rival` would sign; UsageError where there is no rival."""
        body = self._joining_body(self._rival_to_join(), keep_ours=keep_ours)
        return parse_roster_untrusted(body, known={})[0]

    async def join_rival(self, *, keep_ours: bool) -> Outcome:
        """Sign the version that joins both histories, or keeps all of ours.

        UsageError where there is no rival, LocalError where the two cannot be joined.
        """
        async with self._changing:
            self.check_administrator()
            rival = self._rival_to_join()
            joining = self._joined_by(rival)
            if keep_ours or joining is None:
                body = self._joining_body(rival, keep_ours=keep_ours)
                return await self.pending.propose(body)
            # Their administrators have joined the two; what is missing is a signature of ours.
            outcome = await self.pending.countersign(joining)
            if not outcome.pending and (followed := _follow(self.trusted, rival)) is not None:
                await self._accept(followed)
            return outcome

    def _rival_to_join(self) -> TrustedRoster:
        if self._rival is None:
            raise UsageError(
                "there is one history of the team: nothing to join", hint="safelight team show"
            )
        return self._rival

    def _joined_by(self, rival: TrustedRoster) -> bytes | None:
        """Return the rival's version that joins both, which lacks our administrators' word."""
        return rival.joined.get(self.trusted.hash)

    def _joining_body(self, rival: TrustedRoster, *, keep_ours: bool) -> bytes:
        now = self._context.clock.now()
        if keep_ours:
            return overrule(self.trusted, rival, now=now)
        joining = self._joined_by(rival)
        if joining is not None:
            return parse_signed_roster_untrusted(joining).body
        return merge(self.trusted, rival, now=now)

    # Newer rosters ------------------------------------------------------------------------------

    async def versions_after(self, version: int) -> bytes:
        """Return the stream of the roster versions after one."""
        signed = await self._context.database.read(
            lambda db: rows.roster_versions(db, after=version)
        )
        return join_versions(signed)

    async def update_untrusted(self, stream: bytes) -> None:
        """Accept the versions of a peer's stream that follow ours; RemoteError for a bad one."""
        versions = split_versions_untrusted(stream)
        async with self._changing:
            trusted = before = self.trusted
            # Two peers may tell of the same versions at once: what is known is no news.
            known = set(trusted.signed_versions)
            for signed in (one for one in versions if one not in known):
                trusted = trusted.update_untrusted(signed)
            if trusted is not before:
                await self._accept(trusted)

    async def _accept(self, trusted: TrustedRoster) -> None:
        """Write new versions, log the change, then use them, whatever happens to the caller."""
        await whole(self._take(trusted))

    async def _take(self, trusted: TrustedRoster) -> None:
        before, rival = self._trusted, self._rival
        if rival is not None and not trusted.rivals(rival):
            rival = None
        gone = {} if before is None else dict(before.members)
        gone = {one: identity for one, identity in gone.items() if one not in trusted.members}
        dropped = self.pending.dropped_by(trusted)

        def job(transaction: WriteTransaction) -> None:
            db = transaction.connection
            for number, version_hash, signed in _numbered(trusted):
                if before is None or number > before.version:
                    rows.insert_roster(db, version=number, roster_hash=version_hash, signed=signed)
            # All of them would follow the version before.
            rows.drop_proposals(db)
            if rival is None:
                rows.set_rival(db, ())
            for entry in change_entries(before, trusted, about=self._context.me):
                transaction.append(entry)

        self._leaving = frozenset(gone)
        try:
            await self._context.database.write(job)
            self._note_former(gone, trusted.members)
            self.pending.clear()
            settled = self._rival is not None and rival is None
            self._use(trusted, rival)
        finally:
            self._leaving = frozenset()
        self._tell_changed()
        self._context.events.tell("roster", version=trusted.version)
        for one in sorted(dropped):
            self._context.events.tell("proposal_dropped", proposal=one.hex())
        if settled:
            self._context.events.tell("roster_resolved", version=trusted.version)

    def _tell_changed(self) -> None:
        self.changed.set()
        for watcher in self._watchers:
            watcher.set()


def _numbered(trusted: TrustedRoster) -> list[tuple[int, bytes, bytes]]:
    """Return (version, hash, signed) of every version of a history, ascending."""
    return [
        (number, version_hash, signed)
        for (number, version_hash), signed in zip(
            trusted.hashes.items(), trusted.signed_versions, strict=True
        )
    ]


def _follow(trusted: TrustedRoster, theirs: TrustedRoster) -> TrustedRoster | None:
    """Return trusted brought to theirs by the versions that follow it, or None where none do."""
    for signed in theirs.signed_versions:
        # Those before the version that joins the two are of another history, and no news.
        with contextlib.suppress(RemoteError):
            trusted = trusted.update_untrusted(signed)
    return trusted if trusted.hash == theirs.hash else None


def _from_the_start_untrusted(trusted: TrustedRoster, versions: list[bytes]) -> list[bytes]:
    """Return a peer's versions with those of ours before that they begin after."""
    if not versions:
        return []
    body = parse_signed_roster_untrusted(versions[0]).body
    parents = decode(Roster, body, limit=MAX_ROSTER_UPDATE_BYTES).parents
    shared = [number for number, one in trusted.hashes.items() if one in parents]
    newest = max(shared, default=0)
    return [signed for number, _, signed in _numbered(trusted) if number <= newest] + versions
