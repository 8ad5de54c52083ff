"""Commands that start, unlock and stop a real node."""

from __future__ import annotations

import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.node.cli.support import COMMAND, Ran, clean_environment, run


@dataclass(frozen=True)
class Home:
    """A real vault and its passphrase files."""

    folder: Path
    right: Path
    wrong: Path
    environment: dict[str, str]
    made: Ran
    """How `init` ended."""

    def run(self, *arguments: str, passphrase: Path | None = None) -> Ran:
        given = () if passphrase is None else ("--passphrase-file", str(passphrase))
        return run(*arguments, *given, "--json", environment=self.environment)

    def state(self) -> str:
        return str(self.run("node", "status").document["state"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("real")
    with tempfile.TemporaryDirectory(prefix="sl-") as runtime:
        right, wrong = folder / "right", folder / "wrong"
        for path, secret in ((right, "correct horse"), (wrong, "incorrect horse")):
            path.write_text(f"{secret}\n")
            path.chmod(0o600)
        environment = clean_environment(
            SAFELIGHT_HOME=str(folder / "home"), XDG_RUNTIME_DIR=runtime
        )
        ran = run(
            *("init", "--name", "alice", "--json", "--passphrase-file", str(right)),
            *("--recovery-out", str(folder / "recovery")),
            environment=environment,
        )
        yield Home(folder, right, wrong, environment, ran)


@pytest.fixture
def home(made: Home) -> Iterator[Home]:
    yield made
    made.run("node", "stop")


def test_init_tells_who_one_is_and_keeps_the_recovery_phrase_apart(made: Home) -> None:
    phrase = (made.folder / "recovery").read_text().split()

    assert made.made.code == 0, made.made.out
    assert made.made.document.keys() == {"fingerprint", "words", "name"}
    assert len(made.made.document["words"]) == 8
    assert len(phrase) == 24
    assert stat.S_IMODE((made.folder / "recovery").stat().st_mode) == 0o600
    assert " ".join(phrase[:3]) not in made.made.out + made.made.err


def test_without_a_file_the_recovery_phrase_is_on_stderr_and_never_in_the_document(
    made: Home, tmp_path: Path
) -> None:
    ran = run(
        *("init", "--name", "bob", "--home", str(tmp_path / "bob"), "--json"),
        *("--passphrase-file", str(made.right)),
        environment=made.environment,
    )

    phrase = max(ran.err.splitlines(), key=lambda line: len(line.split()))
    assert len(phrase.split()) == 24
    assert phrase not in ran.out
    assert ran.document["name"] == "bob"


def test_a_wrong_passphrase_stops_the_node_that_was_started(home: Home) -> None:
    ran = home.run("node", "start", passphrase=home.wrong)

    assert (ran.code, ran.document["error"]["code"]) == (6, "wrong_passphrase")
    assert home.state() == "stopped"


def test_a_first_command_starts_and_unlocks_the_node(home: Home) -> None:
    first = home.run("images", passphrase=home.right)
    second = home.run("images")

    assert (first.code, first.document) == (0, [])
    assert (second.code, second.document) == (0, [])
    assert home.state() == "unlocked"


def test_lock_holds_until_unlock(home: Home) -> None:
    home.run("node", "start", passphrase=home.right)

    assert home.run("lock").document == {"state": "locked"}
    assert home.run("images", passphrase=home.right).code == 6
    assert home.run("lock").document == {"state": "locked"}
    assert home.run("unlock", passphrase=home.wrong).code == 6
    assert home.run("unlock", passphrase=home.right).document == {"state": "unlocked"}
    assert home.run("images").code == 0


def test_a_stopped_node_leaves_its_vault_free_when_the_command_returns(home: Home) -> None:
    line = ("node", "start", "--listen", "127.0.0.1:0")

    first = home.run(*line, passphrase=home.right)
    stopped = home.run("node", "stop")
    second = home.run(*line, passphrase=home.right)

    assert (first.code, stopped.code, second.code) == (0, 0, 0), second.out
    assert first.document["pid"] != second.document["pid"]


@pytest.mark.parametrize(("secret", "ends"), [("right", 0), ("wrong", 6)])
def test_a_node_in_the_foreground_unlocks_itself_from_a_file(
    home: Home, secret: str, ends: int
) -> None:
    path: Path = getattr(home, secret)
    process = subprocess.Popen(
        [*COMMAND, "node", "run", "--listen", "127.0.0.1:0", "--passphrase-file", str(path)],
        env=home.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if secret == "right":
            deadline = time.monotonic() + 30
            while home.state() != "unlocked" and time.monotonic() < deadline:
                time.sleep(0.1)
            assert home.state() == "unlocked"
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == ends, err
    assert home.state() == "stopped"
