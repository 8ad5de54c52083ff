"""Known answers of identities and sealed blobs, and the examples of their documents.

``python -m tests.protocol.examples`` writes them anew, after an intended change; read
what changed in them line by line.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import msgspec
import nacl.bindings as sodium

from protocol.encoding import decode, encode
from protocol.identity import (
    Certificate,
    LocalIdentity,
    Seeds,
    Signed,
    export_identity_file,
    fingerprint_words,
    format_fingerprint,
    make_identity,
    recovery_phrase,
    sign_statement,
    signature_input,
)
from protocol.labels import NO_TEAM, SignatureType
from protocol.messages import RosterFetch
from protocol.sealed_blob import HEADER_BYTES
from tests.protocol.sealed_blob_reference import (
    CHUNK,
    CONTEXT,
    KEY,
    OTHER_CONTEXT,
    OTHER_KEY,
    OTHER_SALT,
    REFERENCE,
    SALT,
    Reference,
    bad_tag,
    pixels,
    salamander,
)
from tests.protocol.spec_examples import fields, rewrite, table
from tests.support import ROOT

IDENTITY_VECTORS: Final = ROOT / "tests" / "vectors" / "identity.json"
SEALED_BLOB_VECTORS: Final = ROOT / "tests" / "vectors" / "sealed_blob.json"

NOW: Final = 1_700_000_000_000
TEAM: Final = bytes([7]) * 32
SEEDS: Final = Seeds(
    identity=bytes([1]) * 32,
    agreement=bytes([2]) * 32,
    log=bytes([3]) * 32,
    cosigning=bytes([4]) * 32,
)
ADDRESSES: Final = (("192.0.2.7", 7301),)


def ann() -> LocalIdentity:
    """Return the device of the examples."""
    return make_identity(SEEDS, name="Ann", now=NOW)


def certificate_of(local: LocalIdentity) -> Certificate:
    """Return the body of a device's certificate."""
    body = decode(Signed, local.public.certificate, limit=1024).body
    return decode(Certificate, body, limit=1024)


def signed_again(local: LocalIdentity, certificate: Certificate) -> bytes:
    """Sign a certificate as only the owner of the identity key can."""
    body = encode(certificate)
    return sign_statement(local.identity, SignatureType.CERTIFICATE, NO_TEAM, body)


# Identity ----------------------------------------------------------------------------------------

SMALL_ORDER_ED25519: Final = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
"""Points of order 1, 2, 4, 8 and 8."""
FIELD_PRIME: Final = 2**255 - 19
LOW_ORDER_X25519: Final = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD_PRIME - 1,
)
"""The u-coordinates of the points of order 1, 2, 4 and 8 of the curve and its twist."""


def mixed_order_certificate(local: LocalIdentity) -> tuple[bytes, bytes]:
    """Return an identity key with a small-order part, and a certificate that verifies under it.

    The key is aB + T with T of order 8. The signature verifies where the hash that multiplies
    the key is a multiple of 8, so one of eight messages will do.
    """
    scalar, nonce = (bytes([number]) + bytes(31) for number in (5, 7))
    torsion = bytes.fromhex(SMALL_ORDER_ED25519[-1])
    key = sodium.crypto_core_ed25519_add(
        sodium.crypto_scalarmult_ed25519_base_noclamp(scalar), torsion
    )
    commitment = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    for created in range(1000):
        certificate = msgspec.structs.replace(certificate_of(local), identity=key, created=created)
        body = encode(certificate)
        message = signature_input(SignatureType.CERTIFICATE, NO_TEAM, body)
        challenge = sodium.crypto_core_ed25519_scalar_reduce(
            hashlib.sha512(commitment + key + message).digest()
        )
        if challenge[0] % 8 == 0:
            product = sodium.crypto_core_ed25519_scalar_mul(challenge, scalar)
            response = sodium.crypto_core_ed25519_scalar_add(nonce, product)
            return key, encode(Signed(body=body, signature=commitment + response))
    raise AssertionError("no message whose hash is a multiple of 8")


def refused_certificates() -> dict[str, tuple[str, bytes]]:
    """Return certificates to refuse by name, each with the code of its refusal."""
    local = ann()
    good = certificate_of(local)
    data = local.public.certificate
    body = encode(good)
    second_spelling = int.from_bytes(good.agreement, "little") | 1 << 255

    def changed(**changes: Any) -> bytes:
        return signed_again(local, msgspec.structs.replace(good, **changes))

    def respelled(body: bytes) -> bytes:
        return sign_statement(local.identity, SignatureType.CERTIFICATE, NO_TEAM, body)

    return {
        "last byte missing": ("encoding", data[:-1]),
        "one byte more": ("encoding", data + b"\0"),
        "longer integer": ("encoding", respelled(body.replace(b"\x01\xa4", b"\xcc\x01\xa4", 1))),
        "unknown field": ("encoding", respelled(b"\x89" + body[1:] + b"\xa5extra\x01")),
        "field twice": ("encoding", respelled(b"\x89" + body[1:] + b"\xa7version\x01")),
        "key of 31 bytes": ("encoding", changed(log=good.log[:31])),
        "created before 1970": ("encoding", changed(created=-1)),
        "created at 2^53": ("encoding", changed(created=2**53)),
        "version 2": ("unsupported", changed(version=2)),
        "name that is empty": ("encoding", changed(name="")),
        "name of 257 bytes": ("encoding", changed(name="a" * 257)),
        "name with a direction mark": ("encoding", changed(name="Ann\u202e")),
        "name that is not composed": ("encoding", changed(name="Anne\u0301")),
        "signature changed": ("authentication", data[:-1] + bytes([data[-1] ^ 1])),
        "signed as an identity file": (
            "authentication",
            sign_statement(local.identity, SignatureType.IDENTITY_FILE, NO_TEAM, body),
        ),
        "signed for a team": (
            "authentication",
            sign_statement(local.identity, SignatureType.CERTIFICATE, TEAM, body),
        ),
        "one key twice": ("authentication", changed(cosigning=good.log)),
        "log key of order 4": (
            "authentication",
            changed(log=bytes.fromhex(SMALL_ORDER_ED25519[2])),
        ),
        "identity key of mixed order": ("authentication", mixed_order_certificate(local)[1]),
        "agreement key of low order": (
            "authentication",
            changed(agreement=LOW_ORDER_X25519[2].to_bytes(32, "little")),
        ),
        "agreement key spelled otherwise": (
            "authentication",
            changed(agreement=second_spelling.to_bytes(32, "little")),
        ),
    }


def identity_vectors() -> dict[str, Any]:
    """Return what stands in identity.json."""
    local = ann()
    return {
        "format": "docs/spec/identity.md",
        "seeds": {
            "identity": SEEDS.identity.hex(),
            "agreement": SEEDS.agreement.hex(),
            "log": SEEDS.log.hex(),
            "cosigning": SEEDS.cosigning.hex(),
        },
        "name": "Ann",
        "created": NOW,
        "certificate": local.public.certificate.hex(),
        "fingerprint": local.public.fingerprint.hex(),
        "fingerprint_text": format_fingerprint(local.public.fingerprint),
        "fingerprint_words": " ".join(fingerprint_words(local.public.fingerprint)),
        "identity_file": export_identity_file(local, ADDRESSES).hex(),
        "recovery_secret": SEEDS.identity.hex(),
        "recovery_phrase": recovery_phrase(SEEDS.identity),
        "team": TEAM.hex(),
        "statements_in_team": {
            str(kind): sign_statement(local.identity, kind, TEAM, b"body").hex()
            for kind in SignatureType
        },
        "refused_certificates": [
            {"name": name, "expect": expect, "certificate": data.hex()}
            for name, (expect, data) in refused_certificates().items()
        ],
    }


def identity_examples() -> dict[str, str]:
    """Return the examples of docs/spec/identity.md."""
    local = ann()
    signed = decode(Signed, local.public.certificate, limit=1024)
    return {
        "certificate": fields(signed.body),
        "certificate-bytes": table(
            {
                "identity seed": SEEDS.identity,
                "agreement seed": SEEDS.agreement,
                "log seed": SEEDS.log,
                "cosigning seed": SEEDS.cosigning,
                "body": signed.body,
                "signed": signature_input(SignatureType.CERTIFICATE, NO_TEAM, signed.body),
                "signature": signed.signature,
                "certificate": local.public.certificate,
            }
        ),
        "fingerprint": table(
            {
                "fingerprint": local.public.fingerprint,
                "text": format_fingerprint(local.public.fingerprint),
                "words": " ".join(fingerprint_words(local.public.fingerprint)),
            }
        ),
        "identity-file": table({"identity file": export_identity_file(local, ADDRESSES)}),
        "types": "".join(f"{kind}\n" for kind in SignatureType),
    }


# Sealed blob -------------------------------------------------------------------------------------


def sealed_blob_vectors() -> dict[str, Any]:
    """Return what stands in sealed_blob.json, made by the second writing of the format."""
    cases: list[dict[str, Any]] = []

    def case(name: str, expect: str, sealed: bytes, plaintext: bytes | None) -> None:
        record: dict[str, Any] = {"name": name, "expect": expect}
        if plaintext is not None:
            record["plaintext_bytes"] = len(plaintext)
        record["sealed_sha256"] = hashlib.sha256(sealed).hexdigest()
        record["header"] = sealed[:HEADER_BYTES].hex()
        if len(sealed) <= 400:
            record["sealed"] = sealed.hex()
        cases.append(record)

    for size in (0, 1, 16, 300, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 12_345):
        case(f"{size} bytes", "opens", REFERENCE.seal(pixels(size)), pixels(size))
    small = REFERENCE.seal(pixels(300))
    case("another key", "authentication", Reference(OTHER_KEY, CONTEXT, SALT).seal(b""), None)
    case("another context", "authentication", Reference(KEY, OTHER_CONTEXT, SALT).seal(b""), None)
    case("salt changed", "authentication", small[:8] + OTHER_SALT + small[32:], None)
    case("tag changed", "authentication", bad_tag(small), None)
    case("last byte missing", "authentication", small[:-1], None)
    case("one byte more", "authentication", small + b"\0", None)
    case("no chunk", "authentication", small[:HEADER_BYTES], None)
    case("two last chunks", "authentication", REFERENCE.blob(b"", b""), None)
    ours, theirs = REFERENCE, Reference(OTHER_KEY, CONTEXT, SALT)
    two_keys = salamander(
        (ours.derived()[:32], ours.nonce(0)), (theirs.derived()[:32], theirs.nonce(0))
    )
    case(
        "opens under two keys but for its commitment",
        "authentication",
        theirs.header() + two_keys,
        None,
    )
    case("another magic", "encoding", b"SLB2" + small[4:], None)
    case("half a header", "encoding", small[:32], None)
    for name, fixed in (
        ("another suite", b"SLB1\x02\x10\x00\x00"),
        ("another chunk size", b"SLB1\x01\x0c\x00\x00"),
        ("a reserved byte", b"SLB1\x01\x10\x00\x01"),
    ):
        case(name, "unsupported", Reference(KEY, CONTEXT, SALT, fixed).seal(b""), None)
    return {
        "format": "docs/spec/sealed-blob.md",
        "recipe": (
            "The plaintext of a case is SHAKE-128 of the ASCII string 'safelight sealed blob', "
            "plaintext_bytes long. Every case is read under the key and context here; those that "
            "open are sealed under the salt here. 'sealed' stands where it is at most 400 bytes."
        ),
        "key": KEY.hex(),
        "context": CONTEXT.hex(),
        "salt": SALT.hex(),
        "cases": cases,
    }


def sealed_blob_examples() -> dict[str, str]:
    """Return the examples of docs/spec/sealed-blob.md."""
    derived = REFERENCE.derived()
    plaintext = b"safelight"
    return {
        "blob": table(
            {
                "key": KEY,
                "team id": CONTEXT[:32],
                "fingerprint": CONTEXT[32:64],
                "image id": CONTEXT[64:80],
                "rendition": CONTEXT[80:],
                "salt": SALT,
                "info": REFERENCE.info(),
                "chunk key": derived[:32],
                "base nonce": derived[32:44],
                "commitment": derived[44:],
                "plaintext": plaintext,
                "sealed chunk 0": REFERENCE.chunk(0, plaintext),
                "blob": REFERENCE.seal(plaintext),
            }
        )
    }


# Encoding ----------------------------------------------------------------------------------------


def encoding_examples() -> dict[str, str]:
    """Return the examples of docs/spec/encoding.md."""
    message = encode(RosterFetch(have_version=5))
    one_more_field = b"\x83" + message[1:]
    return {
        "message": table({"request": message}),
        "refused-message": table(
            {
                "integer in two bytes": message[:-1] + b"\xcc\x05",
                "field twice": one_more_field + b"\xachave_version\x05",
                "field unknown": one_more_field + b"\xa4more\xc0",
                "byte behind": message + b"\x00",
            }
        ),
    }


if __name__ == "__main__":
    for vectors, made in (
        (IDENTITY_VECTORS, identity_vectors()),
        (SEALED_BLOB_VECTORS, sealed_blob_vectors()),
    ):
        vectors.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    rewrite("identity.md", identity_examples())
    rewrite("sealed-blob.md", sealed_blob_examples())
    rewrite("encoding.md", encoding_examples())
