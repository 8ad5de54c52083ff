"""Alarms in every command, and the commands about them and about witnesses."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from node.control import schema
from tests.node.cli.conftest import Served
from tests.node.cli.support import refusal

ALARM: dict[str, Any] = {
    "id": 3,
    "name": "mallory\x1b[2J",
    "fingerprint": "abcd-efgh",
    "own": False,
    "origin": "safelight/abc/0",
    "kind": "equivocation",
    "detail": "the log has two signed heads of one size",
    "proven": True,
    "raised_at": "2030-01-31T18:00:00.000Z",
    "over_since": None,
    "state": "stands",
}
OVER = {**ALARM, "id": 5, "over_since": "2030-01-31T18:05:00.000Z", "state": "over"}
EVIDENCE: dict[str, Any] = {
    "id": 3,
    "name": "mallory",
    "origin": "safelight/abc/0",
    "kind": "equivocation",
    "detail": "the log has two signed heads of one size",
    "first": "safelight/abc/0\n16\nAAAA\n\n— signed\n",
    "second": "safelight/abc/0\n16\nBBBB\n\n— signed\n",
    "evidence": base64.b64encode(b"the evidence").decode(),
}
WITNESS = "witness.example+c8f3d3b1+BAAA"


@pytest.mark.parametrize("arguments", [("images",), ("inbox", "--json"), ("node", "status")])
async def test_every_command_says_in_one_line_that_an_alarm_stands(
    served: Served, arguments: tuple[str, ...]
) -> None:
    served.node.results |= {"images": [], "inbox": []}
    quiet = await served.run(*arguments)
    served.node.results["status"]["alarms"] = [ALARM, {**ALARM, "id": 4}]

    loud = await served.run(*arguments)

    assert quiet.err == ""
    (line,) = loud.err.splitlines()
    assert line.startswith("warning: the log of mallory")
    assert "safelight audit alarms" in line
    assert "\x1b" not in loud.err
    assert loud.code == quiet.code == 0
    if "--json" in arguments:
        assert loud.out == quiet.out


async def test_an_alarm_about_the_own_log_says_so(served: Served) -> None:
    served.node.results["images"] = []
    served.node.results["status"]["alarms"] = [ALARM, {**ALARM, "own": True}]

    ran = await served.run("images")

    assert "your own log contradict themselves" in ran.err


async def test_what_is_over_and_not_looked_into_is_said_as_what_was(served: Served) -> None:
    served.node.results["images"] = []
    served.node.results["status"]["alarms"] = [OVER, {**ALARM, "own": True}]

    ran = await served.run("images")

    assert len(ran.err.splitlines()) == 1
    assert "your own log contradicts itself; the log of mallory" in ran.err
    assert "contradicted itself and was given up, not looked into yet" in ran.err


async def test_the_status_has_the_alarms(served: Served) -> None:
    served.node.results["status"]["alarms"] = [ALARM]

    told = await served.run("node", "status", "--json")
    shown = await served.run("node", "status")

    assert told.document["alarms"] == [ALARM]
    assert "equivocation" in shown.out


async def test_alarms_are_listed_with_what_they_are_about(served: Served) -> None:
    own = {**OVER, "own": True, "kind": "rollback"}
    served.node.results["audit_alarms"] = [ALARM, own]

    shown = await served.run("audit", "alarms")
    told = await served.run("audit", "alarms", "--json")

    assert "your own" in shown.out
    assert "rollback" in shown.out
    assert "18:05" in shown.out
    assert "\x1b" not in shown.out
    assert told.document == [ALARM, own]
    served.node.results["audit_alarms"] = []
    none = await served.run("audit", "alarms")
    assert none.out == "no log contradicted what it showed before\n"


async def test_clearing_an_alarm_is_asked_about(served: Served) -> None:
    served.node.results["audit_alarm_clear"] = {"id": 3, "name": "mallory"}

    unanswered = await served.run("audit", "alarms", "clear", "3")
    assert unanswered.code == 2
    assert served.node.called("audit_alarm_clear") == []

    cleared = await served.run("audit", "alarms", "clear", "3", "--yes")
    assert (cleared.code, cleared.out) == (0, "alarm 3 is cleared\n")
    assert served.node.called("audit_alarm_clear") == [schema.AuditAlarm(alarm=3)]


async def test_evidence_is_written_into_a_new_file(served: Served, tmp_path: Path) -> None:
    served.node.results["audit_evidence"] = EVIDENCE
    file = tmp_path / "mallory.evidence"

    shown = await served.run("audit", "evidence")
    assert "AAAA" in shown.out
    assert "BBBB" in shown.out
    assert (await served.run("audit", "evidence", "--json")).document == EVIDENCE
    wrote = await served.run("audit", "evidence", "3", "-o", str(file), "--json")

    assert file.read_bytes() == b"the evidence"
    assert wrote.document["path"] == str(file)
    assert "evidence" not in wrote.document
    assert served.node.called("audit_evidence")[-1] == schema.AuditEvidence(alarm=3)
    assert (await served.run("audit", "evidence", "-o", str(file))).code == 1


@pytest.mark.parametrize("answer", [{**EVIDENCE, "evidence": None}, refusal("unknown")])
async def test_where_there_is_no_evidence_no_file_is_left(
    served: Served, tmp_path: Path, answer: Any
) -> None:
    served.node.results["audit_evidence"] = answer
    file = tmp_path / "mallory.evidence"

    ran = await served.run("audit", "evidence", "-o", str(file), "--json")

    assert ran.document["error"]["code"] in ("no_evidence", "unknown")
    assert ran.code in (1, 7)
    assert not file.exists()


async def test_witnesses_are_added_listed_and_removed(served: Served) -> None:
    url = "https://witness.example"
    listed = {
        "url": url,
        "witness": WITNESS,
        "name": "witness.example",
        "size": 17,
        "signed_at": "2030-01-31T18:00:00.000Z",
        "problem": None,
    }
    served.node.results |= {
        "audit_witness_add": {"url": url, "witness": WITNESS, "name": "witness.example"},
        "audit_witness_list": [listed],
        "audit_witness_remove": {"url": url},
    }

    assert url in (await served.run("audit", "witness", "add", url, WITNESS)).out
    assert "17" in (await served.run("audit", "witness", "list")).out
    assert (await served.run("audit", "witness", "list", "--json")).document == [listed]
    assert url in (await served.run("audit", "witness", "remove", url)).out

    assert served.node.called("audit_witness_add") == [
        schema.AuditWitnessAdd(url=url, vkey=WITNESS)
    ]
    assert served.node.called("audit_witness_remove") == [schema.AuditWitnessRemove(url=url)]


async def test_serving_as_a_witness_is_turned_on_and_off(served: Served) -> None:
    told = {"listening": "http://127.0.0.1:7480", "witness": WITNESS, "problem": None}
    served.node.results["audit_witness_serve"] = told
    where = "127.0.0.1:7480"

    assert where in (await served.run("audit", "witness", "serve", "--listen", where)).out
    assert (await served.run("audit", "witness", "serve", "--json")).document == told
    await served.run("audit", "witness", "serve", "--off")
    both = await served.run("audit", "witness", "serve", "--off", "--listen", where)

    assert both.code == 2
    assert served.node.called("audit_witness_serve") == [
        schema.AuditWitnessServe(listen=where),
        schema.AuditWitnessServe(),
        schema.AuditWitnessServe(off=True),
    ]
