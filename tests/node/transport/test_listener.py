"""What strangers do to a listener, over raw sockets (attacks 13, 37, 38 and 40)."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import struct
from collections.abc import AsyncIterator

import pytest

from node.system import system_entropy
from node.transport.driver import Session
from node.transport.listener import Listener, ListenError
from node.transport.websocket import MAX_FRAME_BYTES, PATH
from protocol.channel.offer import DIRECT, encode_offer
from protocol.messages import Done
from tests.node.transport.support import (
    CLOCK,
    HELLO,
    LISTENER_SECRET,
    TEAM,
    answer_done,
    bound,
    dial_listener,
    listening,
    soon,
)
from tests.support import ROOT

BINARY, TEXT, CONTINUATION, CLOSE, PING = 0x2, 0x1, 0x0, 0x8, 0x9
FIN, RSV1 = 0x80, 0x40


@pytest.fixture
async def listens() -> AsyncIterator[Listener]:
    async with listening() as listens:
        yield listens


class Raw:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, listens: Listener) -> Raw:
        return cls(*await asyncio.open_connection(*listens.addresses[0]))

    @classmethod
    async def upgraded(cls, listens: Listener) -> Raw:
        raw = await cls.connect(listens)
        raw.writer.write(upgrade())
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        return raw

    def frame(self, payload: bytes, opcode: int = BINARY, bits: int = FIN) -> None:
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", bits | opcode, 0x80 | size)
        elif size < 65_536:
            head = struct.pack("!BBH", bits | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", bits | opcode, 0x80 | 127, size)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.writer.write(head + mask + masked)

    async def rest(self, timeout: float = 3) -> bytes:
        """Return what still comes until the listener hangs up; TimeoutError where it does not."""
        received = b""
        async with asyncio.timeout(timeout):
            try:
                while data := await self.reader.read(65_536):
                    received += data
            except ConnectionError:
                pass
        self.writer.close()
        return received


def upgrade(path: str = PATH, method: str = "GET", **headers: str) -> bytes:
    """Return the head of an upgrade request."""
    fields = {
        "Host": "node",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v)]
    return "\r\n".join([*lines, "", ""]).encode()


async def still_serves(listens: Listener) -> bool:
    session = await dial_listener(listens)
    answer = await session.request(HELLO)
    await session.close()
    return answer == Done()


# HTTP ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_head",
    [
        upgrade(path="/"),
        upgrade(path=PATH + "/"),
        upgrade(path=PATH + "?a=b"),
        upgrade(path="//" + PATH),
        upgrade(path="/../" + PATH),
        upgrade(path=PATH.upper()),
        upgrade(method="POST"),
        upgrade(method="HEAD"),
        upgrade(Upgrade=""),
        upgrade(Upgrade="h2c"),
        upgrade(Sec_WebSocket_Version="12"),
        upgrade(Sec_WebSocket_Version=""),
        upgrade(Sec_WebSocket_Key=""),
        upgrade(Sec_WebSocket_Key="c2hvcnQ="),
        upgrade(Sec_WebSocket_Key="not base64 at all"),
        upgrade(Sec_WebSocket_Protocol="chat, \x7f"),
        upgrade(Origin="https://example.com"),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_no_upgrade_on_the_path_is_not_found(
    listens: Listener, request_head: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = await Raw.connect(listens)
    raw.writer.write(request_head)
    answer = await raw.rest()

    assert answer.startswith((b"HTTP/1.1 404 Not Found", b"HTTP/1.0 404 Not Found"))
    assert b"aiohttp" not in answer
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"SSH-2.0-quoted\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 100_000,
        b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_hung_up_on_without_a_word_in_a_log(
    listens: Listener, garbage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = await Raw.connect(listens)
    raw.writer.write(garbage)
    answer = await raw.rest()

    assert answer == b"" or answer.startswith((b"HTTP/1.1 404", b"HTTP/1.0 404"))
    assert b"quoted" not in answer
    assert capfd.readouterr().err == ""
    assert await still_serves(listens)


async def test_the_example_of_the_specification_is_an_upgrade(listens: Listener) -> None:
    text = (ROOT / "docs/spec/websocket.md").read_text()
    asked, answered = re.findall(r"^(?:-->|<--) ((?:GET|HTTP).*(?:\n    .*)+)", text, re.MULTILINE)
    raw = await Raw.connect(listens)
    raw.writer.write(asked.replace("\n    ", "\r\n").encode() + b"\r\n\r\n")
    head = (await raw.reader.readuntil(b"\r\n\r\n")).decode()
    raw.writer.close()

    assert set(answered.split("\n    ")) <= set(head.split("\r\n"))


async def test_compression_is_not_negotiated(listens: Listener) -> None:
    raw = await Raw.connect(listens)
    raw.writer.write(upgrade(Sec_WebSocket_Extensions="permessage-deflate"))
    head = await raw.reader.readuntil(b"\r\n\r\n")
    raw.writer.close()

    assert head.startswith(b"HTTP/1.1 101")
    assert b"xtension" not in head


async def test_the_answer_to_an_upgrade_tells_nothing_of_the_node(listens: Listener) -> None:
    raw = await Raw.connect(listens)
    raw.writer.write(upgrade())
    head = await raw.reader.readuntil(b"\r\n\r\n")
    raw.writer.close()
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]}

    assert names <= {
        *(b"upgrade", b"connection", b"sec-websocket-accept"),
        *(b"server", b"date", b"content-type"),
    }
    assert b"aiohttp" not in head


# Frames -------------------------------------------------------------------------------------------


async def test_a_frame_with_rsv1_closes(listens: Listener) -> None:
    raw = await Raw.upgraded(listens)
    raw.frame(encode_offer(DIRECT), bits=FIN | RSV1)

    assert closes_with(await raw.rest(), 1002)


@pytest.mark.parametrize("opcode", [0x3, 0x7, 0xB, 0xF])
async def test_a_frame_of_an_unknown_kind_closes(listens: Listener, opcode: int) -> None:
    raw = await Raw.upgraded(listens)
    raw.frame(b"", opcode)

    assert closes_with(await raw.rest(), 1002)


@pytest.mark.parametrize("opcode", [TEXT, PING])
async def test_text_and_pings_close(listens: Listener, opcode: int) -> None:
    raw = await Raw.upgraded(listens)
    raw.frame(b"hello", opcode)

    await raw.rest()
    assert await still_serves(listens)


async def test_an_oversized_frame_closes_before_its_bytes_have_come(listens: Listener) -> None:
    for size in (MAX_FRAME_BYTES, 2**31, 2**63 - 1):
        raw = await Raw.upgraded(listens)
        raw.writer.write(struct.pack("!BBQ", FIN | BINARY, 0x80 | 127, size) + bytes(4))

        assert closes_with(await raw.rest(), 1009)


async def test_fragments_do_not_add_up_to_more_than_a_message(listens: Listener) -> None:
    raw = await Raw.upgraded(listens)
    raw.frame(bytes(60_000), bits=0)
    raw.frame(bytes(60_000), CONTINUATION, bits=0)

    assert closes_with(await raw.rest(), 1009)


async def test_fragments_without_end_close_in_time(listens: Listener) -> None:
    bound(listens, request_s=1, proof_s=2)
    raw = await Raw.upgraded(listens)
    raw.frame(b"a", bits=0)
    for _ in range(1_000):
        raw.frame(b"", CONTINUATION, bits=0)

    await raw.rest()
    assert await still_serves(listens)


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"not an offer"],
        [encode_offer(DIRECT), bytes(48)],
        [encode_offer(DIRECT), b""],
        [encode_offer(DIRECT), bytes(65_535)],
        [encode_offer(DIRECT), encode_offer(DIRECT)],
        [bytes(65_535)],
    ],
)
async def test_a_handshake_that_is_none_closes(listens: Listener, messages: list[bytes]) -> None:
    raw = await Raw.upgraded(listens)
    for message in messages:
        raw.frame(message)

    await raw.rest()
    assert await still_serves(listens)


async def test_random_bytes_never_stop_the_listener(listens: Listener) -> None:
    seeded = random.Random(7)
    for _ in range(60):
        raw = await Raw.upgraded(listens)
        raw.writer.write(seeded.randbytes(seeded.randrange(1, 3_000)))
        if seeded.random() < 0.5:
            raw.writer.write_eof()
        raw.writer.close()

    assert await still_serves(listens)


def closes_with(frames: bytes, code: int) -> bool:
    """Say whether the listener's last frame is a close of this code."""
    return frames[-4:] == struct.pack("!BBH", FIN | CLOSE, 2, code)


# Time and number ----------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HT", upgrade()[:-2], upgrade()])
async def test_whoever_does_not_prove_a_key_in_time_is_hung_up_on(
    listens: Listener, said: bytes
) -> None:
    bound(listens, request_s=0.3, proof_s=0.6)
    started = asyncio.get_running_loop().time()
    raw = await Raw.connect(listens)
    raw.writer.write(said)

    await raw.rest()

    assert 0.2 < asyncio.get_running_loop().time() - started < 20


async def test_drops_of_a_request_buy_no_more_time(listens: Listener) -> None:
    bound(listens, request_s=0.2, proof_s=0.4)
    started = asyncio.get_running_loop().time()
    raw = await Raw.connect(listens)

    async def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nA: " + b"x" * 1_000:
            raw.writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    await raw.rest()
    dripping.cancel()

    assert asyncio.get_running_loop().time() - started < 15


async def test_a_session_outlives_the_time_of_the_unproved(listens: Listener) -> None:
    bound(listens, request_s=1.5, proof_s=3)
    session = await dial_listener(listens)
    await asyncio.sleep(3.5)

    assert await session.request(HELLO) == Done()
    await session.close()


async def test_a_seventeenth_stranger_of_one_address_is_dropped(listens: Listener) -> None:
    strangers = [await Raw.connect(listens) for _ in range(16)]
    for stranger in strangers:
        stranger.writer.write(upgrade())
        await stranger.reader.readuntil(b"\r\n\r\n")

    one_more = await Raw.connect(listens)
    assert await one_more.rest() == b""

    # Those who leave give their places back.
    for stranger in strangers[:3]:
        stranger.writer.close()
    await asyncio.sleep(0.1)
    assert await still_serves(listens)
    for stranger in strangers[3:]:
        stranger.writer.close()


async def test_members_do_not_count_as_strangers(listens: Listener) -> None:
    sessions = [await dial_listener(listens) for _ in range(20)]

    assert await still_serves(listens)
    for session in sessions:
        await session.close()


async def test_strangers_in_all_are_bounded(listens: Listener) -> None:
    bound(listens, in_all=3)
    strangers = [await Raw.connect(listens) for _ in range(3)]
    await asyncio.sleep(0.05)
    one_more = await Raw.connect(listens)

    assert await one_more.rest() == b""
    for stranger in strangers:
        stranger.writer.close()


async def test_slow_strangers_leave_members_their_speed(listens: Listener) -> None:
    """Attack 40, with as many sockets as the bounds let in; SAFELIGHT_LONG tries many more."""
    count = 1_000 if os.environ.get("SAFELIGHT_LONG") else 200
    session = await dial_listener(listens)

    async def slowest() -> float:
        worst = 0.0
        for _ in range(200):
            started = asyncio.get_running_loop().time()
            await session.request(HELLO)
            worst = max(worst, asyncio.get_running_loop().time() - started)
        return worst

    before = await slowest()
    strangers = [await Raw.connect(listens) for _ in range(count)]
    for stranger in strangers:
        stranger.writer.write(b"GET / HTTP/1.1\r\nA")
    during = await slowest()

    assert during < max(10 * before, 0.5)
    for stranger in strangers:
        stranger.writer.close()
    await session.close()


async def test_a_line_that_is_slow_both_ways_is_given_time_for_the_handshake_too(
    listens: Listener,
) -> None:
    """The handshake has its own time, which begins with the upgrade."""
    bound(listens, request_s=3, proof_s=6)
    raw = await Raw.connect(listens)
    await asyncio.sleep(1)
    raw.writer.write(upgrade())
    assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    await asyncio.sleep(3.5)
    raw.frame(b"", 0x3)

    # It was heard, and not hung up on.
    assert closes_with(await raw.rest(), 1002)


# Addresses ----------------------------------------------------------------------------------------


def _listener(host: str, port: int) -> Listener:
    return Listener(
        host=host,
        port=port,
        static_secret=LISTENER_SECRET,
        team_id=lambda: TEAM,
        handler=answer_done,
        on_session=lambda _: None,
        clock=CLOCK,
        entropy=system_entropy,
    )


async def test_a_port_that_is_taken_is_an_error_with_a_hint(listens: Listener) -> None:
    with pytest.raises(ListenError, match="cannot listen on") as raised:
        await _listener(*listens.addresses[0]).start()

    assert raised.value.code == "listen"
    assert "--listen" in raised.value.hint


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(ListenError):
        await _listener("no-such-host.invalid", 0).start()


async def test_every_address_of_a_name_gets_the_same_port() -> None:
    async with listening(host="localhost") as listens:
        assert len({port for _, port in listens.addresses}) == 1
        assert await still_serves(listens)


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0"])
async def test_both_families_reach_the_listener(host: str) -> None:
    try:
        listens = _listener(host, 0)
        await listens.start()
    except ListenError:
        pytest.skip("this machine has no IPv6")
    port = listens.addresses[0][1]
    reached = {"::": ["127.0.0.1", "::1"], "::1": ["::1"], "0.0.0.0": ["127.0.0.1"]}[host]
    try:
        for address in reached:
            listens.addresses[:] = [(address, port)]
            assert await still_serves(listens)
    finally:
        await listens.close()


async def test_closing_frees_the_port_and_ends_sessions_and_strangers() -> None:
    sessions: list[Session] = []
    async with listening(on_session=sessions.append) as listens:
        address = listens.addresses[0]
        session = await dial_listener(listens)
        stranger = await Raw.connect(listens)
        half = await Raw.upgraded(listens)
    async with asyncio.timeout(45):
        await session.closed.wait()
    await stranger.rest()
    await half.rest()
    again = _listener(*address)
    await again.start()

    assert session.close_reason == "done"
    assert sessions[0].closed.is_set()
    await again.close()
    await session.close()


async def test_a_broken_callback_ends_its_session_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse(session: Session) -> None:
        raise ValueError("secret")

    async with listening(on_session=refuse) as listens:
        session = await dial_listener(listens)
        async with asyncio.timeout(45):
            await session.closed.wait()
        await session.close()

    assert "secret" not in capfd.readouterr().err


async def test_sessions_come_and_go_without_a_trace(listens: Listener) -> None:
    for _ in range(30):
        session = await dial_listener(listens)
        await session.request(HELLO)
        await session.close()

    def mine() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()} & {
            *("session reader", "session writer", "session end", "answer"),
        }

    await soon(lambda: not mine())
