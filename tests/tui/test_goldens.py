"""How the screens look, line by line, at three sizes: compared with text that somebody read.

The answers of a node stand in ``goldens/answers.json``, recorded from a real one with its times
and keys made constant, so that only what this program does can change a line. No colours: they
are the themes', and pictures are half-blocks, whose shape depends on no decoder.

``SAFELIGHT_GOLDENS=write`` writes the screens anew, ``record`` the answers as well. Read the
difference before you keep it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.control.client import ControlClient, ControlError
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen
from tui import times
from tui.app import SafelightApp
from tui.screens import table
from tui.widgets.grid import Grid

FOLDER = Path(__file__).with_name("goldens")
ANSWERS = FOLDER / "answers.json"
WANTED = os.environ.get("SAFELIGHT_GOLDENS", "")
NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
SHOWN = tuple(
    ("!" if key == "exclamation_mark" else key, module, title) for key, module, title in table.KEYS
)


def _name(method: str, params: Any) -> str:
    """Return the name of a call, as answers are kept under."""
    given = msgspec.to_builtins(params) if params is not None else {}
    offset = given.get("offset") if isinstance(given, dict) else None
    return f"{method}+{offset}" if offset else method


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Fix the time, the terminal and the answers; return a home that only seems to be one."""
    answers = json.loads(ANSWERS.read_text())

    async def call(_self: ControlClient, method: str, params: Any = None, **_options: Any) -> Any:
        name = _name(method, params)
        if name not in answers:
            raise ControlError(f"not recorded: {name}", code="unknown", hint="")
        return answers[name]

    async def stream(_self: ControlClient, _method: str, _params: Any = None) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield {}

    monkeypatch.setattr(ControlClient, "call", call)
    monkeypatch.setattr(ControlClient, "stream", stream)
    monkeypatch.setattr(times, "now", lambda: NOW)
    for name, value in (
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
        ("TZ", "UTC"),
        ("SAFELIGHT_PICTURES", "halves"),
        ("XDG_CONFIG_HOME", "/nonexistent"),
    ):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "COLORFGBG", "TMUX", "SAFELIGHT_COLOURS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    (home / "vault").touch()
    time.tzset()
    yield home
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("size", [SMALL, USUAL, LARGE], ids=["40x12", "80x24", "120x40"])
@pytest.mark.parametrize(("key", "module", "title"), SHOWN, ids=[one[1] for one in SHOWN])
async def test_a_screen_looks_as_it_did(
    fixed: Path, key: str, module: str, title: str, size: tuple[int, int]
) -> None:
    app = SafelightApp(home=fixed)
    async with app.run_test(size=size) as pilot:
        screen = Screen(app, pilot)
        await screen.settled()
        if module != "library":
            await screen.show(title, key)
            await screen.settled()
        seen = "\n".join(await _still(screen)) + "\n"
    path = FOLDER / f"{module}-{size[0]}x{size[1]}.txt"
    if WANTED:
        path.write_text(seen)
    assert seen == path.read_text(), "SAFELIGHT_GOLDENS=write writes it anew"


async def _still(screen: Screen) -> list[str]:
    """Return the lines of the screen once they stay the same and nothing is awaited."""
    before: list[str] = []

    def still() -> bool:
        nonlocal before
        now = [line.rstrip() for line in screen.lines]
        same, before = now == before, now
        drawn = all(one.settled for one in screen.page.query(Grid))
        return same and drawn and all(one.is_finished for one in screen.app.workers)

    # Some turns of the loop and a moment: a list draws in the turn after its page came.
    for _ in range(3):
        await screen.until(still)
    return before


@pytest.mark.skipif(WANTED != "record", reason="answers are recorded with SAFELIGHT_GOLDENS=record")
async def test_record_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a real node answers; run this one first, then write the screens."""
    answers: dict[str, Any] = {}
    honest = ControlClient.call

    async def call(self: ControlClient, method: str, params: Any = None, **options: Any) -> Any:
        answer = await honest(self, method, params, **options)
        answers[_name(method, params)] = answer
        return answer

    monkeypatch.setattr(ControlClient, "call", call)
    monkeypatch.setenv("SAFELIGHT_PICTURES", "halves")
    with e2e.people(tmp_path, "alice", "bob") as (alice, bob):
        _live(alice, bob, tmp_path)
        for person in (bob, alice):
            app = SafelightApp(home=person.home, passphrase_file=person.passphrase_file)
            async with app.run_test(size=LARGE) as pilot:
                screen = Screen(app, pilot)
                await screen.settled()
                for key, module, title in SHOWN:
                    if (person is bob) is (module == "inbox"):
                        await screen.show(title, key)
                        await screen.settled()
                        await _still(screen)
            if person is bob:
                answers = {"inbox": answers["inbox"]} if "inbox" in answers else answers
    ANSWERS.write_text(json.dumps(_constant(answers), indent=1, ensure_ascii=False) + "\n")


def _live(alice: Cli, bob: Cli, folder: Path) -> None:
    e2e.picture_files(folder / "pictures", 6, (320, 214))
    images = alice.do("import", str(folder / "pictures"), "--album", "Launch")["images"]
    ids: list[str] = []
    for terms in (
        ("--for", "2h"),
        ("--for", "2d", "--opens", "1"),
        ("--for", "1h", "--terms", "Press only"),
    ):
        made = alice.do("share", images[len(ids)]["id"], "--to", "bob", *terms)
        ids.append(made["capabilities"][0]["id"])
        bob.ready(ids[-1])
    bob.do("open", ids[0])
    bob.do("open", ids[1])
    bob.refused("open", ids[1])
    alice.do("revoke", ids[2], "--yes")


_TIME = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
_UNTIL = re.compile(r"\w{3} \d{1,2} \w{3} 20\d\d \d\d:\d\d UTC")


def _constant(value: Any, field: str = "") -> Any:
    """Return answers without what differs from run to run, and nothing of this machine."""
    if isinstance(value, dict):
        return {name: _constant(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_constant(one, field) for one in value]
    if field == "listen":
        return "127.0.0.1:7421"
    if field == "home":
        return "/nonexistent"
    if field in {"rtt_ms", "pid"} and value is not None:
        return 4
    if field == "unwitnessed_s":
        return 7
    if isinstance(value, str):
        future = _TIME.fullmatch(value) and datetime.fromisoformat(value) > datetime.now(UTC)
        value = _TIME.sub("2030-01-31T13:30:00Z" if future else "2030-01-31T11:57:00Z", value)
        value = _UNTIL.sub("Thu 31 Jan 2030 13:30 UTC", value)
        value = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:7421", value)
        if field == "message" and "2030-01-31T" not in value:
            value = re.sub(r"\d[\d.,]*", "4", value)
    return value
