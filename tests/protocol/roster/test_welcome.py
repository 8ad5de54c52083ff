"""WELCOME: sealed to its new member, and to nobody else."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    RemoteError,
    RemoteProtocolError,
)
from protocol.identity import LocalIdentity
from protocol.labels import NO_TEAM, PROLOGUE_WELCOME
from protocol.limits import MAX_SEALED_PLAINTEXT_BYTES, MAX_WELCOME_BYTES
from protocol.noise.one_way import seal_to
from protocol.rendezvous.address import RendezvousAddress
from protocol.roster.metadata import with_member
from protocol.roster.trusted import TrustedRoster
from protocol.roster.welcome import Welcome, open_welcome_untrusted, seal_welcome
from tests.protocol.people import NOW, person, stream
from tests.protocol.roster.simulator import founded, member, signed, successor

ALICE, BOB, CAROL = person("Alice"), person("Bob"), person("Carol")
PART = MAX_SEALED_PLAINTEXT_BYTES + 96
HEADER = 22


def team_with(*names: str) -> TrustedRoster:
    """Return Alice's team with some editors."""
    team = founded()
    for name in names:
        body = with_member(team.roster, person(name).public, "editor", now=NOW)
        team = team.update_untrusted(signed(team, body, "Alice"))
    return team


def welcome(
    team: TrustedRoster | None = None,
    *,
    sender: LocalIdentity = ALICE,
    recipient: LocalIdentity = BOB,
    label: str = "welcome",
    addresses: tuple[tuple[bytes, str, int], ...] = (),
    rendezvous: str = "",
) -> bytes:
    """Return a WELCOME to a team."""
    team = team_with("Bob") if team is None else team
    return seal_welcome(
        rosters=team.signed_versions,
        addresses=addresses,
        sender=sender,
        recipient=recipient.public,
        entropy=stream(label),
        rendezvous=rendezvous,
    )


@functools.cache
def large_team() -> TrustedRoster:
    """Return a team whose history takes several parts."""
    return team_with("Bob", *(f"person {number}" for number in range(26)))


def test_a_welcome_brings_the_team_and_its_addresses() -> None:
    places = ((ALICE.public.fingerprint, "192.0.2.7", 7411),)

    administrator, team, addresses, rendezvous = open_welcome_untrusted(
        welcome(addresses=places), recipient=BOB
    )

    assert administrator == ALICE.public
    assert team == team_with("Bob")
    assert addresses == places
    assert rendezvous is None


def test_a_welcome_names_the_rendezvous_where_there_is_one() -> None:
    address = RendezvousAddress(host="rendezvous.example", port=7431, key=bytes(range(32)))

    assert open_welcome_untrusted(welcome(rendezvous=address.text), recipient=BOB)[3] == address


@pytest.mark.parametrize("text", ["rendezvous.example:7431", "\x1b[2J", "x" * 512])
def test_a_rendezvous_that_cannot_be_used_is_left_out(text: str) -> None:
    assert open_welcome_untrusted(welcome(rendezvous=text), recipient=BOB)[3] is None


def test_a_rendezvous_over_its_bound_is_refused() -> None:
    with pytest.raises(EncodingError):
        open_welcome_untrusted(welcome(rendezvous="x" * 513), recipient=BOB)


def test_a_long_history_travels_in_parts() -> None:
    data = welcome(large_team())

    assert len(data) > 2 * PART
    assert open_welcome_untrusted(data, recipient=BOB)[1] == large_team()


def test_addresses_that_cannot_be_used_are_left_out() -> None:
    good = (ALICE.public.fingerprint, "studio.example", 7411)
    places = (
        (CAROL.public.fingerprint, "192.0.2.8", 7411),
        (ALICE.public.fingerprint, "bad host\n", 7411),
        (ALICE.public.fingerprint, "192.0.2.8", 0),
        good,
    )

    assert open_welcome_untrusted(welcome(addresses=places), recipient=BOB)[2] == (good,)


def test_nobody_else_opens_a_welcome() -> None:
    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(welcome(), recipient=CAROL)


def test_a_welcome_comes_from_an_administrator() -> None:
    for sender in (CAROL, person("Dave")):
        with pytest.raises(AuthenticationError):
            open_welcome_untrusted(welcome(team_with("Bob", "Carol"), sender=sender), recipient=BOB)


def test_a_welcome_is_to_a_team_that_its_reader_is_in() -> None:
    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(welcome(founded()), recipient=BOB)


def test_an_administrator_of_an_older_version_only_does_not_count() -> None:
    team = team_with("Bob")
    both = team.update_untrusted(
        signed(team, successor(team, [member("Alice"), member("Carol"), member("Bob")]), "Alice")
    )
    without = both.update_untrusted(
        signed(both, successor(both, [member("Carol"), member("Bob")]), "Alice", "Carol")
    )

    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(welcome(without), recipient=BOB)


@pytest.mark.parametrize("keep", [slice(1, None), slice(0, 0), slice(1, 2)])
def test_a_history_without_its_beginning_is_refused(keep: slice) -> None:
    rosters = team_with("Bob", "Carol").signed_versions[keep]
    data = seal_welcome(
        rosters=rosters, addresses=(), sender=ALICE, recipient=BOB.public, entropy=stream("cut")
    )

    with pytest.raises((AuthenticationError, EncodingError, RemoteProtocolError)):
        open_welcome_untrusted(data, recipient=BOB)


def parts_of(data: bytes) -> list[bytes]:
    """Return the sealed parts of a WELCOME."""
    body = data[HEADER:]
    return [body[start : start + PART] for start in range(0, len(body), PART)]


def test_parts_are_not_swapped_dropped_or_repeated() -> None:
    data = welcome(large_team())
    head, parts = data[:HEADER], parts_of(data)
    fewer = head[:20] + (len(parts) - 1).to_bytes(2, "big")
    edits = [
        head + b"".join([parts[1], parts[0], *parts[2:]]),
        head + b"".join([parts[0], parts[0], *parts[2:]]),
        head + b"".join(parts[:-1]),
        head + b"".join([*parts, parts[-1]]),
        fewer + b"".join(parts[:-1]),
        fewer + b"".join(parts[1:]),
    ]

    for edit in edits:
        with pytest.raises((AuthenticationError, EncodingError)):
            open_welcome_untrusted(edit, recipient=BOB)


def test_parts_of_two_welcomes_do_not_mix() -> None:
    one, other = welcome(large_team(), label="one"), welcome(large_team(), label="other")
    mixed = one[:HEADER] + b"".join([parts_of(one)[0], *parts_of(other)[1:]])

    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(mixed, recipient=BOB)


def test_parts_of_two_senders_are_refused() -> None:
    plaintext = encode(
        Welcome(rosters=team_with("Bob").signed_versions, addresses=(), rendezvous="")
    )
    head = b"SLW1" + bytes(16) + (2).to_bytes(2, "big")
    filler = plaintext.ljust(MAX_SEALED_PLAINTEXT_BYTES, b"\x00")
    data = head + b"".join(
        seal_to(
            sender_secret=sender.agreement_secret,
            recipient_public=BOB.public.agreement_key,
            prologue=PROLOGUE_WELCOME + NO_TEAM + head + part.to_bytes(2, "big"),
            plaintext=filler,
            entropy=stream(f"part {part}"),
        )
        for part, sender in enumerate((ALICE, CAROL))
    )

    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(data, recipient=BOB)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SLW1",
        welcome()[:HEADER],
        b"SLW2" + welcome()[4:],
        welcome()[:20] + b"\x00\x02" + welcome()[HEADER:],
        welcome().ljust(MAX_WELCOME_BYTES + 1, b"\x00"),
    ],
    ids=["empty", "magic", "header", "version", "count", "too long"],
)
def test_bytes_that_are_no_welcome_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        open_welcome_untrusted(data, recipient=BOB)


def test_a_part_that_is_too_short_is_refused_alike() -> None:
    with pytest.raises(AuthenticationError):
        open_welcome_untrusted(welcome()[: HEADER + 95], recipient=BOB)


def test_an_administrator_who_seals_something_else_is_refused() -> None:
    head = b"SLW1" + bytes(16) + (1).to_bytes(2, "big")
    sealed = seal_to(
        sender_secret=ALICE.agreement_secret,
        recipient_public=BOB.public.agreement_key,
        prologue=PROLOGUE_WELCOME + NO_TEAM + head + bytes(2),
        plaintext=b"\x80",
        entropy=stream("else"),
    )

    with pytest.raises(EncodingError):
        open_welcome_untrusted(head + sealed, recipient=BOB)


def test_a_history_that_is_too_long_is_not_sealed() -> None:
    with pytest.raises(LimitError):
        seal_welcome(
            rosters=[bytes(MAX_WELCOME_BYTES)],
            addresses=(),
            sender=ALICE,
            recipient=BOB.public,
            entropy=stream("long"),
        )


def test_row_2_every_byte_of_a_welcome_counts() -> None:
    data = welcome()

    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x80
        with pytest.raises((AuthenticationError, EncodingError)):
            open_welcome_untrusted(bytes(changed), recipient=BOB)


@settings(deadline=None)
@given(st.binary(max_size=300).map(lambda tail: b"SLW1" + bytes(16) + b"\x00\x01" + tail))
def test_a_stranger_raises_nothing_but_remote_errors(data: Any) -> None:
    with pytest.raises(RemoteError):
        open_welcome_untrusted(data, recipient=BOB)
