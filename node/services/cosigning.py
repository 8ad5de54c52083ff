"""Cosigning heads of other logs: this node as a witness.

Belongs here: which logs are known, and the one step from a request to a cosignature.
Never here: the decision (``protocol.audit.witness``), HTTP (``node.witness``), the own log's
cosignatures (``witnessed``).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from node.services.context import Context
from node.services.witnessing import Shown, Witnessing, stored_head
from node.transport.driver import Session
from node.vault.database import WriteTransaction
from node.vault.records import team as rows
from protocol.audit.checkpoint import Checkpoint, cosign, origin_of
from protocol.audit.witness import (
    AddCheckpointRequest,
    WitnessRefusedError,
    judge_untrusted,
    witness_name,
)
from protocol.errors import Reason, Refused, RemoteError
from protocol.identity import Identity
from protocol.limits import MAX_HEAD_BYTES
from protocol.messages import AddCheckpoint, Answer, Cosigned, Held

if TYPE_CHECKING:
    from node.services.log_keys import LogKeyring
    from node.services.membership import Membership


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLog:
    """A log whose heads this node cosigns."""

    keeper: bytes
    """Fingerprint of whose it is."""
    open_head: Callable[[bytes], Checkpoint]
    """Opens a note of it; LogError where it is not one."""


FindLog = Callable[[str], Awaitable[KnownLog | None]]
"""Takes an origin; None for a log that is not known."""


class Cosigning:
    """Checks a head against the one held, stores it, and only then cosigns it."""

    def __init__(self, context: Context, find: FindLog) -> None:
        self._context = context
        self._find = find

    async def add(self, request: AddCheckpointRequest) -> bytes:
        """Return the cosignature over a head that extends the one held; WitnessRefusedError."""
        origin = origin_untrusted(request.note)
        log = await self._known(origin)
        now = self._context.clock.now()

        def job(transaction: WriteTransaction) -> Checkpoint:
            db = transaction.connection
            held = rows.peer_head(db, origin)
            judged = judge_untrusted(
                request, None if held is None else stored_head(held[1]).head, log.open_head
            )
            note = _log_signed(request.note, judged.origin)
            if held is None or held[0] != judged.size:
                rows.set_peer_head(
                    db,
                    origin=judged.origin,
                    fingerprint=log.keeper,
                    size=judged.size,
                    note=note,
                    now=now,
                )
            return judged

        # What is promised is that nothing else was ever cosigned: the head is durable first.
        judged = (await self._context.database.write(job)).value
        return self._sign(judged, now)

    async def newest(self, origin: str) -> bytes:
        """Return the head held of a log with the log's signature and this node's; 404."""
        await self._known(origin)
        held = await self._context.database.read(lambda db: rows.peer_head(db, origin))
        if held is None:
            raise WitnessRefusedError("no head of this log is held", status=404)
        head = stored_head(held[1]).head
        return held[1] + self._sign(head, self._context.clock.now())

    def _sign(self, head: Checkpoint, now: int) -> bytes:
        identity = self._context.identity
        name = witness_name(identity.public.fingerprint)
        return cosign(head, name=name, key=identity.cosigning, now=now)

    async def _known(self, origin: str) -> KnownLog:
        log = await self._find(origin)
        if log is None:
            raise WitnessRefusedError("this log is not known here", status=404)
        return log


def logs_of(membership: Membership, log_keys: LogKeyring, me: bytes) -> FindLog:
    """Return what finds the logs of the team's other members."""

    async def find(origin: str) -> KnownLog | None:
        keeper = keeper_of(origin)
        member = None if keeper is None else membership.member(keeper)
        if member is None or member.fingerprint == me:
            return None
        keys = await log_keys.keys_of(member)
        return KnownLog(keeper=member.fingerprint, open_head=keys.open_head_untrusted)

    return find


class ChannelCosigning:
    """Answers members who ask for cosignatures of their own logs."""

    def __init__(self, cosigning: Cosigning, witnessing: Witnessing) -> None:
        self._cosigning = cosigning
        self._witnessing = witnessing

    async def answer(self, session: Session, member: Identity, request: AddCheckpoint) -> Answer:
        """Return the cosignature, or the size that is held; Refused for anything else."""
        told = await self._told(session, member, request.note)
        asked = AddCheckpointRequest(old=request.old, proof=request.proof, note=request.note)
        try:
            return Cosigned(line=await self._cosigning.add(asked))
        except WitnessRefusedError as refusal:
            if refusal.status == 409:
                return Held(size=refusal.size or 0)
            await self._look_into(session, member, told)
        except RemoteError:
            pass
        raise Refused(Reason.UNKNOWN)

    async def _told(self, session: Session, member: Identity, note: bytes) -> Shown:
        """Return the head that is to be cosigned, with keys that came since; Refused."""
        try:
            if keeper_of(origin_untrusted(note)) == member.fingerprint:
                return await self._witnessing.open_head(session, member, note)
        except RemoteError:
            pass
        raise Refused(Reason.UNKNOWN)

    async def _look_into(self, session: Session, member: Identity, told: Shown) -> None:
        """Find out whether a head that was not cosigned contradicts the one that is held."""
        try:
            async with self._witnessing.watched(member):
                await self._witnessing.take(session, member, told)
        except RemoteError:
            raise Refused(Reason.UNKNOWN) from None


_OWN_KIND: Final = re.compile(r"safelight/([a-z2-7]{52})/(0|[1-9][0-9]{0,15})")


def keeper_of(origin: str) -> bytes | None:
    """Return the fingerprint of whose log an origin names; None where it names none of ours."""
    match = _OWN_KIND.fullmatch(origin)
    if match is None:
        return None
    fingerprint = base64.b32decode(match[1].upper() + "====")
    return fingerprint if origin_of(fingerprint, int(match[2])) == origin else None


def origin_untrusted(note: bytes) -> str:
    """Return the origin that a note names. Nothing is verified."""
    return note.partition(b"\n")[0].decode(errors="replace")


def _log_signed(note: bytes, origin: str) -> bytes:
    """Return an opened note without others' signatures; WitnessRefusedError where it is long."""
    text, _, signatures = note.rpartition(b"\n\n")
    mark = f"— {origin} ".encode()
    own = [line for line in signatures.splitlines(keepends=True) if line.startswith(mark)]
    kept = text + b"\n\n" + b"".join(own)
    if len(kept) > MAX_HEAD_BYTES:
        raise WitnessRefusedError("a checkpoint that is too long", status=403)
    return kept
