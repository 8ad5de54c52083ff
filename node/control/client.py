"""The control API's client: what the command line and the screens talk to a node with.

Belongs here: calls, streams, and the errors of both.
Never here: starting a node (``runtime``), or what results mean. Importing this
module loads no HTTP library; the first call does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from node.control import runtime
from node.control.schema import Params
from protocol.errors import SafelightError

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "ControlClient",
    "ControlError",
    "NodeLostError",
    "NodeNotRunningError",
    "SafelightError",
]

_CONNECT_S: Final = 5.0
_READ_BYTES: Final = 2**20
"""Read at once: a library's listing is tens of megabytes in one line."""


class ControlError(SafelightError):
    """A node's no to a call; ``code``, ``message`` and ``hint`` are the node's."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.message = message


class NodeNotRunningError(SafelightError):
    """No node of this home accepts calls."""

    code = "not_running"


class NodeLostError(SafelightError):
    """The node ended before it had answered; whether the call took effect is not known."""

    code = "node_lost"


class ControlClient:
    """Calls the node of one home. An asynchronous context manager."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up every call under way."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(
        self,
        method: str,
        params: Params | Mapping[str, Any] | None = None,
        *,
        progress: Callable[[int, int | None, str], None] | None = None,
    ) -> Any:
        """Return a method's result; ``progress`` is told of how far it is.

        Raises ControlError with the node's code, NodeNotRunningError, NodeLostError.
        Cancelling hangs up, and the node then cancels its work.
        """
        async with aclosing(self._lines(method, params)) as lines:
            async for line in lines:
                if "result" in line:
                    return line["result"]
                if progress is not None and "progress" in line:
                    told = line["progress"]
                    progress(told["done"], told["total"], told["label"])
        raise NodeLostError("the node stopped before it answered")

    async def stream(
        self, method: str, params: Params | Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield a streaming method's events until the node stops.

        What happens after the first step of the iteration has begun is among them.
        Raises as ``call`` does. Closing the iterator hangs up.
        """
        async with aclosing(self._lines(method, params)) as lines:
            async for line in lines:
                if "event" in line:
                    yield line["event"]

    async def _lines(
        self, method: str, params: Params | Mapping[str, Any] | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the lines of an answer; a line that is an error is raised."""
        import aiohttp

        body = msgspec.json.encode({} if params is None else params)
        try:
            async with self._session().post(f"http://node/v1/{method}", data=body) as response:
                pending: list[bytes] = []
                async for data in response.content.iter_any():
                    first, *rest = data.split(b"\n")
                    pending.append(first)
                    for part in rest:
                        yield _parse(b"".join(pending))
                        pending = [part]
        except aiohttp.ClientConnectorError:
            raise self._not_running() from None
        except (aiohttp.ClientError, ConnectionError):
            raise NodeLostError("the node stopped before it answered") from None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._http is None:
            path = runtime.socket_path(self._home)
            try:
                # What a passphrase is sent to must be this user's own.
                runtime.check_runtime_folder(path.parent)
            except FileNotFoundError:
                raise self._not_running() from None
            self._http = aiohttp.ClientSession(
                # A connection for each call: one kept open may be that of a node that is gone.
                connector=aiohttp.UnixConnector(str(path), limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                read_bufsize=_READ_BYTES,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            )
        return self._http

    def _not_running(self) -> NodeNotRunningError:
        return NodeNotRunningError(
            f"no node runs for {self._home}", hint="start it: safelight node start"
        )


def _parse(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(line)
    if "error" in value:
        error = value["error"]
        raise ControlError(error["message"], code=error["code"], hint=error["hint"])
    return value
