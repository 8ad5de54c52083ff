"""Packs and proofs of real logs: checked by Safelight, by the program inside, and side by side."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from node.errors import NodeError, UnknownError, UsageError
from node.services.given_evidence import verify_file
from node.vault import log_store
from node.vault.records import Connection
from protocol.audit.equivocation import encode_evidence, head_evidence
from protocol.audit.log_keys import LogKeys
from protocol.primitives import Aead
from tests.node.services.conditions import alone, execute
from tests.node.services.team import Person, eventually, plain_pictures, team
from tests.node.services.test_incarnations import back_up, begun, linked, restore
from tests.protocol.audit import packs

EVERYTHING: dict[str, Any] = {
    "table": False, "disclose": ["all"], "who": None, "image": None, "since": None, "until": None,
}  # fmt: skip


async def export(person: Person, path: Path, **options: Any) -> dict[str, Any]:
    return await person.node.evidence_packs.export(
        out=str(path), **{**EVERYTHING, **options}, progress=lambda *_: None
    )


async def reconcile(person: Person, who: str | None = None, pack: Path | None = None) -> Any:
    return await person.node.reconciling.reconcile(
        who=who, pack=None if pack is None else str(pack), progress=lambda *_: None
    )


def checked(path: Path) -> dict[str, Any]:
    """Return what Safelight says of a pack, after the program inside said the same."""
    with zipfile.ZipFile(path) as opened:
        program = path.with_suffix(".py")
        program.write_bytes(opened.read("verify.py"))
    done = subprocess.run(
        [sys.executable, "-I", str(program), str(path), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said, theirs = verify_file(path), json.loads(done.stdout)
    for name in ("ok", "origin", "size", "entries", "disclosed", "receipts", "unwitnessed"):
        assert said[name] == theirs[name], name
    assert [one["code"] for one in said["problems"]] == [one["code"] for one in theirs["problems"]]
    assert done.returncode == (0 if said["ok"] else 5)
    return said


async def opened(alice: Person, bob: Person) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let bob open a picture of alice's, and wait until his receipt has come."""
    (image,) = await alice.import_pictures(1)
    (shared,) = await alice.share([image["id"]], ["bob"])
    await bob.wait_ready(shared["id"])
    await bob.open(shared["id"])

    async def receipted() -> bool:
        return bool(await alice.events("opened")) and bool(await alice.events("delivered"))

    await eventually(receipted)
    return image, shared


async def test_a_pack_of_a_real_log_verifies_by_both_programs(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await opened(alice, bob)
        made = await export(alice, tmp_path / "all.zip", table=True)
        said = checked(tmp_path / "all.zip")

        assert said["ok"], said["problems"]
        assert (said["name"], said["receipts"]) == ("alice", 2)
        assert (made["entries"], made["disclosed"]) == (said["entries"], said["disclosed"])
        (logged,) = await alice.events("exported")
        assert logged["detail"] == {"what": "log", "disclosed": "all", "of": "every entry"}
        theirs = await export(bob, tmp_path / "bob.zip")
        assert checked(tmp_path / "bob.zip")["ok"]
        assert theirs["receipts"] == 0

        with pytest.raises(NodeError, match="never overwritten"):
            await export(alice, tmp_path / "all.zip")
        with pytest.raises(NodeError, match="cannot write"):
            await export(alice, tmp_path / "nowhere" / "all.zip")
        with zipfile.ZipFile(tmp_path / "all.zip") as whole:
            rows = list(csv.reader(io.StringIO(whole.read("log.csv").decode())))
            readme = whole.read("README.txt").decode()
        assert said["fingerprint"] in readme
        assert len(rows) == said["entries"] + 1
        assert [row[4] for row in rows if row[3] == "released"] == ["bob"]


async def test_the_exporter_chooses_what_is_told(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image, _ = await opened(alice, bob)
        await export(alice, tmp_path / "none.zip", disclose=["none"], table=True)
        await export(alice, tmp_path / "names.zip", disclose=["name", "holder"])
        await export(alice, tmp_path / "image.zip", image=image["id"])
        await export(alice, tmp_path / "past.zip", until="1999-01-01T00:00:00Z")

        none = checked(tmp_path / "none.zip")
        assert (none["ok"], none["disclosed"], none["receipts"]) == (True, 0, 0)
        with zipfile.ZipFile(tmp_path / "none.zip") as whole:
            told = b"".join(whole.read(name) for name in ("log-0.txt", "log.csv"))
        assert image["name"].encode().hex().encode() not in told
        assert image["name"].encode() not in told
        assert b"bob" not in told
        with zipfile.ZipFile(tmp_path / "names.zip") as whole:
            lines = whole.read("log-0.txt").splitlines()
        assert {line[1:].split(b" ")[0] for line in lines if line[:1] == b"="} == {
            b"holder",
            b"name",
        }
        chosen = checked(tmp_path / "image.zip")
        entries = await alice.node.log_reading.entries(
            who=None, image=image["id"], since=None, limit=99
        )
        with zipfile.ZipFile(tmp_path / "image.zip") as whole:
            proofs = {name for name in whole.namelist() if name.startswith("proof-")}
        assert chosen["ok"]
        assert proofs == {f"proof-0-{one['index']}.txt" for one in entries["entries"]}
        assert checked(tmp_path / "past.zip")["disclosed"] == 0
        with pytest.raises(UsageError, match="not a field"):
            await export(alice, tmp_path / "bad.zip", disclose=["Name!"])
        with pytest.raises(UnknownError):
            await export(alice, tmp_path / "bad.zip", who="nobody")
        assert not (tmp_path / "bad.zip").exists()


async def test_no_cell_of_the_table_is_a_formula(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        for name in ("=1+1.jpg", "+2.jpg", "-3.jpg", "@4.jpg"):
            ((_, data),) = plain_pictures(1, (30, 20))
            await alice.node.library.import_bytes(
                data, name=name, classification="internal", provenance=b""
            )
        await execute(alice, "UPDATE log_entries SET event = '=1+1' WHERE log_index = 0")
        await export(alice, tmp_path / "all.zip", table=True)

        with zipfile.ZipFile(tmp_path / "all.zip") as whole:
            rows = list(csv.reader(io.StringIO(whole.read("log.csv").decode())))
        assert rows[1][3] == "'=1+1"
        assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")]


async def test_a_proof_needs_nothing_but_itself(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(5)
        made = await alice.node.evidence_packs.prove(index=3, incarnation=None)
        path = tmp_path / "entry.proof"
        path.write_text(made["proof"])
        said = verify_file(path)

        assert (said["ok"], said["index"], said["event"]) == (True, 3, "imported")
        assert base64.b64decode(made["entry"]).startswith(b'{"actor":"')
        for index, incarnation in ((5, None), (0, 1)):
            with pytest.raises(UnknownError):
                await alice.node.evidence_packs.prove(index=index, incarnation=incarnation)
        for place in range(0, len(made["proof"]), 7):
            changed = bytearray(made["proof"].encode())
            changed[place] ^= 1
            path.write_bytes(changed)
            assert not verify_file(path)["ok"] or verify_file(path) == said
        for data in (b"", b"nothing", b"PK\x03\x04", b"c2sp.org/tlog-proof@v1\n"):
            path.write_bytes(data)
            assert not verify_file(path)["ok"]
        with pytest.raises(NodeError, match="cannot read"):
            verify_file(tmp_path / "none")
        with pytest.raises(NodeError, match="cannot read"):
            verify_file(tmp_path)


# Two logs side by side ----------------------------------------------------------------------------


async def test_what_both_logs_say_matches_either_way(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await opened(alice, bob)
        await export(alice, tmp_path / "alice.zip")
        await export(bob, tmp_path / "bob.zip")

        (alone_,) = (await reconcile(alice))["peers"]
        with_pack = await reconcile(alice, "bob", tmp_path / "bob.zip")
        from_bob = await reconcile(bob, "alice", tmp_path / "alice.zip")

        assert (alone_["name"], alone_["released"], alone_["opened"]) == ("bob", 1, 1)
        assert alone_["without_receipt"] == []
        assert not with_pack["contradicted"]
        assert not from_bob["contradicted"]
        for (found,) in (with_pack["peers"], from_bob["peers"]):
            assert found["matched"] == 1
            assert found["not_in_theirs"] == found["not_in_mine"] == []
        with pytest.raises(NodeError, match="not of alice"):
            await reconcile(bob, "alice", tmp_path / "bob.zip")


async def test_an_open_that_the_other_side_did_not_log_is_named(tmp_path: Path) -> None:
    """Row T23 of the tamper matrix."""
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image, shared = await opened(alice, bob)
        manifest = await bob.manifest(shared["id"])
        assert not isinstance(await bob.ask(shared["id"], manifest), str)
        await export(bob, tmp_path / "bob.zip")
        await export(alice, tmp_path / "alice.zip")
        released = (await alice.events("released"))[-1]

        (alone_,) = (await reconcile(alice, "bob"))["peers"]
        assert [one["index"] for one in alone_["without_receipt"]] == [released["index"]]
        found = await reconcile(alice, "bob", tmp_path / "bob.zip")
        assert found["contradicted"]
        (peer,) = found["peers"]
        assert [(one["index"], one["name"]) for one in peer["not_in_theirs"]] == [
            (released["index"], image["name"])
        ]
        assert peer["not_in_mine"] == []
        mirrored = await reconcile(bob, "alice", tmp_path / "alice.zip")
        assert [one["index"] for one in mirrored["peers"][0]["not_in_mine"]] == [released["index"]]

        (tmp_path / "bob.zip").write_bytes((tmp_path / "bob.zip").read_bytes()[:-1])
        with pytest.raises(NodeError, match="does not verify"):
            await reconcile(alice, "bob", tmp_path / "bob.zip")


async def test_what_came_after_a_pack_is_not_held_against_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        _, shared = await opened(alice, bob)
        await export(bob, tmp_path / "bob.zip")
        await asyncio.sleep(0.01)
        await bob.open(shared["id"])

        found = await reconcile(alice, "bob", tmp_path / "bob.zip")

        assert not found["contradicted"]
        assert (found["peers"][0]["matched"], found["peers"][0]["later"]) == (1, 1)


async def test_a_release_that_was_rewritten_under_its_nonce_is_named(tmp_path: Path) -> None:
    """Row T06b of the tamper matrix, by the receipt that the holder's own log keeps."""
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await opened(alice, bob)
        (event,) = await bob.events("opened")
        await execute(
            bob,
            "DELETE FROM log_values WHERE log_index = ? AND field = 'leaf'",
            event["index"],
        )
        await export(alice, tmp_path / "alice.zip")
        assert not (await reconcile(bob, "alice", tmp_path / "alice.zip"))["contradicted"]

        def relogged(db: Connection) -> tuple[bytes, str, int]:
            place = log_store.place_of(0, event["index"])
            (key, subject) = db.execute(
                "SELECT key, subject_id FROM log_subjects JOIN log_values USING (subject_id)"
                " WHERE log_index = ? AND field = 'index'",
                (event["index"],),
            ).fetchone()
            sealed = log_store.seal_value(
                Aead(key), bytes(12), place, "leaf", bytes(32), b"00" * 32
            )
            return sealed, "leaf", subject

        sealed, field, subject = await bob.read(relogged)
        await execute(
            bob,
            "INSERT INTO log_values (incarnation, log_index, field, subject_id, sealed)"
            " VALUES (0, ?, ?, ?, ?)",
            event["index"], field, subject, sealed,
        )  # fmt: skip

        found = await reconcile(bob, "alice", tmp_path / "alice.zip")

        assert found["contradicted"]
        assert [one["index"] for one in found["peers"][0]["not_in_theirs"]] == [event["index"]]


async def test_a_restored_node_exports_both_of_its_logs(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await opened(alice, bob)
        await back_up(alice, tmp_path / "older")
        await alice.import_pictures(3)
        await linked(alice, bob)
        await bob.node.peering.ping(alice.me)

        await restore(alice, tmp_path / "older")
        await begun(alice)
        await alice.import_pictures(2)
        await export(alice, tmp_path / "all.zip")
        said = checked(tmp_path / "all.zip")

        assert said["ok"], said["problems"]
        assert said["origin"].endswith("/1")
        assert said["entries"] > said["size"]
        report = await alice.node.log_verifying.verify()
        assert report["ok"], report["problems"]
        made = await alice.node.evidence_packs.prove(index=0, incarnation=0)
        (tmp_path / "old.proof").write_text(made["proof"])
        assert verify_file(tmp_path / "old.proof")["ok"]


def test_evidence_of_two_histories_is_checked_without_a_vault(tmp_path: Path) -> None:
    log, other = packs.Log(0), packs.Log(0)
    log.add("imported")
    other.add("exported")
    keys = LogKeys.of(packs.ALICE.public)
    heads = [one.head(1, packs.ALICE.log) for one in (log, other)]
    path = tmp_path / "alice.evidence"
    path.write_bytes(encode_evidence(head_evidence(keys, *heads)))

    said = verify_file(path)

    assert (said["ok"], said["kind"], said["name"]) == (True, "evidence", "alice")
    assert (said["shows"], said["size"]) == ("two_roots", 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert not verify_file(path)["ok"]
