"""Properties of the channel: hostile bytes close it, honest use delivers everything once."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from protocol.channel.events import (
    AnswerReceived,
    Cancelled,
    ConnectionClosed,
    Established,
    Event,
    RefusalReceived,
    RequestReceived,
    StreamData,
    StreamEnded,
    StreamReset,
    StreamWritable,
)
from protocol.channel.frames import FrameType
from protocol.channel.states import State
from protocol.errors import Reason
from protocol.limits import MAX_REQUESTS_IN_FLIGHT, STREAM_WINDOW_BYTES
from tests.protocol.channel.pair import (
    Pair,
    closed,
    drain,
    forge,
    make_initiator,
    make_responder,
)

# Hostile bytes -----------------------------------------------------------------------------------


@given(messages=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_random_bytes_to_a_new_channel_raise_nothing_and_close_it(messages: list[bytes]) -> None:
    responder, initiator = make_responder(), make_initiator()
    for victim in (responder, initiator):
        for message in messages:
            victim.receive_data(message, now=0)

        assert closed(victim).remote


@given(message=st.binary(max_size=300))
def test_random_bytes_to_an_open_channel_raise_nothing_and_close_it(message: bytes) -> None:
    for victim in Pair().sides:
        victim.receive_data(message, now=0)

        assert closed(victim).reason == "authentication"


@given(
    position=st.integers(0, 3),
    edit=st.sampled_from(["flip", "cut", "extend", "double", "drop"]),
    seed=st.integers(0, 2**32),
)
def test_any_edit_of_the_opening_keeps_the_side_that_it_reaches_from_opening(
    position: int, edit: str, seed: int
) -> None:
    chance = random.Random(seed)
    initiator, responder = make_initiator(), make_responder()
    link = [(initiator, responder), (initiator, responder), (responder, initiator)]
    link.append((initiator, responder))
    pending: list[bytes] = []
    for number, (source, target) in enumerate(link):
        pending = pending or source.data_to_send()
        if not pending:
            break
        message, *pending = pending
        copies = [message]
        if number == position:
            at = chance.randrange(len(message))
            copies = {
                "flip": [
                    message[:at] + bytes([message[at] ^ (1 << (seed % 8))]) + message[at + 1 :]
                ],
                "cut": [message[:at]],
                "extend": [message + b"\x00"],
                "double": [message, message],
                "drop": [],
            }[edit]
        for copy in copies:
            target.receive_data(copy, now=0)

    # The other side may be open for a moment: it hears nothing more and gives up.
    assert link[position][1].state is not State.OPEN


FRAMES = st.tuples(
    st.sampled_from(FrameType),
    st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1)),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"expired", b"done", bytes(4), b"\x00\x00\x00\x01", bytes(60_001)]),
    ),
)


@given(frames=st.lists(FRAMES, min_size=1, max_size=12), streaming=st.booleans())
def test_random_frames_raise_nothing_and_a_bad_one_closes(
    frames: list[tuple[FrameType, int, bytes]], streaming: bool
) -> None:
    pair = Pair()
    request_id = pair.responder.send_request(b"question")
    pair.pump()
    pair.initiator.send_answer(request_id, b"answer", stream_follows=streaming)
    pair.pump()
    for frame in frames:
        forge(pair.initiator, *frame)
    for message in pair.initiator.data_to_send():
        pair.responder.receive_data(message, now=0)
    events = drain(pair.responder)

    closings = [event for event in events if isinstance(event, ConnectionClosed)]
    assert (pair.responder.state is State.CLOSED) == bool(closings)
    assert closings in ([], events[-1:])
    assert all(event.remote for event in closings)


# Honest use --------------------------------------------------------------------------------------


class HonestUse(RuleBasedStateMachine):
    """Two sides ask, answer, stream, consume and cancel in any order over a slow link.

    The model keeps, for each request, what its answerer has said and what its requester has
    been told. Messages cross: each rule of the link carries one message in one direction.
    """

    waiting = Bundle("waiting")
    """(side that answers, id) of requests that have arrived."""
    streaming = Bundle("streaming")
    """(side that answers, id) of streams that are open."""

    @initialize()
    def open(self) -> None:
        pair = Pair()
        self.sides = pair.sides
        self.link: list[list[bytes]] = [[], []]
        self.said: dict[tuple[int, int], list[object]] = defaultdict(list)
        self.told: dict[tuple[int, int], list[object]] = defaultdict(list)
        self.streamed: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self.arrived: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self.unconsumed: dict[tuple[int, int], int] = defaultdict(int)
        self.asked: dict[tuple[int, int], bytes] = {}
        self.heard: dict[tuple[int, int], bytes] = {}
        self.cancelled: set[tuple[int, int]] = set()
        self.fresh: list[tuple[int, int]] = []
        self.counter = 0

    # The link

    @rule(source=st.integers(0, 1), count=st.integers(1, 5))
    def carry(self, source: int, count: int) -> None:
        self.link[source] += self.sides[source].data_to_send()
        for _number in range(min(count, len(self.link[source]))):
            self.sides[1 - source].receive_data(self.link[source].pop(0), now=0)
        for event in drain(self.sides[1 - source]):
            self.note(1 - source, event)

    def note(self, side: int, event: Event) -> None:
        match event:
            case RequestReceived(request_id=request_id, body=body):
                assert (side, request_id) not in self.heard
                self.heard[side, request_id] = body
                self.fresh.append((side, request_id))
            case StreamData(request_id=request_id, data=data):
                key = (1 - side, request_id)
                self.arrived[key] += data
                self.unconsumed[key] += len(data)
            case AnswerReceived(request_id=request_id, body=body):
                self.told[1 - side, request_id].append(body)
            case RefusalReceived(request_id=request_id, reason=reason):
                self.told[1 - side, request_id].append(reason)
            case StreamEnded(request_id=request_id):
                self.told[1 - side, request_id].append("end")
            case StreamReset(request_id=request_id):
                self.told[1 - side, request_id].append("reset")
            case Cancelled(request_id=request_id):
                assert (side, request_id) in self.cancelled
            case StreamWritable(credit=credit):
                assert 0 < credit <= STREAM_WINDOW_BYTES
            case Established() | ConnectionClosed():
                raise AssertionError(event)

    # The requester

    @rule(side=st.integers(0, 1))
    def ask(self, side: int) -> None:
        connection = self.sides[side]
        if not connection.requests_free:
            return
        self.counter += 1
        body = b"question %d" % self.counter
        self.asked[1 - side, connection.send_request(body)] = body

    @rule(share=st.integers(1, 4))
    def consume(self, share: int) -> None:
        for (answerer, request_id), size in self.unconsumed.items():
            self.sides[1 - answerer].consume(request_id, size // share)
            self.unconsumed[answerer, request_id] -= size // share

    @precondition(lambda self: self.asked)
    @rule(choice=st.randoms(use_true_random=False))
    def cancel(self, choice: random.Random) -> None:
        answerer, request_id = choice.choice(sorted(self.asked))
        self.sides[1 - answerer].cancel(request_id)
        self.cancelled.add((answerer, request_id))

    # The answerer

    @precondition(lambda self: self.fresh)
    @rule(target=waiting)
    def take(self) -> object:
        taken, self.fresh = self.fresh, []
        return multiple(*taken)

    @rule(key=consumes(waiting))
    def answer(self, key: tuple[int, int]) -> None:
        side, request_id = key
        self.sides[side].send_answer(request_id, self.heard[key] + b"!")
        self.said[key].append(self.heard[key] + b"!")

    @rule(key=consumes(waiting), reason=st.sampled_from(Reason))
    def refuse(self, key: tuple[int, int], reason: Reason) -> None:
        side, request_id = key
        self.sides[side].send_refusal(request_id, reason)
        self.said[key].append(reason)

    @rule(key=consumes(waiting), target=streaming)
    def answer_with_stream(self, key: tuple[int, int]) -> tuple[int, int]:
        side, request_id = key
        self.sides[side].send_answer(request_id, b"stream", stream_follows=True)
        self.said[key].append(b"stream")
        return key

    @rule(key=streaming, size=st.sampled_from([1, 1000, 65_514, 65_515, 1_200_000, 5_000_000]))
    def stream(self, key: tuple[int, int], size: int) -> None:
        side, request_id = key
        connection = self.sides[side]
        part = min(size, connection.stream_credit(request_id))
        self.counter += 1
        data = self.counter.to_bytes(4, "big") * (part // 4 + 1)
        connection.send_stream(request_id, data[:part])
        self.streamed[key] += data[:part]

    @rule(key=consumes(streaming), whole=st.booleans())
    def finish(self, key: tuple[int, int], whole: bool) -> None:
        side, request_id = key
        if whole:
            self.sides[side].end_stream(request_id)
        else:
            self.sides[side].reset_stream(request_id)
        self.said[key].append("end" if whole else "reset")

    # What always holds

    @invariant()
    def both_sides_stay_open_and_within_bounds(self) -> None:
        for side in getattr(self, "sides", ()):
            assert side.state is State.OPEN
            assert 0 <= side.requests_free <= MAX_REQUESTS_IN_FLIGHT

    @invariant()
    def no_reader_holds_more_than_a_window(self) -> None:
        for size in getattr(self, "unconsumed", {}).values():
            assert size <= STREAM_WINDOW_BYTES

    @invariant()
    def what_is_told_is_what_was_said_in_order(self) -> None:
        for key, told in getattr(self, "told", {}).items():
            assert told == self.said[key][: len(told)]
            assert self.streamed[key].startswith(self.arrived[key])

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        while any(self.link) or any([self.flush(0), self.flush(1)]):
            self.carry(0, 100)
            self.carry(1, 100)

        assert self.heard == self.asked
        for key, said in self.said.items():
            if key not in self.cancelled:
                assert self.told[key] == said
                assert self.arrived[key] == self.streamed[key]

    def flush(self, source: int) -> bool:
        self.link[source] += self.sides[source].data_to_send()
        return bool(self.link[source])


HonestUse.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


TestHonestUseDeliversEverythingOnceAndInOrder = HonestUse.TestCase


def test_a_connection_survives_every_message_size() -> None:
    pair = Pair()
    request_id = pair.ask(stream=True)
    sizes = [1, 2, 65_513, 65_514, 65_515, 131_028, 131_029]
    for size in sizes:
        pair.responder.send_stream(request_id, bytes(size))
    pair.pump()
    arrived = [event for event in drain(pair.initiator) if isinstance(event, StreamData)]

    assert sum(len(event.data) for event in arrived) == sum(sizes)
