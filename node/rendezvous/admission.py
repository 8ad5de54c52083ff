"""Whom the server serves: claims, and the admission in force of each team.

Belongs here: when a list replaces another one, and who of it is in force.
Never here: the rule of signatures (``protocol.rendezvous.admission``), or sessions.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Final

from node.rendezvous import store
from node.rendezvous.settings import RendezvousSettings
from node.rendezvous.store import Store
from node.vault.connection import SqlConnection
from protocol.encoding import decode
from protocol.errors import Reason, Refused, RemoteProtocolError
from protocol.limits import MAX_ADMISSION_BYTES
from protocol.primitives import Entropy, blake2b, equal
from protocol.rendezvous.admission import (
    Admission,
    SignedAdmission,
    check_admission_untrusted,
    combine_admissions,
)
from protocol.rendezvous.messages import Admitted

_SECRET_BYTES: Final = 20
"""Entropy of a claim secret: 32 letters, which nobody guesses at five tries a minute."""

Removed = Callable[[bytes, frozenset[bytes]], None]
"""Called with a team and the keys that are not admitted any more, once that is durable."""


class Teams:
    """The teams that have claimed this server. Made by `load`."""

    def __init__(
        self, store: Store, admissions: dict[bytes, Admission], settings: RendezvousSettings
    ) -> None:
        self._store = store
        self._admissions = admissions
        self._settings = settings
        self._keys = {one: frozenset(found.keys) for one, found in admissions.items()}
        # One list after the other: each is judged by the one before.
        self._changing = asyncio.Lock()
        self.removed: Removed = _nobody

    @classmethod
    async def load(cls, database: Store, settings: RendezvousSettings) -> Teams:
        """Read what was in force when the server ended."""
        found = [
            check_admission_untrusted(signed, None)[0] for signed in await database.run(store.teams)
        ]
        return cls(database, {one.team_id: one for one in found}, settings)

    def __len__(self) -> int:
        return len(self._admissions)

    def version(self, team_id: bytes) -> int:
        """Return the version in force of a team that is registered."""
        return self._admissions[team_id].version

    def admits(self, team_id: bytes, key: bytes) -> bool:
        """Say whether an agreement key is a member's."""
        return key in self._keys.get(team_id, ())

    # Claims ---------------------------------------------------------------------------------------

    async def open_claim(self, entropy: Entropy, *, new: bool) -> str | None:
        """Return the secret that is good for a claim, made where it is the first or ``new``."""

        def job(connection: SqlConnection) -> str | None:
            known = store.claims(connection)
            if known:
                return known[0]
            if self._admissions and not new:
                return None
            secret = base64.b32encode(entropy(_SECRET_BYTES)).decode().lower()
            store.add_claim(connection, secret)
            return secret

        return await self._store.run(job)

    async def claim(self, secret: str, signed: bytes) -> Admission:
        """Register a team and burn the secret; what registered it before may be told again.

        Refused for a secret that is none, or a list that lacks signatures or is not newer than
        the one in force. RemoteError kinds for bytes that are no admission.
        """
        async with self._changing:
            known = await self._store.run(store.claims)
            fits = [one for one in known if equal(one.encode(), secret.encode())]
            if not fits:
                if signed in await self._store.run(store.teams):
                    # The answer to the first time was lost.
                    return check_admission_untrusted(signed, None)[0]
                raise Refused(Reason.FACTOR)
            admission, missing = check_admission_untrusted(signed, None)
            current = self._admissions.get(admission.team_id)
            if missing or (current is not None and admission.version <= current.version):
                raise Refused(Reason.POLICY)

            def job(connection: SqlConnection) -> None:
                store.burn_claim(connection, fits[0])
                self._put(connection, admission, signed)

            await self._store.run(job)
            self._take(admission)
            return admission

    # Admissions -----------------------------------------------------------------------------------

    async def admit(self, team_id: bytes, signed: bytes) -> Admitted:
        """Take an admission that a member of this team brings, or further signatures of it.

        Raises RemoteError kinds for bytes that are no admission or another team's, Refused for
        one that no administrator has signed.
        """
        async with self._changing:
            current = self._admissions[team_id]
            try:
                check_admission_untrusted(signed, current)
            except RemoteProtocolError as error:
                if error.code != "admission_old":
                    raise
                return Admitted(version=current.version, missing=0)
            body_hash = blake2b(decode(SignedAdmission, signed, limit=MAX_ADMISSION_BYTES).body)
            known = await self._store.run(lambda sql: store.pending(sql, team_id, body_hash))
            gathered = combine_admissions(known or signed, signed, current=current)
            if not decode(SignedAdmission, gathered, limit=MAX_ADMISSION_BYTES).signatures:
                raise Refused(Reason.POLICY)
            admission, missing = check_admission_untrusted(gathered, current)

            def job(connection: SqlConnection) -> None:
                if missing:
                    most = self._settings.admissions_pending
                    store.put_pending(connection, team_id, body_hash, gathered, most=most)
                else:
                    self._put(connection, admission, gathered)

            await self._store.run(job)
            if missing:
                return Admitted(version=current.version, missing=missing)
            self._take(admission)
            return Admitted(version=admission.version, missing=0)

    def _put(self, connection: SqlConnection, admission: Admission, signed: bytes) -> None:
        """Store a list that is in force from now on, without what those had whom it leaves out."""
        store.put_team(connection, admission.team_id, signed)
        store.drop_members(connection, admission.team_id, self._left_out(admission))

    def _take(self, admission: Admission) -> None:
        left_out = self._left_out(admission)
        self._admissions[admission.team_id] = admission
        self._keys[admission.team_id] = frozenset(admission.keys)
        if left_out:
            self.removed(admission.team_id, left_out)

    def _left_out(self, admission: Admission) -> frozenset[bytes]:
        return self._keys.get(admission.team_id, frozenset()).difference(admission.keys)


def _nobody(team_id: bytes, keys: frozenset[bytes]) -> None:
    """Where nothing depends on who is admitted."""
