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

from typing import Annotated, Final, Literal

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


class Browse(Params, frozen=True):
    """One page of the library under filters: `total` and `images`, newest first."""

    query: str = ""
    album: str | None = None
    tag: str | None = None
    classification: Literal["public", "internal", "confidential", "restricted"] | None = None
    status: Literal["shared", "unshared", "received", "expiring"] | None = None
    """Of live capabilities; `received` is saved from somebody else's; `expiring` within 24 h."""
    person: str | None = None
    """Holds a live capability over it."""
    offset: int = 0
    limit: int = 256


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
    no_credit: bool = False
    """Not even that of an album."""
    names: bool | None = None
    """Whether holders learn the pictures' names; None: members do, guests get neutral ones."""
    look_into: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Of how many pictures a dry run says what would leave; None is all."""


class PreviewShare(Params, frozen=True):
    """One picture as a person would see it under such a share, which is not made.

    Small: `data` in base64 is a JPEG; `watermark` says what it bears and how strongly, or is null.
    """

    what: list[str]
    """As in `share`: the strictest of them counts for all."""
    to: str
    place: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Which of the pictures, in their order."""
    rights: list[str] = msgspec.field(default_factory=lambda: ["view"])
    rendition: str | None = None
    watermark: bool | None = None
    edge: Annotated[int, msgspec.Meta(ge=64, le=1024)] = 1024
    """Pixels of its longer side, at most."""


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
    """`original`, `clean`, `preview` or `preview:PX`."""
    credit: str = ""
    copyright_notice: str = ""
    terms: str = ""
    no_credit: bool = False
    """Not even that of an album."""


class AlbumCredit(Params, frozen=True):
    """The credit that copies of an album's pictures carry by default: set it, or only say it."""

    album: str
    credit: str = ""
    copyright_notice: str = ""
    terms: str = ""
    no_credit: bool = False
    """From now on none."""


class Watermark(Params, frozen=True):
    """The logo that watermarks bear: set it, or only say which."""

    logo: str | None = None
    """A PNG file's absolute path."""
    no_logo: bool = False


class AccessReview(Params, frozen=True):
    """What was granted and deserves a look; `sign_off` logs that somebody had it."""

    sign_off: bool = False


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
    until: str | None = None
    events: list[str] = []
    """Of one of these; none is any."""
    limit: int = 1_000_000
    """Of the newest."""


class AuditPage(Params, frozen=True):
    """Entries of the own log, newest first, a page at a time."""

    who: str | None = None
    image: str | None = None
    since: str | None = None
    until: str | None = None
    events: list[str] = []
    offset: int = 0
    limit: int = 100
    """At most 1,000."""


class AuditProve(Params, frozen=True):
    """The proof of one entry."""

    index: int
    incarnation: int | None = None
    """None is the newest log."""


class AuditExport(Params, frozen=True):
    """Write an evidence pack to a new file."""

    out: str
    table: bool = False
    disclose: list[str] = []
    who: str | None = None
    image: str | None = None
    since: str | None = None
    until: str | None = None


class AuditReconcile(Params, frozen=True):
    """Opens that one side's log has and the other's lacks."""

    who: str | None = None
    pack: str | None = None
    """Path of a peer's evidence pack."""


class AuditAlarm(Params, frozen=True):
    """Note that a person has looked into an alarm, and deal with that log's keeper again."""

    alarm: int


class AuditEvidence(Params, frozen=True):
    """What an alarm is about, as it was signed; the newest alarm where none is named."""

    alarm: int | None = None


class AuditWitnessAdd(Params, frozen=True):
    """Ask a witness outside the team from now on."""

    url: str
    vkey: str


class AuditWitnessRemove(Params, frozen=True):
    """Ask a witness outside the team no more."""

    url: str


class AuditWitnessServe(Params, frozen=True):
    """Cosign over HTTP at `listen`, or no more with `off`; tells where, and by which key."""

    listen: str | None = None
    off: bool = False


class SharesReissue(Params, frozen=True):
    """Grant anew what is over because this node began a new log; all of it where none is named."""

    capabilities: list[str] = []
    opens: int | None = None
    """At most so many a picture; None: what is left by the counts that this vault has."""
    names: bool = False
    dry_run: bool = False


class AuditErase(Params, frozen=True):
    """Destroy what is kept about a subject; `dry_run` only says what that would be."""

    subject: str
    kind: str | None = None
    """``person``, ``picture``, ``album`` or ``capability``."""
    dry_run: bool = False


class AuditWhoCould(Params, frozen=True):
    """Who could open what at a moment."""

    at: str
    """RFC 3339."""
    image: str | None = None
    """Only this picture; then also who could not, and why."""


class AuditHolders(Params, frozen=True):
    """Who may hold a copy of an own picture."""

    image: str


class AuditSubject(Params, frozen=True):
    """Everything the own log says about a person."""

    who: str


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


class Thumbnails(Params, frozen=True):
    """Many sealed thumbnails opened: `thumbnails`, id to base64; those without one are left out."""

    images: list[str]
    """Whole ids, at most 64."""
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
    "thumbnails": Thumbnails,
    "browse": Browse,
    "share": Share,
    "preview_share": PreviewShare,
    "shares": Shares,
    "access_review": AccessReview,
    "shares_reissue": SharesReissue,
    "inbox": Empty,
    "fetch": Fetch,
    "open": Open,
    "open_pixels": OpenPixels,
    "close_open": CloseOpen,
    "save": Save,
    "export": Export,
    "album_credit": AlbumCredit,
    "watermark": Watermark,
    "revoke": Revoke,
    "extend": Extend,
    "audit_log": AuditLog,
    "audit_follow": AuditLog,
    "audit_alarms": Empty,
    "audit_alarm_clear": AuditAlarm,
    "audit_evidence": AuditEvidence,
    "audit_witness_add": AuditWitnessAdd,
    "audit_witness_list": Empty,
    "audit_witness_remove": AuditWitnessRemove,
    "audit_witness_serve": AuditWitnessServe,
    "audit_erase": AuditErase,
    "audit_who_could": AuditWhoCould,
    "audit_holders": AuditHolders,
    "audit_subject": AuditSubject,
    "audit_verify": Empty,
    "audit_page": AuditPage,
    "audit_state": Empty,
    "audit_prove": AuditProve,
    "audit_export": AuditExport,
    "audit_reconcile": AuditReconcile,
    "audit_roll": Empty,
    "check": Check,
    "doctor": Doctor,
    "events": Empty,
}
"""Every method of the control API."""
