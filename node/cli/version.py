"""The version of this build.

Belongs here: one constant, so that `--version` reads no package metadata; a test
holds it equal to the one of ``pyproject.toml``.
Never here: versions of formats or of the protocol.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
