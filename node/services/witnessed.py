"""The own log as others witness it: offered to them, and what they cosigned.

Belongs here: when the newest head is offered and to whom, cosignatures that come back, and how
much of the log nobody else has seen.
Never here: cosigning others' heads (``cosigning``), HTTP (``node.witness.client``), proofs.

One batch: whenever somebody has come, and about every ten seconds while the log has grown, the
newest head is offered to everybody who has not cosigned it, and what comes back is stored in one
transaction. No entry waits for that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from node.errors import UnreachableError
from node.services.context import Context
from node.services.gossip import Gossip
from node.services.loops import forever
from node.services.moments import rfc3339
from node.services.outside import Ask, Due, Outside
from node.services.peering import Link, Peering
from node.services.witnessing import stored_head
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import witness as rows
from node.vault.records.witness import Cosigned as CosignedRow
from protocol.audit.checkpoint import Checkpoint, verify_cosignature_untrusted
from protocol.audit.note import VerifierKey, format_vkey
from protocol.audit.witness import AddCheckpointRequest, witness_key
from protocol.errors import LogError, RemoteProtocolError, SafelightError
from protocol.identity import Identity, format_fingerprint
from protocol.messages import AddCheckpoint, Cosigned, Held

if TYPE_CHECKING:
    from node.services.membership import Membership

_PAUSE_S: Final = 10.0
"""How often the newest head is offered while the log grows, and others' heads are asked for."""
_ANSWER_S: Final = 10.0
"""How long a witness may take."""
_TRIES: Final = 3
"""A witness that holds another head than was thought names its size; that may grow meanwhile."""

_MOST_LINES: Final = 16
"""Cosignatures of one answer: one, or a few while a witness changes its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """The head of one batch."""

    head: Checkpoint
    note: bytes


class Witnessed:
    """Offers the own log's newest head, and keeps what comes back."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        peering: Peering,
        gossip: Gossip,
        outside: Outside,
    ) -> None:
        self._context = context
        self._membership = membership
        self._peering = peering
        self._gossip = gossip
        self._outside = outside
        self._wake = asyncio.Event()
        self._fresh: set[bytes] = set()
        """Who has come since the last batch."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to offer."""
        self._task = asyncio.create_task(forever(self._run, "witnessing"), name="witnessed")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def poke(self, fingerprint: bytes) -> None:
        """Somebody has come: exchange heads with them now."""
        self._fresh.add(fingerprint)
        self._wake.set()

    # Offering -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _PAUSE_S
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            fresh, self._fresh = self._fresh, set()
            everybody = loop.time() >= due
            if everybody:
                fresh, due = self._peering.online(), loop.time() + _PAUSE_S
            links = [link for one in fresh if (link := self._peering.link(one)) is not None]
            await self.exchange(links, outside=everybody)

    async def exchange(self, links: list[Link], *, outside: bool = False) -> None:
        """Offer the newest head over links, and ask there for the heads of others."""
        witnesses = [
            Due(key=witness_key(link.member), ask=_over(link), told=_nobody) for link in links
        ]
        if outside:
            witnesses += await self._outside.due()
        await self._offer(witnesses)
        await asyncio.gather(*(self._ask(link) for link in links))

    async def _ask(self, link: Link) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._gossip.ask(link)
        except (TimeoutError, SafelightError):
            return  # Gone, or busy; the next time all of it is asked for again.

    async def _offer(self, witnesses: list[Due]) -> None:
        """Offer the newest head to all who have not cosigned it; store what they give at once."""

        def query(db: Connection) -> tuple[_Offer | None, dict[str, int]]:
            newest = log_store.head(db)
            if newest is None:
                return None, {}
            head = stored_head(newest.note).head
            done = {row.witness: row.size for row in rows.cosignatures(db, head.origin)}
            return _Offer(head=head, note=newest.note), done

        offer, done = await self._context.database.read(query)
        if offer is None:
            return
        asked = [
            self._cosigned(witness, offer, done.get(format_vkey(witness.key), 0))
            for witness in witnesses
            if done.get(format_vkey(witness.key)) != offer.head.size
        ]
        found = [row for row in await asyncio.gather(*asked) if row is not None]
        if not found:
            return

        def job(transaction: WriteTransaction) -> None:
            for row in found:
                rows.put_cosignature(transaction.connection, offer.head.origin, row)

        await self._context.database.write(job)
        self._context.events.tell("witnessed", size=offer.head.size, by=len(found))

    async def _cosigned(self, witness: Due, offer: _Offer, old: int) -> CosignedRow | None:
        """Return what a witness signed of the head offered; None where it did not."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                for _ in range(_TRIES):
                    answer = await witness.ask(await self._request(offer, old))
                    if isinstance(answer, bytes):
                        row = _verified(witness.key, offer, answer)
                        witness.told(None)
                        return row
                    if not 0 <= answer <= offer.head.size:
                        # It was shown a newer head meanwhile, or by a log that went on elsewhere.
                        raise LogError(f"the witness holds a head of size {answer}")
                    old = answer
                raise LogError("the witness holds another size each time")
        except TimeoutError:
            witness.told(UnreachableError("the witness did not answer in time"))
        except SafelightError as error:
            witness.told(error)
        return None

    async def _request(self, offer: _Offer, old: int) -> AddCheckpointRequest:
        def query(db: Connection) -> list[bytes]:
            if old == 0:
                return []
            return log_store.consistency_proof(db, old, offer.head.size)

        proof = await self._context.database.read(query)
        return AddCheckpointRequest(old=old, proof=tuple(proof), note=offer.note)

    # What is witnessed ----------------------------------------------------------------------------

    async def describe(self) -> dict[str, Any]:
        """Return how far the own log is witnessed.

        ``cosigned_by`` has each witness with the size it signed last; ``size`` is the newest that
        any did, ``witnesses`` how many of the ``members`` (others than this node) signed that;
        ``unwitnessed`` and ``unwitnessed_s`` are the entries after it, and for how many seconds
        the first of them has stood there.
        """
        others = self._others()
        now = self._context.clock.now()

        def query(db: Connection) -> tuple[int, list[CosignedRow], int | None]:
            newest = log_store.head(db)
            if newest is None:
                return 0, [], None
            origin = stored_head(newest.note).head.origin
            found = rows.cosignatures(db, origin)
            first = log_store.entry(db, found[0].size if found else 0)
            return newest.size, found, None if first is None else first.time

        size, found, since = await self._context.database.read(query)
        covered = found[0].size if found else 0
        return {
            "cosigned_by": [
                {
                    **_who(row.witness, others),
                    "witness": row.witness,
                    "size": row.size,
                    "signed_at": rfc3339(row.signed_at),
                }
                for row in found
            ],
            "members": len(others),
            "witnesses": sum(row.size == covered for row in found),
            "size": covered,
            "unwitnessed": size - covered,
            "unwitnessed_s": 0 if since is None else max(0, now - since) // 1000,
        }

    def _others(self) -> dict[str, Identity]:
        """Return the other members by the keys that they cosign with."""
        if not self._membership.founded:
            return {}
        members = self._membership.trusted.members.values()
        return {
            format_vkey(witness_key(one)): one
            for one in members
            if one.fingerprint != self._context.me
        }


def _who(vkey: str, others: dict[str, Identity]) -> dict[str, Any]:
    """Say who a witness is: a member, or by its own name somebody else."""
    member = others.get(vkey)
    if member is None:
        return {"name": vkey.partition("+")[0], "fingerprint": None}
    return {"name": member.name, "fingerprint": format_fingerprint(member.fingerprint)}


def _nobody(_error: SafelightError | None) -> None:
    """Take no note: a member is asked again with the next batch."""


def _over(link: Link) -> Ask:
    """Return what asks a member for a cosignature."""

    async def ask(request: AddCheckpointRequest) -> bytes | int:
        answer = await link.session.request(
            AddCheckpoint(old=request.old, proof=request.proof, note=request.note)
        )
        match answer:
            case Cosigned():
                return answer.line
            case Held():
                return answer.size
        raise RemoteProtocolError("the peer does not answer as a witness")

    return ask


def _verified(key: VerifierKey, offer: _Offer, lines: bytes) -> CosignedRow:
    """Return the cosignature among a witness's lines; LogError where there is none of its key."""
    for line in lines.splitlines(keepends=True)[:_MOST_LINES]:
        try:
            verified = verify_cosignature_untrusted(line, offer.head, key)
        except LogError as error:
            if error.code == "unsigned":
                continue
            raise
        return CosignedRow(
            witness=format_vkey(key),
            size=offer.head.size,
            note=offer.note + line,
            signed_at=verified.time or 0,
        )
    raise LogError("the witness did not sign with its key", code="unsigned")
