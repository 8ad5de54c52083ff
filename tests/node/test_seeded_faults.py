"""A node with any fault of the list fails a test, which it passes without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.node.seeded_faults import FAULTS, Fault
from tests.support import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_fails_its_test(fault: Fault) -> None:
    number = str(FAULTS.index(fault))

    played = subprocess.run(
        [sys.executable, "-m", "tests.node.seeded_faults", number],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip

    assert played.returncode == 1, played.stdout + played.stderr
    assert "1 failed" in played.stdout
    # A fault that only makes the program nonsense shows nothing about the tests.
    for nonsense in ("NameError", "ImportError", "SyntaxError", "AttributeError"):
        assert f"E   {nonsense}" not in played.stdout


@pytest.mark.parametrize("test", sorted({fault.test for fault in FAULTS}))
def test_without_a_fault_every_one_of_these_tests_passes(test: str) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", f"tests/node/{test}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip

    assert "1 passed" in played.stdout, played.stdout
