"""What the pool, the warm parent and the workers say to each other.

Belongs here: the values, and how they are framed on a socket.
Never here: sockets, processes, pictures.

Every message is `head length:4 body length:4 head body`, lengths big-endian: the head is one
of the structs below in MessagePack, the body raw bytes. Nothing that a worker says
is trusted: it may have been taken over by the picture it decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from node.imaging.inspect.finding import Disclosure, Finding
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy

FRAME: Final = struct.Struct(">II")
"""Head length, body length."""

MAX_HEAD_BYTES: Final = 4_096
"""Every head is a handful of numbers and short words."""
MAX_PICTURE_BYTES: Final = 256 << 20
"""A picture file: several times the largest that a camera writes."""
MAX_ANSWER_BYTES: Final = 256 << 20
"""What comes back: the pixels of the largest screen, or a preview."""


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True, kw_only=True):
    """Base of every message."""


class Limits(_Message, frozen=True):
    """What one worker may take. Wall time is counted by the pool, the rest by the kernel."""

    memory_bytes: int = 1_500_000_000
    """Address space: room for MAX_PIXELS twice, which turning a picture takes."""
    cpu_seconds: int = 10
    """For one job. The slowest sample takes less than one."""
    wall_seconds: float = 20.0
    """For one job: a worker that sleeps uses no CPU time."""


class ThumbnailJob(_Message, frozen=True):
    """Measure the picture in the body and make thumbnails."""

    sizes: tuple[int, ...]


class Strength(StrEnum):
    """How much a watermark shows: never more than what the pictures need."""

    SUBTLE = "subtle"
    """Small, in a corner."""
    MEDIUM = "medium"
    """All over, faint and far apart."""
    FIRM = "firm"
    """All over, plain and close."""


class Mark(_Message, frozen=True):
    """A watermark: whose copy this is."""

    name: str
    """The holder's."""
    words: str
    """What names the holder where the name has letters that cannot be drawn."""
    date: str
    code: str
    """The capability's id, shortened."""
    strength: Strength


class Ownership(_Message, frozen=True):
    """A credit: who made a picture, and whose it is. Empty texts say nothing."""

    creator: str = ""
    rights: str = ""
    """The copyright notice."""
    terms: str = ""
    """Under which terms it may be used."""


class LogoJob(_Message, frozen=True):
    """Make a watermark's logo of the picture in the body."""


class PreviewJob(_Message, frozen=True):
    """Render the picture in the body, behind which the watermark's logo stands."""

    long_edge: int
    logo_bytes: int = 0
    mark: Mark | None = None
    ownership: Ownership | None = None


class CleanJob(_Message, frozen=True):
    """Make a clean copy of the picture in the body, by its container alone."""

    ownership: Ownership | None = None
    policy: StripPolicy = DEFAULT_POLICY


class InspectJob(_Message, frozen=True):
    """Say what the picture in the body carries besides its pixels, and what a clean copy would."""

    ownership: Ownership | None = None


class ScreenJob(_Message, frozen=True):
    """Decode the picture in the body for a screen."""

    width: int
    height: int


class HashJob(_Message, frozen=True):
    """Decode the picture in the body, every frame of it, and hash what is seen."""

    format: str


Job = ThumbnailJob | LogoJob | PreviewJob | CleanJob | InspectJob | ScreenJob | HashJob


class ThumbnailsMade(_Message, frozen=True):
    """The body holds the thumbnails one after another, in the order of the job's sizes."""

    format: str
    width: int
    height: int
    lengths: tuple[int, ...]
    likeness: bytes = b""
    """As ``likeness.likeness_of`` says."""


class LogoMade(_Message, frozen=True):
    """The body holds the logo, a PNG."""


class PreviewMade(_Message, frozen=True):
    """The body holds the preview."""

    format: str
    width: int
    height: int
    removed: tuple[str, ...]
    kept: tuple[str, ...]


class CleanMade(_Message, frozen=True):
    """The body holds the clean copy, then a `Disclosure` in MessagePack."""

    format: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    copy_bytes: int


class Inspected(_Message, frozen=True):
    """The body holds the findings, in MessagePack."""

    found: tuple[str, ...]
    kept: tuple[str, ...]
    clean_bytes: int
    problem: str
    """Why there is no clean copy, a StripCode; empty where there is one."""
    detail: str = ""
    """More exactly, a `Detail` of the strip; or empty."""


class ScreenMade(_Message, frozen=True):
    """The body holds the pixels."""

    width: int
    height: int


class PixelsHashed(_Message, frozen=True):
    """No body."""

    width: int
    height: int
    frames: int
    digest: bytes


class JobRefused(_Message, frozen=True):
    """The picture cannot be decoded or cleaned; the code is an ImagingCode or a StripCode."""

    code: str
    detail: str = ""
    """More exactly, a `Detail` of the strip; or empty."""


Answer = (
    ThumbnailsMade
    | LogoMade
    | PreviewMade
    | CleanMade
    | Inspected
    | ScreenMade
    | PixelsHashed
    | JobRefused
)


class StartWorker(_Message, frozen=True):
    """To the parent, with one end of a socket pair: fork a worker that serves it."""

    number: int
    limits: Limits


class KillWorker(_Message, frozen=True):
    """To the parent: end a worker at once, if it still runs."""

    number: int


Order = StartWorker | KillWorker


class WallName(StrEnum):
    """What keeps a worker that a picture took over from doing more than decode."""

    LIMITS = "limits"
    """Memory, time, and no descriptor to open anything with: resource limits."""
    PRIVILEGES = "privileges"
    """No programs that run as somebody else: no_new_privs."""
    FILES = "files"
    """No file or folder: Landlock, ABI 1."""
    NETWORK = "network"
    """No TCP: Landlock, ABI 4."""
    SIGNALS = "signals"
    """No process outside: Landlock, ABI 6."""
    SYSTEM_CALLS = "system_calls"
    """Nothing but memory, threads and its socket: seccomp."""


class WallState(StrEnum):
    """Whether a wall protects."""

    STANDS = "stands"
    UNSUPPORTED = "unsupported"
    """This kernel, or this system, does not have it."""
    FAILED = "failed"
    """The kernel has it, and a worker behind it could not decode; so it is left out."""


class Wall(_Message, frozen=True):
    """One wall around every worker."""

    name: WallName
    state: WallState


class Ready(_Message, frozen=True):
    """From the parent: the picture library is loaded, and these walls were tried."""

    walls: tuple[Wall, ...]


class WorkerEnded(_Message, frozen=True):
    """From the parent: a worker is gone; signal 0 where it left by itself."""

    number: int
    signal: int


Report = Ready | WorkerEnded


def pack(message: Job | Answer | Order | Report, body_length: int = 0) -> bytes:
    """Return the bytes that go before the body."""
    head = _encoder.encode(message)
    return FRAME.pack(len(head), body_length) + head


def unpack_job(head: bytes) -> Job:
    """Decode a job; msgspec.MsgspecError."""
    return _jobs.decode(head)


def unpack_answer_untrusted(head: bytes) -> Answer:
    """Decode a worker's answer; msgspec.MsgspecError."""
    return _answers.decode(head)


def pack_told(told: Disclosure | Sequence[Finding]) -> bytes:
    """Return what a picture tells as it stands in a body."""
    return _encoder.encode(told)


def unpack_disclosure_untrusted(body: bytes) -> Disclosure:
    """Decode what became of everything; msgspec.MsgspecError. Its texts are still foreign."""
    return _disclosures.decode(body)


def unpack_findings_untrusted(body: bytes) -> list[Finding]:
    """Decode what a picture tells; msgspec.MsgspecError. Its texts are still foreign."""
    return _findings.decode(body)


def unpack_order(head: bytes) -> Order:
    """Decode an order; msgspec.MsgspecError."""
    return _orders.decode(head)


def unpack_report(head: bytes) -> Report:
    """Decode a report; msgspec.MsgspecError."""
    return _reports.decode(head)


_encoder = msgspec.msgpack.Encoder()
_jobs: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_disclosures: msgspec.msgpack.Decoder[Disclosure] = msgspec.msgpack.Decoder(Disclosure)
_findings: msgspec.msgpack.Decoder[list[Finding]] = msgspec.msgpack.Decoder(list[Finding])
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
