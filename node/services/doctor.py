"""What a running node tells of its own health.

Belongs here: the checks that need a node, each a finding in plain words.
Never here: the machine (``machine``), stored bytes (``vault.check``), or repairing.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from node.imaging import kernel
from node.imaging.messages import Wall, WallName, WallState
from node.services.clock import ClockGuard
from node.services.findings import Finding, State
from node.services.moments import rfc3339
from node.vault.log_writer import CLOCK_META
from node.vault.records import Connection, get_meta
from protocol.limits import MAX_CLOCK_STEP_BACK_MS

if TYPE_CHECKING:
    from node.services.context import Context
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


async def look_at_node(
    context: Context, membership: Membership, witnessing: Witnessing, clock: ClockGuard
) -> list[Finding]:
    """Return what an unlocked node tells of itself."""
    now = context.clock.now()
    mark = await context.database.read(_clock_high_water)
    return [
        _clock(clock, mark, now),
        _roster(membership, now),
        await _alarms(context, membership, witnessing),
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


async def _alarms(context: Context, membership: Membership, witnessing: Witnessing) -> Finding:
    await witnessing.alarms.refresh()
    standing = witnessing.alarms.standing()
    if standing:
        names = {
            "this node" if one.fingerprint == context.me else membership.name_of(one.fingerprint)
            for one in standing
        }
        return Finding(
            check="log",
            state=State.PROBLEM,
            code="fork",
            message=f"alarms that stand: {len(standing)}, about the log of "
            f"{', '.join(sorted(names))}: it contradicts what it showed before, and there are no "
            "dealings with its keeper",
            hint="safelight audit alarms; then ask that person, in another way than this",
        )
    return Finding(
        check="log", state=State.OK, message="no member's log contradicted what it showed before"
    )
