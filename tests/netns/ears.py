"""Speaking and hearing multicast DNS on a segment of a laboratory.

Belongs here: sockets for both, and the announcements among captured frames.
Never here: hostile packets (``tests/node/discovery``), or nodes.
"""

from __future__ import annotations

import socket

from node.discovery.packets import MARK, Sighting, is_question, read_announcements_untrusted
from tests.netns.lab import Host

GROUP = ("224.0.0.251", 5353)
HEADERS = 14 + 20 + 8
"""Ethernet, IPv4 without options, UDP."""


def talker(host: Host) -> socket.socket:
    """Return a socket that speaks multicast DNS on a host's network."""
    opened = host.new_socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("0.0.0.0", 5353))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host.address))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    return opened


def sightings(heard: list[bytes]) -> list[Sighting]:
    """Return the announcements among captured frames."""
    packets = [frame[HEADERS:] for frame in heard if MARK in frame]
    return [
        sighting
        for packet in packets
        if not is_question(packet)
        for sighting in read_announcements_untrusted(packet, source="192.0.2.1")
    ]
