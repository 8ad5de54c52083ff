"""What tests here share: a laboratory, without which they are skipped, and a folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Lab, why_not


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty laboratory."""
    if reason := why_not():
        pytest.skip(reason)
    with Lab() as built:
        yield built


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose path is short enough for sockets; its runtime folder is in use."""
    made = Path(tempfile.mkdtemp(prefix="net-", dir="/tmp"))
    (made / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made / "run"))
    yield made
    shutil.rmtree(made)
