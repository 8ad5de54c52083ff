"""The keyslots: secrets that must be destroyed for good, outside the database.

Belongs here: the keyslot file's format, writing and overwriting slots in place,
and which slots are free.
Never here: which capability is over (``services``), or the index (which names each
live capability's slot).

A deleted database row leaves copies in the WAL and in free pages; a slot that is
overwritten in place leaves none where the file system writes in place. Every method
waits for the disk: call it in a thread. Any thread may.
Format: docs/spec/keyslots.md.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from node.vault.errors import DamagedError, storage_errors
from node.vault.files import FailStop, create_file, sync, sync_folder
from protocol.errors import AuthenticationError, LocalError, UnsupportedError
from protocol.labels import KDF_KEYSLOT_RECORD
from protocol.limits import TAG_BYTES
from protocol.primitives import KEY_BYTES, NONCE_BYTES, Aead, Entropy, hkdf_expand

FILE_NAME: Final = "keyslots"

VERSION: Final = 1
SLOT_BYTES: Final = 512
"""One sector of any disk: a slot is written whole or not at all."""
GENERATION_BYTES: Final = 16
CAPABILITY_ID_BYTES: Final = 16

_SALT_BYTES: Final = 32
_GROW_SLOTS: Final = 128
"""Slots made at a time: 64 KiB, so that issuing seldom changes the file's size."""
_NONCE: Final = bytes(NONCE_BYTES)
"""Each sector is sealed under a key of its own salt, so its nonce is fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyslotRecord:
    """What the issuer keeps of one capability. Without it no open can be released."""

    slot_secret: bytes = field(repr=False)
    """32 random bytes from which every issuer share is made."""
    mix: bytes = field(repr=False)
    """32 bytes of the second factor; zeros where there is none."""
    proof_key: bytes | None = field(default=None, repr=False)
    """32 bytes that check a proof of the second factor; None where there is none."""


class SlotState(Enum):
    """What a look at one slot finds."""

    EMPTY = "empty"
    RECORD = "record"
    UNWRITTEN = "unwritten"
    """All zero: growing the file was cut short by a crash."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as it is on disk, without its secrets."""

    number: int
    state: SlotState
    capability_id: bytes | None = None
    """Of a record: the capability it belongs to."""


# Sectors ----------------------------------------------------------------------------------------

# The file is sectors of 512 bytes; sector 0 is the header, sector n + 1 is slot n.
#
# prefix:   "SLK1" (4) ‖ version, 1 (1) ‖ zero (3) ‖ generation (16)
# sector 0: prefix (24) ‖ salt (32) ‖ sealed (456)
# sector n: salt (32) ‖ sealed (480)
# sealed:   ChaCha20-Poly1305(HKDF-Expand(keyslots key, label ‖ salt), zero nonce, plaintext,
#           ad = prefix ‖ sector number (8, big-endian)) with tag (16)
# header's plaintext: zeros (440)
# slot's plaintext:   kind (1) ‖ capability id (16) ‖ slot_secret (32) ‖ mix (32) ‖ proof_key (32)
#                     ‖ zeros (351)
# kind:     0 empty, all else zero; 1 record, proof_key zero; 2 record with a second factor
_MAGIC: Final = b"SLK1" + bytes((VERSION, 0, 0, 0))
_PREFIX_BYTES: Final = len(_MAGIC) + GENERATION_BYTES
_PLAINTEXT: Final = struct.Struct(
    f">B{CAPABILITY_ID_BYTES}s{KEY_BYTES}s{KEY_BYTES}s{KEY_BYTES}s351s"
)
_EMPTY, _RECORD, _RECORD_WITH_FACTOR = range(3)
_NO_KEY: Final = bytes(KEY_BYTES)


class _Sectors:
    """Seals and opens the sectors of one keyslot file."""

    def __init__(self, key: bytes, generation: bytes) -> None:
        self._key = key
        self._prefix = _MAGIC + generation

    def __repr__(self) -> str:
        return "_Sectors()"

    def seal_header(self, salt: bytes) -> bytes:
        zeros = bytes(SLOT_BYTES - _PREFIX_BYTES - _SALT_BYTES - TAG_BYTES)
        return self._prefix + self._seal(0, salt, zeros)

    def check_header_untrusted(self, sector: bytes) -> None:
        if not sector.startswith(self._prefix):
            raise AuthenticationError
        self._open(0, sector[_PREFIX_BYTES:])

    def seal_slot(
        self, slot: int, salt: bytes, capability_id: bytes, record: KeyslotRecord
    ) -> bytes:
        kind = _RECORD if record.proof_key is None else _RECORD_WITH_FACTOR
        proof_key = record.proof_key or _NO_KEY
        sizes = (len(capability_id), len(record.slot_secret), len(record.mix), len(proof_key))
        if sizes != (CAPABILITY_ID_BYTES, KEY_BYTES, KEY_BYTES, KEY_BYTES):
            raise LocalError("a keyslot takes a capability id of 16 bytes and keys of 32")
        plaintext = _PLAINTEXT.pack(
            kind, capability_id, record.slot_secret, record.mix, proof_key, b""
        )
        return self._seal(slot + 1, salt, plaintext)

    def seal_empty(self, slot: int, salt: bytes) -> bytes:
        return self._seal(slot + 1, salt, bytes(_PLAINTEXT.size))

    def open_slot_untrusted(self, slot: int, sector: bytes) -> tuple[bytes, KeyslotRecord] | None:
        """Return capability id and record, None of an empty slot; AuthenticationError."""
        plaintext = self._open(slot + 1, sector)
        kind, capability_id, slot_secret, mix, proof_key, _ = _PLAINTEXT.unpack(plaintext)
        if kind == _EMPTY:
            return None
        return capability_id, KeyslotRecord(
            slot_secret=slot_secret,
            mix=mix,
            proof_key=proof_key if kind == _RECORD_WITH_FACTOR else None,
        )

    def look_untrusted(self, slot: int, sector: bytes) -> Slot:
        if not any(sector):
            return Slot(slot, SlotState.UNWRITTEN)
        try:
            found = self.open_slot_untrusted(slot, sector)
        except AuthenticationError:
            return Slot(slot, SlotState.DAMAGED)
        if found is None:
            return Slot(slot, SlotState.EMPTY)
        return Slot(slot, SlotState.RECORD, found[0])

    def _seal(self, sector: int, salt: bytes, plaintext: bytes) -> bytes:
        return salt + self._aead(salt).seal(_NONCE, plaintext, self._binding(sector))

    def _open(self, sector: int, data: bytes) -> bytes:
        salt, sealed = data[:_SALT_BYTES], data[_SALT_BYTES:]
        return self._aead(salt).open(_NONCE, sealed, self._binding(sector))

    def _aead(self, salt: bytes) -> Aead:
        return Aead(hkdf_expand(self._key, KDF_KEYSLOT_RECORD + salt, KEY_BYTES))

    def _binding(self, sector: int) -> bytes:
        return self._prefix + sector.to_bytes(8, "big")


def _read_sectors_untrusted(data: bytes, key: bytes) -> tuple[bytes, _Sectors]:
    """Return the generation of a keyslot file from its header sector."""
    if len(data) < SLOT_BYTES:
        raise DamagedError("keyslots", "the file is too short")
    header = data[:SLOT_BYTES]
    if header[:4] == _MAGIC[:4] and header[4] > VERSION:
        raise UnsupportedError("the keyslots are of a format that this build does not know")
    generation = header[len(_MAGIC) : _PREFIX_BYTES]
    sectors = _Sectors(key, generation)
    try:
        sectors.check_header_untrusted(header)
    except AuthenticationError:
        raise DamagedError("keyslots", "the header does not authenticate") from None
    return generation, sectors


def look(path: Path, key: bytes) -> tuple[bytes, list[Slot]]:
    """Return the generation and what every slot of a keyslot file holds; changes nothing.

    Raises DamagedError where the file is missing or its header does not authenticate, and
    UnsupportedError for a newer format.
    """
    if not path.exists():
        raise DamagedError("keyslots", "the file is missing")
    with storage_errors():
        data = path.read_bytes()
    generation, sectors = _read_sectors_untrusted(data, key)
    slots = [
        sectors.look_untrusted(slot, data[start : start + SLOT_BYTES])
        for slot, start in enumerate(range(SLOT_BYTES, len(data), SLOT_BYTES))
    ]
    return generation, slots


# The file ---------------------------------------------------------------------------------------


class Keyslots:
    """The keyslot file of an open vault. Made by `create` or `open`, ended by `close`."""

    def __init__(
        self,
        descriptor: int,
        sectors: _Sectors,
        *,
        generation: bytes,
        slots: int,
        free: Iterable[int],
        repaired: Iterable[int],
        entropy: Entropy,
    ) -> None:
        self.generation = generation
        """16 random bytes that name this file; the index keeps them too."""
        self.repaired = tuple(repaired)
        """Free slots that did not authenticate when the file was opened; they are empty again."""
        self._descriptor = descriptor
        self._sectors = sectors
        self._slots = slots
        self._free = set(free)
        self._entropy = entropy
        self._lock = threading.RLock()
        self._disk = FailStop()

    @classmethod
    def create(cls, path: Path, key: bytes, *, entropy: Entropy) -> Keyslots:
        """Make a keyslot file of a new generation, every slot empty.

        Raises FileExistsError, StorageFullError, StorageFailedError.
        """
        generation = entropy(GENERATION_BYTES)
        sectors = _Sectors(key, generation)
        descriptor = create_file(path)
        keyslots = cls(
            descriptor,
            sectors,
            generation=generation,
            slots=0,
            free=(),
            repaired=(),
            entropy=entropy,
        )
        try:
            with storage_errors():
                os.pwrite(descriptor, sectors.seal_header(entropy(_SALT_BYTES)), 0)
                keyslots._grow()
                sync_folder(path.parent)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return keyslots

    @classmethod
    def open(
        cls, path: Path, key: bytes, *, live: Mapping[int, bytes], entropy: Entropy
    ) -> Keyslots:
        """Open a keyslot file; ``live`` maps each slot that the index names to its capability.

        Every other slot that is not empty is overwritten: a crash between the commit that ended
        a capability, or the one that would have begun it, and the slot left it. Raises
        DamagedError (header), UnsupportedError, StorageFullError, StorageFailedError.
        """
        with storage_errors():
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            generation, found = look(path, key)
            keyslots = cls(
                descriptor,
                _Sectors(key, generation),
                generation=generation,
                slots=len(found),
                free=(slot.number for slot in found if slot.number not in live),
                repaired=(
                    slot.number
                    for slot in found
                    if slot.number not in live and slot.state is SlotState.DAMAGED
                ),
                entropy=entropy,
            )
            keyslots.destroy(
                slot.number
                for slot in found
                if slot.number not in live and slot.state is not SlotState.EMPTY
            )
        except BaseException:
            os.close(descriptor)
            raise
        return keyslots

    @property
    def used(self) -> int:
        """How many slots are taken."""
        with self._lock:
            return self._slots - len(self._free)

    def close(self) -> None:
        """Close the file. Everything is on disk already."""
        os.close(self._descriptor)

    def allocate(self) -> int:
        """Return a free slot, which is the caller's until it is destroyed.

        Raises StorageFullError where the file must grow and cannot.
        """
        with self._lock, self._disk.writing():
            if not self._free:
                self._grow()
            return self._free.pop()

    def write(self, slot: int, capability_id: bytes, record: KeyslotRecord) -> None:
        """Write a record to an allocated slot and return once it is durable."""
        self.write_all([(slot, capability_id, record)])

    def write_all(self, records: Iterable[tuple[int, bytes, KeyslotRecord]]) -> None:
        """Write (slot, capability id, record) each, with one sync for all of them."""
        with self._lock, self._disk.writing():
            for slot, capability_id, record in records:
                self._check_allocated(slot)
                salt = self._entropy(_SALT_BYTES)
                self._put(slot, self._sectors.seal_slot(slot, salt, capability_id, record))
            sync(self._descriptor)

    def read(self, slot: int, capability_id: bytes) -> KeyslotRecord:
        """Return the record of a capability; DamagedError unless the slot holds it."""
        with storage_errors():
            sector = os.pread(self._descriptor, SLOT_BYTES, _offset(slot))
        try:
            found = self._sectors.open_slot_untrusted(slot, sector)
        except AuthenticationError:
            raise DamagedError("keyslots", f"slot {slot} does not authenticate") from None
        if found is None or found[0] != capability_id:
            raise DamagedError("keyslots", f"slot {slot} is not that capability's")
        return found[1]

    def destroy(self, slots: Iterable[int]) -> None:
        """Overwrite every byte of slots and return once that is durable; they are free then.

        Destroying an empty slot is allowed. StorageFullError leaves it to be called again.
        """
        chosen = list(slots)
        if not chosen:
            return
        with self._lock, self._disk.writing():
            self._overwrite(chosen)
            sync(self._descriptor)
            self._free.update(chosen)

    def destroy_and_sweep(self, slots: Iterable[int]) -> None:
        """Destroy slots, and overwrite every free one too, as `destroy` does.

        Slots beyond the file's end are passed over: an index from a backup may name some. What is
        allocated and not named belongs to a capability that is being issued, and stays.
        """
        with self._lock:
            there = {slot for slot in slots if 0 <= slot < self._slots}
            self.destroy(there | self._free)

    def _overwrite(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self._put(slot, self._sectors.seal_empty(slot, self._entropy(_SALT_BYTES)))

    def _grow(self) -> None:
        new = range(self._slots, self._slots + _GROW_SLOTS)
        try:
            for slot in new:
                self._put(slot, self._sectors.seal_empty(slot, self._entropy(_SALT_BYTES)))
            sync(self._descriptor)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                os.ftruncate(self._descriptor, _offset(self._slots))
            raise
        self._slots = new.stop
        self._free.update(new)

    def _put(self, slot: int, sector: bytes) -> None:
        if os.pwrite(self._descriptor, sector, _offset(slot)) != SLOT_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _check_allocated(self, slot: int) -> None:
        if slot in self._free or not 0 <= slot < self._slots:
            raise LocalError(f"keyslot {slot} is not allocated")


def _offset(slot: int) -> int:
    return (slot + 1) * SLOT_BYTES
