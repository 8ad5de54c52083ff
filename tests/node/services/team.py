"""Real nodes of one team in one process: real vaults, real sockets, real pictures.

Belongs here: building and joining nodes for tests of the services.
Never here: mocks; the only thing that tests replace is the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from PIL import Image

from node.imaging.pool import ImagingPool
from node.ports import Clock
from node.services.context import Context
from node.services.events import Events
from node.system import SystemClock, system_entropy
from node.unlocked import Unlocked
from node.vault.records import Connection
from node.vault.vault import Vault
from protocol.capability.keys import factor_proof
from protocol.capability.manifest import Manifest, verify_manifest_untrusted
from protocol.capability.opening import OpenBody, sign_open
from protocol.errors import Refused
from protocol.identity import format_fingerprint
from protocol.messages import OpenRequest, Released
from tests.node.kept_imaging import kept_imaging

T = TypeVar("T")

PASSPHRASE = "correct horse battery staple"
SMALL_ARGON2 = 64 * 1024 * 1024


def plain_pictures(count: int, size: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, JPEG bytes) of pictures that differ, made in no time."""
    for number in range(count):
        picture = Image.new("RGB", size, (number % 256, number // 256, 128))
        data = BytesIO()
        picture.save(data, "JPEG", comment=f"picture {number}")
        yield f"picture {number:03}.jpg", data.getvalue()


class ShiftedClock:
    """The machine's clock, moved by hand."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self.shift = 0
        self.monotonic_shift = 0

    def now(self) -> int:
        """Wall time in Unix milliseconds."""
        return self._system.now() + self.shift

    def monotonic(self) -> int:
        """Milliseconds since boot."""
        return self._system.monotonic() + self.monotonic_shift

    def advance(self, milliseconds: int) -> None:
        """Let time pass on both readings."""
        self.shift += milliseconds
        self.monotonic_shift += milliseconds


@dataclass
class Person:
    """A node with a name, and ways to ask it what tests ask often."""

    name: str
    home: Path
    clock: ShiftedClock
    imaging: ImagingPool
    node: Unlocked

    @property
    def me(self) -> bytes:
        return self.node.context.me

    async def read(self, query: Callable[[Connection], T]) -> T:
        return await self.node.context.database.read(query)

    async def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's entries of one event, oldest first."""
        found = await self.node.log_reading.entries(who=None, image=None, since=None, limit=100_000)
        return [one for one in found["entries"] if one["event"] == name]

    async def import_pictures(self, count: int, *, size: tuple[int, int] = (320, 213)) -> list[Any]:
        """Import made pictures; return them as JSON has them."""
        folder = self.home.parent / f"{self.name}-pictures"
        folder.mkdir(exist_ok=True)
        for name, data in plain_pictures(count, size):
            (folder / name).write_bytes(data)
        result = await self.node.library.import_paths(
            [str(folder)],
            album=None,
            tags=[],
            classification="internal",
            progress=lambda *_: None,
        )
        images: list[Any] = result["images"]
        return images

    async def share(self, what: list[str], to: list[str], **terms: Any) -> list[dict[str, Any]]:
        """Share with plain terms but for those given."""
        options: dict[str, Any] = {
            "duration": "1h",
            "rights": ["view"],
            "opens": None,
            "rendition": "preview:200",
            "watermark": None,
            "factor": False,
            "not_before": None,
            "terms": "",
            "lease": None,
            "dry_run": False,
            **terms,
        }
        result = await self.node.sharing.share(what=what, to=to, **options)
        capabilities: list[dict[str, Any]] = result["capabilities"]
        return capabilities

    async def wait_ready(self, capability: str, *, seconds: float = 45.0) -> dict[str, Any]:
        """Return a held capability once every picture of it is ready."""

        async def ready() -> dict[str, Any] | None:
            for one in await self.node.inbox.held():
                if one["id"] == capability and all(image["ready"] for image in one["images"]):
                    return one
            return None

        return await eventually(ready, seconds=seconds)

    async def open(
        self, capability: str, image: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Spend an open as the command does."""
        return await self.node.viewing.open(
            capability=capability,
            image=image,
            factor=options.get("factor"),
            wait=options.get("wait", 10.0),
        )

    async def manifest(self, capability: str, image: str | None = None) -> Manifest:
        """Return a picture's manifest of a held capability."""
        row = await self.node.inbox.resolve(capability)
        images = await self.node.inbox.resolve_images(row, [] if image is None else [image])
        issuer = self.node.membership.member(row.issuer)
        assert issuer is not None
        assert images[0].manifest is not None
        return verify_manifest_untrusted(
            images[0].manifest, issuer=issuer, team_id=self.node.membership.team_id
        )

    async def ask(
        self,
        capability: str,
        manifest: Manifest,
        *,
        open_id: bytes | None = None,
        issuer: bytes | None = None,
        proof_key: bytes | None = None,
        **changes: Any,
    ) -> Released | str:
        """Send one open request as a protocol client would; return the release or the reason."""
        row = await self.node.inbox.resolve(capability)
        link = await self.node.peering.reach(issuer or row.issuer, 45)
        open_id = open_id or system_entropy(16)
        fields: dict[str, Any] = {
            "capability_hash": manifest.capability_hash,
            "rendition_id": manifest.rendition_id,
            "open_id": open_id,
            "blob_sha256": manifest.ciphertext_sha256,
            "handshake_hash": link.session.handshake_hash,
            "roster_version": self.node.membership.version,
            "factor_proof": None
            if proof_key is None
            else factor_proof(
                proof_key, handshake_hash=link.session.handshake_hash, open_id=open_id
            ),
            **changes,
        }
        signed = sign_open(
            OpenBody(**fields),
            holder=self.node.context.identity,
            team_id=self.node.membership.team_id,
        )
        try:
            answer = await link.session.request(OpenRequest(signed=signed))
        except Refused as refusal:
            return refusal.reason.value
        assert isinstance(answer, Released)
        return answer

    async def restart(self) -> None:
        """Stop the node's services and start them again on the same vault."""
        await self.node.close()
        self.node = await start_node(self.home, self.clock, self.imaging)


async def eventually(condition: Callable[[], Awaitable[T | None]], *, seconds: float = 45.0) -> T:
    """Return what condition gives once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


async def start_node(home: Path, clock: Clock, imaging: ImagingPool) -> Unlocked:
    """Return the running node of an existing home."""
    vault = await Vault.open(home, passphrase=PASSPHRASE, clock=clock, entropy=system_entropy)
    return await _start(vault, clock, imaging)


async def _start(vault: Vault, clock: Clock, imaging: ImagingPool) -> Unlocked:
    context = Context(
        vault=vault, imaging=imaging, clock=clock, entropy=system_entropy, events=Events()
    )
    return await Unlocked.start(context, listen="127.0.0.1:0")


async def new_person(folder: Path, name: str, imaging: ImagingPool) -> Person:
    """Return a running node with a new vault."""
    home, clock = folder / name, ShiftedClock()
    # Stretching passphrases is not what the tests of services are about.
    with patch("node.vault.keyring.ARGON2_TIME", 1):
        vault, _ = await Vault.create(
            home,
            name=name,
            passphrase=PASSPHRASE,
            clock=clock,
            entropy=system_entropy,
            memory_bytes=SMALL_ARGON2,
        )
    return Person(
        name=name,
        home=home,
        clock=clock,
        imaging=imaging,
        node=await _start(vault, clock, imaging),
    )


async def join(administrator: Person, person: Person, role: str = "editor") -> None:
    """Bring a person into the administrator's team by files."""
    identity = person.node.membership.identity_file(person.node.addresses())
    welcome, _ = await administrator.node.membership.add(
        identity, role, addresses=administrator.node.addresses()
    )
    joined = await person.node.membership.join(welcome, format_fingerprint(administrator.me))
    assert joined["joined"]


@asynccontextmanager
async def team(folder: Path, *names: str) -> AsyncIterator[list[Person]]:
    """Hold running nodes of one team; the first is its administrator."""
    imaging = await kept_imaging()
    people: list[Person] = []
    try:
        for name in names:
            people.append(await new_person(folder, name, imaging))
        first, *others = people
        await first.node.membership.create("Test team")
        for person in others:
            await join(first, person)
        for person in others:
            await person.node.peering.reach(first.me, 45)
        yield people
    finally:
        for person in people:
            await person.node.close()
