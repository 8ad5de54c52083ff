"""Mail: only its reader opens it, only its signer wrote it, and only for a while."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.identity import LocalIdentity, sign_statement
from protocol.labels import PROLOGUE_MAIL, PROLOGUE_SEALED_CAPABILITY, SignatureType
from protocol.limits import MAIL_CLOCK_SLACK_MS, MAIL_LIFETIME_MS, MAX_MAIL_BYTES
from protocol.mail import (
    MAIL_KINDS,
    MailBody,
    MailedCapability,
    open_mail_untrusted,
    parse_mailed_capability_untrusted,
    seal_mail,
)
from protocol.noise.one_way import seal_to
from protocol.rendezvous.messages import Deposit, Mails
from tests.protocol.people import DAY, NOW, person, stream

TEAM = bytes([7]) * 32
ALICE, BOB, MALLORY = person("Alice"), person("Bob"), person("Mallory")
MEMBERS = {one.public.agreement_key: one.public for one in (ALICE, BOB)}


def body(**changes: Any) -> MailBody:
    """Return what Alice writes to Bob."""
    return msgspec.structs.replace(
        MailBody(
            message_id=bytes(range(16)),
            recipient=BOB.public.fingerprint,
            sequence=3,
            expires_at=NOW + DAY,
            kind="revocation",
            body=b"statement",
        ),
        **changes,
    )


def sealed_as(
    written: MailBody,
    *,
    sender: LocalIdentity = ALICE,
    signer: LocalIdentity = ALICE,
    signed_as: SignatureType = SignatureType.MAIL,
    signed_in: bytes = TEAM,
    prologue: bytes = PROLOGUE_MAIL + TEAM,
) -> bytes:
    """Seal to Bob whatever one likes."""
    return seal_to(
        sender_secret=sender.agreement_secret,
        recipient_public=BOB.public.agreement_key,
        prologue=prologue,
        plaintext=sign_statement(signer.identity, signed_as, signed_in, encode(written)),
        entropy=stream("mail"),
    )


def sealed(written: MailBody | None = None) -> bytes:
    """Return Alice's mail to Bob."""
    return seal_mail(
        written or body(),
        sender=ALICE,
        recipient=BOB.public,
        team_id=TEAM,
        entropy=stream("mail"),
    )


def opened(data: bytes, *, now: int = NOW, recipient: LocalIdentity = BOB) -> Any:
    """Return what a member reads."""
    return open_mail_untrusted(
        data, recipient=recipient, by_agreement=MEMBERS, team_id=TEAM, now=now
    )


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_mail_of_every_kind_opens_to_its_reader(kind: str) -> None:
    written = body(kind=kind)

    assert opened(sealed(written)) == (ALICE.public, written)


def test_a_capability_travels_with_its_list_or_without() -> None:
    for value in (
        MailedCapability(sealed=b"capability", image_list=b"list"),
        MailedCapability(sealed=b"capability", image_list=b""),
    ):
        assert parse_mailed_capability_untrusted(encode(value)) == value
    with pytest.raises(EncodingError):
        parse_mailed_capability_untrusted(b"\x80")


@given(size=st.integers(0, 200))
def test_the_longest_mail_fits_a_deposit_and_an_answer(size: int) -> None:
    room = MAX_MAIL_BYTES - len(sealed(body(body=b""))) - 2
    longest = sealed(body(body=bytes(room - size)))
    deposit = Deposit(recipient=bytes(32), mail_id=bytes(16), expires_at=NOW + DAY, sealed=longest)
    mails = Mails(mails=((2**53 - 1, longest),), more=True)

    assert len(longest) == MAX_MAIL_BYTES - size
    assert max(len(encode(deposit)), len(encode(mails))) <= 60_000
    assert opened(longest)[1].body == bytes(room - size)


@pytest.mark.parametrize("size", [58_800, 70_000, 1_000_000])
def test_what_is_too_long_is_said_to_the_sender(size: int) -> None:
    with pytest.raises(LimitError) as caught:
        sealed(body(body=bytes(size)))
    assert caught.value.code == "mail_too_long"


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "letter"},
        {"message_id": bytes(15)},
        {"recipient": bytes(31)},
        {"recipient": ALICE.public.fingerprint},
        {"sequence": 0},
        {"expires_at": -1},
    ],
)
def test_nobody_writes_what_its_reader_would_refuse(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        sealed(body(**changes))


# What a reader refuses --------------------------------------------------------------------------


def test_mail_opens_to_nobody_else() -> None:
    with pytest.raises(AuthenticationError):
        opened(sealed(), recipient=MALLORY)


def test_mail_to_somebody_else_that_was_sealed_again_is_refused() -> None:
    """A member passes on what another wrote to them: the signature is right, the reader is not."""
    written = body(recipient=MALLORY.public.fingerprint)

    with pytest.raises(AuthenticationError, match="somebody else"):
        opened(sealed_as(written))


@pytest.mark.parametrize(
    "wrong",
    [
        {"signer": MALLORY},
        {"signer": BOB},
        *({"signed_as": kind} for kind in SignatureType if kind is not SignatureType.MAIL),
        {"signed_in": bytes(32)},
        {"prologue": PROLOGUE_MAIL + bytes(32)},
        {"prologue": PROLOGUE_SEALED_CAPABILITY + TEAM},
    ],
    ids=str,
)
def test_row_15_a_signature_or_seal_of_another_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError):
        opened(sealed_as(body(), **wrong))


def test_whoever_stole_the_readers_key_can_seal_as_a_member_and_not_write_as_one() -> None:
    """Noise X with the recipient's secret gives mail from anyone; the signature does not."""
    forged = sealed_as(body(), sender=ALICE, signer=MALLORY)

    with pytest.raises(AuthenticationError):
        opened(forged)


def test_mail_from_somebody_who_is_no_member_is_refused_as_such() -> None:
    with pytest.raises(Refused) as caught:
        opened(sealed_as(body(), sender=MALLORY, signer=MALLORY))
    assert caught.value.reason is Reason.NOT_MEMBER


def test_mail_is_read_until_it_expires() -> None:
    written = body()
    data = sealed(written)

    assert opened(data, now=written.expires_at - 1)[1] == written
    with pytest.raises(Refused) as caught:
        opened(data, now=written.expires_at)
    assert caught.value.reason is Reason.EXPIRED


def test_mail_that_would_live_longer_than_mail_does_is_refused() -> None:
    latest = NOW + MAIL_LIFETIME_MS + MAIL_CLOCK_SLACK_MS

    assert opened(sealed(body(expires_at=latest)))[1].expires_at == latest
    with pytest.raises(Refused) as caught:
        opened(sealed(body(expires_at=latest + 1)))
    assert caught.value.reason is Reason.CLOCK


def test_a_kind_of_the_future_is_unsupported() -> None:
    with pytest.raises(UnsupportedError):
        opened(sealed_as(body(kind="letter")))


def test_a_member_who_writes_nonsense_is_refused() -> None:
    with pytest.raises(EncodingError):
        opened(sealed_as(body(sequence=0)))


def test_a_mail_over_its_bound_is_not_looked_at() -> None:
    with pytest.raises(RemoteProtocolError, match="bound"):
        opened(bytes(MAX_MAIL_BYTES + 1))
    with pytest.raises(RemoteProtocolError):
        opened(b"")


def test_row_2_every_byte_of_a_mail_counts() -> None:
    data = sealed()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1

        with pytest.raises(RemoteError):
            opened(bytes(changed))


@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_random_bytes_raise_remote_errors_only(data: bytes) -> None:
    with pytest.raises(RemoteError):
        opened(data)
