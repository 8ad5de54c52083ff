"""Networks that lose and delay: nothing that was granted is lost, and no open counts twice.

Belongs here: real nodes on a lossy cable and behind a slow line.
Never here: cuts and rendezvous (``test_rendezvous``), or the laboratory's own faults (``lab``).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.netns import sites
from tests.netns.lab import Lab
from tests.netns.machines import Machine, all_linked, stop, team, until
from tests.netns.proxy import DelayingProxy

pytestmark = pytest.mark.root

LOSS = 0.3
ONE_WAY_S = 2.0 if os.environ.get("SAFELIGHT_LONG") else 1.0
"""Of the mean piece, so that a question and its answer take twice this."""


async def linked(machines: list[Machine]) -> float:
    async def all_are() -> bool:
        return await all_linked(machines)

    return await until(all_are, sites.PATIENCE_S)


async def test_a_network_that_loses_a_third_loses_no_capability_and_counts_no_open_twice(
    lab: Lab, folder: Path
) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben") as (anna, spare):
        ben = sites.moved(spare, lab.host("far-ben", office, seed=30))
        ben.host.lose(LOSS)
        anna.launch()
        ben.launch()
        await asyncio.gather(anna.serves(), ben.serves())
        images = await sites.import_pictures(anna, 4)
        found = await linked([anna, ben])

        shares = [await sites.share(anna, ben, [image]) for image in images]
        arrived = max(
            await asyncio.gather(*(sites.until_state(ben, one, "ready") for one in shares))
        )
        opened = await asyncio.gather(
            *(
                sites.open_once(ben, capability, image)
                for capability, image in zip(shares, images, strict=True)
                for _ in range(3)
            )
        )
        await anna.call("revoke", capabilities=[shares[0]])
        revoked = await sites.until_state(ben, shares[0], "revoked")
        counted = [await sites.opens(anna, one) for one in shares]
        released = await sites.events(anna, "released")
        verified = await anna.call("audit_verify")
        wire = ben.host.wire
        stop(anna, ben)
    print(
        f"found {found:.1f} s, arrived {arrived:.1f} s, revoked {revoked:.1f} s,",
        f"{sum(tries for _, tries in opened)} tries for {len(opened)} opens",
        "" if wire is None else f"{wire.lost} of {wire.lost + wire.carried} frames lost",
    )

    assert counted == [3, 3, 3, 3]
    assert len(released) == len(opened) == len({one["open_id"] for one, _ in opened}) == 12
    assert verified["ok"]
    if wire is not None:
        assert 0.2 < wire.lost / (wire.lost + wire.carried) < 0.4


async def test_two_seconds_of_delay_lose_no_capability_and_a_lost_answer_counts_once(
    lab: Lab, folder: Path
) -> None:
    office = lab.segment("192.0.2")
    async with team(lab, folder, office, "anna", "ben") as (anna, ben):
        anna.launch("--no-mdns")
        ben.launch("--no-mdns")
        await asyncio.gather(anna.serves(), ben.serves())
        (image,) = await sites.import_pictures(anna, 1)
        between = lab.host("between", office)
        target = (anna.host.address, await anna.port())
        async with DelayingProxy(
            between, port=7000, target=target, delay_s=ONE_WAY_S, seed=2
        ) as line:
            await ben.call("peers_add", who=anna.name, host=between.address, port=7000)
            found = await linked([anna, ben])
            capability = await sites.share(anna, ben, [image])
            arrived = await sites.until_state(ben, capability, "ready")

            # The line breaks once the open is counted, and before its answer has come.
            opening = asyncio.create_task(sites.open_once(ben, capability, image))

            async def is_released() -> bool:
                return bool(await sites.events(anna, "released"))

            await until(is_released, sites.PATIENCE_S)
            assert not opening.done()
            for connection in list(line._tasks):
                connection.cancel()
            opened, tries = await opening
            await anna.call("revoke", capabilities=[capability])
            revoked = await sites.until_state(ben, capability, "revoked")
            counted = await sites.opens(anna, capability)
            released = await sites.events(anna, "released")
            stop(anna, ben)
    print(
        f"found {found:.1f} s, arrived {arrived:.1f} s, revoked {revoked:.1f} s,",
        f"{tries} tries, {line.connections} connections",
    )

    assert tries > 1
    assert (counted, len(released), opened["opens_left"]) == (1, 1, 9)
