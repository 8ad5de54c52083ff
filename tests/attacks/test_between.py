"""Whoever stands between two nodes, or takes the place of one (rows 1, 11, 13, 14 and 28)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.errors import UnreachableError
from node.system import system_entropy
from node.vault.records import team as rows
from protocol.messages import OpenRequest
from tests.attacks.mallory import enlisted
from tests.attacks.relay import Relay, relaying
from tests.node.services.team import Person, eventually, team


async def _only_by(relay: Relay, person: Person, to: Person) -> None:
    """Let a person's node know another by a relay's port only, and dial it there."""
    membership = person.node.membership
    await membership.remove_addresses(to.me)
    await membership.add_addresses(to.me, [("127.0.0.1", relay.port)], source="added")
    await _cut(person, to)


async def _cut(person: Person, to: Person) -> None:
    while (link := person.node.peering.link(to.me)) is not None:
        await link.session.close()
        await asyncio.sleep(0)


async def test_row_1_a_member_in_the_place_of_another_is_not_taken_for_them(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        listener = await mallory.listen()
        (image,) = await alice.import_pictures(1)
        await bob.node.membership.remove_addresses(alice.me)
        await alice.node.membership.remove_addresses(bob.me)
        await bob.node.membership.add_addresses(alice.me, list(listener.addresses), source="added")
        await _cut(bob, alice)

        with pytest.raises(UnreachableError):
            await bob.node.peering.reach(alice.me, 2)

        assert mallory.heard == []
        assert mallory.sessions == []
        (granted,) = await alice.share([image["id"]], ["bob"])
        await listener.close()
        assert granted["holder"] == "bob"


async def test_row_1_a_relay_of_a_member_sees_no_key_name_or_term(tmp_path: Path) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        relaying(alice.node.peering.listening[0]) as relay,
    ):
        await alice.node.membership.remove_addresses(bob.me)
        await _only_by(relay, bob, alice)
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], terms="for the tender only")
        await bob.wait_ready(granted["id"])
        await bob.open(granted["id"])
        heard = bytes(relay.heard_to + relay.heard_from)

        assert len(heard) > 10_000
        for person in (alice, bob):
            public = person.node.context.identity.public
            for key in (
                public.identity_key,
                public.agreement_key,
                public.log_key,
                public.cosigning_key,
                public.fingerprint,
                person.name.encode(),
            ):
                assert key not in heard
        for secret in (b"for the tender only", image["name"].encode(), b"Test team"):
            assert secret not in heard
        assert bob.node.membership.team_id not in heard


async def test_row_28_a_relay_that_corrupts_prefetched_bytes_burns_no_open(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        relaying(alice.node.peering.listening[0]) as relay,
    ):
        (image,) = await alice.import_pictures(1, size=(1600, 1067))
        (granted,) = await alice.share([image["id"]], ["bob"], rendition="preview:1500")
        await bob.wait_ready(granted["id"])
        await alice.node.membership.remove_addresses(bob.me)
        await _only_by(relay, bob, alice)
        await bob.node.peering.reach(alice.me, 45)
        flipped = 0

        def flip(data: bytes) -> bytes:
            nonlocal flipped
            # Of what is as long as ciphertext, one bit.
            if flipped or len(data) < 3000:
                return data
            flipped += 1
            changed = bytearray(data)
            changed[len(data) // 2] ^= 4
            return bytes(changed)

        relay.from_target = flip
        with pytest.raises(UnreachableError):
            await bob.open(granted["id"])

        assert flipped == 1
        assert await alice.events("released") == []
        (share,) = await alice.node.granted.shares(album=None, to=None, state=None)
        assert share["opens"] == 0
        assert (await bob.open(granted["id"]))["opens_left"] == 9


async def test_row_14_a_replayed_connection_opens_nothing(tmp_path: Path) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        relaying(alice.node.peering.listening[0]) as relay,
    ):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(granted["id"])
        await alice.node.membership.remove_addresses(bob.me)
        await _only_by(relay, bob, alice)
        await bob.open(granted["id"])
        recorded = bytes(relay.heard_to)
        online = len(alice.node.peering._links.get(bob.me, []))

        for target in (alice.node.peering.listening[0], bob.node.peering.listening[0]):
            reader, writer = await asyncio.open_connection(*target)
            writer.write(recorded)
            answered = await asyncio.wait_for(reader.read(-1), 10)
            writer.close()
            # The upgrade, at most one handshake message, and the end.
            assert len(answered) < 1000

        assert len(await alice.events("released")) == 1
        assert len(alice.node.peering._links.get(bob.me, [])) == online


async def test_row_13_whoever_does_not_know_a_node_learns_nothing_from_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        public = alice.node.context.identity.public
        host, port = alice.node.peering.listening[0]
        heard = b""
        for request in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01" + system_entropy(200),
            system_entropy(2000),
            b"",
        ):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request)
            writer.write_eof()
            heard += await asyncio.wait_for(reader.read(-1), 10)
            writer.close()

        for secret in (
            public.identity_key,
            public.agreement_key,
            public.fingerprint,
            b"alice",
            b"Test team",
            alice.node.membership.team_id,
        ):
            assert secret not in heard


async def test_row_11_a_node_that_moved_is_believed_by_its_key_and_not_by_its_address(
    tmp_path: Path,
) -> None:
    async with (
        team(tmp_path, "alice", "bob") as (alice, bob),
        enlisted(alice) as mallory,
        relaying(alice.node.peering.listening[0]) as relay,
    ):
        rogue = await mallory.listen()
        await alice.node.membership.remove_addresses(bob.me)
        await bob.node.membership.remove_addresses(alice.me)
        await bob.node.membership.add_addresses(
            alice.me, [*rogue.addresses, ("127.0.0.1", relay.port)], source="added"
        )
        await _cut(bob, alice)

        link = await bob.node.peering.reach(alice.me, 45)

        assert link.member.fingerprint == alice.me
        assert link.session.remote[1] == relay.port
        assert not [one for one in mallory.heard if isinstance(one, OpenRequest)]
        assert mallory.heard == []

        async def connected() -> bool:
            return relay.connections > 0

        await eventually(connected)
        await rogue.close()


NOWHERE = (
    "%",
    "..",
    "-",
    ":",
    "::",
    "%25",
    "fe80::1%nosuch",
    "1.2.3.4.5",
    "a..b",
    "x" * 255,
    "0x7f.1",
    "999.1.1.1",
    "localhost%00",
    "_._",
    "127.0.0.1:80",
)
"""Hosts that an identity file may name, and that are none."""


async def test_row_11_addresses_that_lead_nowhere_end_no_dialling(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        known = await bob.read(rows.addresses)
        await bob.node.membership.remove_addresses(alice.me)
        await alice.node.membership.remove_addresses(bob.me)
        await bob.node.membership.add_addresses(
            alice.me, [(host, 1) for host in NOWHERE], source="identity"
        )
        await bob.node.membership.add_addresses(alice.me, known[alice.me], source="welcome")
        await _cut(bob, alice)

        await bob.node.peering.reach(alice.me, 45)

        assert "fault" not in capfd.readouterr().err
