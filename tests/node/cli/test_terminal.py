"""The command where a person sits: prompts, questions, bars and pictures."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.control import schema
from tests.node.cli.canned import FILES, FINGERPRINT, OPENED, SHARE, WORDS
from tests.node.cli.conftest import Served
from tests.node.cli.support import (
    COMMAND,
    Answers,
    Ran,
    clean_environment,
    refusal,
    run_on_terminal,
)

RED = base64.b64encode(bytes((255, 0, 0)) * 8 * 8).decode()
PIXELS = {"width": 8, "height": 8, "rgb": RED}


async def at_terminal(
    served: Served, *arguments: str, answers: Sequence[tuple[str, str]] = (), **environment: str
) -> Ran:
    return await asyncio.to_thread(
        run_on_terminal, arguments, {**served.environment, **environment}, answers=answers
    )


async def test_open_draws_the_picture_in_the_size_of_the_terminal(served: Served) -> None:
    served.node.results.update(open=OPENED, open_pixels=PIXELS, close_open={})

    ran = await at_terminal(served, "open", "3f9a", COLORTERM="truecolor")

    assert ran.code == 0, ran.out
    assert ran.out.count("\x1b[48;2;255;0;0m") == 2
    assert "harbour.jpg  2048×1536 jpeg" in ran.out
    assert served.node.called("open_pixels") == [
        schema.OpenPixels(open_id=OPENED["open_id"], width=160, height=84)
    ]
    assert served.node.calls[-1][0] == "close_open"


async def test_a_picture_that_cannot_be_drawn_is_still_opened(served: Served) -> None:
    served.node.results.update(open=OPENED, open_pixels=refusal("timeout"), close_open={})

    ran = await at_terminal(served, "open", "3f9a")

    assert ran.code == 0
    assert "cannot draw the picture" in ran.out
    assert "1 open left" in ran.out
    assert served.node.calls[-1][0] == "close_open"


async def test_json_on_a_terminal_draws_nothing(served: Served) -> None:
    served.node.results.update(open=OPENED, close_open={})

    ran = await at_terminal(served, "open", "3f9a", "--json")

    assert ran.document == OPENED


async def test_a_second_factor_is_asked_for_unseen(served: Served) -> None:
    served.node.results["save"] = Answers(refusal("factor"), FILES)

    ran = await at_terminal(
        served, "save", "3f9a", answers=[("second-factor phrase: ", "abandon ability")]
    )

    assert ran.code == 0
    assert "abandon" not in ran.out
    factors = [one.factor for one in served.node.called("save") if isinstance(one, schema.Save)]
    assert factors == [None, "abandon ability"]


async def test_revoke_names_the_consequence_and_no_is_the_default(served: Served) -> None:
    served.node.results.update(shares=[SHARE, {**SHARE, "id": "3f9a" * 8, "state": "revoked"}])

    ran = await at_terminal(served, "revoke", "3F9A", answers=[("revoke 1 capability? [y/N] ", "")])

    assert ran.code == 1
    assert "bob loses 2 pictures, opened 1 time" in ran.out
    assert "cannot be taken back" in ran.out
    assert "nothing was revoked" in ran.out
    assert served.node.called("revoke") == []


async def test_revoke_goes_on_with_a_yes(served: Served) -> None:
    served.node.results.update(shares=[SHARE, {**SHARE, "id": "ab" * 16}], revoke={"revoked": []})

    asked = await at_terminal(
        served, "revoke", "--to", "bob", answers=[("revoke 2 capabilities? [y/N] ", "y")]
    )
    unasked = await at_terminal(served, "revoke", "--to", "bob", "--yes")

    assert (asked.code, unasked.code) == (0, 0)
    assert "[y/N]" not in unasked.out
    assert len(served.node.called("revoke")) == 2


async def test_joining_shows_the_words_and_takes_the_answer(served: Served, tmp_path: Path) -> None:
    (tmp_path / "welcome").write_bytes(b"sealed")
    offer: dict[str, Any] = {
        "team": "The Desk",
        "administrator": "alice\x1b[2J",
        "fingerprint": FINGERPRINT,
        "words": WORDS,
        "member": "bob",
    }
    served.node.results["join_file"] = offer
    line = ("join", "--file", str(tmp_path / "welcome"), "--yes")

    declined = await at_terminal(served, *line, answers=[("[y/N] ", "n")])
    before = len(served.node.called("join_file"))
    accepted = await at_terminal(served, *line, answers=[("[y/N] ", "yes")])

    assert (declined.code, before) == (1, 1)
    assert "one two three four five six seven eight" in declined.out
    assert FINGERPRINT in declined.out
    assert "\x1b[2J" not in declined.out
    assert accepted.code == 0
    assert "bob is a member of The Desk" in accepted.out
    last = served.node.called("join_file")[-1]
    assert isinstance(last, schema.JoinFile)
    assert last.expect == FINGERPRINT


async def test_identity_has_a_qr_code_for_people(served: Served) -> None:
    served.node.results["identity"] = {
        "fingerprint": FINGERPRINT,
        "words": WORDS,
        "name": "alice",
    }

    ran = await at_terminal(served, "identity")

    assert "one two three" in ran.out
    assert re.search("[▀▄█]", ran.out)


async def test_the_passphrase_is_asked_for_unseen(served: Served) -> None:
    served.node.results.update(
        status={"state": "locked", "locked_by_user": False, "pid": 1}, unlock={}, images=[]
    )

    ran = await at_terminal(served, "images", answers=[("passphrase: ", "correct horse")])

    assert ran.code == 0
    assert "correct horse" not in ran.out
    assert served.node.called("unlock") == [schema.Unlock(passphrase="correct horse")]


async def test_a_bar_is_shown_on_a_terminal_only(served: Served) -> None:
    served.node.results["import"] = {"images": [], "failed": []}

    seen = await at_terminal(served, "import", "/p")
    piped = await served.run("import", "/p")

    assert "importing" in seen.out
    assert piped.err == ""


def test_a_new_passphrase_is_long_enough_and_typed_twice(tmp_path: Path) -> None:
    line = ("init", "--name", "alice", "--home", str(tmp_path / "new"))
    environment = clean_environment(TERM="xterm")

    short = run_on_terminal(line, environment, answers=[("new passphrase: ", "1234567")])
    differ = run_on_terminal(
        line,
        environment,
        answers=[("new passphrase: ", "correct horse"), ("once more: ", "correct house")],
    )

    assert (short.code, differ.code) == (2, 2)
    assert "fewer than 8 letters" in short.out
    assert "not the same" in differ.out
    assert not (tmp_path / "new").exists()


async def test_ctrl_c_hangs_up_and_exits_with_130(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = asyncio.Event()
    began = asyncio.Event()
    answer = served.node.call

    async def call(method: str, params: Any, progress: Any) -> Any:
        if method != "images":
            return await answer(method, params, progress)
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return None

    monkeypatch.setattr(served.node, "call", call)
    process = subprocess.Popen(
        [*COMMAND, "images", "--json"],
        env=served.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whatever runs the tests may ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    async with asyncio.timeout(20):
        await began.wait()
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(process.communicate)
        await cancelled.wait()

    assert (process.returncode, err) == (130, "\n")
    assert out.startswith('{"error": {"code": "interrupted"')


async def test_ctrl_c_at_a_question_changes_nothing(served: Served) -> None:
    served.node.results["shares"] = [SHARE]

    started = time.monotonic()
    ran = await at_terminal(served, "revoke", "3f9a", answers=[("[y/N] ", "\x03")])

    assert ran.code == 130
    assert time.monotonic() - started < 30
    assert served.node.called("revoke") == []
