"""What a shell offers after Tab where the word is a picture, an album, a person, a capability.

Belongs here: asking a node that runs and is unlocked, quickly.
Never here: starting or unlocking a node, or saying anything on failure: a shell waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from node.cli.common import Settings

Offers: TypeAlias = list[CompletionItem[str]]

_WAIT_S: Final = 0.7
"""Longer than this is felt at the prompt."""

_SAFE: Final = re.compile(r"[\w][\w.,@%+=:-]*")
"""Names a shell takes as they are. What it would act upon (`$(…)`, a space) may have come
from a peer; its id is offered instead."""


def members(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer the members of the team."""
    team = _ask(context, "team_show") or {}
    return _offers(
        ((one["name"], one["fingerprint"]) for one in team.get("members", [])), incomplete
    )


def images(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer own pictures."""
    found = _ask(context, "images", {"limit": 500}) or []
    return _offers(((one["name"], one["id"]) for one in found), incomplete)


def albums(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer albums."""
    found = _ask(context, "albums") or []
    return _offers(((one["name"], one["id"]) for one in found), incomplete)


def images_and_albums(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Offers:
    """Offer albums, then own pictures."""
    return albums(context, parameter, incomplete) + images(context, parameter, incomplete)


def granted(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer the ids of capabilities that were granted to others and go on."""
    found = _ask(context, "shares") or []
    return [
        CompletionItem(one["id"], help=f"to {one['holder']}")
        for one in found
        if one["id"].startswith(incomplete) and one["state"] in {"live", "pending", "exhausted"}
    ]


def held(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer the ids of capabilities in the inbox."""
    found = _ask(context, "inbox") or []
    return [
        CompletionItem(one["id"], help=f"from {one['issuer']}")
        for one in found
        if one["id"].startswith(incomplete)
    ]


def held_images(context: click.Context, _: click.Parameter, incomplete: str) -> Offers:
    """Offer the pictures of the capability that stands before on the command line."""
    capability = context.params.get("capability") or ""
    found = _ask(context, "inbox") or []
    pictures = [
        (picture["name"], picture["id"])
        for one in found
        if capability and one["id"].startswith(capability)
        for picture in one["images"]
    ]
    return _offers(pictures, incomplete)


def _offers(named: Iterable[tuple[str, str]], incomplete: str) -> Offers:
    """Return the names, or the ids of what a shell would misunderstand, that begin so."""
    offers = (
        CompletionItem(name) if _SAFE.fullmatch(name) else CompletionItem(identifier)
        for name, identifier in named
    )
    return [offer for offer in offers if offer.value.startswith(incomplete)]


def _ask(context: click.Context, method: str, params: dict[str, Any] | None = None) -> Any:
    """Return a method's result, or None for whatever reason there is none."""
    import asyncio

    from node.cli.reach import home_of
    from node.control.client import ControlClient
    from protocol.errors import SafelightError

    async def job() -> Any:
        async with asyncio.timeout(_WAIT_S), ControlClient(home_of(settings)) as client:
            return await client.call(method, params)

    settings = context.find_object(Settings) or Settings()
    try:
        return asyncio.run(job())
    except (SafelightError, OSError, TimeoutError):
        return None
