"""Terms, image lists and the sealed capability."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.capability.terms import (
    CLASSIFICATIONS,
    RIGHTS,
    ImageItem,
    ImageList,
    Rendition,
    Terms,
    capability_hash,
    encode_image_list,
    image_list_context,
    image_list_hash,
    issue,
    open_capability_untrusted,
    parse_image_list_untrusted,
    parse_rendition,
    parse_terms_untrusted,
    seal_capability,
    sentence,
)
from protocol.encoding import encode
from protocol.errors import (
    AuthenticationError,
    EncodingError,
    LimitError,
    LocalError,
    UnsupportedError,
)
from protocol.identity import Identity, LocalIdentity, clean_text, sign_statement
from protocol.labels import PROLOGUE_SEALED_CAPABILITY, SignatureType
from protocol.limits import (
    MAX_CAPABILITY_BYTES,
    MAX_IMAGES,
    MAX_OPENS,
    MAX_TIME_MS,
    MAX_USAGE_TERMS_BYTES,
)
from protocol.noise.one_way import seal_to
from protocol.sealed_blob import open_sealed, seal, sealed_length
from tests.protocol.capability.cases import ALICE, BOB, CAROL, ITEMS, TEAM, case, honest_terms
from tests.protocol.people import NOW, stream

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
renditions = st.sampled_from(["original", "clean"]) | st.integers(1, 65_535).map(
    lambda pixels: f"preview:{pixels}"
)
rights = st.sets(st.sampled_from(RIGHTS)).map(
    lambda some: tuple(right for right in RIGHTS if right in some or right == "view")
)


@st.composite
def valid_terms(draw: st.DrawFn) -> Terms:
    """Any terms that Alice may sign."""
    rendition = draw(renditions)
    begin = draw(st.integers(0, MAX_TIME_MS - 1))
    return Terms(
        capability_id=draw(ids),
        issuer=ALICE.public.fingerprint,
        holder=draw(hashes),
        team=draw(hashes),
        image_count=draw(st.integers(1, MAX_IMAGES)),
        image_list_hash=draw(hashes),
        rights=draw(rights),
        rendition=rendition,
        watermark=rendition != "original" and draw(st.booleans()),
        not_before=begin,
        expires_at=draw(st.integers(begin + 1, MAX_TIME_MS)),
        max_opens=draw(st.integers(1, MAX_OPENS)),
        scope=draw(st.sampled_from(["image", "capability"])),
        factor_salt=draw(st.none() | ids),
        lease=draw(st.integers(0, MAX_TIME_MS)),
        classification=draw(st.sampled_from(CLASSIFICATIONS)),
        usage_terms=clean_text(draw(st.text()), MAX_USAGE_TERMS_BYTES),
        policy_version=draw(st.integers(0, 2**53 - 1)),
        roster_version=draw(st.integers(1, 2**53 - 1)),
    )


@settings(deadline=None)
@given(valid_terms())
def test_terms_read_back_as_they_were_written(terms: Terms) -> None:
    assert terms == parse_terms_untrusted(encode(terms))
    assert len(issue(terms=terms, issuer=ALICE)) < MAX_CAPABILITY_BYTES


@settings(deadline=None)
@given(valid_terms(), valid_terms())
def test_different_terms_are_different_capabilities(one: Terms, other: Terms) -> None:
    same = capability_hash(encode(one)) == capability_hash(encode(other))

    assert same is (one == other)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"rights": ("view", "print")},
        {"rights": ("",)},
        {"classification": "secret"},
        {"classification": "Public"},
        {"rendition": "preview"},
        {"rendition": "preview:0"},
        {"rendition": "preview:02048"},
        {"rendition": "preview:65536"},
        {"rendition": "preview:999999"},
        {"rendition": "preview:٢"},
        {"rendition": "preview:2048\n"},
        {"rendition": "Original"},
        {"rendition": ""},
    ],
    ids=str,
)
def test_what_this_build_does_not_know_is_refused_by_both_sides(changes: dict[str, Any]) -> None:
    terms = honest_terms(**changes)

    with pytest.raises(UnsupportedError):
        parse_terms_untrusted(encode(terms))
    with pytest.raises(LocalError):
        issue(terms=terms, issuer=ALICE)


@pytest.mark.parametrize(
    "changes",
    [
        {"capability_id": bytes(15)},
        {"capability_id": bytes(17)},
        {"holder": bytes(31)},
        {"team": bytes(33)},
        {"image_count": 0},
        {"image_count": MAX_IMAGES + 1},
        {"image_list_hash": b""},
        {"rights": ()},
        {"rights": ("save",)},
        {"rights": ("view", "view")},
        {"rights": ("save", "view")},
        {"rendition": "original", "watermark": True},
        {"not_before": -1},
        {"expires_at": NOW},
        {"expires_at": NOW - 1},
        {"expires_at": MAX_TIME_MS + 1},
        {"max_opens": 0},
        {"max_opens": MAX_OPENS + 1},
        {"scope": "team"},
        {"factor_salt": bytes(15)},
        {"lease": -1},
        {"usage_terms": "two\nlines"},
        {"usage_terms": "\u202egnp.exe"},
        {"usage_terms": "\x1b[2J"},
        {"usage_terms": "e\u0301"},
        {"usage_terms": "x" * (MAX_USAGE_TERMS_BYTES + 1)},
        {"policy_version": -1},
        {"roster_version": 0},
        {"holder": ALICE.public.fingerprint},
    ],
    ids=str,
)
def test_terms_that_break_a_rule_are_refused_by_both_sides(changes: dict[str, Any]) -> None:
    terms = honest_terms(**changes)

    with pytest.raises(EncodingError):
        parse_terms_untrusted(encode(terms))
    with pytest.raises(LocalError):
        issue(terms=terms, issuer=ALICE)


def test_an_unknown_or_missing_field_is_refused() -> None:
    fields = msgspec.msgpack.decode(encode(honest_terms()))
    fewer = {name: value for name, value in fields.items() if name != "version"}

    for changed in ({**fields, "print": True}, fewer, {**fields, "type": "manifest"}):
        with pytest.raises(EncodingError):
            parse_terms_untrusted(msgspec.msgpack.encode(changed))


def test_only_the_issuer_they_name_signs_terms() -> None:
    with pytest.raises(LocalError):
        issue(terms=honest_terms(), issuer=CAROL)


@pytest.mark.parametrize(
    ("text", "rendition"),
    [
        ("original", Rendition(kind="original", pixels=None)),
        ("clean", Rendition(kind="clean", pixels=None)),
        ("preview:1", Rendition(kind="preview", pixels=1)),
        ("preview:65535", Rendition(kind="preview", pixels=65_535)),
    ],
)
def test_a_rendition_has_one_spelling(text: str, rendition: Rendition) -> None:
    assert rendition == parse_rendition(text)


# Image lists


def test_an_image_list_reads_back_as_it_was_written() -> None:
    assert parse_image_list_untrusted(encode_image_list(ITEMS), terms=honest_terms()) == ITEMS


def test_an_image_list_opens_under_its_terms() -> None:
    terms, key = honest_terms(), bytes(32)
    sealed = seal(key, image_list_context(terms), encode_image_list(ITEMS), salt=bytes(24))

    assert encode_image_list(ITEMS) == open_sealed(key, image_list_context(terms), sealed)
    with pytest.raises(AuthenticationError):
        open_sealed(key, image_list_context(honest_terms(capability_id=bytes(16))), sealed)


def test_another_list_than_the_terms_name_is_refused() -> None:
    swapped = (ITEMS[1], ITEMS[0], ITEMS[2])

    with pytest.raises(AuthenticationError):
        parse_image_list_untrusted(encode_image_list(swapped), terms=honest_terms())


def test_a_list_of_another_length_than_the_terms_say_is_refused() -> None:
    with pytest.raises(EncodingError):
        parse_image_list_untrusted(encode_image_list(ITEMS), terms=honest_terms(image_count=2))


def test_peer_names_are_fit_to_be_shown() -> None:
    hostile = {
        "\x1b]52;c;Zm9v\x07photo.jpg": "]52;c;Zm9vphoto.jpg",
        "\u202egpj.exe": "gpj.exe",
        "  two\nlines ": "two lines",
        "\u200b": "unnamed",
        "../../.ssh/id": "../../.ssh/id",
    }
    items = tuple(
        msgspec.structs.replace(ITEMS[0], image_id=bytes([number] * 16), name=name)
        for number, name in enumerate(hostile)
    )
    list_bytes = encode_image_list(items)
    terms = honest_terms(image_count=len(items), image_list_hash=image_list_hash(list_bytes))

    shown = [item.name for item in parse_image_list_untrusted(list_bytes, terms=terms)]

    assert list(hostile.values()) == shown


@pytest.mark.parametrize(
    "items",
    [
        (),
        (ITEMS[0], ITEMS[0]),
        (msgspec.structs.replace(ITEMS[0], name=""),),
        (msgspec.structs.replace(ITEMS[0], name="ü" * 129),),
        (msgspec.structs.replace(ITEMS[0], image_id=bytes(15)),),
        (msgspec.structs.replace(ITEMS[0], format="image/jpeg"),),
        (msgspec.structs.replace(ITEMS[0], format="jpeg\n"),),
        (msgspec.structs.replace(ITEMS[0], width=0),),
        (msgspec.structs.replace(ITEMS[0], height=2**31),),
        (msgspec.structs.replace(ITEMS[0], bytes=-1),),
    ],
    ids=[
        "empty",
        "twice",
        "no name",
        "long name",
        "id",
        "format",
        "line",
        "width",
        "height",
        "bytes",
    ],
)
def test_a_list_that_breaks_a_rule_is_refused_by_both_sides(items: tuple[ImageItem, ...]) -> None:
    list_bytes = encode(ImageList(items=items))
    terms = honest_terms(
        image_count=max(1, len(items)), image_list_hash=image_list_hash(list_bytes)
    )

    with pytest.raises(EncodingError):
        parse_image_list_untrusted(list_bytes, terms=terms)
    with pytest.raises(LocalError):
        encode_image_list(items)


# The sealed capability


def members(agreement_key: bytes) -> Identity | None:
    """Alice, Bob and Carol are the team."""
    known = {one.public.agreement_key: one.public for one in (ALICE, BOB, CAROL)}
    return known.get(agreement_key)


def sealed_by(sender: LocalIdentity, **changes: Any) -> bytes:
    """Return the honest capability, fields changed, sealed by somebody."""
    return seal_capability(
        msgspec.structs.replace(case().capability, **changes),
        sender=sender,
        recipient=BOB.public,
        team_id=TEAM,
        entropy=stream("sealed"),
    )


def test_a_capability_opens_for_its_holder() -> None:
    opened = open_capability_untrusted(case().sealed, holder=BOB, issuer_of=members, team_id=TEAM)

    assert case().capability == opened.capability
    assert case().terms == opened.terms
    assert case().hash == opened.hash == capability_hash(opened.terms_body)
    assert ALICE.public == opened.issuer


def test_guarantee_5_a_stolen_capability_does_not_open() -> None:
    with pytest.raises(AuthenticationError):
        open_capability_untrusted(case().sealed, holder=CAROL, issuer_of=members, team_id=TEAM)


@pytest.mark.parametrize("issuer_of", [lambda key: None, lambda key: CAROL.public])
def test_a_capability_from_a_stranger_is_refused(issuer_of: Any) -> None:
    with pytest.raises(AuthenticationError):
        open_capability_untrusted(case().sealed, holder=BOB, issuer_of=issuer_of, team_id=TEAM)


def test_a_capability_of_another_team_is_refused() -> None:
    with pytest.raises(AuthenticationError):
        open_capability_untrusted(case().sealed, holder=BOB, issuer_of=members, team_id=bytes(32))


def test_row_3_a_member_cannot_pass_on_terms_of_another_with_keys_of_its_own() -> None:
    forged = sealed_by(CAROL, holder_share=bytes(32), list_key=bytes(32))

    with pytest.raises(AuthenticationError):
        open_capability_untrusted(forged, holder=BOB, issuer_of=members, team_id=TEAM)


@pytest.mark.parametrize(
    "changes",
    [{"holder": CAROL.public.fingerprint}, {"team": bytes(32)}],
    ids=["another holder", "another team"],
)
def test_terms_for_somebody_else_are_refused(changes: dict[str, Any]) -> None:
    signed = issue(terms=honest_terms(**changes), issuer=ALICE)

    with pytest.raises(AuthenticationError):
        open_capability_untrusted(
            sealed_by(ALICE, signed_terms=signed), holder=BOB, issuer_of=members, team_id=TEAM
        )


def test_terms_that_name_another_issuer_are_refused() -> None:
    body = encode(honest_terms(issuer=CAROL.public.fingerprint))
    signed = sign_statement(ALICE.identity, SignatureType.CAPABILITY, TEAM, body)

    with pytest.raises(AuthenticationError):
        open_capability_untrusted(
            sealed_by(ALICE, signed_terms=signed), holder=BOB, issuer_of=members, team_id=TEAM
        )


@pytest.mark.parametrize("length", [0, 79, sealed_length(40 * 1024 * 1024 + 1)])
def test_an_image_list_of_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(EncodingError):
        open_capability_untrusted(
            sealed_by(ALICE, list_sealed_bytes=length), holder=BOB, issuer_of=members, team_id=TEAM
        )


@pytest.mark.parametrize("plaintext", [b"", b"\x80", encode(honest_terms())])
def test_a_member_who_seals_something_else_is_refused(plaintext: bytes) -> None:
    sealed = seal_to(
        sender_secret=ALICE.agreement_secret,
        recipient_public=BOB.public.agreement_key,
        prologue=PROLOGUE_SEALED_CAPABILITY + TEAM,
        plaintext=plaintext,
        entropy=stream("other"),
    )

    with pytest.raises(EncodingError):
        open_capability_untrusted(sealed, holder=BOB, issuer_of=members, team_id=TEAM)


def test_row_2_every_bit_of_a_sealed_capability_counts() -> None:
    for bit in range(8 * len(case().sealed)):
        changed = bytearray(case().sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError) as caught:
            open_capability_untrusted(bytes(changed), holder=BOB, issuer_of=members, team_id=TEAM)
        assert caught.type is AuthenticationError


@settings(deadline=None)
@given(st.binary(max_size=300) | st.integers(0, 816).map(lambda size: case().sealed[:size]))
def test_bytes_that_are_no_sealed_capability_are_one_error(data: bytes) -> None:
    if data == case().sealed:
        return
    with pytest.raises(AuthenticationError) as caught:
        open_capability_untrusted(data, holder=BOB, issuer_of=members, team_id=TEAM)
    assert caught.type is AuthenticationError


def test_a_capability_is_never_over_its_limit() -> None:
    longest = issue(terms=honest_terms(usage_terms="x" * MAX_USAGE_TERMS_BYTES), issuer=ALICE)

    assert len(sealed_by(ALICE, signed_terms=longest)) < MAX_CAPABILITY_BYTES
    with pytest.raises(LimitError):
        sealed_by(ALICE, signed_terms=bytes(60_001))


def test_a_capability_does_not_print_its_secrets() -> None:
    opened = open_capability_untrusted(case().sealed, holder=BOB, issuer_of=members, team_id=TEAM)

    assert str(opened.capability.holder_share)[2:-1] not in repr(opened)
    assert repr(opened.capability) == "Capability()"


# The sentence


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (
            honest_terms(),
            (
                "Bob may view 3 pictures as previews of at most 2048 pixels, 10 times each, until "
                "Sunday 5 July 14:00; nothing can be saved."
            ),
        ),
        (
            honest_terms(image_count=1, max_opens=1, watermark=True),
            (
                "Bob may view 1 picture as a preview of at most 2048 pixels with a watermark, "
                "once, until Sunday 5 July 14:00; nothing can be saved."
            ),
        ),
        (
            honest_terms(rights=("view", "save"), rendition="original"),
            (
                "Bob may view and save 3 pictures as original files, 10 times each, until "
                "Sunday 5 July 14:00."
            ),
        ),
        (
            honest_terms(rights=("view", "save"), rendition="original", image_count=1),
            (
                "Bob may view and save 1 picture as the original file, 10 times, until "
                "Sunday 5 July 14:00."
            ),
        ),
        (
            honest_terms(rights=RIGHTS, rendition="clean", scope="capability", lease=1),
            (
                "Bob may view, save, comment on, pick, rate and approve 3 pictures as copies "
                "without metadata, 10 times in all, until Sunday 5 July 14:00; opens may be taken "
                "along offline; may ask for more time and a share for somebody else."
            ),
        ),
        (
            honest_terms(rendition="clean", image_count=1, factor_salt=bytes(16)),
            (
                "Bob may view 1 picture as a copy without metadata, 10 times, until "
                "Sunday 5 July 14:00; a second-factor phrase is needed; nothing can be saved."
            ),
        ),
        (
            honest_terms(image_count=12_345, rights=("view", "extend")),
            (
                "Bob may view 12,345 pictures as previews of at most 2048 pixels, 10 times each, "
                "until Sunday 5 July 14:00; may ask for more time; nothing can be saved."
            ),
        ),
    ],
)
def test_terms_are_told_in_one_sentence(terms: Terms, expected: str) -> None:
    assert expected == sentence(terms, holder_name="Bob", until="Sunday 5 July 14:00")


def test_the_sentence_tells_what_an_amendment_changed_and_who_grants() -> None:
    told = sentence(
        honest_terms(),
        holder_name="You",
        issuer_name="Alice",
        since="Friday",
        until="Monday",
        max_opens=12,
    )

    expected = (
        "You may view 3 pictures from Alice as previews of at most 2048 pixels, 12 times each, "
        "from Friday until Monday; nothing can be saved."
    )
    assert expected == told


@settings(deadline=None)
@given(valid_terms())
def test_every_terms_can_be_told(terms: Terms) -> None:
    told = sentence(terms, holder_name="Bob", until="later")

    assert told.startswith("Bob may view")
    assert told.endswith(".")
    assert ("nothing can be saved" in told) is ("save" not in terms.rights)
