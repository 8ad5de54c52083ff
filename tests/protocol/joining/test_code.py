"""Invitation codes: said and typed as people do, and never shown by accident."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from protocol.errors import LocalError
from protocol.joining.code import InvitationCode, new_words, parse_code
from protocol.limits import MAX_INVITATION_NUMBER
from tests.protocol.people import stream

WORDS = Mnemonic("english").wordlist
CODES = st.builds(
    InvitationCode,
    number=st.integers(1, MAX_INVITATION_NUMBER),
    words=st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)),
)


@given(code=CODES)
def test_a_code_reads_as_it_is_written(code: InvitationCode) -> None:
    assert parse_code(code.text) == code


@pytest.mark.parametrize(
    "text",
    ["7-canyon-lava", "7-CANYON-Lava", "  7 canyon lava\n", "7 - canyon - lava", "007-canyon-lava"],
)
def test_a_code_is_read_however_it_was_typed(text: str) -> None:
    assert parse_code(text) == InvitationCode(number=7, words=("canyon", "lava"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "canyon-lava",
        "7",
        "7-canyon",
        "7-canyon-lava-lava",
        "0-canyon-lava",
        "10000-canyon-lava",
        "-7-canyon-lava-x",
        "+7-canyon-lava",
        "٧-canyon-lava",
        "²-canyon-lava",
        "1_0-canyon-lava",
        "7,canyon,lava",
    ],
)
def test_whatever_is_no_code_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(LocalError, match="not an invitation code") as caught:
        parse_code(text)

    assert caught.value.hint


def test_the_hint_names_the_word_that_is_in_nobodys_code() -> None:
    with pytest.raises(LocalError) as caught:
        parse_code("7-canyon-larva")

    assert caught.value.hint == "the list of words has no 'larva'"
    assert "canyon" not in str(caught.value) + caught.value.hint


def test_the_hint_writes_no_control_character_and_no_endless_word() -> None:
    with pytest.raises(LocalError) as caught:
        parse_code("7-canyon-\x1b[31m" + "x" * 1000)

    assert caught.value.hint.isascii()
    assert caught.value.hint.isprintable()
    assert len(caught.value.hint) < 100


def test_the_repr_of_a_code_has_its_number_only() -> None:
    assert repr(parse_code("7-canyon-lava")) == "InvitationCode(number=7)"


def test_every_word_can_be_drawn_at_both_places() -> None:
    firsts, seconds = zip(
        *(
            new_words(partial(number.to_bytes, byteorder="big"))
            for one in range(2048)
            for number in [one | one << 11 | 0xFFC0_0000]
        ),
        strict=True,
    )

    assert list(firsts) == list(seconds) == WORDS


def test_words_are_drawn_from_entropy_alone() -> None:
    assert new_words(stream("code")) == new_words(stream("code"))
    assert new_words(stream("code")) != new_words(stream("another code"))
