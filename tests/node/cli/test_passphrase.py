from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.cli import passphrase
from node.cli.common import Settings
from node.errors import LockedError, UsageError


def secret_file(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("data", "secret"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\nsecond line\n", "correct horse"),
        (b" spaces count \n", " spaces count "),
        (b"two\r\r\n", "two\r"),
        ("p\u00e4sswort\n".encode(), "p\u00e4sswort"),
    ],
)
def test_the_first_line_is_the_secret(tmp_path: Path, data: bytes, secret: str) -> None:
    assert passphrase.read_secret_file(secret_file(tmp_path, data), "passphrase") == secret


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"\nsecond", b"\xff\xfe\n", b"x" * 70_000])
def test_a_file_that_can_be_no_secret_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        passphrase.read_secret_file(secret_file(tmp_path, data), "passphrase")

    assert "xxxx" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none"):
        passphrase.read_secret_file(tmp_path / "none", "passphrase")


def test_a_file_that_others_may_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passphrase.read_secret_file(secret_file(tmp_path, b"quiet", 0o600), "passphrase")
    quiet = capsys.readouterr().err
    passphrase.read_secret_file(secret_file(tmp_path, b"loud", 0o640), "passphrase")

    assert quiet == ""
    assert "others may read the passphrase file" in capsys.readouterr().err


def test_a_pipe_may_bring_the_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)

    secret = passphrase.read_secret_file(Path(f"/dev/fd/{reading}"), "passphrase")
    os.close(reading)

    assert (secret, capsys.readouterr().err) == ("from a pipe", "")


def test_the_option_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.write_text("by environment")
    named.chmod(0o600)
    monkeypatch.setenv("SAFELIGHT_PASSPHRASE_FILE", str(named))
    given = secret_file(tmp_path, b"by option")

    assert passphrase.read_passphrase(Settings(passphrase_file=given)) == "by option"
    assert passphrase.read_passphrase(Settings()) == "by environment"


def test_without_a_terminal_nobody_is_asked() -> None:
    with pytest.raises(LockedError) as caught:
        passphrase.read_passphrase(Settings())

    assert "--passphrase-file" in caught.value.hint


def test_a_short_passphrase_from_a_file_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(passphrase_file=secret_file(tmp_path, b"1234567"))

    assert passphrase.new_passphrase(settings) == "1234567"
    assert "soon guessed" in capsys.readouterr().err
