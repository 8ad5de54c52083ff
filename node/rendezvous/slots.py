"""Slots: where a stranger with an invitation finds the member who expects them.

Belongs here: numbers, how long one is good, that it leads to one circuit ever.
Never here: circuits (``relay``), or the code of an invitation, which no server sees.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

from node.ports import Clock
from node.rendezvous import store
from node.rendezvous.settings import RendezvousSettings
from node.rendezvous.store import SlotRow, Store
from protocol.errors import Reason, Refused
from protocol.limits import MAX_INVITATION_NUMBER
from protocol.primitives import Entropy


@dataclass(slots=True, kw_only=True)
class OpenSlot:
    """A number that leads to a member."""

    number: int
    team_id: bytes
    key: bytes
    expires_at: int
    """Unix milliseconds."""
    used: bool = False
    """Whether its one circuit has been given away."""


class Slots:
    """The slots of all members. A number is one on the whole server. Made by `load`."""

    def __init__(
        self, database: Store, settings: RendezvousSettings, *, clock: Clock, entropy: Entropy
    ) -> None:
        self._store = database
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._slots: dict[int, OpenSlot] = {}

    @classmethod
    async def load(
        cls, database: Store, settings: RendezvousSettings, *, clock: Clock, entropy: Entropy
    ) -> Slots:
        """Read the slots that were open when the server ended."""
        slots = cls(database, settings, clock=clock, entropy=entropy)
        for row in await database.run(store.slots):
            slots._slots[row.number] = OpenSlot(**row._replace(used=bool(row.used))._asdict())
        await slots.sweep()
        return slots

    def __len__(self) -> int:
        return len(self._slots)

    async def open(self, team_id: bytes, key: bytes) -> OpenSlot:
        """Open a slot for a member; it is durable on return.

        Refused where they have enough, or all numbers are taken.
        """
        self._forget_old()
        own = sum(one.team_id == team_id and one.key == key for one in self._slots.values())
        if own >= self._settings.slots_per_member:
            raise Refused(Reason.BUSY)
        slot = OpenSlot(
            number=self._number(),
            team_id=team_id,
            key=key,
            expires_at=self._clock.now() + 1000 * self._settings.slot_s,
        )
        # Nobody else is given the number meanwhile.
        self._slots[slot.number] = slot
        try:
            await self._store.run(partial(store.put_slot, slot=SlotRow(**asdict(slot))))
        except BaseException:
            self._slots.pop(slot.number, None)
            raise
        return slot

    def find(self, number: int) -> OpenSlot:
        """Return a slot that may still be joined; Refused where there is none."""
        slot = self._slots.get(number)
        if slot is None or slot.used or self._clock.now() >= slot.expires_at:
            raise Refused(Reason.UNKNOWN)
        return slot

    async def keep_used(self, slot: OpenSlot) -> None:
        """Let nobody else join a slot that has been used, after a restart either."""
        await self._store.run(partial(store.use_slot, number=slot.number))

    async def close(self, number: int, team_id: bytes, key: bytes) -> None:
        """Close a member's own slot; Refused for any other."""
        slot = self._slots.get(number)
        if slot is None or (slot.team_id, slot.key) != (team_id, key):
            raise Refused(Reason.UNKNOWN)
        del self._slots[number]
        await self._store.run(partial(store.drop_slot, number=number))

    async def sweep(self) -> None:
        """Forget the slots whose time is over."""
        if self._forget_old():
            await self._store.run(partial(store.drop_old_slots, now=self._clock.now()))

    def remove(self, team_id: bytes, keys: frozenset[bytes]) -> None:
        """Forget the slots of those who are no members any more; the store has them no more."""
        self._slots = {
            number: one
            for number, one in self._slots.items()
            if one.team_id != team_id or one.key not in keys
        }

    def _forget_old(self) -> bool:
        """Drop what is over its time; say whether there was any."""
        now, before = self._clock.now(), len(self._slots)
        self._slots = {n: one for n, one in self._slots.items() if now < one.expires_at}
        return len(self._slots) < before

    def _number(self) -> int:
        """Return a free number, short as long as few are taken; nobody can tell which is next."""
        for most in (99, 999, MAX_INVITATION_NUMBER):
            free = [number for number in range(1, most + 1) if number not in self._slots]
            if len(free) > most // 2 or (most == MAX_INVITATION_NUMBER and free):
                return free[int.from_bytes(self._entropy(8), "big") % len(free)]
        raise Refused(Reason.BUSY)
