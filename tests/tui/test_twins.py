"""Every action of the screens has a twin on the command line, and what a day needs is in both.

Belongs here: the table of both. Never here: what an action or a command does.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Final

import click
import pytest
from textual.binding import Binding
from textual.dom import DOMNode

import tui
from node.cli.main import cli
from tests.e2e.people import Cli
from tui.keymap import NEVER
from tui.screens import table

TWINS: Final = {
    "app.lock": "lock",
    "app.notices": "audit log",
    "notices.log": "audit log",
    "app.alarms": "audit alarms",
    "app.undo": "revoke",
    "show.library": "images",
    "show.inbox": "inbox",
    "show.shares": "shares",
    "show.audit": "audit log",
    "show.team": "team show",
    "show.review": "access-review",
    "show.doctor": "doctor",
    "page.enter": "unlock",
    "library.filter": "images",
    "library.share": "share",
    "library.import": "import",
    "library.export": "export",
    "library.metadata": "inspect",
    "library.albums": "images",
    "library.status": "images",
    "library.classify": "classify",
    "share.shorter": "share",
    "share.longer": "share",
    "share.other": "share",
    "share.read-on": "share",
    "share.find": "share",
    "share.see": "share",
    "share.another": "share",
    "phrase.keep": "share",
    "viewer.share": "share",
    "viewer.metadata": "inspect",
    "viewer.save": "save",
    "viewer.window": "open",
    "inbox.fetch": "fetch",
    "inbox.save": "save",
    "shares.revoke": "revoke",
    "shares.extend": "extend",
    "shares.all": "shares",
    "audit.filter": "audit log",
    "audit.denied": "audit log",
    "audit.next-denied": "audit log",
    "audit.time": "audit log",
    "audit.verify": "audit verify",
    "alarms.clear": "audit alarms clear",
    "team.invite": "invite",
    "team.join": "join",
    "team.role": "team role",
    "team.remove": "team remove",
    "team.words": "team show",
    "team.create": "team create",
    "team.sign": "team sign",
    "team.resolve": "team resolve",
    "team.kept": "audit subject",
    "review.revoke": "revoke",
    "review.sign-off": "access-review",
    "doctor.again": "doctor",
}
"""Id of a binding, and the command that does the same without a screen."""

OF_THE_SCREEN_ALONE: Final = frozenset(
    (
        *("app.leave", "app.keys", "app.palette", "app.quit", "page.back"),
        *("dialog.cancel", "dialog.keys", "keys.close", "entry.close", "notices.close"),
        *("metadata.close", "ask.down", "ask.page-down", "ask.page-up", "ask.up"),
        *("alarms.close", "identity.close", "recovery.down", "recovery.up", "vault.next"),
        *("list.choose", "list.first", "list.last", "list.mark", "list.mark-all", "list.range"),
        *("list.page-down", "list.page-up", "rows.down", "rows.up"),
        *("grid.down", "grid.left", "grid.right", "grid.up", "grid.larger", "grid.smaller"),
        *("picture.closer", "picture.farther", "picture.whole", "picture.left", "picture.right"),
        *("picture.up", "picture.down", "viewer.next", "viewer.previous", "library.jump"),
    )
)
"""What only moves about, marks, or opens and closes a part of a screen."""

EVERY_DAY: Final = frozenset(
    (
        *("lock", "unlock", "team show", "invite", "join", "peers", "import", "images", "show"),
        *("classify", "export", "inspect", "share", "shares", "extend", "revoke", "inbox"),
        *("access-review", "fetch", "open", "save", "doctor"),
        *("audit log", "audit verify", "audit prove", "audit alarms", "audit subject"),
    )
)
"""Commands of everybody's day; others set up, repair, or work on files."""

SHOWN: Final = {"peers": "show.team", "show": "show.library", "audit prove": "show.audit"}
"""Commands whose answer stands on a screen without a key of its own."""


def owners() -> Iterator[type[DOMNode]]:
    """Give every class of the screens that binds keys."""
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and issubclass(one, DOMNode) and one.__module__ == module.name:
                yield one


def bindings() -> dict[str, Binding]:
    """Return every binding of the screens by its id."""
    found = {}
    for owner in owners():
        for one in owner.__dict__.get("BINDINGS", ()):
            assert isinstance(one, Binding), (owner, one)
            assert one.id, (owner, one)
            found[one.id] = one
    return found


def test_every_key_has_a_twin_on_the_command_line_or_only_moves() -> None:
    known = set(bindings())
    assert known - set(TWINS) - OF_THE_SCREEN_ALONE == set()
    assert not OF_THE_SCREEN_ALONE & set(TWINS)
    assert (set(TWINS) | OF_THE_SCREEN_ALONE) - known == set(), "rows of keys that are gone"


@pytest.mark.parametrize("twin", sorted({*TWINS.values(), *EVERY_DAY}))
def test_a_twin_is_a_command(twin: str) -> None:
    group: click.Command = cli
    with click.Context(cli) as context:
        for word in twin.split():
            assert isinstance(group, click.Group), twin
            found = group.get_command(context, word)
            assert found is not None, twin
            group = found


def test_what_is_done_every_day_is_on_a_screen() -> None:
    assert EVERY_DAY - set(TWINS.values()) - set(SHOWN) == set()
    assert set(SHOWN.values()) <= set(TWINS)


def test_every_key_can_be_chosen_otherwise_and_none_is_a_multiplexers() -> None:
    assert set(bindings()) == table.binding_ids()
    for name, one in bindings().items():
        assert not NEVER & {key.strip() for key in one.key.split(",")}, name


def test_what_the_library_filters_by_the_command_does_too(pair: tuple[Cli, Cli]) -> None:
    alice, bob = pair
    (shared, *others) = [one["id"] for one in alice.do("images")]
    alice.do("share", shared, "--to", bob.name, "--for", "1h")
    alice.do("classify", others[0], "--as", "restricted")

    def found(*options: str) -> list[str]:
        return [one["id"] for one in alice.do("images", *options)]

    assert found("--person", bob.name) == found("--status", "shared") == [shared]
    assert found("--status", "expiring") == [shared]
    assert set(found("--status", "unshared")) == set(others)
    assert found("--classification", "restricted") == [others[0]]
    assert found("--classification", "restricted", "--person", bob.name) == []
    assert len(found("--classification", "internal", "--limit", "3")) == 3
    assert alice.refused("images", "--person", "nobody")[0] == 7
    # The JSON is the same whatever was asked.
    assert alice.do("images", "--person", bob.name) == [
        one for one in alice.do("images", "--limit", "50") if one["id"] == shared
    ]
