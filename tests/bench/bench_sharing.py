"""Issuing one capability over 500 pictures to each of 20 holders."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from node.system import SystemClock, system_entropy
from protocol.identity import Seeds, make_identity
from protocol.roster.metadata import sign_roster, with_member
from tests.node.services.team import team

PICTURES, HOLDERS = 500, 20


def run() -> list[dict[str, Any]]:
    """Return the seconds until share has returned."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(_share(Path(folder)))
    return [
        {"what": f"issue {PICTURES} pictures to {HOLDERS} holders", "value": seconds,
         "unit": "s", "budget": "1 s"}
    ]  # fmt: skip


async def _share(folder: Path) -> float:
    async with team(folder, "alice", "bob") as (alice, _):
        names = []
        for number in range(HOLDERS):
            name = f"holder {number}"
            local = make_identity(
                Seeds.generate(system_entropy), name=name, now=SystemClock().now()
            )
            trusted = alice.node.membership.trusted
            body = with_member(trusted.roster, local.public, "editor", now=SystemClock().now())
            signed = sign_roster(
                body, signers=(alice.node.context.identity,), team_id=trusted.team_id
            )
            await alice.node.membership._accept(trusted.update_untrusted(signed))
            names.append(name)
        images = await alice.import_pictures(PICTURES, size=(64, 43))
        begin = time.perf_counter()
        await alice.share([image["id"] for image in images], names)
        return time.perf_counter() - begin
