"""Fixtures of the vault's tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.vault.database import Database, LogSigner
from node.vault.vault import Vault
from protocol.audit.checkpoint import origin_of
from protocol.primitives import SigningKey
from tests.node.vault.support import ManualClock, new_vault


@pytest.fixture
def clock() -> ManualClock:
    """Time set by hand."""
    return ManualClock()


@pytest.fixture
def signer() -> LogSigner:
    """Who signs the log of `database`."""
    return LogSigner(origin=origin_of(bytes(32)), key=SigningKey(bytes(range(32))))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An empty file for an index."""
    path = tmp_path / "index.db"
    path.touch(mode=0o600)
    return path


@pytest_asyncio.fixture
async def database(index: Path, clock: ManualClock, signer: LogSigner) -> AsyncIterator[Database]:
    """An index without content, under the key of 32 zero bytes."""
    opened = await Database.open(
        index, bytes(32), clock=clock, entropy=os.urandom, prepare=lambda _: signer
    )
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def vault(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Vault]:
    """A vault without content in ``tmp_path / "home"``."""
    opened = await new_vault(tmp_path / "home", clock)
    yield opened
    await opened.close()
