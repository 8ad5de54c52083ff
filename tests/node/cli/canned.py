"""Answers of a node as commands get them: one example of each kind.

Belongs here: documents as the control API gives them.
Never here: a node that gives them (``support``), or what a command makes of them (the tests).
"""

from __future__ import annotations

from typing import Any

ID = "3f9a12c4d5e6f708192a3b4c5d6e7f80"
FINGERPRINT = "-".join(["abcd"] * 13)
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
IMAGE: dict[str, Any] = {
    "id": ID,
    "name": "harbour.jpg",
    "format": "jpeg",
    "width": 4000,
    "height": 3000,
    "bytes": 2_500_000,
    "sha256": "00" * 32,
    "classification": "internal",
    "imported_at": "2030-01-31T18:00:00.000Z",
    "tags": ["press"],
    "albums": ["launch"],
}
NEW: dict[str, Any] = {
    "album": None,
    "duplicate": False,
    "similar": [],
    "path": "/p/harbour.jpg",
    "moved": False,
    "stays": "",
}
"""What an import says besides of a picture that was not there."""
GRANTED: dict[str, Any] = {
    "id": ID,
    "holder": "bob",
    "images": 2,
    "rights": ["view"],
    "rendition": "preview:2048",
    "expires_at": "2090-01-31T18:00:00.000Z",
    "opens_left": 10,
    "sentence": "bob may view 2 pictures until 2090-01-31, 10 times each.",
}
SHARE: dict[str, Any] = {
    **GRANTED,
    "state": "live",
    "opens": 1,
    "delivered": True,
    "last_open": None,
    "problems": [
        {"id": "aa" * 16, "name": "harbour.png", "code": "unsupported", "message": "it cannot be"}
    ],
}
HELD: dict[str, Any] = {
    "id": ID,
    "issuer": "alice",
    "images": [
        {"id": "aa" * 16, "name": "harbour.jpg", "ready": True},
        {"id": "bb" * 16, "name": "pier.jpg", "ready": False},
    ],
    "rights": ["view"],
    "state": "live",
    "expires_at": "2090-01-31T18:00:00.000Z",
    "opens_left": 10,
    "usage_terms": "for the press",
    "sentence": "you may view 2 pictures of alice until 2090-01-31.",
}
FORETOLD: dict[str, Any] = {
    "id": ID,
    "name": "harbour.jpg",
    "format": "jpeg",
    "width": 2048,
    "height": 1536,
    "bytes": None,
    "found": ["position 48.8500 N 2.3500 E"],
    "removed": ["exif", "gps"],
    "kept": ["icc"],
    "problem": None,
}
OPENED: dict[str, Any] = {
    "image": ID,
    "name": "harbour.jpg",
    "open_id": "cc" * 16,
    "width": 2048,
    "height": 1536,
    "format": "jpeg",
    "sha256": "00" * 32,
    "bytes": 300_000,
    "opens_left": 1,
    "log": {"origin": "safelight/abc/0", "index": 7, "size": 8},
}
FILES: dict[str, Any] = {
    "files": [{"path": "/out/harbour.jpg", "sha256": "00" * 32, "bytes": 2_500_000}]
}
TEAM: dict[str, Any] = {
    "team": "The Desk",
    "version": 2,
    "members": [
        {
            "name": "alice",
            "fingerprint": FINGERPRINT,
            "role": "admin",
            "online": True,
            "last_seen": None,
        }
    ],
}
ENTRY: dict[str, Any] = {
    "index": 7,
    "incarnation": 0,
    "time": "2030-01-31T18:00:00.000Z",
    "event": "released",
    "actor": "bob",
    "subject": "harbour.jpg",
    "detail": {"opens": "1"},
}
LOG: dict[str, Any] = {"entries": [ENTRY]}
VERIFIED: dict[str, Any] = {
    "ok": True,
    "origin": "safelight/abc/0",
    "size": 8,
    "root": "00" * 32,
    "cosigned_by": [],
    "unwitnessed": 8,
    "problems": [],
}
PROOF: dict[str, Any] = {
    "index": 7, "incarnation": 1, "origin": "safelight/abc/1", "size": 8, "cosignatures": 0,
    "proof": "c2sp.org/tlog-proof@v1\n", "entry": "e30=",
}  # fmt: skip
