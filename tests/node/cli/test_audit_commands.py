"""Commands about the log and the vault's state: what they print and write, and how they exit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.cli.canned import ENTRY, LOG, PROOF, VERIFIED
from tests.node.cli.conftest import Served
from tests.protocol.audit.packs import honest

PACK = honest().pack()


@pytest.mark.parametrize(
    "words",
    [
        "shares --reissue",
        "shares --reissue --opens none",
        "shares --reissue --opens 0",
        "shares --reissue --opens 1 --to bob",
        "shares 3f9a",
        "shares --opens 1",
    ],
)
async def test_reissuing_takes_a_number_of_opens_and_nothing_of_a_list(
    served: Served, words: str
) -> None:
    ran = await served.run(*words.split())

    assert ran.code == 2
    assert served.node.calls == []


async def test_following_prints_each_entry_once_and_one_a_line(served: Served) -> None:
    served.node.results["audit_log"] = LOG
    served.node.streams["audit_follow"] = [ENTRY, {**ENTRY, "index": 8}, {**ENTRY, "index": 9}]

    for_people = await served.run("audit", "log", "--follow")
    for_scripts = await served.run("audit", "log", "--follow", "--json")

    assert for_people.out.count("\n") == 3
    assert for_scripts.out.count("\n") == 3
    assert [line.split('"index": ')[1][0] for line in for_scripts.out.splitlines()] == list("789")


async def test_a_log_that_does_not_verify_is_printed_and_exits_with_5(served: Served) -> None:
    report = {
        **VERIFIED,
        "ok": False,
        "problems": [{"index": 7, "code": "entry", "message": "entry 7 was changed"}],
    }
    served.node.results["audit_verify"] = report

    for_people = await served.run("audit", "verify")
    for_scripts = await served.run("audit", "verify", "--json")

    assert (for_people.code, for_scripts.code) == (5, 5)
    assert "does NOT verify" in for_people.out
    assert "entry 7 was changed" in for_people.out
    assert for_scripts.document == report


async def test_logs_that_differ_are_printed_and_exit_with_5(served: Served, tmp_path: Path) -> None:
    one = {"incarnation": 0, "index": 7, "time": "2030-01-31T18:00:00.000Z", "event": "released",
           "image": "aabbccddee", "name": None}  # fmt: skip
    served.node.results["audit_reconcile"] = {
        "contradicted": True,
        "peers": [{"name": None, "fingerprint": None, "released": 1, "opened": 0, "matched": 1,
                   "later": 0, "not_in_theirs": [one], "not_in_mine": [{**one, "index": 9}]}],
    }  # fmt: skip

    ran = await served.run("audit", "reconcile", "--pack", str(tmp_path / "bob.zip"))

    assert ran.code == 5
    assert "NOT in theirs" in ran.out
    assert "NOT in yours" in ran.out
    assert "aabbccdd" in ran.out


async def test_a_proof_is_written_with_its_entry_beside_it(served: Served, tmp_path: Path) -> None:
    served.node.results["audit_prove"] = PROOF
    out = tmp_path / "entry.proof"

    ran = await served.run("audit", "prove", "7", "-o", str(out))
    again = await served.run("audit", "prove", "7", "-o", str(out))

    assert ran.code == 0
    assert out.read_text() == PROOF["proof"]
    assert (tmp_path / "entry.proof.entry").read_bytes() == b"{}"
    assert again.code == 1


async def test_a_file_is_verified_without_a_node(served: Served, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    pack.write_bytes(PACK)
    good = await served.run("audit", "verify", str(pack))
    as_json = await served.run("audit", "verify", str(pack), "--json")
    pack.write_bytes(PACK[:-1])
    bad = await served.run("audit", "verify", str(pack))
    gone = await served.run("audit", "verify", str(tmp_path / "none.zip"))

    assert (good.code, bad.code, gone.code) == (0, 5, 1)
    assert "the pack verifies: 3 entries" in good.out
    assert "does NOT verify" in bad.out
    assert as_json.document["ok"]
    assert served.node.calls == []


async def test_a_damaged_vault_is_printed_and_exits_with_5(served: Served) -> None:
    report = {
        "ok": False,
        "problems": [
            {"code": "damaged", "where": "blobs/aa", "message": "a byte differs", "picture": "x"}
        ],
    }
    served.node.results["check"] = report

    for_people = await served.run("check")
    for_scripts = await served.run("check", "--json")

    assert (for_people.code, for_scripts.code) == (5, 5)
    assert "a byte differs" in for_people.out
    assert for_scripts.document == report
