"""What lies on a machine: the code, the sealed files, stolen and exchanged ones."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.system import system_entropy
from node.vault.errors import VaultError
from node.vault.vault import Vault
from protocol.errors import LocalError
from tests.attacks.mallory import CLOCK
from tests.node.services.team import PASSPHRASE, team
from tests.support import ROOT

# Row 44 and 37: what the code may not do ----------------------------------------------------------

SOURCES = sorted(
    path for package in ("protocol", "node", "tui") for path in (ROOT / package).rglob("*.py")
)
RUNS_TEXT = frozenset({"eval", "exec", "compile", "__import__", "execfile"})
MODULES_THAT_RUN_DATA = frozenset(
    {"pickle", "marshal", "shelve", "dill", "cloudpickle", "runpy", "imp", "code", "codeop"}
)
STARTS_A_SHELL = frozenset(
    {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
)
STARTS_A_SHELL_TOO = frozenset({"create_subprocess_shell", "subprocess_shell"})
FIXED_TABLES = frozenset({"_MODULES[cmd_name]"})
"""Modules of the commands, each named in the code."""
COMPRESSES = frozenset({"zlib", "gzip", "bz2", "lzma", "zstandard", "brotli"})


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Call):
            yield ast.unparse(one.func), one


def _imports(tree: ast.AST) -> Iterator[str]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            yield from (name.name.partition(".")[0] for name in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield (one.module or "").partition(".")[0]


def _faults_of(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [f"import {name}" for name in _imports(tree) if name in MODULES_THAT_RUN_DATA]
    for name, call in _calls(tree):
        last = name.rpartition(".")[2]
        if name in RUNS_TEXT or name in STARTS_A_SHELL or last in STARTS_A_SHELL_TOO:
            found.append(f"{name} in line {call.lineno}")
        if last == "import_module" and ast.unparse(call.args[0]) not in FIXED_TABLES:
            found.append(f"{name} of a computed name in line {call.lineno}")
        for keyword in call.keywords:
            if keyword.arg == "shell" and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                found.append(f"shell= in line {call.lineno}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_row_44_no_code_runs_data(path: Path) -> None:
    assert _faults_of(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "exec(x)",
        "__import__(name)",
        "import pickle",
        "from marshal import loads",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "importlib.import_module(name)",
        "await asyncio.create_subprocess_shell(x)",
    ],
)
def test_row_44_the_lint_sees_what_it_is_for(source: str) -> None:
    assert len(_faults_of(source)) == 1


def test_row_44_no_class_is_picked_by_a_name_in_data() -> None:
    """getattr with a computed name, where what comes from outside is handled."""
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for name, call in _calls(ast.parse(path.read_text()))
        if name == "getattr" and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant)
    ]
    allowed = ("node/vault/records/",)  # column names of our own dataclasses
    assert [one for one in found if not one.startswith(allowed)] == []


def test_row_37_nothing_between_nodes_or_on_disk_is_compressed() -> None:
    """The formats of pictures compress pixels by themselves; nothing else does.

    Pixels on their way to a person's own terminal are theirs, too.
    """
    users = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if COMPRESSES & set(_imports(ast.parse(path.read_text())))
    ]

    allowed = ("node/imaging/", "tui/pictures/")
    assert [one for one in users if not one.startswith(allowed)] == []


async def test_row_37_the_size_on_disk_tells_the_length_and_nothing_of_the_content(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        blobs = alice.node.context.vault.blobs
        for length in (0, 1, 1000, 200_000):
            sizes = {
                (await blobs.seal_bytes(data, system_entropy(32), bytes(80))).length
                for data in (bytes(length), system_entropy(length), b"ab" * (length // 2 + 1))
                if len(data) == length
            }
            assert len(sizes) == 1


# Row 45 -------------------------------------------------------------------------------------------


async def test_row_45_one_picture_in_two_vaults_has_nothing_in_common(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (hers,) = await alice.import_pictures(1)
        (his,) = await bob.import_pictures(1)
        assert hers["sha256"] == his["sha256"]
        await alice.share([hers["id"]], ["bob"], rendition="original")

        async def files(home: Path) -> list[bytes]:
            return [path.read_bytes() for path in home.glob("blobs/??/*")]

        mine, theirs = await files(alice.home), await files(bob.home)
        seen = {one[start : start + 16] for one in mine for start in range(0, len(one) - 16, 16)}

        assert len(mine) >= 3
        common = {
            one[start : start + 16]
            for one in theirs
            for start in range(len(one) - 16)
            if one[start : start + 16] in seen
        }
        assert common == set()


# Row 46 and 47 ------------------------------------------------------------------------------------


async def test_row_46_a_stolen_copy_of_a_home_opens_with_its_passphrase_only(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(1)
        name = alice.node.context.identity.public.name.encode()
        seeds = alice.node.context.identity.agreement_secret
        await alice.node.context.database.truncate_wal()
        stolen = tmp_path / "stolen"
        shutil.copytree(alice.home, stolen)

    for path in stolen.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert seeds not in data
            assert name not in data
            assert b"picture 000" not in data
            assert b"SQLite format" not in data
    for passphrase in ("", "password", PASSPHRASE + " ", PASSPHRASE.upper()):
        with pytest.raises((VaultError, LocalError)):
            await Vault.open(stolen, passphrase=passphrase, clock=CLOCK, entropy=system_entropy)


async def test_row_47_sealed_files_that_changed_places_are_found_by_a_check(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(2)
        first, second = sorted(alice.home.glob("blobs/??/*"), key=lambda one: one.stat().st_size)[
            -2:
        ]
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)

        found = await alice.node.check(read_data=True, progress=lambda *_: None)

        assert not found["ok"]
        assert len(found["problems"]) == 2


async def test_row_47_an_older_state_of_one_sealed_file_is_found_by_a_check(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice") as (alice,):
        await alice.import_pictures(1)
        (largest,) = sorted(alice.home.glob("blobs/??/*"), key=lambda one: one.stat().st_size)[-1:]
        largest.write_bytes(system_entropy(largest.stat().st_size))

        found = await alice.node.check(read_data=True, progress=lambda *_: None)

        assert [one["code"] for one in found["problems"]] == ["blob"]
