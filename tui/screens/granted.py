"""Pictures of others: what was granted to this node, opened in the viewer, kept where it may be.

Belongs here: opening, what that spends, what remains, saving.
Never here: the screen that shows one (``viewer``), the list of what was granted (``inbox``).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from textual.content import Content

from node.control.schema import CloseOpen, Fetch, Open, OpenPixels, Save
from tui.gateway import GatewayError
from tui.screens.dialog import Answer, Ask, AskText
from tui.screens.facts import granted_facts
from tui.text import plural
from tui.widgets.picture import Picture, Pixels

if TYPE_CHECKING:
    from tui.gateway import Gateway
    from tui.screens.page import Page, Progress
    from tui.screens.viewer import ViewerScreen
    from tui.widgets.pages import Row

_FEW: Final = 3
"""Opens left at which spending one is asked about first."""


async def save(page: Page, capability: dict[str, Any], images: Sequence[dict[str, Any]]) -> None:
    """Keep pictures of a capability in the own library, once a person has said so."""
    if "save" not in capability["rights"]:
        page.say(f"saving was not granted here: ask {capability['issuer']} for it", error=True)
        return
    answer = await page.program.push_screen_wait(
        Ask(
            f"Save {plural(len(images), 'picture')}?",
            f"This spends an open of each. {capability['sentence']}",
            answers=(Answer("n", "Not now", "no"), Answer("s", "Save", "save")),
        )
    )
    if answer != "save":
        return
    phrase = await ask_phrase(page) if capability["factor"] else None
    if capability["factor"] and not phrase:
        page.say("not saved: it needs the phrase")
        return
    params = Save(
        capability=str(capability["id"]), images=[str(one["id"]) for one in images], factor=phrase
    )

    async def job(progress: Progress) -> Any:
        return await page.program.gateway.call("save", params, progress=progress)

    page.work(
        "saving",
        job,
        done=lambda saved: f"saved {plural(len(saved['files']), 'picture')} into your library",
    )


async def ask_phrase(page: Page) -> str | None:
    """Ask for a second-factor phrase."""
    return await page.program.push_screen_wait(
        AskText(
            "Second factor",
            "The phrase that its issuer told you:",
            password=True,
            needs="It needs the phrase.",
        )
    )


class Granted:
    """The pictures of one capability that was granted to this node; looking at one opens it."""

    def __init__(self, gateway: Gateway, capability: dict[str, Any], place: int) -> None:
        self._gateway = gateway
        self._capability = capability
        self._place = place
        self._open_id: str | None = None
        self._left: int | None = None

    @property
    def total(self) -> int:
        """How many pictures the capability has."""
        return len(self._capability["images"])

    @property
    def place(self) -> int:
        """Which one is looked at."""
        return self._place

    def go(self, place: int) -> None:
        """Look at another."""
        self._place = place
        self._left = None

    @property
    def _image(self) -> dict[str, Any]:
        image: dict[str, Any] = self._capability["images"][self._place]
        return image

    def name(self) -> str:
        """Return the picture's name as its issuer told it."""
        return str(self._image["name"])

    def words(self) -> str:
        """Return what may be done with it, how often still, until when."""
        left = self._image["opens_left"] if self._left is None else self._left
        return f"{plural(left, 'open')} left. {self._capability['sentence']}"

    def row(self) -> Row | None:
        """Return nothing: it is somebody else's."""

    async def facts(self) -> Content:
        """Return what may be done with it, and what stands against it."""
        return Content(granted_facts(self._capability, self._image))

    async def gone(self) -> str:
        """Return why it may not be looked at any more; the node has dropped its pixels."""
        found = await self._gateway.call("inbox")
        now = next((one for one in found if one["id"] == self._capability["id"]), None)
        if now is not None:
            self._capability = now
            self._place = min(self._place, self.total - 1)
        state = "revoked" if now is None else str(now["state"])
        issuer = self._capability["issuer"]
        return {
            "revoked": f"{issuer} took this back: its pixels are dropped here.",
            "expired": "Its time is over: its pixels are dropped here.",
            "lapsed": "It is over: its pixels are dropped here.",
        }.get(state, "")

    def may_be_saved(self) -> bool:
        """Say whether saving was granted."""
        return "save" in self._capability["rights"]

    async def save(self, screen: ViewerScreen) -> None:
        """Keep this picture in the own library, where that is granted."""
        await save(screen, self._capability, [self._image])

    async def picture(self, screen: ViewerScreen, *, asked: bool) -> Picture | None:
        """Open the picture once asked: asks back where that spends one of a few."""
        key = screen.program.key_of("page.enter")
        if not asked:
            facts = granted_facts(self._capability, self._image)
            screen.cover(f"{facts}\n\nNot opened yet. Press {key} to open it.")
            return None
        left = int(self._image["opens_left"])
        if left <= _FEW and not await screen.confirm(
            f"Open {self.name()}?",
            f"This spends one of {plural(left, 'open')} left. {self._capability['sentence']}",
        ):
            screen.say(f"not opened: {key} opens it")
            return None
        factor = await ask_phrase(screen) if self._capability["factor"] else None
        if self._capability["factor"] and not factor:
            screen.say(f"not opened: it needs the phrase; {key} asks for it again")
            return None
        screen.say(f"asking {self._capability['issuer']} for the key …")
        opened = await self._gateway.call(
            "open",
            Open(capability=self._capability["id"], image=self._image["id"], factor=factor),
        )
        self._open_id = opened["open_id"]
        self._left = self._image["opens_left"] = opened["opens_left"]
        screen.run_worker(self._prefetch, group="prefetch", exclusive=True)
        return _Opened(self._gateway, opened["open_id"])

    async def _prefetch(self) -> None:
        """Fetch the sealed neighbours: opening them then waits for a key only."""
        images = self._capability["images"]
        near = [
            str(images[place]["id"])
            for place in (self._place + 1, self._place - 1)
            if 0 <= place < len(images) and images[place]["ready"] and not images[place]["fetched"]
        ]
        if near:
            with contextlib.suppress(GatewayError):
                await self._gateway.call(
                    "fetch", Fetch(capability=self._capability["id"], images=near)
                )

    async def close(self) -> None:
        """Drop the pixels of the open."""
        if self._open_id is not None:
            open_id, self._open_id = self._open_id, None
            # A node that was locked or is gone holds no pixels.
            with contextlib.suppress(GatewayError):
                await self._gateway.call("close_open", CloseOpen(open_id=open_id))


class _Opened:
    """An opened picture, whose pixels the node holds and fits."""

    def __init__(self, gateway: Gateway, open_id: str) -> None:
        self._gateway = gateway
        self._open_id = open_id

    async def fitted(self, width: int, height: int) -> Pixels:
        answer = await self._gateway.call(
            "open_pixels", OpenPixels(open_id=self._open_id, width=width, height=height)
        )
        return Pixels(
            width=answer["width"],
            height=answer["height"],
            rgb=base64.b64decode(answer["rgb"], validate=True),
        )
