"""Why a picture was not cleaned, as one typed error with a stable code.

Belongs here: the codes and what each says to a person.
Never here: text out of a picture; only words written here reach a terminal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.errors import SafelightError


class StripCode(StrEnum):
    """The one reason of a refusal. The values are part of the command line's contract."""

    EMPTY = "empty"
    UNKNOWN_FORMAT = "unknown_format"
    BROKEN = "broken"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    NOT_CLEAN = "not_clean"
    PIXELS_DIFFER = "pixels_differ"


_MEANING: Final = {
    StripCode.EMPTY: "the file is empty",
    StripCode.UNKNOWN_FORMAT: (
        "not a picture that can be cleaned; JPEG, PNG, WebP, GIF, TIFF, HEIC and AVIF are"
    ),
    StripCode.BROKEN: "the picture is damaged or cut short",
    StripCode.TOO_LARGE: "the picture has more parts than a picture needs",
    StripCode.UNSUPPORTED: "the picture holds what this build cannot take apart",
    StripCode.NOT_CLEAN: "the clean copy did not pass its own check, so there is none",
    StripCode.PIXELS_DIFFER: "the clean copy would not look the same, so there is none",
}


class StripError(SafelightError):
    """A picture cannot be cleaned honestly; ``code`` says why, and nothing was made."""

    code = "strip"

    def __init__(self, code: StripCode, message: str = "") -> None:
        super().__init__(message or _MEANING[code], code=code.value)
