"""Every published vector of 25519_ChaChaPoly, but for the fallback set, passes both ways."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.noise.cipher_state import CipherState
from protocol.noise.handshake_state import HandshakeState
from tests.protocol.noise.published import HASHES, PATTERNS, read_vectors
from tests.support import vectors

FILES = {
    "noise-cacophony-25519-chachapoly.json": 44,
    "noise-snow-25519-chachapoly.json": 32,
    "noise-c-basic-25519-chachapoly.json": 28,
}


def _side(vector: dict[str, Any], prefix: str) -> HandshakeState:
    def key(name: str) -> bytes | None:
        text = vector.get(f"{prefix}_{name}")
        return None if text is None else bytes.fromhex(text)

    pattern = PATTERNS[vector["pattern_name"]]
    initiator = prefix == "init"
    knows_remote = pattern.responder_known if initiator else pattern.initiator_known
    ephemeral = key("ephemeral")
    return HandshakeState(
        pattern,
        initiator=initiator,
        prologue=bytes.fromhex(vector[f"{prefix}_prologue"]),
        s=key("static"),
        rs=key("remote_static") if knows_remote else None,
        entropy=None if ephemeral is None else lambda size: ephemeral[:size],
        psks=tuple(bytes.fromhex(psk) for psk in vector.get(f"{prefix}_psks", [])),
        function=HASHES[vector["hash_name"]],
    )


def _run(vector: dict[str, Any]) -> None:
    initiator, responder = _side(vector, "init"), _side(vector, "resp")
    one_way = len(initiator._pattern.messages) == 1
    messages = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"]))
        for message in vector["messages"]
    ]
    handshake = len(initiator._pattern.messages)
    for number, (payload, ciphertext) in enumerate(messages[:handshake]):
        writer, reader = (initiator, responder) if number % 2 == 0 else (responder, initiator)

        assert ciphertext == writer.write_message(payload)
        assert payload == reader.read_message_untrusted(ciphertext)

    assert initiator.complete
    assert responder.complete
    assert initiator.handshake_hash == responder.handshake_hash
    if "handshake_hash" in vector:
        assert vector["handshake_hash"] == initiator.handshake_hash.hex()
    sending: tuple[CipherState, CipherState] = initiator.split()
    receiving = responder.split()
    for number, (payload, ciphertext) in enumerate(messages[handshake:], start=handshake):
        direction = 0 if one_way else number % 2

        assert ciphertext == sending[direction].encrypt_with_ad(b"", payload)
        assert payload == receiving[direction].decrypt_with_ad(b"", ciphertext)


@pytest.mark.parametrize("file", FILES)
def test_every_published_vector_passes_in_both_roles(file: str) -> None:
    cases = read_vectors(vectors("noise", file))

    assert FILES[file] == len(cases)
    for vector in cases:
        _run(vector)
