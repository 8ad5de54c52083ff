"""What the control API takes: one frozen struct of parameters for each method.

Belongs here: names and types of parameters; METHODS maps a method's name to them.
Never here: what a method does (``services``), HTTP (``routes``, ``client``), or the
results, whose JSON fields are the command line's contract.

A call is ``POST /v1/METHOD`` with the struct as JSON. The answer is JSON lines:
any number of ``{"progress": {"done", "total", "label"}}``, then one
``{"result": …}`` or ``{"error": {"code", "message", "hint"}}``. ``events`` and
``audit_follow`` answer with ``{"event": …}`` lines until the caller hangs up.
Bytes travel as base64, identifiers as lowercase hexadecimal, times as RFC 3339 UTC.
Paths are absolute. People, images, albums and capabilities are given as the person
typed them: a name where unique, an id or a unique id prefix; the node resolves them.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every method's parameters."""


class Empty(Params, frozen=True):
    """No parameters."""


class Status(Params, frozen=True):
    """State of the node. Answers also while locked."""


class Stop(Params, frozen=True):
    """Stop the node once this call is answered."""


class Unlock(Params, frozen=True):
    """Open the vault with the passphrase; answers also while locked."""

    passphrase: str


class Lock(Params, frozen=True):
    """Close the control API until `unlock`; `full` also drops all keys and stops serving."""

    full: bool = False


class IdentityExport(Params, frozen=True):
    """Certificate and addresses as the bytes of an identity file."""


class TeamCreate(Params, frozen=True):
    """Found a team with this node as its administrator."""

    name: str


class TeamAdd(Params, frozen=True):
    """Add the member of an identity file; gives back the sealed WELCOME."""

    identity_file: str
    """base64"""
    role: str = "editor"


class TeamRole(Params, frozen=True):
    """Give a member another role."""

    who: str
    role: str


class TeamRemove(Params, frozen=True):
    """Remove a member."""

    who: str


class TeamThreshold(Params, frozen=True):
    """Let this many administrators sign each next version of the roster."""

    threshold: int


class TeamSign(Params, frozen=True):
    """Sign a pending version of the roster."""

    proposal: str
    """Its id, or a unique prefix; empty where only one is pending."""


class TeamResolve(Params, frozen=True):
    """Join two histories of the team; `dry_run` only says what would come of it."""

    dry_run: bool = False
    keep_ours: bool = False
    """Keep all of this side's version instead, for a history by somebody who was removed."""


class Invite(Params, frozen=True):
    """Open an invitation: `code`, `expires_at`, `number`."""

    role: str = "editor"


class InviteWait(Params, frozen=True):
    """Wait for the end of an invitation; tells who came, or why nobody did."""

    number: int


class InviteCancel(Params, frozen=True):
    """Take an invitation back."""

    number: int


class Join(Params, frozen=True):
    """Join by an invitation's code, on this network, at an address, or by a rendezvous."""

    code: str
    at: str | None = None
    rendezvous: str | None = None


class RendezvousClaim(Params, frozen=True):
    """Register the team with a rendezvous, and use it from now on."""

    address: str
    secret: str


class JoinFile(Params, frozen=True):
    """Join by WELCOME. Without `expect` only says who the administrator is."""

    welcome: str
    """base64"""
    expect: str | None = None
    """Full fingerprint of the administrator, as the person compared it."""


class PeersAdd(Params, frozen=True):
    """Remember an address of a member."""

    who: str
    host: str
    port: int


class PeersRemove(Params, frozen=True):
    """Forget the addresses of a member."""

    who: str


class Import(Params, frozen=True):
    """Import files and folders, recursively."""

    paths: list[str]
    """Absolute; one whose bytes are not UTF-8 as a `file:///` URI."""
    album: str | None = None
    tags: list[str] = []
    classification: str = "internal"
    move: bool = False
    """Remove each file once the vault has it and the copy was read back."""


class Images(Params, frozen=True):
    """Search the library."""

    query: str = ""
    album: str | None = None
    tag: str | None = None
    limit: int = 1_000_000
    """Of the newest."""


class Classify(Params, frozen=True):
    """Give pictures or the pictures of albums another classification."""

    what: list[str]
    classification: str


class Show(Params, frozen=True):
    """Everything about one picture."""

    image: str


class Inspect(Params, frozen=True):
    """What the original of one picture tells besides its pixels."""

    image: str


class Share(Params, frozen=True):
    """Grant capabilities: one for each person, over all the pictures."""

    what: list[str]
    """Images or albums."""
    to: list[str]
    duration: str | None = None
    """`48h`, `7d`, or an RFC 3339 time; None takes the policy's default."""
    rights: list[str] = msgspec.field(default_factory=lambda: ["view"])
    opens: int | None = None
    """For each picture; None is 10."""
    rendition: str | None = None
    """`original`, `clean`, `preview` or `preview:PX`; None is `clean` with the right `save`, else
    `preview:2048`."""
    watermark: bool | None = None
    factor: bool = False
    not_before: str | None = None
    terms: str = ""
    lease: str | None = None
    dry_run: bool = False
    credit: str = ""
    """Who made the pictures, written into the copies."""
    copyright_notice: str = ""
    """Whose they are, written into the copies."""
    names: bool | None = None
    """Whether holders learn the pictures' names; None: members do, guests get neutral ones."""


class Shares(Params, frozen=True):
    """What I granted."""

    album: str | None = None
    to: str | None = None
    state: str | None = None


class Fetch(Params, frozen=True):
    """Prefetch sealed renditions without opening."""

    capability: str
    images: list[str] = []


class Open(Params, frozen=True):
    """Spend one open and hold the pixels until `close_open` or their time is over."""

    capability: str
    image: str | None = None
    factor: str | None = None
    """The second-factor phrase, from a prompt or file."""
    wait: float = 30.0
    """Seconds to wait for a rendition that is not ready."""


class OpenPixels(Params, frozen=True):
    """RGB pixels of an opened picture, fitted into a box, as base64."""

    open_id: str
    width: int
    height: int


class CloseOpen(Params, frozen=True):
    """Drop the pixels of an open; says what they carried `undeclared` by their manifest."""

    open_id: str


class Save(Params, frozen=True):
    """Spend an open each and import the pictures, or write them to a folder."""

    capability: str
    images: list[str] = []
    out: str | None = None
    factor: str | None = None


class Export(Params, frozen=True):
    """Write own pictures as files, logged."""

    what: list[str]
    out: str
    rendition: str = "original"


class Revoke(Params, frozen=True):
    """End capabilities: named ones, or all to a person, or all that hold an album's pictures."""

    capabilities: list[str] = []
    to: str | None = None
    album: str | None = None


class Extend(Params, frozen=True):
    """Amend a live capability: expiry now + duration (never earlier), more opens."""

    capability: str
    duration: str | None = None
    opens: int | None = None


class AuditLog(Params, frozen=True):
    """Entries of the own log, oldest first."""

    who: str | None = None
    image: str | None = None
    since: str | None = None
    limit: int = 1_000_000
    """Of the newest."""


class Check(Params, frozen=True):
    """Vault health; `read_data` also reads and authenticates every sealed byte."""

    read_data: bool = False


class Doctor(Params, frozen=True):
    """Health of the node: `checks`. Answers also while locked, with what can be told then."""

    accept_clock: bool = False
    """Go on by a clock that was moved; only while unlocked."""


class Thumbnail(Params, frozen=True):
    """A sealed thumbnail opened: base64 of its encoded bytes."""

    image: str
    size: Literal[256, 1024] = 256


METHODS: Final[dict[str, type[Params]]] = {
    "status": Status,
    "stop": Stop,
    "unlock": Unlock,
    "lock": Lock,
    "identity": Empty,
    "identity_export": IdentityExport,
    "team_create": TeamCreate,
    "team_show": Empty,
    "team_add": TeamAdd,
    "team_role": TeamRole,
    "team_remove": TeamRemove,
    "team_threshold": TeamThreshold,
    "team_pending": Empty,
    "team_sign": TeamSign,
    "team_resolve": TeamResolve,
    "team_renew": Empty,
    "invite": Invite,
    "invite_wait": InviteWait,
    "invite_cancel": InviteCancel,
    "join": Join,
    "rendezvous_claim": RendezvousClaim,
    "join_file": JoinFile,
    "peers": Empty,
    "peers_add": PeersAdd,
    "peers_remove": PeersRemove,
    "import": Import,
    "images": Images,
    "albums": Empty,
    "classify": Classify,
    "show": Show,
    "inspect": Inspect,
    "thumbnail": Thumbnail,
    "share": Share,
    "shares": Shares,
    "inbox": Empty,
    "fetch": Fetch,
    "open": Open,
    "open_pixels": OpenPixels,
    "close_open": CloseOpen,
    "save": Save,
    "export": Export,
    "revoke": Revoke,
    "extend": Extend,
    "audit_log": AuditLog,
    "audit_follow": AuditLog,
    "audit_verify": Empty,
    "check": Check,
    "doctor": Doctor,
    "events": Empty,
}
"""Every method of the control API."""
