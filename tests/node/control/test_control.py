"""The control API end to end: a real server and client over a real socket (attack 48)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.control import routes, runtime
from node.control.client import ControlClient, ControlError, NodeLostError, NodeNotRunningError
from node.control.routes import AlreadyRunningError, ControlServer, Progress
from node.control.schema import METHODS, AuditLog, Images, Params, Share, Thumbnail, Unlock
from node.errors import AmbiguousError, LockedError
from protocol.errors import Reason, Refused
from tests.node.control.stranger import connected_stranger, needs_root
from tests.support import ROOT

SECRET = "correct horse battery staple"


class Node:
    """Answers calls as each test says, and remembers what became of them."""

    def __init__(self) -> None:
        self.answer: Callable[[Any, Progress], Any] = lambda params, _: {"ok": True}
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.listeners = 0

    async def call(self, method: str, params: Params, progress: Progress) -> Any:
        self.started.set()
        try:
            result = self.answer(params, progress)
            return await result if asyncio.iscoroutine(result) else result
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def stream(self, method: str, params: Params) -> AsyncIterator[dict[str, Any]]:
        self.listeners += 1
        self.started.set()
        try:
            while (event := await self.events.get()) != {"kind": "end"}:
                if event == {"kind": "fail"}:
                    raise Refused(Reason.CLOCK, "the clock went back")
                yield event
        finally:
            self.listeners -= 1
            self.cancelled.set()


@pytest.fixture
def home(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
    return tmp_path / "home"


@pytest.fixture
async def node() -> Node:
    return Node()


@pytest.fixture
async def server(home: Path, node: Node) -> AsyncIterator[ControlServer]:
    server = ControlServer(runtime.socket_path(home), node)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(home: Path, server: ControlServer) -> AsyncIterator[ControlClient]:
    async with ControlClient(home) as client:
        yield client


# Calls --------------------------------------------------------------------------------------------


async def test_a_call_carries_typed_parameters_and_a_result(
    client: ControlClient, node: Node
) -> None:
    node.answer = lambda params, _: {"got": repr(params), "bytes": b"\x00\x01", "none": None}

    result = await client.call("share", Share(what=["beach"], to=["Ada"], opens=3))

    assert {
        "got": repr(Share(what=["beach"], to=["Ada"], opens=3)),
        "bytes": "AAE=",
        "none": None,
    } == result


async def test_parameters_may_be_a_mapping_or_left_out(client: ControlClient, node: Node) -> None:
    node.answer = lambda params, _: repr(params)

    assert repr(Images(query="sea")) == await client.call("images", {"query": "sea"})
    assert repr(Images()) == await client.call("images")


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("images", {"query": 3}, "Expected `str`, got `int`"),
        ("images", {"colour": "red"}, "unknown field"),
        ("share", {"what": ["a"]}, "missing required field `to`"),
        ("thumbnail", {"image": "a", "size": 300}, "Invalid enum value"),
        ("destroy", {}, "no such method"),
        ("../images", {}, "no such method"),
        ("images/", {}, "no such method"),
    ],
)
async def test_parameters_that_do_not_fit_are_a_usage_error(
    client: ControlClient, method: str, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(ControlError, match=says) as raised:
        await client.call(method, params)

    assert raised.value.code == "usage"


async def test_a_secret_parameter_of_the_wrong_type_is_not_in_the_message(
    client: ControlClient,
) -> None:
    with pytest.raises(ControlError) as raised:
        await client.call("unlock", {"passphrase": [SECRET]})

    assert SECRET not in raised.value.message + raised.value.hint


async def test_an_error_keeps_code_message_and_hint(client: ControlClient, node: Node) -> None:
    def refuse(params: Params, progress: Progress) -> Any:
        raise AmbiguousError("two pictures are called beach", ["a1", "b2"])

    node.answer = refuse

    with pytest.raises(ControlError) as raised:
        await client.call("images")

    error = raised.value
    assert (
        error.code,
        error.message,
        error.hint,
    ) == ("ambiguous", "two pictures are called beach", "one of: a1, b2")


async def test_a_refusal_keeps_its_reason(client: ControlClient, node: Node) -> None:
    async def refuse() -> None:
        raise Refused(Reason.EXHAUSTED)

    node.answer = lambda *_: refuse()

    with pytest.raises(ControlError) as raised:
        await client.call("images")

    assert raised.value.code == "exhausted"


async def test_a_fault_is_internal_and_tells_no_value(
    client: ControlClient, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(params: Params, progress: Progress) -> Any:
        assert isinstance(params, Unlock)
        try:
            return int(params.passphrase)
        except ValueError as error:
            raise RuntimeError(f"cannot use {params.passphrase}") from error

    node.answer = break_down

    with pytest.raises(ControlError) as raised:
        await client.call("unlock", Unlock(passphrase=SECRET))

    written = capsys.readouterr().err
    assert raised.value.code == "internal"
    assert "RuntimeError" in raised.value.message
    assert SECRET not in raised.value.message + raised.value.hint + written
    assert "builtins.RuntimeError" in written
    assert "builtins.ValueError" in written
    assert "in break_down" in written


async def test_a_result_that_is_no_json_is_internal(client: ControlClient, node: Node) -> None:
    node.answer = lambda *_: {"what": object()}

    with pytest.raises(ControlError) as raised:
        await client.call("images")

    assert raised.value.code == "internal"


async def test_a_result_of_tens_of_megabytes_arrives(client: ControlClient, node: Node) -> None:
    library = [{"id": f"{number:032x}", "name": "n" * 200} for number in range(150_000)]
    node.answer = lambda *_: library

    assert library == await client.call("images")


async def test_parameters_of_megabytes_arrive(client: ControlClient, node: Node) -> None:
    names = [f"{number:032x}" for number in range(100_000)]
    node.answer = lambda params, _: len(params.what)

    assert await client.call("share", {"what": names, "to": ["Ada"]}) == 100_000


async def test_parameters_over_their_bound_are_refused(client: ControlClient) -> None:
    with pytest.raises((ControlError, NodeLostError)):
        await client.call("images", {"query": "x" * 17_000_000})

    assert await client.call("images") == {"ok": True}


async def test_many_calls_at_once_are_answered_each_with_its_own(
    client: ControlClient, node: Node
) -> None:
    async def answer(params: Images) -> str:
        await asyncio.sleep(0.001 * (50 - int(params.query)))
        return params.query

    node.answer = lambda params, _: answer(params)

    results = await asyncio.gather(
        *(client.call("images", Images(query=str(number))) for number in range(50))
    )

    assert [str(number) for number in range(50)] == results


# Progress -----------------------------------------------------------------------------------------


async def test_progress_is_told_at_most_twenty_times_a_second(
    client: ControlClient, node: Node
) -> None:
    async def work(progress: Progress) -> str:
        for number in range(500):
            progress(number, 500, "reading")
            await asyncio.sleep(0.001)
        return "done"

    node.answer = lambda _, progress: work(progress)
    told: list[tuple[int, int | None, str]] = []
    started = asyncio.get_running_loop().time()

    result = await client.call("images", progress=lambda *what: told.append(what))

    elapsed = asyncio.get_running_loop().time() - started
    assert result == "done"
    assert 2 <= len(told) <= 2 + elapsed / 0.05
    assert sorted(told) == told
    assert {(500, "reading")} == {(total, label) for _, total, label in told}


async def test_progress_without_a_known_end_is_told(client: ControlClient, node: Node) -> None:
    async def work(progress: Progress) -> None:
        progress(7, None, "fetching")
        await asyncio.sleep(0.1)

    node.answer = lambda _, progress: work(progress)
    told: list[tuple[int, int | None, str]] = []

    await client.call("images", progress=lambda *what: told.append(what))

    assert told == [(7, None, "fetching")]


async def test_an_error_after_progress_is_raised(client: ControlClient, node: Node) -> None:
    async def work(progress: Progress) -> None:
        progress(1, 2, "")
        await asyncio.sleep(0.06)
        raise Refused(Reason.POLICY, "over the ceiling", hint="90 days")

    node.answer = lambda _, progress: work(progress)

    with pytest.raises(ControlError, match="over the ceiling") as raised:
        await client.call("images", progress=lambda *_: None)

    assert raised.value.hint == "90 days"


async def test_progress_does_not_hold_up_the_result(client: ControlClient, node: Node) -> None:
    def work(_: Params, progress: Progress) -> str:
        progress(1, 1, "")
        return "done"

    node.answer = work
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        assert await client.call("images") == "done"

    assert asyncio.get_running_loop().time() - started < 1


# Cancellation -------------------------------------------------------------------------------------


async def test_a_cancelled_call_is_cancelled_in_the_node(client: ControlClient, node: Node) -> None:
    node.answer = lambda *_: asyncio.sleep(60)

    call = asyncio.create_task(client.call("images"))
    await node.started.wait()
    call.cancel()

    async with asyncio.timeout(45):
        await node.cancelled.wait()


async def test_a_caller_that_hangs_up_during_progress_cancels_the_call(
    client: ControlClient, node: Node
) -> None:
    async def work(progress: Progress) -> None:
        for number in range(100_000):
            progress(number, None, "")
            await asyncio.sleep(0.01)

    node.answer = lambda _, progress: work(progress)
    told = asyncio.Event()
    call = asyncio.create_task(client.call("images", progress=lambda *_: told.set()))
    await told.wait()
    call.cancel()

    async with asyncio.timeout(45):
        await node.cancelled.wait()


# Streams ------------------------------------------------------------------------------------------


async def test_events_arrive_in_order(client: ControlClient, node: Node) -> None:
    events: list[dict[str, Any]] = [{"kind": "peer", "number": n} for n in range(1_000)]
    for event in [*events, {"kind": "end"}]:
        node.events.put_nowait(event)

    assert events == [event async for event in client.stream("events")]


async def test_a_stream_takes_parameters(client: ControlClient, node: Node) -> None:
    node.events.put_nowait({"kind": "end"})

    assert [event async for event in client.stream("audit_follow", AuditLog(who="Ada"))] == []


async def test_a_listener_hears_of_what_happens_once_it_listens(
    client: ControlClient, node: Node
) -> None:
    stream = client.stream("events")
    first = asyncio.create_task(anext(stream))
    await node.started.wait()
    node.events.put_nowait({"kind": "peer"})

    assert await first == {"kind": "peer"}
    await stream.aclose()


async def test_a_listener_that_hangs_up_ends_its_stream(client: ControlClient, node: Node) -> None:
    node.events.put_nowait({"kind": "peer"})
    async with contextlib.aclosing(client.stream("events")) as stream:
        assert await anext(stream) == {"kind": "peer"}
        assert node.listeners == 1

    async with asyncio.timeout(45):
        await node.cancelled.wait()
    assert node.listeners == 0


async def test_an_error_ends_a_stream(client: ControlClient, node: Node) -> None:
    node.events.put_nowait({"kind": "peer"})
    node.events.put_nowait({"kind": "fail"})
    stream = client.stream("events")
    assert await anext(stream) == {"kind": "peer"}

    with pytest.raises(ControlError) as raised:
        await anext(stream)

    assert raised.value.code == "clock"


async def test_a_stream_that_is_refused_from_the_start_says_why(
    client: ControlClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(method: str, params: Params) -> AsyncIterator[dict[str, Any]]:
        raise LockedError("the vault is locked", hint="safelight unlock")

    monkeypatch.setattr(node, "stream", refuse)

    with pytest.raises(ControlError) as raised:
        await anext(client.stream("events"))

    assert (raised.value.code, raised.value.hint) == ("locked", "safelight unlock")


async def test_a_node_that_stops_ends_its_streams(
    client: ControlClient, server: ControlServer, node: Node
) -> None:
    node.events.put_nowait({"kind": "peer"})
    stream = client.stream("events")
    assert await anext(stream) == {"kind": "peer"}

    async with asyncio.timeout(45):
        await server.close()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


# The node stops -----------------------------------------------------------------------------------


async def test_a_call_that_stops_the_node_is_answered(
    client: ControlClient, server: ControlServer, node: Node
) -> None:
    stopping: list[asyncio.Task[None]] = []

    async def stop() -> str:
        stopping.append(asyncio.create_task(server.close()))
        await asyncio.sleep(0.05)
        return "stopped"

    node.answer = lambda *_: stop()

    assert await client.call("stop") == "stopped"
    async with asyncio.timeout(45):
        await stopping[0]


async def test_a_stopped_node_leaves_no_socket(home: Path, node: Node) -> None:
    server = ControlServer(runtime.socket_path(home), node)
    await server.start()
    assert await runtime.answers(home)

    await server.close()

    assert not await runtime.answers(home)
    assert list(runtime.socket_path(home).parent.iterdir()) == []


async def test_a_client_without_a_node_says_so(home: Path) -> None:
    async with ControlClient(home) as client:
        with pytest.raises(NodeNotRunningError):
            await client.call("status")


async def test_a_client_of_a_killed_node_says_so_and_another_node_takes_the_place(
    home: Path, node: Node
) -> None:
    """The socket's file outlives a node that is killed."""
    path = runtime.socket_path(home)
    runtime.make_runtime_folder(path.parent)
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    async with ControlClient(home) as client:
        with pytest.raises(NodeNotRunningError):
            await client.call("status")

        server = ControlServer(path, node)
        await server.start()
        assert await client.call("status") == {"ok": True}
        await server.close()


async def test_a_node_that_dies_during_a_call_is_lost(home: Path) -> None:
    path = runtime.socket_path(home)
    runtime.make_runtime_folder(path.parent)

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b'30\r\n{"progress":{"done":1,"total":2,"label":"x"}}\n' + b'{"\r\n')
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(die, str(path)), ControlClient(home) as client:
        with pytest.raises(NodeLostError):
            await client.call("status")


async def test_a_second_node_of_one_home_is_refused(home: Path, server: ControlServer) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from node.control.routes import AlreadyRunningError, ControlServer\n"
        "try: asyncio.run(ControlServer(Path(sys.argv[1]), None).start())\n"
        "except AlreadyRunningError as error: print(error.code)\n"
    )
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(runtime.socket_path(home))),
        stdout=subprocess.PIPE,
    )
    out, _ = await second.communicate()

    assert AlreadyRunningError.code == out.decode().strip()


async def test_a_removed_socket_comes_back(
    home: Path, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems empty the runtime folder when a person logs out; the node goes on."""
    monkeypatch.setattr(routes, "_CHECK_SOCKET_S", 0.02)
    path = runtime.socket_path(home)
    server = ControlServer(path, node)
    await server.start()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()

    async with asyncio.timeout(45):
        while not await runtime.answers(home):
            await asyncio.sleep(0.02)
    async with ControlClient(home) as client:
        assert await client.call("status") == {"ok": True}
    await server.close()


# Who may connect ----------------------------------------------------------------------------------


async def test_only_the_owner_can_reach_the_socket(home: Path, server: ControlServer) -> None:
    path = runtime.socket_path(home)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.root
@needs_root
async def test_another_user_is_hung_up_on_whatever_the_modes(
    home: Path, server: ControlServer, node: Node
) -> None:
    def talk(connection: socket.socket) -> bytes:
        connection.sendall(b"POST /v1/status HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        return b"%d bytes" % len(connection.recv(100))

    with connected_stranger(runtime.socket_path(home), talk) as told:
        heard = await asyncio.to_thread(os.read, told, 100)

    assert heard in {b"0 bytes", b"ConnectionResetError", b"BrokenPipeError"}
    assert not node.started.is_set()


async def test_a_client_does_not_talk_to_a_socket_that_others_may_have_put_there(
    home: Path, server: ControlServer, node: Node
) -> None:
    runtime.socket_path(home).parent.chmod(0o777)

    async with ControlClient(home) as client:
        with pytest.raises(runtime.RuntimeFolderError):
            await client.call("unlock", Unlock(passphrase=SECRET))

    assert not node.started.is_set()


async def test_only_posts_are_calls(home: Path, server: ControlServer, node: Node) -> None:
    reader, writer = await asyncio.open_unix_connection(str(runtime.socket_path(home)))
    writer.write(b"GET /v1/status HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 404")
    assert not node.started.is_set()


async def test_what_is_no_http_is_hung_up_on_without_a_word_on_stderr(
    home: Path, server: ControlServer, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(runtime.socket_path(home)))
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.0 400")
    assert capfd.readouterr().err == ""


def test_importing_the_client_loads_no_http_library() -> None:
    script = (
        "import sys, node.control.client\n"
        "print({'aiohttp', 'cryptography', 'nacl', 'platformdirs'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "set()"


def test_the_example_of_the_specification_is_a_call() -> None:
    text = (ROOT / "docs/spec/control.md").read_text()
    parts = re.search(r"POST /v1/(\w+) .*?Content-Length: (\d+)\n\n +(\S+)\n", text, re.DOTALL)
    assert parts is not None
    method, length, body = parts.groups()

    assert len(body) == int(length)
    assert msgspec.json.decode(body, type=METHODS[method]) == Images(query="sea", limit=2)


def test_every_streaming_method_is_in_the_schema() -> None:
    assert METHODS.keys() >= routes.STREAMS
    assert Thumbnail is METHODS["thumbnail"]
