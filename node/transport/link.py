"""What a session needs of the thing that carries its messages.

Belongs here: the interface.
Never here: implementations (``websocket``; tests have one in memory).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Link(Protocol):
    """Carries whole messages, in order, both ways."""

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the other end."""
        ...

    async def receive(self) -> bytes | None:
        """Return the next message, or None once there is none any more."""
        ...

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send messages, waiting while the other end takes no more; ConnectionError at its end."""
        ...

    async def close(self) -> None:
        """End the link, within seconds whatever the other end does."""
        ...
