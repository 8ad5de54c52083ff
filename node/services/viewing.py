"""The holder's side of an open: ask, verify, decrypt, hold the pixels for a while, save.

Belongs here: spending an open and what one open allows (architecture 4.5).
Never here: receiving capabilities (``receiving``) or ciphertext (``fetching``), drawing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from node.errors import TamperedError, UnreachableError, UsageError
from node.imaging.formats import RAW, RAW_ENDINGS, SNIFF_BYTES, sniff
from node.imaging.pool import Pixels
from node.services.context import Context
from node.services.disclosing import Disclosing
from node.services.entries import draft
from node.services.fetching import Fetching
from node.services.files import make_folder, write_new_file
from node.services.inbox import Inbox
from node.services.library import Library, Progress
from node.services.log_keys import LogKeyring
from node.services.membership import Membership
from node.services.peering import Peering
from node.services.pixel_store import PixelStore
from node.services.witnessing import Witnessing
from node.transport.driver import Session
from node.vault.database import WriteTransaction
from node.vault.records import held as rows
from node.vault.records import library, outbox, team
from node.vault.records.held import HeldImageRow, HeldRow
from protocol.capability.keys import (
    NO_FACTOR_MIX,
    factor_mix,
    factor_proof,
    factor_proof_key,
    factor_secret,
)
from protocol.capability.manifest import (
    Manifest,
    unwrap_rendition,
    verify_manifest_untrusted,
)
from protocol.capability.opening import (
    OpenBody,
    VerifiedRelease,
    open_nonce,
    sign_open,
    verify_release_untrusted,
)
from protocol.capability.statements import Receipt, ReceiptEvent, sign_receipt
from protocol.capability.terms import Terms, parse_terms_untrusted
from protocol.encoding import encode
from protocol.errors import LogError, Reason, Refused, RemoteError
from protocol.identity import Identity, clean_text
from protocol.limits import MAX_CLOCK_STEP_BACK_MS, MAX_NAME_BYTES
from protocol.messages import OpenRequest, Released
from protocol.policy import GUEST, usable_rights
from protocol.primitives import sha256

_REACH_S: Final = 10.0
"""How long an open waits for the issuer."""


_ANSWER_S: Final = 20.0
"""How long an issuer may take to answer an open; a full queue of commits takes a second."""


_CHECKS_KEPT: Final = 256
"""Outcomes of checks that may still be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A second factor's two derived values; the phrase itself is gone by then."""

    mix: bytes = field(repr=False)
    proof_key: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A decrypted picture and the release that allowed it."""

    open_id: bytes
    manifest: Manifest
    release: VerifiedRelease
    data: bytes = field(repr=False)


class Viewing:
    """Spends opens for the person at this node."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        peering: Peering,
        witnessing: Witnessing,
        log_keys: LogKeyring,
        inbox: Inbox,
        fetching: Fetching,
        library_service: Library,
        disclosing: Disclosing,
        pixels: PixelStore,
        *,
        poke: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._membership = membership
        self._peering = peering
        self._witnessing = witnessing
        self._log_keys = log_keys
        self._inbox = inbox
        self._fetching = fetching
        self._library = library_service
        self._disclosing = disclosing
        self._pixels = pixels
        self._poke = poke
        self._checks: dict[bytes, asyncio.Future[tuple[str, ...]]] = {}
        """What the newest opens were found to carry undeclared, by open id."""
        self._opening: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    # Open -----------------------------------------------------------------------------------------

    async def open(
        self, *, capability: str, image: str | None, factor: str | None, wait: float
    ) -> dict[str, Any]:
        """Spend one open of a picture and hold its pixels."""
        row = await self._inbox.resolve(capability)
        images = await self._inbox.resolve_images(row, [] if image is None else [image])
        if len(images) > 1:
            raise UsageError(
                f"that capability has {len(images)} pictures: say which",
                hint="for example: " + ", ".join(one.name for one in images[:5]),
            )
        derived = await self._derive(row, factor)
        opened = await self._open_one(row, images[0], derived, wait=wait)
        # A revocation that came meanwhile has dropped the pixels there were: no new ones.
        current = await self._inbox.current(row)
        self._inbox.check_live(current)
        self._pixels.keep(
            opened.open_id,
            row.capability_id,
            opened.data,
            left=current.expires_at + MAX_CLOCK_STEP_BACK_MS - self._context.clock.now(),
        )
        return {
            "image": opened.manifest.image_id.hex(),
            "name": images[0].name,
            "open_id": opened.open_id.hex(),
            "width": opened.manifest.width,
            "height": opened.manifest.height,
            "format": opened.manifest.format,
            "sha256": sha256(opened.data).hex(),
            "bytes": len(opened.data),
            "opens_left": opened.release.opens_left,
            "disclosure": {
                "removed": list(opened.manifest.disclosure.removed),
                "kept": list(opened.manifest.disclosure.kept),
            },
            "log": {
                "origin": opened.release.checkpoint.origin,
                "index": opened.release.entry.seq,
                "size": opened.release.checkpoint.size,
            },
        }

    async def pixels(self, open_id: str, *, width: int, height: int) -> Pixels:
        """Return the pixels of an opened picture, fitted into a box; it is not another open."""
        data = self._pixels.data(_open_id(open_id))
        if data is None:
            raise UsageError("that open is over", hint="open the picture again")
        return await self._context.imaging.pixels(data, width, height)

    def close_open(self, open_id: str) -> None:
        """Drop the pixels of an open."""
        self._pixels.drop(_open_id(open_id))

    async def undeclared(self, open_id: str) -> list[str]:
        """Return what an opened picture carries that its signed manifest does not declare.

        Waits for the check, which an open does not wait for. Nothing for an open of long ago.
        """
        check = self._checks.get(_open_id(open_id))
        return [] if check is None else list(await asyncio.shield(check))

    def _check_disclosure(
        self, open_id: bytes, row: HeldRow, manifest: Manifest, data: bytes, issuer: Identity
    ) -> None:
        """Begin to compare opened bytes with what their manifest says of them."""
        outcome: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()

        async def check() -> None:
            found: tuple[str, ...] = ()
            try:
                found = await self._disclosing.check(issuer, row.capability_id, manifest, data)
            finally:
                # Also where the node stops: nobody waits for ever.
                outcome.set_result(found)

        self._checks[open_id] = outcome
        while len(self._checks) > _CHECKS_KEPT:
            del self._checks[next(iter(self._checks))]
        self._peering.spawn(check())

    async def _derive(self, row: HeldRow, phrase: str | None) -> Factor:
        """Derive the second factor's values in a thread: it takes memory and a moment."""
        self._inbox.check_live(row)
        salt = parse_terms_untrusted(row.terms).factor_salt
        if salt is None:
            return Factor(mix=NO_FACTOR_MIX, proof_key=None)
        if not phrase:
            raise Refused(
                Reason.FACTOR,
                "that capability needs its second-factor phrase",
                hint="give it at the prompt, or with --factor-file FILE",
            )
        secret = await asyncio.to_thread(factor_secret, phrase, salt)
        return Factor(mix=factor_mix(secret), proof_key=factor_proof_key(secret))

    async def _open_one(
        self, row: HeldRow, image: HeldImageRow, factor: Factor, *, wait: float
    ) -> _Opened:
        """Spend one open: everything that can fail without it has been tried before."""
        self._inbox.check_live(row)
        terms = parse_terms_untrusted(row.terms)
        if terms.not_before > self._context.clock.now() + 120_000:
            raise Refused(Reason.NOT_YET, "that capability is not valid yet")
        lock = self._opening.setdefault(row.capability_id + image.image_id, asyncio.Lock())
        # Before waiting for what will not come.
        self._peering.check_dealings(row.issuer)
        async with lock:
            image = await self._inbox.wait_ready(row, image.image_id, wait)
            blob_id = await self._fetching.ensure_ciphertext(row, image)
            # An open_id whose answer was lost is asked for again before a new one is made.
            waiting = await self._context.database.read(
                lambda db: rows.waiting_open(db, row.capability_id, image.image_id)
            )
            if waiting is not None:
                with contextlib.suppress(_SpentBeforeError):
                    return await self._ask(row, image, waiting, blob_id, factor, earlier=True)
            open_id = await self._new_open_id(row, image)
            return await self._ask(row, image, open_id, blob_id, factor, earlier=False)

    async def _new_open_id(self, row: HeldRow, image: HeldImageRow) -> bytes:
        """Return an open id that is durable before it is first sent."""
        open_id = self._context.entropy(16)

        def job(transaction: WriteTransaction) -> None:
            rows.store_open(
                transaction.connection,
                open_id,
                row.capability_id,
                image.image_id,
                self._context.clock.now(),
            )

        await self._context.database.write(job)
        return open_id

    async def _ask(
        self,
        row: HeldRow,
        image: HeldImageRow,
        open_id: bytes,
        blob_id: bytes,
        factor: Factor,
        *,
        earlier: bool,
    ) -> _Opened:
        issuer = self._membership.member(row.issuer)
        if issuer is None:
            raise Refused(Reason.NOT_MEMBER, "the issuer is no longer in the team")
        assert image.manifest is not None, "opened only once it is ready"
        manifest = verify_manifest_untrusted(
            image.manifest, issuer=issuer, team_id=self._membership.team_id
        )
        try:
            link = await self._peering.reach(row.issuer, _REACH_S)
        except UnreachableError:
            if row.expires_at <= self._context.clock.now():
                raise Refused(Reason.EXPIRED, "that capability has expired") from None
            raise
        body = OpenBody(
            capability_hash=row.capability_hash,
            rendition_id=manifest.rendition_id,
            open_id=open_id,
            blob_sha256=manifest.ciphertext_sha256,
            handshake_hash=link.session.handshake_hash,
            roster_version=self._membership.version,
            factor_proof=None
            if factor.proof_key is None
            else factor_proof(
                factor.proof_key, handshake_hash=link.session.handshake_hash, open_id=open_id
            ),
        )
        signed = sign_open(body, holder=self._context.identity, team_id=self._membership.team_id)
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await link.session.request(OpenRequest(signed=signed))
        except TimeoutError:
            raise UnreachableError(
                f"{issuer.name} does not answer",
                hint="try again: the same open is asked for, and not counted twice",
            ) from None
        except Refused as refusal:
            await self._denied(image, open_id, refusal.reason, earlier=earlier)
            raise
        if not isinstance(answer, Released):
            raise TamperedError("the issuer answers an open with something else")
        release = await self._verify(link.session, answer, body, manifest, issuer)
        data = await self._decrypt(row, manifest, blob_id, release, factor)
        await self._log_with_receipt(
            row, image.image_id, open_id, release, "opened", issuer, head=answer.checkpoint
        )
        self._peering.spawn(self._witnessing.follow(link.session, issuer))
        self._check_disclosure(open_id, row, manifest, data, issuer)
        return _Opened(open_id=open_id, manifest=manifest, release=release, data=data)

    async def _denied(
        self, image: HeldImageRow, open_id: bytes, reason: Reason, *, earlier: bool
    ) -> None:
        """Raise the refusal in words; a spent open id is put away first."""

        def job(transaction: WriteTransaction) -> None:
            rows.answer_open(transaction.connection, open_id, self._context.clock.now())

        if reason in (Reason.EXHAUSTED, Reason.UNKNOWN):
            await self._context.database.write(job)
            if earlier:
                raise _SpentBeforeError
        raise Refused(reason, _WHY[reason].format(name=image.name))

    async def _verify(
        self,
        session: Session,
        answer: Released,
        body: OpenBody,
        manifest: Manifest,
        issuer: Identity,
    ) -> VerifiedRelease:
        try:
            release = await self._log_keys.opened(
                session,
                issuer,
                lambda keys: verify_release_untrusted(
                    answer, body=body, manifest=manifest, keys=keys
                ),
            )
            await self._witnessing.check_release(
                session, issuer, release.checkpoint, answer.checkpoint
            )
        except (LogError, RemoteError) as error:
            raise TamperedError(
                f"the issuer's release does not verify: {error}",
                hint="nothing of it was used; tell the issuer",
            ) from error
        return release

    async def _decrypt(
        self,
        row: HeldRow,
        manifest: Manifest,
        blob_id: bytes,
        release: VerifiedRelease,
        factor: Factor,
    ) -> bytes:
        """Return the picture's bytes; K and R are dropped with this frame."""
        assert row.holder_share is not None, "live capabilities have their share"
        try:
            key = unwrap_rendition(
                manifest,
                holder_share=row.holder_share,
                mix=factor.mix,
                issuer_share=release.issuer_share,
            )
            blob = await self._context.database.read(lambda db: library.blob(db, blob_id))
            if blob is None:
                self._inbox.check_live(await self._inbox.current(row))
            assert blob is not None, "live capabilities keep their ciphertext"
            return await self._context.vault.blobs.open_bytes(blob_id, key, blob.context)
        except RemoteError as error:
            raise TamperedError(
                "the sealed picture does not open", hint="tell the issuer"
            ) from error

    async def _log_with_receipt(
        self,
        row: HeldRow,
        image_id: bytes,
        open_id: bytes,
        release: VerifiedRelease,
        event: ReceiptEvent,
        issuer: Identity,
        *,
        head: bytes | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        """Log what was done here, and queue the signed receipt for the issuer's log."""
        now = self._context.clock.now()
        receipt = Receipt(
            event=event,
            capability_hash=row.capability_hash,
            image_id=image_id,
            open_id=open_id,
            origin=release.checkpoint.origin,
            index=release.entry.seq,
            leaf_hash=release.leaf_hash,
            time=now,
        )

        def job(transaction: WriteTransaction) -> None:
            db = transaction.connection
            if event == "opened":
                rows.answer_open(db, open_id, now)
                rows.count_open(db, row.capability_id, image_id)
            if head is not None:
                team.add_release_head(
                    db,
                    origin=release.checkpoint.origin,
                    size=release.checkpoint.size,
                    note=head,
                )
            transaction.append(
                draft(
                    event,
                    actor=self._context.me,
                    about=self._context.me,
                    # The issuer's entry of this open has the same, by which the two logs match.
                    nonce=open_nonce(row.capability_hash, open_id) if event == "opened" else None,
                    references={
                        "issuer": issuer.fingerprint,
                        "image": image_id,
                        "capability": row.capability_id,
                    },
                    facts={
                        "origin": release.checkpoint.origin,
                        "index": str(release.entry.seq),
                        "leaf": release.leaf_hash.hex(),
                        **(facts or {}),
                    },
                )
            )
            outbox.put(
                db,
                peer=row.issuer,
                kind="receipt",
                body=sign_receipt(
                    receipt, holder=self._context.identity, team_id=self._membership.team_id
                ),
                capability_id=row.capability_id,
                now=now,
            )

        await self._context.database.write(job)
        self._poke(row.issuer)

    # Save -----------------------------------------------------------------------------------------

    async def save(
        self,
        *,
        capability: str,
        images: list[str],
        out: str | None,
        factor: str | None,
        progress: Progress,
    ) -> dict[str, Any]:
        """Spend an open of each picture and import it, or write it to a folder."""
        row = await self._inbox.resolve(capability)
        terms = parse_terms_untrusted(row.terms)
        if "save" not in terms.rights:
            raise Refused(
                Reason.POLICY,
                "that capability does not allow saving",
                hint="ask the issuer for one with the right save",
            )
        role = self._membership.role_of(self._context.me) or GUEST
        if "save" not in usable_rights(terms.rights, role):
            raise Refused(
                Reason.POLICY,
                f"{role}s do not save",
                hint="ask an administrator for another role in the team",
            )
        chosen = await self._inbox.resolve_images(row, images)
        if out is not None:
            # Before an open is spent on what could not be written.
            await asyncio.to_thread(make_folder, Path(out))
        derived = await self._derive(row, factor)
        files: list[dict[str, Any]] = []
        for done, image in enumerate(chosen, 1):
            opened = await self._open_one(row, image, derived, wait=_REACH_S)
            files.append(await self._keep(row, terms, image, opened, out))
            progress(done, len(chosen), "saving")
        return {"files": files}

    async def _keep(
        self, row: HeldRow, terms: Terms, image: HeldImageRow, opened: _Opened, out: str | None
    ) -> dict[str, Any]:
        issuer = self._membership.member(row.issuer)
        assert issuer is not None, "opened a moment ago"
        digest = sha256(opened.data).hex()
        # The ending says what the bytes are, whatever the issuer says.
        form = sniff(opened.data[:SNIFF_BYTES])
        if form is None:
            raise TamperedError(
                "what was opened is no picture that this version knows; nothing was written",
                hint="tell the issuer",
            )
        if form in ("tiff", RAW) and opened.manifest.format == RAW:
            # Most raw files begin as a TIFF does, and programs know them by their maker's ending.
            ending = Path(image.name).suffix[1:].lower()
            form = ending if ending in RAW_ENDINGS else RAW
        stem = clean_text(Path(image.name).stem, MAX_NAME_BYTES - len(form) - 1) or "picture"
        name = f"{stem}.{form}"
        if out is not None:
            path = await asyncio.to_thread(write_new_file, Path(out), name, opened.data)
            kept: dict[str, Any] = {"path": str(path)}
        else:
            provenance = encode(
                {
                    "capability": row.capability_id,
                    "issuer": row.issuer,
                    "image": opened.manifest.image_id,
                    "rendition": opened.manifest.rendition,
                }
            )
            imported = await self._library.import_bytes(
                opened.data, name=name, classification=terms.classification, provenance=provenance
            )
            kept = {"path": None, "image": imported["id"]}
        await self._log_with_receipt(
            row,
            image.image_id,
            opened.open_id,
            opened.release,
            "saved",
            issuer,
            facts={"to": "vault" if out is None else "folder"},
        )
        return {
            **kept,
            "sha256": digest,
            "bytes": len(opened.data),
            "undeclared": await self.undeclared(opened.open_id.hex()),
        }


class _SpentBeforeError(Exception):
    """An open id from an earlier run has been spent: ask once more under a new one."""


_WHY: Final = {
    Reason.EXPIRED: "the capability for {name} has expired",
    Reason.REVOKED: "the issuer has revoked the capability for {name}",
    Reason.EXHAUSTED: "no open of {name} is left",
    Reason.NOT_YET: "the capability for {name} is not valid yet",
    Reason.NOT_READY: "the issuer is not ready to release {name}",
    Reason.NOT_MEMBER: "the issuer does not count this node as a member",
    Reason.POLICY: "the team's policy does not allow opening {name}",
    Reason.FACTOR: "the second-factor phrase is wrong, or was tried too often: wait a minute",
    Reason.CLOCK: "the issuer's clock cannot be trusted just now",
    Reason.UNKNOWN: "the issuer does not know that capability",
}


def _open_id(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        return bytes.fromhex(text)
    raise UsageError(f"not an open's id: {text!r}")
