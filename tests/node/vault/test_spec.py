"""The examples in the specifications are what the code writes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from node.vault import keyring
from node.vault import keyslots as slots
from tests.node.vault import examples
from tests.support import ROOT


@pytest.mark.parametrize(
    ("document", "name", "example"),
    [
        ("vault.md", "header", examples.header),
        ("vault.md", "value", examples.value),
        ("keyslots.md", "keyslots", examples.keyslots),
    ],
)
def test_the_example_of_a_specification_is_what_the_code_writes(
    document: str, name: str, example: Callable[[], dict[str, bytes | str]]
) -> None:
    written = (ROOT / "docs" / "spec" / document).read_text(encoding="utf-8")
    found = re.search(rf"<!-- example {name} -->\n```text\n(.*?)\n```", written, re.DOTALL)

    assert found is not None
    assert found[1] == examples.text(example())


@pytest.mark.parametrize(
    ("document", "version"),
    [("vault.md", keyring.VERSION), ("keyslots.md", slots.VERSION)],
)
def test_a_specification_names_the_version_of_the_code(document: str, version: int) -> None:
    title = (ROOT / "docs" / "spec" / document).read_text(encoding="utf-8").splitlines()[0]

    assert title.endswith(f", version {version}")
