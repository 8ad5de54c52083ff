"""Two logs side by side: opens that one side has and the other lacks.

Belongs here: what the own log says was served and taken, per peer, and the comparison with a
peer's exported log.
Never here: the matching itself (``protocol.audit.reconcile``), or asking peers.

The own log knows both sides of what it served only as far as receipts came back. A peer's
evidence pack has its whole log, whose entries of opens carry the same nonce as the issuer's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from node.errors import NodeError
from node.services.context import Context
from node.services.given_evidence import mapped
from node.services.library import Progress
from node.services.membership import Membership
from node.services.moments import rfc3339
from node.vault import log_store
from node.vault.checks.problem import read_index
from node.vault.log_store import StoredEntry
from node.vault.records import Connection, library
from protocol.audit.checkpoint import origin_of
from protocol.audit.entry import Entry, decode_entry_untrusted, encode_entry
from protocol.audit.pack import (
    PackReport,
    ToldEntry,
    read_entries_untrusted,
    verify_pack_untrusted,
)
from protocol.audit.reconcile import check_receipts, match_opens
from protocol.audit.tree import leaf_hash
from protocol.identity import Identity, format_fingerprint

_LABEL = "comparing the logs"


class Reconciling:
    """Names opens that one side has and the other lacks."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership

    async def reconcile(
        self, *, who: str | None, pack: str | None, progress: Progress
    ) -> dict[str, Any]:
        """Return ``peers`` with what does not match, and ``contradicted`` where two logs differ.

        Without a pack, ``without_receipt`` are releases of which no receipt has come: the peer
        may be offline. With a peer's pack, ``not_in_theirs`` are releases that its log does not
        have, and ``not_in_mine`` opens of it that this log does not have.
        """
        person = None if who is None else self._membership.resolve(who, former=True)
        vault = self._context.vault
        progress(0, None, _LABEL)

        def work() -> dict[str, Any]:
            peers = read_index(
                vault.home,
                vault.keys,
                lambda db: self._own(db, None if person is None else person.fingerprint),
            )
            return {"peers": peers, "contradicted": False}

        if pack is None:
            return await asyncio.to_thread(work)
        return await asyncio.to_thread(self._with_pack, Path(pack), person)

    # From the own log alone -----------------------------------------------------------------------

    def _own(self, db: Connection, wanted: bytes | None) -> list[dict[str, Any]]:
        waiting: dict[tuple[int, int], tuple[bytes | None, dict[str, Any]]] = {}
        counts: dict[bytes | None, list[int]] = {}
        for stored in _of_events(db, "released", "opened"):
            values = log_store.values(db, stored.index, stored.incarnation)
            holder = values["holder"].value if "holder" in values else None
            if stored.event == "released":
                if holder is not None or wanted is None:
                    counts.setdefault(holder, [0, 0])[0] += 1
                    waiting[stored.incarnation, stored.index] = (holder, self._told(db, stored))
            elif holder is not None and "release" in values:
                # A receipt is of the log's own incarnation or an earlier one; its own entry was
                # verified against the release before it was logged.
                index = int(values["release"].value)
                for incarnation in range(stored.incarnation, -1, -1):
                    found = waiting.get((incarnation, index))
                    if found is not None and found[0] == holder:
                        counts[holder][1] += 1
                        del waiting[incarnation, index]
                        break
        return [
            {
                **self._who(holder),
                "released": released,
                "opened": opened,
                "without_receipt": [told for one, told in waiting.values() if one == holder],
            }
            for holder, (released, opened) in counts.items()
            if wanted is None or holder == wanted
        ]

    # With a peer's log ----------------------------------------------------------------------------

    def _with_pack(self, path: Path, person: Identity | None) -> dict[str, Any]:
        with mapped(path) as data:
            report = verify_pack_untrusted(data)
            peer = self._peer_of(report, person)
            vault = self._context.vault
            found = read_index(
                vault.home, vault.keys, lambda db: self._compare(db, peer, data, report.created)
            )
        contradicted = bool(found["not_in_theirs"] or found["not_in_mine"])
        return {"peers": [found], "contradicted": contradicted}

    def _compare(
        self, db: Connection, peer: Identity, pack: memoryview, created: int
    ) -> dict[str, Any]:
        """Match what was served either way; entries after the pack was made are left out."""
        mine: list[Entry] = []
        stored: dict[str, StoredEntry] = {}
        received: dict[tuple[bytes, int], tuple[bytes, str]] = {}
        """What receipts of this node named, by origin and index: leaf hash, and the own nonce."""
        later = 0
        for one in _of_events(db, *_OPENS):
            values = log_store.values(db, one.index, one.incarnation)
            party = values.get("holder" if one.event == "released" else "issuer")
            if party is None or party.value != peer.fingerprint:
                continue
            if one.time > created:
                later += 1
                continue
            entry = decode_entry_untrusted(one.entry)
            stored[entry.nonce] = one
            mine.append(entry)
            if one.event == "opened" and {"origin", "index", "leaf"} <= values.keys():
                place = (values["origin"].value, int(values["index"].value))
                received[place] = (bytes.fromhex(values["leaf"].value.decode()), entry.nonce)
        origins = {origin_of(self._context.me, one).encode() for one in log_store.incarnations(db)}
        theirs: list[ToldEntry] = []
        leaves: dict[tuple[bytes, int], bytes] = {}
        for each in read_entries_untrusted(pack):
            place = (origin_of(peer.fingerprint, each.incarnation).encode(), each.entry.seq)
            if place in received:
                leaves[place] = leaf_hash(encode_entry(each.entry))
            if each.entry.event in _OPENS:
                theirs.append(each)
        told = {one.entry.nonce: one for one in theirs}
        served = match_opens(mine, (one.entry for one in theirs))
        taken = match_opens((one.entry for one in theirs), mine)
        # Of what this log lacks, only what the peer says was between the two of us.
        strange = [
            *(one for one in served.opened_only if told[one.nonce].values.get("origin") in origins),
            *(one for one in taken.released_only
              if told[one.nonce].values.get("holder") == self._context.me),
        ]  # fmt: skip
        missing = [one.nonce for one in (*served.released_only, *taken.opened_only)]
        # One that was rewritten under its nonce is not the one that this node verified.
        for place, (leaf, nonce) in received.items():
            found = check_receipts([(place[1], leaf)], {place[1]: leaves.get(place)}.__getitem__)
            if found and nonce not in missing:
                missing.append(nonce)
        return {
            **self._who(peer.fingerprint),
            "released": sum(one.event == "released" for one in mine),
            "opened": sum(one.event == "opened" for one in mine),
            "matched": len(served.matched) + len(taken.matched),
            "later": later,
            "not_in_theirs": [self._told(db, stored[nonce]) for nonce in missing],
            "not_in_mine": [
                {
                    "incarnation": told[one.nonce].incarnation,
                    "index": one.seq,
                    "time": rfc3339(one.time),
                    "event": one.event,
                    "image": told[one.nonce].values.get("image", b"").hex() or None,
                    "name": None,
                }
                for one in strange
            ],
        }

    def _peer_of(self, report: PackReport, person: Identity | None) -> Identity:
        if not report.ok or report.exporter is None:
            raise NodeError(
                "that pack does not verify, so it says nothing about its log",
                code="unverified",
                hint="safelight audit verify FILE says what is wrong",
            )
        if person is not None and report.exporter.fingerprint != person.fingerprint:
            raise NodeError(
                f"that pack is of {report.exporter.name}, not of {person.name}", code="unverified"
            )
        return report.exporter

    # Words ----------------------------------------------------------------------------------------

    def _who(self, fingerprint: bytes | None) -> dict[str, Any]:
        if fingerprint is None:
            return {"name": None, "fingerprint": None}
        return {
            "name": self._membership.name_of(fingerprint),
            "fingerprint": format_fingerprint(fingerprint),
        }

    def _told(self, db: Connection, stored: StoredEntry) -> dict[str, Any]:
        values = log_store.values(db, stored.index, stored.incarnation)
        image = values["image"].value if "image" in values else None
        row = None if image is None else library.image(db, image)
        return {
            "incarnation": stored.incarnation,
            "index": stored.index,
            "time": rfc3339(stored.time),
            "event": stored.event,
            "image": None if image is None else image.hex(),
            "name": None if row is None else row.name,
        }


_OPENS: Final = ("released", "opened")


def _of_events(db: Connection, *events: str) -> Iterator[StoredEntry]:
    """Yield the entries of some events, in the order of the log."""
    for incarnation in log_store.incarnations(db):
        for entry in log_store.walk(db, incarnation):
            if entry.event in events:
                yield entry
