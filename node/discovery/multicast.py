"""One socket for multicast DNS, on the interfaces it is told, reading no faster than it means to.

Belongs here: opening, sending on each interface, and the bound on what a network makes it read.
Never here: what is in a packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from node.faults import report_fault

_GROUP: Final = "224.0.0.251"
_PORT: Final = 5353
_LIMIT_TO_JOINED: Final = 49
"""IP_MULTICAST_ALL of Linux, which the socket module does not name."""
_READ_BYTES: Final = 2_048
"""Longer packets arrive cut off, and are dropped for their length."""
_READS_AT_ONCE: Final = 32
"""Packets read before the loop turns to something else."""
_WINDOW_S: Final = 0.1
_READS_PER_WINDOW: Final = 300
"""A flood costs the reading of 3,000 packets a second, some percent of one core; the kernel
drops the rest. A large office has tens."""

Received = Callable[[bytes, str], None]
"""Takes a packet and the address it came from."""


class Multicast:
    """The multicast DNS group, joined on some interfaces."""

    def __init__(self, received: Received) -> None:
        """Begin to read; OSError where the system lets nobody."""
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._window = 0.0
        self._left = 0
        self._resume: asyncio.TimerHandle | None = None
        self._failed = False
        self._socket = _open()
        self._loop.add_reader(self._socket, self._readable)

    def join(self, addresses: Sequence[str]) -> list[str]:
        """Join the group on the interfaces of these IPv4 addresses, where it is not joined yet.

        Returns those that it is joined on; OSError where that is none.
        """
        joined: list[str] = []
        error = OSError("no network interface")
        for address in addresses:
            try:
                self._socket.setsockopt(
                    socket.IPPROTO_IP,
                    socket.IP_ADD_MEMBERSHIP,
                    socket.inet_aton(_GROUP) + socket.inet_aton(address),
                )
            except OSError as reason:
                if reason.errno != errno.EADDRINUSE:
                    error = reason
                    continue
            joined.append(address)
        if not joined:
            raise error
        return joined

    def send(self, packets: Mapping[str, bytes]) -> None:
        """Send to the group from each address its packet; OSError where none could be sent."""
        error: OSError | None = None
        sent = False
        for address, packet in packets.items():
            try:
                self._socket.setsockopt(
                    socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address)
                )
                self._socket.sendto(packet, (_GROUP, _PORT))
                sent = True
            except BlockingIOError:
                sent = True  # a full queue is a lost packet, as any other
            except OSError as reason:
                error = reason
        if error is not None and not sent:
            raise error

    def close(self) -> None:
        """Leave the group."""
        if self._resume is not None:
            self._resume.cancel()
        else:
            self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        now = self._loop.time()
        if now - self._window >= _WINDOW_S:
            self._window, self._left = now, _READS_PER_WINDOW
        for _ in range(min(self._left, _READS_AT_ONCE)):
            self._left -= 1
            try:
                data, source = self._socket.recvfrom(_READ_BYTES)
            except OSError:  # nothing left to read, or an interface that went away
                return
            if source[1] == _PORT:
                self._take(data, source[0])
        if not self._left:
            self._loop.remove_reader(self._socket)
            self._resume = self._loop.call_later(_WINDOW_S, self._read_again)

    def _take(self, data: bytes, source: str) -> None:
        try:
            self._received(data, source)
        except Exception as error:  # noqa: BLE001  no packet may end the reading
            if not self._failed:  # told of once: whoever found it can send it a thousand times
                self._failed = True
                report_fault("reading a multicast packet", error)

    def _read_again(self) -> None:
        self._resume = None
        self._loop.add_reader(self._socket, self._readable)


def _open() -> socket.socket:
    """Return a socket that shares the port with the system's own multicast DNS."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("B", 255))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("B", 1))
        if sys.platform == "linux":
            # Hear what is sent to the group on joined interfaces: nothing that is sent to this
            # host from beyond the network, and nothing from interfaces that other programs joined.
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.IPPROTO_IP, _LIMIT_TO_JOINED, 0)
            opened.bind((_GROUP, _PORT))
        else:
            opened.bind(("", _PORT))
    except BaseException:
        opened.close()
        raise
    return opened
