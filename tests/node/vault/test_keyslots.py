"""Keyslots: sealed in place, bound to their place, and gone once destroyed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from node.vault.errors import DamagedError, StorageFailedError, StorageFullError
from node.vault.keyslots import SLOT_BYTES, KeyslotRecord, Keyslots, Slot, SlotState, look
from protocol.errors import LocalError, UnsupportedError
from tests.node.vault.disks import ext4
from tests.node.vault.support import flip

KEY = bytes(range(32))
CAPABILITY = b"\xaa" * 16
OTHER = b"\xbb" * 16
PLAIN = KeyslotRecord(slot_secret=b"\x01" * 32, mix=bytes(32))
WITH_FACTOR = KeyslotRecord(slot_secret=b"\x02" * 32, mix=b"\x03" * 32, proof_key=b"\x04" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyslots"


@pytest.fixture
def keyslots(path: Path) -> Iterator[Keyslots]:
    made = Keyslots.create(path, KEY, entropy=os.urandom)
    yield made
    made.close()


def reopened(path: Path, live: dict[int, bytes]) -> Keyslots:
    return Keyslots.open(path, KEY, live=live, entropy=os.urandom)


def sector(path: Path, slot: int) -> bytes:
    return path.read_bytes()[(slot + 1) * SLOT_BYTES :][:SLOT_BYTES]


def states(path: Path) -> dict[int, Slot]:
    return {slot.number: slot for slot in look(path, KEY)[1]}


@pytest.mark.parametrize("record", [PLAIN, WITH_FACTOR], ids=["plain", "factor"])
def test_a_record_is_read_back_also_after_reopening(
    path: Path, keyslots: Keyslots, record: KeyslotRecord
) -> None:
    slot = keyslots.allocate()
    keyslots.write(slot, CAPABILITY, record)
    again = reopened(path, {slot: CAPABILITY})

    assert record == keyslots.read(slot, CAPABILITY) == again.read(slot, CAPABILITY)
    assert keyslots.generation == again.generation
    assert states(path)[slot] == Slot(slot, SlotState.RECORD, CAPABILITY)
    again.close()


def test_the_file_is_sectors_of_512_bytes_without_a_secret_in_the_clear(
    path: Path, keyslots: Keyslots
) -> None:
    slot = keyslots.allocate()
    keyslots.write(slot, CAPABILITY, WITH_FACTOR)
    data = path.read_bytes()

    assert len(data) == (1 + 128) * SLOT_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    for secret in (CAPABILITY, WITH_FACTOR.slot_secret, WITH_FACTOR.mix, b"\x04" * 32):
        assert secret not in data


def test_a_slot_is_bound_to_its_capability(keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    keyslots.write(slot, CAPABILITY, PLAIN)

    with pytest.raises(DamagedError):
        keyslots.read(slot, OTHER)


def test_a_slot_is_bound_to_its_number_and_its_file(path: Path, keyslots: Keyslots) -> None:
    first, second = keyslots.allocate(), keyslots.allocate()
    keyslots.write(first, CAPABILITY, PLAIN)
    stolen = sector(path, first)
    with path.open("r+b") as file:
        file.seek((second + 1) * SLOT_BYTES)
        file.write(stolen)
    other = Keyslots.create(path.with_name("other"), KEY, entropy=os.urandom)
    with path.with_name("other").open("r+b") as file:
        file.seek((first + 1) * SLOT_BYTES)
        file.write(stolen)

    with pytest.raises(DamagedError):
        keyslots.read(second, CAPABILITY)
    with pytest.raises(DamagedError):
        other.read(first, CAPABILITY)
    assert keyslots.generation != other.generation
    other.close()


def test_destroying_overwrites_every_byte_of_the_slot(path: Path, keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    keyslots.write(slot, CAPABILITY, PLAIN)
    before = sector(path, slot)

    keyslots.destroy([slot])

    # A random byte may fall on its old value; a run of them does not.
    after = sector(path, slot)
    assert all(before[i : i + 8] != after[i : i + 8] for i in range(SLOT_BYTES - 8))
    assert states(path)[slot].state is SlotState.EMPTY
    with pytest.raises(DamagedError):
        keyslots.read(slot, CAPABILITY)


def test_destroying_and_sweeping_spares_only_what_is_being_issued(
    path: Path, keyslots: Keyslots
) -> None:
    slots = [keyslots.allocate() for _ in range(130)]
    keyslots.write_all([(slot, CAPABILITY, PLAIN) for slot in slots])
    *ended, issued = slots
    free = keyslots.allocate()
    keyslots.destroy([free])
    before = {slot: sector(path, slot) for slot in (*slots, free)}
    length = path.stat().st_size

    # An index from a backup names slots that this file never had.
    keyslots.destroy_and_sweep([*ended, 100_000])

    assert all(sector(path, slot) != before[slot] for slot in (*ended, free))
    for slot in ended:
        with pytest.raises(DamagedError):
            keyslots.read(slot, CAPABILITY)
    assert keyslots.read(issued, CAPABILITY) == PLAIN
    assert path.stat().st_size == length
    assert issued not in {keyslots.allocate() for _ in range(len(ended))}
    assert path.stat().st_size == length


def test_a_destroyed_slot_is_used_again_and_destroying_twice_is_harmless(
    keyslots: Keyslots,
) -> None:
    slots = [keyslots.allocate() for _ in range(128)]
    keyslots.destroy(slots[:1])
    keyslots.destroy(slots[:1])

    assert keyslots.allocate() == slots[0]


def test_the_file_grows_when_every_slot_is_taken(path: Path, keyslots: Keyslots) -> None:
    slots = {keyslots.allocate() for _ in range(200)}
    keyslots.write_all((slot, CAPABILITY, PLAIN) for slot in sorted(slots))

    assert len(slots) == 200
    assert path.stat().st_size == (1 + 256) * SLOT_BYTES
    assert {slot for slot, one in states(path).items() if one.state is SlotState.RECORD} == slots


def test_no_slot_is_given_twice_to_threads(keyslots: Keyslots) -> None:
    given: list[int] = []

    def take() -> None:
        given.extend(keyslots.allocate() for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(given)) == 200


def test_a_slot_that_is_not_allocated_is_not_written(keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    keyslots.destroy([slot])

    for wrong in (slot, 4000, -1):
        with pytest.raises(LocalError):
            keyslots.write(wrong, CAPABILITY, PLAIN)


def test_a_record_of_wrong_sizes_is_not_written(keyslots: Keyslots) -> None:
    slot = keyslots.allocate()

    with pytest.raises(LocalError):
        keyslots.write(slot, b"short", PLAIN)
    with pytest.raises(LocalError):
        keyslots.write(slot, CAPABILITY, KeyslotRecord(slot_secret=b"short", mix=bytes(32)))


def test_opening_destroys_what_no_live_capability_uses(path: Path, keyslots: Keyslots) -> None:
    live, ended = keyslots.allocate(), keyslots.allocate()
    keyslots.write_all([(live, CAPABILITY, PLAIN), (ended, OTHER, PLAIN)])
    before = sector(path, ended)

    again = reopened(path, {live: CAPABILITY})

    assert again.read(live, CAPABILITY) == PLAIN
    assert states(path)[ended].state is SlotState.EMPTY
    assert before != sector(path, ended)
    assert again.repaired == ()
    again.close()


def test_opening_repairs_a_damaged_free_slot_and_says_so(path: Path, keyslots: Keyslots) -> None:
    live = keyslots.allocate()
    free = next(slot for slot in range(128) if slot != live)
    keyslots.write(live, CAPABILITY, PLAIN)
    for slot in (live, free):
        flip(path, (slot + 1) * SLOT_BYTES + 100)

    again = reopened(path, {live: CAPABILITY})

    assert again.repaired == (free,)
    assert states(path)[free].state is SlotState.EMPTY
    assert states(path)[live].state is SlotState.DAMAGED
    with pytest.raises(DamagedError):
        again.read(live, CAPABILITY)
    again.close()


@pytest.mark.parametrize("tail", [SLOT_BYTES * 3, SLOT_BYTES + 100])
def test_growth_that_a_crash_cut_short_is_finished_silently(
    path: Path, keyslots: Keyslots, tail: int
) -> None:
    with path.open("ab") as file:
        file.write(bytes(tail))

    again = reopened(path, {})

    assert again.repaired == ()
    assert {SlotState.EMPTY} == {slot.state for slot in look(path, KEY)[1]}
    assert path.stat().st_size % SLOT_BYTES == 0
    again.close()


def test_every_flipped_byte_is_seen(path: Path, keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    keyslots.write(slot, CAPABILITY, PLAIN)
    empty = next(number for number in range(128) if number != slot)
    data = path.read_bytes()
    small = path.with_name("small")

    for offset in range(SLOT_BYTES):
        small.write_bytes(data)
        flip(small, offset, 0x40)
        with pytest.raises((DamagedError, UnsupportedError)):
            look(small, KEY)
    # The rest of the file does not matter to a slot, so the test looks at two of them.
    for number in (slot, empty):
        start = (number + 1) * SLOT_BYTES
        for offset in range(start, start + SLOT_BYTES, 3):
            small.write_bytes(data)
            flip(small, offset, 0x01)
            assert states(small)[number].state is SlotState.DAMAGED


@pytest.mark.parametrize("length", [0, 4, SLOT_BYTES - 1])
def test_a_file_cut_to_less_than_its_header_is_damaged(
    path: Path, keyslots: Keyslots, length: int
) -> None:
    os.truncate(path, length)

    with pytest.raises(DamagedError):
        look(path, KEY)


def test_another_key_opens_nothing(path: Path, keyslots: Keyslots) -> None:
    with pytest.raises(DamagedError):
        look(path, bytes(32))


def test_a_newer_format_is_named_as_such(path: Path, keyslots: Keyslots) -> None:
    flip(path, 4, 0x03)

    with pytest.raises(UnsupportedError):
        look(path, KEY)


def test_a_missing_file_is_damage(path: Path) -> None:
    with pytest.raises(DamagedError):
        look(path, KEY)


def test_a_full_disk_is_said_and_the_same_call_works_later(path: Path, keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    good = os.dup(keyslots._descriptor)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, keyslots._descriptor)
    with pytest.raises(StorageFullError):
        keyslots.write(slot, CAPABILITY, PLAIN)

    os.dup2(good, keyslots._descriptor)
    keyslots.write(slot, CAPABILITY, PLAIN)

    assert keyslots.read(slot, CAPABILITY) == PLAIN
    os.close(full)
    os.close(good)


def test_a_failed_disk_stops_every_later_write(path: Path, keyslots: Keyslots) -> None:
    slot = keyslots.allocate()
    good = os.dup(keyslots._descriptor)
    read_only = os.open(path, os.O_RDONLY)
    os.dup2(read_only, keyslots._descriptor)
    with pytest.raises(StorageFailedError):
        keyslots.write(slot, CAPABILITY, PLAIN)

    os.dup2(good, keyslots._descriptor)
    with pytest.raises(StorageFailedError):
        keyslots.write(slot, CAPABILITY, PLAIN)
    with pytest.raises(StorageFailedError):
        keyslots.destroy([slot])
    os.close(read_only)
    os.close(good)


def test_secrets_are_in_no_repr(keyslots: Keyslots) -> None:
    assert repr(WITH_FACTOR) == "KeyslotRecord()"
    assert KEY.hex() not in repr(keyslots._sectors)


# Row 27: what is left on a real file system -------------------------------------------------------


class ForgetfulKeyslots(Keyslots):
    """Frees a slot without overwriting it: what the residue test must catch."""

    def _overwrite(self, slots: Iterable[int]) -> None:
        pass


def residue(tmp_path: Path, kind: type[Keyslots]) -> tuple[int, int]:
    """Return how often a slot's bytes are on the raw disk before and after it is destroyed."""
    with ext4(tmp_path) as (image, folder):
        keyslots = kind.create(folder / "keyslots", KEY, entropy=os.urandom)
        slot = keyslots.allocate()
        keyslots.write(slot, CAPABILITY, WITH_FACTOR)
        written = sector(folder / "keyslots", slot)
        before = image.read_bytes().count(written)
        keyslots.destroy([slot])
        after = image.read_bytes()
        keyslots.close()
    # Not even a piece of it may be left.
    pieces = [written[start : start + 32] for start in range(0, SLOT_BYTES, 32)]
    return before, sum(after.count(piece) for piece in pieces)


@pytest.mark.root
def test_row_27_a_destroyed_slot_is_nowhere_on_a_real_disk(tmp_path: Path) -> None:
    assert residue(tmp_path, Keyslots) == (1, 0)


@pytest.mark.root
def test_row_27_the_residue_test_sees_a_slot_that_is_not_overwritten(tmp_path: Path) -> None:
    before, after = residue(tmp_path, ForgetfulKeyslots)

    assert before == 1
    assert after == 16
