from __future__ import annotations

import stat
from pathlib import Path

import pytest

from node.cli.files import PRIVATE, new_file


def test_a_new_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "welcome"
    with new_file(path, PRIVATE) as write:
        write(b"sealed")

    assert path.read_bytes() == b"sealed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_is_ever_replaced(tmp_path: Path) -> None:
    path = tmp_path / "welcome"
    path.write_bytes(b"older")

    with pytest.raises(FileExistsError), new_file(path, PRIVATE) as write:
        write(b"newer")

    assert path.read_bytes() == b"older"


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with pytest.raises(OSError), new_file(tmp_path / "link", PRIVATE) as write:
        write(b"x")

    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_where_the_work_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "welcome"

    with pytest.raises(error), new_file(path, PRIVATE):
        raise error

    assert not path.exists()


def test_nothing_is_left_where_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "welcome"

    with new_file(path, PRIVATE):
        assert path.exists()

    assert not path.exists()
