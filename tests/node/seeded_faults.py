"""Faults of a node that would lose what it acknowledged, and the test that each must fail.

Run as a program, with the number of a fault, it patches the source of one module and runs the
named test in the same process; its exit status is pytest's.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT


@dataclass(frozen=True)
class Fault:
    name: str
    module: str
    changes: tuple[tuple[str, str], ...]
    """What stands in the module's source, once each, and what stands there instead."""
    test: str
    """Below tests/node."""


_COMMIT = """            self._log.flush()
            connection.execute("COMMIT")
"""
_NO_COMMIT = """            self._log.flush()
"""
_BEGIN = """            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
"""
_COMMIT_THE_LAST = """            if connection.in_transaction:
                connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
"""
_WAIT = """        judged = (await self._context.database.write(job)).value
"""
_DO_NOT_WAIT = """        import asyncio
        writing = asyncio.ensure_future(self._context.database.write(job))
        writing.add_done_callback(lambda done: done.exception())
        judged = log.open_head(request.note)
"""

FAULTS = (
    Fault(
        "a commit is not on the disk when it returns",
        "node.vault.connection",
        (('"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = NORMAL"'),),
        "vault/test_connection.py::"
        "test_every_setting_that_durability_and_secrecy_need_is_on[synchronous-2]",
    ),
    Fault(
        "a write is acknowledged, and committed with the next one",
        "node.vault.database",
        ((_COMMIT, _NO_COMMIT), (_BEGIN, _COMMIT_THE_LAST)),
        "vault/test_database.py::test_what_a_write_acknowledged_is_in_the_files_at_that_moment",
    ),
    Fault(
        "a cosignature is sent before the commit of what it promises",
        "node.services.cosigning",
        ((_WAIT, _DO_NOT_WAIT),),
        "witness/test_server.py::test_nothing_is_signed_that_could_not_be_stored",
    ),
)


def play(fault: Fault) -> int:
    """Run the fault's test in a process of its own kind: what is patched stays patched."""
    spec = importlib.util.find_spec(fault.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    for old, new in fault.changes:
        if source.count(old) != 1:
            raise ImportError(f"{fault.module} does not have {old!r} once")
        source = source.replace(old, new)
    module = importlib.util.module_from_spec(spec)
    sys.modules[fault.module] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    parent, _, child = fault.module.rpartition(".")
    setattr(sys.modules[parent], child, module)
    return pytest.main(["-q", "-n", "0", str(ROOT / "tests" / "node" / fault.test)])


if __name__ == "__main__":
    sys.exit(play(FAULTS[int(sys.argv[1])]))
