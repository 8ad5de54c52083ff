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


class Detail(StrEnum):
    """What exactly is not supported, where that is known. Each names a sentence."""

    ENCRYPTED = "encrypted"
    OUTSIDE = "outside"
    ESSENTIAL = "essential"
    SEQUENCE = "sequence"
    KIND = "kind"
    RAW = "raw"
    SMALL_FIRST = "small_first"
    COMPRESSION = "compression"


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


_DETAILS: Final = {
    Detail.ENCRYPTED: "the picture is encrypted",
    Detail.OUTSIDE: "the picture's bytes are outside of its file",
    Detail.ESSENTIAL: "the picture says it cannot be shown without a part that is not known",
    Detail.SEQUENCE: "sequences of HEIF and AVIF are not cleaned",
    Detail.KIND: "the picture is of a kind that is not known",
    Detail.RAW: "raw camera files are not cleaned",
    Detail.SMALL_FIRST: "the TIFF begins with a small copy of its picture",
    Detail.COMPRESSION: "the TIFF is compressed in a way that is not taken apart",
}


class StripError(SafelightError):
    """A picture cannot be cleaned honestly; ``code`` says why, and nothing was made."""

    code = "strip"

    def __init__(self, code: StripCode, detail: Detail | None = None) -> None:
        super().__init__(_DETAILS[detail] if detail else _MEANING[code], code=code.value)
        self.detail = detail
