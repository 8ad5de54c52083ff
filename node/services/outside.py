"""Witnesses outside the team, and this node as one of them: what people set.

Belongs here: adding, listing and removing witnesses by address, when one is asked again, and the
port on which this node cosigns for others.
Never here: HTTP itself (``node.witness``), what is offered (``witnessed``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from node.errors import NodeError, UnknownError, UsageError
from node.services.context import Context
from node.services.moments import rfc3339
from node.services.witnessing import stored_head
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records import witness as rows
from node.witness.client import add_checkpoint, checked_url
from node.witness.server import WitnessServer
from protocol.audit.note import KeyType, VerifierKey, format_vkey, parse_vkey_untrusted
from protocol.audit.witness import AddCheckpointRequest, witness_key
from protocol.errors import LogError, SafelightError
from protocol.primitives import sha256

if TYPE_CHECKING:
    from node.services.cosigning import Cosigning

_FIRST_PAUSE_MS: Final = 10_000
_LAST_PAUSE_MS: Final = 3_600_000
"""Between two tries of a witness that does not cosign: it doubles from the one to the other."""
_MOST: Final = 16
"""Outside witnesses of one node."""
_LISTEN: Final = "witness_listen"
"""Key in ``meta`` of where this node cosigns over HTTP; empty where it does not."""

Ask = Callable[[AddCheckpointRequest], Awaitable[bytes | int]]


@dataclass(slots=True)
class _Trouble:
    """A witness that did not cosign."""

    message: str
    until: int
    """When it is asked again, monotonic milliseconds."""
    pause: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An outside witness that may be asked now."""

    key: VerifierKey
    ask: Ask
    told: Callable[[SafelightError | None], None]
    """Takes why it did not cosign, or None where it did."""


class Outside:
    """The witnesses that a person named by their addresses."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._trouble: dict[str, _Trouble] = {}

    async def due(self) -> list[Due]:
        """Return those who may be asked now."""
        now = self._context.clock.monotonic()
        found = await self._context.database.read(rows.witness_urls)
        return [
            Due(
                key=parse_vkey_untrusted(row.vkey),
                ask=partial(add_checkpoint, row.url),
                told=partial(self._told, row.url),
            )
            for row in found
            if row.url not in self._trouble or self._trouble[row.url].until <= now
        ]

    def _told(self, url: str, error: SafelightError | None) -> None:
        if error is None:
            self._trouble.pop(url, None)
            return
        before = self._trouble.get(url)
        pause = _FIRST_PAUSE_MS if before is None else min(before.pause * 2, _LAST_PAUSE_MS)
        until = self._context.clock.monotonic() + pause
        self._trouble[url] = _Trouble(message=str(error), until=until, pause=pause)

    async def add(self, url: str, vkey: str) -> dict[str, Any]:
        """Ask a witness from now on; UsageError for an address or key that cannot be one."""
        url = checked_url(url)
        try:
            key = parse_vkey_untrusted(vkey)
        except LogError as error:
            raise UsageError(str(error), hint="ask the witness for its verifier key") from None
        if key.key_type is not KeyType.COSIGNATURE:
            raise UsageError("a witness signs with a key of type 04", hint="this key is a log's")
        row = rows.WitnessUrl(url=url, vkey=format_vkey(key), added_at=self._context.clock.now())

        def job(transaction: WriteTransaction) -> None:
            others = [one for one in rows.witness_urls(transaction.connection) if one.url != url]
            if any(one.vkey == row.vkey for one in others):
                raise UsageError("this witness is there already, under another address")
            if len(others) >= _MOST:
                raise UsageError(f"there are {_MOST} witnesses already")
            rows.put_witness_url(transaction.connection, row)

        await self._context.database.write(job)
        self._trouble.pop(url, None)
        return {"url": url, "witness": row.vkey, "name": key.name}

    async def remove(self, url: str) -> dict[str, Any]:
        """Ask a witness no more; what it cosigned stays. UnknownError where there is no such."""
        url = url.rstrip("/")
        removed = await self._context.database.write(
            lambda transaction: rows.remove_witness_url(transaction.connection, url)
        )
        if not removed.value:
            raise UnknownError(f"no witness at {url}", hint="safelight audit witness list")
        self._trouble.pop(url, None)
        return {"url": url}

    async def list(self) -> list[dict[str, Any]]:
        """Return every outside witness: what it signed last, and why it does not sign."""

        def query(db: Connection) -> tuple[list[rows.WitnessUrl], dict[str, rows.Cosigned]]:
            newest = log_store.head(db)
            origin = "" if newest is None else stored_head(newest.note).head.origin
            signed = {row.witness: row for row in rows.cosignatures(db, origin)}
            return rows.witness_urls(db), signed

        found, signed = await self._context.database.read(query)
        return [
            {
                "url": row.url,
                "witness": row.vkey,
                "name": row.vkey.partition("+")[0],
                "size": signed[row.vkey].size if row.vkey in signed else None,
                "signed_at": rfc3339(signed[row.vkey].signed_at) if row.vkey in signed else None,
                "problem": self._trouble[row.url].message if row.url in self._trouble else None,
            }
            for row in found
        ]


class Serving:
    """The port on which this node cosigns for logs of its team over HTTP, if any."""

    def __init__(self, context: Context, cosigning: Cosigning) -> None:
        self._context = context
        self._server = WitnessServer(cosigning, self._origin)
        self._at: str | None = None
        self._problem: str | None = None

    async def start(self) -> None:
        """Listen where a person said so; a port that is taken is told, and stops nothing."""
        kept = await self._context.database.read(lambda db: get_meta(db, _LISTEN))
        if kept:
            try:
                await self._listen(kept.decode())
            except NodeError as error:
                self._problem = str(error)

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()
        self._at = None

    async def listen(self, where: str | None) -> dict[str, Any]:
        """Cosign at HOST:PORT from now on and after each start, or no more for None."""
        await self.close()
        bound = "" if where is None else await self._listen(where)

        def job(transaction: WriteTransaction) -> None:
            set_meta(transaction.connection, _LISTEN, bound.encode())

        await self._context.database.write(job)
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """Return where this node cosigns, with the key that verifies its cosignatures."""
        return {
            "listening": self._at,
            "witness": format_vkey(witness_key(self._context.identity.public)),
            "problem": self._problem,
        }

    async def _listen(self, where: str) -> str:
        from node.unlocked import split_address

        host, port = split_address(where)
        try:
            bound_host, bound_port = await self._server.start(host, port)
        except OSError as error:
            raise NodeError(
                f"cannot listen at {where}: {error.strerror or error}", hint="name another port"
            ) from None
        self._problem = None
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        self._at = f"http://{shown}:{bound_port}"
        return f"{shown}:{bound_port}"

    async def _origin(self, digest: bytes) -> str | None:
        origins = await self._context.database.read(rows.held_origins)
        return next((one for one in origins if sha256(one.encode()) == digest), None)
