"""The settings, what may stand in their file, and that docs/rendezvous.md shows them all."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from node.errors import UsageError
from node.rendezvous.settings import RendezvousSettings, load_settings
from tests.support import ROOT

GUIDE = (ROOT / "docs" / "rendezvous.md").read_text()


def test_the_guide_shows_every_setting_with_its_default_and_reason() -> None:
    shown = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| (.*) \|$", GUIDE, re.M)
    settings = [
        (one.name, f"{one.default:,}", one.metadata["reason"]) for one in fields(RendezvousSettings)
    ]

    assert settings == shown


def test_the_example_of_the_guide_is_taken(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.M | re.S)
    path = tmp_path / "limits.toml"
    path.write_text(example)
    changed = load_settings(path)

    assert changed == RendezvousSettings(circuits_per_member=8, circuit_bytes_per_s=2_000_000)


@pytest.mark.parametrize(
    "text",
    ["nonsense = 1", "mail_s = 0", "mail_s = -1", "mail_s = 1.5", "mail_s = true", "mail_s ="],
)
def test_what_is_no_setting_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        load_settings(path)


def test_a_file_that_is_not_there_or_far_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_settings(tmp_path / "none.toml")
    path = tmp_path / "limits.toml"
    path.write_text("#" * 100_000)
    with pytest.raises(UsageError):
        load_settings(path)
