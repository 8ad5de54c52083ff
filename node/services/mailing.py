"""Sealed mail for members who are away, and what others left for this node.

Belongs here: which statements a rendezvous is given to keep and when, and taking in mail.
Never here: the seal (``protocol.mail``), what a statement does (``receiving``, ``auditing``,
``administering``, ``membership``), or direct delivery (``delivery``).

What waits in the outbox for a member without a link is left at the rendezvous as mail, and stays
in the outbox until the member acknowledges it on a channel: mail is a second way, never the only
one. An administrator's node also mails the roster versions that an absent member may lack. Mail
that arrives goes through the same code as a delivery on a channel. It is dropped from the mailbox
once what it says is durable, or never can be used; what cannot be used yet stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Final

from node.discovery.rendezvous import RendezvousClient
from node.errors import UnreachableError
from node.services.administering import Administering
from node.services.auditing import Auditing
from node.services.context import Context
from node.services.loops import forever
from node.services.membership import Membership
from node.services.peering import Peering
from node.services.receiving import Receiving
from node.vault.database import WriteTransaction
from node.vault.errors import VaultError
from node.vault.records import Connection, get_meta, grants, library, mail, outbox, set_meta
from node.vault.records.outbox import OutboxRow
from protocol.capability.terms import OpenedCapability
from protocol.encoding import encode
from protocol.errors import (
    LocalError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    SafelightError,
)
from protocol.identity import Identity
from protocol.limits import MAIL_LIFETIME_MS, MAX_MAIL_BYTES
from protocol.mail import (
    MailBody,
    MailedCapability,
    open_mail_untrusted,
    parse_mailed_capability_untrusted,
    seal_mail,
)
from protocol.roster.metadata import ADMIN
from protocol.roster.update import join_versions

_ABSENT_MS: Final = 2_000
"""Without a link for this long a member counts as away: a reconnect takes less."""
_LAST_S: Final = 3.0
"""How long a node that stops may still take to leave mail."""
_LOOK_S: Final = 30.0
"""How often to look for who is away and for mail that could not be used, without a reason."""
_BATCH: Final = 16
_MOST_MANIFESTS: Final = 16
"""Manifests mailed to one member: without their issuer nothing is opened, and the share of a
sender in the server's mailbox is kept for what does something by itself."""
_FIRST_BACKOFF_MS: Final = 30_000
_LAST_BACKOFF_MS: Final = 3_600_000
"""Between tries where a mailbox is full: its owner has to come and empty it."""
_BUSY_S: Final = 2.0
"""Before going on where the server has had enough for the moment."""
_MOST_VERSIONS: Final = 16
"""Roster versions mailed to one member: who lacks more gets them from whoever comes first."""


@dataclass(slots=True)
class _Full:
    """A mailbox that had no room."""

    until: int
    pause: int


class Mailing:
    """Leaves mail for members who are away, and takes in what was left for this node."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        peering: Peering,
        rendezvous: RendezvousClient,
        receiving: Receiving,
        auditing: Auditing,
        administering: Administering,
    ) -> None:
        self._context = context
        self._membership = membership
        self._peering = peering
        self._rendezvous = rendezvous
        self._receiving = receiving
        self._auditing = auditing
        self._administering = administering
        self._send_wake = asyncio.Event()
        self._collect_wake = asyncio.Event()
        self._roster_changed = membership.watch()
        self._absent: dict[bytes, int] = {}
        """Since when (monotonic ms) each member has had no link."""
        self._full: dict[bytes, _Full] = {}
        self._waiting: set[bytes] = set()
        """Whose mail could not be used yet: a capability's list has to come from its issuer."""
        self._strange = False
        """Some mail is from nobody whom the roster in use names."""
        self._told: dict[bytes, int] = {}
        """The newest roster version that each member was told or mailed, as the vault has it."""
        self._tasks: list[asyncio.Task[None]] = []
        rendezvous.on_mail = self._mail_waits

    def start(self) -> None:
        """Begin to leave mail, and to take it in."""
        for work, name in (
            (self._send_on, "leaving mail"),
            (self._collect_on, "taking in mail"),
            (self._watch_roster, "mailing rosters"),
        ):
            self._tasks.append(asyncio.create_task(forever(work, name), name=name))

    async def close(self) -> None:
        """Stop; what is not mailed stays in the outbox, what is not taken in at the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks and self._rendezvous.state == "connected" and self._membership.founded:
            # Who shares and goes home means it to arrive.
            with contextlib.suppress(TimeoutError, SafelightError):
                async with asyncio.timeout(_LAST_S):
                    await self._send_due(absent_ms=0)

    # When -----------------------------------------------------------------------------------------

    def poke(self, _peer: bytes) -> None:
        """Look again: something waits for a peer in the outbox, or a link has come or gone."""
        self._send_wake.set()
        if self._waiting:
            self._collect_wake.set()

    def _mail_waits(self) -> None:
        self._collect_wake.set()
        self._send_wake.set()

    async def _watch_roster(self) -> None:
        while True:
            await self._roster_changed.wait()
            self._roster_changed.clear()
            self._send_wake.set()
            if self._strange or self._waiting:
                self._collect_wake.set()

    async def _send_on(self) -> None:
        while True:
            self._send_wake.clear()
            pause = _LOOK_S
            if self._rendezvous.state == "connected" and self._membership.founded:
                pause = await self._send_due()
            await _either(self._send_wake, pause)

    async def _collect_on(self) -> None:
        while True:
            self._collect_wake.clear()
            if self._rendezvous.state == "connected" and self._membership.founded:
                await self._collect()
            await _either(self._collect_wake, _LOOK_S if self._waiting else None)

    # Leaving mail ---------------------------------------------------------------------------------

    async def _send_due(self, *, absent_ms: int = _ABSENT_MS) -> float:
        """Leave mail for everybody who is away; return how long to wait before the next look."""
        pause = _LOOK_S
        now = self._context.clock.monotonic()
        for peer, member in list(self._membership.trusted.members.items()):
            if peer == self._context.me:
                continue
            if self._peering.link(peer) is not None:
                self._absent.pop(peer, None)
                await self._note_roster(peer)
                continue
            waited = now - self._absent.setdefault(peer, now)
            if waited < absent_ms:
                pause = min(pause, (absent_ms - waited) / 1000)
                continue
            full = self._full.get(peer)
            if full is not None and now < full.until:
                continue
            try:
                await self._send_all(member)
            except Refused as refusal:
                match refusal.reason:
                    case Reason.FULL:
                        self._back_off(member)
                    case Reason.BUSY:
                        return _BUSY_S
                    case _:
                        # The server does not serve that member: it lacks a list that names them.
                        continue
            else:
                self._full.pop(peer, None)
        return pause

    def _back_off(self, member: Identity) -> None:
        before = self._full.get(member.fingerprint)
        pause = _FIRST_BACKOFF_MS if before is None else min(before.pause * 2, _LAST_BACKOFF_MS)
        until = self._context.clock.monotonic() + pause
        self._full[member.fingerprint] = _Full(until=until, pause=pause)
        if before is None:
            self._context.events.tell("mailbox_full", name=member.name)

    async def _send_all(self, member: Identity) -> None:
        """Mail what a member lacks: rosters first, then what waits in the outbox."""
        if self._membership.role_of(self._context.me) == ADMIN:
            await self._mail_roster(member)
        peer = member.fingerprint
        if self._peering.stopped(peer):
            return
        before = self._context.clock.now() - MAIL_LIFETIME_MS
        while rows := await self._context.database.read(
            lambda db: outbox.to_mail(
                db, peer, before=before, limit=_BATCH, manifests=_MOST_MANIFESTS
            )
        ):
            for row in rows:
                await self._mail_row(member, row)

    async def _mail_row(self, member: Identity, row: OutboxRow) -> None:
        """Leave a statement at the rendezvous, then note that it is there."""
        body = row.body if row.kind != "capability" else await self._with_list(row)
        try:
            await self._deposit(member, row.kind, body, sequence=row.message_id)
        except LocalError:
            # It does not fit a mail and waits for a channel. Noted, so as not to be tried on.
            self._context.events.tell("too_long_for_mail", name=member.name, statement=row.kind)
        now = self._context.clock.now()
        await self._context.database.write(
            lambda transaction: outbox.mailed(transaction.connection, row.message_id, now)
        )

    async def _deposit(self, member: Identity, kind: str, body: bytes, *, sequence: int) -> None:
        context = self._context
        message_id = context.entropy(16)
        expires_at = context.clock.now() + MAIL_LIFETIME_MS
        sealed = seal_mail(
            MailBody(
                message_id=message_id,
                recipient=member.fingerprint,
                sequence=sequence,
                expires_at=expires_at,
                kind=kind,
                body=body,
            ),
            sender=context.identity,
            recipient=member,
            team_id=self._membership.team_id,
            entropy=context.entropy,
        )
        await self._rendezvous.deposit(
            member.agreement_key, mail_id=message_id, expires_at=expires_at, sealed=sealed
        )

    async def _with_list(self, row: OutboxRow) -> bytes:
        """Return a capability for mail, with its sealed image list where both fit."""

        def query(db: Connection) -> tuple[bytes, int] | None:
            grant = None if row.capability_id is None else grants.grant(db, row.capability_id)
            blob_id = None if grant is None else grant.list_blob_id
            blob = None if blob_id is None else library.blob(db, blob_id)
            return None if blob is None or blob_id is None else (blob_id, blob.sealed_bytes)

        listed, found = b"", await self._context.database.read(query)
        if found is not None and len(row.body) + found[1] < MAX_MAIL_BYTES - _MAIL_OVERHEAD_BYTES:
            listed = await self._context.vault.blobs.read_range(found[0], 0, found[1])
        return encode(MailedCapability(sealed=row.body, image_list=listed))

    # Rosters --------------------------------------------------------------------------------------

    async def _mail_roster(self, member: Identity) -> None:
        """Mail the versions that a member may lack, each by itself: one fits a mail."""
        told = await self._told_of(member.fingerprint)
        trusted = self._membership.trusted
        numbered = list(zip(sorted(trusted.hashes), trusted.signed_versions, strict=True))
        for version, signed in [one for one in numbered if one[0] > told][-_MOST_VERSIONS:]:
            try:
                await self._deposit(member, "roster", join_versions([signed]), sequence=version)
            except LocalError:
                self._context.events.tell("too_long_for_mail", name=member.name, statement="roster")
            await self._set_told(member.fingerprint, version)

    async def _note_roster(self, peer: bytes) -> None:
        """Note that a member who has a link is told of the roster on it."""
        if await self._told_of(peer) < self._membership.version:
            await self._set_told(peer, self._membership.version)

    async def _told_of(self, peer: bytes) -> int:
        if (told := self._told.get(peer)) is None:
            kept = await self._context.database.read(lambda db: get_meta(db, _told_key(peer)))
            told = self._told[peer] = 0 if kept is None else int.from_bytes(kept, "big")
        return told

    async def _set_told(self, peer: bytes, version: int) -> None:
        def job(transaction: WriteTransaction) -> None:
            set_meta(transaction.connection, _told_key(peer), version.to_bytes(8, "big"))

        await self._context.database.write(job)
        self._told[peer] = version

    # Taking in mail -------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """Take in all mail that waits; what comes in may make earlier mail usable."""
        while True:
            version = self._membership.version
            self._waiting.clear()
            self._strange = False
            await self._collect_once()
            if not self._strange or version == self._membership.version:
                return

    async def _collect_once(self) -> None:
        after, more = 0, True
        while more:
            mails = await self._rendezvous.collect(after)
            done: list[int] = []
            for number, sealed in mails.mails:
                if number <= after:
                    raise RemoteProtocolError("mail that is out of order")
                after = number
                if await self._take(sealed):
                    done.append(number)
            if done:
                await self._rendezvous.collected(done)
            more = mails.more and bool(mails.mails)

    async def _take(self, sealed: bytes) -> bool:
        """Take in one mail; say whether it may be dropped from the mailbox."""
        context = self._context
        now = context.clock.now()
        try:
            sender, body = open_mail_untrusted(
                sealed,
                recipient=context.identity,
                by_agreement=self._membership.trusted.by_agreement,
                team_id=self._membership.team_id,
                now=now,
            )
        except Refused as refusal:
            # A sender who is a member by a roster that has yet to come; a clock to be set right.
            self._strange |= refusal.reason is Reason.NOT_MEMBER
            return refusal.reason not in (Reason.NOT_MEMBER, Reason.CLOCK)
        except RemoteError:
            context.events.tell("mail_dropped", name=None, statement=None)
            return True
        if await context.database.read(lambda db: mail.was_seen(db, body.message_id)):
            return True
        if self._peering.stopped(sender.fingerprint) and body.kind != "roster":
            self._waiting.add(sender.fingerprint)
            return False
        try:
            await self._use(sender, body)
        except VaultError:
            raise
        except SafelightError as error:
            if self._may_be_of_use(sender, error):
                self._waiting.add(sender.fingerprint)
                return False
            context.events.tell("mail_dropped", name=sender.name, statement=body.kind)

        def job(transaction: WriteTransaction) -> None:
            mail.forget_expired(transaction.connection, now)
            mail.set_seen(transaction.connection, body.message_id, expires_at=body.expires_at)

        await context.database.write(job)
        return True

    def _may_be_of_use(self, sender: Identity, error: SafelightError) -> bool:
        """Say whether mail that led to an error is to be looked at again."""
        if isinstance(error, Refused) and error.reason is Reason.UNKNOWN:
            # It may speak of a capability that is itself still in the mailbox.
            return sender.fingerprint in self._waiting
        return isinstance(error, UnreachableError) or (
            isinstance(error, Refused) and error.reason is Reason.NOT_READY
        )

    async def _use(self, sender: Identity, body: MailBody) -> None:
        """Do what a mail says, as if it had come on a channel; durable on return."""
        match body.kind:
            case "capability":
                mailed = parse_mailed_capability_untrusted(body.body)
                await self._receiving.take_capability(
                    sender, mailed.sealed, partial(self._list_of, sender, mailed.image_list)
                )
            case "manifest":
                await self._receiving.take_manifest(sender, body.body)
            case "amendment" | "revocation":
                await self._receiving.take_statement(sender, body.kind, body.body)
            case "receipt":
                await self._auditing.take_receipt(sender, body.body)
            case "proposal":
                await self._administering.hear_proposal_untrusted(sender, body.body)
            case "roster":
                await self._membership.update_untrusted(body.body)

    async def _list_of(
        self, issuer: Identity, image_list: bytes, opened: OpenedCapability
    ) -> bytes:
        """Return a capability's sealed image list: from the mail, else from its issuer."""
        if image_list:
            return image_list
        if (link := self._peering.link(issuer.fingerprint)) is None:
            raise Refused(Reason.NOT_READY)
        return await self._receiving.fetch_list(link, opened)


_MAIL_OVERHEAD_BYTES: Final = 1_024
"""Seal, signature, and fields of a mail and of a capability in it, with room to spare."""


def _told_key(peer: bytes) -> str:
    """Return the key in ``meta`` of the newest roster version that a member was told or mailed."""
    return f"roster_told/{peer.hex()}"


async def _either(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until an event is set, or for some time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
