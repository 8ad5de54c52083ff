"""What is told of a machine and a home from outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from node.services.findings import Finding, State
from node.services.machine import expected_decoding, look_at_machine


class Usage(NamedTuple):
    """As shutil has it."""

    total: int
    used: int
    free: int


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a vault, as far as it is looked at from outside."""
    home = tmp_path / "a home"
    home.mkdir(mode=0o700)
    for name in ("vault", "index.db", "keyslots"):
        (home / name).touch(mode=0o600)
    return home


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with an ext4 disk and no swap space."""
    root = tmp_path / "root"
    (root / "proc/self").mkdir(parents=True)
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/devices").mkdir(parents=True)
    mounts(root, ("/", "ext4"))
    swaps(root)
    return root


def mounts(root: Path, *points: tuple[str, str]) -> None:
    """Mount file systems on a made-up machine."""
    lines = [
        f"{number} 1 8:1 / {point.replace(' ', chr(92) + '040')} rw shared:1 - {kind} /dev/x rw\n"
        for number, (point, kind) in enumerate(points, 20)
    ]
    (root / "proc/self/mountinfo").write_text("".join(lines))


def swaps(root: Path, *areas: Path) -> None:
    """Let a made-up machine swap to these files."""
    lines = [f"{area} file 1000 0 -2\n" for area in areas]
    (root / "proc/swaps").write_text("Filename Type Size Used Priority\n" + "".join(lines))


def device(root: Path, name: str, *, uuid: str = "", below: tuple[str, ...] = ()) -> None:
    """Make a block device, which stands on others."""
    folder = root / "sys/devices" / name
    (folder / "slaves").mkdir(parents=True)
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm/uuid").write_text(uuid)
    for other in below:
        (folder / "slaves" / other).symlink_to(root / "sys/devices" / other)


def is_on(root: Path, area: Path, name: str) -> None:
    """Say which device a file is on."""
    number = area.stat().st_dev
    link = root / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}"
    link.symlink_to(root / "sys/devices" / name)


def found(home: Path, root: Path, check: str) -> Finding:
    """Return the finding of one check."""
    (finding,) = [one for one in look_at_machine(home, root) if one.check == check]
    return finding


def test_a_machine_in_order_has_nothing_to_tell(home: Path, root: Path) -> None:
    findings = {one.check: one.state for one in look_at_machine(home, root)}
    findings.pop("disk")

    assert findings == {
        "versions": State.OK,
        "permissions": State.OK,
        "keyslots": State.OK,
        "swap": State.OK,
    }


def test_this_machine_is_looked_at_without_a_fault(home: Path) -> None:
    findings = [*look_at_machine(home), expected_decoding()]

    assert {one.check for one in findings} >= {"versions", "permissions", "disk", "decoding"}


def test_no_vault_is_a_warning(tmp_path: Path, root: Path) -> None:
    finding = found(tmp_path / "nothing" / "here", root, "vault")

    assert finding.state == State.WARNING
    assert "safelight init" in finding.hint


@pytest.mark.parametrize("name", ["", "vault", "keyslots"])
def test_files_that_others_may_touch_are_a_problem(home: Path, root: Path, name: str) -> None:
    (home / name).chmod(0o755)

    finding = found(home, root, "permissions")

    assert finding.state == State.PROBLEM
    assert (home / name).name in finding.message


@pytest.mark.parametrize("kind", ["btrfs", "zfs", "fuse.zfs", "bcachefs", "overlay"])
def test_a_file_system_that_copies_is_a_warning(home: Path, root: Path, kind: str) -> None:
    mounts(root, ("/", "ext4"), (str(home), kind), ("/somewhere", "ext4"))

    finding = found(home, root, "keyslots")

    assert finding.state == State.WARNING
    assert kind in finding.message


def test_the_nearest_mount_decides_and_of_two_the_later(home: Path, root: Path) -> None:
    mounts(root, ("/", "btrfs"), (str(home.parent), "btrfs"), (str(home.parent), "xfs"))

    assert found(home, root, "keyslots").state == State.OK


def test_a_home_in_memory_is_a_warning(home: Path, root: Path) -> None:
    mounts(root, ("/", "tmpfs"))

    assert found(home, root, "keyslots").state == State.WARNING


def test_a_system_that_does_not_tell_its_mounts_is_not_guessed_at(home: Path, root: Path) -> None:
    (root / "proc/self/mountinfo").unlink()
    (root / "proc/swaps").unlink()

    assert {one.check for one in look_at_machine(home, root)} == {"versions", "permissions", "disk"}


@pytest.mark.parametrize(
    ("free", "state"),
    [(10 << 30, State.OK), (500 << 20, State.WARNING), (10 << 20, State.PROBLEM)],
)
def test_a_disk_that_fills_up_is_told(
    home: Path, root: Path, free: int, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 0, free))

    assert found(home, root, "disk").state == state


def test_swap_space_in_the_clear_is_a_warning(home: Path, root: Path) -> None:
    area = root / "swapfile"
    area.touch()
    swaps(root, area)
    device(root, "sda2")
    is_on(root, area, "sda2")

    finding = found(home, root, "swap")

    assert finding.state == State.WARNING
    assert str(area) in finding.message


@pytest.mark.parametrize("name", ["zram0", "dm-0", "dm-1"])
def test_swap_space_that_nobody_reads_later_is_well(home: Path, root: Path, name: str) -> None:
    area = root / "swapfile"
    area.touch()
    swaps(root, area)
    device(root, "sda2")
    device(root, "zram0")
    device(root, "dm-0", uuid="CRYPT-LUKS2-0123-swap", below=("sda2",))
    device(root, "dm-1", uuid="LVM-0123", below=("dm-0",))
    is_on(root, area, name)

    assert found(home, root, "swap").state == State.OK


def test_a_volume_that_is_encrypted_only_in_part_is_not(home: Path, root: Path) -> None:
    area = root / "swapfile"
    area.touch()
    swaps(root, area, root / "gone")
    device(root, "sda2")
    device(root, "dm-0", uuid="CRYPT-LUKS2-0123-swap", below=("sda2",))
    device(root, "dm-1", uuid="LVM-0123", below=("dm-0", "sda2"))
    is_on(root, area, "dm-1")

    assert found(home, root, "swap").message.count("swapfile") == 1
    assert "gone" in found(home, root, "swap").message


def test_versions_below_their_floors_are_a_problem(
    home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.machine._SQLITE", (99, 0, 0))

    finding = found(home, root, "versions")

    assert finding.state == State.PROBLEM
    assert "is older than 99.0.0" in finding.message
    assert "Python" not in finding.message
