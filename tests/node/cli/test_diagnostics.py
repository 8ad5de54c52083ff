from __future__ import annotations

import click
import pytest

from node.cli import diagnostics
from node.cli.diagnostics import ExitCode, diagnose, exit_code_of
from node.errors import AmbiguousError, LockedError, UnknownError, UsageError
from protocol.errors import Reason, Refused


@pytest.mark.parametrize(
    ("exit_code", "codes"),
    [
        (3, "expired revoked exhausted not_yet not_member policy factor clock"),
        (4, "unreachable not_ready timeout"),
        (5, "tampered corrupt fork verification damaged authentication encoding log"),
        (6, "locked wrong_passphrase"),
        (7, "unknown"),
        (2, "ambiguous usage"),
        (1, "failed exists no_vault internal something_new"),
        (130, "interrupted"),
    ],
)
def test_an_error_code_leads_to_its_exit_code(exit_code: int, codes: str) -> None:
    for code in codes.split():
        assert exit_code_of(code) == exit_code, code


def test_every_reason_of_a_refusal_has_an_exit_code_of_its_own_kind() -> None:
    for reason in Reason:
        assert diagnose(Refused(reason)).exit_code in {
            ExitCode.DENIED,
            ExitCode.UNREACHED,
            ExitCode.UNKNOWN,
        }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), "usage"),
        (UnknownError("x"), "unknown"),
        (LockedError("x"), "locked"),
        (click.UsageError("X."), "usage"),
        (click.FileError("file", "hint"), "failed"),
        (click.Abort(), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (FileExistsError(17, "File exists", "welcome"), "exists"),
        (PermissionError(13, "Permission denied", "welcome"), "failed"),
        (RuntimeError("boom"), "internal"),
    ],
)
def test_every_kind_of_error_has_a_code(error: BaseException, code: str) -> None:
    assert diagnose(error).code == code


def test_an_ambiguous_name_brings_its_candidates() -> None:
    diagnosis = diagnose(AmbiguousError("'a' means several", ["a (1)", "a (2)"]))

    assert diagnosis.exit_code == ExitCode.USAGE
    assert diagnosis.document()["error"]["candidates"] == ["a (1)", "a (2)"]
    assert diagnosis.hint == "one of: a (1), a (2)"


def test_candidates_without_a_hint_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    diagnostics.show(
        diagnostics.Diagnosis(code="ambiguous", message="which?", candidates=("a\x1b[31m", "b"))
    )

    assert capsys.readouterr().err == "safelight: which?\nhint: one of: a[31m, b\n"


def test_text_of_an_error_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    diagnostics.show(diagnose(UsageError("no \x1b]52;c;AAAA\x07 'x\u202e'", hint="\x9b2J")))

    assert capsys.readouterr().err == "safelight: no ]52;c;AAAA 'x'\nhint: 2J\n"


def test_a_traceback_names_lines_and_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        passphrase = "correct horse battery staple"
        raise RuntimeError(len(passphrase))
    except RuntimeError as error:
        diagnostics.show_fault(error)

    written = capsys.readouterr().err

    assert "test_diagnostics.py" in written
    assert "raise RuntimeError" in written
