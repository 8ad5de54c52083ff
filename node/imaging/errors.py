"""Why a picture was refused, as one typed error with a stable code.

Belongs here: the codes and what each says to a person.
Never here: text that a decoder or worker supplies; only words written here reach a terminal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocol.errors import SafelightError


class ImagingCode(StrEnum):
    """The one reason of a refusal. The values are part of the command line's contract."""

    UNKNOWN_FORMAT = "unknown_format"
    BROKEN = "broken"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


_MEANING: Final = {
    ImagingCode.UNKNOWN_FORMAT: (
        "not a picture this build reads; JPEG, PNG, WebP, GIF, TIFF, HEIC, AVIF and raw camera"
        " files are"
    ),
    ImagingCode.BROKEN: "the picture is damaged or cut short",
    ImagingCode.TOO_LARGE: "the picture needs more memory than one picture may take",
    ImagingCode.EMPTY: "the file is empty",
    ImagingCode.TIMEOUT: "the picture takes too long to decode",
    ImagingCode.CRASHED: "decoding the picture killed its worker process",
}


class ImagingError(SafelightError):
    """A picture cannot be decoded or rendered; ``code`` says why."""

    code = "imaging"

    def __init__(self, code: ImagingCode, message: str = "") -> None:
        super().__init__(message or _MEANING[code], code=code.value)
