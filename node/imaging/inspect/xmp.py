"""XMP packets: the properties that stand in one, whether it is well-formed or not.

Belongs here: a tolerant, linear reading of RDF/XML. No entity is ever expanded but the five of XML.
Never here: what a property means.

A parser of XML would refuse the cut and damaged packets that real files carry, and knows more of
XML than is safe to offer a stranger.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from node.imaging.strip.parts import Buffer

MAX_PACKET_BYTES: Final = 4 << 20
_MAX_PROPERTIES: Final = 2_000
_MAX_DEPTH: Final = 64
_MAX_VALUE: Final = 1_024

# Neither a tag nor a quoted value reaches over the next `<`: every byte is looked at once.
_TAG: Final = re.compile(
    r"<(/?)([A-Za-z_][\w.:-]{0,127})((?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+)>([^<]*)"
)
_ATTRIBUTE: Final = re.compile(r"([A-Za-z_][\w.:-]{0,127})\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
_SYNTAX: Final = ("rdf:", "xmlns", "x:", "xml:")
"""Names that say how the packet is built."""


def properties_untrusted(packet: Buffer) -> Iterator[tuple[str, str]]:
    """Yield the properties of a packet, (name, value), at most 2,000 of them, in their order.

    The name has its prefix as the file writes it. Values of a list come one by one.
    """
    text = _decoded(bytes(packet[:MAX_PACKET_BYTES]))
    found = 0
    open_names: list[str] = []
    for tag in _TAG.finditer(text):
        closing, name, attributes, content = tag.groups()
        if closing:
            if open_names:
                open_names.pop()
            continue
        for match in _ATTRIBUTE.finditer(attributes):
            attribute = match[1]
            value = match[2] or match[3] or ""
            if value.strip() and not attribute.startswith(_SYNTAX):
                yield attribute, _unescaped(value)
                found += 1
        if not attributes.endswith("/"):
            if len(open_names) < _MAX_DEPTH:
                open_names.append(name)
            if content.strip():
                owner = next((one for one in reversed(open_names) if not _is_syntax(one)), name)
                yield owner, _unescaped(content)
                found += 1
        if found >= _MAX_PROPERTIES:
            return


def _is_syntax(name: str) -> bool:
    return name.startswith(_SYNTAX)


def _unescaped(value: str) -> str:
    return html.unescape(value[:_MAX_VALUE]).strip()


def _decoded(packet: bytes) -> str:
    """Return the text of a packet; XMP may be in UTF-8, -16 or -32."""
    encoding = "utf-8"
    if packet[:1] == b"\0" or packet[:2] == b"\xfe\xff":
        encoding = "utf-16-be"
    elif packet[1:2] == b"\0" or packet[:2] == b"\xff\xfe":
        encoding = "utf-16-le"
    # What is left of UTF-32 are its zeros.
    return packet.decode(encoding, "replace").replace("\0", "")
