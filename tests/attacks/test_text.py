"""Names and words of peers: none acts on a terminal, none becomes a path (rows 29, 32 and 34)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.services.files import safe_file_name, write_new_file
from node.system import system_entropy
from protocol.encoding import encode
from protocol.errors import LocalError, RemoteError, SafelightError
from protocol.identity import (
    Certificate,
    Seeds,
    clean_text,
    is_clean_name,
    parse_certificate_untrusted,
    sign_statement,
)
from protocol.labels import NO_TEAM, SignatureType
from protocol.limits import MAX_NAME_BYTES
from protocol.messages import Deliver
from protocol.primitives import SigningKey, x25519_public
from protocol.roster.metadata import Roster, next_version, sign_roster
from protocol.roster.update import join_versions
from tests.attacks.mallory import CLOCK, Mallory, enlisted, refused
from tests.node.services.team import Person, team

ESCAPES = (
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J\x1b[H",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1bPtmux;\x1b\x1b]0;title\x07\x1b\\",
    "\x9b2J",
    "\x9d0;title\x9c",
    "\x1b_Gf=100,t=f;L2V0Yy9wYXNzd2Q=\x1b\\",
    "a\rb\nc\td\x08\x08\x7f",
    "\u202egnp.exe\u202c",
    "\u2066hidden\u2069\u200b\u200d\ufeff",
    "\u2028line\u2029paragraph\u0085next",
    "[@click=app.bell]click[/]",
    "[red]markup",
    "\U000e0041\U000e007f",
)
"""What a terminal or a reader would act upon."""

ACTS = frozenset(map(chr, [*range(32), *range(0x7F, 0xA0)])) - {"\n"}
HIDES = frozenset(
    "\u200b\u200d\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u2028\u2029"
)


def harmless(text: str) -> bool:
    """Say whether text holds nothing that a terminal acts upon or that hides from a reader."""
    return not (ACTS | HIDES) & set(text)


PATHS = (
    "../../../../tmp/escaped.jpg",
    "/etc/cron.d/evil",
    "..",
    ".",
    "~/.ssh/authorized_keys",
    "a\\..\\..\\b.jpg",
    "C:\\Windows\\System32\\evil.dll",
    "CON",
    "nul.jpg",
    "com1.tar.gz",
    ".bashrc",
    "-rf",
    "name.jpg ",
    "trailing.",
    "x" * 255,
    "é" * 120,
    "file:stream.jpg",
    'a|b>c<d?e*f"g.jpg',
    "$(reboot).jpg",
    "`id`;rm -rf ~",
)
"""What would lead out of a folder, or to a device, a hidden file or an option."""


# Row 32 -------------------------------------------------------------------------------------------


async def test_row_32_names_of_pictures_are_clean_when_they_reach_anybody(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        await mallory.grant(session, mallory.forge(bob, names=ESCAPES))

        (held,) = await bob.node.inbox.held()

        assert len(held["images"]) == len(ESCAPES)
        for image in held["images"]:
            assert harmless(image["name"]), image
            assert is_clean_name(image["name"]), image


async def test_row_32_usage_terms_and_disclosures_that_act_are_refused(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        for text in ESCAPES[:11]:
            with pytest.raises(LocalError):
                mallory.forge(bob, usage_terms=text)
            forged = _with_terms(mallory, bob, text)
            assert await refused(session.request(Deliver(sealed=forged))) == "unknown", text

        assert await bob.node.inbox.held() == []


def _with_terms(mallory: Mallory, bob: Person, text: str) -> bytes:
    """Seal a capability whose usage terms no honest build would sign."""
    honest = mallory.forge(bob)
    terms = msgspec.structs.replace(honest.terms, usage_terms=text)
    signed = sign_statement(
        mallory.local.identity, SignatureType.CAPABILITY, mallory.team, encode(terms)
    )
    capability = msgspec.structs.replace(honest.capability, signed_terms=signed)
    return mallory.seal(capability, bob.node.context.identity.public)


def _certificate(seeds: Seeds, name: str) -> bytes:
    """Return a certificate with a name that this build does not write."""
    identity = SigningKey(seeds.identity)
    body = encode(
        Certificate(
            version=1,
            name=name,
            created=0,
            identity=identity.public,
            agreement=x25519_public(seeds.agreement),
            log=SigningKey(seeds.log).public,
            cosigning=SigningKey(seeds.cosigning).public,
        )
    )
    return sign_statement(identity, SignatureType.CERTIFICATE, NO_TEAM, body)


@pytest.mark.parametrize("name", ESCAPES[:11])
def test_row_32_nobody_has_a_name_that_acts(name: str) -> None:
    with pytest.raises(RemoteError):
        parse_certificate_untrusted(_certificate(Seeds.generate(system_entropy), name))


async def test_row_32_no_roster_brings_a_team_or_member_name_that_acts(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob):
        trusted = alice.node.membership.trusted
        body = next_version(trusted.roster, members=trusted.roster.members, now=CLOCK.now())
        honest = msgspec.msgpack.decode(body, type=Roster)
        for name in ESCAPES[:11]:
            evil = encode(msgspec.structs.replace(honest, team_name=name))
            signed = sign_roster(
                evil, signers=(alice.node.context.identity,), team_id=trusted.team_id
            )
            with pytest.raises(RemoteError):
                await bob.node.membership.update_untrusted(join_versions([signed]))

        assert bob.node.membership.show({}, set())["team"] == "Test team"


# Row 29 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
def test_row_29_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"

    path = write_new_file(folder, name, b"x")

    assert path.parent == folder
    assert path.resolve().parent == folder.resolve()
    assert not path.name.startswith((".", "-")) or name == "-rf"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@given(st.text(max_size=300))
def test_row_29_every_name_becomes_one_plain_file_name(name: str) -> None:
    safe = safe_file_name(name)

    assert safe not in ("", ".", "..")
    assert not set('/\\:*?"<>|\0') & set(safe)
    assert len(safe.encode()) <= 255
    assert not safe.startswith(".")
    assert not safe.endswith((".", " "))
    assert safe.split(".")[0].strip().casefold() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


@given(st.text(max_size=300))
def test_row_29_no_name_of_a_peer_keeps_what_acts_on_a_terminal(name: str) -> None:
    assert harmless(safe_file_name(clean_text(name, MAX_NAME_BYTES)))


def test_row_29_nothing_is_overwritten_and_no_link_followed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    (folder / "a.jpg").symlink_to(outside)
    (folder / "a-1.jpg").write_bytes(b"mine")
    (folder / "a-2.jpg").mkdir()
    (folder / "a-3.jpg").symlink_to(tmp_path / "nowhere")

    path = write_new_file(folder, "a.jpg", b"new")

    assert path.name == "a-4.jpg"
    assert outside.read_bytes() == b"untouched"
    assert (folder / "a-1.jpg").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


async def test_row_29_what_is_saved_is_a_picture_and_is_called_one(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        script = b"[Desktop Entry]\nType=Application\nExec=sh -c 'touch /tmp/owned'\n" * 9
        forged = mallory.forge(
            bob, names=("invoice",), plaintext=script, manifest={"format": "desktop"}
        )
        capability = await mallory.grant(session, forged)
        out = tmp_path / "saved"

        with pytest.raises(SafelightError):
            await bob.node.viewing.save(
                capability=capability,
                images=[],
                out=str(out),
                factor=None,
                progress=lambda *_: None,
            )

        assert not out.exists() or not list(out.iterdir())


# Row 34 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bob", "Bob", "ＢＯＢ", "b\u200dob", "bob ", "𝐛𝐨𝐛"])
async def test_row_34_nobody_joins_under_a_name_that_looks_like_another(
    tmp_path: Path, name: str
) -> None:
    async with team(tmp_path, "alice") as (alice,), enlisted(alice, name="bob"):
        with pytest.raises((SafelightError, RemoteError)):
            async with enlisted(alice, name=name):
                pass

        assert alice.node.membership.version == 2


async def test_row_34_pictures_of_one_name_are_told_apart_by_id(tmp_path: Path) -> None:
    async with team(tmp_path, "alice", "bob") as (alice, bob), enlisted(alice) as mallory:
        session = await mallory.dial(bob)
        forged = mallory.forge(bob, names=("same.jpg", "same.jpg", "same.jpg\u200b"))
        capability = await mallory.grant(session, forged)

        with pytest.raises(SafelightError, match="several"):
            await bob.open(capability, "same.jpg")

        opened = await bob.open(capability, forged.manifest.image_id.hex())
        assert opened["image"] == forged.manifest.image_id.hex()
