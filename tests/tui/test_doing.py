"""What people do all day, key by key: share in every way, look, choose, keep, check, lock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from node.system import SystemClock, system_entropy
from node.vault.database import WriteTransaction
from node.vault.records.witness import insert_alarm
from node.vault.vault import Vault
from protocol.audit.checkpoint import origin_of
from protocol.identity import parse_fingerprint
from tests.e2e import people as e2e
from tests.e2e.people import Cli
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tests.tui.test_screens import select, share
from tui.gateway import Connection
from tui.screens.audit import AuditScreen, EntryDialog
from tui.screens.choosing import Choose
from tui.screens.dialog import Ask, AskText
from tui.screens.help import KeysDialog
from tui.screens.importing import ImportDialog
from tui.screens.inbox import InboxScreen
from tui.screens.inviting import IdentityDialog
from tui.screens.library import LibraryScreen
from tui.screens.notices import AlarmsDialog, NoticesDialog
from tui.screens.sending import PhraseDialog
from tui.screens.share import ShareDialog
from tui.screens.viewer import ViewerScreen
from tui.widgets.lines import KeyLine
from tui.widgets.picture import PictureView


def library(screen: Screen) -> LibraryScreen:
    page = screen.page
    assert isinstance(page, LibraryScreen)
    return page


async def in_front(screen: Screen, kind: type) -> Any:
    """Wait until a screen of a kind is in front; return it."""
    await screen.until(lambda: isinstance(screen.app.screen, kind))
    return screen.app.screen


def says(screen: Screen, words: str) -> bool:
    """Say whether words stand in the title line."""
    return words in screen.head


def newest(alice: Cli, before: set[str]) -> list[dict[str, Any]]:
    return [one for one in alice.do("shares") if one["id"] not in before]


def ids(alice: Cli) -> set[str]:
    return {one["id"] for one in alice.do("shares")}


# Sharing ------------------------------------------------------------------------------------------


async def test_a_phrase_is_shown_once_and_only_its_key_closes_it(alice: Cli, bob: Cli) -> None:
    before = ids(alice)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("s")
        await in_front(screen, ShareDialog)
        await screen.until(lambda: "bob may view 1 picture" in screen.words)
        await screen.press("o", "5")
        await screen.until(lambda: "5 [x] a second factor" in screen.words)
        await screen.until(lambda: "second factor" in screen.words)
        # Enter counts once what it means is on screen.
        for _ in range(100):
            await screen.press("enter")
            if screen.app.unsent.waits:
                break
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.app.unsent.send_now()
        await in_front(screen, PhraseDialog)
        await screen.until(lambda: "bob:" in screen.words)
        assert "another way than Safelight" in screen.words
        await screen.press("escape", "enter", "q")
        assert isinstance(screen.app.screen, PhraseDialog), "no slip closes it"
        await screen.press("k")
        await in_front(screen, LibraryScreen)
    [made] = newest(alice, before)
    held = bob.ready(made["id"])
    assert held["factor"]


async def test_marks_are_shared_at_once_with_terms_of_all_kinds(alice: Cli, bob: Cli) -> None:
    before = ids(alice)
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.press("space", "space", "space")
        await screen.until(lambda: "3 pictures marked" in screen.text)
        await screen.press("s")
        await in_front(screen, ShareDialog)
        await screen.until(lambda: "bob may view 3 pictures" in screen.words)
        await screen.until(lambda: "640 × 427" in screen.words)
        for _ in range(5):  # What would leave is said, and read on with a key.
            if "removed:" in screen.words:
                break
            await screen.press("d")
        await screen.until(lambda: "removed:" in screen.words)
        await screen.press("o", "n")
        await in_front(screen, AskText)
        await screen.type("4")
        await screen.press("enter")
        await screen.until(lambda: "opened: 4" in screen.words)
        await screen.press("t")
        await in_front(screen, AskText)
        await screen.type("not for print")
        await screen.press("enter")
        await screen.until(lambda: "open: not for print" in screen.words)
        await screen.press("4")
        await screen.until(lambda: "4 [x] no watermark" in screen.words)
        for _ in range(100):
            await screen.press("enter")
            if screen.app.unsent.waits:
                break
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.app.unsent.send_now()
        await screen.until(lambda: "shared 3 pictures with bob" in screen.status)
        await screen.until(lambda: "delivered" in screen.status)
        assert not library(screen).grid.pages.marks
        [made] = newest(alice, before)
        held = bob.ready(made["id"])
        assert held["usage_terms"] == "not for print"
        assert [one["opens_left"] for one in held["images"]] == [4, 4, 4]
        bob.do("open", made["id"], held["images"][0]["id"])
        await screen.until(lambda: "seen" in screen.status)
        await screen.until(lambda: any(one.kind == "opened" for one in screen.app.notices.kept))
        await screen.show("Shared by me", "3")
        await select(screen, made["id"])
        await screen.until(lambda: "view of 3 pictures" in screen.words)


async def test_an_album_is_chosen_and_shared_whole(alice: Cli, bob: Cli) -> None:
    before = ids(alice)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("a")
        await in_front(screen, Choose)
        await screen.until(lambda: "Launch" in screen.text)
        await screen.press("enter")
        await in_front(screen, LibraryScreen)
        await screen.until(lambda: "12 pictures found · album Launch" in screen.head)
        await screen.press("escape")
        await screen.until(lambda: "album" not in screen.head)
        await screen.press("a")
        await in_front(screen, Choose)
        await screen.until(lambda: "Launch" in screen.text)
        await screen.press("s")
        await in_front(screen, ShareDialog)
        await screen.until(lambda: "Share Launch · 12 pictures" in screen.words)
        await screen.until(lambda: "bob may view 12 pictures" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: screen.app.unsent.waits)
        await screen.until(lambda: "sharing 12 pictures" in screen.status)
        await screen.app.unsent.send_now()
        await screen.until(lambda: "shared 12 pictures with bob" in screen.status)
    [made] = newest(alice, before)
    assert made["images"] == 12
    alice.do("revoke", made["id"])


# Library ------------------------------------------------------------------------------------------


async def test_the_status_is_cycled_and_escape_takes_it_back(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        for status in ("shared", "unshared", "received", "expiring"):
            await screen.press("f")
            await screen.until(partial(says, screen, f"· {status}"))
        await screen.press("escape")
        await screen.until(lambda: "12 pictures " in screen.head)


async def test_pictures_are_classified_from_the_grid(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.press("G")
        await screen.until(lambda: grid.cursor == 11)
        image = str(grid.current["id"]) if grid.current else ""
        await screen.press("c")
        dialog = await in_front(screen, Choose)
        await screen.until(lambda: "internal" in screen.text)
        # It begins at what the picture is now.
        await screen.until(lambda: dialog.query_one("Rows").cursor == 1)
        await screen.press("k")
        await screen.press("enter")
        await screen.until(lambda: "is public now" in screen.status)
    assert alice.do("show", image)["classification"] == "public"


async def test_the_panel_says_who_has_a_picture_and_a_number_goes_to_it(
    alice: Cli, bob: Cli
) -> None:
    share(alice)
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.until(lambda: "WHO CAN OPEN IT" in screen.text)
        await screen.until(lambda: "● bob" in screen.text and "view · " in screen.text)
        await screen.press("colon")
        await in_front(screen, AskText)
        await screen.type("7")
        await screen.press("enter")
        await screen.until(lambda: library(screen).grid.cursor == 6)
    assert bob.name == "bob"


async def test_an_import_completes_paths_and_notes_album_and_tags(
    alice: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "new pictures"
    e2e.picture_files(folder, 2, (120, 90))
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("i")
        dialog = await in_front(screen, ImportDialog)
        line = dialog.query_one("#path", Input)
        line.value = f"{tmp_path}/new"
        line.cursor_position = len(line.value)
        await screen.press("tab")
        await screen.until(lambda: line.value == f"{folder}/")
        await screen.press("tab")
        await screen.until(lambda: ".jpg" in screen.text)
        await screen.until(lambda: screen.app.focused is dialog.query_one("#album"))
        await screen.type("Spare")
        await screen.press("tab")
        await screen.type("sea")
        await screen.press("tab")
        dialog.query_one("#class", Input).value = "secret"
        await screen.press("enter")
        await screen.until(lambda: "one of public" in screen.words)
        dialog.query_one("#class", Input).value = "public"
        await screen.press("enter")
        await screen.until(lambda: screen.status.startswith("imported 2"), seconds=60)
    found = alice.do("images", "--album", "Spare")
    assert {one["classification"] for one in found} == {"public"}
    assert {tuple(one["tags"]) for one in found} == {("sea",)}


# Viewer and inbox ---------------------------------------------------------------------------------


async def test_the_viewer_shows_facts_shares_and_reveals(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.press("enter")
        await in_front(screen, ViewerScreen)
        view = screen.page.query_one(PictureView)
        await screen.until(lambda: view.drawn)
        await screen.until(lambda: "albums" in screen.words and "WHO CAN OPEN IT" in screen.text)
        await screen.press("m")
        await screen.until(lambda: "reveals" in screen.text)
        await screen.press("m")
        await in_front(screen, ViewerScreen)
        await screen.press("s")
        await in_front(screen, ShareDialog)
        await screen.press("escape")
        await in_front(screen, ViewerScreen)
        await screen.press("w")
        await screen.until(lambda: "yours already" in screen.status)


async def test_a_picture_that_is_taken_back_while_it_is_open_is_gone(alice: Cli, bob: Cli) -> None:
    capability = share(alice)
    bob.ready(capability)
    async with opened(bob, LARGE) as screen:
        await screen.settled()
        await screen.show("Shared with me", "2")
        await screen.settled()
        await select(screen, capability)
        await screen.press("enter")
        await in_front(screen, ViewerScreen)
        await screen.until(lambda: "Not opened yet" in screen.words)
        await screen.press("enter")
        view = screen.page.query_one(PictureView)
        await screen.until(lambda: view.drawn)
        await screen.press("w")
        await screen.until(lambda: "not granted" in screen.status)
        alice.do("revoke", capability)
        await screen.until(lambda: "took this back" in screen.words)
        assert not view.drawn
        assert screen.page.has_class("covered")


async def test_several_pictures_are_chosen_from_and_stepping_opens_none(
    alice: Cli, bob: Cli
) -> None:
    images = [one["id"] for one in alice.do("images", "--album", "Launch")[:3]]
    made = alice.do("share", *images, "--to", "bob", "--for", "2h", "--allow", "view,save")
    capability = made["capabilities"][0]["id"]
    bob.ready(capability)
    async with opened(bob, LARGE) as screen:
        await screen.settled()
        await screen.show("Shared with me", "2")
        await screen.settled()
        await select(screen, capability)
        await screen.press("enter")
        await in_front(screen, Choose)
        await screen.until(lambda: "3 pictures from alice" in screen.words)
        await screen.press("j")
        await screen.press("enter")
        await in_front(screen, ViewerScreen)
        await screen.until(lambda: "2/3" in screen.head)
        await screen.until(lambda: "Not opened yet" in screen.words)
        await screen.press("enter")
        view = screen.page.query_one(PictureView)
        await screen.until(lambda: view.drawn)

        def fetched() -> list[bool]:
            [held] = [one for one in bob.do("inbox") if one["id"] == capability]
            return [one["fetched"] for one in held["images"]]

        await screen.until(lambda: all(fetched()))
        await screen.press("n")
        await screen.until(lambda: "3/3" in screen.head)
        await screen.until(lambda: "Not opened yet" in screen.words)
        await screen.press("w")
        await in_front(screen, Ask)
        await screen.press("s")
        await screen.until(lambda: "saved 1 picture" in screen.status)
    [granted] = [one for one in alice.do("shares") if one["id"] == capability]
    assert granted["opens"] == 2


async def test_what_comes_while_one_looks_is_new(alice: Cli, bob: Cli) -> None:
    async with opened(bob, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Shared with me", "2")
        assert isinstance(page, InboxScreen)
        await screen.settled()
        capability = share(alice)
        await select(screen, capability)
        await screen.until(lambda: " new " in screen.text)
    # It is new as long as nothing of it was opened, also to a program that begins later.
    async with opened(bob, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Shared with me", "2")
        await screen.settled()
        await select(screen, capability)
        await screen.until(lambda: " new " in screen.text)
        bob.ready(capability)
        bob.do("open", capability)
        assert isinstance(page, InboxScreen)
        await screen.until(lambda: (page.rows.current or {})["opened"])
        line = next(one for one in screen.lines if one.startswith("▌"))
        assert " new " not in line
        alice.do("revoke", capability)
        again = share(alice)
        await select(screen, again)
        await screen.until(lambda: "renewed" in screen.text)


async def test_the_last_minute_is_counted_by_the_second(alice: Cli, bob: Cli) -> None:
    image = alice.do("images")[0]["id"]
    made = alice.do("share", image, "--to", "bob", "--for", "55s")
    capability = made["capabilities"][0]["id"]
    bob.ready(capability)
    async with opened(bob, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Shared with me", "2")
        assert isinstance(page, InboxScreen)
        await screen.settled()
        await select(screen, capability)

        def seconds() -> str:
            line = next((one for one in screen.lines if one.startswith("▌")), "")
            return line.rstrip()[-4:]

        first = seconds()
        await screen.until(lambda: seconds() != first)


# Log ----------------------------------------------------------------------------------------------


async def test_an_entry_is_shown_whole_with_its_proof_and_the_next_denied_is_found(
    alice: Cli, bob: Cli
) -> None:
    capability = share(alice, "--once")
    bob.ready(capability)
    bob.do("open", capability)
    bob.refused("open", capability)
    for _ in range(3):
        share(alice)
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Audit", "4")
        assert isinstance(page, AuditScreen)
        await screen.settled()
        await screen.press("g", "n")
        await screen.until(lambda: (page.rows.current or {}).get("event") == "denied")
        entry = page.rows.current
        assert entry is not None
        await screen.press("enter")
        await in_front(screen, EntryDialog)
        await screen.until(lambda: f"Entry {entry['index']:,}: denied" in screen.words)
        await screen.until(lambda: "proven under the head" in screen.words)
        assert "tlog-proof" in screen.words
        await screen.press("q")
        await in_front(screen, AuditScreen)
        await screen.press("t")
        await in_front(screen, AskText)
        await screen.type("2000-01-01")
        await screen.press("enter")
        await screen.until(lambda: page.rows.cursor == page.rows.total - 1)
        await screen.press("t")
        await in_front(screen, AskText)
        await screen.type("soon")
        await screen.press("enter")
        await screen.until(lambda: "not a time" in screen.status)


ALARM = {
    "id": 1, "name": "bob", "fingerprint": "", "own": False, "origin": "", "kind": "fork",
    "detail": "two heads of 7 entries", "proven": True, "raised_at": "2026-01-01T00:00:00Z",
    "over_since": None, "state": "stands",
}  # fmt: skip


async def test_an_alarm_stands_on_every_screen_and_a_key_leads_to_it(alice: Cli) -> None:
    """A node that tells of one: making a team-mate's log contradict itself is tested elsewhere."""
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        await screen.press("A")
        await screen.until(lambda: "no alarm stands" in screen.status)
        honest = screen.app.gateway._client.call

        async def deceived(method: str, params: Any = None, **options: Any) -> Any:
            answer = await honest(method, params, **options)
            return {**answer, "alarms": [ALARM]} if method == "status" else answer

        screen.app.gateway._client.call = deceived  # type: ignore[method-assign]
        screen.app._heard({"kind": "alarm", "name": "bob", "detail": "two heads", "alarm": "fork"})
        for key, name in (("2", "Shared with me"), ("5", "Team"), ("1", "Library")):
            await screen.show(name, key)
            await screen.until(lambda: "! bob: two heads of 7 entries (A)" in screen.head)
        await screen.pilot.resize_terminal(*SMALL)
        await screen.until(lambda: screen.lines[0].rstrip().endswith("(A)"))
        await screen.pilot.resize_terminal(*USUAL)
        await screen.press("A")
        await in_front(screen, AlarmsDialog)
        await screen.until(lambda: "proven by its signatures" in screen.words)
        assert "it was rewritten" in screen.words
        await screen.press("c")
        await in_front(screen, Ask)
        await screen.press("enter")
        await in_front(screen, AlarmsDialog)
        await screen.press("escape", "I")
        await in_front(screen, NoticesDialog)
        await screen.until(lambda: "Alarm: bob" in screen.words)


async def raise_one_that_is_over(alice: Cli, bob: Cli) -> None:
    """Put an alarm about a log that Bob has given up into Alice's vault, behind her node's back."""
    (fingerprint,) = [
        one["fingerprint"] for one in alice.do("team", "show")["members"] if one["name"] == "bob"
    ]
    about = parse_fingerprint(fingerprint)
    await asyncio.to_thread(alice.do, "node", "stop")
    vault = await Vault.open(
        alice.home, passphrase=alice.passphrase, clock=SystemClock(), entropy=system_entropy
    )
    raised = SystemClock().now() - 60_000

    def job(transaction: WriteTransaction) -> bool:
        return insert_alarm(
            transaction.connection, fingerprint=about, origin=origin_of(about, 7), kind="fork",
            detail="the log does not extend a head", first=b"1", second=b"2", evidence=None,
            now=raised,
        )  # fmt: skip

    assert (await vault.database.write(job)).value
    await vault.close()
    await asyncio.to_thread(alice.do, "node", "start", "--listen", "127.0.0.1:0", "--no-mdns")


async def test_an_alarm_that_is_over_waits_for_whoever_comes_later(alice: Cli, bob: Cli) -> None:
    await raise_one_that_is_over(alice, bob)
    for _ in range(2):  # Whoever looked in between has seen it and not cleared it.
        async with opened(alice, LARGE) as screen:
            await screen.settled()
            await screen.until(lambda: "! bob: was: the log does not extend" in screen.head)
            assert "is over since 20" in screen.head
            await screen.press("A")
            await in_front(screen, AlarmsDialog)
            await screen.until(lambda: "was: the log does not extend a head; is" in screen.words)
            assert "nothing is held up" in screen.words
    (told,) = alice.do("node", "status")["alarms"]
    assert [told] == alice.do("audit", "alarms")
    assert told["state"] == "over"
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        await screen.press("A")
        await in_front(screen, AlarmsDialog)
        await screen.press("c")
        await in_front(screen, Ask)
        assert "Clear the alarm that is over?" in screen.words
        await screen.press("c")
        await screen.until(lambda: screen.app.screen is screen.app.screen_stack[1])
        await screen.until(lambda: "was: the log" not in screen.head)
        await screen.press("A")
        await screen.until(lambda: "no alarm stands" in screen.status)
    assert alice.do("node", "status")["alarms"] == []
    assert [one["state"] for one in alice.do("audit", "alarms")] == ["cleared"]


async def test_an_alarm_that_somebody_cleared_meanwhile_is_gone_from_its_dialog(
    alice: Cli,
) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        screen.app._take_alarms([ALARM])
        await screen.press("A")
        await in_front(screen, AlarmsDialog)
        await screen.until(lambda: "No alarm stands any more." in screen.words)
        await screen.press("c")
        assert isinstance(screen.app.screen, AlarmsDialog)


# Team ---------------------------------------------------------------------------------------------


async def test_the_title_line_tells_who_comes_and_goes(alice: Cli, bob: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.until(lambda: "● 1 online" in screen.lines[0])
        await asyncio.to_thread(bob.kill)
        await screen.until(lambda: "● 0 online" in screen.lines[0])
        await asyncio.to_thread(bob.do, "node", "start", "--listen", "127.0.0.1:0", "--no-mdns")
        await screen.until(lambda: "● 1 online" in screen.lines[0])


async def test_own_words_have_a_code_where_there_is_room(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.settled()
        await screen.press("w")
        await in_front(screen, IdentityDialog)
        await screen.until(lambda: "▄" in screen.text and "as others see you" in screen.words)
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, IdentityDialog))
        await screen.press("j", "o")
        await in_front(screen, Ask)
        await screen.until(lambda: "What bob may still hold" in screen.words)
        await screen.until(lambda: "granted" in screen.words)


@pytest.fixture
def administrators(tmp_path: Path) -> Iterator[tuple[Cli, Cli]]:
    """Two administrators, both of whom sign each change."""
    with e2e.people(tmp_path, "erin", "frank") as (erin, frank):
        erin.do("team", "role", "frank", "admin")
        erin.do("team", "threshold", "2")
        yield erin, frank


async def test_a_change_that_waits_is_signed(administrators: tuple[Cli, Cli]) -> None:
    frank = administrators[1]
    async with opened(frank, USUAL) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.settled()
        # The second signature that the change asks for is asked for the change itself.
        await screen.until(lambda: "1 change to sign" in screen.head)
        await screen.press("s")
        await in_front(screen, Choose)
        await screen.until(lambda: "erin" in screen.words)
        await screen.press("enter")
        await in_front(screen, Ask)
        await screen.until(lambda: "Sign this change" in screen.words)
        await screen.press("s")
        await screen.until(lambda: "signed: the team follows it" in screen.status)


# Locked, settings, mouse --------------------------------------------------------------------------


async def test_a_lock_drops_rows_texts_and_dialogs_and_keys_reach_nothing(tmp_path: Path) -> None:
    grace = Cli("grace", tmp_path)
    grace.set_up()
    e2e.picture_files(tmp_path / "pictures", 3, (120, 90))
    grace.do("import", str(tmp_path / "pictures"), "--album", "Secret")
    try:
        async with opened(grace, LARGE) as screen:
            await screen.settled()
            grid = library(screen).grid
            await screen.until(lambda: grid.settled and grid.drawn == 3)
            audit = await screen.show("Audit", "4")
            assert isinstance(audit, AuditScreen)
            await screen.settled()
            await screen.press("1", "a")
            await in_front(screen, Choose)
            await screen.until(lambda: "Secret" in screen.text)
            grace.do("lock")
            screen.app.gateway.look_again()
            await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
            await screen.until(lambda: "The vault is locked" in screen.words)
            assert len(screen.app.screen_stack) == 2, "no dialog is left"
            assert "Secret" not in screen.text
            assert grid.drawn == 0
            assert (grid.total, audit.rows.total) == (0, 0)
            assert grid.current is None
            await screen.press("s", "m", "i", "a", "c", "x")
            assert len(screen.app.screen_stack) == 2
            await screen.press("4")
            await screen.until(lambda: "The vault is locked" in screen.words)
            assert not audit.rows.total
    finally:
        grace.run("node", "stop")


async def test_themes_switch_and_are_remembered(alice: Cli, settings_folder: Path) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        command = next(
            one
            for one in screen.app.get_system_commands(screen.app.screen)
            if one.title == "Theme safelight-light"
        )
        command.callback()
        await screen.until(lambda: screen.app.theme == "safelight-light")
    assert 'theme = "safelight-light"' in (settings_folder / "settings.toml").read_text()
    async with opened(alice) as screen:
        assert screen.app.theme == "safelight-light"


async def test_keys_are_what_a_person_chose(alice: Cli, settings_folder: Path) -> None:
    settings_folder.mkdir(parents=True)
    (settings_folder / "keymap.toml").write_text('[keys]\n"library.albums" = "b"\n"no.such" = "x"')
    async with opened(alice) as screen:
        await screen.settled()
        assert screen.app.problems == ["keymap.toml: no binding is called no.such"]
        await screen.press("a")
        await screen.pilot.pause()
        assert isinstance(screen.app.screen, LibraryScreen)
        await screen.press("b")
        await in_front(screen, Choose)


async def test_the_mouse_presses_keys_and_chooses_cells_and_rows(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        grid = library(screen).grid
        await screen.pilot.click(grid, offset=(20, 2))
        await screen.until(lambda: grid.cursor == 1)
        await screen.pilot.click(KeyLine, offset=(2, 0))
        await in_front(screen, ShareDialog)
        await screen.press("escape")
        page = await screen.show("Audit", "4")
        assert isinstance(page, AuditScreen)
        await screen.settled()
        await screen.pilot.click(page.rows, offset=(5, 4))
        await screen.until(lambda: page.rows.cursor == 3)
        await screen.pilot.click(page.rows, offset=(5, 4), times=2)
        await in_front(screen, EntryDialog)


async def test_without_colour_every_state_has_its_word(
    alice: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    share(alice)
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.show("Shared by me", "3")
        await screen.settled()
        await screen.until(lambda: "● live" in screen.text)
        colours = {
            segment.style.color.triplet
            for strip in screen.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.color is not None
            if segment.style.color.triplet is not None
        }
        filtered = [
            one for one in screen.app.get_line_filters() if type(one).__name__ == "Monochrome"
        ]
        assert filtered
        assert colours


async def test_the_footer_has_six_keys_at_most_and_every_screen_says_its_keys(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        for key, name in (("2", "Shared with me"), ("3", "Shared by me"), ("4", "Audit"),
                          ("5", "Team"), ("6", "Review"), ("!", "Doctor")):  # fmt: skip
            page = await screen.show(name, key)
            await screen.settled()
            assert len(page.query_one(KeyLine)._keys) <= 6
            await screen.press("question_mark")
            await screen.until(lambda: "Keys" in screen.text)
            await screen.press("question_mark")
            await in_front(screen, type(page))


async def test_a_dialog_says_its_keys_too(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("s")
        await in_front(screen, ShareDialog)
        await screen.press("question_mark")
        await in_front(screen, KeysDialog)
        await screen.until(lambda: "other terms" in screen.words)
        await screen.press("question_mark")
        await in_front(screen, ShareDialog)
