"""The few interfaces between a node and its machine.

Belongs here: protocols that have a system implementation in ``system`` and
another one in tests.
Never here: implementations.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells time. The two readings advance together unless somebody sets the wall clock."""

    def now(self) -> int:
        """Wall time in Unix milliseconds."""
        ...

    def monotonic(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...
