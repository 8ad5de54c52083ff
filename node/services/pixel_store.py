"""Opened pictures in memory, and when they are dropped.

Belongs here: holding decrypted bytes for as long as they may be seen.
Never here: opening a picture (``viewing``), or decoding it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from node.errors import LockedError
from protocol.limits import PIXELS_SHOWN_MS


@dataclass(slots=True, kw_only=True)
class _Shown:
    """An opened picture, held in memory only."""

    capability_id: bytes
    data: bytes = field(repr=False)
    timer: asyncio.TimerHandle


class PixelStore:
    """Opened pictures in memory, dropped on close, lock, revocation, expiry or after 15 minutes."""

    def __init__(self) -> None:
        self._shown: dict[bytes, _Shown] = {}
        self._closed = False

    def keep(self, open_id: bytes, capability_id: bytes, data: bytes, *, left: int) -> None:
        """Hold a picture until one of the reasons to drop it; it expires in ``left`` ms.

        Raises LockedError where the node was locked while the picture was being opened.
        """
        if self._closed:
            raise LockedError("the vault was locked meanwhile", hint="safelight unlock")
        self.drop(open_id)
        seconds = max(0, min(left, PIXELS_SHOWN_MS)) / 1000
        timer = asyncio.get_running_loop().call_later(seconds, self.drop, open_id)
        self._shown[open_id] = _Shown(capability_id=capability_id, data=data, timer=timer)

    def data(self, open_id: bytes) -> bytes | None:
        """Return an opened picture's encoded bytes, or None once dropped."""
        shown = self._shown.get(open_id)
        return None if shown is None else shown.data

    def drop(self, open_id: bytes) -> None:
        """Drop one picture."""
        shown = self._shown.pop(open_id, None)
        if shown is not None:
            shown.timer.cancel()

    def drop_capability(self, capability_id: bytes) -> None:
        """Drop every picture of a capability."""
        for open_id, shown in list(self._shown.items()):
            if shown.capability_id == capability_id:
                self.drop(open_id)

    def close(self) -> None:
        """Drop everything and take nothing more: the node is locked."""
        self._closed = True
        self.drop_all()

    def open(self) -> None:
        """Take pictures again."""
        self._closed = False

    def drop_all(self) -> None:
        """Drop everything."""
        for open_id in list(self._shown):
            self.drop(open_id)
