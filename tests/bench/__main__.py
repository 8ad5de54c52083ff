"""`make bench`: every benchmark, or those named; results as a table and as JSON.

Belongs here: running the benchmarks one after another, alone on the machine.
Never here: a benchmark. Each is a module with a function ``run`` that returns rows of
``what``, ``value``, ``unit`` and, where there is one, ``peer`` and ``ratio``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCHMARKS = (
    "sealing",
    "imaging",
    "stripping",
    "importing",
    "transport",
    "fetching",
    "relay",
    "opening",
    "recovery",
    "sharing",
    "log",
    "command",
    "tui",
)


def main() -> None:
    """Run benchmarks and print what they measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    rows: list[dict[str, Any]] = []
    for name in options.names or BENCHMARKS:
        run: Callable[[], list[dict[str, Any]]] = importlib.import_module(
            f"tests.bench.bench_{name}"
        ).run
        for row in run():
            rows.append({"benchmark": name, **row})
            sys.stdout.write(_line(rows[-1]) + "\n")
            sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def _line(row: dict[str, Any]) -> str:
    facts = dict(row)
    text = f"{facts.pop('benchmark'):<10} {facts.pop('what'):<52}"
    value = facts.pop("value", None)
    if value is not None:
        text += f" {value:>12,.4g} {facts.pop('unit', '')}"
    if "ratio" in facts:
        text += f"  {facts.pop('ratio'):.2f} x {facts.pop('peer', 'its peer')}"
    return text + "".join(f"  {name}: {shown}" for name, shown in facts.items())


if __name__ == "__main__":
    main()
