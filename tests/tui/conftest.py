"""Real people for the screens' tests: one team for the tests of a file."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import people as e2e
from tests.e2e.people import Cli


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep a person's own keymap, settings and terminal out of every test."""
    for name in ("NO_COLOR", "COLORFGBG", "SAFELIGHT_PICTURES", "SAFELIGHT_COLOURS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def _garbage() -> Iterator[None]:
    """Let what one app set aside be looked through again when it has ended."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Cli]]:
    """Alice, who has twelve pictures in an album, and Bob; their nodes run."""
    folder = tmp_path_factory.mktemp("people")
    e2e.picture_files(folder / "pictures", 12)
    with e2e.people(folder, "alice", "bob") as (alice, bob):
        alice.do("import", str(folder / "pictures"), "--album", "Launch")
        yield alice, bob


@pytest.fixture
def alice(pair: tuple[Cli, Cli]) -> Cli:
    """The administrator, who has pictures."""
    return pair[0]


@pytest.fixture
def bob(pair: tuple[Cli, Cli]) -> Cli:
    """A member."""
    return pair[1]


@pytest.fixture(autouse=True)
def settings_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings and keys but those that a test writes here."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings" / "safelight"
