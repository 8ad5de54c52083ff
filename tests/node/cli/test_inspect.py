from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.node.cli.support import run
from tests.node.imaging.strip import traps
from tests.support_pictures import corners, encoded


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "harbour.jpg"
    path.write_bytes(traps.trapped_jpeg())
    return path


def test_scripts_get_findings_by_group(picture: Path) -> None:
    done = run("inspect", str(picture), "--json")

    assert done.code == 0
    findings = done.document["findings"]
    assert {
        "group": "where",
        "tag": "Exif GPSLatitude",
        "value": "position 48.8500 N 2.3500 E",
        "sensitive": True,
    } in findings
    groups = [finding["group"] for finding in findings]
    assert list(dict.fromkeys(groups)) == [
        *("where", "when", "who", "device", "hidden", "edits", "provenance", "text", "other"),
    ]


def test_people_read_them_under_headings(picture: Path) -> None:
    done = run("inspect", str(picture))

    assert done.code == 0
    assert done.out.startswith("Where\n  position 48.8500 N 2.3500 E\n")
    assert "\nWhich device\n  camera Acme One\n" in done.out
    assert "Exif" not in done.out.replace("Exif block", "")


def test_tags_come_one_flag_further(picture: Path) -> None:
    few = run("inspect", str(picture), "--json").document["findings"]
    many = run("inspect", str(picture), "--tags", "--json").document["findings"]
    read = run("inspect", str(picture), "--tags").out

    assert len(many) > len(few)
    assert any(one["tag"] == "Exif GPSLatitude" and one["value"] == "48 51 0" for one in many)
    assert "  Exif GPSLatitude: 48 51 0\n" in read


def test_a_picture_that_tells_nothing_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plan.png"
    path.write_bytes(encoded(corners(), "PNG"))

    assert run("inspect", str(path)).out == "nothing but pixels\n"
    assert run("inspect", str(path), "--json").document == {"findings": []}


def test_the_file_is_only_read_and_no_home_is_needed(tmp_path: Path, picture: Path) -> None:
    before = picture.stat()

    done = run("--home", str(tmp_path / "home"), "inspect", str(picture))

    assert done.code == 0
    assert picture.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["harbour.jpg"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "empty"), (b"%PDF-1.7", "unknown_format"), (b"GIF89a" + bytes(7), "broken")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "file.jpg"
    path.write_bytes(data)

    done = run("inspect", str(path), "--json")

    assert done.code == 1
    assert done.document["error"]["code"] == code


def test_a_missing_file_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    absent = run("inspect", str(tmp_path / "absent"), "--json")
    pipe = run("inspect", str(tmp_path / "pipe"), "--json")

    assert absent.document["error"]["code"] == "unreadable"
    assert pipe.document["error"]["code"] == "not_a_file"
