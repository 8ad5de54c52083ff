"""Questions about the past that people have: who could open what, who may hold what, who did what.

Belongs here: the three questions, and their answers as the control API gives them.
Never here: how a moment is read back (``then``), entries in words (``log_reading``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from node.services.context import Context
from node.services.granted import Granted
from node.services.library import Library
from node.services.log_reading import LogReading
from node.services.membership import Membership
from node.services.moments import parse_moment, rfc3339
from node.services.then import Then
from node.vault.records import Connection, history, library
from node.vault.records import grants as rows
from node.vault.records import team as team_rows
from node.vault.records.grants import GrantRow
from node.vault.records.history import Releases
from protocol.capability.terms import Terms, parse_terms_untrusted
from protocol.identity import format_fingerprint
from protocol.policy import GUEST, usable_rights

_MOST_ENTRIES: Final = 1_000_000


class Questions:
    """Answers from the own log and the records that stand beside it."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        library_service: Library,
        granted: Granted,
        log_reading: LogReading,
    ) -> None:
        self._context = context
        self._membership = membership
        self._library = library_service
        self._granted = granted
        self._log_reading = log_reading

    # Who could open what --------------------------------------------------------------------------

    async def who_could(self, *, at: str, image: str | None) -> dict[str, Any]:
        """Return who could have opened which picture at a moment, and for one picture why not.

        A moment in the future is answered as if nothing changed until then.
        """
        now = self._context.clock.now()
        moment = parse_moment(at, now=now)
        wanted = None if image is None else (await self._library.resolve_image(image)).image_id

        def query(db: Connection) -> dict[str, Any]:
            then = Then(db, moment, me=self._context.me)
            could, could_not, nobody = [], [], 0
            for grant in then.grants():
                nobody += not self._membership.is_known(grant.holder)
                terms = parse_terms_untrusted(grant.terms)
                for row in rows.grant_images(db, grant.capability_id):
                    if wanted is not None and row.image_id != wanted:
                        continue
                    state = then.state(grant, terms, row)
                    reason = then.decide(grant, terms, row, state)
                    about = {
                        **self._holder(then, grant),
                        **self._picture(db, row.image_id),
                        "capability": grant.capability_id.hex(),
                    }
                    if reason is not None:
                        could_not.append({**about, "reason": reason.value})
                        continue
                    could.append({**about, **self._extent(then, grant, terms, state.opens_left)})
            return {
                "at": rfc3339(moment),
                "roster_version": None if then.roster is None else then.roster.version,
                "could": could,
                "could_not": [] if wanted is None else could_not,
                "notes": _notes(then, now, nobody),
            }

        return await self._context.database.read(query)

    def _holder(self, then: Then, grant: GrantRow) -> dict[str, Any]:
        return {
            "holder": self._name(grant),
            "fingerprint": format_fingerprint(grant.holder),
            "role": then.role_of(grant.holder),
        }

    def _name(self, grant: GrantRow) -> str:
        known = self._membership.is_known(grant.holder)
        return self._membership.name_of(grant.holder) if known else "erased"

    def _picture(self, db: Connection, image_id: bytes) -> dict[str, Any]:
        row = library.image(db, image_id)
        return {"image": image_id.hex(), "name": None if row is None else row.name}

    def _extent(self, then: Then, grant: GrantRow, terms: Terms, left: int) -> dict[str, Any]:
        role = then.role_of(grant.holder) or GUEST
        return {
            "rendition": terms.rendition,
            "watermark": terms.watermark,
            "rights": list(usable_rights(terms.rights, role)),
            "opens_left": left,
            "expires_at": rfc3339(then.expires_at(grant)),
            "factor": terms.factor_salt is not None,
        }

    # Who may hold a copy --------------------------------------------------------------------------

    async def holders(self, *, image: str) -> dict[str, Any]:
        """Return who may hold a copy of an own picture, in what form, and how that is known."""
        picture = await self._library.resolve_image(image)
        now = self._context.clock.now()

        def query(db: Connection) -> dict[str, Any]:
            holders, untouched = [], []
            for grant in rows.holders_of(db, picture.image_id):
                released = history.releases_of(db, grant.capability_id, picture.image_id)
                terms = parse_terms_untrusted(grant.terms)
                about = {
                    "holder": self._name(grant),
                    "fingerprint": format_fingerprint(grant.holder),
                    "member": self._membership.member(grant.holder) is not None,
                    "capability": grant.capability_id.hex(),
                    "over": grant.ended_at is not None or grant.expires_at <= now,
                    "rendition": terms.rendition,
                    "watermark": terms.watermark,
                }
                if released is None:
                    untouched.append(about)
                else:
                    holders.append({**about, **_form(terms, released)})
            return {
                "image": picture.image_id.hex(),
                "name": picture.name,
                "holders": holders,
                "granted_not_opened": untouched,
                "exported": self._exports(db, picture.image_id),
                "came_from": self._origin(db, picture.image_id),
            }

        return await self._context.database.read(query)

    def _exports(self, db: Connection, image_id: bytes) -> list[dict[str, Any]]:
        """Return the files that this node wrote of a picture."""
        return [
            {
                "at": rfc3339(told.time),
                "rendition": told.values.get("rendition", b"erased").decode(),
                "sha256": told.values.get("sha256", b"").decode() or None,
            }
            for told in history.about(db, "image", image_id, ("exported",))
        ]

    def _origin(self, db: Connection, image_id: bytes) -> dict[str, Any] | None:
        """Return under whose capability a picture was saved, None for one that was imported."""
        provenance = history.provenance(db, image_id)
        if provenance is None:
            return None
        came = msgspec.msgpack.decode(provenance)
        return {
            "issuer": self._membership.name_of(came["issuer"]),
            "capability": came["capability"].hex(),
            "rendition": came["rendition"],
        }

    # What the log says about a person -------------------------------------------------------------

    async def subject(self, *, who: str) -> dict[str, Any]:
        """Return everything that this node's log says about a person, and what it keeps besides."""
        person = self._membership.resolve(who, former=True)
        fingerprint = person.fingerprint
        found = await self._log_reading.entries(
            who=format_fingerprint(fingerprint), image=None, since=None, limit=_MOST_ENTRIES
        )
        entries = found["entries"]
        last_seen = await self._context.database.read(team_rows.last_seen)
        places = await self._context.database.read(team_rows.addresses)
        return {
            "person": {
                "name": person.name,
                "fingerprint": format_fingerprint(fingerprint),
                "member": self._membership.member(fingerprint) is not None,
                "role": self._membership.role_of(fingerprint),
            },
            "at": rfc3339(self._context.clock.now()),
            "counts": _counts(entries),
            "entries": entries,
            "capabilities": await self._granted.shares(
                album=None, to=format_fingerprint(fingerprint), state=None
            ),
            "last_seen": rfc3339(last_seen.get(fingerprint)),
            "addresses": [f"{host} port {port}" for host, port in places.get(fingerprint, [])],
        }


def _form(terms: Terms, released: Releases) -> dict[str, Any]:
    """Return the most that a holder has of a picture, and whether they signed for it."""
    if released.saved:
        form, evidence, last = "saved", "receipt", released.last_saved
    elif released.opened:
        form, evidence, last = "opened", "receipt", released.last_opened
    else:
        form, evidence, last = "released", "release", released.last
    return {
        "form": form,
        "evidence": evidence,
        "last": rfc3339(last),
        "first": rfc3339(released.first),
        "releases": released.released,
        "receipts": released.opened,
        "saves": released.saved,
        "may_save": "save" in terms.rights,
    }


def _counts(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each event with how often, first and last, in the order of the first."""
    counts: dict[str, dict[str, Any]] = {}
    for entry in entries:
        one = counts.setdefault(
            entry["event"], {"event": entry["event"], "count": 0, "first": entry["time"]}
        )
        one["count"] += 1
        one["last"] = entry["time"]
    return list(counts.values())


def _notes(then: Then, now: int, nobody: int) -> list[str]:
    """Return what the answer rests on, where it is not the whole truth.

    ``nobody`` is the number of capabilities whose holder was erased.
    """
    notes = []
    if nobody:
        notes.append(
            f"the holders of {nobody} capabilities are erased: whether they could open something "
            "then is not known any more"
        )
    if then.moment > now:
        notes.append("that moment is to come: this is so if nothing changes until then")
    if then.roster is None:
        notes.append("this node was in no team then")
    if then.rivalled:
        notes.append(
            "two histories of the team were known then: nothing was released to whoever was not "
            "the same in both"
        )
    if then.erased:
        notes.append(
            f"{then.erased} later changes are erased: what they changed is taken as it is now"
        )
    return notes
