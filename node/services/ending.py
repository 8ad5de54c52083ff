"""The end of capabilities: revoked by a person, or expired.

Belongs here: the issuer's revocations, expiry, and the destruction of secrets after
the commit that ends them.
Never here: refusing opens (``opening`` does, from the same commit on).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from node.errors import UsageError
from node.services.clock import ClockGuard
from node.services.context import Context
from node.services.entries import draft, limits_in_words
from node.services.granted import Granted
from node.services.loops import forever
from node.services.membership import Membership
from node.services.moments import rfc3339
from node.services.whole import whole
from node.vault.database import WriteTransaction
from node.vault.records import grants as rows
from node.vault.records import outbox
from node.vault.records.grants import GrantRow
from protocol.capability.statements import Revocation, sign_revocation
from protocol.capability.terms import parse_terms_untrusted

_SEEN_WAIT_S: Final = 1.0
"""How long revoke waits for holders that are online to say that they saw it."""
_MOVED_CLOCK_S: Final = 5.0
"""How often a clock that was moved is looked at again."""


class Ending:
    """Ends capabilities and destroys what could open them."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        granted: Granted,
        clock_guard: ClockGuard,
        *,
        poke: Callable[[bytes], None],
        online: Callable[[], set[bytes]],
    ) -> None:
        self._context = context
        self._membership = membership
        self._granted = granted
        self._clock_guard = clock_guard
        self._poke = poke
        self._online = online
        self._expiry: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin to end capabilities when their time is over."""
        self._expiry = asyncio.create_task(forever(self._end_expired, "expiry"), name="expiry")

    async def close(self) -> None:
        """Stop; what expires meanwhile ends at the next start."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)

    def deadlines_changed(self) -> None:
        """Look again at what expires next."""
        self._changed.set()

    async def revoke(
        self, *, capabilities: list[str], to: str | None, album: str | None
    ) -> dict[str, Any]:
        """End capabilities now; on return no later open succeeds and the secrets are gone."""
        if not capabilities and to is None and album is None:
            raise UsageError("nothing to revoke", hint="name capabilities, --to WHO or --album A")
        chosen = [await self._granted.resolve(text) for text in capabilities]
        if to is not None or album is not None:
            chosen += await self._granted.of_person_or_album(to, album)
        ended = await self._end(chosen)
        await self._wait_until_seen([grant for grant in ended if grant.revocation_seen is None])
        return {"revoked": [await self._describe(grant) for grant in ended]}

    async def revoke_of_others(self, members_now: Callable[[], set[bytes]]) -> int:
        """End what was granted to anybody but members; return how many capabilities that were.

        They are asked for once it is known what was granted: whoever was granted anything by then
        was a member by then.
        """
        granted = await self._context.database.read(rows.grants)
        members = members_now()
        chosen = [
            grant.capability_id
            for grant in granted
            if grant.holder not in members and grant.ended_at is None
        ]
        if chosen:
            await self._end(chosen, why="the holder is a member no more")
        return len(chosen)

    async def _end(self, chosen: list[bytes], *, why: str = "") -> list[GrantRow]:
        """Revoke capabilities, whatever happens to the caller, and destroy their secrets."""
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> list[GrantRow]:
            ended = []
            for capability_id in dict.fromkeys(chosen):
                grant = rows.grant(transaction.connection, capability_id)
                assert grant is not None, "resolved a moment ago; grants are never deleted"
                if grant.revoked_at is None:
                    self._revoke_one(transaction, grant, now, why)
                ended.append(grant)
            return ended

        async def end() -> list[GrantRow]:
            ended = (await self._context.database.write(job)).value
            await self._destroy([grant for grant in ended if grant.slot is not None])
            for holder in {grant.holder for grant in ended}:
                self._poke(holder)
            return ended

        return await whole(end())

    def lapse_all(self, transaction: WriteTransaction) -> list[GrantRow]:
        """End every capability, in a transaction that began a new log; return those it ended.

        The caller then destroys the keyslots, and pokes the holders.
        """
        now = self._context.clock.now()
        over = rows.live(transaction.connection)
        for grant in over:
            self._revoke_one(transaction, grant, now, "the issuer's log began anew")
            rows.lapse(transaction.connection, grant.capability_id, now)
        return over

    def _revoke_one(
        self, transaction: WriteTransaction, grant: GrantRow, now: int, why: str
    ) -> None:
        signed = sign_revocation(
            Revocation(capability_hash=grant.capability_hash, time=now),
            issuer=self._context.identity,
            team_id=self._membership.team_id,
        )
        limit = parse_terms_untrusted(grant.terms).max_opens + grant.opens_added
        rows.end(transaction.connection, grant.capability_id, revoked_at=now, now=now)
        outbox.drop_undelivered(transaction.connection, grant.capability_id)
        outbox.put(
            transaction.connection,
            peer=grant.holder,
            kind="revocation",
            body=signed,
            capability_id=grant.capability_id,
            now=now,
        )
        transaction.append(
            draft(
                "revoked",
                actor=self._context.me,
                about=self._context.me,
                references={"holder": grant.holder, "capability": grant.capability_id},
                facts={
                    "opens": str(grant.opens),
                    "old": limits_in_words(grant.expires_at, limit),
                    **({"why": why} if why else {}),
                },
            )
        )

    async def _destroy(self, ended: list[GrantRow]) -> None:
        """Overwrite keyslots after the commit that ended them, and what the index's log held."""
        slots = [grant.slot for grant in ended if grant.slot is not None]
        if slots:
            await asyncio.to_thread(self._context.vault.keyslots.destroy, slots)
            await self._context.database.truncate_wal()

    async def _wait_until_seen(self, ended: list[GrantRow]) -> None:
        """Give holders that are online a moment to say that they saw the revocation."""
        online = self._online()
        waiting = {grant.capability_id for grant in ended if grant.holder in online}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEEN_WAIT_S):
                while waiting:
                    await asyncio.sleep(0.02)
                    for capability_id in list(waiting):
                        grant = await self._context.database.read(
                            partial(rows.grant, capability_id=capability_id)
                        )
                        if grant is not None and grant.revocation_seen is not None:
                            waiting.discard(capability_id)

    async def _describe(self, grant: GrantRow) -> dict[str, Any]:
        current = await self._context.database.read(lambda db: rows.grant(db, grant.capability_id))
        assert current is not None, "grants are never deleted"
        return {
            "id": grant.capability_id.hex(),
            "holder": self._membership.name_of(grant.holder),
            "at": rfc3339(current.revoked_at),
            "seen_by_holder": current.revocation_seen is not None,
            "leased_opens": 0,
            "leased_until": None,
        }

    async def _end_expired(self) -> None:
        """End capabilities when their time is over, destroying their keyslots."""
        while True:
            self._changed.clear()
            if self._clock_guard.drifted():
                # A clock that somebody moved destroys nothing; they may yet move it back.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MOVED_CLOCK_S):
                        await self._changed.wait()
                continue
            await self._end_those_over()
            deadline = await self._context.database.read(rows.next_expiry)
            with contextlib.suppress(TimeoutError):
                pause = (
                    None
                    if deadline is None
                    else min(max(0.05, (deadline - self._context.clock.now()) / 1000), 3600.0)
                )
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _end_those_over(self) -> None:
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> list[GrantRow]:
            over = rows.expired(transaction.connection, now)
            for grant in over:
                rows.end(transaction.connection, grant.capability_id, revoked_at=None, now=now)
                outbox.drop_undelivered(transaction.connection, grant.capability_id)
            return over

        if await self._context.database.read(lambda db: rows.expired(db, now)):

            async def end() -> list[GrantRow]:
                over = (await self._context.database.write(job)).value
                await self._destroy(over)
                return over

            over = await whole(end())
            self._context.events.tell("expired", capabilities=len(over))
