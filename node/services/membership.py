"""The team as this node knows it: founding, adding, joining, and newer rosters.

Belongs here: the trusted roster in use, its persistence, and who a name means.
Never here: the roster's rules (``protocol.roster``), or connections (``peering``).
"""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any

from node.errors import AmbiguousError, NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.entries import draft
from node.services.moments import rfc3339
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.errors import Reason, Refused, RemoteError
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
from protocol.limits import MAX_NAME_BYTES
from protocol.roster.metadata import ROLES, founding_roster, sign_roster, with_member
from protocol.roster.trusted import TrustedRoster
from protocol.roster.update import join_versions, split_versions_untrusted
from protocol.roster.welcome import open_welcome_untrusted, seal_welcome

Address = tuple[str, int]


class NoTeamError(NodeError):
    """This node belongs to no team yet."""

    code = "no_team"


class Membership:
    """Holds the newest trusted roster; every change is on disk before it counts."""

    def __init__(self, context: Context, trusted: TrustedRoster | None) -> None:
        self._context = context
        self._trusted = trusted
        self._changing = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set whenever the roster or an address changed; whoever waits clears it."""

    @classmethod
    async def load(cls, context: Context) -> Membership:
        """Return the membership that the vault keeps."""
        signed = await context.database.read(rows.roster_versions)
        return cls(context, TrustedRoster.load_untrusted(signed) if signed else None)

    # Who is who ---------------------------------------------------------------------------------

    @property
    def trusted(self) -> TrustedRoster:
        """The newest trusted roster; NoTeamError where there is none."""
        if self._trusted is None:
            raise NoTeamError(
                "this node is in no team",
                hint="found one with: safelight team create NAME, or join one",
            )
        return self._trusted

    @property
    def founded(self) -> bool:
        """Whether this node is in a team."""
        return self._trusted is not None

    @property
    def team_id(self) -> bytes:
        """The team's id, 32 zero bytes where there is no team."""
        return NO_TEAM if self._trusted is None else self._trusted.team_id

    @property
    def version(self) -> int:
        """The roster's version, 0 where there is no team."""
        return 0 if self._trusted is None else self._trusted.version

    @property
    def roster_hash(self) -> bytes:
        """The roster's hash, empty where there is no team."""
        return b"" if self._trusted is None else self._trusted.hash

    def member(self, fingerprint: bytes) -> Identity | None:
        """Return a member's identity, or None."""
        return None if self._trusted is None else self._trusted.members.get(fingerprint)

    def member_by_agreement(self, agreement_key: bytes) -> Identity | None:
        """Return the member whose agreement key this is, or None."""
        return None if self._trusted is None else self._trusted.by_agreement.get(agreement_key)

    def role_of(self, fingerprint: bytes) -> str | None:
        """Return a member's role, or None."""
        return None if self._trusted is None else self._trusted.role_of(fingerprint)

    def name_of(self, fingerprint: bytes) -> str:
        """Return a member's name, or the start of the fingerprint of somebody unknown."""
        if fingerprint == self._context.me:
            return self._context.identity.public.name
        member = self.member(fingerprint)
        return format_fingerprint(fingerprint)[:9] if member is None else member.name

    def resolve(self, who: str) -> Identity:
        """Return the member that a name or fingerprint prefix means."""
        who = unicodedata.normalize("NFC", who)
        members = list(self.trusted.members.values())
        found = [one for one in members if one.name == who]
        found = found or [one for one in members if one.name.casefold() == who.casefold()]
        if not found:
            prefix = who.lower().replace("-", "")
            found = [
                one
                for one in members
                if len(prefix) >= 4
                and format_fingerprint(one.fingerprint).replace("-", "").startswith(prefix)
            ]
        if len(found) > 1:
            raise AmbiguousError(
                f"{who!r} means several members",
                [f"{one.name} {format_fingerprint(one.fingerprint)[:14]}" for one in found],
            )
        if not found:
            raise UnknownError(
                f"no member {who!r}",
                hint="members: " + ", ".join(sorted(one.name for one in members)),
            )
        return found[0]

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
            await self._accept(TrustedRoster.found_untrusted(signed), [signed])
        return self.show({}, set())

    async def add(
        self, identity_file: bytes, role: str, *, addresses: list[Address]
    ) -> tuple[bytes, Identity]:
        """Add the person of an identity file; return the sealed WELCOME and who it is."""
        if role not in ROLES:
            raise UsageError(f"no role {role!r}", hint="roles: " + ", ".join(ROLES))
        try:
            person, theirs = parse_identity_file_untrusted(identity_file)
        except RemoteError as error:
            raise NodeError(
                "that is no identity file",
                code="identity_file",
                hint="ask for the output of: safelight identity export FILE",
            ) from error
        async with self._changing:
            trusted = self.trusted
            me = self._context.me
            if trusted.role_of(me) != "admin":
                raise Refused(Reason.POLICY, "only an administrator adds members")
            if person.fingerprint not in trusted.members:
                body = with_member(trusted.roster, person, role, now=self._context.clock.now())
                signed = sign_roster(
                    body, signers=(self._context.identity,), team_id=trusted.team_id
                )
                await self._accept(trusted.update_untrusted(signed), [signed])
            elif trusted.role_of(person.fingerprint) != role:
                raise UsageError(
                    f"{person.name} is a member already, as {trusted.role_of(person.fingerprint)}"
                )
            known = await self._context.database.read(rows.addresses)
            await self.add_addresses(person.fingerprint, list(theirs), source="identity")
            told = [(me, host, port) for host, port in addresses]
            told += [
                (fingerprint, host, port)
                for fingerprint, places in known.items()
                for host, port in places
                if fingerprint != person.fingerprint
            ]
            versions = await self._context.database.read(rows.roster_versions)
            welcome = seal_welcome(
                rosters=tuple(versions),
                addresses=tuple(told),
                sender=self._context.identity,
                recipient=person,
                entropy=self._context.entropy,
            )
        return welcome, person

    async def join(self, welcome: bytes, expect: str | None) -> dict[str, Any]:
        """Join by WELCOME if its administrator is the expected one; else only say who it is."""
        try:
            administrator, trusted, addresses = open_welcome_untrusted(
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
        }
        if expect is None:
            return {**told, "joined": False}
        if parse_fingerprint(expect) != administrator.fingerprint:
            raise NodeError(
                "the WELCOME is from somebody else than expected",
                code="tampered",
                hint=f"it is from {told['fingerprint']}",
            )
        async with self._changing:
            if self._trusted is not None and self._trusted.team_id != trusted.team_id:
                raise UsageError("this node is in another team already", hint="use another --home")
            if self._trusted is None:
                versions = trusted.signed_versions
                await self._accept(trusted, list(versions))
            for fingerprint, host, port in addresses:
                if fingerprint in trusted.members and fingerprint != self._context.me:
                    await self.add_addresses(fingerprint, [(host, port)], source="welcome")
        return {**told, "joined": True}

    def show(self, last_seen: dict[bytes, int], online: set[bytes]) -> dict[str, Any]:
        """Return the team as `team show` prints it."""
        trusted = self.trusted
        me = self._context.me
        return {
            "team": trusted.roster.team_name,
            "version": trusted.version,
            "members": [
                {
                    "name": one.name,
                    "fingerprint": format_fingerprint(one.fingerprint),
                    "words": list(fingerprint_words(one.fingerprint)),
                    "role": trusted.role_of(one.fingerprint),
                    "online": one.fingerprint in online or one.fingerprint == me,
                    "last_seen": rfc3339(last_seen.get(one.fingerprint)),
                    "me": one.fingerprint == me,
                }
                for one in sorted(trusted.members.values(), key=lambda one: one.name.casefold())
            ],
        }

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
            trusted = self.trusted
            accepted: list[bytes] = []
            # Two peers may tell of the same versions at once: what is known is no news.
            known = set(trusted.signed_versions)
            for signed in (one for one in versions if one not in known):
                trusted = trusted.update_untrusted(signed)
                accepted.append(signed)
            if accepted:
                await self._accept(trusted, accepted)

    async def _accept(self, trusted: TrustedRoster, signed: list[bytes]) -> None:
        """Write new versions, log the change, then use them."""
        before = set() if self._trusted is None else set(self._trusted.members)
        first = trusted.version - len(signed) + 1
        hashes = trusted.hashes

        def job(transaction: WriteTransaction) -> None:
            for number, one in enumerate(signed, first):
                rows.insert_roster(
                    transaction.connection, version=number, roster_hash=hashes[number], signed=one
                )
            transaction.append(
                draft(
                    "roster_changed",
                    actor=None,
                    about=self._context.me,
                    facts={"version": str(trusted.version), "team": trusted.roster.team_name},
                )
            )
            for fingerprint in sorted(set(trusted.members) - before):
                transaction.append(
                    draft(
                        "member_added",
                        actor=None,
                        about=self._context.me,
                        references={"member": fingerprint},
                        facts={
                            "name": trusted.members[fingerprint].name,
                            "role": str(trusted.role_of(fingerprint)),
                        },
                    )
                )

        await self._context.database.write(job)
        self._trusted = trusted
        self.changed.set()
        self._context.events.tell("roster", version=trusted.version)
