"""Addresses of a rendezvous: written one way, read as people pass them on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalError
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address

KEY = bytes(range(32))
KEY_TEXT = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
LETTERS = st.sampled_from("0123456789abcdefghijklmnopqrstuvwxyzABCZ._-%")
HOSTS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=255),
    st.ip_addresses().map(str),
)


@given(host=HOSTS, port=st.integers(1, 65_535), key=st.binary(min_size=32, max_size=32))
def test_an_address_reads_as_it_is_written(host: str, port: int, key: bytes) -> None:
    address = RendezvousAddress(host=host, port=port, key=key)

    assert parse_rendezvous_address(address.text) == address
    assert parse_rendezvous_address(f" {address.text}\n") == address


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("meet.example", "meet.example:7412"),
        ("192.0.2.7", "192.0.2.7:7412"),
        ("2001:db8::7", "[2001:db8::7]:7412"),
        ("fe80::1%eth0", "[fe80::1%eth0]:7412"),
    ],
)
def test_an_address_is_host_port_and_key(host: str, text: str) -> None:
    address = RendezvousAddress(host=host, port=7412, key=KEY)

    assert address.text == f"{text}/{KEY_TEXT}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "meet.example",
        "meet.example:7412",
        f"meet.example/{KEY_TEXT}",
        f":7412/{KEY_TEXT}",
        f"meet.example:/{KEY_TEXT}",
        f"meet.example:0/{KEY_TEXT}",
        f"meet.example:07412/{KEY_TEXT}",
        f"meet.example:65536/{KEY_TEXT}",
        f"meet.example:7412/{KEY_TEXT[:-1]}",
        f"meet.example:7412/{KEY_TEXT}a",
        f"meet.example:7412/{KEY_TEXT}/",
        f"meet.example:7412/{KEY_TEXT[:-1]}r",
        f"meet.example:7412/{KEY_TEXT[:-1]}1",
        f"meet.example:7412/{KEY_TEXT.upper()}",
        f"meet example:7412/{KEY_TEXT}",
        f"meet.example:٧٤١٢/{KEY_TEXT}",
        f"[meet.example]:7412/{KEY_TEXT}",
        f"2001:db8::7:7412/{KEY_TEXT}",
        f"[[::1]]:7412/{KEY_TEXT}",
        f"http://meet.example:7412/{KEY_TEXT}",
        f"{'h' * 256}:7412/{KEY_TEXT}",
        f"{'h' * 10_000}:7412/{KEY_TEXT}",
    ],
)
def test_whatever_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_rendezvous_address(text)

    assert caught.value.hint


@given(text=st.text(max_size=80))
def test_any_text_is_an_address_or_a_local_error(text: str) -> None:
    try:
        address = parse_rendezvous_address(text)
    except LocalError:
        return

    assert address.text == text.strip()


def test_an_address_is_valid_once_it_is_made() -> None:
    for host, port, key in (("a b", 1, KEY), ("a", 0, KEY), ("a", 1, KEY[1:])):
        with pytest.raises(LocalError):
            RendezvousAddress(host=host, port=port, key=key)
