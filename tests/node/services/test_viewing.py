"""The holder's side of an open: what it waits for, checks, shows, keeps and forgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.errors import TamperedError, UnknownError, UnreachableError, UsageError
from node.imaging.made import made_pictures
from node.services.peering import Link
from node.services.pixel_store import PixelStore
from node.transport.driver import Reply, Session
from protocol.errors import Reason, Refused, RemoteError, SafelightError
from protocol.messages import Done, FetchHead, Hello, OpenRequest, Released, Request
from tests.node.services.conditions import blob_files, flip_byte, greet, raw_session, until
from tests.node.services.team import Person, eventually, team
from tests.node.transport.virtual import VirtualTimeLoop

DAY_MS = 86_400_000


async def _shared(alice: Person, bob: Person, **terms: Any) -> str:
    (image,) = await alice.import_pictures(1, size=(96, 64))
    (capability,) = await alice.share([image["id"]], ["bob"], **terms)
    await bob.wait_ready(capability["id"])
    return str(capability["id"])


async def save(person: Person, capability: str, *images: str, **options: Any) -> list[Any]:
    settings: dict[str, Any] = {"out": None, "factor": None, "progress": lambda *_: None, **options}
    result = await person.node.viewing.save(capability=capability, images=list(images), **settings)
    files: list[Any] = result["files"]
    return files


async def counts(alice: Person, bob: Person, capability: str) -> tuple[int, int]:
    """Return how many opens of a one-picture capability are left, as each side sees it."""
    share = await alice.node.granted.describe(bytes.fromhex(capability))
    held = next(one for one in await bob.node.inbox.held() if one["id"] == capability)
    return int(share["opens_left"]), int(held["opens_left"])


# Waiting --------------------------------------------------------------------------------------


async def test_an_open_waits_for_a_rendition_and_no_longer_than_it_was_told(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        (image,) = await alice.import_pictures(1)
        await alice.node.rendering.close()
        (shared,) = await alice.share([image["id"]], ["bob"])
        await eventually(bob.node.inbox.held)

        for wait in (0.0, 0.2):
            with pytest.raises(Refused) as refused:
                await bob.open(shared["id"], wait=wait)
            assert refused.value.reason is Reason.NOT_READY
        opening = asyncio.create_task(bob.open(shared["id"], wait=20))
        await asyncio.sleep(0.1)
        assert not opening.done()
        alice.node.rendering.start()

        assert (await opening)["opens_left"] == 9
        assert await counts(alice, bob, shared["id"]) == (9, 9)


async def test_an_open_while_the_issuer_is_away_is_unreachable_and_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.services.viewing._REACH_S", 0.3)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=2)
        await bob.open(capability)
        await alice.node.close()

        with pytest.raises(UnreachableError, match="alice"):
            await bob.open(capability)

        await alice.restart()
        monkeypatch.setattr("node.services.viewing._REACH_S", 10)
        assert (await bob.open(capability))["opens_left"] == 0
        assert len(await alice.events("released")) == 2


async def test_which_picture_must_be_said_where_there_are_several(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(3)
        (shared,) = await alice.share([one["id"] for one in images], ["bob"])
        await bob.wait_ready(shared["id"])

        with pytest.raises(UsageError, match="3 pictures"):
            await bob.open(shared["id"])
        with pytest.raises(UnknownError):
            await bob.open(shared["id"], "no such picture")
        with pytest.raises(UnknownError):
            await bob.open(shared["id"], images[0]["id"][:3])

        for which in (images[0]["name"], images[1]["id"], images[2]["id"][:8]):
            assert (await bob.open(shared["id"], which))["opens_left"] == 9


async def test_many_opens_at_once_of_one_holder_spend_what_there_is(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=3)

        results = await asyncio.gather(
            *(bob.open(capability) for _ in range(8)), return_exceptions=True
        )

        outcomes = Counter(
            one.reason.value if isinstance(one, Refused) else type(one).__name__ for one in results
        )
        assert outcomes == {"dict": 3, "exhausted": 5}
        assert await counts(alice, bob, capability) == (0, 0)


# What one open allows -------------------------------------------------------------------------


async def test_showing_again_is_no_open_and_closing_ends_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob)
        opened = await bob.open(capability)

        for box in (20, 50, 2000):
            pixels = await bob.node.viewing.pixels(opened["open_id"], width=box, height=box)
            assert max(pixels.width, pixels.height) == min(box, 96)
            assert len(pixels.rgb) == pixels.width * pixels.height * 3
        assert await counts(alice, bob, capability) == (9, 9)
        assert len(await alice.events("released")) == 1

        bob.node.viewing.close_open(opened["open_id"])
        bob.node.viewing.close_open(opened["open_id"])
        for open_id in (opened["open_id"], "00" * 16, "", "nonsense"):
            with pytest.raises(UsageError):
                await bob.node.viewing.pixels(open_id, width=10, height=10)


def test_pixels_last_fifteen_minutes_and_never_past_the_expiry() -> None:
    async def keep() -> None:
        store = PixelStore()
        store.keep(b"first", b"capability", b"picture", left=DAY_MS)
        await asyncio.sleep(10 * 60)
        store.keep(b"second", b"capability", b"picture", left=DAY_MS)
        await asyncio.sleep(5 * 60 - 0.01)
        assert store.data(b"first") == b"picture"
        await asyncio.sleep(0.02)
        assert store.data(b"first") is None
        assert store.data(b"second") == b"picture"
        await asyncio.sleep(10 * 60)
        assert store.data(b"second") is None
        store.keep(b"expiring", b"capability", b"picture", left=2_000)
        await asyncio.sleep(1.9)
        assert store.data(b"expiring") == b"picture"
        await asyncio.sleep(0.2)
        assert store._shown == {}

    loop = VirtualTimeLoop()
    try:
        loop.run_until_complete(keep())
    finally:
        loop.close()


async def test_pixels_are_dropped_by_open_by_capability_and_all_at_once() -> None:
    store = PixelStore()
    for number in range(4):
        store.keep(bytes([number]), bytes([number % 2]), b"picture", left=DAY_MS)

    store.drop(b"\x00")
    assert sorted(store._shown) == [b"\x01", b"\x02", b"\x03"]
    store.drop_capability(b"\x01")
    assert sorted(store._shown) == [b"\x02"]
    store.keep(b"\x02", b"\x00", b"again", left=DAY_MS)
    assert store.data(b"\x02") == b"again"
    store.drop_all()
    store.drop(b"\x02")

    assert store._shown == {}
    assert b"picture" not in repr(store._shown).encode()


async def test_an_open_and_its_receipt_stand_in_both_logs(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, rights=["view", "save"])

        opened = await bob.open(capability)
        await save(bob, capability, out=str(tmp_path / "out"))

        async def receipts() -> bool:
            return bool(await alice.events("saved"))

        await eventually(receipts)
        first, second = await alice.events("released")
        assert first["index"] == opened["log"]["index"]
        for event, releases in (("opened", [first, second]), ("saved", [second])):
            theirs = await alice.events(event)
            mine = await bob.events(event)
            assert [one["detail"]["release"] for one in theirs] == [
                str(one["index"]) for one in releases
            ]
            assert [one["detail"]["index"] for one in mine] == [
                str(one["index"]) for one in releases
            ]
            assert {one["actor"] for one in (*theirs, *mine)} == {"bob"}
        assert (await alice.node.log_verifying.verify())["ok"]
        assert (await bob.node.log_verifying.verify())["ok"]
        assert await counts(alice, bob, capability) == (8, 8)


async def test_both_sides_say_how_many_opens_of_several_pictures_are_left(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        images = await alice.import_pictures(2)
        (shared,) = await alice.share([one["id"] for one in images], ["bob"], opens=5)
        await bob.wait_ready(shared["id"])

        for _ in range(3):
            await bob.open(shared["id"], images[0]["id"])

        mine, theirs = await counts(alice, bob, shared["id"])
        assert mine == theirs


# Save -----------------------------------------------------------------------------------------


async def test_whose_role_became_narrower_opens_and_does_not_save(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, rights=["view", "save"])
        await alice.node.administering.role("bob", "reviewer")
        await until(lambda: bob.node.membership.role_of(bob.me) == "reviewer")

        with pytest.raises(Refused, match="reviewers do not save") as caught:
            await save(bob, capability, out=str(tmp_path / "out"))

        assert caught.value.reason == Reason.POLICY
        assert not (tmp_path / "out").exists()
        assert await counts(alice, bob, capability) == (10, 10)
        assert (await bob.open(capability))["opens_left"] == 9


async def test_a_saved_picture_is_imported_with_where_it_came_from(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, rights=["view", "save"], rendition="original")

        (first,) = await save(bob, capability)
        (again,) = await save(bob, capability)

        assert first["image"] == again["image"]
        (image,) = await bob.node.library.images(query="", album=None, tag=None, limit=10)
        assert image["sha256"] == first["sha256"]
        assert image["classification"] == "internal"
        provenance = await bob.read(
            lambda db: db.execute("SELECT provenance FROM images").fetchone()[0]
        )
        assert alice.me in provenance
        assert bytes.fromhex(capability) in provenance
        assert await counts(alice, bob, capability) == (8, 8)


async def test_a_name_from_a_peer_never_leaves_the_folder_and_overwrites_nothing(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        names = ["../../up.jpg", "/etc/passwd", "..", "con", ".profile", "same.jpg", "same.png"]
        ids = []
        for name, (_, data) in zip(names, made_pictures(len(names), (32, 24)), strict=True):
            image = await alice.node.library.import_bytes(
                data, name=name, classification="internal", provenance=b""
            )
            ids.append(image["id"])
        (shared,) = await alice.share(ids, ["bob"], rights=["save"])
        await bob.wait_ready(shared["id"])
        out = tmp_path / "out"
        out.mkdir()
        (out / "same.jpeg").write_text("mine")

        files = [Path(one["path"]) for one in await save(bob, shared["id"], out=str(out))]

        assert {path.parent for path in files} == {out}
        assert len(set(files)) == len(names)
        assert (out / "same.jpeg").read_text() == "mine"
        assert not [path for path in files if path.name.startswith(".")]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["alice", "bob", "out"]


async def test_nothing_is_saved_or_spent_without_the_right_or_the_folder(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        seen = await _shared(alice, bob)
        (image,) = await alice.import_pictures(1)
        (kept,) = await alice.share([image["id"]], ["bob"], rights=["save"])
        await bob.wait_ready(kept["id"])
        (tmp_path / "file").touch()

        with pytest.raises(Refused) as refused:
            await save(bob, seen, out=str(tmp_path / "out"))
        assert refused.value.reason is Reason.POLICY
        with pytest.raises(SafelightError):
            await save(bob, kept["id"], out=str(tmp_path / "file" / "below"))

        assert not (tmp_path / "out").exists()
        assert await alice.events("released") == []


# A hostile issuer -----------------------------------------------------------------------------

Change = Callable[[Released], Released]


def _replace(**fields: Any) -> Change:
    return lambda released: msgspec.structs.replace(released, **fields)


TAMPERED: dict[str, Change] = {
    "another share": _replace(issuer_share=bytes(32)),
    "a short share": _replace(issuer_share=b"short"),
    "no proof": _replace(proof=()),
    "another proof": lambda one: msgspec.structs.replace(
        one, proof=(bytes(32), *one.proof[1:])
    ),
    "another index": lambda one: msgspec.structs.replace(one, index=one.index - 1),
    "no head": _replace(checkpoint=b""),
    "another head": lambda one: msgspec.structs.replace(
        one, checkpoint=one.checkpoint.replace(b"\n", b"\n1", 1)
    ),
    "no entry": _replace(entry=b"{}"),
    "another entry": lambda one: msgspec.structs.replace(
        one, entry=one.entry.replace(b'"event":"released"', b'"event":"reviewed"')
    ),
    "fewer than no opens left": _replace(opens_left=-1),
}  # fmt: skip


async def test_a_release_that_does_not_prove_its_entry_is_not_used(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=100)
        await bob.node.fetching.fetch(
            row := await bob.node.inbox.resolve(capability),
            await bob.node.inbox.resolve_images(row, []),
            progress=lambda *_: None,
        )
        change: Change = _replace()

        async def hostile(session: Session, request: Request) -> Reply:
            if isinstance(request, Hello):
                return Done()
            if isinstance(request, FetchHead):
                return await alice.node.witnessing.answer_head(request)
            assert isinstance(request, OpenRequest)
            member = alice.node.membership.member(bob.me)
            assert member is not None
            released = await alice.node.opening.answer(
                Link(session=session, member=member), request
            )
            assert isinstance(released, Released)
            return change(released)

        async with raw_session(alice, bob, hostile) as session:
            await greet(alice, bob, session)
            # Which of two links is preferred depends on fingerprints; this is about the other one.
            links = bob.node.peering._links
            newest = max(links.greeted(alice.me), key=lambda link: link.number)
            links.best = lambda _fingerprint: newest  # type: ignore[method-assign, assignment]  # the one
            for what, tamper in TAMPERED.items():
                change = tamper
                with pytest.raises(SafelightError) as refused:
                    await bob.open(capability)
                assert isinstance(refused.value, TamperedError | RemoteError), what
                assert bob.node.pixels._shown == {}
            assert await bob.events("opened") == []
            # All of it was one and the same open, asked for again.
            assert len(await alice.events("released")) == 1
            change = _replace()
            assert (await bob.open(capability))["opens_left"] == 99

        assert len(await bob.events("opened")) == 1


# Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["changed", "gone"])
async def test_ciphertext_damaged_at_the_holder_is_fetched_again_before_an_open_is_spent(
    tmp_path: Path, what: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        capability = await _shared(alice, bob, opens=2)
        await bob.open(capability)
        (ciphertext,) = await blob_files(bob, "received")
        if what == "changed":
            flip_byte(ciphertext, 100)
        else:
            ciphertext.unlink()

        assert (await bob.open(capability))["opens_left"] == 0
        assert len(await alice.events("released")) == 2
