"""Examples in docs/spec, printed from the values that the code makes.

An example is a fenced block below ``<!-- example NAME -->``. A test compares each one
with what the code prints today; ``rewrite`` puts that in its place.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tests.support import ROOT

_BLOCK = re.compile(r"(<!-- example (\S+) -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def printed(document: str) -> dict[str, str]:
    """Return the examples that stand in a document, by name."""
    text = (ROOT / "docs" / "spec" / document).read_text()
    return {block[2]: block[3] for block in _BLOCK.finditer(text)}


def rewrite(document: str, examples: dict[str, str]) -> None:
    """Print examples into a document; KeyError for one that nothing makes."""
    path = ROOT / "docs" / "spec" / document
    path.write_text(
        _BLOCK.sub(lambda block: block[1] + examples[block[2]] + block[4], path.read_text())
    )


def table(rows: dict[str, bytes | str]) -> str:
    """Return names and values in two columns, bytes in hexadecimal, 32 of them a line."""
    width = max(map(len, rows)) + 2
    lines = []
    for name, value in rows.items():
        text = value if isinstance(value, str) else value.hex()
        pieces = [text[start : start + 64] for start in range(0, len(text), 64)] or [""]
        if isinstance(value, str):
            pieces = [value]
        lines.append(name.ljust(width) + pieces[0])
        lines += [" " * width + piece for piece in pieces[1:]]
    return "\n".join(lines) + "\n"


def fields(body: bytes) -> str:
    """Return a MessagePack map as one field a line, bytes as h'…', long ones cut."""
    return "".join(
        f"{name:<18}{_literal(value)}\n" for name, value in msgspec.msgpack.decode(body).items()
    )


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"h'{text}'" if len(text) <= 64 else f"h'{text[:56]}…' ({len(value)} bytes)"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_literal(item)}" for name, item in value.items()) + "}"
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'
