"""A clean copy that looks the same: the walk here, the comparison in worker processes.

Belongs here: the one way in which the node and the command make clean copies.
Never here: a format, a file, or a decoder.

The walk is memory-safe code with bounds, so it runs in this process, where no picture can change
what it does. Decoders run in a worker each, one for the source and one for the copy, and can
only say what they saw.
"""

from __future__ import annotations

import asyncio

from node.imaging.pool import ImagingPool
from node.imaging.strip.engine import Stripped, strip_untrusted
from node.imaging.strip.errors import StripCode, StripError
from node.imaging.strip.policy import DEFAULT_POLICY, StripPolicy


async def strip_verified(
    pool: ImagingPool, data: bytes, policy: StripPolicy = DEFAULT_POLICY
) -> Stripped:
    """Return a clean copy whose every pixel is the source's.

    Raises StripError, and ImagingError where the source cannot be decoded, so that nothing can
    be compared.
    """
    stripped = await asyncio.to_thread(strip_untrusted, data, policy)
    source, copy = await asyncio.gather(
        pool.hash_pixels(data, stripped.format),
        pool.hash_pixels(stripped.data, stripped.format),
        return_exceptions=True,
    )
    if isinstance(source, BaseException):
        raise source
    if source != copy:
        raise StripError(StripCode.PIXELS_DIFFER)
    return stripped
