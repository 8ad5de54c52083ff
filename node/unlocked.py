"""An unlocked node: the vault, the services, and what they are wired to.

Belongs here: building the services in order, starting and stopping them.
Never here: the process (``app``), what a service does, or the control API.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from node.discovery.directory import Directory
from node.discovery.nearby import Nearby
from node.discovery.rendezvous import RendezvousClient
from node.discovery.watcher import Watcher
from node.services.administering import Administering
from node.services.alarms import Alarms
from node.services.amending import Amending
from node.services.auditing import Auditing
from node.services.browsing import Browsing
from node.services.clock import ClockGuard
from node.services.context import Context
from node.services.cosigning import ChannelCosigning, Cosigning, logs_of
from node.services.crediting import Crediting
from node.services.delivery import Delivery
from node.services.departures import Departures
from node.services.disclosing import Disclosing
from node.services.doctor import look_at_node
from node.services.dropping import Dropping
from node.services.ending import Ending
from node.services.erasing import Erasing
from node.services.evidence_pack import EvidencePacks
from node.services.exporting import Exporting
from node.services.fetching import Fetching
from node.services.findings import Finding
from node.services.gossip import Gossip
from node.services.granted import Granted
from node.services.health import describe
from node.services.inbox import Inbox
from node.services.incarnations import Incarnations
from node.services.incoming import Incoming
from node.services.inviting import Inviting
from node.services.joining import Joining
from node.services.library import Library, Progress
from node.services.log_keys import LogKeyring
from node.services.log_reading import LogReading
from node.services.log_verifying import LogVerifying
from node.services.mailing import Mailing
from node.services.marking import Marking
from node.services.membership import Address, Membership
from node.services.moments import rfc3339
from node.services.opening import Opening
from node.services.outside import Outside, Serving
from node.services.peering import Peering
from node.services.pixel_store import PixelStore
from node.services.previewing import Previewing
from node.services.questions import Questions
from node.services.receiving import Receiving
from node.services.reconciling import Reconciling
from node.services.reissuing import Reissuing
from node.services.rendering import Rendering
from node.services.reviewing import Reviewing
from node.services.sharing import Sharing
from node.services.verified import note_verified
from node.services.viewing import Viewing
from node.services.witnessed import Witnessed
from node.services.witnessing import Witnessing
from node.transport.dialer import place_text
from node.transport.hosts import own_hosts, stands_for_all
from node.vault import log_store
from node.vault.check import check
from node.vault.database import WriteTransaction
from node.vault.log_store import StoredEntry
from node.vault.records import Connection, get_meta, set_meta
from node.vault.records import team as team_rows
from protocol.identity import clean_text, format_fingerprint
from protocol.limits import MAX_HOST_BYTES

_LISTEN: Final = "listen"
"""Key in ``meta`` of where this node listens: HOST:PORT, chosen once and kept."""

_DEFAULT_LISTEN: Final = "0.0.0.0:0"
"""Every interface, any port: only members get past the handshake."""

NO_RENDEZVOUS: Final = "none"
"""What stands for no rendezvous where an address is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """The running services of one vault."""

    context: Context
    membership: Membership
    log_keys: LogKeyring
    witnessing: Witnessing
    witnessed: Witnessed
    outside: Outside
    serving: Serving
    directory: Directory
    nearby: Nearby
    rendezvous: RendezvousClient
    peering: Peering
    watcher: Watcher
    delivery: Delivery
    mailing: Mailing
    inviting: Inviting
    joining: Joining
    library: Library
    crediting: Crediting
    exporting: Exporting
    marking: Marking
    browsing: Browsing
    sharing: Sharing
    previewing: Previewing
    granted: Granted
    reviewing: Reviewing
    reissuing: Reissuing
    amending: Amending
    ending: Ending
    incarnations: Incarnations
    departures: Departures
    administering: Administering
    rendering: Rendering
    opening: Opening
    receiving: Receiving
    inbox: Inbox
    fetching: Fetching
    dropping: Dropping
    viewing: Viewing
    auditing: Auditing
    log_reading: LogReading
    log_verifying: LogVerifying
    evidence_packs: EvidencePacks
    reconciling: Reconciling
    questions: Questions
    erasing: Erasing
    pixels: PixelStore
    clock_guard: ClockGuard

    @classmethod
    async def start(
        cls,
        context: Context,
        *,
        listen: str | None,
        mdns: bool = False,
        rendezvous: str | None = None,
    ) -> Unlocked:
        """Wire the services of an open vault, listen and begin their work.

        ``mdns`` announces the node on the local network and looks for others there. ``rendezvous``
        is the address of one to use from now on, "none" for none, None for the one in use.
        """
        membership = await Membership.load(context)
        log_keys = LogKeyring(context)

        async def newest_log(fingerprint: bytes) -> str | None:
            me = context.identity.public
            member = me if fingerprint == me.fingerprint else membership.member(fingerprint)
            return None if member is None else (await log_keys.keys_of(member)).origin

        alarms = Alarms(context, newest_log)
        await alarms.load()
        witnessing = await Witnessing.load(context, log_keys, alarms)
        pixels = PixelStore()
        directory = Directory(context.database, context.clock)
        nearby = Nearby(context, membership, directory)
        client = RendezvousClient(context, membership)
        peering = Peering(context, membership, log_keys, witnessing, directory, client)
        delivery = Delivery(context, peering)
        cosigning = Cosigning(context, logs_of(membership, log_keys, context.me))
        gossip = Gossip(context, membership, log_keys, witnessing, peering)
        outside = Outside(context)
        witnessed = Witnessed(context, membership, peering, gossip, outside)
        library = Library(context)
        crediting = Crediting(context, library)
        rendering = Rendering(context, membership, delivery.poke)
        granted = Granted(context, membership, library)
        clock_guard = ClockGuard(context.clock)
        ending = Ending(
            context,
            membership,
            granted,
            clock_guard,
            poke=delivery.poke,
            online=peering.online,
        )
        incarnations = Incarnations(context, log_keys, witnessing, ending, poke=delivery.poke)
        await incarnations.load()
        disclosing = Disclosing(context)
        sharing = Sharing(
            context,
            membership,
            library,
            disclosing,
            crediting,
            wake_rendering=rendering.wake,
            poke=delivery.poke,
            deadlines_changed=ending.deadlines_changed,
        )
        amending = Amending(
            context,
            membership,
            granted,
            poke=delivery.poke,
            deadlines_changed=ending.deadlines_changed,
        )
        opening = Opening(context, membership, witnessing, clock_guard)
        inbox = Inbox(context, membership)
        fetching = Fetching(context, membership, peering, inbox)
        dropping = Dropping(context, pixels)
        receiving = Receiving(
            context,
            membership,
            inbox,
            pixels,
            poke=delivery.poke,
            deadlines_changed=dropping.deadlines_changed,
        )
        auditing = Auditing(context, membership)
        log_reading = LogReading(context, membership, library)
        administering = Administering(context, membership)
        membership.pending.on_proposal = delivery.poke
        inviting = Inviting(
            context,
            membership,
            client,
            nearby,
            addresses=partial(_reached_at, peering),
            open_listener=peering.open_joining,
        )
        peering.on_joining = inviting.answer
        mailing = Mailing(context, membership, peering, client, receiving, auditing, administering)
        delivery.on_poke = mailing.poke

        def came(fingerprint: bytes) -> None:
            delivery.poke(fingerprint)
            witnessed.poke(fingerprint)

        peering.on_link = came

        def moved() -> None:
            peering.recheck()
            client.check()
            nearby.readvertise()

        node = cls(
            context=context,
            membership=membership,
            log_keys=log_keys,
            witnessing=witnessing,
            witnessed=witnessed,
            outside=outside,
            serving=Serving(context, cosigning),
            directory=directory,
            nearby=nearby,
            rendezvous=client,
            peering=peering,
            watcher=Watcher(context.clock, on_change=moved),
            delivery=delivery,
            mailing=mailing,
            inviting=inviting,
            joining=Joining(
                context, membership, client, nearby, addresses=partial(_reached_at, peering)
            ),
            library=library,
            crediting=crediting,
            exporting=Exporting(context, library, crediting),
            marking=Marking(context),
            browsing=Browsing(context, membership, library),
            sharing=sharing,
            previewing=Previewing(context, library, sharing),
            granted=granted,
            reviewing=Reviewing(context, membership, granted),
            reissuing=Reissuing(context, membership, granted, sharing),
            amending=amending,
            ending=ending,
            incarnations=incarnations,
            departures=Departures(context, membership, ending),
            administering=administering,
            rendering=rendering,
            opening=opening,
            receiving=receiving,
            inbox=inbox,
            fetching=fetching,
            dropping=dropping,
            viewing=Viewing(
                context,
                membership,
                peering,
                witnessing,
                log_keys,
                inbox,
                fetching,
                library,
                disclosing,
                pixels,
                poke=delivery.poke,
            ),
            auditing=auditing,
            log_reading=log_reading,
            log_verifying=LogVerifying(context, membership),
            evidence_packs=EvidencePacks(context, membership, log_reading),
            reconciling=Reconciling(context, membership),
            questions=Questions(context, membership, library, granted, log_reading),
            erasing=Erasing(context, membership, library),
            pixels=pixels,
            clock_guard=clock_guard,
        )
        try:
            incoming = Incoming(
                context,
                opening,
                receiving,
                auditing,
                administering,
                ChannelCosigning(cosigning, witnessing),
                gossip,
            )
            await node._begin(incoming, listen)
            await node._find_others(mdns=mdns, rendezvous=rendezvous)
        except BaseException:
            await node.close()
            raise
        return node

    async def _begin(self, incoming: Incoming, listen: str | None) -> None:
        kept = await self.context.database.read(lambda db: get_meta(db, _LISTEN))
        chosen = listen or (_DEFAULT_LISTEN if kept is None else kept.decode())
        host, port = split_address(chosen)
        kept_host, kept_port = (None, 0) if kept is None else split_address(kept.decode())
        again = kept_port if port == 0 and host == kept_host else port
        await self.peering.start(host=host, port=again, any_port=port == 0, serve=incoming)
        bound = f"{host}:{self.peering.listening[0][1]}".encode()
        if bound != kept:

            def job(transaction: WriteTransaction) -> None:
                set_meta(transaction.connection, _LISTEN, bound)

            await self.context.database.write(job)
        self.watcher.start()
        self.witnessed.start()
        await self.serving.start()
        self.rendering.start()
        self.ending.start()
        self.incarnations.start()
        self.departures.start()
        self.administering.start()
        self.opening.start()
        self.dropping.start()
        self.mailing.start()

    async def _find_others(self, *, mdns: bool, rendezvous: str | None) -> None:
        if rendezvous is None:
            await self.rendezvous.start()
        else:
            await self.rendezvous.use(None if rendezvous == NO_RENDEZVOUS else rendezvous)
        if mdns:
            await self.nearby.start(
                port=self.peering.listening[0][1],
                interfaces=lambda: [host for host, _ in self.addresses() if ":" not in host],
            )

    async def close(self) -> None:
        """Stop every service, then close the vault; the next start goes on with what is left."""
        self.pixels.drop_all()
        self.context.events.close()
        await self.watcher.close()
        await self.serving.close()
        await self.witnessed.close()
        await self.inviting.close()
        await self.nearby.close()
        await self.mailing.close()
        await self.rendezvous.close()
        await self.peering.close()
        await asyncio.gather(
            self.delivery.close(),
            self.rendering.close(),
            self.ending.close(),
            self.incarnations.close(),
            self.departures.close(),
            self.administering.close(),
            self.opening.close(),
            self.dropping.close(),
        )
        await self.context.vault.close()

    # What only the whole knows --------------------------------------------------------------------

    def addresses(self) -> list[Address]:
        """Return where other machines reach this node: never a wildcard."""
        return _reached_at(self.peering)

    async def team(self) -> dict[str, Any]:
        """Return the team as `team show` prints it."""
        last_seen = await self.context.database.read(team_rows.last_seen)
        pending = len(self.membership.proposals()) if self.membership.founded else 0
        return self.membership.show(last_seen, self.peering.online(), pending=pending)

    async def peers(self) -> list[dict[str, Any]]:
        """Return how each other member is reached."""
        members = [
            one
            for one in self.membership.trusted.members.values()
            if one.fingerprint != self.context.me
        ]
        rtts = await asyncio.gather(*(self.peering.ping(one.fingerprint) for one in members))
        await self.directory.load()
        return [
            {
                "name": one.name,
                "fingerprint": format_fingerprint(one.fingerprint),
                **self.peering.describe(one.fingerprint),
                "alarm": self.peering.stopped(one.fingerprint),
                "rtt_ms": rtt,
                "addresses": [
                    clean_text(place_text(place.host, place.port), MAX_HOST_BYTES)
                    for place in self.directory.places(one.fingerprint)
                ],
            }
            for one, rtt in sorted(
                zip(members, rtts, strict=True), key=lambda pair: pair[0].name.casefold()
            )
        ]

    async def describe_alarms(self, *, past: bool = False) -> list[dict[str, Any]]:
        """Return the alarms that nobody has cleared; with ``past`` also those that were."""
        await self.witnessing.alarms.refresh()
        return self.witnessing.alarms.describe(self.membership.name_of, past=past)

    async def audit_state(self) -> dict[str, Any]:
        """Return how long the own log is, how far it is witnessed, and which alarms stand."""

        def newest(db: Connection) -> StoredEntry | None:
            head = log_store.head(db)
            return None if head is None else log_store.entry(db, head.size - 1)

        last, told = await self.context.database.read(newest), await self.witnessed.describe()
        return {
            "size": 0 if last is None else last.index + 1,
            "head_time": None if last is None else rfc3339(last.time),
            "witnessed_by": told["witnesses"],
            "members": told["members"],
            "unwitnessed_entries": told["unwitnessed"],
            "unwitnessed_s": told["unwitnessed_s"],
            "alarms": await self.describe_alarms(),
        }

    async def look_at_health(self) -> list[Finding]:
        """Return what this node tells of its own health."""
        found = await look_at_node(
            self.context, self.membership, self.witnessing, self.clock_guard, self.log_verifying
        )
        return [*found, self.incarnations.finding()]

    async def accept_clock(self) -> None:
        """Go on by the clock as it is now, and log that: releases, and ends of what is over."""
        moved = f"{round(self.clock_guard.drift() / 1000)} s"
        await note_verified(self.context, "clock", ok=True, facts={"moved": moved})
        self.clock_guard.accept()
        self.ending.deadlines_changed()

    async def check(self, *, read_data: bool, progress: Progress) -> dict[str, Any]:
        """Return the vault's health."""
        return describe(await check(self.context.vault, read_data=read_data, progress=progress))


def split_address(text: str) -> Address:
    """Return host and port of HOST:PORT; an IPv6 host stands in brackets."""
    from node.errors import UsageError

    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or not host:
        raise UsageError(f"not an address: {text!r}", hint="write HOST:PORT, port 0 for any")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _reached_at(peering: Peering) -> list[Address]:
    """Return where other machines reach a node: never a wildcard."""
    found: list[Address] = []
    for host, port in peering.listening:
        hosts = own_hosts() if stands_for_all(host) else [host]
        found += [(one, port) for one in hosts]
    return found
