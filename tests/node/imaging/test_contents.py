from __future__ import annotations

import asyncio

import pytest

from node.imaging.contents import groups_untrusted, make_clean_untrusted
from node.imaging.errors import ImagingError
from node.imaging.formats import sniff
from node.imaging.messages import Mark, Ownership, Strength
from node.imaging.pool import CleanCopy, Contents, ImagingPool, Rendered
from node.imaging.strip.errors import StripError
from protocol.errors import SafelightError
from tests.node.imaging.strip.traps import gain_map_jpeg, holds_canary, short, trapped_jpeg
from tests.support_pictures import (
    HEADER_ONLY,
    canaries,
    corners,
    corrupt_files,
    encoded,
    landscape,
    photographs,
    srgb_profile,
    turned,
)

MARK = Mark(
    name="写真家",
    words="canyon lava tiger olive ripple spoon fetch arrow",
    date="2026-11-22",
    code="3f9a12c4",
    strength=Strength.FIRM,
)
CREDIT = Ownership(creator="Zoë", rights="© Zoë")


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        (landscape(), ("exif", "gps")),
        (encoded(corners(), "JPEG"), ()),
        (encoded(corners(), "JPEG", icc_profile=srgb_profile()), ("icc",)),
        (turned(6), ("exif",)),
        (make_clean_untrusted(turned(6), None).data, ("orientation",)),
        (make_clean_untrusted(turned(6), CREDIT).data, ("orientation", "ownership")),
        (make_clean_untrusted(turned(3, "PNG"), None).data, ("orientation",)),
        (make_clean_untrusted(gain_map_jpeg(), None).data, ("icc", "second_picture")),
        (encoded(corners(), "JPEG") + b"behind", ("trailer",)),
        (encoded(corners(), "JPEG", comment=b"Ann"), ("comment",)),
        (b"no picture", ()),
        (b"", ()),
        (b"\x89PNG\r\n\x1a\n cut", ()),
    ],
    ids=short,
)
def test_a_file_carries_what_it_carries(data: bytes, groups: tuple[str, ...]) -> None:
    assert groups_untrusted(data) == groups


def test_what_stands_inside_another_block_is_named_too() -> None:
    assert {"exif", "gps", "maker_note", "thumbnail", "xmp", "comment", "trailer"} <= set(
        groups_untrusted(canaries())
    )


def test_a_credit_and_a_position_are_not_taken_for_a_credit() -> None:
    credited = make_clean_untrusted(encoded(corners(), "JPEG"), CREDIT).data
    position = landscape()
    at = position.index(b"\xff\xe1")
    block = position[at : at + 2 + int.from_bytes(position[at + 2 : at + 4])]

    both = credited[:2] + block + credited[2:]

    assert {"exif", "gps", "xmp"} <= set(groups_untrusted(both))
    assert "ownership" not in groups_untrusted(both)


async def test_a_copy_is_compared_and_what_cannot_be_decoded_is_not_copied(
    pool: ImagingPool,
) -> None:
    cut = encoded(corners(), "PNG")[:-40] + encoded(corners(), "PNG")[-12:]
    for data, code in (
        (b"", "empty"),
        (b"no picture", "unknown_format"),
        (landscape()[:-2000], "broken"),
        (cut, "broken"),
    ):
        with pytest.raises(SafelightError) as refused:
            await pool.clean(data)
        assert refused.value.code == code


async def test_an_inspection_foretells_the_clean_copy(pool: ImagingPool) -> None:
    for ownership in (None, CREDIT):
        told = await pool.inspect(trapped_jpeg(), ownership=ownership)
        copy = await pool.clean(trapped_jpeg(), ownership=ownership)

        assert told.problem is None
        assert (told.kept, told.clean_bytes) == (copy.kept, len(copy.data))
        assert copy.removed == tuple(one for one in told.found if one not in told.kept)
        assert any("position" in line for line in told.lines)


async def _all(pool: ImagingPool, files: dict[str, bytes]) -> dict[str, list[object]]:
    """Make every rendition of every file; a refusal counts as its code."""
    places = asyncio.Semaphore(3)

    async def one(data: bytes) -> list[object]:
        made: list[object] = []
        async with places:
            for job in (
                lambda: pool.clean(data),
                lambda: pool.clean(data, ownership=CREDIT),
                lambda: pool.render_preview(data, 300),
                lambda: pool.render_preview(data, 300, mark=MARK, ownership=CREDIT),
                lambda: pool.inspect(data),
            ):
                try:
                    made.append(await job())
                except (ImagingError, StripError) as refusal:
                    made.append(refusal.code)
        return made

    results = await asyncio.gather(*map(one, files.values()))
    return dict(zip(files, results, strict=True))


async def test_every_rendition_of_every_photograph_is_clean(pool: ImagingPool) -> None:
    files = {
        name: data
        for name, data in photographs().items()
        if sniff(data[:32]) is not None and not name.endswith(HEADER_ONLY)
    }

    made = await _all(pool, files)

    assert len(made) == 75
    for name, (clean, credited, preview, marked, told) in made.items():
        assert isinstance(clean, CleanCopy), (name, clean)
        assert isinstance(preview, Rendered), (name, preview)
        assert isinstance(marked, Rendered), (name, marked)
        assert isinstance(told, Contents), (name, told)
        assert set(clean.kept) <= {"icc", "orientation", "second_picture", "animation"}, name
        copies = [clean.data, preview.data, marked.data]
        assert isinstance(credited, CleanCopy), (name, credited)
        assert "ownership" in credited.kept
        copies.append(credited.data)
        assert not any(map(holds_canary, copies)), name
        assert groups_untrusted(clean.data) == clean.kept, name
        assert groups_untrusted(marked.data) == marked.kept, name
        assert preview.data != marked.data, name
        assert told.kept == clean.kept, name


async def test_every_broken_file_is_refused_or_clean(pool: ImagingPool) -> None:
    made = await _all(pool, corrupt_files())

    for name, results in made.items():
        for one in results:
            if isinstance(one, CleanCopy | Rendered):
                assert set(groups_untrusted(one.data)) == set(one.kept), name
    again = await pool.clean(landscape())
    assert again.kept == ()
