"""Questions about the past: answered as the node itself would have decided at that moment."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node import dispatch
from node.control import schema
from node.errors import UnknownError, UsageError
from node.services.moments import rfc3339
from node.vault.database import WriteTransaction
from node.vault.records import Connection
from node.vault.records import grants as rows
from protocol.capability.opening import OpenBody
from protocol.errors import Reason, SafelightError
from protocol.identity import Identity
from tests.node.services.team import Person, eventually, join, new_person, team

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


async def who_could(person: Person, at: int, image: str | None = None) -> dict[str, Any]:
    return await person.node.questions.who_could(at=rfc3339(at) or "", image=image)


def could(answer: dict[str, Any]) -> set[tuple[str, str, int]]:
    """Return (holder, picture, opens left) of an answer."""
    return {(one["holder"], one["name"], one["opens_left"]) for one in answer["could"]}


async def ready(alice: Person, capability: str) -> None:
    """Wait until every picture of a capability can be opened by its issuer's word."""

    def query(db: Connection) -> bool:
        images = rows.grant_images(db, bytes.fromhex(capability))
        return all(one.manifest is not None for one in images)

    async def made() -> bool:
        return await alice.read(query)

    await eventually(made)


def tick(person: Person) -> int:
    """Return a moment that nothing happens at: some time after the past, some before the rest."""
    person.clock.advance(1_000)
    moment = person.clock.now()
    person.clock.advance(1_000)
    return moment


# The property ---------------------------------------------------------------------------------


class _OutcomeError(Exception):
    """Takes back the transaction in which an open was decided, and carries the decision."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome


async def decided(issuer: Person, holder: Identity) -> dict[tuple[str, str], int | str]:
    """Return what the opening service decides now of each picture that a holder was granted.

    (capability, image) to the opens that are left before, or the reason of the denial. The
    service itself decides, in a transaction that is taken back: nothing is counted or logged.
    """
    opening = issuer.node.opening
    decisions: dict[tuple[str, str], int | str] = {}

    def bodies(db: Connection) -> list[tuple[bytes, bytes, OpenBody]]:
        found = []
        for grant in rows.grants(db):
            for image in rows.grant_images(db, grant.capability_id):
                if grant.holder != holder.fingerprint or image.rendition_id is None:
                    continue
                body = OpenBody(
                    capability_hash=grant.capability_hash,
                    rendition_id=image.rendition_id,
                    open_id=bytes(16),
                    blob_sha256=rows.rendition_sha256(db, image.rendition_id) or b"",
                    handshake_hash=bytes(32),
                    roster_version=1,
                    factor_proof=None,
                )
                found.append((grant.capability_id, image.image_id, body))
        return found

    for capability_id, image_id, body in await issuer.read(bodies):

        def job(transaction: WriteTransaction, body: OpenBody = body) -> None:
            link: Any = SimpleNamespace(member=holder)
            raise _OutcomeError(
                opening._decide(transaction, link, body, factor_ok=True, has_key=True)
            )

        with pytest.raises(_OutcomeError) as caught:
            await issuer.node.context.database.write(job)
        outcome = caught.value.outcome
        decisions[capability_id.hex(), image_id.hex()] = (
            outcome.value if isinstance(outcome, Reason) else outcome.opens_left + 1
        )
    return decisions


@dataclass
class History:
    """A random history of one issuer, with what it decided at each moment of it."""

    alice: Person
    people: dict[str, Identity]
    images: list[str]
    random: random.Random

    async def step(self) -> None:
        """Do one of the things that change who may open what."""
        node, pick = self.alice.node, self.random.choice
        shares = await node.granted.shares(album=None, to=None, state=None)
        members = [
            name for name, one in self.people.items() if node.membership.member(one.fingerprint)
        ]
        capability = pick(shares)["id"] if shares else None
        action = pick(
            ["share"] * 4 + ["open"] * 6 + ["extend"] * 2
            + ["revoke", "classify", "role", "wait", "wait", "remove"]
        )  # fmt: skip
        if action == "share" and members:
            what = self.random.sample(self.images, self.random.randint(1, 2))
            (made,) = await self.alice.share(
                what, [pick(members)], duration=f"{self.random.randint(1, 30)}h",
                opens=self.random.randint(1, 3), watermark=pick([None, True]),
                rendition=pick(["preview:200", "preview:1600"]),
                not_before=pick([None, None, None, "2h"]),
            )  # fmt: skip
            await ready(self.alice, made["id"])
        elif action == "open" and capability:
            await self.open(capability)
        elif action == "extend" and capability:
            await node.amending.extend(
                capability=capability,
                duration=pick([None, f"{self.random.randint(1, 40)}h"]),
                opens=self.random.randint(1, 2),
            )
        elif action == "revoke" and capability and self.random.random() < 0.5:
            await node.ending.revoke(capabilities=[capability], to=None, album=None)
        elif action == "classify":
            kind = pick(["public", "public", "internal", "internal", "confidential", "restricted"])
            await node.library.classify([pick(self.images)], kind)
        elif action == "role" and members:
            await node.administering.role(pick(members), pick(["guest", "reviewer", "editor"]))
        elif action == "remove" and members and self.random.random() < 0.3:
            await node.administering.remove(pick(members))
            await self.settled()
        elif action == "wait":
            self.alice.clock.advance(self.random.randint(1, 9 * 60) * MINUTE_MS)
            node.ending.deadlines_changed()
            await self.settled()

    async def open(self, capability: str) -> None:
        """Count an open as its holder's request would, where it is allowed."""
        capability_id = bytes.fromhex(capability)
        grant = await self.alice.read(lambda db: rows.grant(db, capability_id))
        assert grant is not None
        holder = next(one for one in self.people.values() if one.fingerprint == grant.holder)
        found = await self.alice.read(lambda db: rows.grant_images(db, capability_id))
        image = self.random.choice(found)
        if image.rendition_id is None:
            return
        rendition_id = image.rendition_id
        sha = await self.alice.read(lambda db: rows.rendition_sha256(db, rendition_id))
        body = OpenBody(
            capability_hash=grant.capability_hash, rendition_id=rendition_id,
            open_id=self.random.randbytes(16), blob_sha256=sha or b"",
            handshake_hash=bytes(32), roster_version=1, factor_proof=None,
        )  # fmt: skip
        link: Any = SimpleNamespace(member=holder)
        await self.alice.node.context.database.write(
            lambda one: self.alice.node.opening._decide(
                one, link, body, factor_ok=True, has_key=True
            )
        )

    async def settled(self) -> None:
        """Wait until what is over has ended: the node does that by itself."""

        async def over() -> bool:
            now = self.alice.clock.now()
            members = self.alice.node.membership
            return all(
                grant.ended_at is not None
                for grant in await self.alice.read(rows.grants)
                if grant.expires_at <= now or members.member(grant.holder) is None
            )

        await eventually(over)

    async def look(self) -> tuple[int, dict[str, dict[tuple[str, str], int | str]]]:
        """Return a moment, and what is decided at it for each person."""
        moment = tick(self.alice)
        return moment, {name: await decided(self.alice, one) for name, one in self.people.items()}


@pytest.mark.parametrize("seed", range(4))
async def test_who_could_agrees_with_what_the_opening_service_decided_at_that_moment(
    tmp_path: Path, seed: int
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        pictures = await alice.import_pictures(3)
        history = History(
            alice=alice,
            people={one.name: one.node.context.identity.public for one in (bob, carol)},
            images=[one["id"] for one in pictures],
            random=random.Random(seed),
        )
        for name, picture in (("bob", 0), ("carol", 0), ("bob", 1)):
            (made,) = await alice.share([history.images[picture]], [name], duration="20h", opens=2)
            await ready(alice, made["id"])
        seen = [await history.look()]
        for _ in range(40):
            try:
                await history.step()
            except SafelightError:
                continue  # The policy or the state refuses it: nothing has changed.
            seen.append(await history.look())

        released = 0
        for moment, decisions in seen:
            for image in history.images:
                answer = await who_could(alice, moment, image)
                told: dict[str, dict[tuple[str, str], int | str]] = {"bob": {}, "carol": {}}
                for one in answer["could"]:
                    told[one["holder"]][one["capability"], one["image"]] = one["opens_left"]
                for one in answer["could_not"]:
                    key = (one["capability"], one["image"])
                    # A watermarked copy is destroyed with its capability, and unknown then.
                    gone = decisions[one["holder"]].get(key) == "unknown"
                    told[one["holder"]][key] = "unknown" if gone else one["reason"]
                expected = {
                    name: {key: value for key, value in made.items() if key[1] == image}
                    for name, made in decisions.items()
                }
                assert told == expected
                released += len(answer["could"])
                assert not answer["notes"]
        assert released > 10
        reasons = {value for _, made in seen for one in made.values() for value in one.values()} & {
            reason.value for reason in Reason
        }
        assert len(reasons) >= 2


# Examples --------------------------------------------------------------------------------------


async def test_each_change_counts_from_its_moment_on_and_not_before(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (image,) = await alice.import_pictures(1)
        name = image["name"]
        before = tick(alice)
        (mine,) = await alice.share([name], ["bob"], duration="2h", opens=1)
        (hers,) = await alice.share([name], ["carol"], duration="2h", opens=2)
        for person, capability in ((bob, mine), (carol, hers)):
            await person.wait_ready(capability["id"])
        granted = tick(alice)
        await bob.ask(mine["id"], await bob.manifest(mine["id"]))
        exhausted = tick(alice)
        await alice.node.amending.extend(capability=mine["id"], duration="9h", opens=3)
        extended = tick(alice)
        await alice.node.ending.revoke(capabilities=[hers["id"]], to=None, album=None)
        revoked = tick(alice)
        alice.clock.advance(3 * HOUR_MS)
        later = tick(alice)
        await alice.node.library.classify([name], "restricted")
        classified = tick(alice)
        await alice.node.library.classify([name], "internal")
        await alice.node.administering.remove("bob")
        gone = tick(alice)
        alice.clock.advance(24 * HOUR_MS)
        over = tick(alice)

        expected = [
            (before, set()),
            (granted, {("bob", name, 1), ("carol", name, 2)}),
            (exhausted, {("carol", name, 2)}),
            (extended, {("bob", name, 3), ("carol", name, 2)}),
            (revoked, {("bob", name, 3)}),
            (later, {("bob", name, 3)}),
            (classified, set()),
            (gone, set()),
            (over, set()),
        ]
        for moment, people in expected:
            assert could(await who_could(alice, moment)) == people
        (row,) = (await who_could(alice, extended, name))["could"][1:]
        assert (row["holder"], row["role"], row["rights"]) == ("bob", "editor", ["view"])
        assert row["expires_at"] == (await bob.node.inbox.held())[0]["expires_at"]
        reasons = (await who_could(alice, revoked, name))["could_not"]
        assert [(one["holder"], one["reason"]) for one in reasons] == [("carol", "revoked")]
        assert (await who_could(alice, gone))["roster_version"] == 4
        assert (await who_could(alice, granted))["roster_version"] == 3


async def test_a_moment_to_come_a_time_without_team_and_erased_changes_are_noted(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (capability,) = await alice.share([image["id"]], ["bob"], duration="2h")
        await bob.wait_ready(capability["id"])
        tomorrow = await who_could(alice, alice.clock.now() + 24 * HOUR_MS)
        assert (tomorrow["could"], len(tomorrow["notes"])) == ([], 1)
        within = await who_could(alice, alice.clock.now() + HOUR_MS)
        assert [one["holder"] for one in within["could"]] == ["bob"]
        assert any("to come" in one for one in within["notes"])
        then = await who_could(alice, alice.clock.now() - 24 * HOUR_MS)
        assert (then["could"], then["roster_version"]) == ([], None)
        assert any("no team" in one for one in then["notes"])
        moment = tick(alice)
        await alice.node.amending.extend(capability=capability["id"], duration=None, opens=5)
        assert (await who_could(alice, moment))["could"][0]["opens_left"] == 10
        await alice.node.erasing.erase(subject=capability["id"], kind=None, dry_run=False)
        told = await who_could(alice, moment)
        assert told["could"][0]["opens_left"] == 15
        assert any("erased" in one for one in told["notes"])
        with pytest.raises(UsageError):
            await alice.node.questions.who_could(at="yesterday", image=None)
        with pytest.raises(UnknownError):
            await alice.node.questions.who_could(at="1h", image="no such")


async def test_holders_says_what_is_a_receipt_and_what_is_only_a_release(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        dave = await new_person(tmp_path, "dave", alice.imaging)
        try:
            await join(alice, dave)
            await dave.node.peering.reach(alice.me, 45)
            (image,) = await alice.import_pictures(1)
            name = image["name"]
            made = {}
            for person in (bob, carol, dave):
                (made[person.name],) = await alice.share(
                    [name], [person.name], rights=["view", "save"]
                )
                await person.wait_ready(made[person.name]["id"])
            assert (await alice.node.questions.holders(image=name))["holders"] == []
            await bob.node.viewing.save(
                capability=made["bob"]["id"], images=[], out=None, factor=None,
                progress=lambda *_: None,
            )  # fmt: skip
            # Whoever asks by the protocol alone has the key, and signs no receipt.
            await carol.ask(made["carol"]["id"], await carol.manifest(made["carol"]["id"]))
            await dispatch.call(
                alice.node,
                "export",
                schema.Export(what=[name], out=str(tmp_path / "out"), rendition="original"),
                lambda *_: None,
            )

            async def receipted() -> bool:
                return bool(await alice.events("saved"))

            await eventually(receipted)
            answer = await alice.node.questions.holders(image=name)

            by_name = {one["holder"]: one for one in answer["holders"]}
            assert {who: (one["form"], one["evidence"]) for who, one in by_name.items()} == {
                "bob": ("saved", "receipt"),
                "carol": ("released", "release"),
            }
            bobs = by_name["bob"]
            assert (bobs["releases"], bobs["receipts"], bobs["saves"]) == (1, 1, 1)
            assert by_name["carol"]["receipts"] == 0
            assert (bobs["may_save"], bobs["rendition"], bobs["member"]) == (
                True, "preview:200", True,
            )  # fmt: skip
            assert [one["holder"] for one in answer["granted_not_opened"]] == ["dave"]
            (exported,) = answer["exported"]
            assert (exported["rendition"], exported["sha256"]) == ("original", image["sha256"])
            assert answer["came_from"] is None
            (saved,) = await bob.node.library.images(query="", album=None, tag=None, limit=9)
            assert (await bob.node.questions.holders(image=saved["id"]))["came_from"] == {
                "issuer": "alice",
                "capability": made["bob"]["id"],
                "rendition": "preview:200",
            }

            await bob.open(made["bob"]["id"])
            await dave.open(made["dave"]["id"])

            async def again() -> bool:
                return len(await alice.events("opened")) >= 3

            await eventually(again)
            answer = await alice.node.questions.holders(image=name)
            assert {one["holder"]: one["form"] for one in answer["holders"]} == {
                "bob": "saved",
                "carol": "released",
                "dave": "opened",
            }
            await alice.node.administering.remove("carol")
            answer = await alice.node.questions.holders(image=name)
            members = {one["holder"]: one["member"] for one in answer["holders"]}
            assert members == {"bob": True, "carol": False, "dave": True}
        finally:
            await dave.node.close()


async def test_a_subject_s_page_counts_and_lists_what_the_log_says(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        images = await alice.import_pictures(2)
        (capability,) = await alice.share([images[0]["id"]], ["bob"], opens=1)
        (other,) = await alice.share([images[1]["id"]], ["carol"])
        await bob.wait_ready(capability["id"])
        await carol.wait_ready(other["id"])
        await bob.open(capability["id"])
        assert await bob.ask(capability["id"], await bob.manifest(capability["id"])) == "exhausted"
        await alice.node.ending.revoke(capabilities=[capability["id"]], to=None, album=None)

        async def all_there() -> bool:
            found = {one["event"] for one in (await page("bob"))["counts"]}
            return found >= {"opened", "denied", "revocation_seen"}

        async def page(who: str) -> dict[str, Any]:
            return await alice.node.questions.subject(who=who)

        await eventually(all_there)
        answer = await page("bob")

        counts = {one["event"]: one["count"] for one in answer["counts"]}
        assert counts["issued"] == counts["opened"] == counts["denied"] == 1
        assert counts["released"] == counts["revoked"] == counts["member_added"] == 1
        assert sum(counts.values()) == len(answer["entries"])
        for one in answer["counts"]:
            times = [entry["time"] for entry in answer["entries"] if entry["event"] == one["event"]]
            assert (one["first"], one["last"]) == (times[0], times[-1])
        assert "carol" not in str([one for one in answer["entries"] if one["event"] == "issued"])
        assert answer["person"]["name"] == "bob"
        assert (answer["person"]["member"], answer["person"]["role"]) == (True, "editor")
        assert [one["state"] for one in answer["capabilities"]] == ["revoked"]
        assert answer["last_seen"] is not None
        assert answer["addresses"]

        await alice.node.administering.remove("bob")
        await asyncio.sleep(0)
        former = await page("bob")
        assert (former["person"]["member"], former["person"]["role"]) == (False, None)
        assert {one["event"] for one in former["counts"]} >= {"member_removed"}
        with pytest.raises(UnknownError):
            await page("nobody")


async def test_the_control_api_asks_the_same_questions(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        (made,) = await alice.share([image["id"]], ["bob"])
        await bob.wait_ready(made["id"])

        async def ask(method: str, params: schema.Params) -> Any:
            return await dispatch.call(alice.node, method, params, lambda *_: None)

        could_now = await ask("audit_who_could", schema.AuditWhoCould(at="1s"))
        assert [one["capability"] for one in could_now["could"]] == [made["id"]]
        held = await ask("audit_holders", schema.AuditHolders(image=image["name"]))
        assert [one["holder"] for one in held["granted_not_opened"]] == ["bob"]
        told = await ask("audit_subject", schema.AuditSubject(who="bob"))
        assert told["person"]["name"] == "bob"
        tried = await ask("audit_erase", schema.AuditErase(subject="bob", dry_run=True))
        assert (tried["erased"], tried["subject"]["kind"]) == (False, "person")
