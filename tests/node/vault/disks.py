"""Real file systems for tests: an ext4 image on a loop device, a small tmpfs. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def require(*programs: str) -> None:
    """Skip the test unless it runs as root with these programs."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount file systems")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} does not work here: {done.stderr.strip()}")


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image file on folder, and unmount it in the end."""
    folder.mkdir()
    _run("mount", "-o", "loop", image, folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def ext4(tmp_path: Path, *, mib: int = 16) -> Iterator[tuple[Path, Path]]:
    """Yield the image file and the mount point of a new ext4 file system."""
    require("mkfs.ext4", "mount", "losetup")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(mib * 1024 * 1024)
    _run("mkfs.ext4", "-q", image)
    with mounted(image, tmp_path / "disk") as folder:
        yield image, folder


@contextmanager
def tmpfs(tmp_path: Path, *, kib: int) -> Iterator[Path]:
    """Yield the mount point of a new file system of this size in memory."""
    require("mount")
    folder = tmp_path / "small"
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
