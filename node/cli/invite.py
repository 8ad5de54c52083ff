"""`safelight invite`.

Belongs here: showing a code, how to use it, and how the invitation ended.
Never here: opening or answering invitations (the node does).
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command
from node.cli.team import ROLES
from protocol.errors import SafelightError

if TYPE_CHECKING:
    from node.control.client import ControlClient


@new_command("invite")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="editor",
    show_default=True,
    help="What they may do in the team.",
)
@click.option("--no-wait", is_flag=True, help="Return at once; the node goes on waiting.")
@click.pass_obj
def command(settings: Settings, role: str, no_wait: bool) -> int:
    """Make a code by which one person joins your team within ten minutes.

    Example: safelight invite --role reviewer

    Read it to them, over the telephone for instance, and wait: both of you see the same eight
    words in the end. It is good for one try, by whoever makes it. Ctrl-C takes it back.
    """
    from node.cli import output, reach
    from node.control.schema import Invite, InviteCancel

    async def job(client: ControlClient) -> int:
        invitation = await client.call("invite", Invite(role=role))
        # The one document of --json, at once: whoever waits for the end has the exit code.
        output.present(
            {"code": invitation["code"], "expires_at": invitation["expires_at"]},
            lambda _: _show(invitation),
            as_json=settings.json,
        )
        if no_wait:
            return 0
        try:
            return await (_wait_silently if settings.json else _wait)(client, invitation)
        except asyncio.CancelledError:
            # Hanging up takes it back only where the node knew already that somebody waits.
            with contextlib.suppress(SafelightError):
                await client.call("invite_cancel", InviteCancel(number=invitation["number"]))
            raise

    try:
        return reach.with_node(settings, job)
    except KeyboardInterrupt:
        from node.cli.diagnostics import ExitCode

        if not settings.json:
            raise
        return ExitCode.INTERRUPTED


def _show(invitation: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import moment

    code = invitation["code"]
    output.line(f"\n    {code}\n")
    output.line(f"good for one try, until {moment(invitation['expires_at'])}")
    output.line("on this network they type it at the prompt of: safelight join")
    if invitation.get("rendezvous"):
        output.line(f"elsewhere: safelight join --rendezvous {invitation['rendezvous']}")
    for address in invitation.get("addresses", [])[:2]:
        output.line(f"without multicast: safelight join --at {address}")


async def _wait_silently(client: ControlClient, invitation: dict[str, Any]) -> int:
    from node.cli import diagnostics

    try:
        await _ended(client, invitation)
    except SafelightError as error:
        return diagnostics.diagnose(error).exit_code
    return 0


async def _wait(client: ControlClient, invitation: dict[str, Any]) -> int:
    """Count down until somebody has joined, and tell who; the node's error where nobody does."""
    from node.cli import output
    from node.cli.progress import Bar

    with Bar(enabled=True) as bar:
        counting = asyncio.create_task(_count_down(bar, invitation["expires_at"]))
        try:
            came = await _ended(client, invitation)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
    output.line(f"{came['name']} joined as {came['role']}")
    output.line(f"words  {' '.join(came['words'])}")
    output.line("they see the same words; compare them when you talk")
    return 0


async def _ended(client: ControlClient, invitation: dict[str, Any]) -> dict[str, Any]:
    from node.control.schema import InviteWait

    came: dict[str, Any] = await client.call("invite_wait", InviteWait(number=invitation["number"]))
    return came


async def _count_down(bar: Any, expires_at: str) -> None:
    from node.system import SystemClock

    clock, whole = SystemClock(), 600
    ends = round(datetime.fromisoformat(expires_at).timestamp())
    with contextlib.suppress(asyncio.CancelledError):
        while (left := ends - clock.now() // 1000) > 0:
            bar.report(whole - left, whole, f"waiting, {left // 60}:{left % 60:02} left")
            await asyncio.sleep(1)
