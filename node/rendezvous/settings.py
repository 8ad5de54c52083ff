"""Every limit of a rendezvous in one object, each with its reason.

Belongs here: the numbers an operator may change, and reading the file that changes them.
Never here: bounds of the protocol (``protocol.limits``), or what enforces a limit.
docs/rendezvous.md shows them as a table; a test holds the two together.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from node.errors import UsageError
from protocol.limits import INVITATION_MS, KIB, MAIL_LIFETIME_MS, MAX_SLOT_BYTES, MIB

_MAX_FILE_BYTES: Final = 64 * KIB


def _limit(default: int, reason: str, *, least: int = 1) -> Any:
    return field(default=default, metadata={"reason": reason, "least": least})


@dataclass(frozen=True, slots=True, kw_only=True)
class RendezvousSettings:
    """What a server allows. Whole numbers; the name ends in the unit where there is one."""

    # Connections
    connections_per_address: int = _limit(
        16, "unproved connections of one address: an office redials at once after a power cut"
    )
    connections_unproved: int = _limit(
        12_000, "unproved connections in all: bounds memory and descriptors"
    )
    upgrade_s: int = _limit(5, "from the accept to a whole request: slow senders of headers end")
    authentication_s: int = _limit(
        5, "from there to a proved key that attends, or a circuit's token: half-open ones end"
    )
    header_bytes: int = _limit(
        8 * KIB,
        "a request with all its headers, and what is sent before its turn: ours have 300",
        least=1024,
    )
    authentications_per_s: int = _limit(5, "of one address: a handshake costs a millisecond")
    authentications_in_all_per_s: int = _limit(
        100, "of all addresses, in turn: a fifth of one core at most goes to strangers"
    )
    stranger_requests: int = _limit(
        2, "what a proved key of no admitted team may ask: to claim or to join a slot, then attend"
    )
    claim_tries_per_minute: int = _limit(5, "wrong claim secrets of one address")
    slot_tries_per_minute: int = _limit(
        10, "slots one address may ask for: each ends an invitation, or finds none"
    )

    # Members
    messages_per_s: int = _limit(
        20, "control messages of one member; more wait unread: a node needs one a second"
    )
    messages_burst: int = _limit(100, "control messages at once: a node that comes back from away")
    message_bytes: int = _limit(
        16 * KIB, "a longer message counts as several: mail of 58 KiB is four", least=KIB
    )
    stalled_s: int = _limit(
        20, "how long a reader may take nothing: it is dropped, with the 256 KiB that wait for it"
    )
    admissions_per_minute: int = _limit(10, "uploads of one member: hundreds of signatures each")
    admissions_pending: int = _limit(8, "lists of one team that lack signatures; the oldest goes")

    # Circuits
    circuits_per_member: int = _limit(4, "that one member called for and that are open")
    circuit_s: int = _limit(2 * 3600, "longest life of a circuit: what was forgotten ends")
    circuit_claim_s: int = _limit(5, "from the token to both ends connected")
    circuit_idle_s: int = _limit(60, "without a byte: the channel inside pings far more often")
    circuit_bytes_per_s: int = _limit(
        0, "each way of one circuit; 0 is as fast as the link", least=0
    )

    # Slots
    slots_per_member: int = _limit(8, "open at once: a person invites a few at a time")
    slot_s: int = _limit(INVITATION_MS // 1000, "life of a slot: that of an invitation")
    slot_bytes: int = _limit(
        MAX_SLOT_BYTES, "both ways through a slot: six small messages, and nothing to tunnel in"
    )

    # Mailbox
    mails_per_sender: int = _limit(100, "that wait: who floods fills this, and nobody else's share")
    mail_bytes_per_sender: int = _limit(16 * MIB, "as above, in bytes")
    mails_per_recipient: int = _limit(1_000, "that wait: ten busy senders")
    mail_bytes_per_recipient: int = _limit(64 * MIB, "as above, in bytes")
    mail_s: int = _limit(
        MAIL_LIFETIME_MS // 1000, "how long mail waits: over a week-end and a holiday"
    )
    mailbox_bytes: int = _limit(1024 * MIB, "all mail: the disk cap")
    disk_reserve_percent: int = _limit(
        10, "of the disk cap and of the disk that mail never takes: the rest must still work"
    )

    def __post_init__(self) -> None:
        values = asdict(self)
        for one in fields(self):
            value = values[one.name]
            if type(value) is not int or value < one.metadata["least"]:
                raise UsageError(
                    f"{one.name} is a whole number of at least {one.metadata['least']}"
                )


def load_settings(path: Path) -> RendezvousSettings:
    """Return the settings with what a TOML file changes of them.

    UsageError for a file that cannot be read, or names what is no setting.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the settings {path}: {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise UsageError(f"{path} is too long for settings")
    try:
        given = tomllib.loads(data.decode())
    except ValueError as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    if unknown := given.keys() - {one.name for one in fields(RendezvousSettings)}:
        raise UsageError(
            f"no setting {', '.join(sorted(unknown))}",
            hint="docs/rendezvous.md lists the settings",
        )
    return RendezvousSettings(**given)
