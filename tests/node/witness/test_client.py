"""Asking a witness over HTTP: what is sent, and how little of what comes back is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from node.errors import UnreachableError, UsageError
from node.witness import client
from node.witness.client import add_checkpoint, checked_url
from protocol.audit.checkpoint import Checkpoint, sign_checkpoint
from protocol.audit.tree import EMPTY_ROOT
from protocol.audit.witness import AddCheckpointRequest, WitnessRefusedError, format_request
from protocol.errors import RemoteError, RemoteProtocolError
from protocol.primitives import SigningKey

NOTE = sign_checkpoint(
    Checkpoint(origin="example.org/log", size=0, root=EMPTY_ROOT), SigningKey(bytes(32))
)
REQUEST = AddCheckpointRequest(old=0, proof=(), note=NOTE)


@asynccontextmanager
async def witness(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Hold the address of a server that answers every POST so."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_the_request_is_posted_to_its_path_and_the_lines_come_back() -> None:
    heard: list[tuple[str, bytes, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append((request.path, await request.read(), dict(request.headers)))
        return web.Response(body=b"a line\n")

    async with witness(answer) as url:
        assert await add_checkpoint(f"{url}/prefix", REQUEST) == b"a line\n"

    ((path, body, headers),) = heard
    assert path == "/prefix/add-checkpoint"
    assert body == format_request(REQUEST)
    assert "User-Agent" not in headers


async def test_a_409_is_the_size_that_the_witness_holds() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=409, body=b"77\n", content_type="text/x.tlog.size")

    async with witness(answer) as url:
        assert await add_checkpoint(url, REQUEST) == 77


@pytest.mark.parametrize("body", [b"", b"-1\n", b"07\n", b"9" * 40, b"\xff\n", b"1\n2\n"])
async def test_a_409_without_a_size_is_refused(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=409, body=body)

    async with witness(answer) as url:
        with pytest.raises(RemoteError):
            await add_checkpoint(url, REQUEST)


@pytest.mark.parametrize("status", [400, 403, 404, 422, 500, 204])
async def test_other_statuses_are_refusals(status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with witness(answer) as url:
        with pytest.raises(WitnessRefusedError) as refused:
            await add_checkpoint(url, REQUEST)

    assert refused.value.status == status


async def test_no_redirect_is_followed() -> None:
    elsewhere: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        elsewhere.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with witness(answer) as url:
        with pytest.raises(WitnessRefusedError):
            await add_checkpoint(url, REQUEST)

    assert elsewhere == ["/add-checkpoint"]


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(10_000))
        except ConnectionError:
            return response

    async with witness(answer) as url:
        with pytest.raises(RemoteProtocolError):
            await add_checkpoint(url, REQUEST)


async def test_a_witness_that_is_silent_or_away_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_TIMEOUT_S", 0.5)
    over = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with witness(answer) as url:
        with pytest.raises(UnreachableError):
            await add_checkpoint(url, REQUEST)
        over.set()
    with pytest.raises(UnreachableError):
        await add_checkpoint(url, REQUEST)


@pytest.mark.parametrize(
    "text",
    [
        "witness.example",
        "ftp://witness.example",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@witness.example",
        "https://witness.example/?q",
        "https://witness.example/#f",
        "https://witness.example:99999",
        "https://witness.example/ a",
        "https://witness.example/\n",
        "https://" + "a" * 600,
    ],
)
def test_what_is_no_address_of_a_witness_is_said_at_once(text: str) -> None:
    with pytest.raises(UsageError):
        checked_url(text)


def test_a_slash_at_the_end_of_an_address_makes_no_other_witness() -> None:
    assert checked_url("https://witness.example/") == "https://witness.example"
    assert checked_url("http://[::1]:7480/a/") == "http://[::1]:7480/a"
