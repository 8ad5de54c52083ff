"""Witnesses outside the team over real HTTP, and this node as one."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest

from node.errors import NodeError, UnknownError, UsageError
from node.services import outside, witnessed
from node.vault import log_store
from node.vault.records import witness as rows
from protocol.audit.checkpoint import open_cosigned_untrusted, origin_of
from protocol.audit.note import KeyType, VerifierKey, format_vkey
from protocol.audit.witness import witness_key
from protocol.primitives import SigningKey, sha256
from tests.node.services.conditions import execute
from tests.node.services.team import Person, eventually, team
from tests.node.witness.test_server import witness

STRANGER = format_vkey(
    VerifierKey(
        name="witness.example",
        key_type=KeyType.COSIGNATURE,
        public=SigningKey(bytes(range(32))).public,
    )
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer heads every fifth of a second, and to who does not sign as often."""
    monkeypatch.setattr(witnessed, "_PAUSE_S", 0.2)
    monkeypatch.setattr(outside, "_FIRST_PAUSE_MS", 100)
    monkeypatch.setattr(outside, "_LAST_PAUSE_MS", 200)


async def size(person: Person) -> int:
    head = await person.read(log_store.head)
    return 0 if head is None else head.size


def logs_of(person: Person) -> dict[str, bytes]:
    return {origin_of(person.me): person.node.context.identity.public.log_key}


async def test_an_outside_witness_signs_the_log_of_a_node_that_is_alone(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,), witness(tmp_path, logs_of(alice)) as server:
        await alice.import_pictures(2)
        vkey = format_vkey(server.key())
        added = await alice.node.outside.add(server.url + "/", vkey)
        assert added["url"] == server.url

        async def covered() -> bool:
            (listed,) = await alice.node.outside.list()
            return bool(listed["size"] == await size(alice) and listed["problem"] is None)

        await eventually(covered)
        await alice.import_pictures(1, size=(50, 40))
        await eventually(covered)
        told = await alice.node.witnessed.describe()
        assert (told["witnesses"], told["members"], told["unwitnessed"]) == (1, 0, 0)
        assert told["cosigned_by"][0]["witness"] == vkey
        (row,) = await alice.read(lambda db: rows.cosignatures(db, origin_of(alice.me)))
        ((origin, key),) = logs_of(alice).items()
        head, signed = open_cosigned_untrusted(row.note, origin, key, [server.key()])
        assert head.size == row.size
        assert [one.key for one in signed] == [server.key()]

        # A node that has lost what it was told begins from the size that the witness names.
        await execute(alice, "DELETE FROM own_cosignatures WHERE origin = ?", origin)
        await alice.import_pictures(1, size=(51, 40))
        await eventually(covered)

        await alice.node.outside.remove(server.url)
        assert await alice.node.outside.list() == []
        with pytest.raises(UnknownError):
            await alice.node.outside.remove(server.url)


async def test_a_witness_that_does_not_sign_is_said_to_and_is_asked_again(tmp_path: Path) -> None:
    known: dict[str, bytes] = {}
    async with team(tmp_path, "alice") as (alice,), witness(tmp_path, known) as server:

        async def problem(url: str) -> str | None:
            found = [one for one in await alice.node.outside.list() if one["url"] == url]
            text: str | None = found[0]["problem"]
            return text

        await alice.node.outside.add(server.url, format_vkey(server.key()))

        async def unknown() -> bool:
            return "404" in (await problem(server.url) or "")

        await eventually(unknown)
        known.update(logs_of(alice))

        async def signed() -> bool:
            return await problem(server.url) is None

        await eventually(signed)

        await alice.node.outside.remove(server.url)
        await alice.node.outside.add(server.url, STRANGER)
        await alice.node.outside.add("http://127.0.0.1:1", format_vkey(server.key()))

        async def both() -> bool:
            return "did not sign with its key" in (await problem(server.url) or "") and (
                "not reached" in (await problem("http://127.0.0.1:1") or "")
            )

        await alice.import_pictures(1)
        await eventually(both)


async def test_what_can_be_no_witness_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        key = SigningKey(bytes(range(32))).public
        log = format_vkey(VerifierKey(name="a.log", key_type=KeyType.NOTE, public=key))
        for url, vkey in (
            ("not an address", STRANGER),
            ("https://witness.example", "nonsense"),
            ("https://witness.example", log),
        ):
            with pytest.raises(UsageError):
                await alice.node.outside.add(url, vkey)
        await alice.node.outside.add("http://127.0.0.1:1", STRANGER)
        with pytest.raises(UsageError):
            await alice.node.outside.add("http://127.0.0.1:2", STRANGER)


async def test_a_node_serves_the_logs_of_its_team_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), aiohttp.ClientSession() as http:
        assert bob.node.serving.describe()["listening"] is None
        url = (await bob.node.serving.listen("127.0.0.1:0"))["listening"]
        await bob.restart()
        assert bob.node.serving.describe()["listening"] == url
        await alice.import_pictures(1)

        async def covered() -> bool:
            return bool((await alice.node.witnessed.describe())["unwitnessed"] == 0)

        await eventually(covered)
        ((origin, key),) = logs_of(alice).items()
        async with http.get(f"{url}/{sha256(origin.encode()).hex()}/checkpoint") as answer:
            assert answer.status == 200
            held = await answer.read()
        bobs = witness_key(bob.node.context.identity.public)
        head, signed = open_cosigned_untrusted(held, origin, key, [bobs])
        assert (head.size, len(signed)) == (await size(alice), 1)

        # Its own log, and the logs of others, are not known to it as a witness.
        mine = await bob.read(log_store.head)
        assert mine is not None
        async with http.post(f"{url}/add-checkpoint", data=b"old 0\n\n" + mine.note) as answer:
            assert answer.status == 404

        assert (await bob.node.serving.listen(None))["listening"] is None
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{url}/")


async def test_a_port_that_is_taken_is_told_and_does_not_keep_the_node_from_starting(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        url = (await alice.node.serving.listen("127.0.0.1:0"))["listening"]
        port = int(url.rpartition(":")[2])
        await alice.node.close()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            await alice.restart()

            told = alice.node.serving.describe()
            assert told["listening"] is None
            assert "cannot listen" in told["problem"]
            with pytest.raises(NodeError):
                await alice.node.serving.listen(f"127.0.0.1:{port}")
