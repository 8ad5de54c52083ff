"""`invite` and `join`: where a code is shown and read, and how an invitation's end is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from typing import Any

import pytest

from node.control import schema
from tests.node.cli.conftest import Served
from tests.node.cli.support import COMMAND, Ran, refusal, run, run_on_terminal

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
CODE = "7-canyon-lava"
INVITED: dict[str, Any] = {
    "code": CODE,
    "number": 7,
    "expires_at": "2090-01-31T18:00:00.000Z",
    "role": "reviewer",
    "rendezvous": "rendezvous.example:7431/" + "a" * 52,
    "addresses": ["192.0.2.7:7421"],
}
CAME: dict[str, Any] = {"name": "bob", "fingerprint": "abcd", "role": "reviewer", "words": WORDS}
JOINED: dict[str, Any] = {"team": "The Desk", "member": "bob", "role": "reviewer", "words": WORDS}


async def ran(served: Served, *arguments: str, text: str = "") -> Ran:
    return await asyncio.to_thread(run, *arguments, environment=served.environment, text=text)


async def test_inviting_shows_the_code_how_to_use_it_and_who_came(served: Served) -> None:
    served.node.results.update(invite=INVITED, invite_wait=CAME)

    done = await served.run("invite", "--role", "reviewer")

    assert done.code == 0
    for shown in (CODE, "192.0.2.7:7421", "rendezvous.example", "bob joined", " ".join(WORDS)):
        assert shown in done.out
    assert served.node.called("invite") == [schema.Invite(role="reviewer")]
    assert served.node.called("invite_wait") == [schema.InviteWait(number=7)]


async def test_inviting_without_waiting_returns_at_once(served: Served) -> None:
    served.node.results.update(invite=INVITED)

    done = await served.run("invite", "--no-wait", "--json")

    assert (done.code, done.document) == (
        0,
        {"code": CODE, "expires_at": INVITED["expires_at"]},
    )
    assert served.node.called("invite_wait") == []


@pytest.mark.parametrize(
    ("code", "exit_code"), [("wrong_code", 1), ("broken_off", 1), ("timeout", 4), ("pending", 1)]
)
async def test_how_an_invitation_ended_is_the_exit_code(
    served: Served, code: str, exit_code: int
) -> None:
    served.node.results.update(invite=INVITED, invite_wait=refusal(code))

    told = await served.run("invite")
    scripted = await served.run("invite", "--json")

    assert told.code == exit_code
    assert CODE in told.out
    assert f"no: {code}" in told.err
    # One document only: the code was told before it ended.
    assert (scripted.code, scripted.document["code"]) == (exit_code, CODE)


async def test_ctrl_c_hangs_up_and_prints_no_second_document(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.node.results.update(invite=INVITED, invite_wait=None, invite_cancel={})
    waiting = asyncio.Event()
    hung_up = asyncio.Event()
    answer = served.node.call

    async def call(method: str, params: Any, progress: Any) -> Any:
        if method != "invite_wait":
            return await answer(method, params, progress)
        waiting.set()
        try:
            return await asyncio.Event().wait()
        finally:
            hung_up.set()

    monkeypatch.setattr(served.node, "call", call)
    process = subprocess.Popen(
        [*COMMAND, "invite", "--json"],
        env=served.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whatever runs the tests may ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    await asyncio.wait_for(waiting.wait(), 60)
    assert process.stdout is not None
    # Told at once, not when it is over.
    assert json.loads(await asyncio.to_thread(process.stdout.readline))["code"] == CODE

    os.kill(process.pid, signal.SIGINT)

    rest, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, rest) == (130, "")
    await asyncio.wait_for(hung_up.wait(), 60)
    assert served.node.called("invite_cancel") == [schema.InviteCancel(number=7)]


async def test_a_code_is_read_from_stdin(served: Served) -> None:
    served.node.results.update(join=JOINED)

    done = await ran(served, "join", "--json", text=f"{CODE}\nmore\n")

    assert (done.code, done.document) == (0, JOINED)
    assert served.node.called("join") == [schema.Join(code=CODE)]


async def test_where_to_look_is_passed_on(served: Served) -> None:
    served.node.results.update(join=JOINED)

    done = await ran(
        served, "join", "--at", "192.0.2.7:7421", "--rendezvous", "r:1/k", text=f"{CODE}\n"
    )

    assert done.code == 0
    assert "bob is a member of The Desk" in done.out
    assert " ".join(WORDS) in done.out
    assert served.node.called("join") == [
        schema.Join(code=CODE, at="192.0.2.7:7421", rendezvous="r:1/k")
    ]


async def test_at_a_terminal_the_code_is_asked_for_and_shown(served: Served) -> None:
    served.node.results.update(join=JOINED)

    done = await asyncio.to_thread(
        run_on_terminal, ["join"], served.environment, answers=[("code: ", CODE)]
    )

    assert done.code == 0
    assert CODE in done.out
    assert served.node.called("join") == [schema.Join(code=CODE)]


async def test_a_code_on_the_command_line_is_refused_and_not_repeated(served: Served) -> None:
    for arguments in ([CODE], ["--", CODE], ["7", "canyon", "lava"]):
        done = await served.run("join", *arguments)

        assert done.code == 2
        assert "command line" in done.err
        assert "canyon" not in done.err + done.out
    assert served.node.calls == []


async def test_no_code_is_wrong_usage(served: Served) -> None:
    done = await ran(served, "join", "--json")

    assert (done.code, done.document["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("option", [("--at", "h:1"), ("--rendezvous", "r:1/k")])
async def test_options_of_the_one_way_do_not_go_with_the_other(
    served: Served, option: tuple[str, str], tmp_path: Any
) -> None:
    welcome = tmp_path / "welcome"
    welcome.write_bytes(b"sealed")

    done = await served.run("join", "--file", str(welcome), "--expect", "abcd", *option)
    other = await served.run("join", "--expect", "abcd")

    assert (done.code, other.code) == (2, 2)


@pytest.mark.parametrize(("code", "exit_code"), [("wrong_code", 1), ("unreachable", 4)])
async def test_a_join_that_fails_says_why(served: Served, code: str, exit_code: int) -> None:
    served.node.results.update(join=refusal(code))

    done = await ran(served, "join", "--json", text=f"{CODE}\n")

    assert (done.code, done.document["error"]["code"]) == (exit_code, code)
