"""Signed notes: whose signature counts, and one spelling of everything."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.audit.note import (
    KeyType,
    VerifierKey,
    format_vkey,
    open_note_untrusted,
    parse_vkey_untrusted,
    sign_cosignature,
    sign_note,
)
from protocol.errors import LocalError, LogError
from protocol.primitives import SigningKey
from tests.protocol.audit.support import ALICE, BOB, START
from tests.support import vectors

TEXT = b"one line\n\nand another\n"
ALICE_KEY = VerifierKey(name="alice", key_type=KeyType.NOTE, public=ALICE.public)
BOB_KEY = VerifierKey(name="bob", key_type=KeyType.COSIGNATURE, public=BOB.public)
SIGNED = sign_note(TEXT, name="alice", key=ALICE)
COSIGNED = SIGNED + sign_cosignature(TEXT, name="bob", key=BOB, now=START + 999)
LINE = SIGNED.removeprefix(TEXT + b"\n")


def code_of(data: bytes, *keys: VerifierKey) -> str:
    with pytest.raises(LogError) as refusal:
        open_note_untrusted(data, keys)
    return refusal.value.code


def test_a_signed_text_opens_with_its_empty_lines() -> None:
    note = open_note_untrusted(SIGNED, [ALICE_KEY])

    assert note.text == TEXT
    assert [(one.key, one.time) for one in note.verified] == [(ALICE_KEY, None)]
    assert note.unverified == ()


def test_a_cosignature_says_when_it_was_made_in_whole_seconds() -> None:
    note = open_note_untrusted(COSIGNED, [ALICE_KEY, BOB_KEY])

    assert [(one.key, one.time) for one in note.verified] == [(ALICE_KEY, None), (BOB_KEY, START)]


def test_signatures_of_unknown_keys_are_passed_over() -> None:
    note = open_note_untrusted(COSIGNED, [BOB_KEY])

    assert [one.key for one in note.verified] == [BOB_KEY]
    assert [("alice", ALICE_KEY.key_id, 64)] == [
        (one.name, one.key_id, len(one.signature)) for one in note.unverified
    ]


def test_a_key_counts_once_however_often_it_signs() -> None:
    again = COSIGNED + sign_cosignature(TEXT, name="bob", key=BOB, now=START + 5000)
    note = open_note_untrusted(again, [BOB_KEY])

    assert [(one.key, one.time) for one in note.verified] == [(BOB_KEY, START)]


def test_a_note_without_a_known_signature_is_refused() -> None:
    mallory = VerifierKey(name="mallory", key_type=KeyType.NOTE, public=BOB.public)

    assert code_of(SIGNED) == "unsigned"
    assert code_of(SIGNED, mallory) == "unsigned"


def test_a_bad_signature_of_a_known_key_fails_the_note_whoever_else_signed() -> None:
    changed = COSIGNED.replace(b"one line", b"two line")
    lied = SIGNED + sign_cosignature(b"other\n", name="bob", key=BOB, now=START)

    assert code_of(changed, ALICE_KEY, BOB_KEY) == "bad_signature"
    assert code_of(lied, ALICE_KEY, BOB_KEY) == "bad_signature"


def test_a_signature_of_one_type_is_none_of_the_other() -> None:
    as_note = VerifierKey(name="bob", key_type=KeyType.NOTE, public=BOB.public)
    plain = sign_note(TEXT, name="bob", key=BOB)
    relabelled = TEXT + b"\n" + line("bob", BOB_KEY.key_id + BOB.sign(TEXT))

    assert code_of(plain, BOB_KEY) == "unsigned"
    assert code_of(COSIGNED, as_note) == "unsigned"
    assert code_of(relabelled, BOB_KEY) == "bad_signature"


@pytest.mark.parametrize("size", [1, 7, 8, 71, 73])
def test_a_signature_of_another_length_is_bad(size: int) -> None:
    for key in (ALICE_KEY, BOB_KEY):
        data = TEXT + b"\n" + line(key.name, key.key_id + bytes(size))
        assert code_of(data, ALICE_KEY, BOB_KEY) == "bad_signature"


def line(name: str, field: bytes) -> bytes:
    return f"— {name} {base64.b64encode(field).decode()}\n".encode()


MALFORMED = {
    "nothing": b"",
    "no signature": TEXT,
    "an empty line and no signature": TEXT + b"\n",
    "no last line feed": SIGNED[:-1],
    "no text": LINE,
    "no empty line": TEXT[:-1].replace(b"\n\n", b"\n") + b"\n" + LINE,
    "not UTF-8": b"\xff" + SIGNED,
    "a control character": b"\x01" + SIGNED,
    "a carriage return": SIGNED.replace(b"\n", b"\r\n"),
    "a tab": SIGNED.replace(b"one line", b"one\tline"),
    "a hyphen for a dash": TEXT + b"\n" + LINE.replace("—".encode(), b"-"),
    "another line": SIGNED + b"unexpected\n",
    "no name": TEXT + b"\n" + LINE.replace(b"alice", b""),
    "a name with a plus": TEXT + b"\n" + LINE.replace(b"alice", b"ali+e"),
    "a name with a space of another script": TEXT + b"\n" + LINE.replace(b"li", "\u2003".encode()),
    "no signature after the name": TEXT + b"\n" + "— alice\n".encode(),
    "nothing after the name": TEXT + b"\n" + "— alice \n".encode(),
    "a key id alone": TEXT + b"\n" + line("alice", ALICE_KEY.key_id),
    "no base64": TEXT + b"\n" + "— alice ????\n".encode(),
    "base64 without padding": TEXT + b"\n" + LINE.replace(b"=", b""),
    "base64 of another alphabet": TEXT + b"\n" + line("alice", b"\xff" * 68).replace(b"/", b"_"),
    "base64 with bits left over": TEXT + b"\n" + line("alice", bytes(68)).replace(b"A=", b"B="),
    "a space at the end": SIGNED[:-1] + b" \n",
    "101 signatures": TEXT + b"\n" + LINE * 101,
    "over 64 KiB": b"x" * 2**16 + SIGNED,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_note_is_refused(case: str) -> None:
    assert code_of(MALFORMED[case], ALICE_KEY) == "malformed_note"


def test_100_signatures_are_taken() -> None:
    note = open_note_untrusted(TEXT + b"\n" + LINE * 100, [ALICE_KEY])

    assert len(note.verified) == 1


@pytest.mark.parametrize("text", [b"", b"no line feed", b"tab\t\n", b"\xff\n", b"\r\n"])
def test_a_text_that_no_note_can_carry_is_not_signed(text: bytes) -> None:
    with pytest.raises(LocalError):
        sign_note(text, name="alice", key=ALICE)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x00b", "a\u00a0b", "a\u2029b"])
def test_a_key_has_a_name_that_a_line_can_carry(name: str) -> None:
    with pytest.raises(LocalError):
        VerifierKey(name=name, key_type=KeyType.NOTE, public=ALICE.public)


texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), max_size=80
).map(lambda text: text.encode() + b"\n")


@given(texts, st.integers(0, 2**50))
def test_what_was_signed_opens(text: bytes, now: int) -> None:
    data = sign_note(text, name="alice", key=ALICE)
    data += sign_cosignature(text, name="bob", key=BOB, now=now)
    note = open_note_untrusted(data, [ALICE_KEY, BOB_KEY])

    assert text == note.text
    assert [None, now // 1000 * 1000] == [one.time for one in note.verified]


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_log_error_and_nothing_else(data: bytes) -> None:
    for foreign in (data, data + b"\n", data + b"\n\n" + LINE, TEXT + "\n— ".encode() + data):
        with pytest.raises(LogError):
            open_note_untrusted(foreign, [ALICE_KEY])


@given(st.integers(0, len(COSIGNED) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_note_never_shows_another_text(at: int, new: bytes, gone: int) -> None:
    try:
        note = open_note_untrusted(COSIGNED[:at] + new + COSIGNED[at + gone :], [ALICE_KEY])
    except LogError:
        return

    assert note.text == TEXT


# Verifier keys ------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.sampled_from(KeyType))
def test_a_verifier_key_survives_its_text_form(seed: bytes, key_type: KeyType) -> None:
    key = VerifierKey(name="node/1", key_type=key_type, public=SigningKey(seed).public)

    assert key == parse_vkey_untrusted(format_vkey(key))


def vkey(name: str, key_type: int, public: bytes) -> str:
    """Return a verifier key whose id is right, whatever else is not."""
    data = bytes([key_type]) + public
    key_id = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


GOOD = format_vkey(ALICE_KEY)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "vkey"),
        ("alice", "vkey"),
        (GOOD.replace("alice", ""), "vkey"),
        (GOOD.replace("alice", "al ice"), "vkey"),
        (GOOD.replace("alice", "alicf"), "vkey"),
        (GOOD.replace(GOOD.split("+")[1], GOOD.split("+")[1].upper()), "vkey"),
        (GOOD.replace(GOOD.split("+")[1], "0" * 8), "vkey"),
        (GOOD.replace(GOOD.split("+")[1], "0" * 7), "vkey"),
        (GOOD + "\n", "vkey"),
        (GOOD[:-4], "vkey"),
        ("+".join([*GOOD.split("+")[:2], ""]), "vkey_type"),
        ("a+00000000+٠٠٠٠", "vkey"),
        (vkey("alice", 2, ALICE.public), "vkey_type"),
        (vkey("alice", 6, ALICE.public), "vkey_type"),
        (vkey("alice", 1, ALICE.public[:-1]), "vkey"),
        (vkey("alice", 1, b""), "vkey"),
        (vkey("alice", 1, bytes(32)), "vkey"),
        (vkey("alice", 4, b"\x01" + bytes(31)), "vkey"),
    ],
)
def test_a_bad_verifier_key_is_refused(text: str, code: str) -> None:
    with pytest.raises(LogError) as refusal:
        parse_vkey_untrusted(text)

    assert code == refusal.value.code


@given(st.text(max_size=60))
def test_foreign_text_is_no_verifier_key(text: str) -> None:
    with pytest.raises(LogError):
        parse_vkey_untrusted(text)


# Published vectors --------------------------------------------------------------------------------


def note_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(vectors("tlog", "notes", "notes.json").read_bytes())
    return cases


def test_published_notes_are_judged_as_published() -> None:
    codes = {"Malformed": "malformed_note", "Unverified": "unsigned", "BadSig": "bad_signature"}
    accepted = 0
    for case in note_cases():
        keys = [parse_vkey_untrusted(text) for text in case["vkeys"]]
        want, _, count = case["want"].partition(" ")
        if want == "ok":
            note = open_note_untrusted(case["note"].encode(), keys)
            assert int(count) == len(note.verified), case["name"]
            accepted += 1
        else:
            assert codes[want] == code_of(case["note"].encode(), *keys), case["name"]

    assert accepted == 6


def test_published_cosignature_keys_are_judged_as_published() -> None:
    known = json.loads(vectors("tlog", "notes", "cosig_vkeys.json").read_bytes())
    for text in known["vkeys_ok"]:
        assert text == format_vkey(parse_vkey_untrusted(text))
    for text in known["vkeys_bad"]:
        with pytest.raises(LogError):
            parse_vkey_untrusted(text)


def test_the_worked_keys_are_reproduced() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    for known in worked["keys"].values():
        key = VerifierKey(
            name=known["name"],
            key_type=KeyType(known["type"]),
            public=SigningKey(bytes.fromhex(known["seed"])).public,
        )
        assert (known["public"], known["key_id"]) == (key.public.hex(), key.key_id.hex())
        assert known["vkey"] == format_vkey(key)
        assert key == parse_vkey_untrusted(known["vkey"])


def test_one_key_has_different_ids_for_its_types() -> None:
    worked = json.loads(vectors("tlog", "worked.json").read_bytes())
    bob = worked["keys"]["bob"]
    ids = {
        f"type{key_type.value}": VerifierKey(
            name=bob["name"], key_type=key_type, public=bytes.fromhex(bob["public"])
        ).key_id.hex()
        for key_type in KeyType
    }

    assert worked["same_key_both_types"] == ids
