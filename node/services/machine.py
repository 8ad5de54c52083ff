"""What is told of a machine and a home without a running node.

Belongs here: versions, permissions, disk space, file systems, swap.
Never here: what only a node knows (``doctor``), or changing anything.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from sqlcipher3 import dbapi2

from node.imaging.confine import possible_walls
from node.services.doctor import decoding
from node.services.findings import Finding, State
from node.vault.home import Home

_PYTHON: Final = (3, 11)
_SQLITE: Final = (3, 51, 3)
"""Older ones can lose what was committed when the WAL starts anew."""
_PILLOW: Final = (13, 0, 0)
"""Older ones have a heap overflow in the JPEG decoder that nobody mends."""

_TIGHT_BYTES: Final = 1 << 30
"""With less space than this, an import of a day's pictures may not fit."""
_FULL_BYTES: Final = 64 << 20
"""With less than this, the log soon takes no entry, and nothing is released any more."""

_COPY_ON_WRITE: Final = frozenset({"btrfs", "zfs", "bcachefs", "overlay", "nilfs2", "apfs"})
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How /proc writes a space in a path."""


def look_at_machine(home: Path, root: Path = Path("/")) -> list[Finding]:
    """Return what is told of a home and its machine from outside.

    root: where proc and sys are.
    """
    return [
        _versions(),
        *_home(home),
        _disk_space(home),
        *_file_system(home, root),
        *_swap(root),
    ]


def expected_decoding() -> Finding:
    """Return what a node on this machine can put around its decoders, without trying it."""
    possible = possible_walls()
    return decoding(possible.describe(possible), tried=False)


def _versions() -> Finding:
    found = {
        "Python": (tuple(sys.version_info[:3]), _PYTHON),
        "SQLite": (tuple(dbapi2.sqlite_version_info), _SQLITE),
        "Pillow": (_numbers(metadata.version("pillow")), _PILLOW),
    }
    old = [
        f"{name} {_dotted(version)} is older than {_dotted(floor)}"
        for name, (version, floor) in found.items()
        if version < floor
    ]
    if old:
        return Finding(
            check="versions",
            state=State.PROBLEM,
            message=", ".join(old),
            hint="install Safelight anew, with the versions it asks for",
        )
    listed = ", ".join(f"{name} {_dotted(version)}" for name, (version, _) in found.items())
    return Finding(check="versions", state=State.OK, message=listed)


def _home(home: Path) -> list[Finding]:
    if not (home / "vault").is_file():
        return [
            Finding(
                check="vault",
                state=State.WARNING,
                message=f"there is no vault in {home}",
                hint="safelight init --name NAME",
            )
        ]
    exposed = Home(home).exposed()
    if exposed:
        names = ", ".join(path.name for path in exposed)
        return [
            Finding(
                check="permissions",
                state=State.PROBLEM,
                message=f"other users of the machine may touch {names} in {home}",
                hint=f"chmod -R go= {home}",
            )
        ]
    return [
        Finding(
            check="permissions",
            state=State.OK,
            message="nobody else on this machine may touch the vault's files",
        )
    ]


def _disk_space(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    state = State.OK
    if free < _TIGHT_BYTES:
        state = State.PROBLEM if free < _FULL_BYTES else State.WARNING
    return Finding(
        check="disk",
        state=state,
        message=f"{free / 1e9:.1f} GB are free for {home}",
        hint="" if state is State.OK else "make room: without space nothing is logged or released",
    )


def _file_system(home: Path, root: Path) -> list[Finding]:
    kind = _kind_of_file_system(_existing(home).resolve(), root)
    if kind is None:
        return []
    if kind.removeprefix("fuse.") in _COPY_ON_WRITE:
        return [
            Finding(
                check="keyslots",
                state=State.WARNING,
                message=f"the keyslots are on {kind}, which copies what is overwritten: "
                "the secrets of ended capabilities may stay on the disk for a while",
                hint="encrypt that disk, keep no snapshots of the home, or move the home to ext4",
            )
        ]
    if kind in _IN_MEMORY:
        return [
            Finding(
                check="keyslots",
                state=State.WARNING,
                message=f"the home is on {kind}: it is gone when the machine stops",
                hint="keep the home on a disk",
            )
        ]
    return [
        Finding(
            check="keyslots",
            state=State.OK,
            message=f"the keyslots are on {kind}, which overwrites in place; "
            "an SSD may keep old sectors all the same",
        )
    ]


def _kind_of_file_system(folder: Path, root: Path) -> str | None:
    """Return the type of the file system a folder is on, or None where nobody tells."""
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        # id parent major:minor root mount-point options … - type source options
        mount, _, after = line.partition(" - ")
        point = Path(_plain(mount.split()[4]))
        # Of two on one point the later one is seen.
        if folder.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), after.split()[0]
    return None if found is None else found[1]


def _swap(root: Path) -> list[Finding]:
    try:
        lines = (root / "proc/swaps").read_text().splitlines()[1:]
    except OSError:
        return []
    areas = [_plain(line.split()[0]) for line in lines if line.split()]
    plain = [area for area in areas if not _is_encrypted(area, root)]
    if plain:
        return [
            Finding(
                check="swap",
                state=State.WARNING,
                message=f"memory may be written to {', '.join(plain)}, not known to be encrypted",
                hint="encrypt the swap space, or turn it off: keys and pixels are in memory",
            )
        ]
    message = "swap space is encrypted or in memory" if areas else "this machine does not swap"
    return [Finding(check="swap", state=State.OK, message=message)]


def _is_encrypted(area: str, root: Path) -> bool:
    """Say whether a swap file or partition is in memory or on an encrypted device."""
    try:
        status = Path(area).stat()
    except OSError:
        return False
    number = status.st_rdev or status.st_dev
    device = root / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}"
    return _stands_on_encrypted(device)


def _stands_on_encrypted(device: Path) -> bool:
    device = device.resolve()
    if device.name.startswith("zram"):
        return True
    try:
        if (device / "dm/uuid").read_text().startswith("CRYPT-"):
            return True
    except OSError:
        pass  # not made by the device mapper
    try:
        below = list((device / "slaves").iterdir())
    except OSError:
        return False
    return bool(below) and all(_stands_on_encrypted(one) for one in below)


def _existing(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def _plain(escaped: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), escaped)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
