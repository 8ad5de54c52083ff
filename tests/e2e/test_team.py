"""A team of real processes that an administrator changes with the real command."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.people import Cli, CommandFailedError, people, picture_files


def _until_version(person: Cli, version: int) -> None:
    """Wait until a person's node holds a version of the roster."""
    deadline = time.monotonic() + 60
    while person.do("team", "show")["version"] != version:
        if time.monotonic() > deadline:
            raise CommandFailedError(f"{person.name} has not heard of version {version}")
        time.sleep(0.2)


def test_a_removed_member_opens_nothing_more_and_two_administrators_agree(tmp_path: Path) -> None:
    with people(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        (picture,) = picture_files(tmp_path / "in", 1)
        image = bob.do("import", str(picture))["images"][0]["id"]
        shared = bob.do("share", image, "--to", "carol", "--for", "1h", "--opens", "9")
        capability = shared["capabilities"][0]["id"]
        carol.ready(capability)
        carol.do("open", capability)

        assert alice.do("team", "role", "bob", "admin")["version"] == 4
        _until_version(bob, 4)
        told = alice.do("team", "threshold", "2")
        assert (told["pending"], told["missing"]) == (True, 1)
        deadline = time.monotonic() + 60
        while not (waiting := bob.do("team", "pending")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert waiting[0]["changes"] == ["2 administrators sign each version, was 1"]
        assert bob.do("team", "sign")["version"] == 5
        _until_version(alice, 5)

        assert alice.do("team", "remove", "carol")["pending"]
        # The same change by another administrator is a signature.
        removed = bob.do("team", "remove", "carol")
        assert (removed["pending"], removed["version"]) == (False, 6)
        _until_version(alice, 6)
        code, reason = carol.refused("open", capability)
        assert (code, reason) in {(3, "not_member"), (3, "revoked"), (4, "unreachable")}
        assert bob.do("shares", "--to", "carol")[0]["state"] == "revoked"
        assert len(bob.events("released")) == 1
        assert [one["subject"] for one in bob.events("member_removed")] == ["carol"]
