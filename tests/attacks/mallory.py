"""A member who speaks the protocol and means harm: real keys, real sockets, answers of a script.

Belongs here: joining a team with bare keys, a log and capabilities made by hand, and a
handler whose answers a test replaces one by one.
Never here: what a node must do about it (the tests), or a second implementation of a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import msgspec
import pytest

from node.system import SystemClock, system_entropy
from node.transport.dialer import dial
from node.transport.driver import Reply, Session, SessionClosedError
from node.transport.listener import Listener
from protocol.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from protocol.audit.entry import Entry, encode_entry
from protocol.audit.tree import consistency_proof, inclusion_proof, leaf_hash, node_hash, root_of
from protocol.capability.keys import NO_FACTOR_MIX, commit_issuer, rendition_key, wrap
from protocol.capability.manifest import Disclosure, Manifest, rendition_context, sign_manifest
from protocol.capability.opening import OpenBody, open_nonce, sign_open
from protocol.capability.terms import (
    Capability,
    ImageItem,
    OpenedCapability,
    Terms,
    capability_hash,
    encode_image_list,
    image_list_context,
    image_list_hash,
    issue,
    open_capability_untrusted,
    seal_capability,
)
from protocol.encoding import encode
from protocol.errors import Reason, Refused
from protocol.identity import (
    Identity,
    LocalIdentity,
    Seeds,
    export_identity_file,
    make_identity,
    sign_statement,
    verify_statement_untrusted,
)
from protocol.labels import SignatureType
from protocol.messages import (
    Deliver,
    DeliverManifest,
    Done,
    FetchHead,
    FetchList,
    FetchRendition,
    Head,
    Hello,
    OpenRequest,
    Released,
    Request,
    RosterFetch,
    RosterUpdate,
    Streamed,
)
from protocol.primitives import sha256
from protocol.roster.trusted import TrustedRoster
from protocol.roster.update import join_versions
from protocol.roster.welcome import open_welcome_untrusted
from protocol.sealed_blob import commitment_of_untrusted, seal
from tests.node.services.team import Person

T = TypeVar("T")
Answering: TypeAlias = Callable[[Session, Any], Awaitable[Reply]]

CLOCK = SystemClock()
HOUR_MS = 3_600_000
PICTURE = b"not a picture, but nobody looks before an open: " * 40


async def whole(data: bytes) -> AsyncIterator[bytes]:
    """Yield all of data."""
    yield data


def streamed(data: bytes) -> Reply:
    """Return the reply that sends all of data."""
    return Streamed(length=len(data)), whole(data)


class Log:
    """An audit log whose owner writes what suits them."""

    def __init__(self, local: LocalIdentity) -> None:
        self._local = local
        self.origin = origin_of(local.public.fingerprint)
        self.entries: list[bytes] = []

    def copy(self) -> Log:
        """Return a log that goes on from here on its own: a fork."""
        fork = Log(self._local)
        fork.entries = list(self.entries)
        return fork

    def fork(self, size: int, *, grown: int = 0) -> Log:
        """Return one that has the first so many of these entries, and others after them."""
        fork = Log(self._local)
        fork.entries = self.entries[:size]
        for _ in range(grown):
            fork.append()
        return fork

    def append(self, event: str = "imported", nonce: bytes | None = None) -> int:
        """Append an entry and return its index."""
        entry = Entry(
            actor="",
            commitments={},
            event=event,
            nonce=(nonce or system_entropy(16)).hex(),
            seq=len(self.entries),
            subjects=(),
            time=CLOCK.now(),
        )
        self.entries.append(encode_entry(entry))
        return entry.seq

    def _hash(self, level: int, position: int) -> bytes:
        if not level:
            return leaf_hash(self.entries[position])
        below = 2 * position
        return node_hash(self._hash(level - 1, below), self._hash(level - 1, below + 1))

    def head(self, size: int | None = None) -> bytes:
        """Return the signed head of a size, of all of it unless told."""
        size = len(self.entries) if size is None else size
        root = root_of(leaf_hash(entry) for entry in self.entries[:size])
        made = Checkpoint(origin=self.origin, size=size, root=root)
        return sign_checkpoint(made, self._local.log)

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """Return the proof that an entry stands in the whole log."""
        return tuple(inclusion_proof(index, len(self.entries), self._hash))

    def consistency(self, old: int) -> tuple[bytes, ...]:
        """Return the proof that the whole log extends what it was at a size."""
        return tuple(consistency_proof(old, len(self.entries), self._hash))

    def answer(self, request: FetchHead) -> Head:
        """Return the newest head, and the proof that was asked for if there is one."""
        end = request.to_size or len(self.entries)
        if not 0 < request.from_size <= end <= len(self.entries):
            return Head(note=self.head(), proof=())
        proof = consistency_proof(request.from_size, end, self._hash)
        root = root_of(leaf_hash(entry) for entry in self.entries[: request.from_size])
        return Head(note=self.head(), proof=tuple(proof), root=root)


@dataclass(kw_only=True)
class Forged:
    """A capability made by hand, with everything that a test may want to change."""

    holder: Identity
    terms: Terms
    signed_terms: bytes
    hash: bytes
    capability: Capability
    sealed: bytes
    sealed_list: bytes
    manifest: Manifest
    signed_manifest: bytes
    ciphertext: bytes
    issuer_share: bytes
    opens: int = 0


@dataclass(eq=False)
class Mallory:
    """One malicious member."""

    local: LocalIdentity
    trusted: TrustedRoster
    script: dict[type, Answering] = field(default_factory=dict)
    """What answers a kind of request instead of what an honest node would."""
    heard: list[Request] = field(default_factory=list)
    capabilities: list[OpenedCapability] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    forged: dict[bytes, Forged] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = Log(self.local)
        self.log.append()

    # Being a member -------------------------------------------------------------------------------

    @property
    def me(self) -> bytes:
        return self.local.public.fingerprint

    @property
    def team(self) -> bytes:
        return self.trusted.team_id

    def hello(self, **changes: Any) -> Hello:
        """Return an honest first request, but for what is changed."""
        honest = Hello(
            roster_version=self.trusted.version,
            roster_hash=self.trusted.hash,
            my_head=self.log.head(),
            your_head=b"",
            log_keys=0,
        )
        return msgspec.structs.replace(honest, **changes)

    async def dial(self, person: Person, *, greet: bool = True) -> Session:
        """Return a session with a person's node."""
        host, port = person.node.peering.listening[0]
        return await self.dial_address(host, port, person.node.context.identity.public, greet=greet)

    async def dial_address(
        self, host: str, port: int, who: Identity, *, greet: bool = True
    ) -> Session:
        session = await dial(
            host,
            port,
            remote_static=who.agreement_key,
            static_secret=self.local.agreement_secret,
            team_id=self.team,
            handler=self.answer,
            clock=CLOCK,
            entropy=system_entropy,
            timeout=45,
        )
        self.sessions.append(session)
        if greet:
            await session.request(self.roster_update())
            await session.request(self.hello())
        return session

    def roster_update(self) -> RosterUpdate:
        """Return the one request that a stranger may make."""
        return RosterUpdate(version=self.trusted.version, hash=self.trusted.hash)

    async def listen(self, port: int = 0) -> Listener:
        """Listen as this member."""
        listener = Listener(
            host="127.0.0.1",
            port=port,
            static_secret=self.local.agreement_secret,
            team_id=lambda: self.team,
            handler=self.answer,
            on_session=self.sessions.append,
            clock=CLOCK,
            entropy=system_entropy,
        )
        await listener.start()
        return listener

    async def close(self) -> None:
        await asyncio.gather(*(session.close() for session in self.sessions))

    # Answering ------------------------------------------------------------------------------------

    async def answer(self, session: Session, request: Request) -> Reply:
        """Answer as the script says, else as an honest node would."""
        self.heard.append(request)
        if (scripted := self.script.get(type(request))) is not None:
            return await scripted(session, request)
        match request:
            case Deliver():
                self._take(request)
            case DeliverManifest():
                self._take_manifest(request)
            case RosterFetch():
                versions = self.trusted.signed_versions[request.have_version :]
                return streamed(join_versions(versions))
            case FetchHead():
                return self.log.answer(request)
            case FetchList():
                return streamed(self.forged[request.capability_hash].sealed_list)
            case FetchRendition():
                return streamed(self._by_rendition(request.rendition_id).ciphertext)
            case OpenRequest():
                return self.release(session, request)
        return Done()

    def _take(self, request: Deliver) -> None:
        self.capabilities.append(
            open_capability_untrusted(
                request.sealed,
                holder=self.local,
                issuer_of=self.trusted.by_agreement.get,
                team_id=self.team,
            )
        )

    def _take_manifest(self, request: DeliverManifest) -> None:
        signed = msgspec.msgpack.decode(request.signed)["body"]
        self.manifests.append(msgspec.msgpack.decode(signed, type=Manifest))

    def _by_rendition(self, rendition_id: bytes) -> Forged:
        for one in self.forged.values():
            if one.manifest.rendition_id == rendition_id:
                return one
        raise Refused(Reason.UNKNOWN)

    def open_body(self, session: Session, request: OpenRequest) -> OpenBody:
        """Return what a holder asks for in an open request."""
        holder = self.trusted.by_agreement[session.peer_key]
        body = verify_statement_untrusted(
            holder.identity_key, SignatureType.OPEN_REQUEST, self.team, request.signed
        )
        return msgspec.msgpack.decode(body, type=OpenBody)

    def release(
        self, session: Session, request: OpenRequest, *, log: Log | None = None
    ) -> Released:
        """Return an honest release, its entry appended to a log."""
        body = self.open_body(session, request)
        forged = self.forged[body.capability_hash]
        forged.opens += 1
        log = self.log if log is None else log
        index = log.append("released", open_nonce(body.capability_hash, body.open_id))
        return Released(
            issuer_share=forged.issuer_share,
            entry=log.entries[index],
            index=index,
            proof=log.inclusion(index),
            checkpoint=log.head(),
            opens_left=max(0, forged.terms.max_opens - forged.opens),
        )

    # Issuing --------------------------------------------------------------------------------------

    def forge(
        self,
        holder: Person | Identity,
        *,
        names: tuple[str, ...] = ("a picture.jpg",),
        plaintext: bytes = PICTURE,
        items: tuple[ImageItem, ...] | None = None,
        manifest: dict[str, Any] | None = None,
        capability: dict[str, Any] | None = None,
        **terms: Any,
    ) -> Forged:
        """Make a capability for holder, its first picture ready, changed as a test wants."""
        to = holder.node.context.identity.public if isinstance(holder, Person) else holder
        items = items or tuple(
            ImageItem(
                image_id=system_entropy(16), name=name, format="jpeg", width=9, height=9, bytes=9
            )
            for name in names
        )
        # The library's own check of lists would refuse what a malicious issuer writes.
        listed = encode_image_list(items) if _plain(items) else encode_list(items)
        now = CLOCK.now()
        fields: dict[str, Any] = {
            "capability_id": system_entropy(16),
            "issuer": self.me,
            "holder": to.fingerprint,
            "team": self.team,
            "image_count": len(items),
            "image_list_hash": image_list_hash(listed),
            "rights": ("view", "save"),
            "rendition": "preview:200",
            "watermark": False,
            "not_before": now - 1000,
            "expires_at": now + HOUR_MS,
            "max_opens": 10,
            "scope": "image",
            "factor_salt": None,
            "lease": 0,
            "classification": "internal",
            "usage_terms": "",
            "policy_version": 0,
            "roster_version": self.trusted.version,
        }
        agreed = Terms(**{**fields, **terms})
        signed = issue(terms=agreed, issuer=self.local)
        list_key, holder_share, issuer_share = (system_entropy(32) for _ in range(3))
        sealed_list = seal(list_key, image_list_context(agreed), listed, salt=system_entropy(24))
        secret: dict[str, Any] = {
            "signed_terms": signed,
            "holder_share": holder_share,
            "list_key": list_key,
            "list_sealed_sha256": sha256(sealed_list),
            "list_sealed_bytes": len(sealed_list),
        }
        inner = Capability(**{**secret, **(capability or {})})
        made = capability_hash(encode(agreed))
        rendition_id, key = system_entropy(32), system_entropy(32)
        context = rendition_context(
            team_id=self.team,
            issuer=self.me,
            image_id=items[0].image_id,
            rendition_id=rendition_id,
        )
        ciphertext = seal(key, context, plaintext, salt=system_entropy(24))
        commitment = commitment_of_untrusted(ciphertext[:64])
        wrapping = rendition_key(
            holder_share=holder_share,
            mix=NO_FACTOR_MIX,
            issuer_share=issuer_share,
            capability_hash=made,
            rendition_id=rendition_id,
        )
        described: dict[str, Any] = {
            "capability_hash": made,
            "image_id": items[0].image_id,
            "version_hash": bytes(32),
            "rendition_id": rendition_id,
            "rendition": agreed.rendition,
            "disclosure": Disclosure(removed=(), kept=()),
            "ciphertext_sha256": sha256(ciphertext),
            "ciphertext_bytes": len(ciphertext),
            "blob_commitment": commitment,
            "commit_issuer": commit_issuer(issuer_share, rendition_id),
            "wrapped": wrap(
                wrapping,
                key,
                capability_hash=made,
                rendition_id=rendition_id,
                commitment=commitment,
            ),
            "format": "jpeg",
            "width": 9,
            "height": 9,
        }
        shown = Manifest(**{**described, **(manifest or {})})
        forged = Forged(
            holder=to,
            terms=agreed,
            signed_terms=signed,
            hash=made,
            capability=inner,
            sealed=self.seal(inner, to),
            sealed_list=sealed_list,
            manifest=shown,
            signed_manifest=self.sign_manifest(shown),
            ciphertext=ciphertext,
            issuer_share=issuer_share,
        )
        self.forged[made] = forged
        return forged

    def seal(self, capability: Capability, to: Identity) -> bytes:
        """Seal a capability to somebody."""
        return seal_capability(
            capability,
            sender=self.local,
            recipient=to,
            team_id=self.team,
            entropy=system_entropy,
        )

    def sign_manifest(self, manifest: Manifest) -> bytes:
        """Sign a manifest as this member."""
        return sign_manifest(manifest, issuer=self.local, team_id=self.team)

    def sign_anything(self, kind: SignatureType, value: Any) -> bytes:
        """Sign a value that this build's own rules would not let anybody sign."""
        return sign_statement(self.local.identity, kind, self.team, encode(value))

    async def grant(self, session: Session, forged: Forged) -> str:
        """Deliver a capability and its manifest; return the capability's id."""
        await session.request(Deliver(sealed=forged.sealed))
        await session.request(DeliverManifest(signed=forged.signed_manifest))
        return forged.terms.capability_id.hex()

    # Holding --------------------------------------------------------------------------------------

    def ask(self, session: Session, manifest: Manifest, **changes: Any) -> OpenRequest:
        """Return a signed open request."""
        fields: dict[str, Any] = {
            "capability_hash": manifest.capability_hash,
            "rendition_id": manifest.rendition_id,
            "open_id": system_entropy(16),
            "blob_sha256": manifest.ciphertext_sha256,
            "handshake_hash": session.handshake_hash,
            "roster_version": self.trusted.version,
            "factor_proof": None,
            **changes,
        }
        return OpenRequest(
            signed=sign_open(OpenBody(**fields), holder=self.local, team_id=self.team)
        )

    async def open(self, session: Session, manifest: Manifest, **changes: Any) -> Released | str:
        """Ask for an open; return the release or the reason."""
        return await reason_or(session.request(self.ask(session, manifest, **changes)), Released)


def _plain(items: tuple[ImageItem, ...]) -> bool:
    return all(1 <= len(item.name.encode()) <= 256 for item in items)


def encode_list(items: tuple[ImageItem, ...]) -> bytes:
    """Return an image list's bytes whatever it says."""
    from protocol.capability.terms import ImageList

    return encode(ImageList(items=items))


async def reason_or(request: Awaitable[Any], kind: type[T]) -> T | str:
    """Return the answer, which is of a kind, or the reason of a refusal, or `closed`."""
    try:
        answer = await request
    except Refused as refusal:
        return refusal.reason.value
    except SessionClosedError:
        return "closed"
    assert isinstance(answer, kind)
    return answer


async def refused(request: Awaitable[Any]) -> str:
    """Return the reason for which a request is refused, or `closed`, or `taken`."""
    try:
        await request
    except Refused as refusal:
        return refusal.reason.value
    except SessionClosedError:
        return "closed"
    return "taken"


async def enlist(
    administrator: Person, name: str = "mallory", role: str = "editor", port: int | None = None
) -> Mallory:
    """Bring somebody with bare keys into a team; with a port the team knows where they listen."""
    local = make_identity(Seeds.generate(system_entropy), name=name, now=CLOCK.now())
    places = [] if port is None else [("127.0.0.1", port)]
    welcome, _ = await administrator.node.membership.add(
        export_identity_file(local, places), role, addresses=administrator.node.addresses()
    )
    _, trusted, *_ = open_welcome_untrusted(welcome, recipient=local)
    return Mallory(local, trusted)


def posing_as(person: Person) -> Mallory:
    """Return somebody with all the keys of a person: that person, turned malicious."""
    trusted = person.node.membership.trusted
    return Mallory(person.node.context.identity, trusted)


@asynccontextmanager
async def enlisted(administrator: Person, **options: Any) -> AsyncIterator[Mallory]:
    """Hold a malicious member of a team."""
    mallory = await enlist(administrator, **options)
    try:
        yield mallory
    finally:
        await mallory.close()


async def receive_grant(mallory: Mallory, count: int = 1) -> list[Manifest]:
    """Wait until this many manifests have come, and return them."""
    async with asyncio.timeout(15):
        while len(mallory.manifests) < count:
            await asyncio.sleep(0.02)
    return mallory.manifests


async def show_two_histories(mallory: Mallory, person: Person) -> None:
    """Show somebody a log of 5 entries and more, then one that is not the same."""
    for _ in range(5):
        mallory.log.append()
    await mallory.dial(person)
    mallory.log = mallory.log.fork(3, grown=9)
    with pytest.raises(Refused):
        await mallory.dial(person)
