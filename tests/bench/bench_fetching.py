"""A gigabyte of renditions from one node process to another: read, sent, hashed, durable."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from node.imaging.pool import ImagingPool
from node.services.library import blob_row
from node.services.membership import Address
from node.system import system_entropy
from node.vault.database import WriteTransaction
from node.vault.records import grants, library
from node.vault.records.grants import RenditionRow
from protocol.capability.manifest import rendition_context
from protocol.messages import FetchRendition
from tests.bench.bench_transport import _Scp
from tests.node.services.team import Person, ShiftedClock, start_node, team

RENDITIONS = 4
BYTES = 256 * 1024 * 1024
PIECE = 1024 * 1024


def run() -> list[dict[str, Any]]:
    """Return MB/s of fetching, and of scp in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_prepare(Path(folder)))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bench_fetching", str(Path(folder) / "alice")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as issuer:  # fmt: skip
            assert issuer.stdout is not None
            host, port = issuer.stdout.readline().split()
            seconds = uvloop.run(_fetch(Path(folder), (host, int(port))))
            issuer.communicate("stop\n")
    rate = RENDITIONS * BYTES / 1e6 / seconds
    row = {"what": "fetch 1 GB of renditions, durable", "value": rate, "unit": "MB/s",
           "budget": "300 MB/s"}  # fmt: skip
    with _Scp() as scp:
        if scp.reason is None:
            row |= {"peer": "scp", "ratio": rate / (1e3 / scp.seconds() * 1.073741824)}
    return [row]


async def _prepare(folder: Path) -> None:
    """Make two members, and give one of them renditions that nobody had to render."""
    async with team(folder, "alice", "bob") as (alice, _):
        (image,) = await alice.import_pictures(1)
        row = await alice.node.library.resolve_image(image["id"])
        for number in range(RENDITIONS):
            await _add_rendition(alice, row.image_id, row.version_id, number)


async def _add_rendition(alice: Person, image_id: bytes, version_id: bytes, number: int) -> None:
    rendition_id, key = system_entropy(32), system_entropy(32)
    context = rendition_context(
        team_id=alice.node.membership.team_id, issuer=alice.me, image_id=image_id,
        rendition_id=rendition_id,
    )  # fmt: skip
    piece = os.urandom(PIECE)
    sealed = await alice.node.context.vault.blobs.seal_stream(
        (piece for _ in range(BYTES // PIECE)), key, context
    )

    def job(transaction: WriteTransaction) -> None:
        library.insert_blob(
            transaction.connection, blob_row("rendition", None, context, sealed), now=0
        )
        grants.insert_rendition(
            transaction.connection,
            RenditionRow(
                rendition_id=rendition_id, version_id=version_id, spec=f"preview:{number}",
                blob_id=sealed.blob_id, key=key, commitment=sealed.commitment, format="jpeg",
                width=1, height=1, disclosure=b"",
            ),
            0,
        )  # fmt: skip

    await alice.node.context.database.write(job)


async def _fetch(folder: Path, address: Address) -> float:
    imaging = ImagingPool(workers=1)
    bob = await start_node(folder / "bob", ShiftedClock(), imaging)
    try:
        (alice,) = [one for one in bob.membership.trusted.members if one != bob.context.me]
        await bob.membership.add_addresses(alice, [address], source="added")
        link = await bob.peering.reach(alice, 20)
        wanted = _read_wanted(folder)
        begin = time.perf_counter()
        for rendition_id, length, digest in wanted:
            incoming = await bob.context.vault.blobs.receive(length=length, sha256=digest)
            _, stream = await link.session.request_stream(
                FetchRendition(rendition_id=rendition_id, offset=0)
            )
            async for piece in stream:
                await incoming.write(piece)
            await incoming.finish()
        return time.perf_counter() - begin
    finally:
        await bob.close()
        await imaging.close()


def _read_wanted(folder: Path) -> list[tuple[bytes, int, bytes]]:
    rows = (folder / "wanted").read_text().splitlines()
    return [
        (bytes.fromhex(one), int(length), bytes.fromhex(digest))
        for one, length, digest in (row.split() for row in rows)
    ]


async def _serve(home: Path) -> None:
    """Run the issuer's node until a line arrives."""
    imaging = ImagingPool(workers=1)
    node = await start_node(home, ShiftedClock(), imaging)
    rows = await node.context.database.read(
        lambda db: db.execute(
            "SELECT rendition_id, sealed_bytes, sealed_sha256 FROM renditions JOIN blobs"
            " USING (blob_id)"
        ).fetchall()
    )
    (home.parent / "wanted").write_text(
        "".join(f"{one.hex()} {length} {digest.hex()}\n" for one, length, digest in rows)
    )
    host, port = node.addresses()[0]
    sys.stdout.write(f"{host} {port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    await node.close()
    await imaging.close()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
