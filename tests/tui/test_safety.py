"""What the framework would let out, shut; and what other people send, harmless on every screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest
from textual.filter import ANSIToTruecolor
from textual.widgets import Static

from tests.e2e.people import Cli
from tests.tui.deceiver import poisoned
from tests.tui.payloads import PAYLOADS
from tests.tui.support import USUAL, opened
from tests.tui.terminals import environment_of, terminal
from tui.app import SafelightApp
from tui.safety import forget_debugging
from tui.screens import table
from tui.text import clean, clean_answer, fit


def test_there_are_forty_payloads_and_they_are_of_every_kind() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 40
    everything = "".join(PAYLOADS)
    for kind in (
        *("\x1b]52", "\x1b[", "\x1bP", "\x1b_G", "\x1b]8", "\x9d52", "\x90", "\x07", "\0"),
        *("\t", "\n", "\r", "\x85", "\u2028", "\u202e", "\u2066", "\u200b", "\u0489", "漢"),
        *("[@click=", "[link=", "[bold"),
    ):
        assert kind in everything, repr(kind)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_terminal_acts_on_survives_cleaning(payload: str) -> None:
    cleaned = clean(payload)
    assert all(letter.isprintable() for letter in cleaned)
    # Marks stacked on a letter run over the lines above and below it.
    assert not re.search("[\u0300-\u036f\u0489]{5}", cleaned)
    assert len(cleaned) <= 4_001


def test_an_answer_is_cleaned_whole_but_for_bytes() -> None:
    answer = {
        "na\x1bme": "\x1b[2J",
        "list": ["\u202ea", {"deep": "\x07"}],
        "data": "QUJD" * 3_000,
        "thumbnails": {"6fd1": "QUJD" * 3_000},
        "number": 3,
        "nothing": None,
    }
    assert clean_answer(answer) == {
        "name": "[2J",
        "list": ["a", {"deep": ""}],
        "data": "QUJD" * 3_000,
        "thumbnails": {"6fd1": "QUJD" * 3_000},
        "number": 3,
        "nothing": None,
    }


@pytest.mark.parametrize("width", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("text", ["", "a", "wide 漢字漢字漢字", "plain words here", "🧑‍🚀 x"])
def test_text_is_fitted_into_exactly_its_cells(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(fit(text, width)) == width


@pytest.mark.parametrize("payload", PAYLOADS[:35:5])
async def test_hostile_names_show_on_every_screen_and_do_nothing(alice: Cli, payload: str) -> None:
    """Rows as a node that was itself deceived would tell them."""
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        gateway = screen.app.gateway
        honest = gateway._client.call

        async def deceived(method: str, params: Any = None, **options: Any) -> Any:
            return poisoned(await honest(method, params, **options), payload, method)

        gateway._client.call = deceived  # type: ignore[method-assign]
        for key, name, title in table.KEYS:
            key = "!" if key == "exclamation_mark" else key
            await screen.show(title, key)
            await screen.settled()
            assert "\x1b" not in screen.text, name
            assert all(one.isprintable() for line in screen.lines for one in line), name
        assert screen.app.is_running


async def test_no_screenshot_is_ever_taken(
    alice: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        app = screen.app
        for taken in (app.export_screenshot, app.save_screenshot, app.deliver_screenshot):
            with pytest.raises(PermissionError):
                taken()
        monkeypatch.chdir(tmp_path)
        app.action_screenshot()
        await screen.pilot.pause()
        assert list(tmp_path.iterdir()) == []
        offered = [one.title for one in app.get_system_commands(app.screen)]
        assert offered
        assert not [one for one in offered if "screenshot" in one.lower()]


def test_the_frameworks_debugging_is_forgotten() -> None:
    environment = {
        "TEXTUAL": "devtools,debug",
        "TEXTUAL_LOG": "/tmp/log",
        "TEXTUAL_SCREENSHOT": "1",
        "TEXTUAL_DEBUG": "1",
        "TERM": "xterm",
    }
    forget_debugging(environment)
    assert environment == {"TERM": "xterm"}


def test_a_run_reads_no_debugging_from_its_environment(tmp_path: Path) -> None:
    """In a process of its own: the framework reads its environment when it is imported."""
    script = (
        "import os, sys, tui.run\n"
        "tui.run.forget_debugging(os.environ)\n"
        "from textual import constants\n"
        "from tui.app import SafelightApp\n"
        "from pathlib import Path\n"
        "app = SafelightApp(home=Path(sys.argv[1]))\n"
        "print(constants.SCREENSHOT_DELAY, constants.LOG_FILE, constants.DEBUG, app.devtools)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={
            **os.environ,
            "TEXTUAL": "devtools,debug",
            "TEXTUAL_LOG": str(tmp_path / "log"),
            "TEXTUAL_SCREENSHOT": "1",
            "TEXTUAL_DEBUG": "1",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.split() == ["-1", "None", "False", "None"]
    assert not (tmp_path / "log").exists()


def test_a_program_that_is_started_with_debugging_on_writes_nothing(tmp_path: Path) -> None:
    more = {
        "TEXTUAL": "debug",
        "TEXTUAL_LOG": str(tmp_path / "log"),
        "TEXTUAL_SCREENSHOT": "0.2",
        "TEXTUAL_SCREENSHOT_LOCATION": str(tmp_path),
        "TEXTUAL_DEBUG": "1",
    }
    environment = environment_of(tmp_path, more)
    with terminal("--home", str(tmp_path / "none"), environment=environment) as screen:
        screen.until("There is no vault here yet")
        screen.quiet(1)
        screen.send("q")
        assert screen.ended() == 0
    assert not (tmp_path / "log").exists()
    assert not list(tmp_path.glob("*.svg"))


async def test_a_fault_shows_no_variables(tmp_path: Path) -> None:
    app = SafelightApp(home=tmp_path)
    async with app.run_test():
        try:
            canary = "canary passphrase"
            raise RuntimeError(f"{len(canary)}")
        except RuntimeError:
            app._fatal_error()
        with app.console.capture() as captured:
            for one in app._exit_renderables:
                app.console.print(one)
        app._exit_renderables.clear()
    assert "RuntimeError" in captured.get()
    assert "locals" not in captured.get()
    assert "= 'canary passphrase'" not in captured.get()


async def test_pictures_colours_are_not_filtered_twice(tmp_path: Path) -> None:
    app = SafelightApp(home=tmp_path)
    async with app.run_test():
        assert not [one for one in app.get_line_filters() if isinstance(one, ANSIToTruecolor)]


def test_no_widget_is_given_a_string_that_it_would_read_as_markup() -> None:
    """``Static("…")`` and ``update("…")`` parse markup: only constants of ours may stand there."""
    for path in Path("tui").rglob("*.py"):
        with path.open("rb") as file:
            tokens = list(tokenize.tokenize(file.readline))
        words = [one.string for one in tokens if one.type != tokenize.NL]
        for place, word in enumerate(words):
            if word in ("Static", "Label") and words[place + 1] == "(":
                first = words[place + 2]
                assert first in {")", "Content", "id", "classes", '""'}, (path, first)
            if word == "update" and words[place - 1] == "." and words[place + 1] == "(":
                assert words[place + 2] in {"Content", "_words", "(", "*"} or _is_ours(
                    words, place
                ), (path, words[place - 3 : place + 4])


def _is_ours(words: list[str], place: int) -> bool:
    """``update`` of a dictionary or set is nobody's text."""
    return words[place - 2] in {"marks", "newest", "fields", "environ", "_usual"}


def test_static_would_read_markup() -> None:
    """What the test above guards against is real."""
    assert "[b]" not in str(Static("[b]x[/b]").visual)
