"""An unlocked node: the vault, the services, and what they are wired to.

Belongs here: building the services in order, starting and stopping them.
Never here: the process (``app``), what a service does, or the control API.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import ifaddr

from node.services.amending import Amending
from node.services.auditing import Auditing
from node.services.clock import ClockGuard
from node.services.context import Context
from node.services.delivery import Delivery
from node.services.ending import Ending
from node.services.granted import Granted
from node.services.health import describe
from node.services.incoming import Incoming
from node.services.library import Library, Progress
from node.services.membership import Address, Membership
from node.services.opening import Opening
from node.services.peering import Peering
from node.services.receiving import Receiving
from node.services.rendering import Rendering
from node.services.sharing import Sharing
from node.services.viewing import PixelStore, Viewing
from node.services.witnessing import Witnessing
from node.vault.check import check
from node.vault.database import WriteTransaction
from node.vault.records import get_meta, set_meta
from node.vault.records import team as team_rows
from protocol.identity import format_fingerprint

_LISTEN: Final = "listen"
"""Key in ``meta`` of where this node listens: HOST:PORT, chosen once and kept."""

_DEFAULT_LISTEN: Final = "0.0.0.0:0"
"""Every interface, any port: only members get past the handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """The running services of one vault."""

    context: Context
    membership: Membership
    witnessing: Witnessing
    peering: Peering
    delivery: Delivery
    library: Library
    sharing: Sharing
    granted: Granted
    amending: Amending
    ending: Ending
    rendering: Rendering
    opening: Opening
    receiving: Receiving
    viewing: Viewing
    auditing: Auditing
    pixels: PixelStore

    @classmethod
    async def start(cls, context: Context, *, listen: str | None) -> Unlocked:
        """Wire the services of an open vault, listen and begin their work."""
        membership = await Membership.load(context)
        witnessing = await Witnessing.load(context)
        pixels = PixelStore()
        peering = Peering(context, membership, witnessing)
        delivery = Delivery(context, peering)
        library = Library(context)
        rendering = Rendering(context, membership, delivery.poke)
        granted = Granted(context, membership, library)
        ending = Ending(context, membership, granted, poke=delivery.poke, online=peering.online)
        sharing = Sharing(
            context,
            membership,
            library,
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
        opening = Opening(context, membership, witnessing, ClockGuard(context.clock))
        receiving = Receiving(
            context, membership, peering, poke=delivery.poke, drop_pixels=pixels.drop_capability
        )
        auditing = Auditing(context, membership, library)
        node = cls(
            context=context,
            membership=membership,
            witnessing=witnessing,
            peering=peering,
            delivery=delivery,
            library=library,
            sharing=sharing,
            granted=granted,
            amending=amending,
            ending=ending,
            rendering=rendering,
            opening=opening,
            receiving=receiving,
            viewing=Viewing(
                context,
                membership,
                peering,
                witnessing,
                receiving,
                library,
                pixels,
                poke=delivery.poke,
            ),
            auditing=auditing,
            pixels=pixels,
        )
        try:
            await node._begin(Incoming(context, opening, receiving, auditing), listen)
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
        self.rendering.start()
        self.ending.start()
        self.opening.start()
        self.receiving.start()

    async def close(self) -> None:
        """Stop every service, then close the vault; the next start goes on with what is left."""
        self.pixels.drop_all()
        self.context.events.close()
        await self.peering.close()
        await asyncio.gather(
            self.delivery.close(),
            self.rendering.close(),
            self.ending.close(),
            self.opening.close(),
            self.receiving.close(),
        )
        await self.context.vault.close()

    # What only the whole knows --------------------------------------------------------------------

    def addresses(self) -> list[Address]:
        """Return where other machines reach this node: never a wildcard."""
        found: list[Address] = []
        for host, port in self.peering.listening:
            if host not in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
                found.append((host, port))
                continue
            found += [(address, port) for address in _own_addresses()]
        return found

    async def team(self) -> dict[str, Any]:
        """Return the team as `team show` prints it."""
        last_seen = await self.context.database.read(team_rows.last_seen)
        return self.membership.show(last_seen, self.peering.online())

    async def peers(self) -> list[dict[str, Any]]:
        """Return how each other member is reached."""
        members = [
            one
            for one in self.membership.trusted.members.values()
            if one.fingerprint != self.context.me
        ]
        rtts = await asyncio.gather(*(self.peering.ping(one.fingerprint) for one in members))
        addresses = await self.context.database.read(team_rows.addresses)
        return [
            {
                "name": one.name,
                "fingerprint": format_fingerprint(one.fingerprint),
                "path": "none" if rtt is None else "lan",
                "rtt_ms": rtt,
                "addresses": [
                    f"{host}:{port}" for host, port in addresses.get(one.fingerprint, [])
                ],
            }
            for one, rtt in sorted(
                zip(members, rtts, strict=True), key=lambda pair: pair[0].name.casefold()
            )
        ]

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


def _own_addresses() -> list[str]:
    """Return this machine's IPv4 addresses, loopback only where there is no other."""
    found = [
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if address.is_IPv4
    ]
    return [one for one in found if not one.startswith("127.")] or found
