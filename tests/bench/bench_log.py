"""The audit log: durable appends by batch size, and verifying a million entries."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import sqlite3
import tempfile
import time
from array import array
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

from node.imaging.pool import ImagingPool
from node.services.context import Context
from node.services.entries import draft
from node.services.events import Events
from node.services.log_verifying import LogVerifying
from node.services.membership import Membership
from node.system import SystemClock, system_entropy
from node.vault import log_store
from node.vault.database import WriteTransaction
from node.vault.records import Connection, log
from node.vault.vault import Vault
from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import Entry, encode_entry
from protocol.audit.log_keys import OneLogKey
from protocol.audit.tree import Frontier, leaf_hash
from protocol.audit.verify import SliceResult, combine_slices, plan_slices, verify_slice
from protocol.primitives import SigningKey

ENTRIES = 1_000_000
APPENDS = 20_000
STORED = 256_000
PAGED = 100_096
_Times: TypeAlias = tuple[int | None, int | None]


def run() -> list[dict[str, Any]]:
    """Return appends a second and the seconds of a verification."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for batch in (1, 10, 100, 256):
            ours, busy = asyncio.run(_appends(Path(folder) / f"vault-{batch}", batch))
            bare = _bare(Path(folder) / f"bare-{batch}.db", batch)
            rows.append({
                "what": f"durable appends a second, {batch} a commit", "value": ours,
                "unit": "/s", "peer": "bare SQLite", "ratio": ours / bare,
                "CPU": f"{busy:.0f} us each",
                **({"budget": "20,000/s"} if batch == 100 else {}),
            })  # fmt: skip
        rows += asyncio.run(_stored(Path(folder) / "stored"))
        rows += asyncio.run(_pages(Path(folder) / "pages"))
    return [*rows, *_verification()]


async def _stored(home: Path) -> list[dict[str, Any]]:
    """Verify a stored log as `audit verify` does, values and all, and prove entries of it."""
    vault, _ = await Vault.create(
        home, name="bench", passphrase="a passphrase", clock=SystemClock(),
        entropy=system_entropy, memory_bytes=64 * 1024 * 1024,
    )  # fmt: skip
    imaging, events = ImagingPool(workers=1), Events()
    context = Context(
        vault=vault, imaging=imaging, clock=SystemClock(), entropy=system_entropy, events=events
    )
    me = context.me

    def job(transaction: WriteTransaction) -> None:
        for _ in range(256):
            transaction.append(
                draft(
                    "released", actor=me, about=me,
                    references={"holder": me, "image": bytes(16), "capability": bytes(16)},
                )
            )  # fmt: skip

    for _ in range(STORED // 256):
        await vault.database.write(job)
    verifying = LogVerifying(context, await Membership.load(context))
    begin, busy = time.perf_counter(), _busy()
    report = await verifying.verify()
    seconds = time.perf_counter() - begin
    busy = _busy() - busy
    assert report["ok"]
    proofs = []
    for number in range(500):
        index = number * 7_919 % report["size"]
        begin = time.perf_counter()
        await vault.database.read(
            partial(log_store.inclusion_proof, index=index, size=report["size"])
        )
        proofs.append(1000 * (time.perf_counter() - begin))
    await vault.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return [
        {"what": f"verify {report['size']:,} stored entries and their values", "value": seconds,
         "unit": "s", "CPU": f"{busy:.1f} s"},
        {"what": "memory of a process that verifies", "value": peak, "unit": "MB"},
        {"what": f"proof of an entry at {report['size']:,}, p99", "value": sorted(proofs)[494],
         "unit": "ms", "budget": "5 ms"},
    ]  # fmt: skip


async def _pages(home: Path) -> list[dict[str, Any]]:
    """Count what matches a filter and read a page of it at a deep offset, as a screen does."""
    vault, _ = await Vault.create(
        home, name="bench", passphrase="a passphrase", clock=SystemClock(),
        entropy=system_entropy, memory_bytes=64 * 1024 * 1024,
    )  # fmt: skip
    events = ("released", "opened", "saved", "denied")

    def job(transaction: WriteTransaction, start: int) -> None:
        for number in range(start, start + 256):
            who = bytes([number % 20]) * 32
            image, capability = number * 7_919 % 2_000, number % 300
            transaction.append(
                draft(
                    events[number % 4], actor=who, about=who,
                    references={
                        "holder": who, "image": image.to_bytes(16),
                        "capability": capability.to_bytes(16),
                    },
                )
            )  # fmt: skip

    for start in range(0, PAGED, 256):
        await vault.database.write(partial(job, start=start))
    member, image = ("member", bytes([3]) * 32), ("image", (5).to_bytes(16))
    since, until = [
        (await vault.database.read(partial(log_store.entry, index=index))).time  # type: ignore[union-attr]
        for index in (PAGED // 4, 3 * PAGED // 4)
    ]
    ever, between = (None, None), (since, until)
    filters: dict[str, tuple[list[tuple[str, bytes]], tuple[str, ...], _Times, int]] = {
        "event": ([], ("released",), ever, 20_000),
        "four events": ([], events, ever, 50_000),
        "time": ([], (), between, 40_000),
        "time and two events": ([], events[:2], between, 20_000),
        "person": ([member], (), ever, 4_000),
        "person and event": ([member], ("denied",), ever, 4_000),
        "person, event and time": ([member], ("denied",), between, 2_000),
        "image": ([image], (), ever, 30),
        "image and time": ([image], (), between, 15),
    }
    rows = []
    for name, (subjects, chosen, times, offset) in filters.items():

        def query(
            db: Connection,
            subjects: list[tuple[str, bytes]] = subjects,
            chosen: tuple[str, ...] = chosen,
            times: _Times = times,
            offset: int = offset,
        ) -> float:
            begin = time.thread_time()
            log.page_of(
                db, subjects=subjects, since=times[0], until=times[1], events=chosen,
                offset=offset, limit=50,
            )  # fmt: skip
            return 1000 * (time.thread_time() - begin)

        took = sorted([await vault.database.read(query) for _ in range(21)])
        rows.append({
            "what": f"page of {PAGED:,} entries by {name}, CPU p95", "value": took[19],
            "unit": "ms", "budget": "10 ms",
        })  # fmt: skip
    await vault.close()
    return rows


async def _appends(home: Path, batch: int) -> tuple[float, float]:
    """Append through the whole pipeline: entry, values under subject keys, tree, head, commit."""
    vault, _ = await Vault.create(
        home, name="bench", passphrase="a passphrase", clock=SystemClock(),
        entropy=system_entropy, memory_bytes=64 * 1024 * 1024,
    )  # fmt: skip
    me = vault.identity.public.fingerprint
    total = max(batch * 20, APPENDS if batch >= 100 else 400 * batch)

    def job(transaction: WriteTransaction) -> None:
        for _ in range(batch):
            transaction.append(
                draft(
                    "released", actor=me, about=me,
                    references={"holder": me, "image": bytes(16), "capability": bytes(16)},
                )
            )  # fmt: skip

    begin, busy = time.perf_counter(), time.process_time()
    for _ in range(total // batch):
        await vault.database.write(job)
    busy = 1e6 * (time.process_time() - busy) / total
    rate = total / (time.perf_counter() - begin)
    await vault.close()
    return rate, busy


def _bare(path: Path, batch: int) -> float:
    """Insert rows of the same size into plain SQLite with the same durability."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE entries (one INTEGER PRIMARY KEY, entry BLOB)")
    total = max(batch * 20, APPENDS if batch >= 100 else 400 * batch)
    entry = os.urandom(500)
    begin = time.perf_counter()
    for _ in range(total // batch):
        db.execute("BEGIN")
        db.executemany("INSERT INTO entries (entry) VALUES (?)", [(entry,)] * batch)
        db.execute("COMMIT")
    rate = total / (time.perf_counter() - begin)
    db.close()
    return rate


def _busy() -> float:
    """Return the CPU seconds of this process and of those that it started and that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _entries(count: int) -> list[bytes]:
    digests = dict.fromkeys(("capability", "holder", "image", "reason"), "ab" * 32)
    return [
        encode_entry(
            Entry(
                actor="01" * 16, commitments=digests, event="released", nonce=f"{seq:032x}",
                seq=seq, subjects=("02" * 16, "03" * 16), time=1_760_000_000_000 + seq,
            )
        )
        for seq in range(count)
    ]  # fmt: skip


class _Stored:
    """Entries in a row, as a file has them.

    A million objects made before the fork would be copied page by page as each is counted.
    """

    def __init__(self, entries: list[bytes]) -> None:
        self._data = b"".join(entries)
        self._ends = array("Q", accumulate(map(len, entries)))

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, indices: range) -> Iterator[bytes]:
        """Yield entries as objects of this process."""
        begin = self._ends[indices.start - 1] if indices.start else 0
        for end in self._ends[indices.start : indices.stop]:
            yield self._data[begin:end]
            begin = end


_SHARED: list[_Stored] = []


def _verify_part(part: tuple[int, int]) -> list[SliceResult]:
    (stored,) = _SHARED
    return [
        verify_slice(stored.read(one), first=one.start)
        for number, one in enumerate(plan_slices(len(stored)))
        if number % part[1] == part[0]
    ]


def _verification() -> list[dict[str, Any]]:
    entries = _entries(ENTRIES)
    key, origin = SigningKey(bytes(32)), origin_of(bytes(32))
    tree = Frontier()
    for entry in entries:
        tree.append(leaf_hash(entry))
    head = sign_checkpoint(Checkpoint(origin=origin, size=len(entries), root=tree.root()), key)
    _SHARED[:] = [_Stored(entries)]
    del entries
    rows = []
    for processes in (1, 2):
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            begin = time.perf_counter()
            parts = pool.map(_verify_part, [(n, processes) for n in range(processes)])
            slices = sorted((one for part in parts for one in part), key=lambda one: one.first)
            report = combine_slices(slices, head, keys=OneLogKey(origin=origin, public=key.public))
            seconds = time.perf_counter() - begin
        assert report.ok
        rows.append({
            "what": f"verify {ENTRIES:,} entries, {processes} process{'es' * (processes > 1)}",
            "value": seconds, "unit": "s", "budget": "2.5 s",
        })  # fmt: skip
    _SHARED.clear()
    return rows
