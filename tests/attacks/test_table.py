"""The table of attacks names every attack once, and tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

TABLE = (ROOT / "docs" / "attacks.md").read_text()
ROWS = {int(match[1]): match[0] for match in re.finditer(r"^\| (\d+) \|.*$", TABLE, re.MULTILINE)}
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", TABLE)))


def test_the_table_has_every_row_once() -> None:
    assert list(ROWS) == list(range(1, 49))
    assert len(re.findall(r"^\| \d+ \|", TABLE, re.MULTILINE)) == 48


def test_a_row_names_a_test_or_what_is_missing() -> None:
    for number, row in ROWS.items():
        _, _, tests, missing = (cell.strip() for cell in row.strip("|").split("|"))
        assert "::test_" in tests or missing, number


@pytest.mark.parametrize(("file", "name"), NAMED, ids="::".join)
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    text = (ROOT / "tests" / file).read_text()

    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)


def test_every_test_with_a_row_in_its_name_is_in_the_table() -> None:
    named = {name for _, name in NAMED}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"^(?:async )?def (test_row_\w+)\(", path.read_text(), re.MULTILINE):
            assert name in named, f"{path.name}::{name}"
