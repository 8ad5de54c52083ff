"""One node process: locked, unlocked, serving while locked, stopped; one process to a home."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node.app import App
from node.control import schema
from node.control.client import ControlClient, ControlError
from node.control.schema import METHODS, Params
from node.errors import LockedError, UnreachableError
from node.imaging.made import made_pictures
from node.services.peering import Peering
from node.system import SystemClock, system_entropy
from node.transport.listener import ListenError
from node.unlocked import Unlocked
from node.vault.errors import VaultBusyError, WrongPassphraseError
from node.vault.vault import Vault
from protocol.errors import Refused, SafelightError
from tests.node.kept_imaging import kept_imaging
from tests.node.services.conditions import execute, writer_held
from tests.node.services.team import (
    PASSPHRASE,
    SMALL_ARGON2,
    Person,
    ShiftedClock,
    eventually,
    join,
    new_person,
)


async def make_home(home: Path, name: str) -> None:
    """Make a vault that no process uses."""
    vault, _ = await Vault.create(
        home,
        name=name,
        passphrase=PASSPHRASE,
        clock=SystemClock(),
        entropy=system_entropy,
        memory_bytes=SMALL_ARGON2,
    )
    await vault.close()


async def call(app: App, method: str, params: Params | None = None) -> Any:
    return await app.call(method, params or METHODS[method](), lambda *_: None)


async def unlock(app: App, passphrase: str = PASSPHRASE) -> Any:
    return await call(app, "unlock", schema.Unlock(passphrase=passphrase))


@asynccontextmanager
async def running(home: Path, *, listen: str = "127.0.0.1:0") -> AsyncIterator[App]:
    """Hold a node process's inside, without its control socket."""
    app = App(home, listen=listen)
    await app._imaging.start()
    try:
        yield app
    finally:
        await app._close_vault()
        await app._imaging.close()


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A home with a vault."""
    await make_home(tmp_path / "bob", "bob")
    return tmp_path / "bob"


def node_of(app: App) -> Unlocked:
    assert app._node is not None
    return app._node


@asynccontextmanager
async def friend(folder: Path, app: App) -> AsyncIterator[Person]:
    """Hold an administrator whose team the unlocked node of an app has joined."""
    imaging = await kept_imaging()
    alice = await new_person(folder, "alice", imaging)
    try:
        await alice.node.membership.create("Team")
        inside = Person(
            name="bob", home=app._home, clock=ShiftedClock(), imaging=imaging, node=node_of(app)
        )
        await join(alice, inside)
        await alice.node.peering.reach(inside.me, 45)
        yield alice
    finally:
        await alice.node.close()


# States ---------------------------------------------------------------------------------------


async def test_only_five_methods_answer_while_locked(home: Path) -> None:
    async with running(home) as app:
        status = await call(app, "status")
        assert (status["state"], status["serving"], status["locked_by_user"]) == (
            "locked",
            False,
            False,
        )
        assert (status["fingerprint"], status["log_size"], status["listen"]) == (None, None, [])
        required: dict[str, Any] = {
            "name": "x", "identity_file": "", "welcome": "", "who": "x", "host": "x", "port": 1,
            "paths": [], "image": "x", "what": [], "to": [], "capability": "x", "open_id": "x",
            "width": 1, "height": 1, "out": "x", "images": [], "classification": "internal",
            "role": "editor", "threshold": 1, "proposal": "x", "number": 1, "code": "x",
            "address": "x", "secret": "x", "alarm": 1, "url": "x", "vkey": "x", "album": "x",
            "subject": "x", "at": "x", "index": 0, "since": "x",
        }  # fmt: skip
        for method, kind in METHODS.items():
            if method in ("status", "unlock", "lock", "stop", "doctor"):
                continue
            fields = {one: required[one] for one in kind.__struct_fields__ if one in required}
            for lock in (None, schema.Lock()):
                if lock is not None:
                    await call(app, "lock", lock)
                with pytest.raises(LockedError):
                    await call(app, method, kind(**fields))
                with pytest.raises(LockedError):
                    app.stream(method, kind(**fields))


async def test_unlocking_serves_and_locking_only_closes_the_doors(
    home: Path, tmp_path: Path
) -> None:
    async with running(home) as app:
        status = await unlock(app)
        assert (status["state"], status["name"]) == ("unlocked", "bob")
        async with friend(tmp_path, app) as alice:
            node = node_of(app)
            listening = node.peering.listening

            assert await call(app, "lock") == {"locked": True, "full": False}

            status = await call(app, "status")
            assert (status["state"], status["locked_by_user"], status["serving"]) == (
                "locked",
                True,
                True,
            )
            assert status["peers"] <= 1
            with pytest.raises(LockedError) as locked:
                await call(app, "inbox")
            assert locked.value.hint == "safelight unlock"
            # Statements of others are still taken in, and answered.
            (image,) = await alice.import_pictures(1)
            (shared,) = await alice.share([image["id"]], ["bob"])

            async def delivered() -> bool:
                share = await alice.node.granted.describe(bytes.fromhex(shared["id"]))
                return bool(share["delivered"])

            await eventually(delivered)
            await unlock(app)
            assert node_of(app) is node
            assert node.peering.listening == listening
            (held,) = await call(app, "inbox")
            assert held["id"] == shared["id"]


async def test_locking_drops_what_is_shown(home: Path, tmp_path: Path) -> None:
    async with running(home) as app:
        await unlock(app)
        async with friend(tmp_path, app) as alice:
            capability = await _granted(alice, app)
            opened = await call(app, "open", schema.Open(capability=capability))
            assert node_of(app).pixels._shown

            await call(app, "lock")

            assert node_of(app).pixels._shown == {}
            await unlock(app)
            with pytest.raises(SafelightError, match="over"):
                await call(
                    app,
                    "open_pixels",
                    schema.OpenPixels(open_id=opened["open_id"], width=9, height=9),
                )


async def _granted(alice: Person, app: App, *, ready: bool = True) -> str:
    (image,) = await alice.import_pictures(1)
    (shared,) = await alice.share([image["id"]], ["bob"])

    async def there() -> bool:
        inbox = await node_of(app).inbox.held()
        return bool(inbox) and (inbox[0]["images"][0]["ready"] or not ready)

    await eventually(there)
    return str(shared["id"])


async def test_an_open_that_is_under_way_when_the_node_is_locked_shows_nothing(
    home: Path, tmp_path: Path
) -> None:
    async with running(home) as app:
        await unlock(app)
        async with friend(tmp_path, app) as alice:
            await alice.node.rendering.close()
            capability = await _granted(alice, app, ready=False)
            opening = asyncio.create_task(
                call(app, "open", schema.Open(capability=capability, wait=10))
            )
            await asyncio.sleep(0.1)
            await call(app, "lock")
            alice.node.rendering.start()
            await asyncio.wait([opening], timeout=5)

            assert node_of(app).pixels._shown == {}


@pytest.mark.parametrize("unlocked_again", [False, True])
@pytest.mark.parametrize("method", ["audit_follow", "events"])
async def test_whoever_listens_is_told_at_once_that_the_node_is_locked(
    home: Path, method: str, unlocked_again: bool
) -> None:
    async with running(home) as app:
        await unlock(app)
        await call(app, "team_create", schema.TeamCreate(name="Team"))
        params = schema.AuditLog(limit=0) if method == "audit_follow" else schema.Empty()
        listening = asyncio.ensure_future(anext(app.stream(method, params)))
        await asyncio.sleep(0.05)
        assert not listening.done()

        await call(app, "lock")
        if unlocked_again:
            await unlock(app)

        with pytest.raises(LockedError):
            await asyncio.wait_for(listening, 30)


async def test_whoever_listens_is_told_when_everything_is_closed(home: Path) -> None:
    async with running(home) as app:
        await unlock(app)
        stream = app.stream("events", schema.Empty())
        listening = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)

        await call(app, "lock", schema.Lock(full=True))

        with pytest.raises((LockedError, StopAsyncIteration)):
            await asyncio.wait_for(listening, 2)


async def test_a_full_lock_closes_everything_and_another_process_may_have_the_vault(
    home: Path,
) -> None:
    async with running(home) as app:
        await unlock(app)
        ((host, port),) = node_of(app).peering.listening

        assert (await call(app, "lock", schema.Lock(full=True)))["full"]

        assert app._node is None
        with pytest.raises(OSError, match="Connect"):
            socket.create_connection((host, port), timeout=1)
        vault = await Vault.open(
            home, passphrase=PASSPHRASE, clock=SystemClock(), entropy=system_entropy
        )
        with pytest.raises(VaultBusyError):
            await unlock(app)
        await vault.close()
        status = await unlock(app)
        assert status["listen"] == [f"{host}:{port}"]


async def test_a_full_lock_whose_caller_hangs_up_is_done_nevertheless(home: Path) -> None:
    async with running(home) as app:
        for steps in (0, 1, 3, 6, 10):
            await unlock(app)
            locking = asyncio.create_task(call(app, "lock", schema.Lock(full=True)))
            for _ in range(steps):
                await asyncio.sleep(0)
            locking.cancel()
            await asyncio.wait([locking])

            # Whether it came in time or not: a vault is never left half open.
            assert (await unlock(app))["state"] == "unlocked"
            assert (await call(app, "check", schema.Check()))["ok"]


async def test_what_commits_while_everything_is_closed_is_done_to_its_end(
    home: Path, tmp_path: Path
) -> None:
    async with running(home) as app:
        await unlock(app)
        async with friend(tmp_path, app) as alice:
            capability = await _share_own(app, tmp_path)
            await alice.wait_ready(capability)
            inside = Person(
                name="bob",
                home=home,
                clock=ShiftedClock(),
                imaging=app._imaging,
                node=node_of(app),
            )
            async with writer_held(inside) as waiting:
                revoking = asyncio.create_task(
                    call(app, "revoke", schema.Revoke(capabilities=[capability]))
                )
                await waiting(1)
                locking = asyncio.create_task(call(app, "lock", schema.Lock(full=True)))
                await asyncio.sleep(0.2)
            await locking

            # Done or refused as closed; never a failed disk, or a write to a file that is closed.
            await asyncio.wait([revoking])
            error = revoking.exception()
            assert error is None or (isinstance(error, SafelightError) and error.code == "local")
            await unlock(app)
            assert (await call(app, "check", schema.Check()))["problems"] == []


async def _share_own(app: App, folder: Path) -> str:
    """Import a picture into the node of an app and share it with alice."""
    ((name, data),) = made_pictures(1, (64, 48))
    (folder / name).write_bytes(data)
    imported = await call(app, "import", schema.Import(paths=[str(folder / name)]))
    shared = await call(
        app, "share", schema.Share(what=[imported["images"][0]["id"]], to=["alice"])
    )
    return str(shared["capabilities"][0]["id"])


async def test_an_unlock_whose_caller_hangs_up_leaves_the_vault_to_the_next(home: Path) -> None:
    async with running(home) as app:
        for pause in (0.0, 0.01, 0.05, 0.12, 0.2):
            unlocking = asyncio.create_task(unlock(app))
            await asyncio.sleep(pause)
            unlocking.cancel()
            await asyncio.wait([unlocking])
            await call(app, "lock", schema.Lock(full=True))

        assert (await unlock(app))["state"] == "unlocked"


async def test_unlocks_at_once_open_the_vault_once(home: Path) -> None:
    async with running(home) as app:
        results = await asyncio.gather(*(unlock(app) for _ in range(4)))

        assert {one["state"] for one in results} == {"unlocked"}
        assert isinstance(node_of(app).peering, Peering)


# Passphrases ----------------------------------------------------------------------------------


async def test_a_wrong_passphrase_is_counted_and_told_at_the_next_unlock(home: Path) -> None:
    async with running(home) as app:
        for _ in range(2):
            with pytest.raises(WrongPassphraseError):
                await unlock(app, "wrong")
        assert (await call(app, "status"))["state"] == "locked"

        await unlock(app)
        with pytest.raises(WrongPassphraseError):
            await unlock(app, "wrong")
        assert (await call(app, "status"))["state"] == "unlocked"
        await call(app, "lock")
        with pytest.raises(WrongPassphraseError):
            await unlock(app, "also wrong")
        assert (await call(app, "status"))["state"] == "locked"
        await unlock(app)

        log = await call(app, "audit_log")
        counted = [
            one["detail"]["count"] for one in log["entries"] if one["event"] == "unlock_failed"
        ]
        assert counted == ["2", "2"]


# Failures -------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_leaves_a_locked_vault_that_opens_later(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(home, listen=f"127.0.0.1:{taken.getsockname()[1]}") as app:
            for _ in range(2):
                with pytest.raises(ListenError):
                    await unlock(app)
                assert (await call(app, "status"))["state"] == "locked"
            taken.close()
            assert (await unlock(app))["state"] == "unlocked"


async def test_a_vault_whose_team_is_damaged_says_so_each_time(home: Path) -> None:
    async with running(home) as app:
        await unlock(app)
        await call(app, "team_create", schema.TeamCreate(name="Team"))
        node = node_of(app)
        inside = Person(
            name="bob", home=home, clock=ShiftedClock(), imaging=app._imaging, node=node
        )
        await execute(inside, "UPDATE roster_versions SET signed = x'00'")
        await call(app, "lock", schema.Lock(full=True))

        messages = []
        for _ in range(2):
            with pytest.raises(SafelightError) as refused:
                await unlock(app)
            messages.append(refused.value.code)

        assert messages[0] == messages[1] != "vault_busy"


async def test_one_home_has_one_process(home: Path) -> None:
    async with running(home) as first, running(home) as second:
        await unlock(first)

        with pytest.raises(VaultBusyError) as busy:
            await unlock(second)

        assert busy.value.pid == os.getpid()
        assert (await call(second, "status"))["state"] == "locked"
        await call(first, "lock", schema.Lock(full=True))
        assert (await unlock(second))["state"] == "unlocked"


async def test_opening_while_the_issuer_is_fully_locked_is_unreachable_and_works_after(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("viewing", "fetching"):
        monkeypatch.setattr(f"node.services.{module}._REACH_S", 0.5)
    async with running(home) as app:
        await unlock(app)
        async with friend(tmp_path, app) as alice:
            capability = await _share_own(app, tmp_path)
            await alice.wait_ready(capability)
            await call(app, "lock")
            assert (await alice.open(capability))["opens_left"] == 9
            await call(app, "lock", schema.Lock(full=True))
            with pytest.raises((UnreachableError, Refused)):
                await alice.open(capability)
            await unlock(app)
            monkeypatch.setattr("node.services.viewing._REACH_S", 10)
            monkeypatch.setattr("node.services.fetching._REACH_S", 10)
            assert (await alice.open(capability))["opens_left"] == 8


# The process ----------------------------------------------------------------------------------


@asynccontextmanager
async def serving(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncio.Task[int]]:
    """Hold a whole node process's work in this one, control socket and all."""
    folder.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    task = asyncio.create_task(App(home, listen="127.0.0.1:0").run())

    async def answers() -> bool:
        async with ControlClient(home) as client:
            try:
                return bool(await client.call("status"))
            except SafelightError:
                return False

    try:
        await eventually(answers)
        yield task
    finally:
        if not task.done():
            await _stop_by_call(home)
        await asyncio.wait_for(task, 10)


Stop = Callable[[Path], Any]


async def _stop_by_call(home: Path) -> None:
    async with ControlClient(home) as client:
        await client.call("stop")


async def _stop_by_signal(_home: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("stop", [_stop_by_call, _stop_by_signal], ids=["call", "signal"])
async def test_a_node_that_is_told_to_stop_ends_cleanly_with_calls_under_way(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    async with serving(home, tmp_path / "run", monkeypatch) as node:
        async with ControlClient(home) as client:
            with pytest.raises(ControlError) as locked:
                await client.call("inbox")
            assert locked.value.code == "locked"
            await client.call("unlock", {"passphrase": PASSPHRASE})
            events = client.stream("events")
            listening = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.05)

            await stop(home)

            assert await asyncio.wait_for(node, 10) == 0
            with pytest.raises((SafelightError, StopAsyncIteration)):
                await listening
        assert list((tmp_path / "run").rglob("*.sock")) == []

        vault = await Vault.open(
            home, passphrase=PASSPHRASE, clock=SystemClock(), entropy=system_entropy
        )
        await vault.close()
