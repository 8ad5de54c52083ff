"""What leaves: clean copies, marks for one holder, credits, and manifests that have to be true."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from node.errors import NodeError, UsageError
from node.imaging.made import made_pictures
from node.imaging.metadata import metadata_groups_untrusted
from node.services import disclosing
from node.services.crediting import Wish
from protocol.capability.keys import rendition_key, unwrap
from protocol.capability.manifest import Disclosure
from protocol.errors import AuthenticationError, Reason, Refused, SafelightError
from protocol.messages import Released
from tests.attacks.mallory import enlisted
from tests.node.imaging.strip.traps import trapped_jpeg
from tests.node.services.conditions import alone
from tests.node.services.team import Person, eventually, join, new_person, team
from tests.node.services.test_exporting import odd_picture
from tests.node.services.test_library import pictures, take
from tests.support_pictures import CANARY, corners, encoded


async def imported(
    person: Person, data: bytes, *, name: str = "harbour.jpg", classification: str = "internal"
) -> dict[str, Any]:
    image: dict[str, Any] = await person.node.library.import_bytes(
        data, name=name, classification=classification, provenance=b""
    )
    return image


def landscape(edge: int = 600) -> bytes:
    return made_pictures(1, (edge, edge * 2 // 3))[0][1]


def shown(person: Person, opened: dict[str, Any]) -> bytes:
    """Return the bytes of an open."""
    data = person.node.pixels.data(bytes.fromhex(opened["open_id"]))
    assert data is not None
    return data


async def undeclared(person: Person, opened: dict[str, Any]) -> list[str]:
    """Return what the check of an open found, once it is done."""
    return await person.node.viewing.undeclared(opened["open_id"])


# Clean copies -------------------------------------------------------------------------------------


async def test_who_may_save_gets_a_clean_copy_with_every_pixel(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        source = trapped_jpeg()
        image = await imported(alice, source)
        (granted,) = await alice.share(
            [image["id"]], ["bob"], rights=["view", "save"], rendition=None
        )
        assert granted["rendition"] == "clean"
        await bob.wait_ready(granted["id"])

        saved = await bob.node.viewing.save(
            capability=granted["id"],
            images=[],
            out=str(tmp_path / "out"),
            factor=None,
            progress=lambda *_: None,
        )

        (file,) = saved["files"]
        assert file["undeclared"] == []
        copy = Path(file["path"]).read_bytes()
        assert CANARY not in copy
        with Image.open(io.BytesIO(source)) as one, Image.open(io.BytesIO(copy)) as other:
            assert one.tobytes() == other.tobytes()
            assert one.getexif().get(0x0112) == other.getexif().get(0x0112)
            assert one.info.get("icc_profile") == other.info.get("icc_profile")
        manifest = await bob.manifest(granted["id"])
        assert {"exif", "gps"} <= set(manifest.disclosure.removed)
        assert set(manifest.disclosure.kept) <= {"icc", "orientation"}
        assert (manifest.rendition, manifest.format) == ("clean", "jpeg")
        assert await bob.events("manifest_alarm") == []
        # Guarantee 6: the original's bytes are nobody's.
        assert file["sha256"] != image["sha256"]


async def test_a_credit_is_in_every_copy_but_an_original(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape())
        credit = {"credit": "Zoë Müller", "copyright_notice": "© Zoë Müller"}
        (clean,) = await alice.share([image["id"]], ["bob"], rendition="clean", **credit)
        (small,) = await alice.share([image["id"]], ["bob"], rendition="preview:90", **credit)
        (other,) = await alice.share([image["id"]], ["bob"], rendition="clean")
        for one in (clean, small, other):
            await bob.wait_ready(one["id"])

        copies = [await bob.open(one["id"]) for one in (clean, small, other)]

        assert [one["disclosure"]["kept"] for one in copies] == [["ownership"], ["ownership"], []]
        assert [await undeclared(bob, one) for one in copies] == [[], [], []]
        assert ["Zoë".encode() in shown(bob, one) for one in copies] == [True, True, False]
        with pytest.raises(UsageError):
            await alice.share([image["id"]], ["bob"], rendition="original", **credit)
        with pytest.raises(UsageError):
            await alice.share([image["id"]], ["bob"], credit="\x1b[31m")
        gif = await imported(alice, encoded(corners(), "GIF"), name="a.gif")
        assert await alice.share([gif["id"]], ["bob"], rendition="clean", **credit)


async def test_an_album_credits_what_is_shared_of_it(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        await take(alice, *pictures(tmp_path / "in", "one.jpg", "two.jpg"), album="Launch")
        (loose,) = pictures(tmp_path / "other", "loose.jpg", size=(60, 40))
        await take(alice, loose)
        await alice.node.crediting.album("Launch", Wish(credit="Zoë"))

        async def kept(what: list[str], **options: Any) -> Any:
            (granted,) = await alice.share(what, ["bob"], **options)
            await bob.wait_ready(granted["id"])
            return (await bob.open(granted["id"], "one.jpg"))["disclosure"]["kept"]

        assert await kept(["Launch"]) == ["ownership"]
        assert await kept(["Launch"], rendition="clean") == ["ownership"]
        assert await kept(["Launch"], no_credit=True) == []
        assert await kept(["one.jpg"]) == []
        assert await kept(["Launch"], rendition="original") == ["everything"]
        # One capability, one credit: nobody decides silently for the picture beside the album.
        with pytest.raises(UsageError):
            await alice.share(["Launch", "loose.jpg"], ["bob"])
        assert await kept(["Launch", "loose.jpg"], credit="Ann") == ["ownership"]


# What cannot be cleaned ---------------------------------------------------------------------------


async def test_a_clean_share_of_what_cannot_be_cleaned_is_refused_at_once(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        odd = await imported(alice, odd_picture(), name="odd.png")
        await imported(alice, landscape())

        with pytest.raises(NodeError) as refused:
            await alice.share(["harbour.jpg", odd["id"]], ["bob"], rendition="clean")

        assert refused.value.code == "unsupported"
        assert "odd.png" in str(refused.value)
        assert "--rendition preview" in refused.value.hint
        assert await alice.node.granted.shares(album=None, to=None, state=None) == []
        assert await alice.share([odd["id"]], ["bob"], rendition="preview:64")
        assert await alice.share([odd["id"]], ["bob"], rendition="original")
        assert await alice.share([odd["id"]], ["bob"], rendition="clean", watermark=True)


async def test_a_share_says_why_a_picture_of_it_stays_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the first picture is looked at before the share is granted.
    monkeypatch.setattr(disclosing, "_CHECKED_BYTES", 0)
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        odd = await imported(alice, odd_picture(), name="odd.png")
        await imported(alice, landscape())
        # Looked at before the second share, for no copy of it is made yet.
        await imported(alice, landscape(120), name="beach.jpg")
        (granted,) = await alice.share(["harbour.jpg", odd["id"]], ["bob"], rendition="clean")

        async def problems() -> Any:
            return (await alice.node.granted.describe(bytes.fromhex(granted["id"])))["problems"]

        (problem,) = await eventually(problems)
        (again,) = await alice.share(["beach.jpg", odd["id"]], ["bob"], rendition="clean")

        assert (problem["id"], problem["name"]) == (odd["id"], "odd.png")
        assert problem["code"] == "unsupported"
        assert "cannot be shown without" in problem["message"]
        shown_of = (await alice.node.library.show("odd.png"))["capabilities"]
        assert problem["message"] in [one["problem"] for one in shown_of]

        async def told_again() -> Any:
            return (await alice.node.granted.describe(bytes.fromhex(again["id"])))["problems"]

        assert (await eventually(told_again))[0]["code"] == "unsupported"
        await eventually(lambda: _ready(bob, granted["id"], "harbour.jpg"))


async def _ready(person: Person, capability: str, name: str) -> bool:
    (one,) = [one for one in await person.node.inbox.held() if one["id"] == capability]
    return [image["ready"] for image in one["images"] if image["name"] == name] == [True]


# Logos --------------------------------------------------------------------------------------------


async def test_a_logo_is_kept_sealed_and_drawn_into_marked_copies(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        path = tmp_path / "logo.png"
        logo = Image.new("RGBA", (900, 300))
        logo.paste((230, 20, 20, 255), (100, 50, 800, 250))
        path.write_bytes(encoded(logo, "PNG") + CANARY)
        image = await imported(alice, encoded(Image.new("RGB", (900, 600), "white"), "PNG"))

        async def redness() -> int:
            (one,) = await alice.share([image["id"]], ["bob"], watermark=True, rendition="clean")
            await bob.wait_ready(one["id"])
            data = shown(bob, await bob.open(one["id"]))
            with Image.open(io.BytesIO(data)) as copy:
                red, green, _ = copy.convert("RGB").split()
                return sum(ImageChops.subtract(red, green).histogram()[60:])

        none = await alice.node.marking.logo(None, remove=False)
        before = await redness()
        kept = await alice.node.marking.logo(str(path), remove=False)
        after = await redness()
        gone = await alice.node.marking.logo(None, remove=True)

        assert none == gone == {"logo": None}
        # Cut to what shows, and made smaller.
        assert (kept["logo"]["width"], kept["logo"]["height"]) == (512, 146)
        assert before == 0
        assert after > 100
        for file in (tmp_path / "alice").rglob("*"):
            assert not file.is_file() or b"IHDR" not in file.read_bytes(), file
        with pytest.raises(UsageError):
            await alice.node.marking.logo(str(path), remove=True)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encoded(corners(), "JPEG"), "usage"),
        (encoded(corners(), "PNG")[:60], "broken"),
        (encoded(Image.new("RGBA", (9, 9)), "PNG"), "broken"),
        (b"", "usage"),
    ],
)
async def test_a_logo_that_is_none_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    async with alone(tmp_path) as alice:
        path = tmp_path / "logo.png"
        path.write_bytes(data)

        with pytest.raises(SafelightError) as refused:
            await alice.node.marking.logo(str(path), remove=False)

        assert refused.value.code == code
        assert await alice.node.marking.logo(None, remove=False) == {"logo": None}


# Watermarks ---------------------------------------------------------------------------------------


async def test_confidential_pictures_are_marked_for_each_holder(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        image = await imported(alice, landscape(), classification="confidential")
        granted = await alice.share([image["id"]], ["bob", "carol"], rendition=None)
        for one, person in zip(granted, (bob, carol), strict=True):
            await person.wait_ready(one["id"])

        copies = [
            shown(person, await person.open(one["id"]))
            for one, person in zip(granted, (bob, carol), strict=True)
        ]

        pixels = [Image.open(io.BytesIO(one)).convert("L").tobytes() for one in copies]
        assert pixels[0] != pixels[1]
        rows = await alice.read(
            lambda db: db.execute("SELECT spec FROM renditions ORDER BY spec").fetchall()
        )
        assert {spec for (spec,) in rows} == {f"preview:2048 for {one['id']}" for one in granted}
        for one, person in zip(granted, (bob, carol), strict=True):
            manifest = await person.manifest(one["id"])
            assert manifest.rendition == "preview:2048"
        assert await bob.events("manifest_alarm") == []


async def test_each_mark_is_drawn_with_its_holders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        image = await imported(alice, landscape(), classification="confidential")
        drawn: list[Any] = []
        render = alice.imaging.render_preview

        async def noted(data: bytes, edge: int, **options: Any) -> Any:
            drawn.append(options["mark"])
            return await render(data, edge, **options)

        monkeypatch.setattr(alice.imaging, "render_preview", noted)
        granted = await alice.share([image["id"]], ["bob", "carol"], rendition=None)
        for one, person in zip(granted, (bob, carol), strict=True):
            await person.wait_ready(one["id"])

        assert {(mark.name, mark.code) for mark in drawn} == {
            (name, one["id"][:8]) for name, one in zip(("bob", "carol"), granted, strict=True)
        }
        assert {mark.strength for mark in drawn} == {"medium"}


async def test_a_release_for_one_holders_copy_does_not_open_anothers(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        image = await imported(alice, landscape(), classification="confidential")
        granted = await alice.share([image["id"]], ["bob", "carol"], rendition=None)
        for one, person in zip(granted, (bob, carol), strict=True):
            await person.wait_ready(one["id"])
        his, hers = await bob.manifest(granted[0]["id"]), await carol.manifest(granted[1]["id"])

        # Bob's capability names no copy of Carol's, and what he is released opens only his own.
        assert await bob.ask(granted[0]["id"], his, rendition_id=hers.rendition_id) == "unknown"
        released = await bob.ask(granted[0]["id"], his)
        assert isinstance(released, Released)
        row = await bob.node.inbox.resolve(granted[0]["id"])
        assert row.holder_share is not None
        for manifest in (his, hers):
            key = rendition_key(
                holder_share=row.holder_share,
                mix=bytes(32),
                issuer_share=released.issuer_share,
                capability_hash=manifest.capability_hash,
                rendition_id=manifest.rendition_id,
            )
            bound: dict[str, Any] = {
                "capability_hash": manifest.capability_hash,
                "rendition_id": manifest.rendition_id,
                "commitment": manifest.blob_commitment,
            }
            if manifest is his:
                assert len(unwrap(key, manifest.wrapped, **bound)) == 32
            else:
                with pytest.raises(AuthenticationError):
                    unwrap(key, manifest.wrapped, **bound)


async def test_a_marked_copy_goes_with_its_capability(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape(), classification="confidential")
        (marked,) = await alice.share([image["id"]], ["bob"], rendition=None)
        (other,) = await alice.share([image["id"]], ["bob"], rendition=None)
        for one in (marked, other):
            await bob.wait_ready(one["id"])

        async def specs() -> list[str]:
            rows = await alice.read(lambda db: db.execute("SELECT spec FROM renditions").fetchall())
            return [spec for (spec,) in rows]

        async def one_is_left() -> bool:
            return await specs() == [f"preview:2048 for {other['id']}"]

        await alice.node.ending.revoke(capabilities=[marked["id"]], to=None, album=None)
        alice.node.rendering.wake()
        await eventually(one_is_left)

        assert (await alice.node.check(read_data=True, progress=lambda *_: None))["ok"]
        assert (await bob.open(other["id"]))["opens_left"] == 9


async def test_a_whole_picture_is_marked_where_that_is_asked_for(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape())
        (granted,) = await alice.share(
            [image["id"]], ["bob"], rendition="clean", watermark=True, rights=["view", "save"]
        )
        await bob.wait_ready(granted["id"])

        opened = await bob.open(granted["id"])

        assert (opened["width"], opened["height"]) == (600, 400)
        assert await undeclared(bob, opened) == []
        before = Image.open(io.BytesIO(landscape())).convert("RGB")
        assert Image.open(io.BytesIO(shown(bob, opened))).convert("RGB").tobytes() != (
            before.tobytes()
        )


async def test_an_open_is_refused_without_the_mark_that_became_due(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, landscape())
        (plain,) = await alice.share([image["id"]], ["bob"])
        (marked,) = await alice.share([image["id"]], ["bob"], watermark=True)
        for one in (plain, marked):
            await bob.wait_ready(one["id"])
        await alice.node.library.classify([image["id"]], "confidential")

        with pytest.raises(Refused) as refused:
            await bob.open(plain["id"])

        assert refused.value.reason is Reason.POLICY
        assert (await bob.open(marked["id"]))["opens_left"] == 9


# Names --------------------------------------------------------------------------------------------


async def test_a_guest_learns_no_name_unless_the_sharer_says_so(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        guest = await new_person(tmp_path, "guest", alice.imaging)
        try:
            await join(alice, guest, "guest")
            await guest.node.peering.reach(alice.me, 45)
            image = await imported(
                alice, landscape(), name="Ann in Paris.jpg", classification="public"
            )

            async def called(person: Person, **options: Any) -> str:
                (granted,) = await alice.share([image["id"]], [person.name], **options)
                held = await person.wait_ready(granted["id"])
                name: str = held["images"][0]["name"]
                return name

            assert await called(guest) == "picture-1.jpg"
            assert await called(guest, names=True) == "Ann in Paris.jpg"
            assert await called(bob) == "Ann in Paris.jpg"
            assert await called(bob, names=False) == "picture-1.jpg"
        finally:
            await guest.node.close()


# Before sending -----------------------------------------------------------------------------------


async def told(person: Person, image: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return what a dry run says."""
    defaults: dict[str, Any] = {
        "duration": "1h", "rights": ["view"], "opens": None, "rendition": None, "watermark": None,
        "factor": False, "not_before": None, "terms": "", "lease": None, "dry_run": True,
    }  # fmt: skip
    result: dict[str, Any] = await person.node.sharing.share(
        what=[image["id"]], to=["bob"], **{**defaults, **options}
    )
    return result


async def test_a_dry_run_says_what_would_leave_and_the_manifest_says_the_same(
    tmp_path: Path,
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        image = await imported(alice, trapped_jpeg())
        for options in (
            {"rendition": "clean"},
            {"rendition": "clean", "credit": "Ann"},
            {"rendition": "original"},
            {"rendition": "preview:40"},
            {"rendition": "preview:40", "credit": "Ann", "watermark": True},
            {"rendition": "clean", "watermark": True},
        ):
            foretold = await told(alice, image, **options)
            (picture,) = foretold["pictures"]
            assert any("48.85" in line for line in picture["found"]), picture["found"]
            assert any("0451" in line for line in picture["found"])
            (granted,) = await alice.share([image["id"]], ["bob"], **options)
            await bob.wait_ready(granted["id"])

            opened = await bob.open(granted["id"])

            assert picture["kept"] == opened["disclosure"]["kept"], options
            assert {"exif", "gps"} <= {*picture["removed"], *picture["kept"]} or (
                picture["kept"] == ["everything"]
            )
            assert set(opened["disclosure"]["removed"]) - {"thumbnail"} <= {
                *picture["removed"], "second_picture",
            }  # fmt: skip
            assert (picture["width"], picture["height"], picture["format"]) == (
                opened["width"], opened["height"], opened["format"],
            )  # fmt: skip
            if picture["bytes"] is not None:
                assert picture["bytes"] == opened["bytes"]
            (capability,) = foretold["capabilities"]
            assert ("bob" in (capability["watermark"] or "")) is options.get("watermark", False)
            assert capability["names"] == ["harbour.jpg"]


async def test_a_dry_run_says_that_a_picture_cannot_be_cleaned(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, _):
        # A chunk that no reader may leave out.
        png = bytearray(encoded(corners(), "PNG"))
        odd = b"\0\0\0\1ABCDx" + zlib.crc32(b"ABCDx").to_bytes(4)
        image = await imported(alice, bytes(png[:33] + odd + png[33:]), name="odd.png")

        (picture,) = (await told(alice, image, rendition="clean"))["pictures"]

        assert "cannot" in picture["problem"]
        assert picture["bytes"] is None


# Manifests that lie -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rendition", "kept", "found"),
    [
        ("preview:200", (), {"exif", "gps"}),
        ("preview:200", ("exif",), {"gps"}),
        ("preview:200", ("everything",), {"exif", "gps"}),
        ("clean", ("everything", "icc"), {"exif", "gps"}),
        ("original", ("exif", "gps"), set()),
        ("original", ("everything",), set()),
        ("original", (), {"exif", "gps"}),
        ("preview:200", ("exif", "gps", "icc"), set()),
    ],
)
async def test_a_manifest_that_hides_what_its_bytes_carry_is_an_alarm(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rendition: str,
    kept: tuple[str, ...],
    found: set[str],
) -> None:
    picture = landscape(180)
    assert set(metadata_groups_untrusted(picture, "jpeg")) == {"exif", "gps"}
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(
            bob,
            plaintext=picture,
            rendition=rendition,
            manifest={"disclosure": Disclosure(removed=(), kept=kept)},
        )
        heard: list[dict[str, Any]] = []
        told_of = bob.node.context.events.tell

        def tell(kind: str, **detail: Any) -> None:
            heard.append({"kind": kind, **detail})
            told_of(kind, **detail)

        monkeypatch.setattr(bob.node.context.events, "tell", tell)
        capability = await mallory.grant(session, forged)

        opened = await bob.open(capability)
        await undeclared(bob, await bob.open(capability))

        assert set(await undeclared(bob, opened)) == found
        # The picture is shown all the same; the log has it once.
        assert shown(bob, opened) == picture
        alarms = await bob.events("manifest_alarm")
        assert len(alarms) == bool(found)
        if found:
            assert set(alarms[0]["detail"]["detail"].split(", ")) == found
            assert alarms[0]["detail"]["issuer"] == "mallory"
        assert len([one for one in heard if one["kind"] == "alarm"]) == bool(found)
        assert (await bob.node.log_verifying.verify())["ok"]


@pytest.mark.parametrize("rendition", ["clean", "original"])
async def test_bytes_that_cannot_be_taken_apart_are_an_alarm_where_they_are_no_original(
    tmp_path: Path, rendition: str
) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(
            bob,
            plaintext=b"no picture at all, with a position in it",
            rendition=rendition,
            manifest={"disclosure": Disclosure(removed=(), kept=("everything",))},
        )
        capability = await mallory.grant(session, forged)

        opened = await bob.open(capability)

        expected = [] if rendition == "original" else ["unreadable parts"]
        assert await undeclared(bob, opened) == expected
        assert len(await bob.events("manifest_alarm")) == len(expected)
