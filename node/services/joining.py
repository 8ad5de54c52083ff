"""Joining a team by a short code that somebody told.

Belongs here: finding who told it, and what a newcomer checks before it believes a roster.
Never here: the inviter's side (``inviting``), the six messages (``protocol.joining``), what
adopting a roster writes (``membership``), multicast or the rendezvous (``node.discovery``).

What an inviter says counts as far as the code proves it: the team's id, and the number and hash
of the version that names the newcomer. The roster itself comes over an ordinary channel and is
used only where it is that one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

from node.discovery.nearby import Nearby
from node.discovery.rendezvous import RendezvousClient
from node.discovery.rendezvous_session import call_member, join_slot
from node.errors import NodeError, TamperedError, UnreachableError, UsageError
from node.services.context import Context
from node.services.library import Progress
from node.services.membership import Address, Membership
from node.transport.dialer import dial, dial_link, open_channel_over
from node.transport.driver import Reply, Session
from node.transport.link import Link
from node.transport.websocket import JOIN_PATH
from protocol.errors import LocalError, Reason, Refused, RemoteError, SafelightError
from protocol.identity import Identity, clean_text, parse_certificate_untrusted
from protocol.joining.code import InvitationCode, parse_code
from protocol.joining.session import Accepted, Joiner
from protocol.limits import (
    JOINING_TIMEOUT_MS,
    MAX_ADDRESSES,
    MAX_JOINING_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_ROSTER_UPDATE_BYTES,
)
from protocol.messages import RosterFetch
from protocol.rendezvous.address import RendezvousAddress, parse_rendezvous_address
from protocol.roster.metadata import ADMIN
from protocol.roster.trusted import TrustedRoster
from protocol.roster.update import split_versions_untrusted

_MOST_ADVERTISERS: Final = 4
"""Who says to have the invitation: the real one, and a few who lie."""
_BROWSE_S: Final = 6.0
"""How long a newcomer looks for an invitation on the network: three turns of the announcer's."""
_DIAL_S: Final = 5.0
_ROSTER_S: Final = 60.0
"""How long a newcomer takes to fetch and check the roster's history."""
_MOST_FETCHES: Final = 64
"""Streams of 1 MiB that a roster's history may take."""


class Joining:
    """Joins the team of whoever told a code."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        rendezvous: RendezvousClient,
        nearby: Nearby,
        *,
        addresses: Callable[[], list[Address]],
    ) -> None:
        """Prepare. ``addresses`` returns where this node listens."""
        self._context = context
        self._membership = membership
        self._rendezvous = rendezvous
        self._nearby = nearby
        self._addresses = addresses
        self._joining = asyncio.Lock()

    async def join(
        self, code: str, *, at: Address | None, rendezvous: str | None, progress: Progress
    ) -> dict[str, Any]:
        """Join the team of whoever told the code."""
        if self._membership.founded:
            raise UsageError("this node is in a team already", hint="use another --home")
        try:
            parsed = parse_code(code)
            server = None if rendezvous is None else parse_rendezvous_address(rendezvous)
        except LocalError as error:
            raise UsageError(str(error), hint=error.hint) from error
        async with self._joining:
            joiner, place = await self._prove(parsed, at=at, server=server, progress=progress)
            progress(0, None, "fetching the roster")
            return await self._enter(joiner, place, server)

    async def _prove(
        self,
        code: InvitationCode,
        *,
        at: Address | None,
        server: RendezvousAddress | None,
        progress: Progress,
    ) -> tuple[Joiner, Address | None]:
        """Find who knows the code, and return what they accepted, and where they are."""
        wrong = False
        lost: UnreachableError | None = None
        ways = self._ways(code.number, at=at, server=server, progress=progress)
        async with aclosing(ways) as found:
            async for place, connect in found:
                try:
                    link = await connect
                except UnreachableError as error:
                    lost = error
                    continue
                except SafelightError:
                    continue
                progress(0, None, "proving the code")
                joiner = await self._try(code, link)
                if joiner is not None:
                    return joiner, place
                wrong = True
        if wrong:
            raise NodeError(
                "that code was not accepted",
                code="wrong_code",
                hint="a code is good for one try: ask for a new one, and type it as it is told",
            )
        if server is not None and lost is not None:
            raise lost  # the rendezvous is not there, which says nothing of the invitation
        raise UnreachableError(
            f"nobody was found who expects invitation {code.number}",
            hint="is it still open? without multicast: safelight join --at HOST:PORT, "
            "or --rendezvous ADDR",
        )

    async def _ways(
        self,
        number: int,
        *,
        at: Address | None,
        server: RendezvousAddress | None,
        progress: Progress,
    ) -> AsyncGenerator[tuple[Address | None, Coroutine[Any, Any, Link]]]:
        """Yield the ways to whoever may have the invitation, the likeliest first."""
        if at is not None:
            progress(0, None, f"asking {at[0]}")
            yield at, _dial_inviter(at)
            return
        if server is None:
            progress(0, None, f"looking for invitation {number} on this network")
            tried = 0
            async with aclosing(self._nearby.browse_invitation(number, _BROWSE_S)) as places:
                async for place in places:
                    yield place, _dial_inviter(place)
                    tried += 1
                    if tried == _MOST_ADVERTISERS:
                        break
        address = server or self._rendezvous.address
        if address is not None:
            progress(0, None, "asking the rendezvous")
            yield (
                None,
                join_slot(
                    address, number, clock=self._context.clock, entropy=self._context.entropy
                ),
            )

    async def _try(self, code: InvitationCode, link: Link) -> Joiner | None:
        """Prove the code over a link; None where whoever is there does not accept it.

        Refused where they know the code and decline, UnreachableError where it broke after that.
        """
        context = self._context
        file = self._membership.identity_file(self._addresses()[:MAX_ADDRESSES])
        joiner = Joiner(code, context.identity, file, context.entropy)
        try:
            async with asyncio.timeout(JOINING_TIMEOUT_MS / 1000):
                await _converse(joiner, link)
        except Refused as refusal:
            raise _declined(refusal) from refusal
        except (RemoteError, OSError, TimeoutError) as error:
            if not joiner.proved:
                return None
            raise UnreachableError(
                "whoever invited you was lost before they had answered",
                hint="ask for a new code and try again",
            ) from error
        finally:
            await link.close()
        return joiner

    async def _enter(
        self, joiner: Joiner, place: Address | None, server: RendezvousAddress | None
    ) -> dict[str, Any]:
        """Fetch the roster, check that it is the one that was told, and use it from now on."""
        accepted = joiner.accepted
        inviter = parse_certificate_untrusted(accepted.certificate)
        told = server.text if server is not None else accepted.rendezvous
        places = list(dict.fromkeys(([] if place is None else [place]) + list(accepted.addresses)))
        session = await self._reach(inviter, accepted, places, told)
        try:
            async with asyncio.timeout(_ROSTER_S):
                trusted = await _fetch_roster(session, accepted)
        except TimeoutError:
            raise UnreachableError("the roster did not come in time", hint=_AGAIN) from None
        except RemoteError as error:
            raise TamperedError(_OTHER_ROSTER) from error
        finally:
            await session.close()
        self._check(trusted, accepted, inviter)
        await self._membership.adopt(trusted)
        await self._membership.add_addresses(inviter.fingerprint, places, source="welcome")
        if told and (server is not None or self._rendezvous.address is None):
            await self._rendezvous.use(told)
        return {
            "team": clean_text(trusted.roster.team_name, MAX_NAME_BYTES),
            "member": self._context.identity.public.name,
            "role": trusted.role_of(self._context.me),
            "words": list(joiner.words),
            "inviter": inviter.name,
        }

    def _check(self, trusted: TrustedRoster, accepted: Accepted, inviter: Identity) -> None:
        """Raise unless a roster is the one that was told under the proof of the code."""
        public = self._context.identity.public
        if (
            trusted.team_id != accepted.team_id
            or trusted.hashes.get(accepted.version) != accepted.roster_hash
            or trusted.members.get(public.fingerprint) != public
            or trusted.members.get(inviter.fingerprint) != inviter
            or trusted.role_of(inviter.fingerprint) != ADMIN
        ):
            raise TamperedError(_OTHER_ROSTER)
        if trusted.expired(self._context.clock.now()):
            raise NodeError(
                "the team's roster has expired",
                code="roster_expired",
                hint="an administrator renews it; is this machine's clock right?",
            )

    async def _reach(
        self, inviter: Identity, accepted: Accepted, places: list[Address], told: str
    ) -> Session:
        """Return a channel with the inviter: direct, else through the rendezvous."""
        context = self._context

        async def direct(host: str, port: int) -> Session:
            return await dial(
                host,
                port,
                remote_static=inviter.agreement_key,
                static_secret=context.identity.agreement_secret,
                team_id=accepted.team_id,
                handler=_wait,
                clock=context.clock,
                entropy=context.entropy,
                timeout=_DIAL_S,
            )

        session = await _first_of([direct(host, port) for host, port in places])
        if session is not None:
            return session
        if not told:
            raise UnreachableError(f"{inviter.name} was not reached again", hint=_AGAIN)
        link, relay_session = await call_member(
            parse_rendezvous_address(told),
            inviter.agreement_key,
            team_id=accepted.team_id,
            context=context,
        )
        return await open_channel_over(
            link,
            remote_static=inviter.agreement_key,
            static_secret=context.identity.agreement_secret,
            team_id=accepted.team_id,
            handler=_wait,
            clock=context.clock,
            entropy=context.entropy,
            relay_session=relay_session,
        )


_AGAIN: Final = "you are admitted; ask for a new code and try again"
_OTHER_ROSTER: Final = "the roster that came is not the one that was told with the code"


async def _dial_inviter(place: Address) -> Link:
    return await dial_link(
        *place, path=JOIN_PATH, timeout=_DIAL_S, max_message_bytes=MAX_JOINING_MESSAGE_BYTES
    )


async def _converse(joiner: Joiner, link: Link) -> None:
    """Send and receive until the inviter has accepted; ConnectionError where the link ends."""
    answer: bytes | None = joiner.first()
    while answer is not None:
        await link.send([answer])
        data = await link.receive()
        if data is None:
            raise ConnectionError
        answer = joiner.receive_untrusted(data)


def _declined(refusal: Refused) -> NodeError:
    if refusal.reason is Reason.NOT_READY:
        return NodeError(
            "the code is right, and more administrators have to sign before you are a member",
            code="pending",
            hint="once they have, ask for a new code, or for a WELCOME file",
        )
    return NodeError(
        "the code is right, and whoever invited you could not admit you",
        code="declined",
        hint="their screen says why; then ask for a new code",
    )


async def _first_of(dials: list[Coroutine[Any, Any, Session]]) -> Session | None:
    """Return the first session of several dials, ending the others; None where none succeeds."""
    tasks = [asyncio.create_task(one) for one in dials]
    found: Session | None = None
    try:
        for next_done in asyncio.as_completed(tasks):
            with contextlib.suppress(SafelightError):
                found = await next_done
                break
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Session) and ended is not found:
                await ended.close()
    return found


async def _fetch_roster(session: Session, accepted: Accepted) -> TrustedRoster:
    """Return the inviter's roster once it has the told version; RemoteError for a bad one."""
    trusted: TrustedRoster | None = None
    for _ in range(_MOST_FETCHES):
        have = 0 if trusted is None else trusted.version
        _, stream = await session.request_stream(RosterFetch(have_version=have))
        received = bytearray()
        async for piece in stream:
            received += piece
            if len(received) > MAX_ROSTER_UPDATE_BYTES:
                raise TamperedError(_OTHER_ROSTER)
        for signed in split_versions_untrusted(bytes(received)):
            trusted = (
                TrustedRoster.found_untrusted(signed)
                if trusted is None
                else trusted.update_untrusted(signed)
            )
        if trusted is None or trusted.version == have:
            break
        if trusted.version >= accepted.version:
            return trusted
    raise TamperedError(_OTHER_ROSTER)


async def _wait(session: Session, request: object) -> Reply:
    """Answer nothing as long as the channel lives: it is for fetching the roster alone."""
    await session.closed.wait()
    raise Refused(Reason.NOT_READY)
