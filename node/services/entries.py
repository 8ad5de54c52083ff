"""Log entries as the services write them and as people read them.

Belongs here: one builder from an event and its facts to a draft of the log, and
the way back from disclosed values to facts.
Never here: the entry's format (``protocol.audit.entry``) or the database.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from node.services.moments import rfc3339
from node.vault.database import LogDraft, Subject

_KINDS = {
    "holder": "member",
    "issuer": "member",
    "member": "member",
    "image": "image",
    "capability": "capability",
    "album": "album",
}
"""Which kind of subject a field's value refers to; its key seals what is said of it."""


def draft(
    event: str,
    *,
    actor: bytes | None,
    about: bytes,
    nonce: bytes | None = None,
    references: dict[str, bytes] | None = None,
    facts: dict[str, str] | None = None,
    personal: dict[str, str] | None = None,
) -> LogDraft:
    """Return the draft of an entry.

    ``references`` name subjects by field: ``holder``, ``issuer``, ``member`` (fingerprints),
    ``image``, ``capability``, ``album`` (ids). ``facts`` are texts about the last of them, or
    about the member ``about`` where there is none; ``personal`` are texts that name the first of
    them, so that they are erased with that one. ``actor`` is the fingerprint of who did it.
    """
    references = references or {}
    values = [(field, value, Subject(_KINDS[field], value)) for field, value in references.items()]
    subjects = tuple([subject for _, _, subject in values])
    owner = subjects[-1] if subjects else Subject("member", about)
    values += [(field, text.encode(), owner) for field, text in (facts or {}).items()]
    values += [(field, text.encode(), subjects[0]) for field, text in (personal or {}).items()]
    return LogDraft(event=event, actor=actor, subjects=subjects, values=tuple(values), nonce=nonce)


def facts_of(values: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Split disclosed values into references and facts again."""
    references = {field: value for field, value in values.items() if field in _KINDS}
    facts = {
        field: value.decode(errors="replace")
        for field, value in values.items()
        if field not in _KINDS
    }
    return references, facts


# Limits of a capability, as entries tell old and new ---------------------------------------------

_LIMITS: Final = re.compile(r"expires (\S+), ([0-9]{1,18}) opens")


def limits_in_words(expires_at: int, opens: int) -> str:
    """Return when a capability expires, Unix milliseconds, and its opens of each picture."""
    return f"expires {rfc3339(expires_at)}, {opens} opens"


def limits_of(text: str) -> tuple[int, int] | None:
    """Return what `limits_in_words` was given, or None for any other text."""
    if (match := _LIMITS.fullmatch(text)) is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1])
    except ValueError:
        return None
    return round(moment.timestamp() * 1000), int(match[2])
