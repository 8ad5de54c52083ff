"""Exif blocks: what they tell, in plain words and tag by tag.

Belongs here: which tags say where, when, who and with what; positions and serial numbers.
Never here: reading directories (``node.imaging.strip.ifd``), or other carriers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from PIL import ExifTags

from node.imaging.inspect.finding import Finding, amount, shown
from node.imaging.strip.exif import block_of, preview_untrusted
from node.imaging.strip.ifd import ASCII, BYTE, UNDEFINED, Directory, Entry, Tiff, open_tiff
from node.imaging.strip.parts import Buffer

_EXIF, _GPS, _INTEROPERABILITY, _MAKER_NOTE, _USER_COMMENT = 0x8769, 0x8825, 0xA005, 0x927C, 0x9286
_MAKE, _MODEL = 0x010F, 0x0110
_XP_TAGS: Final = range(0x9C9B, 0x9CA0)
"""Windows' texts, in UTF-16."""
_CHARSET_BYTES: Final = 8
"""What says in a UserComment how it is coded."""
_MAX_NUMBERS: Final = 8
_MAX_PAGES: Final = 8
"""Directories on the chain that are read: a picture, its preview, some pages."""

_PLAIN: Final = {
    0x9003: ("when", "taken {}"),
    0x9004: ("when", "digitised {}"),
    0x0132: ("when", "changed {}"),
    0x013B: ("who", "artist {}"),
    0x8298: ("who", "copyright {}"),
    0xA430: ("who", "camera owner {}"),
    0x9C9D: ("who", "author {}"),
    0x013C: ("device", "computer {}"),
    0xA431: ("device", "camera serial {}"),
    0xC62F: ("device", "camera serial {}"),
    0xA434: ("device", "lens {}"),
    0xA435: ("device", "lens serial {}"),
    0xA420: ("device", "unique number of the picture {}"),
    0xC614: ("device", "camera {}"),
    0x0131: ("edits", "software {}"),
    0x000B: ("edits", "software {}"),
    0x010E: ("text", "description {}"),
    0x010D: ("text", "document name {}"),
    0x9C9B: ("text", "title {}"),
    0x9C9C: ("text", "comment {}"),
    0x9C9E: ("text", "keywords {}"),
    0x9C9F: ("text", "subject {}"),
    _USER_COMMENT: ("text", "comment {}"),
}
"""Tags that matter to people: their group, and how they are said."""
_GPS_PLAIN: Final = {
    0x001C: ("where", "area {}"),
    0x001D: ("when", "day by satellite {}"),
    0x001B: ("where", "position by {}"),
}
_INSIDE: Final = {_GPS: "gps", _MAKER_NOTE: "maker_note", 0x83BB: "iptc", 0x02BC: "xmp"}
"""Tags that hold something that has a name of its own in a disclosure."""
_PIXELS: Final = {0x0111, 0x0144}
"""Where strips or tiles stand: a block with either is a TIFF file."""
_NOT_SENSITIVE: Final = frozenset({0x0131, 0x000B, 0xA434, 0x001B})


def findings_untrusted(data: Buffer, prefix: str = "Exif") -> Iterator[Finding]:
    """Yield what an Exif block or a TIFF file tells; nothing for one that makes no sense."""
    tiff = open_tiff(block_of(data))
    if tiff is None:
        return
    for number, directory in enumerate(tiff.chain()):
        if number >= _MAX_PAGES:
            return
        place = prefix if number == 0 else f"{prefix} IFD{number}"
        yield from _camera(directory, place)
        yield from _directory(directory, place, ExifTags.TAGS, _PLAIN)
        below = tiff.below(directory, _EXIF)
        yield from _directory(below, place, ExifTags.TAGS, _PLAIN)
        yield from _maker_note(below, place)
        gps = tiff.below(directory, _GPS)
        yield from _position(gps, place)
        yield from _directory(gps, place, ExifTags.GPSTAGS, _GPS_PLAIN)
        yield from _interoperability(tiff, below, place)
    if preview := preview_untrusted(data):
        words = f"a small copy of the picture, {amount(len(preview))}"
        yield Finding(group="hidden", tag=f"{prefix} IFD1", value=words, sensitive=True)


def groups_inside_untrusted(data: Buffer) -> set[str]:
    """Return what stands inside a block: `gps`, `maker_note`, `thumbnail`, `xmp`, `iptc`."""
    tiff = open_tiff(block_of(data))
    if tiff is None:
        return set()
    directory, following = tiff.directory(tiff.first)
    tags = directory.keys() | tiff.below(directory, _EXIF).keys()
    found = {group for tag, group in _INSIDE.items() if tag in tags}
    # In a TIFF file the directories that follow are pages, and it has pixels of its own.
    if following and not _PIXELS & directory.keys():
        found.add("thumbnail")
    return found


def _camera(directory: Directory, place: str) -> Iterator[Finding]:
    """Yield make and model as one."""
    make, model = (_text(directory[tag]) if tag in directory else "" for tag in (_MAKE, _MODEL))
    words = model if model.lower().startswith(make.lower().split(" ")[0]) else f"{make} {model}"
    if words.strip():
        name = f"{place} {'Model' if model else 'Make'}"
        value = shown(f"camera {words.strip()}")
        yield Finding(group="device", tag=name, value=value, sensitive=True)


def _directory(
    directory: Directory, place: str, names: dict[int, str], plain: dict[int, tuple[str, str]]
) -> Iterator[Finding]:
    """Yield the tags of a directory as they are, and those that matter in words."""
    for tag, entry in directory.items():
        name = f"{place} {names.get(tag, f'0x{tag:04x}')}"
        value = _text(entry)
        group, words = plain.get(tag, ("", ""))
        if words and value:
            yield Finding(
                group=group,
                tag=name,
                value=shown(words.format(value)),
                sensitive=tag not in _NOT_SENSITIVE,
            )
        by_gps = names is ExifTags.GPSTAGS
        yield Finding(
            group=group or ("where" if by_gps else "other"),
            tag=name,
            value=value,
            sensitive=by_gps or (bool(group) and tag not in _NOT_SENSITIVE),
            plain=False,
        )


def _maker_note(directory: Directory, place: str) -> Iterator[Finding]:
    if _MAKER_NOTE in directory:
        words = f"the camera maker's own record, {amount(directory[_MAKER_NOTE].count)}"
        yield Finding(group="device", tag=f"{place} MakerNote", value=words, sensitive=True)


def _interoperability(tiff: Tiff, below: Directory, place: str) -> Iterator[Finding]:
    yield from _directory(tiff.below(below, _INTEROPERABILITY), f"{place} Interop", {}, {})


def _position(gps: Directory, place: str) -> Iterator[Finding]:
    latitude = _degrees(gps, 2, 1, "NS")
    longitude = _degrees(gps, 4, 3, "EW")
    if latitude and longitude:
        words = f"position {latitude} {longitude}"
        if 6 in gps and (height := gps[6].numbers(1)):
            below = 5 in gps and gps[5].number() == 1
            words += f", {'-' if below else ''}{height[0]:.0f} m"
        yield Finding(group="where", tag=f"{place} GPSLatitude", value=words, sensitive=True)


def _degrees(gps: Directory, tag: int, side: int, letters: str) -> str:
    """Return degrees with a letter, to about ten metres; `` where there are none."""
    parts = gps[tag].numbers(3) if tag in gps else ()
    if not parts:
        return ""
    degrees = sum(float(part) / 60**power for power, part in enumerate(parts))
    said = bytes(gps[side].raw[:1]).decode("latin-1").upper() if side in gps else ""
    letter = said if said and said in letters else letters[0]
    return f"{degrees:.4f} {letter}" if 0 <= degrees <= 180 else ""


def _text(entry: Entry) -> str:
    """Return a tag's value for people."""
    if entry.tag in _XP_TAGS:
        return shown(bytes(entry.raw[:4_096]).decode("utf-16-le", "replace"))
    if entry.type == ASCII:
        return shown(bytes(entry.raw[:4_096]).rstrip(b"\0"))
    if entry.tag == _USER_COMMENT:
        return _comment(bytes(entry.raw[:4_096]))
    if entry.type in (BYTE, UNDEFINED) and entry.count > _MAX_NUMBERS:
        return amount(len(entry.raw))
    if entry.type == UNDEFINED:
        text = bytes(entry.raw).rstrip(b"\0")
        return shown(text) if text.isascii() and text.decode().isprintable() else text.hex()
    numbers = [f"{number:g}" for number in entry.numbers(_MAX_NUMBERS)]
    return " ".join(numbers) + (" …" if entry.count > _MAX_NUMBERS else "")


def _comment(raw: bytes) -> str:
    charset, text = raw[:_CHARSET_BYTES], raw[_CHARSET_BYTES:]
    if charset.startswith(b"UNICODE"):
        even = text[: len(text) // 2 * 2]
        big = even[:1] == b"\0" and even[1:2] != b"\0"
        return shown(even.decode("utf-16-be" if big else "utf-16-le", "replace"))
    return shown(text.strip(b"\0 "))
