"""The heart of it: opens are counted exactly, and only for whom they were meant."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from node.system import system_entropy
from protocol.capability.keys import factor_proof_key, factor_secret
from protocol.capability.manifest import unwrap_rendition
from protocol.capability.terms import parse_terms_untrusted
from protocol.errors import AuthenticationError, Reason, Refused
from protocol.messages import Released
from tests.node.services.team import Person, eventually, team


async def _shared(alice: Person, bob: Person, **terms: object) -> str:
    (image,) = await alice.import_pictures(1)
    (capability,) = await alice.share([image["id"]], ["bob"], **terms)
    await bob.wait_ready(capability["id"])
    return str(capability["id"])


async def test_limits_are_exact_under_200_parallel_opens_with_3_left(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=3)
        manifest = await bob.manifest(capability)

        answers = await asyncio.gather(*(bob.ask(capability, manifest) for _ in range(200)))

        outcomes = Counter(one if isinstance(one, str) else "released" for one in answers)
        assert outcomes == {"released": 3, "exhausted": 197}
        assert len(await alice.events("released")) == 3
        alice.clock.advance(61_000)

        async def all_denials() -> bool:
            denied = await alice.events("denied")
            return sum(int(one["detail"].get("count", 1)) for one in denied) == 197

        await eventually(all_denials)
        denied = await alice.events("denied")
        assert len(denied) == 11
        assert Counter(one["detail"]["reason"] for one in denied[:10]) == {"exhausted": 10}
        assert (await alice.node.log_verifying.verify())["ok"]


async def test_the_same_open_id_on_a_new_connection_redelivers_and_does_not_count(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=3)
        manifest = await bob.manifest(capability)
        open_id = system_entropy(16)
        first = await bob.ask(capability, manifest, open_id=open_id)
        assert isinstance(first, Released)

        link = bob.node.peering.link(alice.me)
        assert link is not None
        await link.session.close()
        second = await bob.ask(capability, manifest, open_id=open_id)

        assert isinstance(second, Released)
        assert second.issuer_share == first.issuer_share
        assert (second.index, second.opens_left) == (first.index, 2)
        assert len(await alice.events("released")) == 1
        assert len(await alice.events("redelivered")) == 1


@pytest.mark.parametrize("who", ["issuer", "holder"])
async def test_after_a_restart_of_either_side_a_stored_open_id_is_used_first(
    tmp_path: Path, who: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=2)
        manifest = await bob.manifest(capability)
        row = await bob.node.inbox.resolve(capability)
        (image,) = await bob.node.inbox.resolve_images(row, [])
        open_id = await bob.node.viewing._new_open_id(row, image)
        answer = await bob.ask(capability, manifest, open_id=open_id)
        assert isinstance(answer, Released)

        await (alice if who == "issuer" else bob).restart()
        opened = await bob.open(capability)

        assert opened["opens_left"] == 1
        assert opened["log"]["index"] == answer.index
        assert len(await alice.events("released")) == 1


async def test_a_spent_open_id_is_not_released_again(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=3)
        opened = await bob.open(capability)

        async def receipted() -> bool:
            return bool(await alice.events("opened"))

        await eventually(receipted)
        again = await bob.ask(
            capability,
            await bob.manifest(capability),
            open_id=bytes.fromhex(opened["open_id"]),
        )

        assert again == "exhausted"
        assert len(await alice.events("released")) == 1


async def test_a_wrong_second_factor_counts_nothing_and_is_throttled(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (granted,) = await alice.share([image["id"]], ["bob"], factor=True, opens=1)
        await bob.wait_ready(granted["id"])
        with pytest.raises(Refused) as without:
            await bob.open(granted["id"])
        assert without.value.reason is Reason.FACTOR

        with pytest.raises(Refused) as wrong:
            await bob.open(granted["id"], factor="not the phrase at all")
        assert wrong.value.reason is Reason.FACTOR
        manifest = await bob.manifest(granted["id"])
        for _ in range(4):
            assert await bob.ask(granted["id"], manifest, proof_key=bytes(32)) == "factor"
        row = await bob.node.inbox.resolve(granted["id"])
        salt = parse_terms_untrusted(row.terms).factor_salt
        assert salt is not None
        right = factor_proof_key(factor_secret(granted["factor"], salt))
        assert await bob.ask(granted["id"], manifest, proof_key=right) == "factor"
        assert not await alice.events("released")

        alice.clock.advance(61_000)
        opened = await bob.open(granted["id"], factor=granted["factor"])
        assert opened["opens_left"] == 0


async def test_one_release_of_a_500_picture_capability_opens_one_picture(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(500, size=(64, 43))
        (granted,) = await alice.share([one["id"] for one in images], ["bob"])
        held = await bob.wait_ready(granted["id"], seconds=120)
        row = await bob.node.inbox.resolve(granted["id"])
        assert row.holder_share is not None
        first = await bob.manifest(granted["id"], held["images"][0]["id"])
        answer = await bob.ask(granted["id"], first)
        assert isinstance(answer, Released)

        opened = 0
        for image in held["images"]:
            manifest = await bob.manifest(granted["id"], image["id"])
            try:
                unwrap_rendition(
                    manifest,
                    holder_share=row.holder_share,
                    mix=bytes(32),
                    issuer_share=answer.issuer_share,
                )
                opened += 1
            except AuthenticationError:
                continue

        assert len(held["images"]) == 500
        assert opened == 1


async def test_a_stolen_capability_is_useless_to_a_third_member(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        capability = await _shared(alice, bob, opens=2)
        manifest = await bob.manifest(capability)
        link = await carol.node.peering.reach(alice.me, 45)

        async def carol_asks(**changes: object) -> str:
            from protocol.capability.opening import OpenBody, sign_open
            from protocol.messages import OpenRequest

            fields: dict[str, Any] = {
                "capability_hash": manifest.capability_hash,
                "rendition_id": manifest.rendition_id,
                "open_id": system_entropy(16),
                "blob_sha256": manifest.ciphertext_sha256,
                "handshake_hash": link.session.handshake_hash,
                "roster_version": carol.node.membership.version,
                "factor_proof": None,
            }
            signer = changes.get("signer", carol)
            assert isinstance(signer, Person)
            signed = sign_open(
                OpenBody(**{**fields, **{k: v for k, v in changes.items() if k != "signer"}}),
                holder=signer.node.context.identity,
                team_id=carol.node.membership.team_id,
            )
            with pytest.raises(Refused) as refused:
                await link.session.request(OpenRequest(signed=signed))
            return refused.value.reason.value

        bobs = bob.node.peering.link(alice.me)
        assert bobs is not None
        assert await carol_asks() == "unknown"
        assert await carol_asks(signer=bob, handshake_hash=bobs.session.handshake_hash) == "unknown"
        assert await carol_asks(signer=bob) == "unknown"

        assert not await alice.events("released")
        assert len(await alice.events("denied")) == 3
        assert {one["actor"] for one in await alice.events("denied")} == {"carol"}
        assert (await bob.open(capability))["opens_left"] == 1


async def test_revocation_is_local_and_what_was_prefetched_stays_shut(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        row = await bob.node.inbox.resolve(capability)
        images = await bob.node.inbox.resolve_images(row, [])
        await bob.node.fetching.fetch(row, images, progress=lambda *_: None)
        manifest = await bob.manifest(capability)

        result = await alice.node.ending.revoke(capabilities=[capability], to=None, album=None)

        assert result["revoked"][0]["seen_by_holder"]
        with pytest.raises(Refused) as refused:
            await bob.open(capability)
        assert refused.value.reason is Reason.REVOKED
        assert await bob.ask(capability, manifest) == "revoked"
        assert not await alice.events("released")


async def test_expiry_is_decided_by_the_issuers_clock(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, duration="1h")
        manifest = await bob.manifest(capability)
        assert isinstance(await bob.ask(capability, manifest), Released)

        alice.clock.advance(3_600_001)

        assert await bob.ask(capability, manifest) == "expired"


async def test_extending_keeps_the_prefetched_ciphertext_good(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=1)
        await bob.open(capability)
        row = await bob.node.inbox.resolve(capability)
        (before,) = await bob.node.inbox.resolve_images(row, [])
        with pytest.raises(Refused):
            await bob.open(capability)

        await alice.node.amending.extend(capability=capability, duration="2h", opens=1)

        opened = await bob.open(capability)
        (after,) = await bob.node.inbox.resolve_images(row, [])
        assert opened["opens_left"] == 0
        assert after.blob_id == before.blob_id
        assert len(await alice.events("amended")) == 1


async def test_a_clock_set_back_or_moved_far_pauses_releases(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        manifest = await bob.manifest(capability)

        alice.clock.shift = -121_000
        assert await bob.ask(capability, manifest) == "clock"
        alice.clock.shift = 0
        assert isinstance(await bob.ask(capability, manifest), Released)
        alice.clock.shift = 3_500_000
        assert isinstance(await bob.ask(capability, manifest), Released)


async def test_a_capability_from_the_future_is_not_opened_yet(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, not_before="1h", duration="1h")
        manifest = await bob.manifest(capability)

        assert await bob.ask(capability, manifest) == "not_yet"
