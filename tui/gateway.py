"""The one way from the screens to the node: calls, events, and whether there is a node.

Belongs here: the control client's life, watching the connection, cleaning every answer.
Never here: what an answer means (``screens``), widgets, or starting the vault's services.

The gateway keeps a watch: it asks for the node's state, follows its events, and tells the app of
each change. When the node is gone it looks for it again until it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from node.control import runtime
from node.control.client import (
    ControlClient,
    ControlError,
    NodeLostError,
    NodeNotRunningError,
    SafelightError,
)
from node.control.schema import AuditLog, Params
from tui.text import clean, clean_answer

_RETRY_S: Final = 0.25
_LAST_RETRY_S: Final = 2.0


class Connection(Enum):
    """What there is behind the screens."""

    CONNECTING = "connecting"
    NO_VAULT = "no_vault"
    STOPPED = "stopped"
    """No node runs."""
    LOCKED = "locked"
    READY = "ready"
    LOST = "lost"
    """A node was there and is gone; it is being looked for."""


class GatewayError(Exception):
    """The node's no, in words that are safe to show."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class Gateway:
    """Calls the node of one home and tells of what happens in it."""

    def __init__(
        self,
        home: Path,
        *,
        on_connection: Callable[[Connection], object],
        on_event: Callable[[dict[str, Any]], object],
    ) -> None:
        self.home = home
        self.connection = Connection.CONNECTING
        self.status: dict[str, Any] = {}
        """What the node last said of itself."""
        self._on_connection = on_connection
        self._on_event = on_event
        self._client = ControlClient(home)
        self._watch: asyncio.Task[None] | None = None
        self._look = asyncio.Event()

    def start(self) -> None:
        """Begin to watch."""
        self._watch = asyncio.create_task(self._keep_watching(), name="node watch")

    async def close(self) -> None:
        """Stop watching and hang up."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._client.close()

    def look_again(self) -> None:
        """Ask for the node's state now instead of at the next time."""
        self._look.set()

    async def call(
        self,
        method: str,
        params: Params | Mapping[str, Any] | None = None,
        *,
        progress: Callable[[int, int | None, str], None] | None = None,
    ) -> Any:
        """Return a method's result with every text cleaned; GatewayError where it is refused.

        ``progress`` is told (done, total or None, what is counted). Cancelling ends the work.
        """
        try:
            result = await self._client.call(method, params, progress=progress)
        except ControlError as error:
            if error.code == "locked":
                self.look_again()
            # Some errors say no more than what they are.
            said = error.message if error.message != error.code else error.code.replace("_", " ")
            raise GatewayError(clean(said), code=error.code, hint=clean(error.hint)) from None
        except (NodeNotRunningError, NodeLostError) as error:
            self.look_again()
            raise GatewayError("the node is not there", code=error.code) from None
        except SafelightError as error:
            raise GatewayError(clean(str(error)), code=error.code, hint=clean(error.hint)) from None
        return clean_answer(result)

    async def start_node(self) -> None:
        """Start the home's node in the background; GatewayError where it does not come up."""
        try:
            await runtime.spawn_node(self.home, [])
        except SafelightError as error:
            raise GatewayError(clean(str(error)), code=error.code, hint=clean(error.hint)) from None
        self.look_again()

    # Watching -------------------------------------------------------------------------------------

    async def _keep_watching(self) -> None:
        # What the client speaks takes long to load: not while the screen waits.
        await asyncio.to_thread(import_module, "aiohttp")
        pause = _RETRY_S
        while True:
            seen = await self._look_once()
            self._tell(seen)
            if seen is Connection.READY:
                pause = _RETRY_S
                await self._follow()
                continue
            self._look.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                pause = min(pause * 1.5, _LAST_RETRY_S)

    async def _look_once(self) -> Connection:
        if not (self.home / "vault").is_file():
            return Connection.NO_VAULT
        try:
            self.status = clean_answer(await self._client.call("status"))
        except (NodeNotRunningError, NodeLostError):
            gone = self.connection in (Connection.READY, Connection.LOCKED, Connection.LOST)
            return Connection.LOST if gone else Connection.STOPPED
        except SafelightError:
            return Connection.STOPPED
        return Connection.READY if self.status["state"] == "unlocked" else Connection.LOCKED

    async def _follow(self) -> None:
        """Tell of events until the node is gone or locked, or is to be looked at again."""
        self._look.clear()
        asked = asyncio.create_task(self._look.wait())
        listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait({asked, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            listening.cancel()
            await asyncio.gather(asked, listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Tell of the node's events and of its log's new entries until one of them ends."""
        streams = [
            asyncio.create_task(self._told("events", None, lambda event: event)),
            asyncio.create_task(self._told("audit_follow", AuditLog(limit=0), _logged)),
        ]
        try:
            await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def _told(
        self, method: str, params: Params | None, event_of: Callable[[Any], dict[str, Any]]
    ) -> None:
        with suppress(ControlError, NodeNotRunningError, NodeLostError):
            async with aclosing(self._client.stream(method, params)) as events:
                async for event in events:
                    self._on_event(event_of(clean_answer(event)))

    def _tell(self, seen: Connection) -> None:
        if seen is not self.connection:
            self.connection = seen
            self._on_connection(seen)


def _logged(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the log as an event: its kind is ``log.`` and the entry's event."""
    return {"kind": f"log.{entry['event']}", "entry": entry}
