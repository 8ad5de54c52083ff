"""Every test here needs a laboratory, and is skipped where there can be none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netns.lab import Lab, why_not


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty laboratory."""
    if reason := why_not():
        pytest.skip(reason)
    with Lab() as built:
        yield built
