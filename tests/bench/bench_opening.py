"""An open, end to end between two node processes on loopback, with its durable commit."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from node.control.client import ControlClient
from tests.e2e.people import Cli, people, picture_files

OPENS = 300
REVOCATIONS = 30


def run() -> list[dict[str, Any]]:
    """Return percentiles of an open, and how soon an online holder sees a revocation."""
    with tempfile.TemporaryDirectory() as folder, people(Path(folder), "alice", "bob") as both:
        alice, bob = both
        (path,) = picture_files(Path(folder) / "pictures", 1, (800, 534))
        image = alice.do("import", str(path))["images"][0]["id"]
        (granted,) = alice.do("share", image, "--to", "bob", "--opens", "100000")["capabilities"]
        bob.ready(granted["id"])
        bob.do("fetch", granted["id"])
        opens = sorted(asyncio.run(_opens(bob, granted["id"])))
        revocations = sorted(asyncio.run(_revocations(alice, bob, image)))
    return [
        {"what": "open over the control API, p50", "value": statistics.median(opens),
         "unit": "ms", "budget": "15 ms"},
        {"what": "open over the control API, p99", "value": opens[int(len(opens) * 0.99)],
         "unit": "ms", "budget": "60 ms"},
        {"what": "revocation seen by an online holder, p99",
         "value": revocations[int(len(revocations) * 0.99)], "unit": "ms", "budget": "1000 ms"},
    ]  # fmt: skip


async def _opens(bob: Cli, capability: str) -> list[float]:
    taken = []
    async with ControlClient(bob.home) as client:
        for _ in range(OPENS):
            begin = time.perf_counter()
            opened = await client.call("open", {"capability": capability})
            taken.append((time.perf_counter() - begin) * 1000)
            await client.call("close_open", {"open_id": opened["open_id"]})
    return taken


async def _revocations(alice: Cli, bob: Cli, image: str) -> list[float]:
    """Measure from the call of revoke until the holder's node tells of it."""
    taken = []
    async with ControlClient(alice.home) as issuer, ControlClient(bob.home) as holder:
        for _ in range(REVOCATIONS):
            shared = await issuer.call("share", {"what": [image], "to": ["bob"]})
            capability = shared["capabilities"][0]["id"]
            while not any(
                held["id"] == capability and held["images"][0]["ready"]
                for held in await holder.call("inbox")
            ):
                await asyncio.sleep(0.01)
            begin = time.perf_counter()
            revoking = asyncio.create_task(issuer.call("revoke", {"capabilities": [capability]}))
            while not any(
                held["id"] == capability and held["state"] == "revoked"
                for held in await holder.call("inbox")
            ):
                await asyncio.sleep(0.001)
            taken.append((time.perf_counter() - begin) * 1000)
            await revoking
    return taken
