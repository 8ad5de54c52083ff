"""Sizes of the fields that capability values share on the wire.

Belongs here: annotated types that the codec checks on every decode.
Never here: rules between fields; they stand beside the value they are about.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from protocol.limits import FACTOR_SALT_BYTES, MAX_IMAGE_EDGE, MAX_OPENS, MAX_TIME_MS

MAX_INTEGER: Final = 2**53 - 1
"""Every reader of every language holds integers up to this exactly."""

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""A random id: capability, image, open."""
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A hash, a fingerprint, a commitment, or 32 random bytes."""
Hash64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
"""A handshake hash or an HMAC-SHA-512."""
Salt = Annotated[bytes, Meta(min_length=FACTOR_SALT_BYTES, max_length=FACTOR_SALT_BYTES)]
"""The salt of a second factor."""
Time = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
"""Unix milliseconds UTC, or a number of milliseconds."""
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
"""A number of things, an index, or a version that begins with 0."""
Ordinal = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
"""A number in a sequence that begins with 1."""
Opens = Annotated[int, Meta(ge=1, le=MAX_OPENS)]
"""A limit of opens. There is no unlimited capability."""
Edge = Annotated[int, Meta(ge=1, le=MAX_IMAGE_EDGE)]
"""Pixels of one side of a picture as seen."""
Format = Annotated[str, Meta(pattern=r"^[a-z0-9]{1,16}\Z")]
"""A picture format's short name: ``jpeg``, ``png``, ``webp``, ``gif`` …"""
