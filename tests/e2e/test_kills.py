"""No release without a durable entry, whenever the issuer is killed (guarantees 2 and 10)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from node.control.client import ControlClient, ControlError
from protocol.errors import SafelightError
from tests.e2e.people import Cli, people, picture_files, wait_gone

KILLS = 200 if os.environ.get("SAFELIGHT_LONG") else 12
OPENS_EACH = 40


@pytest.mark.timeout(3600)
@pytest.mark.slow
def test_kills_of_the_issuer_lose_no_entry_and_nothing_acknowledged(tmp_path: Path) -> None:
    with people(tmp_path, "alice", "bob") as (alice, bob):
        (path,) = picture_files(tmp_path / "pictures", 1, (200, 133))
        image = alice.do("import", str(path), "--classification", "public")["images"][0]
        (granted,) = alice.do(
            "share", image["id"], "--to", "bob", "--opens", "100000", "--for", "30d"
        )["capabilities"]
        bob.ready(granted["id"])
        bob.do("fetch", granted["id"])
        acknowledged: list[dict[str, object]] = []
        moments = random.Random(20261122)

        for number in range(KILLS):
            tag = f"round-{number}"
            (extra,) = picture_files(tmp_path / tag, 1, (64 + number, 48))
            imported = alice.do("import", str(extra), "--tag", tag)
            asyncio.run(
                _open_until_killed(
                    bob, granted["id"], alice.pid(), moments.random() * 0.6, acknowledged
                )
            )
            found = alice.do("images", "--tag", tag)
            assert [one["id"] for one in found] == [imported["images"][0]["id"]]
            assert alice.do("audit", "verify")["ok"]

        released = {entry["index"] for entry in alice.events("released")}
        missing = [one for one in acknowledged if one["index"] not in released]
        assert missing == []
        assert len(acknowledged) > KILLS / 2
        (share,) = alice.do("shares", "--to", "bob")
        assert share["opens"] == len(released)
        assert alice.do("check", "--read-data")["ok"]
        assert bob.do("audit", "verify")["ok"]


async def _open_until_killed(
    bob: Cli, capability: str, pid: int, after: float, acknowledged: list[dict[str, object]]
) -> None:
    """Let bob open again and again, and kill the issuer's node at a random moment of it."""

    async def keep_opening(client: ControlClient) -> None:
        for _ in range(OPENS_EACH):
            opened = await client.call("open", {"capability": capability})
            acknowledged.append(opened["log"])
            await client.call("close_open", {"open_id": opened["open_id"]})

    async with ControlClient(bob.home) as client:
        opening = asyncio.create_task(keep_opening(client))
        await asyncio.sleep(after)
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(wait_gone, pid)
        opening.cancel()
        with suppress(asyncio.CancelledError, ControlError, SafelightError):
            await opening
