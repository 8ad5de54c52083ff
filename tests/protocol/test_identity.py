"""Certificates, signed statements and identity files."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import msgspec
import nacl.bindings as sodium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    RemoteError,
    UnsupportedError,
)
from protocol.identity import (
    Identity,
    IdentityFile,
    LastingSeeds,
    LocalIdentity,
    Seeds,
    Signed,
    export_identity_file,
    fingerprint,
    format_fingerprint,
    is_address,
    load_identity,
    make_identity,
    parse_certificate_untrusted,
    parse_fingerprint,
    parse_identity_file_untrusted,
    recovery_secret,
    sign_statement,
    signature_input,
    verify_statement_untrusted,
)
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_CERTIFICATE_BYTES, MAX_IDENTITY_FILE_BYTES, MAX_NAME_BYTES
from protocol.primitives import SigningKey
from tests.protocol.examples import (
    FIELD_PRIME,
    IDENTITY_VECTORS,
    LOW_ORDER_X25519,
    NOW,
    SMALL_ORDER_ED25519,
    TEAM,
    ann,
    certificate_of,
    identity_vectors,
    mixed_order_certificate,
    signed_again,
)


def seeds(number: int) -> Seeds:
    """Return four seeds that differ from each other and from another number's."""
    parts = (hashlib.sha256(f"{number} {part}".encode()).digest() for part in range(4))
    return Seeds.generate(lambda size: next(parts)[:size])


def device(number: int = 1, *, name: str = "Ann's laptop") -> LocalIdentity:
    return make_identity(seeds(number), name=name, now=NOW)


# Certificates ------------------------------------------------------------------------------------


def test_a_certificate_gives_back_what_it_was_made_from() -> None:
    local = device()
    parsed = parse_certificate_untrusted(local.public.certificate)

    assert local.public == parsed
    assert parsed.name == "Ann's laptop"
    assert parsed.created == NOW
    assert parsed.identity_key == local.identity.public
    assert parsed.log_key == local.log.public
    assert parsed.cosigning_key == local.cosigning.public
    assert parsed.agreement_key == sodium.crypto_scalarmult_base(local.agreement_secret)


def test_a_device_loads_from_its_seeds_and_its_certificate() -> None:
    local = device()
    loaded = load_identity(seeds(1), local.public.certificate)

    assert local.public == loaded.public
    assert local.agreement_secret == loaded.agreement_secret
    assert local.identity.sign(b"x") == loaded.identity.sign(b"x")


@pytest.mark.parametrize("part", ["identity", "agreement", "log", "cosigning"])
def test_seeds_of_another_device_do_not_load(part: str) -> None:
    local = device()
    mixed = {field: getattr(seeds(1), field) for field in Seeds.__dataclass_fields__}
    mixed[part] = getattr(seeds(2), part)

    with pytest.raises(LocalError):
        load_identity(Seeds(**mixed), local.public.certificate)


def test_a_device_whose_first_log_key_is_erased_loads_without_it() -> None:
    local = device()
    erased = LastingSeeds(
        identity=seeds(1).identity, agreement=seeds(1).agreement, cosigning=seeds(1).cosigning
    )

    loaded = load_identity(erased, local.public.certificate)

    assert loaded.public == local.public
    assert local.log.public == local.public.log_key
    with pytest.raises(LocalError, match="erased"):
        _ = loaded.log


def test_four_seeds_are_drawn_apart() -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    made = Seeds.generate(entropy)

    assert drawn == [32, 32, 32, 32]
    assert len({made.identity, made.agreement, made.log, made.cosigning}) == 4


def test_nothing_that_holds_a_secret_shows_it() -> None:
    local = device()
    shown = repr(seeds(1)) + repr(local) + repr(local.identity)
    secrets = (seeds(1).identity, seeds(1).agreement, seeds(1).log, seeds(1).cosigning)

    assert format_fingerprint(local.public.fingerprint) in shown
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_the_fingerprint_covers_every_key_and_nothing_else() -> None:
    local = device()
    other_name = device(name="Bob")
    keys = [bytes([number]) * 32 for number in range(4)]
    changed = [
        fingerprint(*[b"\xff" * 32 if at == place else key for at, key in enumerate(keys)])
        for place in range(4)
    ]

    assert local.public.fingerprint == other_name.public.fingerprint
    assert len({fingerprint(*keys), *changed}) == 5
    assert fingerprint(*keys) != fingerprint(*reversed(keys))


def test_a_certificate_of_the_longest_name_is_within_its_limit() -> None:
    local = make_identity(seeds(1), name="n" * MAX_NAME_BYTES, now=2**53 - 1)

    assert len(local.public.certificate) <= MAX_CERTIFICATE_BYTES


@pytest.mark.parametrize("name", ["", " Ann", "Ann\n", "a" * 257, "\u202eAnn", "e\u0301"])
def test_a_device_takes_no_name_that_peers_refuse(name: str) -> None:
    with pytest.raises(LocalError):
        make_identity(seeds(1), name=name, now=NOW)

    local = device()
    with pytest.raises(EncodingError):
        parse_certificate_untrusted(
            signed_again(local, msgspec.structs.replace(certificate_of(local), name=name))
        )


def test_every_bit_of_a_certificate_matters() -> None:
    data = device().public.certificate
    for bit in range(8 * len(data)):
        edited = bytearray(data)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            parse_certificate_untrusted(bytes(edited))


def test_every_cut_of_a_certificate_is_refused() -> None:
    data = device().public.certificate
    for size in range(len(data)):
        with pytest.raises(EncodingError):
            parse_certificate_untrusted(data[:size])


def test_a_certificate_over_its_limit_is_not_parsed() -> None:
    with pytest.raises(EncodingError):
        parse_certificate_untrusted(bytes(MAX_CERTIFICATE_BYTES + 1))


@pytest.mark.parametrize("version", [0, 2, -1, 2**63])
def test_another_version_is_unsupported(version: int) -> None:
    local = device()
    certificate = msgspec.structs.replace(certificate_of(local), version=version)

    with pytest.raises(UnsupportedError):
        parse_certificate_untrusted(signed_again(local, certificate))


@pytest.mark.parametrize("created", [-1, 2**53])
def test_a_creation_time_is_a_number_that_json_holds(created: int) -> None:
    local = device()
    certificate = msgspec.structs.replace(certificate_of(local), created=created)

    with pytest.raises(EncodingError):
        parse_certificate_untrusted(signed_again(local, certificate))


@pytest.mark.parametrize("key", ["identity", "agreement", "log", "cosigning"])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(key: str, size: int) -> None:
    local = device()
    certificate = msgspec.structs.replace(certificate_of(local), **{key: bytes(size)})

    with pytest.raises(EncodingError):
        parse_certificate_untrusted(signed_again(local, certificate))


@pytest.mark.parametrize(
    ("one", "two"), itertools.permutations(["identity", "agreement", "log", "cosigning"], 2)
)
def test_no_key_serves_two_purposes(one: str, two: str) -> None:
    local = device()
    certificate = certificate_of(local)
    certificate = msgspec.structs.replace(certificate, **{one: getattr(certificate, two)})

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed_again(local, certificate))


@pytest.mark.parametrize("key", ["identity", "log", "cosigning"])
@pytest.mark.parametrize("point", SMALL_ORDER_ED25519)
def test_a_signing_key_of_small_order_is_refused(key: str, point: str) -> None:
    local = device()
    certificate = msgspec.structs.replace(certificate_of(local), **{key: bytes.fromhex(point)})

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed_again(local, certificate))


def test_an_identity_key_of_mixed_order_is_refused_though_its_signature_verifies() -> None:
    key, certificate = mixed_order_certificate(device())

    assert verify_statement_untrusted(key, SignatureType.CERTIFICATE, NO_TEAM, certificate)
    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(certificate)


@pytest.mark.parametrize("point", LOW_ORDER_X25519)
def test_an_agreement_key_of_low_order_is_refused(point: int) -> None:
    local = device()
    key = point.to_bytes(32, "little")
    certificate = msgspec.structs.replace(certificate_of(local), agreement=key)

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed_again(local, certificate))


@pytest.mark.parametrize("number", [FIELD_PRIME, FIELD_PRIME + 9, 2**255 - 1])
def test_an_agreement_key_at_or_over_the_prime_is_refused(number: int) -> None:
    local = device()
    certificate = certificate_of(local)

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(
            signed_again(
                local,
                msgspec.structs.replace(certificate, agreement=number.to_bytes(32, "little")),
            )
        )


def test_a_second_spelling_of_an_agreement_key_is_refused() -> None:
    local = device()
    certificate = certificate_of(local)
    number = int.from_bytes(certificate.agreement, "little") | 1 << 255
    other = msgspec.structs.replace(certificate, agreement=number.to_bytes(32, "little"))
    secret = bytes(range(32))

    # X25519 itself does not tell the two apart.
    assert sodium.crypto_scalarmult(secret, certificate.agreement) == sodium.crypto_scalarmult(
        secret, other.agreement
    )
    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed_again(local, other))


def test_a_certificate_signed_by_another_key_is_refused() -> None:
    body = encode(certificate_of(device(1)))
    signed = sign_statement(device(2).identity, SignatureType.CERTIFICATE, NO_TEAM, body)

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed)


@pytest.mark.parametrize("kind", [kind for kind in SignatureType if kind != "certificate"])
def test_another_statement_with_a_certificate_inside_is_no_certificate(kind: SignatureType) -> None:
    local = device()
    signed = sign_statement(local.identity, kind, NO_TEAM, encode(certificate_of(local)))

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(signed)


def test_a_certificate_signed_for_a_team_is_no_certificate() -> None:
    local = device()
    body = encode(certificate_of(local))

    with pytest.raises(AuthenticationError):
        parse_certificate_untrusted(
            sign_statement(local.identity, SignatureType.CERTIFICATE, TEAM, body)
        )


def respelled_body(local: LocalIdentity, edit: Callable[[bytes], bytes]) -> bytes:
    body = edit(encode(certificate_of(local)))
    return sign_statement(local.identity, SignatureType.CERTIFICATE, NO_TEAM, body)


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.replace(b"\xa7version\x01", b"\xa7version\xcc\x01"),
        lambda body: body + b"\x00",
        lambda body: bytes([body[0] + 1]) + body[1:] + b"\xa5extra\x01",
        lambda body: bytes([body[0] + 1]) + body[1:] + b"\xa7version\x01",
        lambda body: body.replace(b"\xabcertificate", b"\xabCertificate"),
        lambda body: body.replace(b"\xa4name", b"\xa4nome"),
    ],
    ids=["longer integer", "trailing byte", "unknown field", "repeated field", "tag", "field"],
)
def test_only_the_one_encoding_of_a_certificate_is_read_even_where_it_is_signed(
    edit: Callable[[bytes], bytes],
) -> None:
    with pytest.raises(EncodingError):
        parse_certificate_untrusted(respelled_body(device(), edit))


@given(st.binary(max_size=400))
def test_bytes_of_a_stranger_are_no_certificate(data: bytes) -> None:
    for parse in (parse_certificate_untrusted, parse_identity_file_untrusted):
        with pytest.raises(EncodingError):
            parse(data)


# Signed statements -------------------------------------------------------------------------------


def test_what_is_signed_is_prefix_type_zero_team_and_body() -> None:
    message = signature_input(SignatureType.OPEN_REQUEST, TEAM, b"body")

    assert message == b"safelight/v1/open-request\x00" + TEAM + b"body"


@pytest.mark.parametrize("signed_as", SignatureType)
@pytest.mark.parametrize("read_as", SignatureType)
def test_a_statement_of_one_type_is_never_one_of_another(
    signed_as: SignatureType, read_as: SignatureType
) -> None:
    key = device().identity
    signed = sign_statement(key, signed_as, TEAM, b"body")
    if signed_as is read_as:
        assert verify_statement_untrusted(key.public, read_as, TEAM, signed) == b"body"
    else:
        with pytest.raises(AuthenticationError):
            verify_statement_untrusted(key.public, read_as, TEAM, signed)


@pytest.mark.parametrize("other", [NO_TEAM, bytes([7]) * 31 + bytes([6]), bytes([8]) * 32])
def test_a_statement_of_one_team_is_never_one_of_another(other: bytes) -> None:
    key = device().identity
    signed = sign_statement(key, SignatureType.ROSTER, TEAM, b"body")

    with pytest.raises(AuthenticationError):
        verify_statement_untrusted(key.public, SignatureType.ROSTER, other, signed)


def test_a_statement_of_one_device_is_never_one_of_another() -> None:
    signed = sign_statement(device(1).identity, SignatureType.MAIL, TEAM, b"body")

    with pytest.raises(AuthenticationError):
        verify_statement_untrusted(device(2).identity.public, SignatureType.MAIL, TEAM, signed)


def test_no_bytes_move_between_the_team_and_the_body() -> None:
    key = device().identity
    signed = sign_statement(key, SignatureType.MAIL, TEAM, b"body")
    signature = decode(Signed, signed, limit=1000).signature
    for shift in (b"\x07body", b"ody", b""):
        with pytest.raises(AuthenticationError):
            verify_statement_untrusted(
                key.public,
                SignatureType.MAIL,
                TEAM,
                encode(Signed(body=shift, signature=signature)),
            )


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_team_id_has_one_size(size: int) -> None:
    with pytest.raises(LocalError):
        signature_input(SignatureType.ROSTER, bytes(size), b"body")


@given(
    st.tuples(st.sampled_from(SignatureType), st.binary(min_size=32, max_size=32), st.binary()),
    st.tuples(st.sampled_from(SignatureType), st.binary(min_size=32, max_size=32), st.binary()),
)
def test_no_two_statements_have_the_same_bytes_to_sign(
    one: tuple[SignatureType, bytes, bytes], two: tuple[SignatureType, bytes, bytes]
) -> None:
    assert (one == two) == (signature_input(*one) == signature_input(*two))


def test_every_bit_of_a_statement_matters() -> None:
    key = device().identity
    signed = sign_statement(key, SignatureType.RECEIPT, TEAM, b"body")
    for bit in range(8 * len(signed)):
        edited = bytearray(signed)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            verify_statement_untrusted(key.public, SignatureType.RECEIPT, TEAM, bytes(edited))


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_has_one_size(size: int) -> None:
    key = device().identity
    signed = encode(Signed(body=b"", signature=bytes(size)))

    with pytest.raises(AuthenticationError):
        verify_statement_untrusted(key.public, SignatureType.RECEIPT, TEAM, signed)


def test_a_statement_over_its_limit_is_not_parsed() -> None:
    key = device().identity
    signed = sign_statement(key, SignatureType.ROSTER, TEAM, bytes(70_000))

    with pytest.raises(EncodingError):
        verify_statement_untrusted(key.public, SignatureType.ROSTER, TEAM, signed)
    assert bytes(70_000) == verify_statement_untrusted(
        key.public, SignatureType.ROSTER, TEAM, signed, limit=100_000
    )


# Identity file -----------------------------------------------------------------------------------

ADDRESSES = (("192.0.2.7", 7301), ("fe80::1%eth0", 7301), ("studio.example", 65_535))


def test_an_identity_file_gives_back_the_device_and_its_addresses() -> None:
    local = device()

    assert (local.public, ADDRESSES) == parse_identity_file_untrusted(
        export_identity_file(local, iter(ADDRESSES))
    )
    assert (local.public, ()) == parse_identity_file_untrusted(export_identity_file(local, ()))


def test_the_longest_identity_file_is_within_its_limit() -> None:
    local = device(name="n" * 256)
    data = export_identity_file(local, [("h" * 255, 65_535)] * 16)

    assert len(data) <= MAX_IDENTITY_FILE_BYTES
    assert local.public == parse_identity_file_untrusted(data)[0]


WRONG_ADDRESSES = [
    ("", 80),
    ("a b", 80),
    ("a/b", 80),
    ("h" * 256, 80),
    ("höst", 80),
    ("host\n", 80),
    ("٣", 80),
    ("host", 0),
    ("host", -1),
    ("host", 65_536),
]


@pytest.mark.parametrize(("host", "port"), WRONG_ADDRESSES)
def test_an_address_that_is_none_is_refused_on_both_sides(host: str, port: int) -> None:
    local = device()
    body = encode(IdentityFile(certificate=local.public.certificate, addresses=((host, port),)))

    assert not is_address(host, port)
    with pytest.raises(LocalError):
        export_identity_file(local, [(host, port)])
    with pytest.raises(EncodingError):
        parse_identity_file_untrusted(
            sign_statement(local.identity, SignatureType.IDENTITY_FILE, NO_TEAM, body)
        )


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(LocalError):
        export_identity_file(device(), [("host", 80)] * 17)


def test_addresses_signed_by_another_device_are_refused() -> None:
    body = encode(IdentityFile(certificate=device(1).public.certificate, addresses=ADDRESSES))
    signed = sign_statement(device(2).identity, SignatureType.IDENTITY_FILE, NO_TEAM, body)

    with pytest.raises(AuthenticationError):
        parse_identity_file_untrusted(signed)


def test_every_bit_of_an_identity_file_matters() -> None:
    data = export_identity_file(device(), ADDRESSES)
    for bit in range(8 * len(data)):
        edited = bytearray(data)
        edited[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError):
            parse_identity_file_untrusted(bytes(edited))


# Known answers -----------------------------------------------------------------------------------


def test_a_second_writing_of_the_certificate_gives_the_same_bytes() -> None:
    local: Identity = ann().public
    keys = [sodium.crypto_sign_seed_keypair(bytes([seed]) * 32) for seed in (1, 3, 4)]
    agreement = sodium.crypto_scalarmult_base(bytes([2]) * 32)
    fields = [
        (b"type", b"\xabcertificate"),
        (b"version", b"\x01"),
        (b"name", b"\xa3Ann"),
        (b"created", b"\xcf" + NOW.to_bytes(8, "big")),
        (b"identity", b"\xc4\x20" + keys[0][0]),
        (b"agreement", b"\xc4\x20" + agreement),
        (b"log", b"\xc4\x20" + keys[1][0]),
        (b"cosigning", b"\xc4\x20" + keys[2][0]),
    ]
    body = b"\x88" + b"".join(bytes([0xA0 + len(name)]) + name + value for name, value in fields)
    message = b"safelight/v1/certificate\x00" + bytes(32) + body
    signature = sodium.crypto_sign(message, keys[0][1])[:64]
    signed = b"\x82\xa4body\xc4" + bytes([len(body)]) + body + b"\xa9signature\xc4\x40" + signature
    digest = hashlib.blake2b(
        b"safelight/v1/hash/fingerprint\x00" + keys[0][0] + agreement + keys[1][0] + keys[2][0],
        digest_size=32,
    ).digest()

    assert signed == local.certificate
    assert digest == local.fingerprint


def test_a_key_signs_as_rfc_8032_says() -> None:
    key = SigningKey(bytes([1]) * 32)

    assert sodium.crypto_sign_open(key.sign(b"m") + b"m", key.public) == b"m"


def known_answers() -> dict[str, Any]:
    answers: dict[str, Any] = json.loads(IDENTITY_VECTORS.read_text())
    return answers


def test_the_vector_file_says_what_the_code_gives() -> None:
    assert known_answers() == identity_vectors()


def test_the_known_device_comes_back_from_its_bytes() -> None:
    known = known_answers()
    device_known = parse_certificate_untrusted(bytes.fromhex(known["certificate"]))

    assert known["fingerprint"] == device_known.fingerprint.hex()
    assert device_known.fingerprint == parse_fingerprint(known["fingerprint_text"])
    assert known["name"] == device_known.name
    assert known["created"] == device_known.created
    assert known["recovery_secret"] == recovery_secret(known["recovery_phrase"]).hex()
    assert parse_identity_file_untrusted(bytes.fromhex(known["identity_file"])) == (
        device_known,
        (("192.0.2.7", 7301),),
    )
    for kind, signed in known["statements_in_team"].items():
        assert (
            verify_statement_untrusted(
                device_known.identity_key, SignatureType(kind), TEAM, bytes.fromhex(signed)
            )
            == b"body"
        )


@pytest.mark.parametrize(
    "case", known_answers()["refused_certificates"], ids=lambda case: case["name"]
)
def test_a_known_certificate_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteError) as refusal:
        parse_certificate_untrusted(bytes.fromhex(case["certificate"]))

    assert case["expect"] == refusal.value.code
