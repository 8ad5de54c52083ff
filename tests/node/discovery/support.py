"""What tests of discovery need of a node.

Belongs here: a context without a vault, and a clock that is moved by hand.
Never here: nodes or networks.
"""

from __future__ import annotations

from typing import cast

from node.imaging.pool import ImagingPool
from node.ports import Clock
from node.services.context import Context
from node.services.events import Events
from node.system import SystemClock, system_entropy
from node.vault.vault import Vault


class HandClock:
    """Stands still but for the hand."""

    def __init__(self) -> None:
        self.time = 1_000_000

    def now(self) -> int:
        return self.time

    def monotonic(self) -> int:
        return self.time


def context(clock: Clock | None = None) -> Context:
    """Return a context of which nothing but the clock and the entropy is used here."""
    return Context(
        vault=cast("Vault", None),
        imaging=cast("ImagingPool", None),
        clock=clock or SystemClock(),
        entropy=system_entropy,
        events=Events(),
    )
