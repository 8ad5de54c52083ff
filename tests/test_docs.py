"""The documents agree with the project: links, commands, paths, codes and formats."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest

from node.cli import diagnostics
from node.cli.common import Settings
from node.cli.main import cli
from tests.support import ROOT

FORMATS = (
    *("encoding", "identity", "roster", "welcome", "policy", "capability", "sealed-to-person"),
    *("sealed-blob", "channel", "websocket", "audit-entry", "audit-log", "checkpoint", "control"),
    *("vault", "keyslots", "joining", "rendezvous", "mail", "announcement", "log-keys"),
    *("evidence", "evidence-pack"),
)
REGISTRIES = ("pypi", "pythonhosted", "npmjs", "crates.io", "golang.org", "rubygems", "registry")


def project_files() -> Iterator[Path]:
    """Yield the files of the project: everything that .gitignore does not name."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    ignored = [line.rstrip("/") for line in lines if line] + [".git"]

    def kept(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in ignored)

    for base, folders, names in os.walk(ROOT):
        folders[:] = filter(kept, folders)
        yield from (Path(base, name) for name in filter(kept, names))


def texts() -> dict[str, str]:
    """Return the text of each file that is text, by its path in the project."""
    found = {}
    for path in project_files():
        try:
            found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


TEXTS = texts()
DOCUMENTS = {name: text for name, text in TEXTS.items() if name.endswith(".md")}


def prose(document: str) -> str:
    """Return a document without its code blocks."""
    return re.sub(r"^```.*?^```", "", DOCUMENTS[document], flags=re.M | re.S)


def anchors(document: str) -> set[str]:
    """Return what a link may name behind `#`, as code hosts make it from headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.M)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / document).parent.joinpath(path).resolve() if path else ROOT / document
        name = found.relative_to(ROOT).as_posix()
        if not found.exists() or (anchor and anchor not in anchors(name)):
            broken.append(target)

    assert broken == []


# Commands ---------------------------------------------------------------------------------------


def typed_commands(document: str) -> list[str]:
    """Return the command lines that a document shows, in code blocks and in sentences."""
    blocks = re.findall(r"^\$ (safelight .*)$", DOCUMENTS[document], re.M)
    return blocks + re.findall(r"`(safelight [a-z-][^`]*)`", prose(document))


def find_problem(line: str) -> str | None:
    """Say what of a command line does not exist; arguments are not looked at."""
    command: click.Command = cli
    context = click.Context(cli, info_name="safelight", obj=Settings())
    words = iter(shlex.split(line.partition(" > ")[0])[1:])
    for word in words:
        if word.startswith("-"):
            options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
            known = [one for one in options if word in (*one.opts, *one.secondary_opts)]
            if not known:
                return f"no option {word}"
            if not known[0].is_flag and not known[0].is_eager:
                next(words, None)
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command, context = found, click.Context(found, info_name=word, parent=context)
    return None


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if typed_commands(name)])
def test_every_command_that_is_shown_exists(document: str) -> None:
    problems = {line: find_problem(line) for line in typed_commands(document)}

    assert {line: problem for line, problem in problems.items() if problem} == {}


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert find_problem("safelight shares --state live") is None
    assert find_problem("safelight --home DIR team add FILE -o OUT") is None
    assert find_problem("safelight team dissolve") == "no command dissolve"
    assert find_problem("safelight share launch --forever") == "no option --forever"


def test_the_readme_and_the_guide_show_commands() -> None:
    assert len(typed_commands("README.md")) >= 3
    assert len(typed_commands("docs/user-guide.md")) >= 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", TEXTS["Makefile"], re.M))

    assert set(re.findall(r"(?:`|^\$ )make ([a-z]+)", DOCUMENTS[document], re.M)) <= targets


# Errors -----------------------------------------------------------------------------------------


def codes_of_guide() -> dict[str, set[int]]:
    """Return the codes of the guide's tables with the exit codes of their headings."""
    found = {}
    guide = DOCUMENTS["docs/user-guide.md"]
    for heading, part in re.findall(r"^### ([^\n]*)\n(.*?)(?=^##|\Z)", guide, re.M | re.S):
        exits = {int(number) for number in re.findall(r"exit (\d+)", heading)}
        for cell in re.findall(r"^\| (`.*?) \|", part, re.M):
            found.update(dict.fromkeys(re.findall(r"`([a-z_]+)`", cell), exits))
    return found


def test_the_guide_says_what_to_do_about_every_code_that_has_an_exit_code() -> None:
    assert set(diagnostics._EXITS) - {"interrupted"} <= set(codes_of_guide())


def test_the_guide_puts_every_code_under_its_exit_code() -> None:
    wrong = {
        code: exits
        for code, exits in codes_of_guide().items()
        if diagnostics.exit_code_of(code) not in exits
    }

    assert wrong == {}


# What a document names --------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_of_the_project_that_is_named_exists(document: str) -> None:
    named = re.findall(r"`((?:protocol|node|tui|tests|docs)/[\w./-]+)`", prose(document))

    assert [one for one in named if not (ROOT / one).exists()] == []


def test_every_format_has_a_document_and_the_index_names_it() -> None:
    cited = {one for text in TEXTS.values() for one in re.findall(r"docs/spec/([\w-]+)\.md", text)}
    there = {path.stem for path in (ROOT / "docs" / "spec").iterdir()}
    indexed = set(re.findall(r"\(spec/([\w-]+)\.md\)", DOCUMENTS["docs/README.md"]))

    assert there >= cited | set(FORMATS)
    assert indexed == there


def test_decisions_are_numbered_without_a_gap_and_the_index_names_each() -> None:
    there = sorted(path.name for path in (ROOT / "docs" / "adr").iterdir())
    indexed = re.findall(r"\(adr/(.*?)\)", DOCUMENTS["docs/README.md"])

    assert [int(name[:4]) for name in there] == list(range(1, len(there) + 1))
    assert indexed == there
    for number, name in enumerate(there, 1):
        assert DOCUMENTS[f"docs/adr/{name}"].startswith(f"# {number}. ")


def test_the_newest_change_is_of_this_version() -> None:
    version = tomllib.loads(TEXTS["pyproject.toml"])["project"]["version"]

    assert re.findall(r"^## (\S+)", DOCUMENTS["CHANGELOG.md"], re.M)[0] == version


# What no file may hold --------------------------------------------------------------------------


def test_nothing_links_to_a_package_registry() -> None:
    hosts = "|".join(map(re.escape, REGISTRIES))

    assert _with(rf"https?://[\w.-]*(?:{hosts})") == {}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert _with(r"(?<![\w.~$})/-])/(?:work|home|root|Users)\b") == {}


def test_no_document_names_an_issue_by_its_number() -> None:
    found = _with(r"(?<![\w&/#])#\d+\b")

    assert {name: hits for name, hits in found.items() if name in DOCUMENTS} == {}


def test_pictures_of_the_documents_load_nothing_from_elsewhere() -> None:
    drawn = TEXTS["docs/images/demo.svg"]

    assert re.findall(r'https?://[^"\s]*', drawn) == ["http://www.w3.org/2000/svg"]
    assert re.findall(r"url\((?!#)", drawn) == []


def _with(pattern: str) -> dict[str, list[str]]:
    """Return the hits of a pattern in each file that has some."""
    found = {name: re.findall(pattern, text) for name, text in TEXTS.items()}
    return {name: hits for name, hits in found.items() if hits}
