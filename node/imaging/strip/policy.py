"""What of a picture may stay besides its pixels, as one value.

Belongs here: the switches and their defaults.
Never here: how a format carries any of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StripPolicy:
    """What a clean copy may keep. Orientation and the colour profile always stay."""

    gain_maps: bool = True
    """The second, small picture by which a bright screen shows highlights (Ultra HDR and the
    like). JPEG, HEIC and AVIF."""
    depth_maps: bool = False
    """How far away everything was, and masks made from it. HEIC and AVIF; elsewhere always
    removed."""
    previews: bool = False
    """Small copies of the picture, which may show what was cropped away. JPEG, TIFF, HEIC and
    AVIF; elsewhere there are none."""
    capture_time: bool = False
    """When the picture was taken, with the time zone where it says so. Every format but GIF."""


DEFAULT_POLICY = StripPolicy()
