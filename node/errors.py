"""Errors of a node that are no protocol errors: each names its fix.

Belongs here: classes with a stable code, for services and the command line.
Never here: exit codes (``cli.diagnostics``) or the protocol's own errors.
"""

from __future__ import annotations

from protocol.errors import SafelightError


class NodeError(SafelightError):
    """Base of the node's own errors."""

    code = "failed"


class UsageError(NodeError):
    """A parameter cannot mean anything."""

    code = "usage"


class UnknownError(NodeError):
    """No such image, album, member or capability."""

    code = "unknown"


class AmbiguousError(NodeError):
    """A name or prefix that fits several; they are in ``candidates``."""

    code = "ambiguous"

    def __init__(self, message: str, candidates: list[str]) -> None:
        super().__init__(message, hint="one of: " + ", ".join(candidates))
        self.candidates = candidates


class LockedError(NodeError):
    """The vault is locked."""

    code = "locked"


class UnreachableError(NodeError):
    """A peer was not reached in time."""

    code = "unreachable"


class TamperedError(NodeError):
    """Bytes of a peer or of the disk do not verify."""

    code = "tampered"
