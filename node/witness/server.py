"""This node as a witness over HTTP (C2SP tlog-witness v1.0.0).

Belongs here: the two paths, exact statuses and bodies, bounds on requests.
Never here: the decision (``protocol.audit.witness``), storing (``services.cosigning``), or whether
to listen (``services.outside``).

    POST <prefix>/add-checkpoint                     200 cosignature lines, or 400 403 404 409 422
    GET  <prefix>/<hex SHA-256 of origin>/checkpoint 200 the head held, or 404
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from node.faults import report_fault
from node.services.cosigning import Cosigning
from protocol.audit.witness import WitnessRefusedError, parse_request_untrusted
from protocol.errors import LogError, SafelightError
from protocol.limits import MAX_NOTE_BYTES

_MOST_BYTES: Final = 2 * MAX_NOTE_BYTES
"""Of a request: a checkpoint with all its signatures, and a proof."""
_READ_S: Final = 10.0
"""How long a request's body may take to come."""
_AT_ONCE: Final = 32
"""Requests looked at at once; more wait, and none holds more than its body."""

_UNLOGGED: Final = logging.getLogger("safelight.witness")
_UNLOGGED.disabled = True

Origins = Callable[[bytes], Awaitable[str | None]]
"""Takes SHA-256 of an origin; None where no log of that is held."""


class WitnessServer:
    """Answers requests for cosignatures on one port."""

    def __init__(self, cosigning: Cosigning, origins: Origins) -> None:
        self._cosigning = cosigning
        self._origins = origins
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return where; OSError where that port cannot be had."""
        app = web.Application(client_max_size=_MOST_BYTES, logger=_UNLOGGED)
        app.router.add_post("/add-checkpoint", self._add)
        app.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", self._checkpoint)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=_READ_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except BaseException:
            await self.close()
            raise
        bound = self._runner.addresses[0]
        return str(bound[0]), int(bound[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _add(self, request: web.Request) -> web.Response:
        async def cosigned() -> bytes:
            async with asyncio.timeout(_READ_S):
                body = await request.read()
            async with self._places:
                try:
                    asked = parse_request_untrusted(body)
                except LogError as error:
                    raise WitnessRefusedError(str(error), status=400) from None
                return await self._cosigning.add(asked)

        return await _answered(cosigned())

    async def _checkpoint(self, request: web.Request) -> web.Response:
        async def held() -> bytes:
            origin = await self._origins(bytes.fromhex(request.match_info["origin"]))
            if origin is None:
                raise WitnessRefusedError("no head of this log is held", status=404)
            return await self._cosigning.newest(origin)

        return await _answered(held())


async def _answered(work: Awaitable[bytes]) -> web.Response:
    """Return what comes of work, or the refusal that says why nothing does."""
    try:
        return web.Response(body=await work, content_type="text/plain", charset="utf-8")
    except WitnessRefusedError as refusal:
        if refusal.size is not None:
            return web.Response(
                status=refusal.status,
                body=b"%d\n" % refusal.size,
                headers={"Content-Type": "text/x.tlog.size"},
            )
        return web.Response(status=refusal.status, text=f"{refusal}\n")
    except TimeoutError:
        return web.Response(status=408, text="the request took too long\n")
    except SafelightError:
        # Nothing was stored, so nothing is cosigned: the disk is full, or the vault is closing.
        return web.Response(status=503, text="not now\n")
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  the caller is told, the node goes on
        report_fault("a request for a cosignature", error)
        return web.Response(status=500, text="a fault of the witness itself\n")
