"""Joining by code, as two sides without I/O: one whole message in, one out.

Belongs here: the six messages, what they prove, and what the two sides learn.
Never here: sockets, time limits, how often a code may be tried (once: the owner's to hold),
or what an administrator decides about a newcomer.
Specification: docs/spec/joining.md.

    joiner                                                   inviter
    1  JoinOffer {versions, number, pake}          -->
                                                   <--       JoinAnswer {version, pake}  2
    3  XXpsk0: psk, e                              -->
                                                   <--       XXpsk0: e, ee, s, es        4
    5  XXpsk0: s, se, payload: identity file       -->
                                                   <--       Accepted | Declined         6

- The psk is the SPAKE2 key of messages 1 and 2, which the prologue binds whole.
- A wrong code shows at message 3 to the inviter, and at message 4 to the joiner.
- Whatever arrives wrong or out of turn ends the side it arrives at.

Usage::

    joiner, inviter = Joiner(code, bob, file, entropy), Inviter(code, alice, entropy)
    answer = inviter.receive_untrusted(joiner.first())
    third = joiner.receive_untrusted(answer)
    fifth = joiner.receive_untrusted(inviter.receive_untrusted(third))
    inviter.receive_untrusted(fifth)            # now inviter.joiner_file and inviter.words
    joiner.receive_untrusted(inviter.accept(accepted))     # now joiner.accepted
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeAlias

import msgspec

from protocol.encoding import decode, encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LocalError,
    LocalProtocolError,
    Reason,
    Refused,
    RemoteError,
    RemoteProtocolError,
    UnsupportedError,
)
from protocol.identity import (
    LocalIdentity,
    fingerprint_words,
    is_address,
    is_clean_name,
    parse_certificate_untrusted,
    parse_identity_file_untrusted,
)
from protocol.joining.code import InvitationCode
from protocol.labels import (
    HASH_JOINING_WORDS,
    NO_TEAM,
    PAKE_INVITER,
    PAKE_JOINER,
    PROLOGUE_JOINING,
)
from protocol.limits import (
    MAX_ADDRESSES,
    MAX_CERTIFICATE_BYTES,
    MAX_HOST_BYTES,
    MAX_INVITATION_NUMBER,
    MAX_JOINING_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_OFFER_BYTES,
    MAX_RENDEZVOUS_ADDRESS_BYTES,
    MAX_VERSIONS_OFFERED,
)
from protocol.noise.cipher_state import CipherState
from protocol.noise.handshake_state import HandshakeState
from protocol.noise.patterns import XXPSK0
from protocol.primitives import Entropy, Spake2, blake2b
from protocol.rendezvous.address import parse_rendezvous_address
from protocol.roster.metadata import ROLES

JOINING_VERSION: Final = 1
"""The version that this build speaks; stands in the specification too."""
PAKE_BYTES: Final = 33

# Messages ---------------------------------------------------------------------------------------

_Version = Annotated[int, msgspec.Meta(ge=1, le=255)]
_Pake = Annotated[bytes, msgspec.Meta(min_length=PAKE_BYTES, max_length=PAKE_BYTES)]
_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class JoinOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="join-offer"):
    """Message 1, in the clear."""

    versions: Annotated[
        tuple[_Version, ...], msgspec.Meta(min_length=1, max_length=MAX_VERSIONS_OFFERED)
    ]
    """Versions the joiner speaks, strictly ascending."""
    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_INVITATION_NUMBER)]
    """The invitation's number, which is no secret."""
    pake: _Pake


class JoinAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="join-answer"):
    """Message 2, in the clear."""

    version: _Version
    """The highest common one."""
    pake: _Pake


class Accepted(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="accepted", kw_only=True
):
    """You are a member: what you need to fetch the roster, and to know that it is this one."""

    team_id: _Hash
    team_name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]
    role: str
    """The newcomer's."""
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    """The roster's version that names the newcomer."""
    roster_hash: _Hash
    """That version's hash."""
    certificate: Annotated[bytes, msgspec.Meta(max_length=MAX_CERTIFICATE_BYTES)]
    """The inviter's."""
    addresses: Annotated[
        tuple[tuple[Annotated[str, msgspec.Meta(max_length=MAX_HOST_BYTES)], int], ...],
        msgspec.Meta(max_length=MAX_ADDRESSES),
    ]
    """Where the inviter listens: (host, port), best first."""
    rendezvous: Annotated[str, msgspec.Meta(max_length=MAX_RENDEZVOUS_ADDRESS_BYTES)]
    """Text of the address of the team's rendezvous, or empty."""


class Declined(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="declined"):
    """You are not: why."""

    reason: str
    """A value of errors.Reason."""


Verdict: TypeAlias = Accepted | Declined

_REASONS: Final = frozenset(Reason)


def _check_accepted_untrusted(accepted: Accepted, inviter_key: bytes) -> None:
    """Check the rules between fields, and that the certificate is the proved key's."""
    if not is_clean_name(accepted.team_name):
        raise EncodingError("joining: a team name that cannot be shown")
    if accepted.role not in ROLES:
        raise UnsupportedError("joining: a role this build does not know")
    if not all(is_address(*address) for address in accepted.addresses):
        raise EncodingError("joining: an address that is none")
    if accepted.rendezvous and not _is_rendezvous(accepted.rendezvous):
        raise EncodingError("joining: an address of a rendezvous that is none")
    if parse_certificate_untrusted(accepted.certificate).agreement_key != inviter_key:
        raise AuthenticationError("joining: the certificate is not that of who answered")


def _is_rendezvous(text: str) -> bool:
    try:
        return parse_rendezvous_address(text).text == text
    except LocalError:
        return False


# Sides ------------------------------------------------------------------------------------------

_Step: TypeAlias = Callable[[bytes], bytes | None]


class _Side:
    """What both sides share: whose turn it is, and what they end up knowing."""

    __slots__ = ("_code", "_entropy", "_handshake", "_identity", "_step")

    def __init__(self, code: InvitationCode, identity: LocalIdentity, entropy: Entropy) -> None:
        self._code = code
        self._identity = identity
        self._entropy = entropy
        self._handshake: HandshakeState | None = None
        self._step: _Step | None = None
        """What takes the next message; None where none may come."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(number={self._code.number})"

    @property
    def words(self) -> tuple[str, ...]:
        """8 words, the same on both sides and in no other joining, for people to compare.

        LocalProtocolError before message 5 has passed.
        """
        return fingerprint_words(blake2b(HASH_JOINING_WORDS + self._finished().handshake_hash))

    def receive_untrusted(self, data: bytes) -> bytes | None:
        """Take the peer's next message; return the one to send, or None where none follows.

        Every error ends this side: the peer gets nothing more from it.
        """
        step, self._step = self._step, None
        if step is None:
            raise RemoteProtocolError("joining: a message out of turn")
        if len(data) > MAX_JOINING_MESSAGE_BYTES:
            raise RemoteProtocolError("joining: a message over its bound")
        return step(data)

    def _pake(self, *, joiner: bool) -> Spake2:
        return Spake2(
            first=joiner,
            password="-".join(self._code.words).encode("ascii"),
            id_a=PAKE_JOINER,
            id_b=PAKE_INVITER,
            entropy=self._entropy,
        )

    def _begin(self, *, joiner: bool, psk: bytes, offer: bytes, answer: bytes) -> HandshakeState:
        handshake = HandshakeState(
            XXPSK0,
            initiator=joiner,
            prologue=PROLOGUE_JOINING + NO_TEAM + offer + answer,
            s=self._identity.agreement_secret,
            entropy=self._entropy,
            psks=(psk,),
        )
        self._handshake = handshake
        return handshake

    def _finished(self) -> HandshakeState:
        if self._handshake is None:
            raise LocalProtocolError("joining: the handshake has not begun")
        return self._handshake

    def _verdict_cipher(self) -> CipherState:
        """Return the transport cipher from inviter to joiner."""
        return self._finished().split()[1]


class Joiner(_Side):
    """Who has been told a code.

    ``identity_file`` is this node's own, as `export_identity_file` returns it; LocalError for
    another's.
    """

    __slots__ = ("_accepted", "_file", "_offer", "_started", "proved")

    def __init__(
        self,
        code: InvitationCode,
        identity: LocalIdentity,
        identity_file: bytes,
        entropy: Entropy,
    ) -> None:
        super().__init__(code, identity, entropy)
        try:
            of_file, _addresses = parse_identity_file_untrusted(identity_file)
        except RemoteError as error:
            raise LocalError(str(error)) from error
        if of_file != identity.public:
            raise LocalError("the identity file is another device's")
        self._file = identity_file
        self._started = self._pake(joiner=True)
        self._offer = b""
        self._accepted: Accepted | None = None
        self.proved = False
        """Whether the peer has proved that it knows the code: message 4 verified. A peer that
        closes after message 3, before this, was most likely shown a wrong code."""

    @property
    def accepted(self) -> Accepted:
        """What the inviter says of the team; LocalProtocolError before it has."""
        if self._accepted is None:
            raise LocalProtocolError("joining: the inviter has not accepted")
        return self._accepted

    @property
    def inviter_key(self) -> bytes:
        """The agreement key that the inviter proved; LocalProtocolError before it has."""
        key = self._finished().rs
        if key is None or not self.proved:
            raise LocalProtocolError("joining: the inviter has not proved a key")
        return key

    def first(self) -> bytes:
        """Return message 1; LocalProtocolError the second time."""
        if self._offer:
            raise LocalProtocolError("joining: message 1 is sent once")
        self._offer = encode(
            JoinOffer(
                versions=(JOINING_VERSION,), number=self._code.number, pake=self._started.message
            )
        )
        self._step = self._on_answer_untrusted
        return self._offer

    def _on_answer_untrusted(self, data: bytes) -> bytes:
        answer = decode(JoinAnswer, data, limit=MAX_OFFER_BYTES)
        if answer.version != JOINING_VERSION:
            raise UnsupportedError("joining: the chosen version was not offered")
        psk = self._started.finish_untrusted(answer.pake)
        handshake = self._begin(joiner=True, psk=psk, offer=self._offer, answer=data)
        self._step = self._on_handshake_untrusted
        return handshake.write_message(b"")

    def _on_handshake_untrusted(self, data: bytes) -> bytes:
        handshake = self._finished()
        if handshake.read_message_untrusted(data):
            raise RemoteProtocolError("joining: message 4 carries nothing")
        self.proved = True
        self._step = self._on_verdict_untrusted
        return handshake.write_message(self._file)

    def _on_verdict_untrusted(self, data: bytes) -> None:
        plaintext = self._verdict_cipher().decrypt_with_ad(b"", data)
        verdict: Verdict = decode(Verdict, plaintext, limit=MAX_JOINING_MESSAGE_BYTES)
        if isinstance(verdict, Declined):
            if verdict.reason not in _REASONS:
                raise UnsupportedError("joining: a reason this build does not know")
            raise Refused(Reason(verdict.reason), "the inviter declined")
        _check_accepted_untrusted(verdict, self.inviter_key)
        self._accepted = verdict


class Inviter(_Side):
    """Who has made a code, which is good for one of these."""

    __slots__ = ("_undecided", "joiner_file")

    def __init__(self, code: InvitationCode, identity: LocalIdentity, entropy: Entropy) -> None:
        super().__init__(code, identity, entropy)
        self._step = self._on_offer_untrusted
        self._undecided = False
        self.joiner_file: bytes | None = None
        """The joiner's identity file, as soon as the joiner has proved its agreement key."""

    def receive_untrusted(self, data: bytes) -> bytes | None:
        """Take the joiner's next message; return the one to send, or None where none follows.

        AuthenticationError at message 3 means a wrong code. Every error ends this side: the
        joiner gets nothing more from it, no verdict either.
        """
        self._undecided = False
        return super().receive_untrusted(data)

    def accept(self, accepted: Accepted) -> bytes:
        """Return message 6, which ends the joining well; what it says is durable before.

        LocalError where a joiner would refuse it; LocalProtocolError unless one waits for it.
        """
        self._check_undecided()
        try:
            _check_accepted_untrusted(
                decode(Accepted, encode(accepted), limit=MAX_JOINING_MESSAGE_BYTES),
                self._identity.public.agreement_key,
            )
        except RemoteError as error:
            raise LocalError(str(error)) from error
        return self._decide(accepted)

    def decline(self, reason: str) -> bytes:
        """Return message 6, which ends the joining with a value of errors.Reason.

        LocalError for another reason; LocalProtocolError unless a joiner waits for it.
        """
        self._check_undecided()
        if reason not in _REASONS:
            raise LocalError("a joining is declined with a value of errors.Reason")
        return self._decide(Declined(reason=str(reason)))

    def _on_offer_untrusted(self, data: bytes) -> bytes:
        offer = decode(JoinOffer, data, limit=MAX_OFFER_BYTES)
        if list(offer.versions) != sorted(set(offer.versions)):
            raise EncodingError("joining: versions are not in order")
        if offer.number != self._code.number:
            raise RemoteProtocolError("joining: the offer is for another invitation")
        if JOINING_VERSION not in offer.versions:
            raise UnsupportedError("joining: no common version")
        pake = self._pake(joiner=False)
        psk = pake.finish_untrusted(offer.pake)
        answer = encode(JoinAnswer(version=JOINING_VERSION, pake=pake.message))
        self._begin(joiner=False, psk=psk, offer=data, answer=answer)
        self._step = self._on_proof_untrusted
        return answer

    def _on_proof_untrusted(self, data: bytes) -> bytes:
        handshake = self._finished()
        if handshake.read_message_untrusted(data):
            raise RemoteProtocolError("joining: message 3 carries nothing")
        self._step = self._on_file_untrusted
        return handshake.write_message(b"")

    def _on_file_untrusted(self, data: bytes) -> None:
        handshake = self._finished()
        file = handshake.read_message_untrusted(data)
        if parse_identity_file_untrusted(file)[0].agreement_key != handshake.rs:
            raise AuthenticationError("joining: the identity file is not that of who joins")
        self.joiner_file = file
        self._undecided = True

    def _decide(self, verdict: Verdict) -> bytes:
        self._undecided = False
        return self._verdict_cipher().encrypt_with_ad(b"", encode(verdict))

    def _check_undecided(self) -> None:
        if not self._undecided:
            raise LocalProtocolError("joining: nobody waits for a decision")
