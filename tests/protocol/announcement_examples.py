"""Known answers of announcements, and the example of their specification.

``python -m tests.protocol.announcement_examples`` writes them anew, after an intended change.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from protocol.announcement import Announcement, announcement_tag, announcement_values
from tests.protocol.people import person
from tests.protocol.spec_examples import rewrite, table
from tests.support import ROOT

PATH: Final = ROOT / "tests" / "vectors" / "announcement.json"

KEY: Final = person("Alice").public.agreement_key
NONCE: Final = bytes(range(16))
PORT: Final = 7411
TAG: Final = announcement_tag(KEY, nonce=NONCE, port=PORT)
GOOD: Final = announcement_values(Announcement(nonce=NONCE, tag=TAG, invitation=7))


@functools.cache
def make() -> dict[str, Any]:
    """Return the vectors; a value of null is a key that has none."""
    refused: dict[str, tuple[str, dict[str, str | None]]] = {
        "nothing": ("unsupported", {}),
        "another version": ("unsupported", {**GOOD, "v": "2"}),
        "no tag": ("encoding", {key: GOOD[key] for key in ("v", "n")}),
        "a tag without value": ("encoding", {**GOOD, "t": None}),
        "a tag in capitals": ("encoding", {**GOOD, "t": TAG.hex().upper()}),
        "a nonce of 15 bytes": ("encoding", {**GOOD, "n": NONCE[1:].hex()}),
        "a name beside it": ("encoding", {**GOOD, "name": "Alice"}),
        "invitation 0": ("encoding", {**GOOD, "inv": "0"}),
        "an invitation with a zero before it": ("encoding", {**GOOD, "inv": "07"}),
        "an invitation of five digits": ("encoding", {**GOOD, "inv": "10000"}),
    }
    return {
        "format": "docs/spec/announcement.md",
        "recipe": "tests/protocol/announcement_examples.py",
        "agreement_key": KEY.hex(),
        "port": PORT,
        "nonce": NONCE.hex(),
        "tag": TAG.hex(),
        "without_invitation": announcement_values(Announcement(nonce=NONCE, tag=TAG)),
        "with_invitation_7": GOOD,
        "refused": [
            {"name": name, "expect": expect, "values": values}
            for name, (expect, values) in refused.items()
        ],
    }


def examples() -> dict[str, str]:
    """Return the example of docs/spec/announcement.md."""
    return {
        "announcement": table(
            {
                "agreement key": KEY,
                "nonce": NONCE,
                "port": str(PORT),
                "tag": TAG,
                "instance": "5f0c1b7e._safelight._tcp.local.",
                "TXT": f"v={GOOD['v']}",
                "": f"n={GOOD['n']}",
                " ": f"t={GOOD['t']}",
                "  ": f"inv={GOOD['inv']}",
            }
        )
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=2) + "\n")
    rewrite("announcement.md", examples())
