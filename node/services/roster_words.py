"""Changes of the roster in words for people, and as entries of the log.

Belongs here: one sentence for each kind of change, and the entry that keeps its old and
new value.
Never here: deciding about a change (``membership``), or what differs (``protocol.roster``).
"""

from __future__ import annotations

from node.services.entries import draft
from node.services.moments import readable
from node.vault.database import LogDraft
from protocol.identity import Identity
from protocol.roster.changes import Change, describe_changes
from protocol.roster.metadata import parse_signed_roster_untrusted, signed_by_untrusted
from protocol.roster.trusted import TrustedRoster


def sentence(change: Change) -> str:
    """Return what a change does, in words for people."""
    name, before, after = change.name, change.before, change.after
    match change.kind:
        case "added":
            return f"{name} becomes a member, as {after}"
        case "removed":
            return f"{name}, {before}, is a member no more"
        case "role":
            return f"{name} becomes {after}, was {before}"
        case "certificate":
            return f"{before} gets a new certificate, as {after}"
        case "named":
            return f"the team is called {after}, was {before}"
        case "threshold":
            signing = "1 administrator signs" if after == "1" else f"{after} administrators sign"
            return f"{signing} each version, was {before}"
        case "joined":
            return "two histories of the team become one"
        case "renewed":
            return f"the roster lasts until {readable(int(after))}, was {readable(int(before))}"


_EVENTS = {"added": "member_added", "removed": "member_removed"}
"""Events of changes that have one of their own."""


def change_entries(
    before: TrustedRoster | None, after: TrustedRoster, *, about: bytes
) -> list[LogDraft]:
    """Return the entries of a newer roster: one for the version, one for each change."""
    signers = _signers(before or after, after)
    facts = {
        "version": str(after.version),
        "team": after.roster.team_name,
        "signed_by": ", ".join(one.name for one in signers),
    }
    if before is not None:
        facts["old"] = f"version {before.version}"
    # Several who sign do it together; then no single one is named.
    actor = signers[0].fingerprint if len(signers) == 1 else None
    entries = [draft("roster_changed", actor=actor, about=about, facts=facts)]
    for change in describe_changes(None if before is None else before.roster, after.roster):
        values = {
            "old": _value(change.kind, change.before),
            "new": _value(change.kind, change.after),
        }
        entries.append(
            draft(
                _EVENTS.get(change.kind, "roster_changed"),
                actor=actor,
                about=about,
                references={"member": change.fingerprint} if change.fingerprint else {},
                facts={
                    "change": change.kind,
                    **({"name": change.name} if change.name else {}),
                    **{field: value for field, value in values.items() if value},
                },
            )
        )
    return entries


def conflict_entry(ours: TrustedRoster, theirs: TrustedRoster, *, about: bytes) -> LogDraft:
    """Return the entry of another history of the team that this node has heard of."""
    return draft(
        "roster_changed",
        actor=None,
        about=about,
        facts={
            "conflict": f"version {theirs.version} {theirs.hash.hex()}",
            "old": f"version {ours.version} {ours.hash.hex()}",
            "since": f"version {ours.branch_point(theirs)}",
        },
    )


def _value(kind: str, value: str) -> str:
    return readable(int(value)) if kind == "renewed" else value


def _signers(before: TrustedRoster, after: TrustedRoster) -> list[Identity]:
    """Return the administrators who signed the newest version, by name."""
    people = {one.fingerprint: one for one in (*before.administrators, *after.administrators)}
    envelope = parse_signed_roster_untrusted(after.signed_versions[-1])
    under = after.team_id if after.version > 1 else bytes(32)
    valid = signed_by_untrusted(envelope, people.values(), team_id=under)
    return sorted((people[one] for one in valid), key=lambda one: one.name)
