"""Every error the protocol raises, as one drawn tree.

Belongs here: classes, each with a stable ``code`` and whose fault it is.
Never here: text for one call site, exit codes, or anything about a user interface.

    SafelightError
    ├── LocalError                  the caller asked for something it may not
    │   ├── LocalProtocolError      an illegal step of a state machine
    │   └── LimitError              a value of ours is over a bound of limits.py
    ├── RemoteError                 bytes from elsewhere are wrong
    │   ├── EncodingError           not the one canonical encoding of a value
    │   ├── AuthenticationError     a tag, signature or commitment does not verify
    │   ├── UnsupportedError        a version, suite, right or field this build does not know
    │   ├── RemoteProtocolError     an illegal step of the peer
    │   └── LogError                a log, proof, note or checkpoint that does not verify
    └── Refused                     a typed no to a request, with its one reason

Match by class or by ``code``, never by text.
"""

from __future__ import annotations

from enum import StrEnum


class SafelightError(Exception):
    """Base of every error that Safelight raises on purpose."""

    code = "error"

    def __init__(self, message: str = "", *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message or code or self.code)
        if code is not None:
            self.code = code
        self.hint = hint
        """What the person can do about it, or empty."""


class LocalError(SafelightError):
    """The caller's fault: nothing arrived from outside."""

    code = "local"


class LocalProtocolError(LocalError):
    """The caller asked a state machine for a step that its state does not allow."""

    code = "local_protocol"


class LimitError(LocalError):
    """A value of our own is over a bound of ``limits.py``."""

    code = "limit"


class RemoteError(SafelightError):
    """The peer's or the file's fault: bytes from elsewhere are wrong."""

    code = "remote"


class EncodingError(RemoteError):
    """Bytes are not the one canonical encoding of a value of the expected type."""

    code = "encoding"


class AuthenticationError(RemoteError):
    """A tag, signature or commitment does not verify. Says no more, by intent."""

    code = "authentication"


class UnsupportedError(RemoteError):
    """A version, suite, right or field that this build does not know."""

    code = "unsupported"


class RemoteProtocolError(RemoteError):
    """The peer took a step that its state does not allow, or broke a bound."""

    code = "remote_protocol"


class LogError(RemoteError):
    """A log entry, proof, note or checkpoint does not verify."""

    code = "log"


class Reason(StrEnum):
    """The one reason of a refusal (architecture 4.5). The values are wire values."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    EXHAUSTED = "exhausted"
    NOT_YET = "not_yet"
    NOT_READY = "not_ready"
    NOT_MEMBER = "not_member"
    POLICY = "policy"
    FACTOR = "factor"
    CLOCK = "clock"
    UNKNOWN = "unknown"
    FULL = "full"
    """A rendezvous' mailbox has no room; the sender keeps what it has and tries again."""
    BUSY = "busy"
    """Over a limit of the rendezvous for now."""


class Refused(SafelightError):  # noqa: N818  the protocol's word
    """A typed no to a well-formed request."""

    def __init__(self, reason: Reason, message: str = "", *, hint: str = "") -> None:
        super().__init__(message, code=reason.value, hint=hint)
        self.reason = reason
