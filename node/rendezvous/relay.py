"""Circuits: two sockets joined, and every message passed on as it came.

Belongs here: tokens, the two ends, carrying, what ends a circuit.
Never here: who may have one (``server``), or what the messages say: it is ciphertext.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from node.ports import Clock
from node.rendezvous.metrics import Metrics
from node.rendezvous.pace import Pace
from node.rendezvous.settings import RendezvousSettings
from node.transport.link import Link
from protocol.limits import CIRCUIT_TOKEN_BYTES
from protocol.primitives import Entropy

_SESSION_BYTES: Final = 16
"""A circuit's id in the offer of the channel inside: never the same twice."""


class Circuit:
    """Two ends that belong together."""

    __slots__ = (
        "_links",
        "_loop",
        "_members",
        "_over",
        "bytes_left",
        "ends_at",
        "met",
        "moved_at",
        "opened_at",
        "owner",
        "sending_since",
        "session",
        "team_id",
    )

    def __init__(
        self,
        *,
        team_id: bytes,
        owner: bytes,
        members: frozenset[bytes],
        session: bytes,
        now: int,
        ends_at: int,
        bytes_left: int | None,
    ) -> None:
        self.team_id = team_id
        self.owner = owner
        """The member it counts for: who called, or opened the slot."""
        self._members = members
        self.session = session
        self.opened_at = now
        self.ends_at = ends_at
        self.bytes_left = bytes_left
        """What may still pass, both ways together; None is no bound."""
        self.moved_at = now
        self.sending_since: dict[Link, int] = {}
        """Ends that take nothing just now, and since when."""
        self.met = asyncio.Event()
        """Set once both ends are here, or the circuit is over."""
        self._over = False
        self._links: list[Link] = []

    def join(self, link: Link) -> None:
        """Take one end's socket."""
        self._links.append(link)
        if len(self._links) == 2:
            self.met.set()

    def other(self, link: Link) -> Link:
        """Return the socket of the other end, once both have met."""
        first, second = self._links
        return second if link is first else first

    def concerns(self, key: bytes) -> bool:
        """Say whether a member is at one of its ends."""
        return key in self._members

    def is_over(self) -> bool:
        """Say whether it has ended."""
        return self._over

    def end(self) -> None:
        """Let nothing more pass."""
        self._over = True
        self.met.set()


class Relay:
    """The circuits that are open, and the tokens that nobody has come with yet."""

    def __init__(
        self, settings: RendezvousSettings, metrics: Metrics, *, clock: Clock, entropy: Entropy
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._circuits: dict[Circuit, set[asyncio.Task[None]]] = {}
        self._tokens: dict[bytes, Circuit] = {}

    def __len__(self) -> int:
        return len(self._circuits)

    def count(self, team_id: bytes, owner: bytes) -> int:
        """Return how many circuits count for a member."""
        return sum(
            one.owner == owner and one.team_id == team_id and one.bytes_left is None
            for one in self._circuits
        )

    def open(
        self, *, team_id: bytes, owner: bytes, other: bytes | None, slot: bool = False
    ) -> tuple[bytes, bytes, bytes]:
        """Return the tokens of the two ends of a new circuit, and its session id."""
        settings = self._settings
        now = self._clock.monotonic()
        circuit = Circuit(
            team_id=team_id,
            owner=owner,
            members=frozenset({owner} if other is None else {owner, other}),
            session=self._entropy(_SESSION_BYTES),
            now=now,
            ends_at=now + 1000 * (settings.slot_s if slot else settings.circuit_s),
            bytes_left=settings.slot_bytes if slot else None,
        )
        tokens = self._entropy(CIRCUIT_TOKEN_BYTES), self._entropy(CIRCUIT_TOKEN_BYTES)
        self._circuits[circuit] = set()
        self._tokens.update(dict.fromkeys(tokens, circuit))
        self._metrics.circuits += 1
        return *tokens, circuit.session

    async def serve(self, link: Link, proved: Callable[[], None]) -> bool:
        """Carry what comes from one end, from its token to the end of the circuit.

        ``proved`` is called once the token is good. Returns when the circuit is over: True, or
        False where there was no good token.
        """
        circuit = self._tokens.pop(await link.receive() or b"", None)
        if circuit is None or circuit.is_over():
            return False
        proved()
        circuit.join(link)
        task = asyncio.current_task()
        assert task is not None
        tasks = self._circuits[circuit]
        tasks.add(task)
        try:
            await circuit.met.wait()
            if not circuit.is_over():
                await self._carry(circuit, link, circuit.other(link))
        except OSError:
            pass  # the other end has gone
        except asyncio.CancelledError:
            if not circuit.is_over():
                raise
            task.uncancel()
        finally:
            tasks.discard(task)
            self._end(circuit)
        return True

    def sweep(self) -> None:
        """End the circuits whose time is over."""
        settings = self._settings
        now = self._clock.monotonic()
        for circuit in list(self._circuits):
            stalled = any(
                now - since > 1000 * settings.stalled_s for since in circuit.sending_since.values()
            )
            if (
                now >= circuit.ends_at
                or stalled
                or (
                    not circuit.met.is_set()
                    and now - circuit.opened_at > 1000 * settings.circuit_claim_s
                )
                or (
                    now - circuit.moved_at > 1000 * settings.circuit_idle_s
                    and circuit.bytes_left is None
                )
            ):
                self._end(circuit)

    def remove(self, team_id: bytes, keys: frozenset[bytes]) -> None:
        """End the circuits of those who are no members any more."""
        for circuit in list(self._circuits):
            if circuit.team_id == team_id and any(map(circuit.concerns, keys)):
                self._end(circuit)

    def cancel(self, token: bytes) -> None:
        """End a circuit that leads nowhere."""
        if (circuit := self._tokens.get(token)) is not None:
            self._end(circuit)

    def close(self) -> None:
        """End every circuit."""
        for circuit in list(self._circuits):
            self._end(circuit)

    async def _carry(self, circuit: Circuit, source: Link, target: Link) -> None:
        metrics, clock = self._metrics, self._clock
        receive, send = source.receive, target.send
        rate = self._settings.circuit_bytes_per_s
        pace = Pace(per_s=rate, burst=rate, now=clock.monotonic()) if rate else None
        # While the target takes nothing, nothing is read: the source waits, and no memory fills.
        while (message := await receive()) is not None:
            if circuit.bytes_left is not None:
                circuit.bytes_left -= len(message)
                if circuit.bytes_left < 0:
                    return
            circuit.sending_since[target] = circuit.moved_at = clock.monotonic()
            await send((message,))
            del circuit.sending_since[target]
            metrics.relayed_messages += 1
            metrics.relayed_bytes += len(message)
            if pace is not None and (wait := pace.take(len(message), clock.monotonic())):
                await asyncio.sleep(wait / 1000)

    def _end(self, circuit: Circuit) -> None:
        """End a circuit; each end's task then returns, and its socket with it."""
        tasks = self._circuits.pop(circuit, None)
        if tasks is None:
            return
        circuit.end()
        self._tokens = {token: one for token, one in self._tokens.items() if one is not circuit}
        for task in tasks:
            task.cancel()
