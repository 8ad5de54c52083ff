"""Keys that a person chose: whatever names a key names the one that holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from textual.widgets import Static

from tests.e2e.people import Cli
from tests.tui.support import LARGE, Screen, opened
from tui.gateway import Connection
from tui.keymap import key_that_holds, key_words, read_keymap
from tui.screens import table
from tui.screens.dialog import Dialog
from tui.widgets.lines import KeyLine, TopLine

FIXED: Final = {"Enter", "Tab", "↑", "↓"}
"""Keys of the framework's own lines and buttons, which nobody can choose otherwise."""
SAYS_FIXED: Final = frozenset(("dialog.py", "entry.py", "importing.py", "help.py", "metadata.py"))
"""Files of dialogs that say them."""
NAMED: Final = re.compile(
    r"\b(?:Esc|Enter|Space|PgUp|PgDn|Tab)\b"
    r"|\b[Pp]ress \W?\w\b"
    r"|(?<= )\((?:\w|[!?/:])\)"
    r"|(?:^|[\s,;:])(?:[b-zB-HJ-Z0-9!?/]|\ba(?= \w+s )|I(?= \w+s ))(?= [a-z]+s\b|: )",
    re.ASCII,
)
"""A key, as a sentence names it."""
LETTERS: Final = "".join(chr(one) for one in (*range(0x10D0, 0x10F1), *range(0x0561, 0x0587)))
"""Keys that no binding has."""


def said(path: Path) -> Iterator[str]:
    """Give every text of a module but what explains it and what binds keys."""
    tree = ast.parse(path.read_text())
    silent: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(node.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Binding":
            silent |= set(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent:
            yield node.value


@pytest.mark.parametrize(
    "sentence",
    ["Press i to import", "3 tags in all (m)", "u takes it back", "q quits", ", Esc cancels",
     "not opened: Enter opens it", "k: I have it", "over. a shows what is over"],
)  # fmt: skip
def test_a_sentence_that_names_a_key_itself_would_be_found(sentence: str) -> None:
    assert NAMED.search(sentence)


def test_no_sentence_names_a_key_itself() -> None:
    found = [
        (path.name, text)
        for path in sorted(Path("tui").rglob("*.py"))
        if path.name != "keymap.py"
        for text in said(path)
        if (named := NAMED.search(text)) and not (path.name in SAYS_FIXED and named[0] in FIXED)
    ]
    assert found == []


def test_every_binding_is_found() -> None:
    written = {
        name
        for path in Path("tui").rglob("*.py")
        for name in re.findall(r'\bBinding\([^)]*?\bid="([a-z.-]+)"', path.read_text())
    }
    assert len(written) > 60
    program = "from tui.screens import table; print(*table.binding_ids())"
    printed = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert written - set(printed.split()) == set()


def test_every_binding_that_a_sentence_asks_for_is_there() -> None:
    ids = table.binding_ids()
    owners = "|".join({one.partition(".")[0] for one in ids})
    asked = re.compile(rf"(?:(?:{owners})\.[a-z-]+ ?)+")
    found = {
        name
        for path in Path("tui").rglob("*.py")
        if path.name != "settings.py"
        for text in said(path)
        if asked.fullmatch(text)
        for name in text.split()
    }
    assert found - ids == set()
    assert len(found) > 40


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("question_mark", "?"), ("full_stop", "."), ("plus,equals_sign", "+ ="), ("f5", "F5"),
        ("ctrl+p", "^p"), ("pagedown", "PgDn"), ("tab", "Tab"), ("escape", "Esc"), ("f", "f"),
        ("shift+tab", "shift+Tab"), ("left_square_bracket", "["), ("G,end", "G End"), ("ა", "ა"),
    ],
)  # fmt: skip
def test_keys_are_written_as_they_stand_on_keyboards(keys: str, words: str) -> None:
    assert key_words(keys) == words


def test_what_leads_out_of_a_line_is_no_letter(tmp_path: Path) -> None:
    path = tmp_path / "keymap.toml"
    for key in ("x", "space", "full_stop", "ა", "f9,x"):
        path.write_text(f'[keys]\n"dialog.cancel" = "{key}"\n')
        assert read_keymap(path, table.binding_ids)[0] == {}
    path.write_text('[keys]\n"dialog.cancel" = "f9,ctrl+g"\n"page.back" = "backspace"\n')
    assert read_keymap(path, table.binding_ids)[1] == []


def test_no_choice_takes_the_key_by_which_another_is_named(tmp_path: Path) -> None:
    path = tmp_path / "keymap.toml"
    path.write_text('[keys]\n"library.albums" = "s"\n"library.filter" = "b,f"\n')
    chosen, problems = read_keymap(path, table.binding_ids)
    assert chosen == {}
    assert sorted(problems) == [
        "keymap.toml: library.albums: s is the key of library.share",
        "keymap.toml: library.filter: f is the key of library.status",
    ]
    path.write_text('[keys]\n"library.albums" = "s"\n"library.share" = "a"\n"inbox.save" = "s"\n')
    assert read_keymap(path, table.binding_ids)[1] == []
    path.write_text('[keys]\n"rows.down" = "j,ctrl+n,down"\n"grid.down" = "home,n"\n')
    assert read_keymap(path, table.binding_ids)[1] == []


def test_the_key_of_a_binding_is_the_first_of_its_own_or_of_the_persons() -> None:
    table.binding_ids()
    assert key_that_holds({}, "list.first") == "g"
    assert key_that_holds({"list.first": "home,g"}, "list.first") == "Home"
    with pytest.raises(KeyError):
        key_that_holds({}, "list.none")


@pytest.fixture
def carol(tmp_path: Path) -> Iterator[Cli]:
    """Somebody alone, with an empty vault."""
    one = Cli("carol", tmp_path)
    one.set_up()
    yield one
    one.run("node", "stop")


async def test_every_empty_screen_names_the_keys_that_hold(
    carol: Cli, settings_folder: Path
) -> None:
    chosen = dict(zip(sorted(table.binding_ids()), LETTERS + LETTERS.upper(), strict=False))
    assert set(chosen) == table.binding_ids(), "more keys are needed here"
    chosen |= {"dialog.cancel": "f9", "page.back": "f10"}
    settings_folder.mkdir(parents=True)
    lines = [f'"{name}" = "{key}"\n' for name, key in chosen.items()]
    (settings_folder / "keymap.toml").write_text("[keys]\n" + "".join(lines))
    words = {name: key_words(key) for name, key in chosen.items()}

    def named(screen: Screen) -> str:
        """Check what the screen in front says of keys; return its sentence."""
        page = screen.page
        shown = [one.key for one in page.query_one(KeyLine)._keys]
        shown += [one.key for one in page.query_one(TopLine)._said[1]]
        assert len(shown) > len(table.KEYS)
        assert set(shown) <= set(words.values())
        sentence = str(page.query_one(".sentence", Static).content)
        assert not NAMED.search(sentence), sentence
        return sentence

    async with opened(carol, LARGE) as screen:
        assert screen.app.problems == []
        await screen.settled()
        sentences = {}
        for _, name, title in table.KEYS:
            await screen.show(title, chosen[f"show.{name}"])
            await screen.settled()
            sentences[name] = named(screen)
            if name == "shares":
                await screen.press(chosen["shares.all"])
                await screen.settled()
                await screen.until(lambda: "You have shared nothing" in screen.text)
                named(screen)
            if name == "team":
                await screen.press(chosen["team.join"])
                await screen.until(lambda: isinstance(screen.app.screen, Dialog))
                assert isinstance(screen.app.screen, Dialog)
                hinted = [key for key, _ in screen.app.screen.shown_hints()]
                assert hinted == ["Enter", "F9"]
                await screen.until(lambda: "F9 cancels" in screen.text)
                await screen.press(chosen["dialog.cancel"])
                await screen.settled()
        assert f"Press {chosen['library.import']} to import" in sentences["library"]
        assert f"Press {chosen['team.join']} to join" in sentences["team"]
        assert f"{chosen['shares.all']} shows what is over" in sentences["shares"]
        await screen.press(chosen["app.lock"])
        await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
        await screen.until(lambda: "The vault is locked" in screen.text)
        assert f"Press {chosen['page.enter']} to unlock" in named(screen)
        carol.run("node", "stop")
        await screen.until(lambda: screen.app.gateway.connection is not Connection.LOCKED)
        await screen.until(lambda: f"{chosen['page.enter']} " in named(screen))
        await screen.until(lambda: "starts it" in named(screen) or "start it" in named(screen))
