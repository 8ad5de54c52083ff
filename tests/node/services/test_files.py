"""Files written outside the vault: new, whole, numbered, and inside their folder."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import NodeError
from node.services.files import safe_file_name, write_new_file
from protocol.errors import SafelightError

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "....",
    "a/b.jpg",
    "a\\b.jpg",
    "C:\\autoexec.bat",
    "con.jpg",
    "LPT1",
    "aux.tar.gz",
    ".bashrc",
    "~/.ssh/id",
    "a\x00b.jpg",
    "a\nb.jpg",
    "\x1b[31m.jpg",
    "-rf",
    "x" * 300,
    "é" * 300,
    "😀" * 90 + ".jpg",
    "name. ",
    'a:b*c?"d<e>f|g.jpg',
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leaves_the_folder_or_is_hidden_or_a_device(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    path = write_new_file(folder, name, b"x")

    assert path.parent == folder
    assert [one.name for one in folder.iterdir()] == [path.name]
    assert list(tmp_path.iterdir()) == [folder]
    assert not path.name.startswith(".")
    assert path.name.split(".")[0].casefold() not in ("con", "aux", "lpt1", "")
    assert len(os.fsencode(path.name)) <= 255


@given(st.text(max_size=300).filter(lambda text: text.isprintable()))
def test_every_name_becomes_one_plain_file_name(name: str) -> None:
    safe = safe_file_name(name)

    assert safe
    assert safe == Path(safe).name
    assert not set(safe) & set('/\\:*?"<>|\0\n')
    assert len(safe.encode()) <= 200
    assert safe_file_name(safe) == safe


def test_a_taken_name_is_numbered_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"mine")
    (tmp_path / "b").write_bytes(b"mine")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d.jpg").mkdir()

    written = [
        write_new_file(tmp_path, name, b"new").name
        for name in ("a.tar.gz", "a.tar.gz", "b", "c.jpg", "d.jpg")
    ]

    assert written == ["a.tar-1.gz", "a.tar-2.gz", "b-1", "c-1.jpg", "d-1.jpg"]
    assert (tmp_path / "a.tar.gz").read_bytes() == b"mine"
    assert (tmp_path / "b").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_many_at_once_get_a_name_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(write_new_file, tmp_path, "a.jpg", str(number).encode())
            for number in range(40)
        ]
    paths = [future.result() for future in futures]

    assert len(set(paths)) == 40
    assert {path.read_bytes() for path in paths} == {str(one).encode() for one in range(40)}


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert write_new_file(tmp_path, "a.jpg", b"x").stat().st_mode & 0o777 == 0o600


def test_a_long_name_keeps_its_ending() -> None:
    assert safe_file_name("a" * 150 + ".jpeg").endswith(".jpeg")


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(SafelightError) as refused:
        write_new_file(tmp_path / out, "a.jpg", b"x")

    assert refused.value.code == "write_failed"


def test_a_folder_that_vanishes_or_takes_nothing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as refused:
        write_new_file(Path("/proc/self"), "a.jpg", b"x")

    assert refused.value.code == "write_failed"
