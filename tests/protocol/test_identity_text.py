"""What people read, write down and say: fingerprints, recovery phrases, names."""

from __future__ import annotations

import base64
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic

from protocol.errors import LocalError
from protocol.identity import (
    clean_text,
    fingerprint_words,
    format_fingerprint,
    is_clean_name,
    parse_fingerprint,
    recovery_phrase,
    recovery_secret,
)
from protocol.limits import MAX_NAME_BYTES

# Fingerprints ------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_reads_back_in_any_case_with_or_without_dashes(value: bytes) -> None:
    text = format_fingerprint(value)

    assert value == parse_fingerprint(text)
    assert value == parse_fingerprint(text.upper())
    assert value == parse_fingerprint(text.replace("-", ""))
    assert text == text.lower()
    assert [len(group) for group in text.split("-")] == [4] * 13
    assert base64.b32encode(value).decode() == text.replace("-", "").upper() + "===="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aaaa",
        "a" * 51,
        "a" * 53,
        "a" * 51 + "1",
        "a" * 51 + "b",
        "a" * 51 + "=",
        "a" * 51 + " ",
        "a" * 51 + "\n",
        # Letters that str.upper makes an S and an I.
        "\u017f" + "a" * 51,
        "\u0131" + "a" * 51,
        "\uff41" + "a" * 51,
    ],
)
def test_text_that_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(LocalError) as refusal:
        parse_fingerprint(text)

    assert refusal.value.hint


def test_eight_words_are_the_first_88_bits() -> None:
    wordlist = Mnemonic("english").wordlist
    value = bytes.fromhex("ffe0 0400 8000 0000 0000 01".replace(" ", "")) + bytes([255]) * 21
    bits = f"{int.from_bytes(value, 'big'):0256b}"
    words = tuple(wordlist[int(bits[at : at + 11], 2)] for at in range(0, 88, 11))

    assert words == fingerprint_words(value)
    assert fingerprint_words(bytes(32)) == ("abandon",) * 8
    assert fingerprint_words(bytes([255]) * 32) == ("zoo",) * 8


def test_the_words_show_the_first_88_bits_and_no_more() -> None:
    value = bytes(range(32))
    for bit in range(256):
        edited = bytearray(value)
        edited[bit // 8] ^= 0x80 >> bit % 8
        assert (bit < 88) == (fingerprint_words(bytes(edited)) != fingerprint_words(value))


# Recovery ----------------------------------------------------------------------------------------

# Entropy and phrase of the BIP-39 reference vectors, 256 bits.
BIP39 = [
    ("00" * 32, "abandon " * 23 + "art"),
    (
        "7f" * 32,
        "legal winner thank year wave sausage worth useful " * 2
        + "legal winner thank year wave sausage worth title",
    ),
    ("ff" * 32, "zoo " * 23 + "vote"),
    (
        "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
        (
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy "
            "fancy gospel tennis maple dilemma loan word shrug inflict delay length"
        ),
    ),
]


@pytest.mark.parametrize(("secret", "phrase"), BIP39)
def test_a_recovery_phrase_is_bip39(secret: str, phrase: str) -> None:
    assert phrase == recovery_phrase(bytes.fromhex(secret))
    assert bytes.fromhex(secret) == recovery_secret(phrase)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_phrase_reads_back(secret: bytes) -> None:
    phrase = recovery_phrase(secret)

    assert secret == recovery_secret(phrase)
    assert secret == recovery_secret("  " + phrase.upper().replace(" ", "\n ") + "\n")


@pytest.mark.parametrize(
    "phrase",
    [
        "",
        "abandon",
        "abandon " * 11 + "about",
        "abandon " * 24,
        "abandon " * 22 + "art",
        "abandon " * 22 + "artichoke art",
        "art " + "abandon " * 23,
        "abandon " * 24 + "art",
    ],
)
def test_a_wrong_recovery_phrase_is_refused_without_showing_it(phrase: str) -> None:
    with pytest.raises(LocalError) as refusal:
        recovery_secret(phrase)
    shown = f"{refusal.value} {refusal.value.hint} {refusal.value.__cause__!r}"

    assert "abandon" not in shown
    assert "artichoke" not in shown
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_recovery_secret_has_one_size(size: int) -> None:
    with pytest.raises(LocalError):
        recovery_phrase(bytes(size))


# Text of a peer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Ann", "Ann & Bob", "Zoë", "李雷", "المكتب", "📷 studio", "a" * 256]
)
def test_a_plain_name_in_any_script_is_clean(name: str) -> None:
    assert is_clean_name(name)
    assert name == clean_text(name, MAX_NAME_BYTES)


HIDDEN = {
    "line feed": "a\nb",
    "tab": "a\tb",
    "escape": "a\x1b[31mb",
    "delete": "a\x7fb",
    "C1": "a\x9bb",
    "right-to-left override": "a\u202eb",
    "right-to-left mark": "a\u200fb",
    "arabic letter mark": "a\u061cb",
    "isolate": "a\u2066b",
    "zero width space": "a\u200bb",
    "zero width joiner": "a\u200db",
    "byte order mark": "a\ufeffb",
    "soft hyphen": "a\u00adb",
    "tag letter": "a\U000e0041b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "no-break space": "a\u00a0b",
    "em space": "a\u2003b",
    "private use": "a\ue000b",
    "surrogate": "a\ud800b",
    "hangul filler": "a\u3164b",
    "grapheme joiner": "a\u034fb",
    "braille blank": "a\u2800b",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_a_name_with_something_hidden_is_not_clean(text: str) -> None:
    assert not is_clean_name(text)
    assert is_clean_name(clean_text(text, MAX_NAME_BYTES))


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a" * 257, "é" * 129, "e\u0301", "\u212b"])
def test_a_name_is_trimmed_composed_and_bounded(name: str) -> None:
    assert not is_clean_name(name)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a\nb\tc\u2028d\u00a0e", 100, "a b c d e"),
        ("a\x1b[31mb\u202ec\u200bd", 100, "a[31mbcd"),
        ("e\u0301", 100, "é"),
        ("e\u200d\u0301", 100, "é"),
        ("  a  ", 100, "a"),
        ("ééé", 5, "éé"),
        ("aé", 2, "a"),
        ("é b", 3, "é"),
        ("ab cd", 3, "ab"),
        ("\u202e\u200b", 100, ""),
        ("", 100, ""),
        ("abc", 0, ""),
    ],
)
def test_text_of_a_peer_is_cleaned(text: str, limit: int, expected: str) -> None:
    assert expected == clean_text(text, limit)


@given(st.text(st.characters(), max_size=200), st.integers(0, 300))
def test_cleaned_text_is_empty_or_clean_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)

    assert len(cleaned.encode()) <= limit
    assert cleaned == clean_text(cleaned, limit)
    assert not cleaned or is_clean_name(cleaned[:50].strip(" "))
    assert unicodedata.is_normalized("NFC", cleaned)


def test_cleaning_hostile_text_takes_no_quadratic_time() -> None:
    assert len(clean_text("\u0301\u0316" * 500_000, 1000).encode()) <= 1000
