"""The header file: passphrase, recovery phrase, and every way to tamper with it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from node.vault import keyring
from node.vault.errors import (
    DamagedError,
    VaultExistsError,
    VaultMissingError,
    WrongPassphraseError,
)
from protocol.errors import LimitError, LocalError, UnsupportedError
from protocol.limits import ARGON2_MEMORY_BYTES, KIB, MIB
from protocol.primitives import argon2id, sha256
from tests.node.vault.support import SMALL, flip

PASSPHRASE = "correct horse"


@pytest.fixture
def made(tmp_path: Path) -> tuple[keyring.VaultKeys, str]:
    return keyring.create(tmp_path, PASSPHRASE, entropy=os.urandom, memory_bytes=SMALL)


@pytest.fixture
def no_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that computes Argon2id."""

    def computed(*_: object, **__: object) -> bytes:
        raise AssertionError("Argon2id was computed")

    monkeypatch.setattr(keyring, "argon2id", computed)


def rewrite(home: Path, offset: int, data: bytes) -> None:
    """Forge a header: change bytes and make the checksum right again."""
    path = home / keyring.HEADER_NAME
    body = bytearray(path.read_bytes()[:-32])
    body[offset : offset + len(data)] = data
    path.write_bytes(bytes(body) + sha256(bytes(body)))


def test_passphrase_and_recovery_phrase_open_the_same_keys(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    keys, phrase = made

    assert keys == keyring.unlock(tmp_path, PASSPHRASE)
    assert keys == keyring.unlock_with_recovery(tmp_path, phrase)
    assert len(phrase.split()) == 24
    assert keys.index != keys.keyslots


def test_the_header_has_the_layout_of_its_specification(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    data = (tmp_path / keyring.HEADER_NAME).read_bytes()

    assert keyring.HEADER_BYTES == len(data) == 240
    assert struct.unpack(">4sBBHII", data[:16]) == (b"SLV1", 1, 1, 0, 3, SMALL // KIB)
    assert sha256(data[:208]) == data[208:]


def test_new_vaults_take_256_mib_unless_told_otherwise() -> None:
    assert ARGON2_MEMORY_BYTES == 256 * MIB
    assert keyring.create.__kwdefaults__ == {"memory_bytes": ARGON2_MEMORY_BYTES}


@pytest.mark.parametrize("memory", [SMALL - KIB, 1024 * MIB + KIB])
def test_a_vault_with_memory_out_of_bounds_is_never_made(tmp_path: Path, memory: int) -> None:
    with pytest.raises(LimitError):
        keyring.create(tmp_path, PASSPHRASE, entropy=os.urandom, memory_bytes=memory)

    assert not keyring.has_header(tmp_path)


def test_a_second_header_is_never_written_over_a_first(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    before = (tmp_path / keyring.HEADER_NAME).read_bytes()

    with pytest.raises(VaultExistsError):
        keyring.create(tmp_path, PASSPHRASE, entropy=os.urandom, memory_bytes=SMALL)

    assert before == (tmp_path / keyring.HEADER_NAME).read_bytes()


def test_a_wrong_passphrase_costs_one_run_of_argon2id_and_is_counted(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def counted(password: bytes, salt: bytes, *, time: int, memory_bytes: int) -> bytes:
        runs.append((time, memory_bytes))
        return argon2id(password, salt, time=time, memory_bytes=memory_bytes)

    monkeypatch.setattr(keyring, "argon2id", counted)
    with pytest.raises(WrongPassphraseError):
        keyring.unlock(tmp_path, "wrong horse")

    assert runs == [(3, SMALL)]
    assert keyring.failed_unlocks(tmp_path) == 1


def test_failed_unlocks_add_up_until_they_are_forgotten(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    for _ in range(2):
        with pytest.raises(WrongPassphraseError):
            keyring.unlock(tmp_path, "wrong horse")
    assert keyring.failed_unlocks(tmp_path) == 2

    keyring.forget_failed_unlocks(tmp_path)

    assert keyring.failed_unlocks(tmp_path) == 0


def test_a_count_that_is_not_ours_still_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / keyring.FAILURES_NAME).write_bytes(b"none at all")

    assert keyring.failed_unlocks(tmp_path) == 1


def test_another_recovery_phrase_opens_nothing_and_is_counted(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _, phrase = keyring.create(other, PASSPHRASE, entropy=os.urandom, memory_bytes=SMALL)

    with pytest.raises(WrongPassphraseError):
        keyring.unlock_with_recovery(tmp_path, phrase)

    assert keyring.failed_unlocks(tmp_path) == 1


def test_a_mistyped_recovery_phrase_says_so_and_is_not_counted(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    with pytest.raises(LocalError):
        keyring.unlock_with_recovery(tmp_path, "abandon " * 24)

    assert keyring.failed_unlocks(tmp_path) == 0


def test_after_a_change_only_the_new_passphrase_and_the_recovery_phrase_open(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    keys, phrase = made
    (tmp_path / "vault.tmp").write_bytes(b"what a crash left of an earlier change")

    keyring.change_passphrase(
        tmp_path, PASSPHRASE, "new horse", entropy=os.urandom, memory_bytes=SMALL
    )

    assert keys == keyring.unlock(tmp_path, "new horse")
    assert keys == keyring.unlock_with_recovery(tmp_path, phrase)
    with pytest.raises(WrongPassphraseError):
        keyring.unlock(tmp_path, PASSPHRASE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        keyring.FAILURES_NAME,
        keyring.ROLL_NAME,
        keyring.HEADER_NAME,
    ]
    assert keyring.roll_is_due(tmp_path)
    keyring.forget_roll(tmp_path)
    assert not keyring.roll_is_due(tmp_path)


def test_a_wrong_passphrase_changes_nothing(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    before = (tmp_path / keyring.HEADER_NAME).read_bytes()

    with pytest.raises(WrongPassphraseError):
        keyring.change_passphrase(
            tmp_path, "wrong horse", "new horse", entropy=os.urandom, memory_bytes=SMALL
        )

    assert before == (tmp_path / keyring.HEADER_NAME).read_bytes()


def test_a_forgotten_passphrase_is_replaced_by_the_recovery_phrase(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    keys, phrase = made

    recovered = keyring.recover(
        tmp_path, phrase, "new horse", entropy=os.urandom, memory_bytes=SMALL
    )

    assert keys == recovered == keyring.unlock(tmp_path, "new horse")
    assert keys == keyring.unlock_with_recovery(tmp_path, phrase)


def test_a_passphrase_is_the_same_however_its_letters_are_composed(tmp_path: Path) -> None:
    keys, _ = keyring.create(tmp_path, "caf\u00e9", entropy=os.urandom, memory_bytes=SMALL)

    assert keys == keyring.unlock(tmp_path, "cafe\u0301")


@pytest.mark.parametrize("passphrase", ["", "secret\udc80"])
def test_what_cannot_be_a_passphrase_is_refused_without_repeating_it(
    tmp_path: Path, passphrase: str, no_argon2: None
) -> None:
    with pytest.raises(LocalError) as refused:
        keyring.create(tmp_path, passphrase, entropy=os.urandom, memory_bytes=SMALL)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.usefixtures("made", "no_argon2")
def test_every_flipped_byte_of_the_header_is_damage_before_anything_is_computed(
    tmp_path: Path,
) -> None:
    path = tmp_path / keyring.HEADER_NAME
    for offset in range(keyring.HEADER_BYTES):
        flip(path, offset, 0x10)
        with pytest.raises(DamagedError) as damaged:
            keyring.unlock(tmp_path, PASSPHRASE)
        assert damaged.value.what == "header"
        with pytest.raises(DamagedError):
            keyring.check_header(tmp_path)
        flip(path, offset, 0x10)
    keyring.check_header(tmp_path)


@pytest.mark.usefixtures("made", "no_argon2")
@pytest.mark.parametrize("length", [0, 4, keyring.HEADER_BYTES - 1, keyring.HEADER_BYTES + 1])
def test_a_header_of_another_length_is_damage(tmp_path: Path, length: int) -> None:
    path = tmp_path / keyring.HEADER_NAME
    path.write_bytes(path.read_bytes().ljust(length, b"\x00")[:length])

    with pytest.raises(DamagedError):
        keyring.unlock(tmp_path, PASSPHRASE)


@pytest.mark.usefixtures("made", "no_argon2")
@pytest.mark.parametrize(
    ("time", "memory_kib"),
    [
        (3, 8),
        (3, 64 * 1024 - 1),
        (3, 1024 * 1024 + 1),
        (3, 64 * 1024 * 1024),
        (0, 65536),
        (11, 65536),
    ],
)
def test_row_7_argon2_parameters_out_of_bounds_are_refused_before_anything_is_computed(
    tmp_path: Path, time: int, memory_kib: int
) -> None:
    rewrite(tmp_path, 8, struct.pack(">II", time, memory_kib))

    with pytest.raises(DamagedError):
        keyring.unlock(tmp_path, PASSPHRASE)


@pytest.mark.usefixtures("made", "no_argon2")
@pytest.mark.parametrize(("offset", "byte"), [(3, b"2"), (4, b"\x02"), (5, b"\x02")])
def test_an_unknown_format_is_named_as_such(tmp_path: Path, offset: int, byte: bytes) -> None:
    rewrite(tmp_path, offset, byte)

    with pytest.raises(UnsupportedError):
        keyring.unlock(tmp_path, PASSPHRASE)


@pytest.mark.usefixtures("made", "no_argon2")
def test_a_reserved_byte_that_is_set_is_a_second_spelling_and_refused(tmp_path: Path) -> None:
    rewrite(tmp_path, 6, b"\x01")

    with pytest.raises(DamagedError):
        keyring.unlock(tmp_path, PASSPHRASE)


def test_a_wrap_forged_under_a_right_checksum_opens_nothing(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    wrap = (tmp_path / keyring.HEADER_NAME).read_bytes()[32:112]

    rewrite(tmp_path, 32, bytes((wrap[0] ^ 1,)) + wrap[1:])
    with pytest.raises(WrongPassphraseError):
        keyring.unlock(tmp_path, PASSPHRASE)

    rewrite(tmp_path, 32, wrap[:-1] + bytes((wrap[-1] ^ 1,)))
    with pytest.raises(DamagedError):
        keyring.unlock(tmp_path, PASSPHRASE)


def test_the_recovery_wrap_of_another_vault_does_not_open_here(
    tmp_path: Path, made: tuple[keyring.VaultKeys, str]
) -> None:
    _, phrase = made
    data = (tmp_path / keyring.HEADER_NAME).read_bytes()

    rewrite(tmp_path, 112, os.urandom(16))
    with pytest.raises(WrongPassphraseError):
        keyring.unlock_with_recovery(tmp_path, phrase)

    (tmp_path / keyring.HEADER_NAME).write_bytes(data)
    keyring.unlock_with_recovery(tmp_path, phrase)


def test_a_folder_without_a_header_has_no_vault(tmp_path: Path) -> None:
    with pytest.raises(VaultMissingError):
        keyring.unlock(tmp_path, PASSPHRASE)


def test_keys_are_in_no_repr(made: tuple[keyring.VaultKeys, str]) -> None:
    assert repr(made[0]) == "VaultKeys()"
