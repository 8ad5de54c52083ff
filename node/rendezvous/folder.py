"""The data folder of a rendezvous: its key, its database, and the lock of the one server in it.

Belongs here: where things are, and that nobody else on the machine reads them.
Never here: what the database holds (``store``).

    key             the agreement secret behind the address: whoever has it is this server
    rendezvous.db   claim secrets, admissions, sealed mail
    lock            held by the server that runs
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from node.errors import NodeError
from node.vault.errors import DamagedError, storage_errors
from node.vault.files import FILE_MODE, FOLDER_MODE, make_folder, replace_file
from protocol.primitives import KEY_BYTES, Entropy


class DataFolderBusyError(NodeError):
    """Another server runs on this data folder."""

    code = "busy"


class DataFolder:
    """The folder of one server, held until `close`."""

    def __init__(self, path: Path) -> None:
        """Make the folder where there is none, and hold it; DataFolderBusyError."""
        self.path = path
        with storage_errors():
            make_folder(path)
            path.chmod(FOLDER_MODE)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lock = os.open(path / "lock", flags, FILE_MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DataFolderBusyError(
                f"a rendezvous runs on {path} already", hint="stop it, or name another --data"
            ) from None

    @property
    def database(self) -> Path:
        """Where the database is."""
        return self.path / "rendezvous.db"

    def key(self, entropy: Entropy) -> bytes:
        """Return the server's agreement secret, made at the first start."""
        path = self.path / "key"
        if not path.exists():
            if self.database.exists():
                raise DamagedError("key", f"{path} is gone", hint="put it back from a backup")
            replace_file(path, entropy(KEY_BYTES))
        with storage_errors():
            secret = path.read_bytes()
        if len(secret) != KEY_BYTES:
            raise DamagedError("key", f"{path} is no key", hint="put it back from a backup")
        return secret

    def close(self) -> None:
        """Let another server have the folder."""
        os.close(self._lock)
