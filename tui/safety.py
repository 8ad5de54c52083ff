"""What the framework would let out, shut.

Belongs here: the environment that debugging helpers read, and the list of what is refused.
Never here: the sanitiser of text (``text``).

A picture library's screen is secret. The framework ships with helpers that write it to files
(screenshots, logs), send it to another process (its developer console) or print local variables
after a fault; none of them may work here, whatever the environment says.
"""

from __future__ import annotations

from collections.abc import MutableMapping

_PREFIX = "TEXTUAL"


def forget_debugging(environment: MutableMapping[str, str]) -> None:
    """Remove what would switch the framework's helpers on. Call before it is imported."""
    for name in [one for one in environment if one.upper().startswith(_PREFIX)]:
        del environment[name]
