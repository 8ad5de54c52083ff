"""What held at an earlier moment, read back from the log and the records.

Belongs here: roster, roles, limits, classifications and counts of a moment, and whether an open
would have been released then.
Never here: the rules of an open (``protocol.capability.opening``), or questions people ask
(``questions``).

The present is read from the records, and every change that the log has after the moment is taken
back. A moment in the future so is the present as it will be if nothing changes.
"""

from __future__ import annotations

from typing import Final

from node.services.entries import limits_of
from node.vault.records import Connection, history, library
from node.vault.records import grants as rows
from node.vault.records import team as team_rows
from node.vault.records.grants import GrantImageRow, GrantRow
from protocol.capability.opening import GrantState, check
from protocol.capability.terms import Terms
from protocol.errors import Reason
from protocol.policy import allows_open
from protocol.roster.trusted import TrustedRoster

_CHANGES: Final = ("amended", "classified")
"""Events that change what may be opened."""


class Then:
    """One moment, in the reader's transaction."""

    def __init__(self, db: Connection, moment: int, *, me: bytes) -> None:
        self._db = db
        self._me = me
        self.moment = moment
        """Unix milliseconds."""
        self.rivalled = False
        """Two histories of the team were known, and not yet joined."""
        self.erased = 0
        """Later changes that cannot be taken back, because what they changed is erased."""
        self.roster = self._roster()
        """The roster in use; None where there was no team."""
        self._limits: dict[bytes, tuple[int, int]] = {}
        self._classified: dict[bytes, str] = {}
        self._take_back()

    def _roster(self) -> TrustedRoster | None:
        for told in history.until(self._db, self.moment, ("roster_changed",)):
            if "conflict" in told.values:
                self.rivalled = True
            if version := told.values.get("version"):
                signed = team_rows.roster_versions(self._db)[: int(version)]
                return TrustedRoster.load_untrusted(signed)
        return None

    def _take_back(self) -> None:
        for told in history.later(self._db, self.moment, _CHANGES):
            subject = told.values.get("capability" if told.event == "amended" else "image")
            old = told.values.get("old", b"").decode()
            if subject is None or not old:
                self.erased += 1
            elif told.event == "classified":
                self._classified.setdefault(subject, old)
            elif (limits := limits_of(old)) is not None:
                self._limits.setdefault(subject, limits)

    # Who ------------------------------------------------------------------------------------------

    def role_of(self, fingerprint: bytes) -> str | None:
        """Return the role that somebody had, None where they were no member."""
        return None if self.roster is None else self.roster.role_of(fingerprint)

    def _is_member(self, holder: bytes) -> bool:
        return (
            self.roster is not None
            and {holder, self._me} <= self.roster.members.keys()
            and not self.roster.expired(self.moment)
        )

    # What -----------------------------------------------------------------------------------------

    def grants(self) -> list[GrantRow]:
        """Return the capabilities that had been issued, newest first."""
        return [one for one in rows.grants(self._db) if one.created_at <= self.moment]

    def expires_at(self, grant: GrantRow) -> int:
        """Return when a capability was to expire, Unix milliseconds."""
        limits = self._limits.get(grant.capability_id)
        return grant.expires_at if limits is None else limits[0]

    def state(self, grant: GrantRow, terms: Terms, image: GrantImageRow) -> GrantState:
        """Return how far a picture of a capability had been opened, and how far it could be."""
        limits = self._limits.get(grant.capability_id)
        used = history.opens_until(self._db, grant.capability_id, self.moment)
        return GrantState(
            revoked=grant.revoked_at is not None and grant.revoked_at <= self.moment,
            not_before=terms.not_before,
            # What has ended stays ended, as when an open is decided.
            expires_at=0
            if grant.ended_at is not None and grant.ended_at <= self.moment
            else self.expires_at(grant),
            max_opens=terms.max_opens,
            opens_added=grant.opens_added if limits is None else limits[1] - terms.max_opens,
            scope=terms.scope,
            opens_of_image=used.get(image.image_id, 0),
            opens_of_capability=sum(used.values()),
            rendition_ready=image.ready_at is not None and image.ready_at <= self.moment,
        )

    def decide(
        self, grant: GrantRow, terms: Terms, image: GrantImageRow, state: GrantState
    ) -> Reason | None:
        """Return why an open would have been refused, or None where it would have been released.

        The second factor is taken as known, and the clock as right.
        """
        return check(
            state,
            now=self.moment,
            member=self._is_member(grant.holder),
            clock_ok=True,
            policy_ok=self._policy_ok(grant, terms, image),
            factor_ok=True,
        )

    def _policy_ok(self, grant: GrantRow, terms: Terms, image: GrantImageRow) -> bool:
        classification = self._classified.get(image.image_id)
        if classification is None:
            row = library.image(self._db, image.image_id)
            if row is None:
                return False
            classification = row.classification
        role = self.role_of(grant.holder) or "guest"
        return allows_open(terms, classification=classification, holder_role=role)
