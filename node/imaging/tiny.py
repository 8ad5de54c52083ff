"""The smallest pictures that take a decoder through its whole work, one a format.

Belongs here: pictures made here, to warm up on and to try a confined worker with.
Never here: anything from outside.

Those in base64 are an evenly blue HEIC of 64 x 64 pixels (x265, quality 20) and AVIF of 16 x 8
(libaom, quality 50), since loading encoders at each start would cost more than decoding; and two
DNG of 24 x 24 that ``tests.support_raw`` made, deflated: one with a JPEG inside, and one without,
which has to be developed.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Final

from PIL import Image, ImageCms

from node.imaging.formats import RAW

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

_RAW_WITH_JPEG: Final = (
    "eNrz9NRi8GBjYNjBrcNICiYVjpo/av6o+aPm44L/b/x/wCDg5ebpxsDIyMDACIQM/28zODNIC4mIiwhKi4uJy8lIK2g4aW"
    "uoqmoEWtkaOCWEpqbEh8ZGZ1XMbMwqnFAcHdu6tW3CvMWr165Ob9hzctey4zNXrF4CMoRRRk5OQ1nDT1vbb0lebN4SksH/"
    "AwyCHAxAyMyoxMAkyMgsyPj/CIMo2KkogA0oLCKALsoAEmXEKiqIKXqLgYeZEWgLsyCDPcNMBvn/Nxl4Gf4xsDDAlTJC2B"
    "IgJhKbiZEZzBYAYmYoG4TZoGzlBgYGQah6DiAWRVIjhmSOOJTdwMLA0NvEzMAEMhsI+5oYga4AW8okewyi5j8/xEnCcBcy"
    "IrkwAcmFDlAXMgNpI3aEC9mRXAisiBj4GZkYuIC0BVBCAMiWArKd2BEu7wA6QQhJPcwXzEi+cEDyhSyQ8IKyl7EC9R6D+A"
    "IoxCByjIlBEsiOAZqveIyLgRPILgOyNY6xgs3bB2RHHYOYLwoNfHA6YAhOTEvNyUzPKGFwLMosychNLclMVghKLFdwdvRz"
    "DIrUDXIMR6hRQFXDgAgnHDSx8rgwADEJNn4="
)
_RAW_ALONE: Final = (
    "eNrz9NRi6GBhYNjBrcNICiYVjpo/av6o+aPm44KiDP8YWBgYGaCAEcKWADGR2EyMzGC2ABAzQ9kgzAZlKzcwMPAzMjFwAd"
    "ldrEB1QLYUkD0FyBaEmsMBxEJIekWR2GJIdolD2Q3A0rG3iZmBCWQ/EPY1MQJdCnYYk9AxCBuolEHkGBODJJC9DmiX7DGI"
    "3v/8DAyKx7gYOIHsE0BxjWOsDMwg97MxMEQdg9grCvVycGJaak5mekYJg2NRZklGbmpJZrJCUGK5grOjn2NQpG6QYzhCjQ"
    "KqGga4Dxhw0MTK48IAAZbfXg=="
)


def tiny_pictures() -> list[tuple[str, bytes]]:
    """Return pictures of every format that is decoded at all, each with its format's name.

    Where there are two of a format, one is plain and one to be turned and with a profile.
    """
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [("heif", base64.b64decode(_HEIC)), ("avif", base64.b64decode(_AVIF))]
    pictures += [
        (RAW, zlib.decompress(base64.b64decode(one))) for one in (_RAW_WITH_JPEG, _RAW_ALONE)
    ]
    for name in ("jpeg", "png", "webp", "gif", "tiff"):
        for options in ({}, {"exif": exif, "icc_profile": profile}):
            picture = io.BytesIO()
            Image.new("RGB", (16, 8)).save(picture, name, **options)
            pictures.append((name, picture.getvalue()))
    return pictures
