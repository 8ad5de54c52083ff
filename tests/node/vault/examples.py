"""The worked examples of docs/spec/vault.md and keyslots.md, computed by the code they describe."""

from __future__ import annotations

import tempfile
from pathlib import Path

from node.vault import keyring
from node.vault.keyslots import SLOT_BYTES, KeyslotRecord, Keyslots
from node.vault.log_store import place_of, pseudonym, seal_value
from protocol.audit.entry import commitment
from protocol.labels import KDF_KEYSLOT_RECORD, KDF_VAULT_PASSPHRASE, KDF_VAULT_RECOVERY
from protocol.primitives import Aead, argon2id, hkdf_expand
from tests.node.vault.support import PASSPHRASE, SMALL


class Counting:
    """Entropy that is 00 01 02 … from a first byte on, so that anybody can draw it again."""

    def __init__(self, first: int) -> None:
        self._next = first

    def __call__(self, size: int) -> bytes:
        """Return the next size bytes."""
        drawn = bytes((self._next + place) % 256 for place in range(size))
        self._next += size
        return drawn


def header() -> dict[str, bytes | str]:
    """Return every step from a passphrase to the header file of vault.md."""
    entropy = Counting(0)
    with tempfile.TemporaryDirectory() as folder:
        keys, phrase = keyring.create(Path(folder), PASSPHRASE, entropy=entropy, memory_bytes=SMALL)
        data = (Path(folder) / keyring.HEADER_NAME).read_bytes()
    drawn = Counting(0)
    vault_key, secret, recovery_salt, salt = drawn(32), drawn(32), drawn(16), drawn(16)
    stretched = argon2id(PASSPHRASE.encode(), salt, time=3, memory_bytes=SMALL)
    passphrase_secret = hkdf_expand(stretched, KDF_VAULT_PASSPHRASE, 64)
    recovery_secret = hkdf_expand(secret, KDF_VAULT_RECOVERY + recovery_salt, 64)
    return {
        "passphrase": PASSPHRASE,
        "vault key": vault_key,
        "recovery secret": secret,
        "recovery phrase": phrase,
        "passphrase salt": salt,
        "stretched": stretched,
        "wrapping key 1": passphrase_secret[:32],
        "commitment 1": passphrase_secret[32:],
        "recovery salt": recovery_salt,
        "wrapping key 2": recovery_secret[:32],
        "commitment 2": recovery_secret[32:],
        "header": data,
        "index key": keys.index,
        "keyslots key": keys.keyslots,
    }


def value() -> dict[str, bytes | str]:
    """Return how one value is sealed beside its log entry."""
    subject_key, nonce, salt = Counting(0)(32), Counting(64)(12), Counting(128)(32)
    return {
        "subject key": subject_key,
        "pseudonym": pseudonym(subject_key),
        "incarnation": (0).to_bytes(8, "big"),
        "index": (7).to_bytes(8, "big"),
        "field": "name",
        "value": "harbour.jpg",
        "salt": salt,
        "nonce": nonce,
        "commitment": commitment(salt, "name", b"harbour.jpg"),
        "sealed": seal_value(
            Aead(subject_key), nonce, place_of(0, 7), "name", salt, b"harbour.jpg"
        ),
    }


def keyslots() -> dict[str, bytes | str]:
    """Return the header and one record of the keyslot file of keyslots.md."""
    key = Counting(0)(32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keyslots"
        made = Keyslots.create(path, key, entropy=Counting(0x40))
        made._entropy = Counting(0x80)
        slot = 0
        made._free.discard(slot)
        record = KeyslotRecord(slot_secret=b"\x11" * 32, mix=b"\x22" * 32, proof_key=b"\x33" * 32)
        made.write(slot, b"\xaa" * 16, record)
        made.close()
        data = path.read_bytes()
    head, first = data[:SLOT_BYTES], data[SLOT_BYTES : 2 * SLOT_BYTES]
    return {
        "keyslots key": key,
        "generation": made.generation,
        "header salt": head[24:56],
        "header key": hkdf_expand(key, KDF_KEYSLOT_RECORD + head[24:56], 32),
        "sector 0": head,
        "capability id": b"\xaa" * 16,
        "slot_secret": record.slot_secret,
        "mix": record.mix,
        "proof_key": record.proof_key or b"",
        "slot salt": first[:32],
        "slot key": hkdf_expand(key, KDF_KEYSLOT_RECORD + first[:32], 32),
        "sector 1": first,
    }


def text(example: dict[str, bytes | str]) -> str:
    """Return an example as it stands in a specification."""
    width = max(map(len, example)) + 2
    lines = []
    for name, shown in example.items():
        if isinstance(shown, str):
            words = shown.split()
            rows = (
                [" ".join(words[at : at + 8]) for at in range(0, len(words), 8)]
                if len(words) > 8
                else [shown]
            )
        else:
            rows = [shown[at : at + 32].hex() for at in range(0, len(shown), 32)]
        for place, row in enumerate(rows):
            lines.append((name if place == 0 else "").ljust(width) + row)
    return "\n".join(lines)
