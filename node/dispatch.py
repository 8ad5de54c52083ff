"""The one table from the control API's methods to the services behind them.

Belongs here: unpacking parameters, and the shape of a result where it is only that.
Never here: decisions, HTTP (``control``), or the life of a node (``app``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from node.control import schema
from node.control.schema import Params
from node.errors import UsageError
from node.services.crediting import Wish
from node.services.library import Progress
from node.services.verified import note_verified
from node.unlocked import Unlocked, split_address

Method: TypeAlias = Callable[[Unlocked, Any, Progress], Awaitable[Any]]


async def call(node: Unlocked, method: str, params: Params, progress: Progress) -> Any:
    """Return the result of a method of an unlocked node."""
    return await _METHODS[method](node, params, progress)


def stream(node: Unlocked, method: str, params: Params) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events of a streaming method of an unlocked node."""
    if isinstance(params, schema.AuditLog):
        return node.log_reading.follow(**msgspec.structs.asdict(params))
    return node.context.events.listen()


# Team ---------------------------------------------------------------------------------------------


async def _identity(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return node.membership.describe_identity()


async def _identity_export(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    data = node.membership.identity_file(node.addresses())
    return {**node.membership.describe_identity(), "identity_file": _encode(data)}


async def _team_create(node: Unlocked, params: schema.TeamCreate, _progress: Progress) -> Any:
    await node.membership.create(params.name)
    return await node.team()


async def _team_show(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.team()


async def _team_add(node: Unlocked, params: schema.TeamAdd, _progress: Progress) -> Any:
    told, welcome = await node.administering.add(
        _decode(params.identity_file), params.role, addresses=node.addresses()
    )
    return {**told, "welcome": _encode(welcome)} if welcome else told


async def _team_role(node: Unlocked, params: schema.TeamRole, _progress: Progress) -> Any:
    return await node.administering.role(params.who, params.role)


async def _team_remove(node: Unlocked, params: schema.TeamRemove, _progress: Progress) -> Any:
    return await node.administering.remove(params.who)


async def _team_threshold(node: Unlocked, params: schema.TeamThreshold, _progress: Progress) -> Any:
    return await node.administering.threshold(params.threshold)


async def _team_renew(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.administering.renew()


async def _team_pending(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return node.administering.pending()


async def _team_sign(node: Unlocked, params: schema.TeamSign, _progress: Progress) -> Any:
    return await node.administering.sign(params.proposal)


async def _team_resolve(node: Unlocked, params: schema.TeamResolve, _progress: Progress) -> Any:
    return await node.administering.resolve(**msgspec.structs.asdict(params))


async def _join_file(node: Unlocked, params: schema.JoinFile, _progress: Progress) -> Any:
    joined = await node.membership.join(_decode(params.welcome), params.expect)
    if joined["joined"] and joined["rendezvous"] and node.rendezvous.address is None:
        await node.rendezvous.use(joined["rendezvous"])
    return joined


async def _invite(node: Unlocked, params: schema.Invite, _progress: Progress) -> Any:
    return await node.inviting.invite(params.role)


async def _invite_wait(node: Unlocked, params: schema.InviteWait, _progress: Progress) -> Any:
    return await node.inviting.wait(params.number)


async def _invite_cancel(node: Unlocked, params: schema.InviteCancel, _progress: Progress) -> Any:
    node.inviting.cancel(params.number)
    return {}


async def _join(node: Unlocked, params: schema.Join, progress: Progress) -> Any:
    return await node.joining.join(
        params.code,
        at=None if params.at is None else split_address(params.at),
        rendezvous=params.rendezvous,
        progress=progress,
    )


async def _rendezvous_claim(
    node: Unlocked, params: schema.RendezvousClaim, _progress: Progress
) -> Any:
    await node.rendezvous.claim(params.address, params.secret)
    return node.rendezvous.describe()


async def _peers(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.peers()


async def _peers_add(node: Unlocked, params: schema.PeersAdd, _progress: Progress) -> Any:
    person = node.membership.resolve(params.who)
    if not 0 < params.port < 65536 or not params.host:
        raise UsageError("not an address", hint="write HOST:PORT")
    await node.membership.add_addresses(
        person.fingerprint, [(params.host, params.port)], source="added"
    )
    return {"name": person.name, "host": params.host, "port": params.port}


async def _peers_remove(node: Unlocked, params: schema.PeersRemove, _progress: Progress) -> Any:
    person = node.membership.resolve(params.who)
    removed = await node.membership.remove_addresses(person.fingerprint)
    return {"name": person.name, "removed": removed}


# Library ------------------------------------------------------------------------------------------


async def _import(node: Unlocked, params: schema.Import, progress: Progress) -> Any:
    return await node.library.import_paths(
        params.paths,
        album=params.album,
        tags=params.tags,
        classification=params.classification,
        move=params.move,
        progress=progress,
    )


async def _images(node: Unlocked, params: schema.Images, _progress: Progress) -> Any:
    return await node.library.images(**msgspec.structs.asdict(params))


async def _albums(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.library.albums()


async def _classify(node: Unlocked, params: schema.Classify, _progress: Progress) -> Any:
    return await node.library.classify(params.what, params.classification)


async def _show(node: Unlocked, params: schema.Show, _progress: Progress) -> Any:
    shown = await node.library.show(params.image)
    for capability in shown["capabilities"]:
        capability["holder"] = node.membership.name_of(bytes.fromhex(capability["holder"]))
    return shown


async def _inspect(node: Unlocked, params: schema.Inspect, _progress: Progress) -> Any:
    return {"findings": await node.library.inspect(params.image)}


async def _thumbnail(node: Unlocked, params: schema.Thumbnail, _progress: Progress) -> Any:
    return {"data": _encode(await node.library.thumbnail(params.image, params.size))}


async def _thumbnails(node: Unlocked, params: schema.Thumbnails, _progress: Progress) -> Any:
    found = await node.browsing.thumbnails(params.images, params.size)
    return {"thumbnails": {name: _encode(data) for name, data in found.items()}}


async def _browse(node: Unlocked, params: schema.Browse, _progress: Progress) -> Any:
    return await node.browsing.page(**msgspec.structs.asdict(params))


async def _export(node: Unlocked, params: schema.Export, progress: Progress) -> Any:
    return await node.exporting.export(
        params.what,
        out=params.out,
        rendition=params.rendition,
        wish=_wish(params),
        progress=progress,
    )


async def _album_credit(node: Unlocked, params: schema.AlbumCredit, _progress: Progress) -> Any:
    return await node.crediting.album(params.album, _wish(params))


def _wish(params: schema.Export | schema.AlbumCredit) -> Wish:
    return Wish(
        credit=params.credit,
        copyright_notice=params.copyright_notice,
        terms=params.terms,
        no_credit=params.no_credit,
    )


async def _watermark(node: Unlocked, params: schema.Watermark, _progress: Progress) -> Any:
    return await node.marking.logo(params.logo, remove=params.no_logo)


# Sharing ------------------------------------------------------------------------------------------


async def _share(node: Unlocked, params: schema.Share, _progress: Progress) -> Any:
    return await node.sharing.share(**msgspec.structs.asdict(params))


async def _preview_share(node: Unlocked, params: schema.PreviewShare, _progress: Progress) -> Any:
    found = await node.previewing.preview(**msgspec.structs.asdict(params))
    return {**found, "data": _encode(found["data"])}


async def _shares(node: Unlocked, params: schema.Shares, _progress: Progress) -> Any:
    return await node.granted.shares(**msgspec.structs.asdict(params))


async def _shares_reissue(node: Unlocked, params: schema.SharesReissue, _progress: Progress) -> Any:
    return await node.reissuing.reissue(**msgspec.structs.asdict(params))


async def _access_review(node: Unlocked, params: schema.AccessReview, _progress: Progress) -> Any:
    return await (node.reviewing.sign_off() if params.sign_off else node.reviewing.review())


async def _revoke(node: Unlocked, params: schema.Revoke, _progress: Progress) -> Any:
    return await node.ending.revoke(**msgspec.structs.asdict(params))


async def _extend(node: Unlocked, params: schema.Extend, _progress: Progress) -> Any:
    return await node.amending.extend(**msgspec.structs.asdict(params))


# What I was granted -------------------------------------------------------------------------------


async def _inbox(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.inbox.held()


async def _fetch(node: Unlocked, params: schema.Fetch, progress: Progress) -> Any:
    row = await node.inbox.resolve(params.capability)
    images = await node.inbox.resolve_images(row, params.images)
    return await node.fetching.fetch(row, images, progress=progress)


async def _open(node: Unlocked, params: schema.Open, _progress: Progress) -> Any:
    return await node.viewing.open(**msgspec.structs.asdict(params))


async def _open_pixels(node: Unlocked, params: schema.OpenPixels, _progress: Progress) -> Any:
    pixels = await node.viewing.pixels(params.open_id, width=params.width, height=params.height)
    return {"width": pixels.width, "height": pixels.height, "rgb": _encode(pixels.rgb)}


async def _close_open(node: Unlocked, params: schema.CloseOpen, _progress: Progress) -> Any:
    node.viewing.close_open(params.open_id)
    undeclared = await node.viewing.undeclared(params.open_id)
    return {"undeclared": undeclared} if undeclared else {}


async def _save(node: Unlocked, params: schema.Save, progress: Progress) -> Any:
    return await node.viewing.save(**msgspec.structs.asdict(params), progress=progress)


# Log and health -----------------------------------------------------------------------------------


async def _audit_log(node: Unlocked, params: schema.AuditLog, _progress: Progress) -> Any:
    return await node.log_reading.entries(**msgspec.structs.asdict(params))


async def _audit_alarms(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.describe_alarms(past=True)


async def _audit_alarm_clear(node: Unlocked, params: schema.AuditAlarm, _progress: Progress) -> Any:
    row = await node.witnessing.alarms.clear(params.alarm)
    return {"id": row.alarm_id, "name": node.membership.name_of(row.fingerprint)}


async def _audit_evidence(node: Unlocked, params: schema.AuditEvidence, _progress: Progress) -> Any:
    row = await node.witnessing.alarms.row(params.alarm)
    return {
        "id": row.alarm_id,
        "name": node.membership.name_of(row.fingerprint),
        "origin": row.origin,
        "kind": row.kind,
        "detail": row.detail,
        "first": _readable(row.first),
        "second": _readable(row.second),
        "evidence": None if row.evidence is None else _encode(row.evidence),
    }


async def _audit_witness_add(
    node: Unlocked, params: schema.AuditWitnessAdd, _progress: Progress
) -> Any:
    return await node.outside.add(params.url, params.vkey)


async def _audit_witness_list(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.outside.list()


async def _audit_witness_remove(
    node: Unlocked, params: schema.AuditWitnessRemove, _progress: Progress
) -> Any:
    return await node.outside.remove(params.url)


async def _audit_witness_serve(
    node: Unlocked, params: schema.AuditWitnessServe, _progress: Progress
) -> Any:
    if params.off or params.listen is not None:
        return await node.serving.listen(params.listen)
    return node.serving.describe()


async def _audit_page(node: Unlocked, params: schema.AuditPage, _progress: Progress) -> Any:
    return await node.log_reading.page(**msgspec.structs.asdict(params))


async def _audit_state(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return await node.audit_state()


async def _audit_prove(node: Unlocked, params: schema.AuditProve, _progress: Progress) -> Any:
    return await node.evidence_packs.prove(**msgspec.structs.asdict(params))


async def _audit_export(node: Unlocked, params: schema.AuditExport, progress: Progress) -> Any:
    return await node.evidence_packs.export(**msgspec.structs.asdict(params), progress=progress)


async def _audit_reconcile(
    node: Unlocked, params: schema.AuditReconcile, progress: Progress
) -> Any:
    return await node.reconciling.reconcile(**msgspec.structs.asdict(params), progress=progress)


async def _audit_verify(node: Unlocked, _params: Params, progress: Progress) -> Any:
    report = await node.log_verifying.verify(progress)
    facts = {"size": str(report["size"]), "problems": str(len(report["problems"]))}
    await note_verified(node.context, "log", ok=report["ok"], facts=facts)
    return report


async def _audit_erase(node: Unlocked, params: schema.AuditErase, _progress: Progress) -> Any:
    return await node.erasing.erase(**msgspec.structs.asdict(params))


async def _audit_who_could(
    node: Unlocked, params: schema.AuditWhoCould, _progress: Progress
) -> Any:
    return await node.questions.who_could(at=params.at, image=params.image)


async def _audit_holders(node: Unlocked, params: schema.AuditHolders, _progress: Progress) -> Any:
    return await node.questions.holders(image=params.image)


async def _audit_subject(node: Unlocked, params: schema.AuditSubject, _progress: Progress) -> Any:
    return await node.questions.subject(who=params.who)


async def _audit_roll(node: Unlocked, _params: Params, _progress: Progress) -> Any:
    return {"epoch": await node.log_keys.roll(), **node.incarnations.describe()}


async def _check(node: Unlocked, params: schema.Check, progress: Progress) -> Any:
    report = await node.check(read_data=params.read_data, progress=progress)
    facts = {"problems": str(len(report["problems"])), "data": "yes" if params.read_data else "no"}
    await note_verified(node.context, "vault", ok=report["ok"], facts=facts)
    return report


_METHODS: Final[dict[str, Method]] = {
    "identity": _identity,
    "identity_export": _identity_export,
    "team_create": _team_create,
    "team_show": _team_show,
    "team_add": _team_add,
    "team_role": _team_role,
    "team_remove": _team_remove,
    "team_threshold": _team_threshold,
    "team_renew": _team_renew,
    "team_pending": _team_pending,
    "team_sign": _team_sign,
    "team_resolve": _team_resolve,
    "invite": _invite,
    "invite_wait": _invite_wait,
    "invite_cancel": _invite_cancel,
    "join": _join,
    "join_file": _join_file,
    "rendezvous_claim": _rendezvous_claim,
    "peers": _peers,
    "peers_add": _peers_add,
    "peers_remove": _peers_remove,
    "import": _import,
    "images": _images,
    "albums": _albums,
    "classify": _classify,
    "show": _show,
    "inspect": _inspect,
    "thumbnail": _thumbnail,
    "thumbnails": _thumbnails,
    "browse": _browse,
    "export": _export,
    "album_credit": _album_credit,
    "watermark": _watermark,
    "share": _share,
    "preview_share": _preview_share,
    "shares": _shares,
    "access_review": _access_review,
    "shares_reissue": _shares_reissue,
    "revoke": _revoke,
    "extend": _extend,
    "inbox": _inbox,
    "fetch": _fetch,
    "open": _open,
    "open_pixels": _open_pixels,
    "close_open": _close_open,
    "save": _save,
    "audit_log": _audit_log,
    "audit_alarms": _audit_alarms,
    "audit_alarm_clear": _audit_alarm_clear,
    "audit_evidence": _audit_evidence,
    "audit_witness_add": _audit_witness_add,
    "audit_witness_list": _audit_witness_list,
    "audit_witness_remove": _audit_witness_remove,
    "audit_witness_serve": _audit_witness_serve,
    "audit_verify": _audit_verify,
    "audit_page": _audit_page,
    "audit_state": _audit_state,
    "audit_prove": _audit_prove,
    "audit_export": _audit_export,
    "audit_reconcile": _audit_reconcile,
    "audit_roll": _audit_roll,
    "audit_erase": _audit_erase,
    "audit_who_could": _audit_who_could,
    "audit_holders": _audit_holders,
    "audit_subject": _audit_subject,
    "check": _check,
}


def _readable(statement: bytes) -> str:
    """Return a signed head as the text it is, any other statement in base64."""
    try:
        return statement.decode()
    except UnicodeDecodeError:
        return _encode(statement)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise UsageError("that file did not arrive whole") from None
