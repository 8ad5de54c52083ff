"""Which files of a watched folder are ready, told without waiting for any of them."""

from __future__ import annotations

from pathlib import Path

from node.services.watching import QUIET_SECONDS, Watch


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_file_is_ready_once_when_it_was_left_alone(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)])
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some")

    assert watch.look(10.0) == ([], [])
    path.write_bytes(b"some more")
    assert watch.look(11.9) == ([], [])
    assert watch.look(11.9 + QUIET_SECONDS / 2) == ([], [])
    assert watch.look(11.9 + QUIET_SECONDS) == ([path], [])
    assert watch.look(20.0) == ([], [])
    assert watch.look(30.0) == ([], [])


def test_a_file_that_changes_or_comes_again_is_given_again(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)])
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    watch.look(0.0)
    assert watch.look(5.0) == ([path], [])

    path.write_bytes(b"other")
    assert watch.look(6.0) == ([], [])
    assert watch.look(9.0) == ([path], [])
    path.unlink()
    assert watch.look(10.0) == ([], [])
    path.write_bytes(b"other")
    assert watch.look(11.0) == ([], [])
    assert watch.look(14.0) == ([path], [])


def test_a_sidecar_that_comes_later_gives_its_picture_again(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path)])
    (tmp_path / "a.jpg").write_bytes(b"one")
    (tmp_path / "b.jpg").write_bytes(b"two")
    watch.look(0.0)
    assert names(watch.look(3.0)[0]) == ["a.jpg", "b.jpg"]

    (tmp_path / "a.xmp").write_bytes(b"edit")
    assert watch.look(4.0) == ([], [])
    assert names(watch.look(7.0)[0]) == ["a.jpg"]


def test_what_cannot_be_looked_at_is_told_once_and_only_where_it_lasts(tmp_path: Path) -> None:
    watch = Watch([str(tmp_path), str(tmp_path / "gone")])
    (tmp_path / "early.xmp").write_bytes(b"edit")
    (tmp_path / "lonely.xmp").write_bytes(b"edit")

    assert watch.look(0.0) == ([], [])
    (tmp_path / "early.jpg").write_bytes(b"one")
    ready, failed = watch.look(3.0)
    assert (ready, sorted(one["code"] for one in failed)) == ([], ["not_found", "sidecar"])
    assert names(watch.look(6.0)[0]) == ["early.jpg"]
    assert watch.look(9.0) == ([], [])
    (tmp_path / "gone").mkdir()
    assert watch.look(10.0) == ([], [])
    (tmp_path / "gone").rmdir()
    assert watch.look(11.0) == ([], [])
    assert [one["code"] for one in watch.look(14.0)[1]] == ["not_found"]
