"""What every test shares: how property tests run, and an environment of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=5_000)
settings.load_profile("long" if os.environ.get("SAFELIGHT_LONG") else "default")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a person's own homes and passphrases out of every test."""
    for name in ("SAFELIGHT_HOME", "SAFELIGHT_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
