"""Packets: what is announced, and that nothing else is ever read from one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSIncoming  # type: ignore[attr-defined]  # exported, but not declared so

from node.discovery.packets import (
    MARK,
    MAX_PACKET_BYTES,
    SERVICE,
    Sighting,
    announcement_packet,
    is_question,
    question_packet,
    read_announcements_untrusted,
)
from protocol.announcement import Announcement, announcement_values
from protocol.errors import RemoteError
from tests.node.discovery import hostile

ANNOUNCEMENT = Announcement(nonce=b"n" * 16, tag=b"t" * 16, invitation=7)
LAN = "192.0.2.7"


def announced(address: str = LAN, port: int = 7421, goodbye: bool = False) -> bytes:
    return announcement_packet(
        instance="abc",
        host="def",
        address=address,
        port=port,
        values=announcement_values(ANNOUNCEMENT),
        goodbye=goodbye,
    )


def read(data: bytes, source: str = LAN) -> list[Sighting]:
    return read_announcements_untrusted(data, source=source)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def test_an_announcement_is_read_as_it_was_written() -> None:
    assert read(announced()) == [
        Sighting(announcement=ANNOUNCEMENT, hosts=(LAN,), port=7421),
    ]


def test_an_announcement_says_these_records_and_nothing_else() -> None:
    records = [
        (type(one).__name__, one.name, getattr(one, "text", None))
        for one in DNSIncoming(announced()).answers()
    ]

    assert records == [
        ("DNSPointer", SERVICE, None),
        ("DNSService", f"abc.{SERVICE}", None),
        (
            "DNSText",
            f"abc.{SERVICE}",
            b"\x03v=1\x22n=" + b"6e" * 16 + b"\x22t=" + b"74" * 16 + b"\x05inv=7",
        ),
        ("DNSAddress", "def.local.", None),
    ]
    assert len(announced()) < 300


def test_a_question_names_who_asks() -> None:
    packet = question_packet("abc")

    assert is_question(packet)
    assert MARK in packet
    assert b"abc" in packet
    assert [one.name for one in DNSIncoming(packet).questions] == [SERVICE]
    assert not is_question(announced())
    assert not is_question(b"")


def test_a_goodbye_is_no_sighting() -> None:
    assert read(announced(goodbye=True)) == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(changed(announced(), b"\x03v=1", b"\x03v=2"), id="another version"),
        pytest.param(changed(announced(), b"n=6e", b"n=6E"), id="another spelling"),
        pytest.param(changed(announced(), b"inv=7", b"inv=0"), id="no number"),
        pytest.param(changed(announced(), b"inv=7", b"ivn=7"), id="an unknown key"),
        pytest.param(announced(port=0), id="no port"),
        pytest.param(announced("224.0.0.1"), id="multicast"),
        pytest.param(announced("0.0.0.0"), id="no address"),
        pytest.param(announced("255.255.255.255"), id="everybody"),
        pytest.param(announced("127.0.0.1"), id="the reader itself"),
        pytest.param(announced("::1"), id="not IPv4"),
        pytest.param(hostile.packet(), id="empty"),
    ],
)
def test_what_is_no_announcement_is_passed_over(data: bytes) -> None:
    assert read(data) == []


def test_loopback_is_read_from_loopback() -> None:
    assert read(announced("127.0.0.1"), "127.0.0.1")[0].hosts == ("127.0.0.1",)


def test_a_packet_that_is_too_long_or_asks_is_refused() -> None:
    for data in (announced() + b"\0" * MAX_PACKET_BYTES, question_packet("abc"), b"", b"\0" * 11):
        with pytest.raises(RemoteError):
            read(data)


def test_of_a_packet_with_many_only_some_are_read() -> None:
    text = b"\x03v=1\x22n=" + b"6e" * 16 + b"\x22t=" + b"74" * 16
    host = hostile.name(b"h")
    instance = hostile.name(b"a", b"_safelight", b"_tcp", b"local")
    hosts = [hostile.record(host, hostile.A, bytes([10, 0, 0, last])) for last in range(1, 13)]
    services = [
        hostile.record(instance, hostile.SRV, b"\0\0\0\0\x1c" + bytes([port]) + host)
        for port in range(12)
    ]

    found = read(hostile.packet(*hosts, hostile.record(instance, hostile.TXT, text), *services))

    assert [one.port for one in found] == [0x1C00 + number for number in range(8)]
    assert all(len(one.hosts) == 8 for one in found)


def test_every_cut_and_every_crooked_packet_is_read_or_refused() -> None:
    draw = random.Random(3)
    packets = [announced()[:length] for length in range(len(announced()))]
    packets += [hostile.crooked(draw) for _ in range(3_000)]
    for data in packets:
        try:
            found = read(data)
        except RemoteError:
            continue
        assert all(0 < one.port < 65_536 and one.hosts for one in found)


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, started_well: bool) -> None:
    try:
        read(announced()[:100] + data if started_well else data)
    except RemoteError:
        return
