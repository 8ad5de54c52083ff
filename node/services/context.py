"""What every service works with.

Belongs here: the parts of an unlocked node that services share.
Never here: services, or anything that changes while the vault stays unlocked.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.imaging.pool import ImagingPool
from node.ports import Clock
from node.services.events import Events
from node.vault.database import Database
from node.vault.vault import Vault
from protocol.identity import LocalIdentity
from protocol.primitives import Entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An unlocked vault and what belongs to it."""

    vault: Vault
    imaging: ImagingPool
    clock: Clock
    entropy: Entropy
    events: Events

    @property
    def database(self) -> Database:
        """The index, with the one writer."""
        return self.vault.database

    @property
    def identity(self) -> LocalIdentity:
        """This node's own keys."""
        return self.vault.identity

    @property
    def me(self) -> bytes:
        """This node's own fingerprint."""
        return self.vault.identity.public.fingerprint
