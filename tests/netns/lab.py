"""A network laboratory: hosts in network namespaces on segments that can be cut.

Belongs here: making and removing namespaces, veths and bridges, cuts, losses, and sockets inside.
Never here: Safelight. Nothing of the machine's own network is touched.

Everything lives in namespaces whose names carry this process's id, so that laboratories of
parallel workers never meet, and one that a killed process left is swept by the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

T = TypeVar("T")

_RUN = Path("/run/netns")
_PREFIX = "slab"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
_numbers = itertools.count()


class LabError(AssertionError):
    """The laboratory could not be built."""


def ip(*arguments: str) -> str:
    """Run `ip`; return what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def why_not() -> str:
    """Return why there can be no laboratory here, or an empty text: found out by trying."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    try:
        with Lab() as lab:
            segment = lab.segment("192.0.2")
            lab.host("one", segment)
            lab.host("two", segment)
    except (LabError, OSError) as error:
        return f"no network namespaces here: {error}"
    return ""


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Return what work returns in a namespace; only a thread of its own goes there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def thread() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            with (_RUN / namespace).open("rb") as opened:
                if libc.setns(opened.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            results.append(work())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    if errors:
        raise errors[0]
    return results[0]


class Wire:
    """A cable whose faults are drawn from a seed: loses frames and holds them up.

    Two TAP devices with this thread in between; nothing that the kernel may lack.
    """

    def __init__(self, ends: tuple[int, int], seed: int) -> None:
        self.loss = 0.0
        """Share of the frames that are lost, either way."""
        self.delay_s = 0.0
        """How long a frame travels."""
        self.lost = 0
        self.carried = 0
        self._ends = ends
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the cable away."""
        self._over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)

    def _carry(self) -> None:
        other = dict(zip(self._ends, reversed(self._ends), strict=True))
        waiting: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        while not self._over.is_set():
            left = waiting[0][0] - time.monotonic() if waiting else 0.05
            for end in select.select(self._ends, [], [], min(max(left, 0), 0.05))[0]:
                with contextlib.suppress(OSError):  # an end that is down
                    frame = os.read(end, 65_536)
                    if self._random.random() < self.loss:
                        self.lost += 1
                    else:
                        due = time.monotonic() + self.delay_s
                        heappush(waiting, (due, next(order), other[end], frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, frame = heappop(waiting)
                with contextlib.suppress(OSError):
                    os.write(end, frame)
                    self.carried += 1


def _tap(name: str) -> int:
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(opened, _TUNSETIFF, struct.pack("16sH", name.encode(), _TAP_WITHOUT_HEADER))
    except BaseException:
        os.close(opened)
        raise
    return opened


class Host:
    """One machine: a namespace with an interface on each of its segments."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.addresses: list[str] = []
        """One a segment, in the order of the segments."""
        self.wire: Wire | None = None
        """The cable to the first segment, where it is one whose faults are ours."""
        self.processes: list[subprocess.Popen[str]] = []
        """What was started here."""

    @property
    def address(self) -> str:
        """The address on the first segment."""
        return self.addresses[0]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs another one here."""
        return ["ip", "netns", "exec", self.namespace, *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command here that must succeed; return what it prints."""
        done = subprocess.run(
            self.command(arguments), capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise LabError(f"{self.name}: {arguments}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command here; what still runs when the laboratory closes is killed."""
        process = subprocess.Popen(self.command(arguments), text=True, **options)
        self.processes.append(process)
        return process

    def new_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of this host for the calling process."""
        return inside(self.namespace, lambda: socket.socket(family, kind, protocol))

    def readdress(self, address: str) -> None:
        """Give the host another address on its first segment."""
        ip("-n", self.namespace, "address", "flush", "dev", "eth0")
        ip("-n", self.namespace, "address", "add", f"{address}/24", "dev", "eth0")
        self.addresses[0] = address

    def sniffer(self, interface: str = "eth0") -> socket.socket:
        """Return a socket that reads every frame this host sends and receives."""
        opened = self.new_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        opened.bind((interface, 0))
        opened.setblocking(False)
        return opened

    def lose(self, share: float) -> None:
        """Lose a share of the packets that arrive here and leave; skips where nothing can."""
        percent = round(share * 100)
        if self.wire is not None:
            self.wire.loss = share
        elif shutil.which("nft"):
            self._lose_by_nft(percent)
        elif shutil.which("tc"):
            try:
                self.run(
                    *("tc", "qdisc", "replace", "dev", "eth0", "root"),
                    *("netem", "loss", f"{percent}%"),
                )
            except LabError as error:
                pytest.skip(f"packets cannot be lost here: {error}")
        else:
            pytest.skip("packets cannot be lost here: neither /dev/net/tun, nft nor tc")

    def _lose_by_nft(self, percent: int) -> None:
        self.run("nft", "flush", "ruleset")
        self.run("nft", "add", "table", "inet", "loss")
        for hook in ("input", "output"):
            self.run(
                *("nft", "add", "chain", "inet", "loss", hook),
                f"{{ type filter hook {hook} priority 0; }}",
            )
            self.run(
                *("nft", "add", "rule", "inet", "loss", hook),
                *("numgen", "random", "mod", "100", "<", str(percent), "drop"),
            )


class Segment:
    """One LAN: a bridge, and a port of it for every host."""

    def __init__(self, lab: Lab, bridge: str, network: str) -> None:
        self._lab = lab
        self.bridge = bridge
        self.network = network
        """The first three numbers of its addresses."""
        self.ports: dict[str, str] = {}
        """By the host's name."""

    def cut(self, *hosts: Host) -> None:
        """Unplug hosts, or all of them."""
        self._set("down", hosts)

    def heal(self, *hosts: Host) -> None:
        """Plug hosts in again, or all of them."""
        self._set("up", hosts)

    def _set(self, state: str, hosts: Sequence[Host]) -> None:
        for name in [one.name for one in hosts] or list(self.ports):
            ip("-n", self._lab.switch, "link", "set", self.ports[name], state)


class Lab:
    """A laboratory; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._id = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._namespaces: list[str] = []
        self._hosts: list[Host] = []
        self._wires: list[Wire] = []
        self._segments = 0
        self._port = 0
        self.switch = ""
        """The namespace of the bridges."""

    def __enter__(self) -> Self:
        _sweep()
        self.switch = self._namespace("switch")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # One that has just been started may not have entered its namespace yet.
        for process in [process for host in self._hosts for process in host.processes]:
            process.kill()
            process.wait()
        for wire in self._wires:
            wire.close()
        for namespace in reversed(self._namespaces):
            _remove(namespace)

    def segment(self, network: str) -> Segment:
        """Return a new segment, whose hosts get the addresses network.1, network.2, …"""
        bridge = f"br{self._segments}"
        self._segments += 1
        ip("-n", self.switch, "link", "add", bridge, "type", "bridge")
        ip("-n", self.switch, "link", "set", bridge, "up")
        return Segment(self, bridge, network)

    def host(self, name: str, *segments: Segment, seed: int | None = None) -> Host:
        """Return a new host on segments.

        With a seed its cable to the first segment is a ``Wire``, where the system has TAP devices.
        """
        host = Host(name, self._namespace(name))
        self._hosts.append(host)
        ip("-n", host.namespace, "link", "set", "lo", "up")
        for number, segment in enumerate(segments):
            port, interface = f"p{self._port}", f"eth{number}"
            self._port += 1
            if number == 0 and seed is not None and Path("/dev/net/tun").exists():
                host.wire = self._wire(host, port, interface, seed)
            else:
                ip(
                    *("-n", self.switch, "link", "add", port, "type", "veth"),
                    *("peer", "name", interface, "netns", host.namespace),
                )
            ip("-n", self.switch, "link", "set", port, "master", segment.bridge, "up")
            segment.ports[name] = port
            address = f"{segment.network}.{len(segment.ports)}"
            ip("-n", host.namespace, "address", "add", f"{address}/24", "dev", interface)
            ip("-n", host.namespace, "link", "set", interface, "up")
            host.addresses.append(address)
        return host

    def _wire(self, host: Host, port: str, interface: str, seed: int) -> Wire:
        near = inside(host.namespace, lambda: _tap(interface))
        try:
            far = inside(self.switch, lambda: _tap(port))
        except BaseException:
            os.close(near)
            raise
        wire = Wire((near, far), seed)
        self._wires.append(wire)
        return wire

    def _namespace(self, name: str) -> str:
        namespace = f"{self._id}-{name}"
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        return namespace


def _remove(namespace: str) -> None:
    """End what runs in a namespace of ours, and the namespace."""
    with contextlib.suppress(LabError):
        for pid in ip("netns", "pids", namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    with contextlib.suppress(LabError):
        ip("netns", "delete", namespace)


def _sweep() -> None:
    """Remove the namespaces of laboratories whose process is gone."""
    if not _RUN.is_dir():
        return
    for path in _RUN.glob(f"{_PREFIX}-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(path.name)


def frames(sniffer: socket.socket) -> Iterator[bytes]:
    """Yield the frames that a sniffer has heard until now."""
    while True:
        try:
            yield sniffer.recv(65_536)
        except BlockingIOError:
            return
