"""The mailbox: sealed mail for members who are away.

Belongs here: quotas, times, what one answer holds.
Never here: SQL (``store``), or opening mail, which no server can.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from node.ports import Clock
from node.rendezvous import store
from node.rendezvous.metrics import Metrics
from node.rendezvous.settings import RendezvousSettings
from node.rendezvous.store import Store
from node.vault.connection import SqlConnection
from node.vault.errors import StorageFullError
from protocol.errors import Reason, Refused
from protocol.limits import MAX_BODY_BYTES, MAX_MAILS_AT_ONCE
from protocol.rendezvous.messages import Deposit, Mails

_MAIL_OVERHEAD_BYTES: Final = 32
"""Of one mail in an answer: its number and lengths."""
_ANSWER_OVERHEAD_BYTES: Final = 64


class Mailbox:
    """Keeps mail under quotas. What is over one is refused to its sender, never dropped."""

    def __init__(
        self,
        database: Store,
        settings: RendezvousSettings,
        metrics: Metrics,
        *,
        folder: Path,
        clock: Clock,
    ) -> None:
        self._store = database
        self._settings = settings
        self._metrics = metrics
        self._folder = folder
        self._clock = clock
        self.waiting = store.Usage(0, 0)
        """What waited in all when the mailbox was last used."""

    async def deposit(self, team_id: bytes, sender: bytes, mail: Deposit) -> None:
        """Keep a mail durably; the same one again is kept once.

        Refused as EXPIRED for one whose time is over, as FULL where there is no room for it.
        """
        settings = self._settings
        now = self._clock.now()
        if mail.expires_at <= now:
            raise Refused(Reason.EXPIRED)
        expires_at = min(mail.expires_at, now + 1000 * settings.mail_s)
        size = len(mail.sealed)

        def job(connection: SqlConnection) -> bool:
            if store.has_mail(connection, team_id, sender, mail.recipient, mail.mail_id):
                return False
            own = store.sent_by(connection, team_id, sender)
            theirs = store.waiting_for(connection, team_id, mail.recipient)
            total = store.all_mail(connection)
            if (
                own.mails >= settings.mails_per_sender
                or own.size + size > settings.mail_bytes_per_sender
                or theirs.mails >= settings.mails_per_recipient
                or theirs.size + size > settings.mail_bytes_per_recipient
                or total.size + size > self._room
            ):
                raise Refused(Reason.FULL)
            store.add_mail(
                connection,
                team_id=team_id,
                sender=sender,
                recipient=mail.recipient,
                mail_id=mail.mail_id,
                expires_at=expires_at,
                sealed=mail.sealed,
            )
            self.waiting = store.all_mail(connection)
            return True

        disk = shutil.disk_usage(self._folder)
        if disk.free < disk.total * settings.disk_reserve_percent // 100:
            raise Refused(Reason.FULL)
        try:
            self._metrics.mail_deposited += await self._store.run(job)
        except StorageFullError:
            raise Refused(Reason.FULL) from None

    async def collect(self, team_id: bytes, recipient: bytes, after: int) -> Mails:
        """Return the next mails of a member, as many as one answer holds."""
        now = self._clock.now()

        def job(connection: SqlConnection) -> Mails:
            room = MAX_BODY_BYTES - _ANSWER_OVERHEAD_BYTES
            mails: list[tuple[int, bytes]] = []
            for number, sealed in store.mail_after(
                connection, team_id, recipient, after, now, most=MAX_MAILS_AT_ONCE + 1
            ):
                room -= len(sealed) + _MAIL_OVERHEAD_BYTES
                if room < 0 or len(mails) == MAX_MAILS_AT_ONCE:
                    return Mails(mails=tuple(mails), more=True)
                mails.append((number, bytes(sealed)))
            return Mails(mails=tuple(mails), more=False)

        return await self._store.run(job)

    async def collected(self, team_id: bytes, recipient: bytes, numbers: tuple[int, ...]) -> None:
        """Drop mails of a member that they hold durably; other numbers are none of theirs."""

        def job(connection: SqlConnection) -> int:
            dropped = store.drop_mail(connection, team_id, recipient, numbers)
            self.waiting = store.all_mail(connection)
            return dropped

        self._metrics.mail_collected += await self._store.run(job)

    async def waits(self, team_id: bytes, recipient: bytes) -> bool:
        """Say whether there is mail for a member."""
        usage = await self._store.run(lambda sql: store.waiting_for(sql, team_id, recipient))
        return usage.mails > 0

    async def sweep(self) -> None:
        """Drop mail whose time is over."""
        now = self._clock.now()

        def job(connection: SqlConnection) -> int:
            dropped = store.drop_expired(connection, now)
            self.waiting = store.all_mail(connection)
            return dropped

        self._metrics.mail_expired += await self._store.run(job)

    @property
    def _room(self) -> int:
        settings = self._settings
        return settings.mailbox_bytes * (100 - settings.disk_reserve_percent) // 100
