"""The smallest pictures that take a decoder through its whole work, one a format.

Belongs here: pictures made here, to warm up on and to try a confined worker with.
Never here: anything from outside.

The two in base64 are an evenly blue HEIC of 64 x 64 pixels (x265, quality 20) and AVIF of
16 x 8 (libaom, quality 50), since loading encoders at each start would cost more than decoding.
"""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image, ImageCms

_HEIC: Final = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgA"
    "AAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaX"
    "hpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACFtZGF0AAAAFSgBrwtg+sbB1//yPa3otR+mt7TtwA=="
)
_AVIF: Final = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAA"
    "AAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAJwAAAChpaW5mAAAAAAAB"
    "AAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAAAgAAAAQcG"
    "l4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAA"
    "L21kYXQSAAoIGAy/tEBDQaEyGRlHh4Yhh5555oAAALCtaTAy2Zetyp0byWg="
)


def tiny_pictures() -> list[tuple[str, bytes]]:
    """Return pictures of every format that is decoded at all, each with its format's name.

    Where there are two of a format, one is plain and one to be turned and with a profile.
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [("heif", base64.b64decode(_HEIC)), ("avif", base64.b64decode(_AVIF))]
    for name in ("jpeg", "png", "webp", "gif", "tiff"):
        for options in ({}, {"exif": exif, "icc_profile": profile}):
            picture = io.BytesIO()
            Image.new("RGB", (16, 8)).save(picture, name, **options)
            pictures.append((name, picture.getvalue()))
    return pictures
