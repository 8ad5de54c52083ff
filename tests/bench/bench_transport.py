"""Transfers: a gigabyte between two processes over loopback, against bare WebSockets and scp.

Belongs here: measurements, each as a dict with what was measured and its figures.
Never here: assertions; the tests next to the code hold what must be true.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import aiohttp
import uvloop
from aiohttp import web

from node.system import SystemClock, system_entropy
from node.transport.dialer import dial
from node.transport.driver import Reply, Session
from node.transport.listener import Listener
from node.transport.streams import STREAM_PIECE_BYTES
from node.transport.websocket import MAX_FRAME_BYTES
from protocol.limits import MAX_NOISE_MESSAGE_BYTES
from protocol.messages import Done, FetchRendition, Request, Streamed
from protocol.primitives import x25519_public

BYTES: Final = 1_000_000_000
ROUNDS: Final = 3
BUDGET_MB_S: Final = 300

_TEAM: Final = bytes(32)
_LISTENER: Final = bytes(range(32))
_DIALLER: Final = bytes(range(1, 33))

_Socket: TypeAlias = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
Results: TypeAlias = "multiprocessing.queues.SimpleQueue[float]"
Side: TypeAlias = Callable[[int, Results], Coroutine[Any, Any, None]]


def run() -> list[dict[str, Any]]:
    """Measure; megabytes a second, best of three rounds, the ways taking turns."""
    sides: dict[str, tuple[Side, Side]] = {
        "transfer, the holder dials": (_serve_channel, _fetch_channel),
        "transfer, the issuer dials": (_fetch_accepted, _serve_dialled),
        "bare WebSocket, the listener sends": (_serve_bare, _fetch_bare),
        "bare WebSocket, the dialler sends": (_take_bare, _send_bare),
    }
    seconds: dict[str, list[float]] = {what: [] for what in [*sides, "scp"]}
    with _Scp() as scp:
        for _ in range(ROUNDS):
            for what, (listens, dials) in sides.items():
                seconds[what].append(_between(listens, dials))
            if scp.reason is None:
                seconds["scp"].append(scp.seconds())
    rates = {what: round(BYTES / min(took) / 1e6) for what, took in seconds.items() if took}
    rows: list[dict[str, Any]] = [
        {"what": what, "value": rate, "unit": "MB/s"} for what, rate in rates.items()
    ]
    for row in rows[:2]:
        row["budget"] = f">= {BUDGET_MB_S}"
    if scp.reason is None:
        ratio = min(rows[0]["value"], rows[1]["value"]) / rates["scp"]
        rows.append({"what": "slower transfer / scp", "value": round(ratio, 2), "budget": ">= 1"})
    else:
        rows.append({"what": "scp", "skipped": scp.reason})
    return rows


# Two processes ------------------------------------------------------------------------------------


def _between(listens: Side, dials: Side) -> float:
    """Run two sides, each in a process with uvloop; return the seconds that the reader took."""
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    results = context.SimpleQueue()
    processes = [
        context.Process(target=_run, args=(side, port, results)) for side in (listens, dials)
    ]
    for process in processes:
        process.start()
    seconds: float = results.get()
    for process in processes:
        process.join(30)
    return seconds


def _run(side: Side, port: int, results: Results) -> None:
    uvloop.run(side(port, results))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


async def _until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


# Channels -----------------------------------------------------------------------------------------


async def _serve_channel(port: int, results: Results) -> None:
    session, listener = await _accept(port)
    await session.closed.wait()
    await listener.close()


async def _fetch_channel(port: int, results: Results) -> None:
    await _fetch(await _dial(port), results)


async def _fetch_accepted(port: int, results: Results) -> None:
    session, listener = await _accept(port)
    await _fetch(session, results)
    await listener.close()


async def _serve_dialled(port: int, results: Results) -> None:
    session = await _dial(port)
    await session.closed.wait()
    await session.close()


async def _accept(port: int) -> tuple[Session, Listener]:
    accepted: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
    listener = Listener(
        host="127.0.0.1",
        port=port,
        static_secret=_LISTENER,
        team_id=lambda: _TEAM,
        handler=_answer,
        on_session=accepted.set_result,
        clock=SystemClock(),
        entropy=system_entropy,
    )
    await listener.start()
    return await accepted, listener


async def _dial(port: int) -> Session:
    await _until_listening(port)
    return await dial(
        "127.0.0.1",
        port,
        remote_static=x25519_public(_LISTENER),
        static_secret=_DIALLER,
        team_id=_TEAM,
        handler=_answer,
        clock=SystemClock(),
        entropy=system_entropy,
        timeout=10,
    )


async def _answer(session: Session, request: Request) -> Reply:
    if isinstance(request, FetchRendition):
        return Streamed(length=BYTES), _pieces()
    return Done()


async def _pieces() -> AsyncIterator[bytes]:
    piece = os.urandom(STREAM_PIECE_BYTES)
    for start in range(0, BYTES, len(piece)):
        yield piece[: BYTES - start]


async def _fetch(session: Session, results: Results) -> None:
    started = time.perf_counter()
    request = FetchRendition(rendition_id=bytes(32), offset=0)
    _, stream = await session.request_stream(request)
    received = 0
    async for piece in stream:
        received += len(piece)
    results.put(time.perf_counter() - started)
    if received != BYTES:
        raise SystemExit(f"{received} bytes arrived")
    await session.close()


# Bare WebSockets ----------------------------------------------------------------------------------


async def _serve_bare(port: int, results: Results) -> None:
    await _listen_bare(port, _send_messages)


async def _take_bare(port: int, results: Results) -> None:
    async def take(socket: _Socket) -> None:
        await _take_messages(socket, results)

    await _listen_bare(port, take)


async def _fetch_bare(port: int, results: Results) -> None:
    async def take(socket: _Socket) -> None:
        await _take_messages(socket, results)

    await _dial_bare(port, take)


async def _send_bare(port: int, results: Results) -> None:
    await _dial_bare(port, _send_messages)


async def _listen_bare(port: int, talk: Callable[[_Socket], Awaitable[None]]) -> None:
    ended = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        upgraded = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME_BYTES)
        await upgraded.prepare(request)
        await talk(upgraded)
        await upgraded.close()
        ended.set()
        return upgraded

    application = web.Application()
    application.router.add_get("/", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await ended.wait()
    await runner.cleanup()


async def _dial_bare(port: int, talk: Callable[[_Socket], Awaitable[None]]) -> None:
    await _until_listening(port)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/", max_msg_size=MAX_FRAME_BYTES) as upgraded,
    ):
        await talk(upgraded)


async def _send_messages(socket: _Socket) -> None:
    await socket.receive()
    message = os.urandom(MAX_NOISE_MESSAGE_BYTES)
    for _ in range(BYTES // len(message) + 1):
        await socket.send_bytes(message)
    await socket.receive()


async def _take_messages(socket: _Socket, results: Results) -> None:
    started = time.perf_counter()
    await socket.send_bytes(b"begin")
    received = 0
    while received < BYTES:
        received += len((await socket.receive()).data)
    results.put(time.perf_counter() - started)
    await socket.send_bytes(b"end")


# scp ----------------------------------------------------------------------------------------------


class _Scp:
    """An OpenSSH server of its own on a free port; files on the memory file system if there is one.

    ``reason`` says why there is none to compare with, or is None.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._server: subprocess.Popen[bytes] | None = None
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self._port = _free_port()

    def __enter__(self) -> Self:
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if sshd is None or shutil.which("scp") is None:
            self.reason = "no OpenSSH server and client on this machine"
            return self
        self._start(sshd)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
        shutil.rmtree(self._folder)

    def seconds(self) -> float:
        """Copy a file of BYTES; return how long it took."""
        started = time.perf_counter()
        subprocess.run(
            [*self._client("scp", "-P"), self._folder / "file", f"127.0.0.1:{self._folder}/copy"],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - started

    def _start(self, sshd: str) -> None:
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / name],
                check=True,
            )
        (self._folder / "file").write_bytes(os.urandom(1_000_000) * (BYTES // 1_000_000))
        settings = {
            "Port": self._port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self._folder / "host",
            "AuthorizedKeysFile": self._folder / "user.pub",
            "StrictModes": "no",
            "PidFile": "none",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "Subsystem": "sftp internal-sftp",
        }
        config = self._folder / "config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._server = subprocess.Popen(
            [sshd, "-D", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(50):
            login = [*self._client("ssh", "-p"), "127.0.0.1", "true"]
            if subprocess.run(login, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        self.reason = "the OpenSSH server of this machine does not let us in"

    def _client(self, program: str, port_option: str) -> list[str]:
        options = {
            "IdentityFile": self._folder / "user",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "BatchMode": "yes",
        }
        arguments = [f"-o{name}={value}" for name, value in options.items()]
        return [program, "-F", "none", port_option, str(self._port), *arguments]


if __name__ == "__main__":
    for row in run():
        print(row)
