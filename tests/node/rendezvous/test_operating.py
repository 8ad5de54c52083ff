"""What an operator sees: the command, the journal, the numbers, a disk that fails."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as sqlite

from node.cli.rendezvous import serve
from node.rendezvous import store
from node.rendezvous.journal import Journal
from node.rendezvous.pace import Pace, Turnstile
from node.rendezvous.store import Job, Store
from node.system import SystemClock, system_entropy
from node.transport.listener import ListenError
from node.vault.connection import SqlConnection
from node.vault.errors import StorageFailedError, StorageFullError
from protocol.errors import LocalError
from protocol.rendezvous.address import parse_rendezvous_address
from tests.node.rendezvous.members import TEAM, attending, claim, key_of, until
from tests.node.rendezvous.process import serving
from tests.node.rendezvous.server import rendezvous
from tests.support import ROOT

COMMAND = (sys.executable, "-P", "-m", "node.cli.main", "rendezvous", "serve")


class FixedClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at


# The command ------------------------------------------------------------------------------------


async def test_the_command_tells_address_and_claim_and_ends_on_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert server.claim is not None
        first = server.claim
        await claim(server.address, server.claim, "alice")
        server.process.send_signal(signal.SIGTERM)

        assert await asyncio.to_thread(server.process.wait, 60) == 0
    with serving(tmp_path / "data") as server:
        assert server.claim is None
        async with attending(server.address, "alice"):
            pass
    with serving(tmp_path / "data", None, "--new-claim") as server:
        assert server.claim not in (None, first)
        key = (tmp_path / "data" / "key").read_bytes()
        for told in (server.log.read_bytes(), repr(server.address).encode()):
            assert key not in told
            assert key.hex().encode() not in told


def test_the_address_names_where_others_reach_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data", None, "--public", "rendezvous.example:7431") as server:
        assert server.address.startswith("rendezvous.example:7431/")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--listen", "nonsense"], "usage"),
        (["--listen", "192.0.2.1:1"], "listen"),
        (["--listen", "127.0.0.1:0", "--settings", "none.toml"], "usage"),
        (["--listen", "127.0.0.1:0", "--public", "nonsense"], "usage"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, options: list[str], code: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--json", "--data", str(tmp_path / "data"), *options],
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert done.returncode != 0
    assert json.loads(done.stdout)["error"]["code"] == code


def test_people_are_told_what_to_do_with_the_claim(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = [process.stdout.readline(), process.stdout.readline()]
    process.terminate()
    _, errors = process.communicate(timeout=60)

    assert parse_rendezvous_address(told[0].split()[-1])
    assert told[1].split()[0] == "claim"
    assert "safelight rendezvous claim 127.0.0.1:" in errors


def test_the_unit_for_systemd_runs_the_command_as_it_is() -> None:
    unit = (ROOT / "docs" / "safelight-rendezvous.service").read_text()
    (started,) = re.findall(
        r"^ExecStart=/usr/local/bin/safelight rendezvous serve (.*)$", unit, re.M
    )
    named = {word for word in started.split() if word.startswith("--")}
    known = {name for one in serve.params for name in one.opts}

    assert named <= known


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ListenError):
            async with rendezvous(tmp_path, port=taken.getsockname()[1]):
                pass
        async with rendezvous(tmp_path) as server:
            with pytest.raises(ListenError):
                await server.show_metrics(taken.getsockname()[1])


# Numbers and journal ----------------------------------------------------------------------------


async def test_numbers_are_in_the_format_of_prometheus_and_name_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice", "bob"):
            page = await asyncio.to_thread(read_page, server.metrics_port, "/metrics")
        lines = page.splitlines()

        assert "safelight_rendezvous_claims_total 1" in lines
        assert "safelight_rendezvous_attending 2" in lines
        assert "# TYPE safelight_rendezvous_relayed_bytes_total counter" in lines
        for line in lines:
            name, _, value = line.rpartition(" ")
            assert line.startswith("# ") or (name.startswith("safelight_") and value.isdigit())
        assert key_of("alice").hex() not in page
        with pytest.raises(urllib.error.HTTPError):
            await asyncio.to_thread(read_page, server.metrics_port, "/")


def read_page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        text: str = answer.read().decode()
        return text


async def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    async with rendezvous(tmp_path) as server:
        port = await server.show_metrics(0)
        server.metrics.refused["full"] += 3

        page = await asyncio.to_thread(read_page, port, "/metrics")
        assert 'safelight_rendezvous_refused_total{reason="full"} 3' in page


async def test_the_journal_hides_ids_and_addresses(tmp_path: Path) -> None:
    lines: list[str] = []
    async with rendezvous(tmp_path, write=lines.append) as server:
        await claim(server.address, server.claim, "alice", "bob")
        async with attending(server.address, "alice"):
            pass
    text = "\n".join(lines)

    assert [line.split()[0] for line in lines] == ["started", "claimed", "ended"]
    assert "127.0.0.1" not in text
    assert TEAM.hex()[:12] not in text


def test_ids_of_the_journal_cannot_be_joined_across_days() -> None:
    clock = FixedClock()
    journal = Journal(lambda line: None, clock=clock, entropy=system_entropy)
    today = journal.hashed(b"an id")

    assert journal.hashed(b"an id") == today
    assert journal.hashed(b"another") != today
    clock.at += 24 * 3_600_000
    assert journal.hashed(b"an id") != today


# Pace -------------------------------------------------------------------------------------------


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    pace = Pace(per_s=10, burst=3, now=0)

    assert [pace.try_take(0) for _ in range(4)] == [True, True, True, False]
    assert pace.wait(0) == pytest.approx(100)
    assert [pace.try_take(at) for at in (99, 100, 150, 200)] == [False, True, False, True]
    assert pace.take(11, 200) == pytest.approx(1_100)


async def test_a_crowd_of_one_address_waits_behind_itself() -> None:
    clock = SystemClock()
    turnstile = Turnstile(per_address=2, in_all=1_000, clock=clock)
    order: list[str] = []

    async def enter(address: str) -> None:
        await turnstile.enter(address)
        order.append(address)

    crowd = [asyncio.create_task(enter("crowd")) for _ in range(6)]
    await asyncio.sleep(0)
    await asyncio.gather(*(enter(f"single {n}") for n in range(10)))

    assert order.count("crowd") <= 3
    crowd[-1].cancel()
    await asyncio.gather(*crowd[:-1])
    assert order.count("crowd") == 5
    turnstile.close()


async def test_who_comes_and_goes_leaves_no_more_than_one_place_behind() -> None:
    turnstile = Turnstile(per_address=1, in_all=1, clock=SystemClock())
    for _ in range(100):
        turnstile.enter("a crowd").cancel()

    assert len(turnstile._waiting["a crowd"]) == 1
    turnstile.close()


# The disk ---------------------------------------------------------------------------------------


async def test_a_job_that_is_refused_undoes_itself_alone(tmp_path: Path) -> None:
    kept = await Store.open(tmp_path / "db", failed=lambda: None)

    def add(secret: str, error: Exception | None = None) -> Job[None]:
        def job(connection: SqlConnection) -> None:
            store.add_claim(connection, secret)
            if error is not None:
                raise error

        return job

    results = await asyncio.gather(
        kept.run(add("a")),
        kept.run(add("b", LocalError("no"))),
        kept.run(add("c")),
        return_exceptions=True,
    )

    assert [type(one) for one in results] == [type(None), LocalError, type(None)]
    assert await kept.run(store.claims) == ["a", "c"]
    await kept.close()


async def test_after_an_error_of_the_disk_nothing_is_tried_again(tmp_path: Path) -> None:
    failed = asyncio.Event()
    kept = await Store.open(tmp_path / "db", failed=failed.set)

    def broken(connection: SqlConnection) -> None:
        error = sqlite.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = 10, "SQLITE_IOERR"
        raise error

    with pytest.raises(StorageFailedError):
        await kept.run(broken)
    await until(failed.is_set)
    with pytest.raises(StorageFailedError):
        await kept.run(lambda sql: None)
    await kept.close()


async def test_a_full_disk_is_said_and_may_have_room_later(tmp_path: Path) -> None:
    kept = await Store.open(tmp_path / "db", failed=lambda: None)
    await kept.run(lambda sql: None)
    pages = "PRAGMA max_page_count"
    (used,) = await kept.run(lambda sql: sql.execute("PRAGMA page_count").fetchone())
    await kept._connection.run(lambda sql: sql.execute(f"{pages} = {used}"))

    def add(connection: SqlConnection) -> None:
        store.add_claim(connection, "x" * 10**6)

    with pytest.raises(StorageFullError):
        await kept.run(add)
    await kept._connection.run(lambda sql: sql.execute(f"{pages} = 1000000"))
    await kept.run(add)
    await kept.close()
