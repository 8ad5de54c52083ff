"""Two segments that only a rendezvous joins: a team works across them with real processes.

Belongs here: joining, sharing and revoking through the server, cuts, and the way back to direct.
Never here: one LAN (``test_lan``), lossy or slow networks (``test_bad_networks``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.control.client import ControlError
from tests.netns import sites
from tests.netns.lab import Lab, ip
from tests.netns.machines import stop, team, until

pytestmark = pytest.mark.root

HEALED_S = 30.0
"""The promise after a cut."""
CUT_S = 6.0
"""Long enough for both ends to have given up on packets and to wait between tries."""


async def test_two_segments_join_share_open_and_revoke_through_the_host_between_them(
    lab: Lab, folder: Path
) -> None:
    office, branch = lab.segment("192.0.2"), lab.segment("198.51.100")
    server = sites.serve(lab.host("server", office, branch), folder / "server")
    async with team(lab, folder, office, "anna", strangers=["ben"]) as (anna, spare):
        # Ben is at the branch; his way to the office is not plugged in yet.
        ben = sites.moved(spare, lab.host("branch-ben", branch, office))
        ip("-n", ben.host.namespace, "link", "set", "eth1", "down")
        anna.launch()
        ben.launch()
        await asyncio.gather(anna.serves(), ben.serves())
        await anna.call("rendezvous_claim", address=server.address(0), secret=server.claim)
        await until(lambda: sites.connected(anna), sites.PATIENCE_S)

        # A code, through a slot of the server.
        came, joined = await sites.join(anna, ben, server.address(1))
        relayed = await sites.both_by(anna, ben, "relay")
        told = [await anna.peer(ben), await ben.peer(anna)]

        # Sharing, opening and revoking, through it.
        first, second, third = await sites.import_pictures(anna, 3)
        one = await sites.share(anna, ben, [first])
        two = await sites.share(anna, ben, [second])
        await sites.until_state(ben, one, "ready")
        await sites.until_state(ben, two, "ready")
        opened, _ = await sites.open_once(ben, one, first)
        await anna.call("revoke", capabilities=[two])
        await sites.until_state(ben, two, "revoked")
        with pytest.raises(ControlError) as refused:
            await ben.call("open", capability=two, image=second)

        # A cut, news meanwhile, and healing.
        branch.cut(ben.host)
        await anna.call("revoke", capabilities=[one])
        late = await sites.share(anna, ben, [third], opens=500)
        await asyncio.sleep(CUT_S)
        branch.heal(ben.host)
        healed = max(
            *await asyncio.gather(
                sites.until_state(ben, one, "revoked"),
                sites.until_state(ben, late, "ready"),
                sites.both_by(anna, ben, "relay"),
            )
        )
        await sites.open_once(ben, late, third)

        # On one segment again: direct, while opens go on.
        ip("-n", ben.host.namespace, "link", "set", "eth1", "up")
        direct = asyncio.create_task(sites.both_by(anna, ben, "lan"))
        spent = 1
        while not direct.done():
            await sites.open_once(ben, late, third)
            spent += 1
            if spent > 6:
                await asyncio.wait([direct], timeout=0.5)
        upgraded = await direct
        counted = [await sites.opens(anna, capability) for capability in (one, two, late)]
        released = await sites.events(anna, "released")
        stop(anna, ben)
    print(f"relayed after {relayed:.1f} s, healed {healed:.1f} s, direct {upgraded:.1f} s")

    assert came["words"] == joined["words"]
    assert len(joined["words"]) == 8
    assert [peer["path"] for peer in told] == ["relay", "relay"]
    assert all("relayed through the rendezvous" in peer["why"] for peer in told)
    assert opened["opens_left"] == 9
    assert refused.value.code == "revoked"
    assert healed <= HEALED_S
    assert upgraded <= HEALED_S
    assert counted == [1, 0, spent]
    assert len(released) == 1 + spent
