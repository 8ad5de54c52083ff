"""Where tests find what is not part of the project: published vectors and sample pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def vectors(*parts: str) -> Path:
    """Return a path below the published vectors, or skip the test."""
    return _shared("SAFELIGHT_VECTORS", "vectors", *parts)


def samples(*parts: str) -> Path:
    """Return a path below the sample pictures, or skip the test."""
    return _shared("SAFELIGHT_SAMPLES", "samples", *parts)


def _shared(variable: str, folder: str, *parts: str) -> Path:
    base = Path(os.environ.get(variable, ROOT.parent / "shared" / folder))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join((folder, *parts))} is absent; name its folder in ${variable}")
    return path
