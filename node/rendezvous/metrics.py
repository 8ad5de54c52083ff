"""What the server counts, and the page that Prometheus reads.

Belongs here: counters, gauges, their text format, the local port they are served on.
Never here: labels of people, teams or addresses: numbers of the whole server only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

from aiohttp import web

Gauges = Callable[[], Mapping[str, int]]

_HOST: Final = "127.0.0.1"
"""Never another: what a server carries is the operator's to know."""


def _counter(what: str) -> int:
    value: int = field(default=0, metadata={"help": what})
    return value


@dataclass(slots=True, kw_only=True)
class Metrics:
    """Counters since the server started."""

    connections: int = _counter("Connections accepted.")
    connections_refused: int = _counter("Connections dropped over a bound on unproved ones.")
    authentications: int = _counter("Handshakes that proved a key.")
    attendances: int = _counter("Times that a member began to attend.")
    requests: int = _counter("Requests answered or refused.")
    claims: int = _counter("Teams registered.")
    admissions: int = _counter("Admissions put in force.")
    circuits: int = _counter("Circuits opened.")
    relayed_messages: int = _counter("Messages carried through circuits.")
    relayed_bytes: int = _counter("Bytes carried through circuits.")
    slots: int = _counter("Slots opened.")
    mail_deposited: int = _counter("Mails stored.")
    mail_collected: int = _counter("Mails dropped because their recipient holds them.")
    mail_expired: int = _counter("Mails dropped because nobody came for them.")
    dropped: int = _counter("Members dropped because they took nothing.")
    refused: Counter[str] = field(default_factory=Counter, metadata={"help": "Refusals."})
    """By reason."""

    def accepted(self) -> None:
        """Count a connection."""
        self.connections += 1

    def turned_away(self) -> None:
        """Count a connection over a bound."""
        self.connections_refused += 1


def render(metrics: Metrics, gauges: Mapping[str, int]) -> str:
    """Return counters and gauges in the Prometheus text format, version 0.0.4."""
    lines: list[str] = []
    values = asdict(metrics)
    for one in fields(metrics):
        name = f"safelight_rendezvous_{one.name}_total"
        lines += [f"# HELP {name} {one.metadata['help']}", f"# TYPE {name} counter"]
        if one.name == "refused":
            lines += [
                f'{name}{{reason="{reason}"}} {count}'
                for reason, count in sorted(metrics.refused.items())
            ]
        else:
            lines.append(f"{name} {values[one.name]}")
    for gauge, value in gauges.items():
        name = f"safelight_rendezvous_{gauge}"
        lines += [f"# TYPE {name} gauge", f"{name} {value}"]
    return "\n".join(lines) + "\n"


class MetricsPage:
    """Serves the page on a port of this machine alone."""

    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._http = web.Server(self._handle, access_log=None)
        self._listening: asyncio.AbstractServer | None = None

    async def start(self, port: int) -> int:
        """Serve; return the port, which is another one only where 0 was asked for."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._http, _HOST, port)
        bound: int = self._listening.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop serving."""
        if self._listening is not None:
            self._listening.close()
        await self._http.shutdown(1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path_qs != "/metrics":
            return web.Response(status=404)
        return web.Response(
            body=render(self._metrics, self._gauges()).encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
