"""Damage on disk is found by the command, named, and never shown as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.people import Cli, picture_files


@pytest.fixture
def alice(tmp_path: Path) -> Cli:
    one = Cli("alice", tmp_path)
    one.set_up()
    (path,) = picture_files(tmp_path / "pictures", 1, (300, 200))
    one.do("import", str(path))
    one.do("node", "stop")
    return one


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset % len(data)] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "offset"), [("vault", 60), ("index.db", 20), ("index.db", 9000), ("keyslots", 700)]
)
def test_a_flipped_byte_is_exit_5_and_named(alice: Cli, name: str, offset: int) -> None:
    _flip(alice.home / name, offset)
    try:
        code, report = alice.run("check")

        assert code == 5
        assert not report["ok"]
        assert report["problems"]
    finally:
        alice.run("node", "stop")


def test_a_flipped_byte_of_a_sealed_picture_names_the_picture(alice: Cli) -> None:
    blobs = sorted((alice.home / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
    _flip(blobs[-1], 5_000)
    try:
        assert alice.do("check")["ok"]
        code, report = alice.run("check", "--read-data")

        (image,) = alice.do("images")
        assert code == 5
        assert {problem["picture"] for problem in report["problems"]} == {image["name"]}
    finally:
        alice.run("node", "stop")
