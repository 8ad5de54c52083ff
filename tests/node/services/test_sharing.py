"""What is granted to whom, what the policy refuses, and what a share leaves on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.errors import AmbiguousError, UnknownError, UsageError
from node.imaging.made import made_pictures
from node.vault.records import grants as rows
from protocol.capability.terms import parse_terms_untrusted
from protocol.errors import LocalError, Reason, Refused, SafelightError
from tests.node.services.conditions import cancel_while_committing, used_slots
from tests.node.services.team import Person, join, new_person, team

DAY_MS = 86_400_000


async def classified(person: Person, classification: str, number: int) -> str:
    """Import one picture of a classification; return its id."""
    _, data = made_pictures(number + 1, (40, 30))[number]
    image = await person.node.library.import_bytes(
        data, name=f"{classification}.jpg", classification=classification, provenance=b""
    )
    return str(image["id"])


async def grant(person: Person, capability: str) -> rows.GrantRow:
    found = await person.read(lambda db: rows.grant(db, bytes.fromhex(capability)))
    assert found is not None
    return found


async def untouched(person: Person) -> tuple[Any, ...]:
    """Return everything that a share changes."""
    return (
        await person.node.granted.shares(album=None, to=None, state=None),
        await used_slots(person),
        await person.read(lambda db: db.execute("SELECT count(*) FROM outbox").fetchone()),
        await person.read(lambda db: db.execute("SELECT count(*) FROM blobs").fetchone()),
        len(await person.events("issued")),
    )


async def test_every_holder_gets_a_capability_and_secrets_of_its_own(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        images = await alice.import_pictures(3)
        names = [one["id"] for one in images]

        shared = await alice.share(names, ["bob", "carol", "Bob"], opens=4, duration="2h")

        assert [one["holder"] for one in shared] == ["bob", "carol"]
        first, second = [await grant(alice, one["id"]) for one in shared]
        keyslots = alice.node.context.vault.keyslots
        assert first.slot is not None
        assert second.slot is not None
        secrets = {
            keyslots.read(first.slot, first.capability_id).slot_secret,
            keyslots.read(second.slot, second.capability_id).slot_secret,
        }
        assert len(secrets) == 2
        assert first.holder_share != second.holder_share
        assert first.list_key != second.list_key
        assert first.capability_hash != second.capability_hash
        for person, one in ((bob, shared[0]), (carol, shared[1])):
            held = await person.wait_ready(one["id"])
            assert [image["id"] for image in held["images"]] == names
            assert held["opens_left"] == 4
            assert [item["id"] for item in await person.node.inbox.held()] == [one["id"]]
        # One rendition of each picture serves both.
        made = await alice.read(lambda db: db.execute("SELECT count(*) FROM renditions").fetchone())
        assert made == (3,)


async def test_the_sentence_says_who_may_do_what_until_when(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)

        (shared,) = await alice.share(
            [image["id"]], ["bob"], rights=["save"], opens=2, terms="Only for the catalogue."
        )

        held = await bob.wait_ready(shared["id"])
        for sentence in (shared["sentence"], held["sentence"]):
            assert "bob" in sentence
            assert "save" in sentence
            assert "UTC" in sentence
            assert "2" in sentence
        assert shared["rights"] == held["rights"] == ["view", "save"]
        assert held["usage_terms"] == "Only for the catalogue."
        (issued,) = await alice.events("issued")
        assert issued["detail"]["sentence"] == shared["sentence"]


async def test_a_dry_run_says_what_would_be_granted_and_changes_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        before = await untouched(alice)

        (previewed,) = await alice.share(
            [image["id"]], ["bob"], dry_run=True, factor=True, opens=3, not_before="1h"
        )

        assert await untouched(alice) == before
        assert previewed["id"] is None
        assert "factor" not in previewed
        assert (previewed["opens_left"], previewed["holder"]) == (3, "bob")
        await asyncio.sleep(0.1)
        assert await bob.node.inbox.held() == []
        (shared,) = await alice.share([image["id"]], ["bob"], factor=True, opens=3, not_before="1h")
        assert len(shared["factor"].split()) >= 6
        assert (previewed["names"], previewed["watermark"]) == ([image["name"]], None)
        only_told = {"names", "watermark"}
        same = set(previewed) - {"id", "expires_at", "not_before", "sentence"} - only_told
        assert {key: shared[key] for key in same} == {key: previewed[key] for key in same}


async def test_the_policy_of_each_classification_is_kept_and_a_refusal_changes_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        guest = await _guest(tmp_path, alice)
        pictures = {
            one: await classified(alice, one, number)
            for number, one in enumerate(("public", "internal", "confidential", "restricted"))
        }
        before = await untouched(alice)

        async def refused(*what: str, to: str = "bob", **options: Any) -> str:
            with pytest.raises(Refused) as no:
                await alice.share(
                    [pictures[one] for one in what],
                    [to],
                    **{"rendition": None, "duration": None, **options},
                )
            assert no.value.reason is Reason.POLICY
            assert no.value.hint
            return str(no.value)

        try:
            assert "365 days" in await refused("public", duration="366d")
            assert "90 days" in await refused("internal", duration="91d")
            assert "guests" in await refused("internal", to="guest")
            assert "internal" in await refused("public", "internal", duration="91d")
            assert "watermark" in await refused("public", watermark=True, rendition="original")
            assert "watermark" in await refused("confidential", watermark=False)
            assert "watermark" in await refused("public", "confidential", watermark=False)
            assert "preview" in await refused("confidential", rendition="original")
            assert "preview" in await refused("confidential", rendition="clean")
            assert "one approval" in await refused("confidential", to="guest")
            assert "guests" in await refused("restricted", to="guest")
            assert "2 approvals" in await refused("restricted")
            assert "1600" in await refused("restricted", rendition="preview:1601")
            assert "lease" in await refused("public", lease="1h")
            assert await untouched(alice) == before

            for what, to, days in [
                ("public", "guest", 30),
                ("public", "bob", 30),
                ("internal", "bob", 7),
            ]:
                (shared,) = await alice.share([pictures[what]], [to], duration=None, rendition=None)
                terms = parse_terms_untrusted((await grant(alice, shared["id"])).terms)
                assert not terms.watermark
                assert terms.expires_at - terms.not_before == days * DAY_MS
                assert (terms.rendition, terms.max_opens) == ("preview:2048", 10)
                assert terms.classification == what
        finally:
            await guest.node.close()


async def _guest(folder: Path, administrator: Person) -> Person:
    guest = await new_person(folder, "guest", administrator.imaging)
    await join(administrator, guest, "guest")
    return guest


async def test_a_guest_does_not_share(tmp_path: Path) -> None:
    async with team(tmp_path, "alice") as (alice,):
        guest = await _guest(tmp_path, alice)
        try:
            picture = await classified(guest, "public", 0)
            with pytest.raises(Refused, match="guests do not share"):
                await guest.share([picture], ["alice"])
        finally:
            await guest.node.close()


async def test_what_makes_no_share_is_refused_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        first, second = await alice.import_pictures(2)
        image = first["id"]
        before = await untouched(alice)

        cases: list[tuple[type[Exception], list[str], list[str], dict[str, Any]]] = [
            (UsageError, [image], ["alice"], {}),
            (UsageError, [image], ["bob", "alice"], {}),
            (UsageError, [image], [], {}),
            (UsageError, [image], ["bob"], {"rights": ["view", "sell"]}),
            (UsageError, [image], ["bob"], {"terms": "\x1b[2J"}),
            (UsageError, [image], ["bob"], {"terms": "x" * 9000}),
            (UsageError, [image], ["bob"], {"duration": "soon"}),
            (UsageError, [image], ["bob"], {"duration": "2020-01-01T00:00:00Z"}),
            (UsageError, [image], ["bob"], {"not_before": "tomorrow"}),
            (LocalError, [image], ["bob"], {"opens": 0}),
            (LocalError, [image], ["bob"], {"opens": -1}),
            (Refused, [image], ["bob"], {"opens": 10**9}),
            (LocalError, [image], ["bob"], {"rendition": "thumbnail"}),
            (LocalError, [image], ["bob"], {"rendition": "preview:0"}),
            (UnknownError, [image], ["nobody"], {}),
            (UnknownError, [image, "nothing"], ["bob"], {}),
            (UnknownError, [], ["bob"], {}),
        ]
        for error, what, to, options in cases:
            with pytest.raises(error):
                await alice.share(what, to, **options)

        assert await untouched(alice) == before
        assert second["id"] != image


async def test_a_person_may_be_named_by_the_start_of_a_fingerprint(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        fingerprint = bob.node.membership.describe_identity()["fingerprint"]

        for who in (fingerprint, fingerprint[:9].upper(), "BOB"):
            (shared,) = await alice.share([image["id"]], [who], dry_run=True)
            assert shared["holder"] == "bob"
        with pytest.raises(UnknownError):
            await alice.share([image["id"]], [fingerprint[:3]])


async def test_a_newcomer_whose_name_looks_like_a_members_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path / "one", "alice", "bob") as (alice, _):
        other = await new_person(tmp_path, "Bob", alice.imaging)
        try:
            with pytest.raises(SafelightError, match="look alike"):
                await join(alice, other)
            assert alice.node.membership.version == 2
        finally:
            await other.node.close()


async def test_a_share_that_starts_later_lasts_from_then_on(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        (image,) = await alice.import_pictures(1)

        (later,) = await alice.share([image["id"]], ["bob"], not_before="2h", duration="1h")
        (past,) = await alice.share([image["id"]], ["bob"], not_before="2020-01-01T00:00:00Z")

        later_terms = parse_terms_untrusted((await grant(alice, later["id"])).terms)
        past_terms = parse_terms_untrusted((await grant(alice, past["id"])).terms)
        assert later_terms.expires_at - later_terms.not_before == 3_600_000
        now = alice.clock.now()
        assert 7_100_000 < later_terms.not_before - now <= 7_200_000
        assert now - 60_000 < past_terms.not_before <= now


async def test_a_share_that_starts_at_the_end_of_time_is_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        (image,) = await alice.import_pictures(1)

        with pytest.raises(SafelightError):
            await alice.share([image["id"]], ["bob"], not_before="9999-12-31T23:59:59Z")

        assert await used_slots(alice) == []


async def test_a_share_that_is_cancelled_while_it_commits_is_whole_or_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)

        await cancel_while_committing(alice, alice.share([image["id"]], ["bob"]))

        checked = await alice.node.check(read_data=True, progress=lambda *_: None)
        assert checked["problems"] == []
        shares = await alice.node.granted.shares(album=None, to=None, state=None)
        assert len(await used_slots(alice)) == len(shares)
        for share in shares:
            await bob.wait_ready(share["id"])
            assert (await bob.open(share["id"]))["opens_left"] == 9
            await alice.node.ending.revoke(capabilities=[share["id"]], to=None, album=None)
        assert await used_slots(alice) == []


async def test_shares_at_once_use_a_keyslot_each(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await alice.node.rendering.close()

        # More than the slots that there are at first.
        shared = await asyncio.gather(*(alice.share([image["id"]], ["bob"]) for _ in range(140)))

        grants = [await grant(alice, one["id"]) for (one,) in shared]
        assert len({one.slot for one in grants}) == 140
        assert len(await used_slots(alice)) == 140
        alice.node.rendering.start()
        (last,) = shared[-1]
        await bob.wait_ready(last["id"])
        assert (await bob.open(last["id"]))["opens_left"] == 9
        revoked = await alice.node.ending.revoke(capabilities=[], to="bob", album=None)
        assert len(revoked["revoked"]) == 140
        assert await used_slots(alice) == []


async def test_a_capability_is_found_by_a_unique_prefix_of_its_id(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (shared,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(shared["id"])
        granted, received = alice.node.granted, bob.node.inbox

        assert (await granted.resolve(shared["id"][:9].upper())).hex() == shared["id"]
        assert (await received.resolve(shared["id"][:9].upper())).capability_id.hex() == shared[
            "id"
        ]
        for nothing in ("", "*", "zz", shared["id"] + "00", "f" * 32):
            with pytest.raises(UnknownError):
                await granted.resolve(nothing)
            with pytest.raises(UnknownError):
                await received.resolve(nothing)
        for _ in range(20):
            await alice.share([image["id"]], ["bob"])
        digits = [one["id"][0] for one in await granted.shares(album=None, to=None, state=None)]
        twice = next(digit for digit in digits if digits.count(digit) > 1)
        with pytest.raises(AmbiguousError) as several:
            await granted.resolve(twice)
        assert len(several.value.candidates) == digits.count(twice)


async def test_shares_are_listed_by_album_person_and_state(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, _):
        first, second = await alice.import_pictures(2)
        await alice.node.library.import_paths(
            [str(tmp_path / "alice-pictures" / first["name"])],
            album="Tour",
            tags=[],
            classification="internal",
            progress=lambda *_: None,
        )
        (in_album,) = await alice.share(["Tour"], ["bob"])
        (other,) = await alice.share([second["id"]], ["carol"])
        await bob.wait_ready(in_album["id"])
        await alice.node.ending.revoke(capabilities=[other["id"]], to=None, album=None)

        async def listed(**options: Any) -> list[str]:
            shares = await alice.node.granted.shares(
                **{"album": None, "to": None, "state": None, **options}
            )
            return [one["id"] for one in shares]

        assert await listed(album="Tour") == [in_album["id"]]
        assert await listed(to="carol") == [other["id"]]
        assert await listed(state="revoked") == [other["id"]]
        assert await listed(state="live") == [in_album["id"]]
        assert set(await listed()) == {in_album["id"], other["id"]}
        with pytest.raises(UnknownError):
            await listed(album="Nothing")
        with pytest.raises(UnknownError):
            await listed(to="nobody")
