"""One add-checkpoint request to a witness over HTTP (C2SP tlog-witness v1.0.0).

Belongs here: the request on the wire, bounds on the answer, and which addresses will do.
Never here: which witnesses there are, when to ask again, or verifying a cosignature.

Only the address that a person gave is asked: no redirect is followed, no proxy of the environment
used, and nothing is kept between two requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from node.errors import UnreachableError, UsageError
from protocol.audit.note import parse_decimal_untrusted
from protocol.audit.witness import AddCheckpointRequest, WitnessRefusedError, format_request
from protocol.errors import RemoteProtocolError
from protocol.limits import KIB, MAX_TREE_SIZE

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT_S: Final = 10.0
"""A witness stores one row; a line of two seconds each way leaves it time."""
_MOST_BYTES: Final = 16 * KIB
"""Of an answer: sixteen cosignatures with the longest keys known fit, an Ed25519 one has 200."""
_MOST_URL_BYTES: Final = 512


def checked_url(text: str) -> str:
    """Return a witness's address without a slash at its end; UsageError where it is none."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(mark in text for mark in "@?#") or len(text) > _MOST_URL_BYTES:
        raise UsageError(
            f"not an address of a witness: {text!r}", hint="write https://HOST, https://HOST/PATH"
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("an address of a witness is ASCII without spaces")
    return text.rstrip("/")


async def add_checkpoint(url: str, request: AddCheckpointRequest) -> bytes | int:
    """Return a witness's cosignature lines, or the size that it holds (its 409).

    Raises WitnessRefusedError with any other status, UnreachableError, RemoteProtocolError.
    """
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            ) as http,
            http.post(
                f"{url}/add-checkpoint", data=format_request(request), allow_redirects=False
            ) as response,
        ):
            body = await _bounded(response)
            return _answer_untrusted(response.status, body)
    except TimeoutError:
        raise UnreachableError(f"the witness did not answer in {_TIMEOUT_S:.0f} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"the witness was not reached: {type(error).__name__}") from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    received = bytearray()
    async for piece in response.content.iter_any():
        received += piece
        if len(received) > _MOST_BYTES:
            raise RemoteProtocolError("the witness answers without end")
    return bytes(received)


def _answer_untrusted(status: int, body: bytes) -> bytes | int:
    if status == 200:
        return body
    if status != 409:
        raise WitnessRefusedError(f"the witness refused with HTTP {status}", status=status)
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return parse_decimal_untrusted(
        text.removesuffix("\n"), limit=MAX_TREE_SIZE, what="witness", code="witness"
    )
