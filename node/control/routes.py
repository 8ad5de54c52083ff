"""The control API's server: HTTP over a Unix socket, one POST for each call.

Belongs here: the socket and who may connect, decoding parameters, the lines of an
answer, progress, cancellation when the caller hangs up.
Never here: what a method does (the dispatch), or its parameters (``schema``).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from node.control import runtime
from node.control.schema import METHODS, Params
from node.errors import NodeError, UsageError
from node.faults import report_fault
from protocol.errors import SafelightError
from protocol.limits import MIB

Progress = Callable[[int, int | None, str], None]
"""Takes what is done, of how much where known, and a word for it."""

STREAMS: Final = frozenset({"events", "audit_follow"})
"""Methods that answer with events until the caller hangs up."""

_MAX_PARAMETERS_BYTES: Final = 16 * MIB
"""A WELCOME in base64 is 6 MiB; a share may name every picture of a library."""
_PROGRESS_PAUSE_S: Final = 0.05
"""At most twenty progress lines a second: a screen shows no more."""
_CLOSE_S: Final = 2.0
"""How long calls under way may still take when the node stops."""
_CHECK_SOCKET_S: Final = 5.0
"""How often the socket's file is looked for: systems empty runtime folders at log-out."""

_UNLOGGED: Final = logging.getLogger("safelight.control")
_UNLOGGED.disabled = True


class Dispatch(Protocol):
    """Does what the methods say."""

    async def call(self, method: str, params: Params, progress: Progress) -> Any:
        """Return a method's result. Cancelled where the caller hangs up."""
        ...

    def stream(self, method: str, params: Params) -> AsyncIterator[dict[str, Any]]:
        """Yield a streaming method's events until the caller hangs up."""
        ...


class AlreadyRunningError(NodeError):
    """Another node serves this home."""

    code = "already_running"


class ControlServer:
    """Serves the control API of one node on one Unix socket."""

    def __init__(self, socket_path: Path, dispatch: Dispatch) -> None:
        self._path = socket_path
        self._dispatch = dispatch
        self._http: _OwnUserServer | None = None
        self._closing = asyncio.Event()
        self._lock: int | None = None
        self._listening: asyncio.AbstractServer | None = None
        self._inode = 0
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. AlreadyRunningError where another node serves this home."""
        self._http = _OwnUserServer(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            logger=_UNLOGGED,
        )
        await self._listen()
        self._watch = asyncio.create_task(self._keep_listening(), name="control socket")
        runtime.let_go_of_starter()

    async def close(self) -> None:
        """Stop listening, end the streams, let calls under way end within 2 s, cancel the rest."""
        self._closing.set()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._stop_listening()
        if self._http is not None:
            self._http.pre_shutdown()
            await self._http.shutdown(_CLOSE_S)

    # The socket -----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Take the home's place in the runtime folder and put a listening socket there."""
        assert self._http is not None, "listens only after start"
        runtime.make_runtime_folder(self._path.parent)
        self._lock = _take(self._path.with_suffix(".lock"))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Whoever finds the socket by its name finds it listening, and ours alone.
            fresh = self._path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            listening.bind(str(fresh))
            fresh.chmod(0o600)
            listening.listen(128)
            self._inode = fresh.stat().st_ino
            fresh.replace(self._path)
            self._listening = await asyncio.get_running_loop().create_unix_server(
                self._http, sock=listening
            )
        except BaseException:
            listening.close()
            self._stop_listening()
            raise

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        if self._lock is not None:
            lock = self._path.with_suffix(".lock")
            if _is_named(self._lock, lock):
                lock.unlink()
            os.close(self._lock)
            self._lock = None

    def _is_ours(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    async def _keep_listening(self) -> None:
        """Listen anew where the socket's file was removed, so that the node can be reached."""
        while True:
            await asyncio.sleep(_CHECK_SOCKET_S)
            if not self._is_ours():
                self._stop_listening()
                with contextlib.suppress(OSError, SafelightError):
                    await self._listen()

    # Calls ----------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        method = request.path.removeprefix("/v1/")
        if request.method != "POST" or request.path != f"/v1/{method}" or method not in METHODS:
            return _failure(404, UsageError("no such method"))
        try:
            params = msgspec.json.decode(await request.read(), type=METHODS[method])
        except msgspec.MsgspecError as error:
            return _failure(400, UsageError(f"{method}: {error}"))
        except web.HTTPRequestEntityTooLarge:
            return _failure(413, UsageError(f"{method}: the parameters are too large"))
        answer = _Answer(request)
        if method in STREAMS:
            await self._stream(answer, method, params)
        else:
            await self._call(answer, method, params)
        return answer.response

    async def _call(self, answer: _Answer, method: str, params: Params) -> None:
        async with answer.progress() as progress:
            line = await _outcome(method, self._dispatch.call(method, params, progress))
        await answer.end(line)

    async def _stream(self, answer: _Answer, method: str, params: Params) -> None:
        try:
            events = self._dispatch.stream(method, params)
        except Exception as error:  # noqa: BLE001  the caller is told, the node goes on
            await answer.end(_error_line(method, error))
            return
        closing = asyncio.create_task(self._closing.wait())
        upcoming = asyncio.ensure_future(anext(events))
        try:
            # The stream listens before the caller learns that it does: what the caller
            # does next, it will hear of.
            await asyncio.sleep(0)
            await answer.begin()
            while True:
                await asyncio.wait({upcoming, closing}, return_when=asyncio.FIRST_COMPLETED)
                if not upcoming.done():
                    break
                await answer.write(_line({"event": upcoming.result()}))
                upcoming = asyncio.ensure_future(anext(events))
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001  the caller is told, the node goes on
            if not isinstance(error, ConnectionError):
                await answer.write(_error_line(method, error))
        finally:
            closing.cancel()
            upcoming.cancel()
            await asyncio.gather(upcoming, closing, return_exceptions=True)
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        await answer.end()


class _Answer:
    """The lines of one answer. They are sent at once only where something precedes the result."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.response: web.StreamResponse = web.StreamResponse(headers=_HEADERS)

    async def begin(self) -> None:
        """Send the head."""
        await self.response.prepare(self._request)

    async def write(self, line: bytes) -> None:
        """Send a line, as fast as the caller reads."""
        await self.response.write(line)

    async def end(self, line: bytes = b"") -> None:
        """Send the last line and the end."""
        if self.response.prepared:
            await self.response.write_eof(line)
        else:
            self.response = web.Response(body=line, headers=_HEADERS)

    @contextlib.asynccontextmanager
    async def progress(self) -> AsyncIterator[Progress]:
        """Give a function that tells of progress; send its newest word now and then."""
        newest: dict[str, Any] = {}
        changed = asyncio.Event()
        ended = asyncio.Event()

        def tell(done: int, total: int | None, label: str) -> None:
            newest.update(done=done, total=total, label=label)
            changed.set()

        async def send() -> None:
            while True:
                await changed.wait()
                changed.clear()
                if ended.is_set():
                    return
                if not self.response.prepared:
                    await self.begin()
                await self.write(_line({"progress": newest}))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROGRESS_PAUSE_S):
                        await ended.wait()

        sender = asyncio.create_task(send())
        try:
            yield tell
        finally:
            ended.set()
            changed.set()
            # A caller who hung up is found out by whoever writes to it next.
            await asyncio.gather(sender, return_exceptions=True)


class _OwnUserServer(web.Server):
    """Drops connections of other users before it reads a byte of them."""

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Keep the connection if it is this user's own."""
        super().connection_made(handler, transport)
        if runtime.peer_uid(transport.get_extra_info("socket").fileno()) != os.geteuid():
            transport.abort()


def _take(lock: Path) -> int:
    """Return a descriptor that holds a lock file, or raise AlreadyRunningError.

    The lock, not the socket's file, says who serves: a file outlives its node. It is a POSIX
    lock, because a child that outlives the node does not hold it.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise AlreadyRunningError("a node of this home is running already") from None
        if _is_named(descriptor, lock):
            return descriptor
        os.close(descriptor)  # whoever held it removed the file between the two calls


def _is_named(descriptor: int, path: Path) -> bool:
    """Say whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


_HEADERS: Final = {"Content-Type": "application/x-ndjson", "Server": "safelight"}


def _request(*parts: Any) -> web.BaseRequest:
    message, payload, protocol, writer, task = parts
    return web.BaseRequest(
        message,
        payload,
        protocol,
        writer,
        task,
        asyncio.get_running_loop(),
        client_max_size=_MAX_PARAMETERS_BYTES,
    )


async def _outcome(method: str, call: Any) -> bytes:
    """Return the last line of an answer: the result of the call or why there is none."""
    try:
        return _line({"result": await call})
    except Exception as error:  # noqa: BLE001  the caller is told, the node goes on
        return _error_line(method, error)


def _failure(status: int, error: SafelightError) -> web.Response:
    return web.Response(status=status, body=_error_line("", error), headers=_HEADERS)


def _error_line(method: str, error: Exception) -> bytes:
    if isinstance(error, SafelightError):
        code, message, hint = error.code, str(error), error.hint
    else:
        report_fault(f"the control method {method}", error)
        code, message = "internal", f"a fault of the node itself: {type(error).__name__}"
        hint = "please report it with what the node wrote to stderr"
    return _line({"error": {"code": code, "message": message, "hint": hint}})


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
