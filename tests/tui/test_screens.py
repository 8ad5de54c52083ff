"""The other screens, each with what the node really has."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from node.system import SystemClock, system_entropy
from node.vault.vault import Vault
from tests.e2e.people import Cli, picture_files
from tests.tui.support import LARGE, SMALL, USUAL, Screen, opened
from tui.screens.audit import AuditFilter, AuditScreen
from tui.screens.dialog import Ask
from tui.screens.inbox import InboxScreen
from tui.screens.shares import SharesScreen
from tui.screens.viewer import ViewerScreen
from tui.widgets.picture import PictureView


def share(alice: Cli, *terms: str) -> str:
    """Share a picture that is ready; return the capability's id."""
    image = alice.do("images")[0]["id"]
    made = alice.do("share", image, "--to", "bob", "--for", "2h", *terms)
    return str(made["capabilities"][0]["id"])


async def select(screen: Screen, capability: str) -> None:
    """Put the cursor on a capability."""
    page = screen.page
    assert isinstance(page, InboxScreen | SharesScreen)
    rows = page.rows
    await screen.until(
        lambda: any(
            (rows.pages.row(one) or {}).get("id") == capability for one in range(rows.total)
        )
    )
    for index in range(rows.total):
        if (rows.pages.row(index) or {}).get("id") == capability:
            rows.move_to(index)
    await screen.pilot.pause()


async def test_a_share_is_opened_and_counted(alice: Cli, bob: Cli) -> None:
    capability = share(alice)
    bob.ready(capability)
    async with opened(bob) as screen:
        await screen.settled()
        await screen.show("Shared with me", "2")
        await select(screen, capability)
        assert "● live" in screen.text
        assert "bob may view" in screen.text
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, ViewerScreen))
        view = screen.page.query_one(PictureView)
        await screen.until(lambda: "Not opened yet. Press Enter" in screen.words)
        assert "10 opens of this picture left" in screen.words
        assert not view.drawn
        await screen.press("enter")
        await screen.until(lambda: view.drawn)
        await screen.until(lambda: "9 opens left" in screen.status)
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, InboxScreen))
    [one] = [one for one in alice.do("shares") if one["id"] == capability]
    assert one["opens"] == 1


async def test_spending_one_of_a_few_opens_is_asked_about(alice: Cli, bob: Cli) -> None:
    capability = share(alice, "--opens", "2")
    bob.ready(capability)
    async with opened(bob) as screen:
        await screen.settled()
        await screen.show("Shared with me", "2")
        await select(screen, capability)
        await screen.press("enter")
        await screen.until(lambda: "Not opened yet. Press Enter" in screen.words)
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.until(lambda: "one of 2 opens left" in screen.words)
        await screen.press("enter")  # the safe answer has the focus
        await screen.until(lambda: "not opened" in screen.status)
    [one] = [one for one in alice.do("shares") if one["id"] == capability]
    assert one["opens"] == 0


async def test_revoking_names_the_consequence_and_keeps_by_default(alice: Cli, bob: Cli) -> None:
    capability = share(alice)
    bob.ready(capability)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Shared by me", "3")
        await select(screen, capability)
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.until(lambda: "bob loses" in screen.words)
        await screen.until(lambda: "cannot be taken back" in screen.words)
        await screen.press("enter")
        await screen.settled()
        assert next(one for one in alice.do("shares") if one["id"] == capability)["state"] == "live"

        await select(screen, capability)
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("r")
        await screen.until(lambda: screen.status.startswith("revoked 1"))
    assert bob.run("open", capability)[0] == 3


async def test_a_share_is_extended(alice: Cli, bob: Cli) -> None:
    capability = share(alice)
    bob.ready(capability)
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Shared by me", "3")
        await select(screen, capability)
        await screen.press("e")
        await screen.type("24h +3")
        await screen.press("enter")
        await screen.until(lambda: "extended: ends in " in screen.status)
    [one] = [one for one in alice.do("shares") if one["id"] == capability]
    assert one["opens_left"] == 13


async def test_the_team_shows_paths_and_words(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.until(lambda: "● online bob" in screen.text)
        assert "LAN" in screen.text
        await screen.press("j", "w")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        member = next(one for one in alice.do("team", "show")["members"] if one["name"] == "bob")
        await screen.until(lambda: member["words"][0] in screen.words)


async def test_an_invitation_shows_its_code_and_escape_takes_it_back(alice: Cli) -> None:
    async with opened(alice) as screen:
        await screen.settled()
        await screen.show("Team", "5")
        await screen.until(lambda: "bob" in screen.text)
        await screen.press("i")
        await screen.until(lambda: "Invite somebody" in screen.text and "editor" in screen.text)
        await screen.press("enter")
        await screen.until(lambda: "safelight join" in screen.text)
        await screen.press("escape")
        await screen.settled()


async def test_the_doctor_looks_at_node_and_terminal(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.show("Doctor", "!")
        await screen.until(lambda: "decoding" in screen.text)
        assert "pictures" in screen.text
        assert "clock" in screen.text
        assert "runs since 20" in screen.words
        assert "the log is signed by its key 1" in screen.words


async def test_the_review_lists_what_is_broad(alice: Cli) -> None:
    image = alice.do("images")[1]["id"]
    alice.do("share", image, "--to", "bob", "--for", "2h", "--rendition", "original", "--allow",
             "view,save")  # fmt: skip
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        await screen.show("Review", "6")
        await screen.until(lambda: "! broad" in screen.text)
        assert "ends soon" in screen.text
        await screen.press("o")
        await screen.until(lambda: isinstance(screen.app.screen, Ask))
        await screen.press("s")
        await screen.until(lambda: "signed off" in screen.status)
    assert alice.events("reviewed")


def test_the_filter_of_the_log_is_read_from_words() -> None:
    assert AuditFilter.typed("who:bob denied since:2030-01-31 who:") == AuditFilter(
        who="bob", since="2030-01-31", events=("denied",)
    )
    assert AuditFilter.typed("image:'hills after rain.jpg'").image == "hills after rain.jpg"
    assert AuditFilter.typed("who:o'neil").who == "o'neil"
    with pytest.raises(ValueError, match=r"no filter from: but who:, image:, since:, until:"):
        AuditFilter.typed("from:bob")


async def test_a_filter_that_nobody_understands_says_why_and_the_list_stays(alice: Cli) -> None:
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Audit", "4")
        assert isinstance(page, AuditScreen)
        await screen.until(lambda: page.rows.total)
        for typed, said in (
            ("bob", "who:bob is a person"),
            ("from:bob", "no filter from:"),
            ("who:nobody", "nobody"),
        ):
            await screen.press("slash")
            page.query_one("#filter", Input).value = typed
            await screen.press("enter")
            await screen.until(lambda said=said: said in screen.status)  # type: ignore[misc]
            assert page.rows.current is not None
        page.query_one("#filter", Input).value = "imported"
        await screen.press("enter")
        await screen.until(lambda: page.rows.total == 12)
        assert screen.status == "", "what was wrong is no more"


async def test_the_log_is_read_filtered_and_verified(alice: Cli) -> None:
    size = len(alice.do("audit", "log")["entries"])
    async with opened(alice, LARGE) as screen:
        await screen.settled()
        page = await screen.show("Audit", "4")
        assert isinstance(page, AuditScreen)
        await screen.until(lambda: page.rows.total >= size)
        assert "witnessed by" in screen.text
        await screen.press("slash")
        await screen.type("imported")
        await screen.press("enter")
        await screen.until(lambda: page.rows.total == 12)
        await screen.press("escape")
        await screen.until(lambda: page.rows.total >= size)
        await screen.press("v")
        await screen.until(lambda: screen.status.startswith("verified:"))


async def test_every_screen_stands_in_forty_by_twelve(alice: Cli) -> None:
    async with opened(alice, SMALL) as screen:
        await screen.settled()
        for key, name in (
            ("2", "Shared with me"),
            ("3", "Shared by me"),
            ("4", "Audit"),
            ("5", "Team"),
            ("6", "Review"),
            ("!", "Doctor"),
            ("1", "Library"),
        ):
            await screen.show(name, key)
            await screen.settled()
            assert name in screen.head
            assert all(len(line) <= 40 for line in screen.lines)
        await screen.press("question_mark")
        await screen.until(lambda: "Keys" in screen.text)


async def test_the_palette_names_actions_with_their_keys(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        offered = {one.title: one.help for one in screen.app.get_system_commands(screen.app.screen)}
        assert offered["Share"] == "s"
        assert offered["Filter"] == "/"
        assert "Audit" in offered
        await screen.press("ctrl+p")
        await screen.until(lambda: screen.app.screen is not screen.app.screen_stack[1])


async def test_importing_shows_what_came_and_what_failed(alice: Cli, tmp_path: Path) -> None:
    (tmp_path / "no picture.jpg").write_bytes(b"nothing")
    async with opened(alice) as screen:
        await screen.settled()
        await screen.press("i")
        await screen.until(lambda: "A file or a folder" in screen.text)
        for _ in range(60):
            await screen.press("backspace")
        await screen.type(str(tmp_path))
        await screen.press("enter")
        await screen.until(lambda: "nothing was imported" in screen.status, seconds=60)


async def test_a_log_that_was_changed_is_told_in_front_of_everything(tmp_path: Path) -> None:
    dave = Cli("dave", tmp_path)
    dave.set_up()
    picture_files(tmp_path / "pictures", 3)
    dave.do("import", str(tmp_path / "pictures"))
    dave.do("node", "stop")
    vault = await Vault.open(
        dave.home, passphrase=dave.passphrase, clock=SystemClock(), entropy=system_entropy
    )
    changed = (
        "UPDATE log_entries SET entry = CAST(replace(CAST(entry AS TEXT), 'imported', 'exported') "
        "AS BLOB) WHERE log_index = 2"
    )
    await vault.database._writer.run(lambda db: db.execute(changed))
    await vault.close()
    try:
        async with opened(dave) as screen:
            await screen.settled()
            await screen.show("Audit", "4")
            await screen.settled()
            await screen.press("v")
            await screen.until(lambda: isinstance(screen.app.screen, Ask))
            assert "The log does NOT verify" in screen.words
            assert "one was changed, added or removed" in screen.words
            await screen.press("escape")
            await screen.until(lambda: isinstance(screen.app.screen, AuditScreen))
            assert screen.status == "the log does NOT verify"
            await screen.press("escape")
            await screen.show("Doctor", "!")
            await screen.settled()
            await screen.until(lambda: "✕ bad verified" in screen.words)
            assert "1 bad" in screen.head
            assert "the own log DOES NOT VERIFY" in screen.words
    finally:
        dave.run("node", "stop")
