"""What a lock leaves of what was on the screens: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.people import Cli, picture_files
from tests.support import ROOT
from tests.tui.support import USUAL, opened
from tui.gateway import Connection
from tui.screens.entry import UnlockDialog

WORD = "Zuckerhut"


def test_of_a_picture_that_was_looked_at_nothing_stays_after_a_lock(
    pair: tuple[Cli, Cli], tmp_path: Path
) -> None:
    alice, _ = pair
    picture_files(tmp_path / "pictures", 1, (500, 333))
    [path] = (tmp_path / "pictures").iterdir()
    path.rename(path.with_name(f"{WORD}.jpg"))
    image = alice.do("import", str(path.parent), "--album", f"{WORD} album")["images"][0]["id"]
    alice.do("share", image, "--to", "bob", "--for", "2h", "--terms", f"{WORD} terms")
    name = tmp_path / "name"
    name.write_text(WORD)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.tui.remains", alice.home, alice.passphrase_file, name],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
    finally:
        alice.do("unlock")
    assert ran.returncode == 0, ran.stderr[-4_000:]
    shown, remains = json.loads(ran.stdout.splitlines()[-1])
    assert shown
    assert remains == []


async def test_keys_of_whoever_unlocks_at_once_are_not_lost(alice: Cli) -> None:
    async with opened(alice, USUAL) as screen:
        await screen.settled()
        looking = screen.app._collecting
        await screen.press("L")
        await screen.until(lambda: screen.app.gateway.connection is Connection.LOCKED)
        await screen.until(lambda: not looking.whole)
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, UnlockDialog))
        await screen.type(alice.passphrase)
        await screen.press("enter")
        await screen.settled()
        await screen.until(lambda: looking.whole)
