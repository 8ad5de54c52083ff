"""Every asynchronous test here runs on both event loops that a node may have."""

from tests.node.loops import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
