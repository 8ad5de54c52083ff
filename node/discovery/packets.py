"""Multicast DNS packets: the three that a node sends, and the one that it reads.

Belongs here: DNS records of the service, both ways, in the one packet that holds them all.
Never here: sockets, times, or what a sighting means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from zeroconf import (  # type: ignore[attr-defined]  # exported, but not declared so
    DNSAddress,
    DNSIncoming,
    DNSOutgoing,
    DNSQuestion,
    DNSService,
    DNSText,
    ServiceInfo,
)

from protocol.announcement import Announcement, parse_announcement_untrusted
from protocol.errors import EncodingError, RemoteError

SERVICE: Final = "_safelight._tcp.local."
MARK: Final = b"\x0a_safelight"
"""Stands in every packet about the service: names are compressed only against the same packet."""
MAX_PACKET_BYTES: Final = 1_472
"""One Ethernet frame. An announcement with every record has some 250 bytes."""

_QUERY: Final = 0
_RESPONSE: Final = 0x8400
_PTR: Final = 12
_IN: Final = 1
_TTL_S: Final = 120
"""Whoever caches an announcement forgets it soon after its node has gone."""
_MOST_HOSTS: Final = 8
"""Addresses of one announcement that are looked at."""
_MOST_SIGHTINGS: Final = 8
"""Announcements of one packet that are looked at: relaying hosts put some together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An announcement and where it says that its node listens. A hint, and no more."""

    announcement: Announcement
    hosts: tuple[str, ...]
    port: int


def question_packet(instance: str) -> bytes:
    """Return the question who offers the service besides this instance."""
    out = DNSOutgoing(_QUERY)
    out.add_question(DNSQuestion(SERVICE, _PTR, _IN))
    out.add_answer_at_time(ServiceInfo(SERVICE, f"{instance}.{SERVICE}").dns_pointer(_TTL_S), 0)
    return _only(out)


def announcement_packet(
    *,
    instance: str,
    host: str,
    address: str,
    port: int,
    values: Mapping[str, str],
    goodbye: bool = False,
) -> bytes:
    """Return the announcement of an instance; a goodbye takes it back from caches."""
    info = ServiceInfo(
        SERVICE,
        f"{instance}.{SERVICE}",
        port=port,
        properties=dict(values),
        server=f"{host}.local.",
        parsed_addresses=[address],
    )
    ttl = 0 if goodbye else _TTL_S
    out = DNSOutgoing(_RESPONSE)
    for record in (
        info.dns_pointer(ttl),
        info.dns_service(ttl),
        info.dns_text(ttl),
        *info.dns_addresses(ttl),
    ):
        out.add_answer_at_time(record, 0)
    return _only(out)


def is_question(data: bytes) -> bool:
    """Return whether a packet asks, by its header alone."""
    return len(data) > 2 and not data[2] & 0x80


def read_announcements_untrusted(data: bytes, *, source: str) -> list[Sighting]:
    """Return the whole announcements of a packet that came from an address.

    What is no announcement is passed over. EncodingError where the packet is no answer.
    """
    packet = DNSIncoming(data)
    if len(data) > MAX_PACKET_BYTES or not packet.valid or packet.is_query():
        raise EncodingError("not an answer of multicast DNS")
    services: list[DNSService] = []
    texts: dict[str, bytes] = {}
    addresses: dict[str, list[bytes]] = {}
    for record in packet.answers():
        if record.ttl == 0:
            continue
        if isinstance(record, DNSService) and record.key.endswith("." + SERVICE):
            services.append(record)
        elif isinstance(record, DNSText):
            texts[record.key] = record.text
        elif isinstance(record, DNSAddress):
            addresses.setdefault(record.key, []).append(record.address)
    found = []
    for service in services[:_MOST_SIGHTINGS]:
        hosts = _hosts_untrusted(addresses.get(service.server_key, []), source)
        if not hosts or service.port == 0:
            continue
        try:
            announcement = parse_announcement_untrusted(_properties(texts.get(service.key, b"")))
        except RemoteError:
            continue
        found.append(Sighting(announcement=announcement, hosts=hosts, port=service.port))
    return found


def _hosts_untrusted(addresses: list[bytes], source: str) -> tuple[str, ...]:
    """Return the IPv4 addresses that a dialer may be told of."""
    here = IPv4Address(source).is_loopback
    hosts: list[str] = []
    for packed in addresses[:_MOST_HOSTS]:
        if len(packed) != 4:
            continue
        address = IPv4Address(packed)
        if address.is_multicast or address.is_unspecified or address.is_reserved:
            continue
        # From the network nobody points a node at this machine's own services.
        if address.is_loopback and not here:
            continue
        if str(address) not in hosts:
            hosts.append(str(address))
    return tuple(hosts)


def _properties(text: bytes) -> Mapping[bytes, bytes | None]:
    return ServiceInfo(SERVICE, f"x.{SERVICE}", properties=text).properties


def _only(out: DNSOutgoing) -> bytes:
    (packet,) = out.packets()
    return packet
