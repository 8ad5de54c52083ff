"""Coming together: a newcomer, a cut that heals, a node that starts, and the cost of a relay.

Belongs here: real node processes, in network namespaces where something is cut.
Never here: assertions; tests/netns holds what must be true.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from node.imaging.pool import ImagingPool
from node.services.context import Context
from node.services.events import Events
from node.services.membership import Address
from node.system import system_entropy
from node.unlocked import Unlocked
from node.vault.vault import Vault
from protocol.messages import FetchRendition
from tests.bench import bench_fetching
from tests.netns import sites
from tests.netns.lab import Lab, why_not
from tests.netns.machines import Machine, stop, until
from tests.netns.machines import team as machines
from tests.node.rendezvous.process import Server, serving
from tests.node.services.team import PASSPHRASE, Person, ShiftedClock, start_node, team

CUTS_S: Final = (5, 40)
"""One that a connection may outlive, and one that it does not."""
ROUNDS: Final = 3
STARTS: Final = 5
_PATIENCE_S: Final = 60

Row = dict[str, Any]


def run() -> list[Row]:
    """Measure; seconds, and megabytes a second of one large rendition."""
    rows: list[Row] = []
    if reason := why_not():
        rows.append({"what": "joining and healing", "skipped": reason})
    else:
        rows += asyncio.run(_in_a_lab())
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "rendezvous", None) as server,
    ):
        uvloop.run(_prepare(Path(folder), server))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bench_fetching", str(Path(folder) / "alice")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as issuer:  # fmt: skip
            assert issuer.stdout is not None
            host, port = issuer.stdout.readline().split()
            rows += uvloop.run(_transfer(Path(folder), (host, int(port))))
            rows += [uvloop.run(_first_byte(Path(folder), (host, int(port))))]
            issuer.communicate("stop\n")
    return rows


# Joining and healing ------------------------------------------------------------------------------


async def _in_a_lab() -> list[Row]:
    rows: list[Row] = []
    # Sockets of nodes need short paths.
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="rec-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
        office, branch = lab.segment("192.0.2"), lab.segment("198.51.100")
        server = sites.serve(lab.host("server", office, branch), folder / "server")
        async with machines(lab, folder, office, "anna", strangers=["ben", "carl"]) as everybody:
            anna, ben, spare = everybody
            carl = sites.moved(spare, lab.host("far-carl", branch))
            for one in (anna, ben, carl):
                one.launch()
            await asyncio.gather(*(one.serves() for one in (anna, ben, carl)))
            await anna.call("rendezvous_claim", address=server.address(0), secret=server.claim)
            await until(lambda: sites.connected(anna), _PATIENCE_S)
            rows.append(await _joined("on one network", anna, ben, None, "lan"))
            rows.append(await _joined("by a rendezvous", anna, carl, server.address(1), "relay"))
            for seconds in CUTS_S:
                for way, other, segment, path in (
                    ("direct", ben, office, "lan"),
                    ("relayed", carl, branch, "relay"),
                ):
                    segment.cut(other.host)
                    await asyncio.sleep(seconds)
                    segment.heal(other.host)
                    rows.append(
                        {
                            "what": f"{way} again after a cut of {seconds} s",
                            "value": await sites.both_by(anna, other, path),
                            "unit": "s",
                            "budget": "<= 30 s",
                        }
                    )
            stop(anna, ben, carl)
    return rows


async def _joined(way: str, anna: Machine, other: Machine, address: str | None, path: str) -> Row:
    """Measure from the invitation until the newcomer is a member whom the inviter reaches."""
    begin = time.perf_counter()
    await sites.join(anna, other, address)
    member = time.perf_counter() - begin
    await sites.both_by(anna, other, path)
    reached = time.perf_counter() - begin
    return {
        "what": f"invite to member, {way}", "value": member, "unit": "s",
        "reached after": f"{reached:.1f} s",
    }  # fmt: skip


# Relayed and direct -------------------------------------------------------------------------------


async def _prepare(folder: Path, server: Server) -> None:
    """Make two members who know no address of each other, and a large rendition."""
    async with team(folder, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        row = await alice.node.library.resolve_image(image["id"])
        await bench_fetching._add_rendition(alice, row.image_id, row.version_id, 0)
        assert server.claim is not None
        await alice.node.rendezvous.claim(server.address, server.claim)
        await bob.node.rendezvous.use(server.address)
        await _forget(alice, bob)
        await _forget(bob, alice)


async def _forget(one: Person, other: Person) -> None:
    await one.node.membership.remove_addresses(other.me)


async def _transfer(folder: Path, address: Address) -> list[Row]:
    """Return MB/s of fetching a rendition durably, both ways in turn, the best of each."""
    imaging = ImagingPool(workers=1)
    bob = await start_node(folder / "bob", ShiftedClock(), imaging)
    ((rendition_id, length, digest),) = bench_fetching._read_wanted(folder)
    (alice,) = [one for one in bob.membership.trusted.members if one != bob.context.me]
    seconds: dict[str, list[float]] = {"relay": [], "lan": []}
    try:
        for _ in range(ROUNDS):
            for path, took in seconds.items():
                await _reach_by(bob, alice, path, address)
                link = await bob.peering.reach(alice, _PATIENCE_S)
                begin = time.perf_counter()
                incoming = await bob.context.vault.blobs.receive(length=length, sha256=digest)
                _, stream = await link.session.request_stream(
                    FetchRendition(rendition_id=rendition_id, offset=0)
                )
                async for piece in stream:
                    await incoming.write(piece)
                await incoming.finish()
                took.append(time.perf_counter() - begin)
    finally:
        await bob.close()
        await imaging.close()
    relayed, direct = (length / 1e6 / min(took) for took in seconds.values())
    return [
        {"what": "fetch 256 MiB, direct", "value": direct, "unit": "MB/s"},
        {"what": "fetch 256 MiB, relayed", "value": relayed, "unit": "MB/s",
         "peer": "direct", "ratio": relayed / direct, "budget": ">= 0.5"},
    ]  # fmt: skip


async def _reach_by(bob: Unlocked, alice: bytes, path: str, address: Address) -> None:
    """Let the next request go by a path."""
    if path == "lan":
        await bob.membership.add_addresses(alice, [address], source="added")
    else:
        await bob.membership.remove_addresses(alice)
        while bob.directory.places(alice):
            await asyncio.sleep(0.01)
        while (link := bob.peering.link(alice)) is not None and not link.session.relayed:
            await link.session.close()
    async with asyncio.timeout(_PATIENCE_S):
        while bob.peering.describe(alice)["path"] != path:
            await asyncio.sleep(0.01)


async def _first_byte(folder: Path, address: Address) -> Row:
    """Return milliseconds from an open vault to the first byte from a peer known before."""
    took = []
    imaging = ImagingPool(workers=1)
    ((rendition_id, _, _),) = bench_fetching._read_wanted(folder)
    for number in range(STARTS + 1):
        clock = ShiftedClock()
        vault = await Vault.open(
            folder / "bob", passphrase=PASSPHRASE, clock=clock, entropy=system_entropy
        )
        context = Context(
            vault=vault, imaging=imaging, clock=clock, entropy=system_entropy, events=Events()
        )
        begin = time.perf_counter()
        node = await Unlocked.start(context, listen="127.0.0.1:0")
        (alice,) = [one for one in node.membership.trusted.members if one != node.context.me]
        if number == 0:
            # Known from then on.
            await node.membership.add_addresses(alice, [address], source="added")
        link = await node.peering.reach(alice, _PATIENCE_S)
        _, stream = await link.session.request_stream(
            FetchRendition(rendition_id=rendition_id, offset=0)
        )
        async for _ in stream:
            break
        took.append(time.perf_counter() - begin)
        await stream.aclose()
        await node.close()
    await imaging.close()
    return {
        "what": "first byte from a known peer after the start",
        "value": 1000 * sorted(took[1:])[STARTS // 2],
        "unit": "ms",
        "budget": "<= 300 ms",
    }
