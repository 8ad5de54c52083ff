"""What docs/audit.md says is written is written by real actions on real nodes, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from node import dispatch
from node.control import schema
from node.errors import NodeError
from node.imaging.metadata import metadata_groups_untrusted
from node.services.moments import rfc3339
from node.system import system_entropy
from node.vault import log_store
from node.vault.errors import WrongPassphraseError
from node.vault.records import Connection
from node.vault.records import grants as rows
from protocol.audit.entry import EVENTS, decode_entry_untrusted
from protocol.capability.manifest import Disclosure
from protocol.messages import Released
from protocol.primitives import sha256
from tests.attacks.mallory import enlisted
from tests.node.services.administrators import administrators, tell
from tests.node.services.team import (
    PASSPHRASE,
    Person,
    eventually,
    new_person,
    plain_pictures,
    team,
)
from tests.node.services.test_disclosing import landscape
from tests.node.services.test_incarnations import back_up, begun, linked, restore
from tests.node.services.test_joining import another, use_code
from tests.support import ROOT

GUIDE = (ROOT / "docs" / "audit.md").read_text()
WRITTEN, NOT_WRITTEN = GUIDE.split("## In the format, and not written yet")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    event: str
    required: frozenset[str]
    optional: frozenset[str]

    def fits(self, event: str, fields: frozenset[str]) -> bool:
        """Say whether an entry is of this row."""
        return (
            event == self.event
            and self.required <= fields
            and fields <= self.required | self.optional
        )


def table() -> list[Row]:
    found = []
    for event, values in re.findall(r"^\| `(\w+)` \| \w+ \| .* \| ([^|]*) \|$", WRITTEN, re.M):
        named = re.findall(r"`(\w+)`(\??)", values)
        found.append(
            Row(
                event=event,
                required=frozenset(name for name, mark in named if not mark),
                optional=frozenset(name for name, mark in named if mark),
            )
        )
    return found


ROWS = table()
LATER = frozenset(re.findall(r"`(\w+)`", "".join(
    line.split("|")[1] for line in NOT_WRITTEN.splitlines() if line.startswith("| `")
)))  # fmt: skip


def test_the_table_has_every_event_of_the_format_on_one_side_or_the_other() -> None:
    written = {row.event for row in ROWS}

    assert len(ROWS) > 30
    assert written | LATER == EVENTS
    assert not written & LATER


DRAFTED = re.compile(r'draft\(\s*"(\w+)"|event="(\w+)"')


def test_no_service_writes_what_the_table_says_is_not_written_yet() -> None:
    sources = "".join(
        path.read_text()
        for path in (ROOT / "node").rglob("*.py")
        if path.parts[-2] in {"services", "vault"}
    )

    drafted = {one for found in DRAFTED.findall(sources) for one in found if one}
    assert len(drafted) > 15
    assert not drafted & LATER


# Reading a log ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Told:
    """An entry, with everything it commits to."""

    event: str
    fields: frozenset[str]
    """What it commits to."""
    values: dict[str, bytes]
    """What of it is not erased."""
    entry: bytes

    def text(self, *names: str) -> tuple[str, ...]:
        return tuple(self.values[name].decode() for name in names)


async def told(person: Person, event: str | None = None) -> list[Told]:
    """Return a person's entries, of every log of theirs, oldest first."""

    def query(db: Connection) -> list[Told]:
        found = []
        for incarnation in log_store.incarnations(db):
            for one in log_store.walk(db, incarnation):
                values = log_store.values(db, one.index, incarnation)
                entry = decode_entry_untrusted(one.entry)
                assert set(entry.commitments) >= set(values)
                found.append(
                    Told(
                        event=entry.event,
                        fields=frozenset(entry.commitments),
                        values={name: value.value for name, value in values.items()},
                        entry=one.entry,
                    )
                )
        return found

    return [one for one in await person.read(query) if event in (None, one.event)]


async def newest(person: Person, event: str) -> Told:
    async def there() -> list[Told]:
        return await told(person, event)

    return (await eventually(there))[-1]


class Seen:
    """Which rows of the table real entries were seen for."""

    def __init__(self) -> None:
        self.rows: set[int] = set()
        self.looks = 0

    async def look(self, *people: Person) -> None:
        """Find the one row of each entry; fail where an entry is of none."""
        self.looks += 1
        for person in people:
            for one in await told(person):
                fitting = [n for n, row in enumerate(ROWS) if row.fits(one.event, one.fields)]
                assert len(fitting) == 1, (one.event, sorted(one.fields))
                self.rows.update(fitting)


SEEN = Seen()


# What people do ---------------------------------------------------------------------------------

CANARIES = {
    "file": "canaryfile7f3a",
    "terms": "canaryterms44e8",
    "album": "canaryalbum5d20",
    "tag": "canarytag91bc",
    "holder": "canaryholder0b6d",
}


async def test_sharing_opening_refusing_changing_and_ending_are_told_with_their_values(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", CANARIES["holder"]) as (alice, bob):
        folder = tmp_path / "pictures"
        folder.mkdir()
        path = folder / f"{CANARIES['file']}.jpg"
        ((_, data),) = plain_pictures(1, (320, 213))
        path.write_bytes(data)
        imported = await alice.node.library.import_paths(
            [str(path)], album=CANARIES["album"], tags=[CANARIES["tag"]],
            classification="public", progress=lambda *_: None,
        )  # fmt: skip
        image_id = bytes.fromhex(imported["images"][0]["id"])
        one = await newest(alice, "imported")
        assert one.values == {
            "image": image_id,
            "name": path.name.encode(),
            "classification": b"public",
            "sha256": sha256(data).hex().encode(),
        }
        await alice.node.library.classify([path.name], "internal")
        one = await newest(alice, "classified")
        assert one.values == {"image": image_id, "old": b"public", "new": b"internal"}

        (shared,) = await alice.share(
            [path.name], [bob.name], opens=2, terms=CANARIES["terms"], rights=["view", "save"],
            watermark=True,
        )  # fmt: skip
        capability_id = bytes.fromhex(shared["id"])
        await bob.wait_ready(shared["id"])
        of_alice = {"holder": bob.me, "capability": capability_id}
        of_bob = {"issuer": alice.me, "capability": capability_id}
        grant = await alice.read(lambda db: rows.grant(db, capability_id))
        assert grant is not None
        limits = f"expires {shared['expires_at']}, 2 opens".encode()
        terms = grant.capability_hash.hex().encode()
        one = await newest(alice, "issued")
        assert one.values == {
            **of_alice, "terms": terms, "new": limits, "sentence": shared["sentence"].encode(),
        }  # fmt: skip
        one = await newest(bob, "received")
        (held,) = await bob.node.inbox.held()
        assert one.values == {
            **of_bob, "terms": terms, "new": limits, "sentence": held["sentence"].encode(),
        }  # fmt: skip
        assert (await newest(alice, "delivered")).values == of_alice
        made = await told(alice, "rendered")
        assert made[0].text("rendition", "watermark") == ("preview:200", shared["id"][:8])
        assert made[1].values["capability"] == capability_id

        manifest = await bob.manifest(shared["id"])
        open_id = system_entropy(16)
        first = await bob.ask(shared["id"], manifest, open_id=open_id)
        assert isinstance(first, Released)
        assert isinstance(await bob.ask(shared["id"], manifest, open_id=open_id), Released)
        picture = {**of_alice, "image": image_id}
        assert (await newest(alice, "released")).values == picture
        assert (await newest(alice, "redelivered")).values == picture
        await bob.node.viewing.save(
            capability=shared["id"], images=[], out=None, factor=None, progress=lambda *_: None
        )
        for event in ("opened", "saved"):
            theirs, mine = await newest(alice, event), await newest(bob, event)
            assert theirs.values == {**picture, "release": mine.values["index"]}
            assert mine.values["image"] == image_id
            assert mine.text("index") == (str(first.index + 2),)
        assert (await newest(bob, "saved")).text("to") == ("vault",)

        for _ in range(12):
            assert await bob.ask(shared["id"], manifest) == "exhausted"
        denied = await told(alice, "denied")
        assert [one.values for one in denied] == [{**picture, "reason": b"exhausted"}] * 10
        alice.clock.advance(61_000)

        async def summed() -> bool:
            return "count" in (await told(alice, "denied"))[-1].values

        await eventually(summed)
        assert (await newest(alice, "denied")).text("count") == ("2",)
        assert await bob.ask(shared["id"], manifest, capability_hash=bytes(32)) == "unknown"
        assert (await newest(alice, "denied")).values == {"holder": bob.me, "reason": b"unknown"}

        await alice.node.amending.extend(capability=shared["id"], duration="9h", opens=3)
        changed = await alice.read(lambda db: rows.grant(db, capability_id))
        assert changed is not None
        later = f"expires {rfc3339(changed.expires_at)}, 5 opens".encode()
        for person, references in ((alice, of_alice), (bob, of_bob)):
            one = await newest(person, "amended")
            assert one.values == {**references, "old": limits, "new": later}

        await alice.node.ending.revoke(capabilities=[shared["id"]], to=None, album=None)
        one = await newest(alice, "revoked")
        assert one.values == {**of_alice, "opens": b"2", "old": later}
        assert (await newest(bob, "revocation_seen")).values == of_bob
        assert (await newest(alice, "revocation_seen")).values == of_alice

        await dispatch.call(
            alice.node, "export",
            schema.Export(what=[path.name], out=str(tmp_path / "out"), rendition="original"),
            lambda *_: None,
        )  # fmt: skip
        one = await newest(alice, "exported")
        assert one.values == {
            "image": image_id, "name": path.name.encode(), "rendition": b"original",
            "sha256": sha256(data).hex().encode(),
        }  # fmt: skip
        await SEEN.look(alice, bob)
        for person in (alice, bob):
            for one in await told(person):
                for canary in CANARIES.values():
                    assert canary.encode() not in one.entry
                    assert canary.encode().hex().encode() not in one.entry


async def test_changes_of_the_team_are_told_with_old_and_new_values_in_every_log(
    tmp_path: Path,
) -> None:
    async with administrators(tmp_path, "alice", "bob") as (alice, bob):
        carol = await new_person(tmp_path, "carol", alice.imaging)
        try:
            invitation = await alice.node.inviting.invite("reviewer")
            number = str(invitation["number"])
            assert (await newest(alice, "issued")).text("invitation", "role") == (
                number, "reviewer",
            )  # fmt: skip
            with pytest.raises(NodeError):
                await use_code(carol, another(invitation["code"]), alice)
            assert (await newest(alice, "unlock_failed")).text("invitation", "detail") == (
                number, "wrong code",
            )  # fmt: skip
            invitation = await alice.node.inviting.invite("reviewer")
            await use_code(carol, invitation["code"], alice)
            for person in (alice, carol):
                joined = [
                    one
                    for one in await told(person, "member_added")
                    if one.values["member"] == carol.me
                ]
                assert [one.values for one in joined] == [{
                    "member": carol.me, "change": b"added", "name": b"carol", "new": b"reviewer",
                }]  # fmt: skip
            await alice.node.administering.role("carol", "editor")
            one = await newest(alice, "roster_changed")
            assert one.values["member"] == carol.me
            assert one.text("change", "old", "new") == ("role", "reviewer", "editor")
            (number,) = (await told(alice, "roster_changed"))[-2].text("version")
            assert int(number) == alice.node.membership.version

            async def same() -> bool:
                return bob.node.membership.version == alice.node.membership.version

            await eventually(same)
            await alice.node.administering.threshold(2)
            await eventually(lambda: _pending(bob))
            await bob.node.administering.sign("")
            await eventually(same)
            for person in (alice, bob):
                changes = [
                    one.text("old", "new")
                    for one in await told(person, "roster_changed")
                    if one.values.get("change") == b"threshold"
                ]
                assert changes == [("1", "2")]
            await alice.node.administering.threshold(1)
            await eventually(lambda: _pending(bob))
            await bob.node.administering.sign("")
            await eventually(same)
            for person in (alice, bob):
                await person.node.peering.close()  # Nothing passes between them any more.
            await alice.node.administering.role("carol", "reviewer")
            await bob.node.administering.role("carol", "guest")
            for source, target in ((alice, bob), (bob, alice)):
                await tell(source, target)
            (conflict,) = [
                one for one in await told(alice, "roster_changed") if "conflict" in one.values
            ]
            version = alice.node.membership.version
            assert conflict.text("since") == (f"version {version - 1}",)
            assert conflict.values["old"].startswith(b"version %d " % version)
            assert conflict.values["conflict"].startswith(b"version %d " % version)
            assert conflict.values["conflict"] != conflict.values["old"]
            await alice.node.administering.resolve(dry_run=False, keep_ours=False)
            await alice.node.administering.remove("carol")
            one = await newest(alice, "member_removed")
            assert one.text("change", "name") == ("removed", "carol")
            assert one.values["old"] in (b"guest", b"reviewer")
            await SEEN.look(alice, bob)
        finally:
            await carol.node.close()


async def _pending(person: Person) -> bool:
    return bool(person.node.membership.proposals())


async def test_failed_unlocks_verifications_erasures_and_rolls_are_told(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        vault = alice.node.context.vault
        for _ in range(2):
            with pytest.raises(WrongPassphraseError):
                await vault.check_passphrase("guessed")
        assert await told(alice, "unlock_failed") == []
        await vault.check_passphrase(PASSPHRASE)
        assert (await newest(alice, "unlock_failed")).values == {"count": b"2"}

        report = await dispatch.call(
            alice.node, "audit_verify", schema.METHODS["audit_verify"](), lambda *_: None
        )
        one = await newest(alice, "verified")
        assert one.text("what", "ok", "size", "problems") == (
            "log",
            "yes",
            str(report["size"]),
            "0",
        )
        await dispatch.call(alice.node, "check", schema.Check(read_data=True), lambda *_: None)
        one = await newest(alice, "verified")
        assert one.text("what", "ok", "problems", "data") == ("vault", "yes", "0", "yes")

        await alice.node.accept_clock()
        one = await newest(alice, "verified")
        assert one.text("what", "ok", "moved") == ("clock", "yes", "0 s")

        await alice.node.reviewing.sign_off()
        assert (await newest(alice, "reviewed")).text("live", "former") == ("0", "0")

        erased = await alice.node.erasing.erase(subject="bob", kind=None, dry_run=False)
        one = await newest(alice, "erased")
        assert one.text("what", "values", "pseudonym") == (
            "person", str(erased["values"] + erased["mentions"]), erased["pseudonym"],
        )  # fmt: skip

        await dispatch.call(
            alice.node, "audit_roll", schema.METHODS["audit_roll"](), lambda *_: None
        )
        one = await newest(alice, "epoch_closed")
        assert one.text("epoch") == ("0",)

        # The member whose values are erased is in no entry that is read back.
        async with enlisted(alice) as mallory:
            session = await mallory.dial(bob)
            picture = landscape(180)
            assert metadata_groups_untrusted(picture, "jpeg")
            forged = mallory.forge(
                bob, plaintext=picture, rendition="clean",
                manifest={"disclosure": Disclosure(removed=(), kept=())},
            )  # fmt: skip
            capability = await mallory.grant(session, forged)
            await bob.open(capability)
            alarm = await newest(bob, "manifest_alarm")
            assert alarm.values["capability"].hex() == capability
            assert alarm.fields == {"issuer", "image", "capability", "detail"}
        await SEEN.look(alice, bob)


async def test_a_log_that_contradicts_itself_and_one_that_is_begun_anew_are_told(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await back_up(alice, tmp_path / "older")
        await linked(alice, bob)
        await alice.import_pictures(2)
        await alice.node.peering.ping(bob.me)
        await restore(alice, tmp_path / "older")
        await linked(alice, bob)
        await begun(alice)

        assert (await newest(alice, "incarnation_started")).text("incarnation") == ("1",)
        await SEEN.look(alice, bob)


def test_every_row_of_the_table_was_seen() -> None:
    """Stands last: the tests above have done everything the table names."""
    if SEEN.looks < 4:
        pytest.skip("the tests above have not all run in this process, or failed")
    unseen = [row for number, row in enumerate(ROWS) if number not in SEEN.rows]

    assert unseen == []
