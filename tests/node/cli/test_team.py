"""What `safelight team` asks a node to change, and what it says of changes that wait."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from node.control import schema
from node.control.schema import Params
from tests.node.cli.conftest import Served
from tests.node.cli.support import Answers, refusal
from tests.node.cli.test_terminal import at_terminal

ID = "3f9a12c4d5e6f708192a3b4c5d6e7f80" * 2
IN_FORCE = {"pending": False, "version": 8}
WAITS = {"pending": True, "version": 8, "proposal": ID, "missing": 2}
UNTIL = "2090-01-31T18:00:00.000Z"
PROPOSAL: dict[str, Any] = {
    "id": ID,
    "version": 8,
    "changes": ["bob becomes guest, was editor"],
    "signed_by": ["alice", "carol"],
    "signed": True,
    "missing": 1,
    "created": "2030-01-31T18:00:00.000Z",
}
JOINED: dict[str, Any] = {
    "changes": ["bob becomes guest, was editor"],
    "changes_elsewhere": ["two histories of the team become one"],
    "version": 8,
}
TEAM: dict[str, Any] = {
    "team": "The Desk",
    "version": 7,
    "expires_at": UNTIL,
    "expired": False,
    "threshold": 1,
    "pending": 0,
    "conflict": None,
    "removed": False,
    "members": [],
}

CHANGES: list[tuple[str, str, dict[str, Any], Params, str]] = [
    ("team role bob reviewer", "team_role", {"name": "bob", "role": "reviewer"},
     schema.TeamRole(who="bob", role="reviewer"), "bob is reviewer now"),
    ("team remove bob", "team_remove", {"name": "bob", "fingerprint": "abcd"},
     schema.TeamRemove(who="bob"), "removed bob; the team is at version 8"),
    ("team threshold 2", "team_threshold", {"threshold": 2}, schema.TeamThreshold(threshold=2),
     "each change is signed by 2 administrators now"),
    ("team renew", "team_renew", {"expires_at": UNTIL}, schema.Empty(), "the roster lasts until"),
    ("team sign 3f9a", "team_sign", {"changes": ["bob becomes guest, was editor"]},
     schema.TeamSign(proposal="3f9a"), "bob becomes guest, was editor"),
    ("team sign", "team_sign", {"changes": []}, schema.TeamSign(proposal=""),
     "the team is at version 8"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "method", "facts", "params", "said"), CHANGES)
async def test_a_change_is_asked_for_and_told(
    served: Served, line: str, method: str, facts: dict[str, Any], params: Params, said: str
) -> None:
    served.node.results[method] = {**facts, **IN_FORCE}

    for_people = await served.run(*line.split())
    for_scripts = await served.run(*line.split(), "--json")

    assert served.node.called(method) == [params, params]
    assert (for_people.code, for_scripts.code) == (0, 0), for_people.err + for_scripts.err
    assert said in for_people.out
    assert for_scripts.document == {**facts, **IN_FORCE}


@pytest.mark.parametrize(("line", "method", "facts", "params", "said"), CHANGES)
async def test_a_change_that_waits_is_no_failure_and_says_who_has_to_sign(
    served: Served, line: str, method: str, facts: dict[str, Any], params: Params, said: str
) -> None:
    served.node.results[method] = {**facts, **WAITS}

    for_people = await served.run(*line.split())
    for_scripts = await served.run(*line.split(), "--json")

    assert (for_people.code, for_scripts.code) == (0, 0)
    assert "2 more administrators have to sign it" in for_people.out
    assert "safelight team sign 3f9a12c4" in for_people.out
    assert said not in for_people.out
    assert for_scripts.document["pending"] is True
    assert (for_scripts.document["proposal"], for_scripts.document["missing"]) == (ID, 2)


async def test_pending_changes_are_listed_with_who_signed(served: Served) -> None:
    served.node.results["team_pending"] = Answers([PROPOSAL], [PROPOSAL], [])

    for_people = await served.run("team", "pending")
    for_scripts = await served.run("team", "pending", "--json")
    nothing = await served.run("team", "pending")

    for part in ("3f9a12c4", "bob becomes guest, was editor", "alice, carol", "2030-01-31"):
        assert part in for_people.out
    assert for_scripts.document == [PROPOSAL]
    assert nothing.out == "nothing waits for a signature\n"


async def test_somebody_whose_addition_waits_gets_no_welcome_yet(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "bob.identity").write_bytes(b"certificate")
    person = {"name": "bob", "role": "editor", "words": ["one", "two"]}
    welcome = base64.b64encode(b"sealed").decode()
    served.node.results["team_add"] = Answers(
        {**person, **WAITS}, {**person, **WAITS}, {**person, **IN_FORCE, "welcome": welcome}
    )
    out = tmp_path / "bob.welcome"
    arguments = ["team", "add", str(tmp_path / "bob.identity"), "-o", str(out)]

    for_people = await served.run(*arguments)
    for_scripts = await served.run(*arguments, "--json")

    assert "2 more administrators have to sign it" in for_people.out
    assert "run this command again" in for_people.err
    assert for_scripts.document == {**person, **WAITS, "path": None}
    assert not out.exists()

    again = await served.run(*arguments, "--json")

    assert again.document == {**person, **IN_FORCE, "path": str(out)}
    assert out.read_bytes() == b"sealed"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "lasts until 2090-01-31"),
        ({"expired": True}, "it has expired"),
        ({"threshold": 2}, "each change is signed by 2 administrators"),
        ({"pending": 1}, "1 change waiting: safelight team pending"),
        ({"conflict": "two histories since version 3"}, "two histories since version 3"),
        ({"removed": True}, "you are no member of it any more"),
    ],
)
async def test_the_team_is_shown_with_what_is_not_as_it_should_be(
    served: Served, facts: dict[str, Any], said: str
) -> None:
    served.node.results["team_show"] = {**TEAM, **facts}

    shown = await served.run("team", "show")

    assert said in shown.out
    other = {"it has expired", "no member", "two histories", "waiting"} - {said}
    assert [one for one in other if one in shown.out and one not in said] == []


# Questions ----------------------------------------------------------------------------------------


async def test_a_removal_asks_and_says_what_it_takes_back(served: Served) -> None:
    share = {"id": "aa" * 16, "holder": "bob", "state": "live"}
    served.node.results["shares"] = [share, {**share, "state": "revoked"}]
    served.node.results["team_remove"] = {"name": "bob", "fingerprint": "abcd", **IN_FORCE}
    line = ("team", "remove", "bob")

    no = await at_terminal(served, *line, answers=[("remove them? [y/N] ", "n")])
    assert served.node.called("team_remove") == []
    yes = await at_terminal(served, *line, answers=[("remove them? [y/N] ", "y")])
    unasked = await at_terminal(served, *line, "--yes")

    assert (no.code, yes.code, unasked.code) == (1, 0, 0)
    assert "you take back 1 capability; what was seen or saved stays with them" in no.out
    assert "nobody was removed" in no.out
    assert "removed bob" in yes.out
    assert "[y/N]" not in unasked.out


async def test_joining_histories_asks_with_what_would_come_of_it(served: Served) -> None:
    served.node.results["team_resolve"] = {**JOINED, "dry_run": True}

    no = await at_terminal(served, "team", "resolve", answers=[("sign this version?", "n")])

    assert no.code == 1
    assert "bob becomes guest, was editor" in no.out
    assert served.node.called("team_resolve") == [schema.TeamResolve(dry_run=True)]


async def test_two_histories_are_looked_at_before_they_are_joined(served: Served) -> None:
    served.node.results["team_resolve"] = Answers(
        {**JOINED, "dry_run": True},
        {**JOINED, "dry_run": True},
        {**JOINED, **IN_FORCE},
        {**JOINED, "dry_run": True},
        {**JOINED, **WAITS},
    )

    looked = await served.run("team", "resolve", "--dry-run")
    done = await served.run("team", "resolve", "--keep-ours", "--json")
    waits = await served.run("team", "resolve")

    assert "version 8 would change here:\n  bob becomes guest, was editor\n" in looked.out
    assert "on the other side:\n  two histories of the team become one\n" in looked.out
    assert done.document == {**JOINED, **IN_FORCE}
    assert "2 more administrators have to sign it" in waits.out
    ask, sign = schema.TeamResolve(dry_run=True), schema.TeamResolve()
    assert served.node.called("team_resolve") == [
        ask,
        schema.TeamResolve(dry_run=True, keep_ours=True),
        schema.TeamResolve(keep_ours=True),
        ask,
        sign,
    ]


@pytest.mark.parametrize(("code", "exit_code"), [("policy", 3), ("roster_conflict", 1),
                                                 ("roster_expired", 1), ("not_member", 3),
                                                 ("unknown", 7), ("ambiguous", 2)])  # fmt: skip
async def test_a_refusal_decides_the_exit_code(served: Served, code: str, exit_code: int) -> None:
    served.node.results["team_role"] = refusal(code)

    ran = await served.run("team", "role", "bob", "admin", "--json")

    assert (ran.code, ran.document["error"]["code"]) == (exit_code, code)


@pytest.mark.parametrize(
    "line", ["team role bob owner", "team role bob", "team threshold 0", "team threshold many"]
)
async def test_what_means_nothing_is_wrong_usage(served: Served, line: str) -> None:
    ran = await served.run(*line.split(), "--json")

    assert (ran.code, ran.document["error"]["code"]) == (2, "usage")
