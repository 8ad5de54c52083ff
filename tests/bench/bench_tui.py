"""The terminal UI through a pseudo-terminal, before a library of 100,000 pictures.

Belongs here: the real program and a real node as processes; what a person waits for.
Never here: assertions; tests/tui holds what must be true.

A key is settled when nothing more is written for a tenth of a second: the time is that of the
last byte. (What the side panel asks about a picture comes only once the cursor has rested longer.)
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from node.system import SystemClock, system_entropy
from node.vault.database import WriteTransaction
from node.vault.records import library
from node.vault.vault import Vault
from tests.e2e.people import Cli, picture_files

PICTURES: Final = 100_000
REAL: Final = 24
"""Pictures that are imported; the rest are rows that share their thumbnails."""
COLUMNS: Final = 120
ROWS: Final = 40
STARTS: Final = 7
PRESSES: Final = 40
_TOGETHER: Final = 5_000
_QUIET_S: Final = 0.4
_PAUSE_S: Final = 0.1
_PATIENCE_S: Final = 60
_PROGRAM: Final = "from tui.start import main; main()"

Row = dict[str, Any]


def run() -> list[Row]:
    """Return times, bytes and memory at 120 × 40."""
    with tempfile.TemporaryDirectory(prefix="tui-", dir="/tmp") as name:
        alice = Cli("alice", Path(name))
        fill(alice, PICTURES)
        alice.do("node", "start", "--listen", "127.0.0.1:0", "--no-mdns")
        try:
            return [*_starting(alice), *_working(alice)]
        finally:
            alice.run("node", "stop")


def fill(person: Cli, count: int) -> None:
    """Make a vault with so many pictures; its node is stopped again."""
    person.set_up()
    files = picture_files(person.folder / "pictures", min(REAL, count))
    person.do("import", str(files[0].parent), "--album", "Real")
    person.do("node", "stop")
    asyncio.run(_rows(person, count))


async def _rows(person: Cli, count: int) -> None:
    vault = await Vault.open(
        person.home, passphrase=person.passphrase, clock=SystemClock(), entropy=system_entropy
    )
    try:
        real = await vault.database.read(
            lambda db: [
                (
                    row,
                    {
                        size: blob
                        for size in (256, 1024)
                        if (blob := library.thumbnail_blob(db, row.version_id, size)) is not None
                    },
                )
                for row in library.search(
                    db, words=[], album_id=None, tag=None, limit=REAL
                )
            ]
        )  # fmt: skip
        for first in range(len(real), count, _TOGETHER):
            numbers = range(first, min(count, first + _TOGETHER))

            def job(transaction: WriteTransaction, numbers: range = numbers) -> None:
                db = transaction.connection
                added = []
                for number in numbers:
                    row, thumbnails = real[number % len(real)]
                    new = replace(
                        row,
                        image_id=system_entropy(16),
                        version_id=system_entropy(16),
                        sha256=system_entropy(32),
                        name=f"{row.name.removesuffix('.jpg')} {number:06}.jpg",
                        imported_at=row.imported_at - 1_000 * number,
                    )
                    library.insert_image(db, new, thumbnails=thumbnails, provenance=None)
                    added.append((new.image_id, new.name))
                # The record's own way looks for an older entry first, which there is none of.
                db.executemany(
                    "INSERT INTO image_search (image_id, name, tags, albums)"
                    " VALUES (?, ?, NULL, NULL)",
                    added,
                )

            await vault.database.write(job)
    finally:
        await vault.close()


class Terminal:
    """The program in a pseudo-terminal, and when it wrote what."""

    def __init__(self, person: Cli, **environment: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._pty = ours
        self._lock = threading.Lock()
        self.written: list[tuple[float, bytes]] = []
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={
                **os.environ,
                "SAFELIGHT_HOME": str(person.home),
                "SAFELIGHT_PASSPHRASE_FILE": str(person.passphrase_file),
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                **environment,
            },
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._pty, 1 << 20)
            except OSError:  # Linux reports the end of a terminal as an error.
                return
            if not piece:
                return
            with self._lock:
                self.written.append((time.perf_counter(), piece))

    def since(self, begin: float) -> list[tuple[float, bytes]]:
        """Return what was written after a time."""
        with self._lock:
            return [one for one in self.written if one[0] >= begin]

    def until(self, text: str, begin: float) -> float:
        """Wait until text was written after a time; return the ms that took."""
        deadline = time.perf_counter() + _PATIENCE_S
        while time.perf_counter() < deadline:
            found = b""
            for at, piece in self.since(begin):
                found += piece
                if text.encode() in found:
                    return (at - begin) * 1000
            time.sleep(0.002)
        raise TimeoutError(f"{text!r} did not appear")

    def settle(self, begin: float, quiet: float = _QUIET_S) -> tuple[float, float, int]:
        """Wait until nothing more is written; return ms to the first and last byte, and bytes.

        The last byte is the one before the first pause.
        """
        deadline = time.perf_counter() + _PATIENCE_S
        while time.perf_counter() < deadline:
            seen = self.since(begin)
            last = seen[-1][0] if seen else begin
            if time.perf_counter() - last > (quiet if seen else 4 * quiet):
                return _burst(seen, begin)
            time.sleep(0.005)
        raise TimeoutError("the program writes without an end")

    def press(self, keys: str) -> float:
        """Type; return when."""
        begin = time.perf_counter()
        os.write(self._pty, keys.encode())
        return begin

    def quit(self) -> float:
        """Press q until the program has ended; return the ms that took."""
        begin = self.press("q")
        self.process.wait(_PATIENCE_S)
        return (time.perf_counter() - begin) * 1000

    def close(self) -> None:
        """End the program."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        os.close(self._pty)

    def rss_mb(self) -> float:
        """Return the memory that the program holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError

    def cpu_s(self) -> float:
        """Return the processor's seconds that the program has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _burst(seen: list[tuple[float, bytes]], begin: float) -> tuple[float, float, int]:
    """Return ms to the first and last byte before the first pause, and bytes till then."""
    if not seen:
        return 0.0, 0.0, 0
    last, size = seen[0][0], 0
    for at, piece in seen:
        if at - last > _PAUSE_S:
            break
        last, size = at, size + len(piece)
    return (seen[0][0] - begin) * 1000, (last - begin) * 1000, size


def _starting(alice: Cli) -> list[Row]:
    frames, pictures, ends = [], [], []
    for _ in range(STARTS + 1):
        terminal = Terminal(alice)
        try:
            frames.append(terminal.until("Library", terminal.began))
            pictures.append(terminal.until(f"{PICTURES:,} pictures", terminal.began))
            terminal.settle(terminal.began)
            ends.append(terminal.quit())
        finally:
            terminal.close()
    # The first one reads the program from the disk.
    return [
        _row("first paint", statistics.median(frames[1:]), "ms", "500 ms"),
        _row("the library's first page", statistics.median(pictures[1:]), "ms"),
        _row("quit", statistics.median(ends[1:]), "ms", "200 ms"),
    ]


def _working(alice: Cli) -> list[Row]:
    terminal = Terminal(alice)
    try:
        terminal.until(f"{PICTURES:,} pictures", terminal.began)
        terminal.settle(terminal.began, 1.0)
        rows = []
        firsts, lasts = [], []
        for _ in range(PRESSES):
            first, last, _size = terminal.settle(terminal.press("\x1b[6~"))
            firsts.append(first)
            lasts.append(last)
        rows.append(_row("page down, first byte, median", statistics.median(firsts), "ms"))
        rows.append(_row("page down, settled, median", statistics.median(lasts), "ms"))
        rows.append(_row("page down, settled, 95 of 100", _p95(lasts), "ms", "50 ms"))
        firsts, lasts, sizes = [], [], []
        for turn in range(PRESSES):
            first, last, size = terminal.settle(terminal.press("\x1b[C" if turn % 2 else "\x1b[D"))
            firsts.append(first)
            lasts.append(last)
            sizes.append(size)
        rows.append(
            _row("cursor move, first byte, median", statistics.median(firsts), "ms", "5 ms")
        )
        rows.append(_row("cursor move, panel included, median", statistics.median(lasts), "ms"))
        rows.append(_row("cursor move, bytes, most", max(sizes), "bytes", "4,000"))
        for what, key, word in (("keys", "?", "Esc"), ("share", "s", "Share")):
            taken = []
            for _ in range(9):
                begin = terminal.press(key)
                taken.append(terminal.until(word, begin))
                terminal.settle(begin)
                terminal.settle(terminal.press("\x1b"))
            rows.append(_row(f"dialog: {what}", statistics.median(taken), "ms", "80 ms"))
        terminal.settle(terminal.press("G"), 1.0)
        taken = []
        for turn in range(10):
            _, last, _size = terminal.settle(terminal.press("g" if turn % 2 == 0 else "G"))
            taken.append(last)
        rows.append(_row("to the first or last picture, settled", _p95(taken), "ms"))
        terminal.settle(terminal.press("/"))
        taken = [terminal.settle(terminal.press(letter))[1] for letter in "fjord"]
        rows.append(_row("filter, a letter, settled, most", max(taken), "ms"))
        # Back in the grid: a cursor between letters blinks.
        terminal.settle(terminal.press("\r"), 1.0)
        before, begin = terminal.cpu_s(), time.perf_counter()
        time.sleep(5)
        used = (terminal.cpu_s() - before) / (time.perf_counter() - begin) * 100
        rows.append(_row("idle", used, "% of one core", "about 0"))
        rows.append(_row("memory", terminal.rss_mb(), "MB", "150 MB"))
        return rows
    finally:
        terminal.close()


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)] if len(values) >= 20 else max(values)


def _row(what: str, value: float, unit: str, budget: str = "") -> Row:
    return {"what": what, "value": value, "unit": unit, **({"budget": budget} if budget else {})}
