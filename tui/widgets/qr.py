"""A QR code as lines of text: two modules in each cell.

Belongs here: making one. Never here: what it says.
"""

from __future__ import annotations


def qr_lines(text: str) -> list[str]:
    """Return a QR code of a text with its quiet zone, dark on light where blocks are light."""
    import segno

    code = segno.make(text, error="m", micro=False)
    rows = [[bool(cell) for cell in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    # Light modules are drawn, so that a dark terminal shows dark modules as readers expect them.
    return [
        "".join(_HALVES[above, below] for above, below in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]


_HALVES = {
    (False, False): "█",
    (False, True): "▀",
    (True, False): "▄",
    (True, True): " ",
}
