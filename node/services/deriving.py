"""The bytes that leave: an original, a clean copy or a preview, made in one way for everybody.

Belongs here: which call of ``imaging`` makes a rendition, and what it discloses.
Never here: who gets it (``rendering`` seals copies for holders, ``exporting`` writes files).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.imaging.pool import MAX_PREVIEW_EDGE, ImagingPool
from node.services.copies import Copy
from protocol.capability.manifest import EVERYTHING, Disclosure
from protocol.capability.terms import parse_rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The bytes of a copy, and what they are."""

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    disclosure: Disclosure


async def derive(
    imaging: ImagingPool,
    copy: Copy,
    data: bytes,
    *,
    form: str,
    size: tuple[int, int],
    logo: bytes = b"",
) -> Derived:
    """Return the bytes of a copy, made of an original of this format and size as seen.

    logo: what a watermark bears besides its words, as ``imaging`` normalised it.
    Raises ImagingError and StripError: nothing is made of such a picture.
    """
    wanted = parse_rendition(copy.rendition)
    if wanted.kind == "original":
        return Derived(
            data=data,
            format=form,
            width=size[0],
            height=size[1],
            disclosure=Disclosure(removed=(), kept=(EVERYTHING,)),
        )
    if wanted.kind == "clean" and copy.mark is None:
        clean = await imaging.clean(data, ownership=copy.ownership)
        return Derived(
            data=clean.data,
            format=clean.format,
            width=size[0],
            height=size[1],
            disclosure=Disclosure(removed=clean.removed, kept=clean.kept),
        )
    # A mark changes pixels: what bears one is drawn anew, at its own size where it is not
    # a preview.
    edge = wanted.pixels or min(MAX_PREVIEW_EDGE, max(size))
    rendered = await imaging.render_preview(
        data, edge, mark=copy.mark, logo=logo, ownership=copy.ownership
    )
    return Derived(
        data=rendered.data,
        format=rendered.format,
        width=rendered.width,
        height=rendered.height,
        disclosure=Disclosure(removed=rendered.removed, kept=rendered.kept),
    )
