from __future__ import annotations

from node.imaging.made import made_pictures
from node.imaging.metadata import metadata_groups_untrusted
from tests.support_pictures import opened

SIZE = (120, 80)


def test_made_pictures_have_names_of_their_own_and_the_size_asked_for() -> None:
    pictures = made_pictures(14, SIZE)

    assert len({name for name, _ in pictures}) == 14
    assert len({data for _, data in pictures}) == 14
    assert {opened(data).size for _, data in pictures} == {SIZE}
    assert all(name.endswith(".jpg") for name, _ in pictures)


def test_made_pictures_carry_a_position() -> None:
    for _, data in made_pictures(6, SIZE):
        position = opened(data).getexif().get_ifd(0x8825)

        assert metadata_groups_untrusted(data, "jpeg") == ("exif", "gps")
        assert {1, 2, 3, 4} <= set(position)
        assert all(0 <= minutes < 60 for minutes in position[2][1:])


def test_the_same_count_and_size_give_the_same_pictures() -> None:
    assert made_pictures(2, SIZE) == made_pictures(2, SIZE)


def test_made_pictures_are_no_flat_colour() -> None:
    for _, data in made_pictures(6, SIZE):
        levels = opened(data).convert("L").histogram()

        assert sum(count > 0 for count in levels) > 80
