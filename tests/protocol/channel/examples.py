"""The channel's known answers, and the parts of its documents that the code prints.

``python -m tests.protocol.channel.examples`` writes them anew, after an intended change.
"""

from __future__ import annotations

import json
from typing import Any, Final

from protocol.channel.frames import FrameType, pack_credit, pack_frame
from protocol.channel.offer import CHANNEL_VERSION, Offer, encode_offer, prologue
from protocol.channel.states import (
    EXCHANGE_TRANSITIONS,
    INITIAL_STATE,
    TRANSITIONS,
    diagram,
)
from protocol.encoding import encode
from protocol.primitives import Entropy, x25519_public
from tests.protocol.channel.pair import TEAM, drain, make_initiator, make_responder
from tests.support import ROOT

VECTORS: Final = ROOT / "tests" / "vectors" / "channel.json"
SPECIFICATION: Final = ROOT / "docs" / "spec" / "channel.md"
STATES: Final = ROOT / "docs" / "channel-states.md"

INITIATOR_STATIC: Final = bytes(range(0x20))
RESPONDER_STATIC: Final = bytes(range(0x20, 0x40))
INITIATOR_EPHEMERAL: Final = bytes(range(0x40, 0x60))
RESPONDER_EPHEMERAL: Final = bytes(range(0x60, 0x80))


def _fixed(secret: bytes) -> Entropy:
    return lambda size: secret[:size]


def make_vectors() -> dict[str, Any]:
    """Return everything that stands in channel.json."""
    return {
        "recipe": "Secrets are counting bytes. Messages are what two connections with these keys "
        "send; offers and frames are read by themselves.",
        "version": CHANNEL_VERSION,
        "transcript": _transcript(),
        "offers": _offers(),
        "frames": _frames(),
    }


def _transcript() -> dict[str, Any]:
    initiator = make_initiator(
        secret=INITIATOR_STATIC, to=RESPONDER_STATIC, entropy=_fixed(INITIATOR_EPHEMERAL)
    )
    responder = make_responder(secret=RESPONDER_STATIC, entropy=_fixed(RESPONDER_EPHEMERAL))
    sides = {"initiator": initiator, "responder": responder}
    messages: list[dict[str, str]] = []

    def carry(sender: str, *names: str) -> None:
        target = responder if sender == "initiator" else initiator
        for name, data in zip(names, sides[sender].data_to_send(), strict=True):
            messages.append({"from": sender, "name": name, "data": data.hex()})
            target.receive_data(data, now=0)
        drain(target)

    carry("initiator", "offer", "first message: e, es")
    carry("responder", "second message: e, ee, {version}")
    carry("initiator", "third message: s, se")
    request_id = initiator.send_request(b"question")
    carry("initiator", "REQUEST 1 'question'")
    responder.send_answer(request_id, b"answer", stream_follows=True)
    responder.send_stream(request_id, b"stream")
    responder.end_stream(request_id)
    carry("responder", "ANSWER_STREAM 1 'answer'", "DATA 1 'stream'", "END 1")
    initiator.close()
    carry("initiator", "CLOSE 0 'done'")
    return {
        "team_id": TEAM.hex(),
        "initiator_static_secret": INITIATOR_STATIC.hex(),
        "initiator_static_public": x25519_public(INITIATOR_STATIC).hex(),
        "initiator_ephemeral_secret": INITIATOR_EPHEMERAL.hex(),
        "responder_static_secret": RESPONDER_STATIC.hex(),
        "responder_static_public": x25519_public(RESPONDER_STATIC).hex(),
        "responder_ephemeral_secret": RESPONDER_EPHEMERAL.hex(),
        "prologue": prologue(TEAM, encode_offer(Offer())).hex(),
        "messages": messages,
        "handshake_hash": initiator.handshake_hash.hex(),
    }


def _offers() -> list[dict[str, str]]:
    good = {
        "direct": Offer(),
        "direct, several versions": Offer(versions=(1, 2, 255)),
        "relayed": Offer(transport="relay", relay_session=b"circuit"),
        "relayed, longest session": Offer(transport="relay", relay_session=bytes(64)),
    }
    bounds = {
        "no version": Offer(versions=()),
        "version zero": Offer(versions=(0,)),
        "version over one byte": Offer(versions=(256,)),
        "versions out of order": Offer(versions=(2, 1)),
        "a version twice": Offer(versions=(1, 1)),
        "too many versions": Offer(versions=tuple(range(1, 18))),
        "relayed without a session": Offer(transport="relay"),
        "direct with a session": Offer(relay_session=b"x"),
        "session too long": Offer(transport="relay", relay_session=bytes(65)),
    }
    direct = encode_offer(Offer())
    encodings = {
        "empty": b"",
        "trailing byte": direct + b"\x00",
        "cut short": direct[:-1],
        "not minimal": direct.replace(b"\x91\x01", b"\x91\xcc\x01"),
        "unknown field": encode({"type": "offer", "versions": [1], "other": 1}),
        "unknown transport": direct.replace(b"\xa6direct", b"\xa6wormho"),
        "over 256 bytes": encode(Offer(relay_session=bytes(256))),
    }
    return [
        {"name": name, "expect": expect, "data": data.hex()}
        for expect, cases in (
            ("accept", {name: encode(offer) for name, offer in good.items()}),
            ("remote_protocol", {name: encode(offer) for name, offer in bounds.items()}),
            ("encoding", encodings),
        )
        for name, data in cases.items()
    ]


def _frames() -> list[dict[str, str]]:
    good = {
        "REQUEST": pack_frame(FrameType.REQUEST, 1, b"body"),
        "REQUEST, empty": pack_frame(FrameType.REQUEST, 1),
        "ANSWER": pack_frame(FrameType.ANSWER, 2**32 - 1, b"body"),
        "ANSWER_STREAM": pack_frame(FrameType.ANSWER_STREAM, 1, b"body"),
        "REFUSAL": pack_frame(FrameType.REFUSAL, 1, b"not_member"),
        "DATA": pack_frame(FrameType.DATA, 1, b"\x00"),
        "END": pack_frame(FrameType.END, 1),
        "RESET": pack_frame(FrameType.RESET, 1),
        "CANCEL": pack_frame(FrameType.CANCEL, 1),
        "CREDIT": pack_frame(FrameType.CREDIT, 1, pack_credit(1_048_576)),
        "PING": pack_frame(FrameType.PING, 0),
        "CLOSE": pack_frame(FrameType.CLOSE, 0, b"done"),
    }
    bad = {
        "empty": b"",
        "header cut short": bytes.fromhex("01000000"),
        "type 0": bytes.fromhex("0000000001"),
        "type 12": bytes.fromhex("0c00000001"),
        "REQUEST with id 0": pack_frame(FrameType.REQUEST, 0),
        "PING with an id": pack_frame(FrameType.PING, 1),
        "PING with a payload": pack_frame(FrameType.PING, 0, b"x"),
        "DATA without a byte": pack_frame(FrameType.DATA, 1),
        "END with a payload": pack_frame(FrameType.END, 1, b"x"),
        "CREDIT of 3 bytes": pack_frame(FrameType.CREDIT, 1, b"\x00\x00\x01"),
        "REFUSAL without a reason": pack_frame(FrameType.REFUSAL, 1),
        "CLOSE without a reason": pack_frame(FrameType.CLOSE, 0),
    }
    return [
        {"name": name, "expect": expect, "data": data.hex()}
        for expect, cases in (("accept", good), ("remote_protocol", bad))
        for name, data in cases.items()
    ]


# Documents ---------------------------------------------------------------------------------------

START: Final = "<!-- printed by tests/protocol/channel/examples.py -->\n"
END: Final = "<!-- end of print -->\n"


def print_example(transcript: dict[str, Any]) -> str:
    """Return the complete example of the specification."""
    keys = [
        f"{name.replace('_', ' '):27} {_lines(transcript[name], 28)}"
        for name in transcript
        if name not in {"messages", "handshake_hash"}
    ]
    messages = [
        f"\n{'-->' if message['from'] == 'initiator' else '<--'} {message['name']}\n"
        f"    {_lines(message['data'], 4)}"
        for message in transcript["messages"]
    ]
    ends = f"\n{'handshake hash':27} {_lines(transcript['handshake_hash'], 28)}"
    return "```text\n" + "\n".join([*keys, *messages, ends]) + "\n```\n"


def _lines(text: str, indent: int) -> str:
    """Break hex into lines of 32 bytes."""
    parts = [text[start : start + 64] for start in range(0, len(text), 64)]
    return ("\n" + " " * indent).join(parts)


def print_states() -> str:
    """Return docs/channel-states.md."""
    starts = " ".join(f"The {role} starts in `{state}`." for role, state in INITIAL_STATE.items())
    return f"""\
# States of a channel

Printed from the tables of `protocol/channel/states.py`; a test holds the two equal.
What each step is stands in [the specification](spec/channel.md).

## The channel

```mermaid
{diagram(TRANSITIONS)}
```

{starts}

## One exchange: a request, its answer, its stream

```mermaid
{diagram(EXCHANGE_TRANSITIONS)}
```
"""


def replace_print(document: str, printed: str) -> str:
    """Return document with what stands between the marks replaced."""
    before, rest = document.split(START)
    _old, after = rest.split(END)
    return before + START + printed + END + after


def main() -> None:
    """Write the vectors and the printed parts of the documents."""
    vectors = make_vectors()
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n")
    STATES.write_text(print_states())
    example = print_example(vectors["transcript"])
    SPECIFICATION.write_text(replace_print(SPECIFICATION.read_text(), example))


if __name__ == "__main__":
    main()
