"""What only the published Noise vectors need: further hashes and patterns, and a reader."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from protocol.noise.patterns import XK, XXPSK0, HandshakePattern, Token, X
from protocol.noise.symmetric_state import BLAKE2B, HashFunction

E, S, EE, ES, SE, SS, PSK = Token


def _hash(name: str, algorithm: str, hash_bytes: int) -> HashFunction:
    return HashFunction(
        name=name,
        hash_bytes=hash_bytes,
        digest=lambda data: hashlib.new(algorithm, data).digest(),
        hmac=lambda key, data: hmac.digest(key, data, algorithm),
    )


HASHES: Final = {
    function.name: function
    for function in (
        BLAKE2B,
        _hash("BLAKE2s", "blake2s", 32),
        _hash("SHA256", "sha256", 32),
        _hash("SHA512", "sha512", 64),
    )
}

_XX: Final = ((E,), (E, EE, S, ES), (S, SE))

PATTERNS: Final = {
    pattern.name: pattern
    for pattern in (
        XK,
        X,
        XXPSK0,
        HandshakePattern(name="N", responder_known=True, messages=((E, ES),)),
        HandshakePattern(name="NN", messages=((E,), (E, EE))),
        HandshakePattern(name="XX", messages=_XX),
        HandshakePattern(name="IK", responder_known=True, messages=((E, ES, S, SS), (E, EE, SE))),
        HandshakePattern(
            name="KK",
            initiator_known=True,
            responder_known=True,
            messages=((E, ES, SS), (E, EE, SE)),
        ),
        HandshakePattern(name="NNpsk0", messages=((PSK, E), (E, EE))),
        HandshakePattern(
            name="IKpsk2", responder_known=True, messages=((E, ES, S, SS), (E, EE, SE, PSK))
        ),
        HandshakePattern(name="Xpsk1", responder_known=True, messages=((E, ES, S, SS, PSK),)),
        HandshakePattern(name="XXpsk3", messages=(*_XX[:2], (*_XX[2], PSK))),
        HandshakePattern(name="XXpsk0+psk3", messages=((PSK, *_XX[0]), _XX[1], (*_XX[2], PSK))),
    )
}


def read_vectors(path: Path) -> list[dict[str, Any]]:
    """Return the vectors of one file, each with ``name``, ``pattern_name`` and ``hash_name``."""
    vectors = json.loads(path.read_text())["vectors"]
    for vector in vectors:
        vector["name"] = vector.get("protocol_name") or vector["name"]
        _noise, vector["pattern_name"], _dh, _cipher, vector["hash_name"] = vector["name"].split(
            "_"
        )
    return list(vectors)
