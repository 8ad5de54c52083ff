"""The folder of sealed files: names, new files, durable renaming and removal.

Belongs here: where a blob's file is, and how one appears and disappears without a
crash ever leaving half of it under its name.
Never here: what stands in the files (``blobs``, ``receiving``).

    blobs/ab/ab12…            a sealed file, named by its blob id in hexadecimal
    blobs/ab/ab12….tmp        one that is being written
    blobs/incoming/….part     a transfer, named by a hash of what is sent and who sends it
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.vault.files import FOLDER_MODE, FailStop, make_folder, sync_folder
from protocol.primitives import Entropy

BLOB_ID_BYTES: Final = 16
PART_KEPT_MS: Final = 7 * 24 * 3_600_000
"""How long a transfer that stopped may be taken up again."""

_BLOB_NAME: Final = re.compile(r"[0-9a-f]{32}")
_INCOMING: Final = "incoming"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """A sealed file that is durable on disk and that no row names yet."""

    blob_id: bytes
    """16 random bytes; the file's name in hexadecimal."""
    length: int
    """Bytes of the file."""
    sha256: bytes
    """Of the file's bytes."""
    commitment: bytes
    """32 bytes: the sealed format's commitment to key, salt and context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How many files a start-up sweep removed."""

    temporary: int
    orphans: int
    parts: int


def blob_path(folder: Path, blob_id: bytes) -> Path:
    """Return where below folder the file of a blob is, or would be."""
    name = blob_id.hex()
    return folder / name[:2] / name


class BlobFolder:
    """The files below one folder. Every method waits for the disk: call it in a thread."""

    def __init__(self, folder: Path, *, entropy: Entropy) -> None:
        self._folder = folder
        self.entropy = entropy
        self.disk = FailStop()
        """Guards every write below the folder."""

    def make(self) -> None:
        """Make the folders that are missing, so that no write ever has to."""
        with self.disk.writing():
            make_folder(self._folder)
            for name in (*(f"{shard:02x}" for shard in range(256)), _INCOMING):
                (self._folder / name).mkdir(mode=FOLDER_MODE, exist_ok=True)
            sync_folder(self._folder)

    def path(self, blob_id: bytes) -> Path:
        """Return where the file of a blob is, or would be."""
        return blob_path(self._folder, blob_id)

    def part(self, transfer: bytes) -> Path:
        """Return where the bytes of a transfer gather."""
        return self._folder / _INCOMING / f"{transfer.hex()}.part"

    def name(self, written: Path, blob_id: bytes) -> None:
        """Give a synced file of this folder its name, durably."""
        path = self.path(blob_id)
        with self.disk.writing():
            written.rename(path)
            for folder in {written.parent, path.parent}:
                sync_folder(folder)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files, durably; missing ones are no error."""
        with self.disk.writing():
            removed = [path for path in paths if path.exists()]
            for path in removed:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in removed}:
                sync_folder(folder)

    def sweep(self, known: Collection[bytes], *, now: int) -> Swept:
        """Remove temporary files, files whose id is not known, and parts that are too old."""
        temporary, orphans = [], []
        # A large library has hundreds of thousands of files, so only what goes becomes a Path.
        for shard in sorted(self._folder.glob("??")):
            with os.scandir(shard) as entries:
                names = [entry.name for entry in entries]
            for name in names:
                if name.endswith(".tmp"):
                    temporary.append(shard / name)
                elif _BLOB_NAME.fullmatch(name) and bytes.fromhex(name) not in known:
                    orphans.append(shard / name)
        parts = [
            path
            for path in self._folder.glob(f"{_INCOMING}/*.part")
            if path.stat().st_mtime_ns // 1_000_000 < now - PART_KEPT_MS
        ]
        self.remove([*temporary, *orphans, *parts])
        return Swept(temporary=len(temporary), orphans=len(orphans), parts=len(parts))
