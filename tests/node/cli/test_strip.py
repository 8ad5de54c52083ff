from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.node.cli.support import run
from tests.node.imaging.strip import traps
from tests.support_pictures import CANARY, corners, encoded, opened


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "harbour.jpg"
    path.write_bytes(traps.trapped_jpeg())
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_clean_copies_are_written_under_their_own_names(tmp_path: Path, picture: Path) -> None:
    other = tmp_path / "plan.png"
    other.write_bytes(encoded(corners(), "PNG"))
    out = tmp_path / "new" / "clean"

    done = run("strip", str(picture), str(other), "-o", str(out), "--json")

    assert done.code == 0
    assert done.document["failed"] == []
    first, second = done.document["files"]
    assert first["path"] == str(picture)
    assert first["out"] == str(out / "harbour.jpg")
    assert first["pixels_identical"] is True
    assert "position 48.8500 N 2.3500 E" in first["removed"]
    assert any(line.startswith("colour profile") for line in first["kept"])
    assert (second["removed"], second["kept"]) == ([], [])
    clean = (out / "harbour.jpg").read_bytes()
    assert not traps.holds_canary(clean)
    assert opened(clean).tobytes() == opened(picture.read_bytes()).tobytes()


def test_it_needs_no_home_and_makes_none(tmp_path: Path, picture: Path) -> None:
    home = tmp_path / "home"

    done = run("--home", str(home), "strip", str(picture), "-o", str(tmp_path / "out"))

    assert done.code == 0
    assert not home.exists()


def test_people_read_what_was_removed_and_kept(tmp_path: Path, picture: Path) -> None:
    done = run("strip", str(picture), "-o", str(tmp_path / "out"))

    assert done.code == 0
    assert "  removed position 48.8500 N 2.3500 E\n" in done.out
    assert "  kept    colour profile" in done.out
    assert "  every pixel is the same\n" in done.out
    assert done.err == ""


def test_nothing_is_ever_overwritten(tmp_path: Path, picture: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "harbour.jpg").write_bytes(b"mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine too")
    (out / "link.jpg").symlink_to(elsewhere)
    before = picture.read_bytes()
    link = tmp_path / "link.jpg"
    link.write_bytes(picture.read_bytes())

    done = run("strip", str(picture), str(link), str(picture), "-o", str(out), "--json")
    here = run("strip", str(picture), "-o", str(tmp_path), "--json")

    assert done.code == here.code == 1
    assert [one["code"] for one in done.document["failed"]] == ["exists"] * 3
    assert (out / "harbour.jpg").read_bytes() == b"mine"
    assert elsewhere.read_bytes() == b"mine too"
    assert picture.read_bytes() == link.read_bytes() == before


def test_two_files_of_one_name_do_not_meet(tmp_path: Path, picture: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "harbour.jpg").write_bytes(traps.jpeg())
    out = tmp_path / "out"

    done = run("strip", str(picture), str(folder / "harbour.jpg"), "-o", str(out), "--json")

    assert done.code == 0
    assert [one["code"] for one in done.document["failed"]] == ["exists"]
    assert names_in(out) == ["harbour.jpg"]


def test_what_cannot_be_cleaned_is_named_and_the_rest_goes_on(
    tmp_path: Path, picture: Path
) -> None:
    bad = {
        "empty.jpg": b"",
        "drawing.jpg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "cut.png": encoded(corners(), "PNG")[:-30],
        "tiny.gif": b"GIF89a",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    names = [*bad, "pipe.jpg", "loop.jpg", "absent.jpg", "."]
    out = tmp_path / "out"

    done = run(
        "strip", *(str(tmp_path / name) for name in names), str(picture), "-o", str(out), "--json"
    )

    assert done.code == 0
    assert [one["code"] for one in done.document["failed"]] == [
        *("empty", "unknown_format", "broken", "broken"),
        *("not_a_file", "unreadable", "unreadable", "not_a_file"),
    ]
    assert all(one["message"] for one in done.document["failed"])
    assert names_in(out) == ["harbour.jpg"]


def test_it_fails_only_where_nothing_was_cleaned(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"text")

    done = run("strip", str(bad), "-o", str(tmp_path / "out"))

    assert done.code == 1
    assert f"not cleaned: {bad}: not a picture that can be cleaned" in done.err
    assert "1 file not cleaned" in done.err


def test_a_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    name = b"caf\xe9\x1b[2J.png"
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(encoded(corners(), "PNG"))

    done = run("strip", os.fsdecode(path), "-o", str(tmp_path / "out"), "--json")
    again = run("strip", os.fsdecode(path), "-o", str(tmp_path / "out"))

    assert done.code == 0
    assert names_in(tmp_path / "out") == [os.fsdecode(name)]
    assert "\x1b" not in again.out + again.err


def test_the_policy_is_the_persons(tmp_path: Path, picture: Path) -> None:
    gain_map = tmp_path / "bright.jpg"
    gain_map.write_bytes(traps.gain_map_jpeg())

    kept = run(
        *("strip", str(picture), "-o", str(tmp_path / "a"), "--json"),
        *("--keep", "capture-time,previews"),
    )
    dropped = run("strip", str(gain_map), "-o", str(tmp_path / "b"), "--drop-gain-maps", "--json")
    wrong = run("strip", str(picture), "-o", str(tmp_path / "c"), "--keep", "everything")

    assert "taken 2024:05:06 07:08:09" in kept.document["files"][0]["kept"]
    assert any(line.startswith("a gain map") for line in dropped.document["files"][0]["removed"])
    assert b"hdrgm" not in (tmp_path / "b" / "bright.jpg").read_bytes()
    assert wrong.code == 2
    assert "capture-time, depth-maps, previews" in wrong.err


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    done = run("strip", str(picture), "-o", str(tmp_path / "file" / "out"), "--json")

    assert done.code == 1
    assert done.document["error"]["code"] == "failed"


def test_copies_are_new_files_with_nothing_of_the_source_but_its_name(
    tmp_path: Path, picture: Path
) -> None:
    os.utime(picture, (1_000_000_000, 1_000_000_000))
    picture.chmod(0o600)

    run("strip", str(picture), "-o", str(tmp_path / "out"))

    about = (tmp_path / "out" / "harbour.jpg").stat()
    assert about.st_mtime > 1_500_000_000
    assert stat.S_IMODE(about.st_mode) & 0o400
    assert CANARY not in (tmp_path / "out" / "harbour.jpg").read_bytes()
