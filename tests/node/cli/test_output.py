from __future__ import annotations

import io
import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import output
from node.cli.text import clean, clean_line

HOSTILE = (
    "\x1b]52;c;QUFBQQ==\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x90q\x9c",
    "a\rb",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "\u200bx",
    "a\u2028b",
    "\ud800",
    "[red]bold[/red]",
    "[@click=app.quit]x[/]",
    "\x00",
    "\x7f",
)


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def acts(text: str) -> bool:
    """Say whether a terminal would do anything but show the text."""
    return any(
        unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and letter != "\n"
        for letter in text
    )


@given(st.text())
def test_clean_text_only_shows(text: str) -> None:
    assert not acts(clean(text))
    assert not acts(clean_line(text))
    assert "\n" not in clean_line(text)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "M"))))
def test_clean_text_keeps_letters_of_every_script(text: str) -> None:
    assert clean(text) == text


def test_lines_stay_lines_only_where_they_may() -> None:
    assert clean("one\ntwo\tthree") == "one\ntwo three"
    assert clean_line("one\ntwo") == "one two"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("terminal", [True, False])
def test_no_way_of_writing_lets_hostile_text_act(
    monkeypatch: pytest.MonkeyPatch, text: str, terminal: bool
) -> None:
    stdout = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")

    output.line(text)
    output.table((text,), [(text,), ({text: [text]},)], empty=text)
    output.table((text,), [], empty=text)
    output.details({text: text, "rows": [{text: text}]})
    output.document({text: [text]})

    assert not acts(stdout.getvalue())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_a_document_is_one_line_of_ascii_and_loses_nothing(value: Any) -> None:
    stdout, kept = io.StringIO(), sys.stdout
    sys.stdout = stdout
    try:
        output.document(value)
    finally:
        sys.stdout = kept
    written = stdout.getvalue()

    assert written.isascii()
    assert written.count("\n") == 1
    assert json.loads(written) == value


def test_a_piped_table_is_neither_wrapped_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500

    output.table(("name", "state"), [(long, "live"), ("b", "revoked")], empty="")

    assert capsys.readouterr().out.splitlines() == [
        "name" + " " * 498 + "state",
        long + "  live",
        "b" + " " * 501 + "revoked",
    ]


def test_states_have_their_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm-256color")

    output.table(("state",), [("live",)], empty="")

    assert "\x1b[32mlive" in stdout.getvalue()


def test_no_color_is_obeyed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")

    output.table(("state",), [("live",)], empty="")

    assert "\x1b[32m" not in stdout.getvalue()
    assert "live" in stdout.getvalue()


def test_details_have_facts_first_and_lists_of_objects_as_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.details(
        {
            "name": "harbour.jpg",
            "versions": [{"number": 1, "bytes": 2_500_000}],
            "tags": ["press", "sea"],
            "bytes": 999,
            "revoked": False,
            "nothing": None,
        }
    )

    assert capsys.readouterr().out == (
        "name     harbour.jpg\n"
        "tags     press, sea\n"
        "bytes    999 B\n"
        "revoked  no\n"
        "\n"
        "versions\n"
        "number  bytes\n"
        "     1  2.5 MB\n"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000, "2.5 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_told_in_powers_of_a_thousand(count: int, text: str) -> None:
    assert output.size(count) == text


def test_what_the_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    output.line("Müller")

    assert written.getvalue() == b"M?ller\n"
