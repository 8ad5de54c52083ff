"""Makes docs/images/demo.svg: the real output of `safelight demo`, as a terminal shows it.

Belongs here: running the demonstration in a terminal, and drawing some of its acts.
Never here: text that the command did not print.

    python -m tests.make_demo_picture
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from typing import Final

from rich.console import Console
from rich.text import Text

from tests.support import ROOT

PICTURE: Final = ROOT / "docs" / "images" / "demo.svg"

_ACTS: Final = (4, 7)
"""First and last act of the picture: granting, opening, extending, revoking."""
_COLUMNS: Final = 104
_INDENT: Final = "   "
_FONTS: Final = 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'


def output_of_demo() -> str:
    """Run the demonstration in a terminal and return everything it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "node.cli.main", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={name: value for name, value in os.environ.items() if name != "NO_COLOR"},
    ) as process:
        os.close(theirs)
        written = bytearray()
        while piece := _read(ours):
            written += piece
    os.close(ours)
    text = written.decode().replace("\r\n", "\n")
    if process.returncode:
        raise SystemExit(f"the demonstration failed:\n{text}")
    return text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""  # Linux reports the end of a terminal as an error.


def draw(output: str) -> str:
    """Return the chosen acts of the demonstration as SVG without a font or link from elsewhere."""
    console = Console(
        record=True, file=StringIO(), width=_COLUMNS, force_terminal=True, color_system="truecolor"
    )
    for line in _chosen(output):
        text = Text.from_ansi(line)
        first, *rest = text.wrap(console, _COLUMNS - len(_INDENT)) or [text]
        console.print(first, *(Text(_INDENT) + part for part in rest), sep="\n")
    svg = console.export_svg(title="safelight demo")
    svg = re.sub(r"@font-face \{.*?\n    \}\n", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg)
    svg = svg.replace("Fira Code, monospace", _FONTS)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def _chosen(output: str) -> list[str]:
    """Return the lines of the chosen acts, colours included."""
    first, last = _ACTS
    act = 0
    chosen = []
    for line in output.splitlines():
        if heading := re.match(r"(?:\x1b\[1m)?(\d+)\. ", line):
            act = int(heading[1])
        if first <= act <= last:
            chosen.append(line)
    return chosen[:-1]  # the empty line above the next act


if __name__ == "__main__":
    PICTURE.write_text(draw(output_of_demo()), encoding="utf-8")
