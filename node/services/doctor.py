"""What a running node tells of its own health.

Belongs here: the checks that need a node, each a finding in plain words.
Never here: the machine (``machine``), stored bytes (``vault.check``), or repairing.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from node.imaging import kernel
from node.imaging.messages import Wall, WallName, WallState
from node.services.clock import ClockGuard
from node.services.findings import Finding, State
from node.services.moments import rfc3339
from node.vault import keyring, log_store
from node.vault.log_keys import own_keys
from node.vault.log_writer import CLOCK_META
from node.vault.records import Connection, get_meta, log
from node.vault.records.witness import AlarmRow
from protocol.limits import MAX_CLOCK_STEP_BACK_MS

if TYPE_CHECKING:
    from node.services.context import Context
    from node.services.log_verifying import LogVerifying
    from node.services.membership import Membership
    from node.services.witnessing import Witnessing

_PR_GET_DUMPABLE: Final = 3
"""linux/prctl.h"""

_DAY_MS: Final = 24 * 3_600_000
_ROSTER_ENDS_SOON_MS: Final = 14 * _DAY_MS
"""Administrators' nodes renew a roster a month before its end: two weeks before, none did."""

_WALLS: Final = {
    WallName.LIMITS: "limits of memory, time and descriptors",
    WallName.PRIVILEGES: "no new privileges",
    WallName.FILES: "no files (Landlock)",
    WallName.NETWORK: "no TCP (Landlock)",
    WallName.SIGNALS: "no signals to others (Landlock)",
    WallName.SYSTEM_CALLS: "no other system calls (seccomp)",
}


def decoding(walls: Sequence[Wall], *, tried: bool = True) -> Finding:
    """Return what stands around the processes that decode pictures.

    tried: whether a worker has decoded pictures behind the walls that stand.
    """
    if not walls:
        return Finding(
            check="decoding",
            state=State.PROBLEM,
            message="the picture decoder does not run",
            hint="safelight node stop, then start; no picture is opened without it",
        )
    of = {
        state: ", ".join(_WALLS[wall.name] for wall in walls if wall.state == state)
        for state in WallState
    }
    stands = of[WallState.STANDS]
    if failed := of[WallState.FAILED]:
        return Finding(
            check="decoding",
            state=State.PROBLEM,
            message=f"pictures cannot be decoded behind: {failed}; what is left: {stands}",
            hint="please report it, with the versions of the kernel and of Safelight",
        )
    if missing := of[WallState.UNSUPPORTED]:
        return Finding(
            check="decoding",
            state=State.WARNING,
            message=f"this system cannot give decoders: {missing}; it gives: {stands}",
            hint="Linux 6.12 or newer with Landlock and seccomp has all of it",
        )
    verb = "are decoded" if tried else "can be decoded"
    return Finding(check="decoding", state=State.OK, message=f"pictures {verb} with {stands}")


def core_dumps() -> Finding:
    """Return whether this process's memory can land in a file, or be read by a debugger."""
    dumps = resource.getrlimit(resource.RLIMIT_CORE)[0] != 0
    if kernel.IS_LINUX:
        dumps = dumps or kernel.process_attribute(_PR_GET_DUMPABLE) != 0
    if dumps:
        return Finding(
            check="memory",
            state=State.PROBLEM,
            message="a crash of the node may write keys into a core dump",
            hint="safelight node stop, then start",
        )
    return Finding(
        check="memory",
        state=State.OK,
        message="the node writes no core dumps, and no debugger of this user attaches",
    )


def running(
    version: str, started_at: int, listening: Sequence[tuple[str, int]], *, locked: bool
) -> Finding:
    """Return that this node runs: which version, since when (Unix milliseconds), and where."""
    where = ", ".join(f"{host}:{port}" for host, port in listening)
    message = f"Safelight {version} runs since {rfc3339(started_at)}"
    if where:
        message += f" and listens on {where}"
    if locked:
        return Finding(
            check="node",
            state=State.OK,
            message=f"{message}; it is locked: clock, team, log and keys were not looked at",
            hint="safelight unlock, then doctor again",
        )
    return Finding(check="node", state=State.OK, message=f"{message}; it is unlocked")


async def look_at_node(
    context: Context,
    membership: Membership,
    witnessing: Witnessing,
    clock: ClockGuard,
    log_verifying: LogVerifying,
) -> list[Finding]:
    """Return what an unlocked node tells of itself."""
    now = context.clock.now()
    mark = await context.database.read(_clock_high_water)
    return [
        _clock(clock, mark, now),
        _roster(membership, now),
        await _keys(context),
        await _alarms(context, membership, witnessing),
        await _verified(log_verifying),
    ]


def _clock(guard: ClockGuard, mark: int, now: int) -> Finding:
    if guard.drifted():
        hours = guard.drift() / 3_600_000
        return Finding(
            check="clock",
            state=State.PROBLEM,
            message=f"the clock was moved by {hours:+.1f} h while the node ran, "
            f"to {rfc3339(now)}: nothing is released, and nothing ends by its time",
            hint="set the clock right, or if it is: safelight doctor --accept-clock",
        )
    if now < mark - MAX_CLOCK_STEP_BACK_MS:
        return Finding(
            check="clock",
            state=State.PROBLEM,
            message=f"the log has an entry of {rfc3339(mark)}, and the clock says {rfc3339(now)}: "
            "nothing is released before that time",
            hint="set the clock right",
        )
    return Finding(check="clock", state=State.OK, message="the clock runs on as it should")


def _roster(membership: Membership, now: int) -> Finding:
    if not membership.founded:
        return Finding(
            check="team",
            state=State.OK,
            message="there is no team yet",
            hint="safelight team create NAME, or safelight join",
        )
    notice = membership.notice()
    if notice is not None:
        message, _, hint = notice.partition("; ")
        return Finding(check="team", state=State.PROBLEM, message=message, hint=hint)
    expires_at = membership.trusted.roster.expires_at
    if expires_at < now + _ROSTER_ENDS_SOON_MS:
        return Finding(
            check="team",
            state=State.WARNING,
            message=f"the team's roster expires at {rfc3339(expires_at)}; then nothing opens",
            hint="an administrator renews it with: safelight team renew",
        )
    return Finding(
        check="team", state=State.OK, message=f"the team's roster holds until {rfc3339(expires_at)}"
    )


def _clock_high_water(db: Connection) -> int:
    mark = get_meta(db, CLOCK_META)
    return 0 if mark is None else int.from_bytes(mark, "big")


async def _keys(context: Context) -> Finding:
    """Return which key signs the log, since when, and what holds the secrets of capabilities."""

    def query(db: Connection) -> tuple[int, int, int | None]:
        keys = own_keys(db, context.identity.public)
        begun = log.newest(
            db, subjects=[], since=None, limit=1, events=("epoch_closed", "incarnation_started")
        )
        first = begun[0] if begun else log_store.entry(db, 0)
        return keys.incarnation, keys.epoch, None if first is None else first.time

    incarnation, epoch, since = await context.database.read(query)
    slots = context.vault.keyslots
    which = f"key {epoch + 1}" + (f" of log {incarnation + 1}" if incarnation else "")
    parts = [
        f"the log is signed by its {which}" + ("" if since is None else f", {_since(since)}"),
        f"keyslots in use: {slots.used}",
        "the recovery phrase is the one of the vault's first day",
    ]
    if await asyncio.to_thread(keyring.roll_is_due, context.vault.home.folder):
        return Finding(
            check="keys",
            state=State.WARNING,
            message="; ".join(
                ("a passphrase was set, and the log's key is still the old one", *parts)
            ),
            hint="safelight audit roll",
        )
    if slots.repaired:
        return Finding(
            check="keys",
            state=State.WARNING,
            message="; ".join(
                (f"keyslots that were damaged, none of them in use: {len(slots.repaired)}", *parts)
            ),
            hint="safelight check",
        )
    return Finding(check="keys", state=State.OK, message="; ".join(parts))


def _since(moment: int) -> str:
    return f"since {rfc3339(moment)}"


async def _alarms(context: Context, membership: Membership, witnessing: Witnessing) -> Finding:
    alarms = witnessing.alarms
    await alarms.refresh()
    standing = alarms.standing()
    over = [one for one in standing if alarms.is_over(one)]
    if not standing:
        return Finding(
            check="log",
            state=State.OK,
            message="no member's log contradicted what it showed before",
        )

    def names(rows: Sequence[AlarmRow]) -> str:
        keepers = {
            "this node" if one.fingerprint == context.me else membership.name_of(one.fingerprint)
            for one in rows
        }
        return ", ".join(sorted(keepers))

    if stopping := [one for one in standing if one not in over]:
        message = (
            f"alarms that stand: {len(standing)}, about the log of {names(stopping)}: it "
            "contradicts what it showed before, and there are no dealings with its keeper"
        )
        if over:
            message += f"; over, and not looked into: {names(over)}"
        hint = "safelight audit alarms; then ask that person, in another way than this"
    else:
        ends = [one.over_at for one in over if one.over_at is not None]
        message = (
            f"alarms that stand: {len(over)}, about the log of {names(over)}: it contradicted "
            f"what it showed before, and is over {_since(max(ends))}: its keeper began a new log"
        )
        hint = (
            "safelight audit alarms; ask that person, in another way than this; then "
            f"safelight audit alarms clear {over[0].alarm_id}"
        )
    return Finding(check="log", state=State.PROBLEM, code="fork", message=message, hint=hint)


async def _verified(log_verifying: LogVerifying) -> Finding:
    """Return what is known of the own log's entries, without verifying all of them."""
    glance = await log_verifying.glance()
    last = glance.verified
    if glance.problems:
        first = glance.problems[0]
        where = "" if first.index is None else f"entry {first.index}: "
        return Finding(
            check="verified",
            state=State.PROBLEM,
            code="verification",
            message=f"the own log DOES NOT VERIFY: {where}{first.message}",
            hint="safelight audit verify names all that is wrong with it",
        )
    if last is not None and not last.ok:
        return Finding(
            check="verified",
            state=State.PROBLEM,
            code="verification",
            message=f"the own log DID NOT VERIFY at {rfc3339(last.at)}: problems: {last.problems}",
            hint="safelight audit verify names all that is wrong now",
        )
    newest = f"the newest entries fit the signed head: {glance.looked}"
    if not glance.looked:
        newest = "the own log has no entry yet"
    if last is None:
        return Finding(
            check="verified",
            state=State.OK,
            message=f"{newest}; the whole of the own log was not verified yet",
            hint="safelight audit verify",
        )
    return Finding(
        check="verified",
        state=State.OK,
        message=f"the own log verified up to {last.size} entries at {rfc3339(last.at)}; {newest}",
        hint="safelight audit verify does it again",
    )
