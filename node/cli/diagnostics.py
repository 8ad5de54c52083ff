"""Everything the command writes to stderr, and the code it exits with.

Belongs here: exit codes, which error leads to which, how a message is phrased.
Never here: results (``output``), or what a command does.

Messages are lower case without a full stop; what the person can do follows as a
`hint:` line. The text may come from a peer, so it is cleaned on its way out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import click

from node.cli.text import clean, clean_line
from protocol.errors import SafelightError


class ExitCode(IntEnum):
    """What the shell sees. The numbers are a promise."""

    DONE = 0
    FAILED = 1
    """A reason not below."""
    USAGE = 2
    DENIED = 3
    """The issuer, the roster or the policy says no; `error.code` names the reason."""
    UNREACHED = 4
    """A peer or rendezvous was not reached or had no room, or a rendition was not ready in time."""
    UNVERIFIED = 5
    """Tampering, corruption or a fork."""
    LOCKED = 6
    """The vault is locked, or the passphrase is wrong."""
    UNKNOWN = 7
    """No such image, album, member or capability."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count a process that SIGINT ended."""


_CODES: Final = {
    ExitCode.USAGE: ("usage", "ambiguous"),
    ExitCode.DENIED: (
        *("expired", "revoked", "exhausted", "not_yet", "not_member", "policy", "factor", "clock"),
    ),
    ExitCode.UNREACHED: ("unreachable", "not_ready", "timeout", "full", "busy"),
    ExitCode.UNVERIFIED: (
        *("tampered", "corrupt", "fork", "verification", "damaged"),
        *("authentication", "encoding", "log"),
    ),
    ExitCode.LOCKED: ("locked", "wrong_passphrase"),
    ExitCode.UNKNOWN: ("unknown",),
    ExitCode.INTERRUPTED: ("interrupted",),
}
"""Error codes of each exit code; any other code exits with FAILED."""

_EXITS: Final = {code: exit_code for exit_code, codes in _CODES.items() for code in codes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """An error as the person and the script see it."""

    code: str
    message: str
    hint: str = ""
    candidates: tuple[str, ...] = ()
    """What an ambiguous name may mean."""

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the error's code leads to."""
        return exit_code_of(self.code)

    def document(self) -> dict[str, Any]:
        """Return the JSON document that `--json` promises for an error."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.candidates:
            error["candidates"] = list(self.candidates)
        return {"error": error}


def exit_code_of(code: str) -> ExitCode:
    """Return the exit code of an error's stable code."""
    return _EXITS.get(code, ExitCode.FAILED)


def diagnose(error: BaseException) -> Diagnosis:
    """Return what to tell about an error, whoever raised it."""
    match error:
        case SafelightError():
            return Diagnosis(
                code=error.code,
                # An error that was raised without a text has its code for one.
                message=str(error) if str(error) != error.code else error.code.replace("_", " "),
                hint=error.hint,
                candidates=tuple(getattr(error, "candidates", ())),
            )
        case click.UsageError():
            return Diagnosis(code="usage", message=_phrase(error), hint=_usage_hint(error))
        case click.ClickException():
            return Diagnosis(code="failed", message=_phrase(error))
        case KeyboardInterrupt() | click.Abort():
            return Diagnosis(code="interrupted", message="interrupted")
        case FileExistsError():
            return Diagnosis(
                code="exists",
                message=f"{error.filename} exists and is never overwritten",
                hint="name another file",
            )
        case OSError():
            name = f"{error.filename}: " if error.filename else ""
            return Diagnosis(code="failed", message=f"{name}{error.strerror or error}")
        case _:
            return Diagnosis(
                code="internal",
                message=f"a fault of safelight itself: {type(error).__name__}: {error}",
                hint="please report it with what was written above",
            )


def show(diagnosis: Diagnosis) -> None:
    """Tell a person about an error."""
    _write(f"safelight: {clean(diagnosis.message)}")
    hint = clean(diagnosis.hint)
    for candidate in diagnosis.candidates:
        if candidate not in diagnosis.hint:
            hint = (
                f"{hint}, {clean_line(candidate)}" if hint else f"one of: {clean_line(candidate)}"
            )
    if hint:
        _write(f"hint: {hint}")


def note(message: str) -> None:
    """Tell a person something that is neither a result nor an error."""
    _write(clean(message))


def warn(message: str, *, hint: str = "") -> None:
    """Tell a person about something that is likely not meant."""
    _write(f"warning: {clean(message)}")
    if hint:
        _write(f"hint: {clean(hint)}")


def show_fault(error: BaseException) -> None:
    """Write where an unexpected error came from. Tracebacks name lines, never values."""
    import traceback

    trace = "".join(traceback.format_tb(error.__traceback__))
    _write(clean(trace).rstrip("\n"))


def confirm(question: str) -> bool:
    """Ask on the terminal, No being the answer of a bare Enter. Only where `interactive()`."""
    _write(f"{clean(question)} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def ask(question: str) -> str:
    """Ask on the terminal for a line that may be seen there. Only where `interactive()`."""
    _write(clean(question), end="")
    return sys.stdin.readline().strip()


def interactive() -> bool:
    """Say whether a person can be asked: both what they type and what they read is a terminal."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def _is_terminal(stream: Any) -> bool:
    # A closed stdin is None, and a closed file raises.
    return stream is not None and not stream.closed and stream.isatty()


def _phrase(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def _usage_hint(error: click.UsageError) -> str:
    return f"see {error.ctx.command_path} --help" if error.ctx is not None else ""


def _write(text: str, *, end: str = "\n") -> None:
    try:
        sys.stderr.write(text + end)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return  # stderr is closed: there is nobody to tell
