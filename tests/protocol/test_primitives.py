"""The door to the libraries: published answers, and no error but our own."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import AuthenticationError, LocalError
from protocol.primitives import (
    Aead,
    Sha256,
    SigningKey,
    Spake2,
    argon2id,
    blake2b,
    equal,
    hkdf_expand,
    hmac_blake2b,
    hmac_sha512,
    is_valid_point,
    sha256,
    verify_signature,
    x25519,
    x25519_public,
)
from tests.protocol import spake2_reference
from tests.protocol.people import stream
from tests.support import vectors

# Ed25519 -----------------------------------------------------------------------------------------

# RFC 8032, section 7.1: secret, public, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_ed25519_is_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(seed))

    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verify_signature(key.public, bytes.fromhex(message), bytes.fromhex(signature))


def test_a_signature_holds_for_its_key_and_message_only() -> None:
    key, other = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
    signature = key.sign(b"message")
    verify_signature(key.public, b"message", signature)

    for public, message, claimed in (
        (other.public, b"message", signature),
        (key.public, b"massage", signature),
        (key.public, b"", signature),
        (key.public, b"message", bytes(64)),
        (key.public, b"message", signature[:-1]),
        (key.public, b"message", signature + b"\0"),
        (key.public, b"", signature + b"message"),
        (key.public[:-1], b"message", signature),
        (key.public + b"\0", b"message", signature),
        (b"", b"", b""),
    ):
        with pytest.raises(AuthenticationError):
            verify_signature(public, message, claimed)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_one_size(size: int) -> None:
    with pytest.raises(LocalError):
        SigningKey(bytes(size))


def test_the_published_edge_cases_of_ed25519_end_as_they_did_when_counted() -> None:
    cases = json.loads(vectors("ed25519", "cctv-ed25519vectors.json").read_text())
    accepted = []
    for case in cases:
        public, signature = bytes.fromhex(case["key"]), bytes.fromhex(case["sig"])
        try:
            verify_signature(public, case["msg"].encode(), signature)
        except AuthenticationError:
            continue
        accepted.append((public, set(case["flags"] or ())))
    on_refused_keys = [flags for public, flags in accepted if not is_valid_point(public)]

    # Another count means that the library verifies by another rule than when this was written.
    assert len(cases) == 914
    assert len(accepted) == 43
    # Every key under which a surprising signature verifies is one that no certificate may hold.
    assert len(on_refused_keys) == 42
    assert all("low_order_component_A" in flags for flags in on_refused_keys)
    assert [flags for public, flags in accepted if is_valid_point(public)] == [set()]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_point_has_one_size(size: int) -> None:
    assert not is_valid_point(bytes(size))


def test_a_point_that_is_not_canonical_is_not_valid() -> None:
    base = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
    prime = (2**255 - 19).to_bytes(32, "little")

    assert is_valid_point(base)
    assert not is_valid_point(prime)
    assert not is_valid_point(b"\xff" * 32)


# X25519 ------------------------------------------------------------------------------------------


def test_x25519_is_rfc_7748() -> None:
    # RFC 7748, section 5.2, first vector; and section 6.1, Bob's pair.
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")

    assert x25519(scalar, point).hex() == (
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    )
    assert x25519_public(bob).hex() == (
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    assert x25519(scalar, x25519_public(bob)) == x25519(bob, x25519_public(scalar))


@pytest.mark.parametrize("point", [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18])
def test_a_shared_secret_of_zero_is_refused(point: int) -> None:
    with pytest.raises(AuthenticationError):
        x25519(bytes(range(32)), point.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_x25519_key_has_one_size(size: int) -> None:
    with pytest.raises(AuthenticationError):
        x25519(bytes(32), bytes(size))


# ChaCha20-Poly1305 -------------------------------------------------------------------------------


def test_the_aead_is_rfc_8439() -> None:
    # RFC 8439, section 2.8.2.
    aead = Aead(bytes(range(0x80, 0xA0)))
    nonce = bytes.fromhex("070000004041424344454647")
    ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    sealed = aead.seal(nonce, plaintext, ad)

    assert sealed.hex().startswith("d31a8d34648e60db7b86afbc53ef7ec2")
    assert sealed.hex().endswith("1ae10b594f09e26a7e902ecbd0600691")
    assert aead.open(nonce, sealed, ad) == plaintext


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_bulk_data_may_be_a_view_or_a_buffer(plaintext: bytes, ad: bytes) -> None:
    aead, nonce = Aead(bytes(32)), bytes(12)
    sealed = aead.seal(nonce, plaintext, ad)

    assert aead.seal(nonce, memoryview(plaintext), ad) == sealed
    assert aead.seal(nonce, bytearray(plaintext), ad) == sealed
    assert aead.open(nonce, memoryview(sealed), ad) == plaintext
    assert aead.open(nonce, bytearray(sealed), ad) == plaintext


@pytest.mark.parametrize("size", range(17))
def test_bytes_too_short_for_a_tag_are_refused(size: int) -> None:
    with pytest.raises(AuthenticationError):
        Aead(bytes(32)).open(bytes(12), bytes(size))


def test_every_bit_under_a_tag_matters() -> None:
    aead, nonce = Aead(bytes(32)), bytes(12)
    sealed = aead.seal(nonce, b"message", b"ad")
    for bit in range(8 * len(sealed)):
        edited = bytearray(sealed)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            aead.open(nonce, edited, b"ad")
    for key, other_nonce, ad in (
        (bytes([1]) * 32, nonce, b"ad"),
        (bytes(32), bytes([1]) * 12, b"ad"),
        (bytes(32), nonce, b""),
    ):
        with pytest.raises(AuthenticationError):
            Aead(key).open(other_nonce, sealed, ad)


def test_neither_a_signing_key_nor_an_aead_shows_its_secret() -> None:
    secret = bytes(range(32))

    assert repr(Aead(secret)) == "Aead()"
    assert repr(SigningKey(secret)) == f"SigningKey(public={SigningKey(secret).public.hex()})"


# Hashes and derivations --------------------------------------------------------------------------


def test_hashes_are_those_of_their_standards() -> None:
    # FIPS 180-4, RFC 7693 appendix A, RFC 4231 case 1.
    assert sha256(b"abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert blake2b(b"abc", size=64).hex() == (
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
    )
    assert hmac_sha512(b"\x0b" * 20, b"Hi There").hex() == (
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
    )


def test_blake2b_is_32_bytes_unless_told_and_takes_a_key() -> None:
    assert blake2b(b"a") == hashlib.blake2b(b"a", digest_size=32).digest()
    assert (
        blake2b(b"a", size=16, key=b"k") == hashlib.blake2b(b"a", digest_size=16, key=b"k").digest()
    )


@given(st.lists(st.binary(max_size=80)))
def test_sha_256_in_pieces_is_sha_256_of_the_whole(pieces: list[bytes]) -> None:
    running = Sha256()
    for piece in pieces:
        running.update(memoryview(piece))

    assert running.digest() == sha256(b"".join(pieces))


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_hmac_blake2b_is_hmac_over_blocks_of_128_bytes(key: bytes, data: bytes) -> None:
    block = (key if len(key) <= 128 else hashlib.blake2b(key).digest()).ljust(128, b"\0")
    inner = hashlib.blake2b(bytes(byte ^ 0x36 for byte in block) + data).digest()
    outer = hashlib.blake2b(bytes(byte ^ 0x5C for byte in block) + inner).digest()

    assert hmac_blake2b(key, data) == outer


@given(st.binary(min_size=1, max_size=80), st.binary(max_size=80), st.integers(1, 300))
def test_hkdf_expand_is_rfc_5869(key: bytes, info: bytes, size: int) -> None:
    output, block = b"", b""
    for counter in range(1, 6):
        block = hmac.digest(key, block + info + bytes([counter]), "sha512")
        output += block

    assert hkdf_expand(key, info, size) == output[:size]


def test_argon2id_is_the_one_of_rfc_9106() -> None:
    other = Argon2id(salt=b"sixteen bytes ok", length=32, iterations=3, lanes=1, memory_cost=1024)

    assert argon2id(b"phrase", b"sixteen bytes ok", time=3, memory_bytes=1024 * 1024) == (
        other.derive(b"phrase")
    )


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_equal_compares(left: bytes, right: bytes) -> None:
    assert equal(left, right) == (left == right)
    assert equal(left, bytes(left))


# SPAKE2 ------------------------------------------------------------------------------------------

NAMES = {"id_a": b"one", "id_b": b"other"}


def _spake2(*, first: bool, password: bytes = b"canyon-lava", label: str = "") -> Spake2:
    return Spake2(first=first, password=password, entropy=stream(f"{first}{label}"), **NAMES)


SECRETS = st.integers(1, 2**512 - 1).filter(lambda one: one % spake2_reference.ORDER != 0)


@settings(deadline=None, max_examples=20)
@given(password=st.binary(max_size=40), secrets=st.tuples(SECRETS, SECRETS))
def test_spake2_is_the_one_of_the_specification(password: bytes, secrets: tuple[int, int]) -> None:
    draws = dict(zip((True, False), (one.to_bytes(64, "big") for one in secrets), strict=True))
    sides = {
        first: Spake2(first=first, password=password, entropy=io.BytesIO(draw).read, **NAMES)
        for first, draw in draws.items()
    }
    for first, side in sides.items():
        theirs = sides[not first].message

        assert side.message == spake2_reference.message(
            first=first, password=password, entropy=draws[first]
        )
        assert side.finish_untrusted(theirs) == spake2_reference.key(
            first=first, password=password, entropy=draws[first], theirs=theirs, **NAMES
        )


def test_only_the_same_password_and_names_give_the_same_key() -> None:
    one, other = _spake2(first=True), _spake2(first=False)
    wrong = _spake2(first=False, password=b"canyon-large")
    renamed = Spake2(
        first=False, password=b"canyon-lava", id_a=b"one", id_b=b"x", entropy=stream("False")
    )
    message = one.message
    key = one.finish_untrusted(other.message)

    assert renamed.message == other.message
    assert other.finish_untrusted(message) == key
    assert wrong.finish_untrusted(message) != key
    assert renamed.finish_untrusted(message) != key


@pytest.mark.parametrize(
    "point",
    [
        b"",
        bytes(31),
        bytes(33),
        b"\xff" * 32,
        *(vector.to_bytes(32, "little") for vector in (0, 1, 2, 2**255 - 20, 2**255 - 18)),
        (1 | 1 << 255).to_bytes(32, "little"),
        (2**255 - 18 | 1 << 255).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ],
    ids=lambda point: point.hex()[:8] + f" of {len(point)}",
)
def test_row_17_spake2_takes_points_of_prime_order_in_one_spelling_only(point: bytes) -> None:
    with pytest.raises(AuthenticationError):
        _spake2(first=True).finish_untrusted(b"B" + point)


@pytest.mark.parametrize("side_byte", [b"A", b"B", b"S", b"\x00"])
def test_spake2_refuses_its_own_message_whatever_side_it_claims(side_byte: bytes) -> None:
    side = _spake2(first=True)

    with pytest.raises(AuthenticationError):
        side.finish_untrusted(side_byte + side.message[1:])


def test_spake2_refuses_another_message_of_its_own_side() -> None:
    with pytest.raises(AuthenticationError):
        _spake2(first=True).finish_untrusted(_spake2(first=True, label="x").message)


@settings(deadline=None)
@given(data=st.binary(max_size=64))
def test_random_bytes_are_no_message_of_spake2(data: bytes) -> None:
    with pytest.raises(AuthenticationError):
        _spake2(first=True).finish_untrusted(data)


def test_the_command_line_does_not_wait_for_spake2() -> None:
    """The library computes points when it is imported: only a joining pays for that."""
    program = "import sys, protocol.joining.session; sys.exit('spake2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
