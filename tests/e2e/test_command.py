"""The command as a person uses it: exit codes, states, and errors that name the fix."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.people import COMMAND, Cli, people, picture_files


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> object:
    with people(tmp_path_factory.mktemp("team"), "alice", "bob") as everybody:
        yield everybody


def test_a_picture_is_shared_opened_saved_and_taken_back(team: list[Cli], tmp_path: Path) -> None:
    alice, bob = team
    (path,) = picture_files(tmp_path / "pictures", 1)
    imported = alice.do("import", str(path), "--album", "One", "--tag", "north")
    image = imported["images"][0]
    assert imported["failed"] == []
    assert alice.do("import", str(path))["images"][0]["duplicate"]
    assert alice.do("images", "north", "--album", "One")[0]["id"] == image["id"]

    (granted,) = alice.do(
        "share", image["id"], "--to", "bob", "--for", "1h", "--allow", "view,save",
        "--rendition", "original", "--opens", "3",
    )["capabilities"]  # fmt: skip
    bob.ready(granted["id"])
    assert bob.do("fetch", granted["id"])["fetched"] == 1
    opened = bob.do("open", granted["id"], image["id"])
    saved = bob.do("save", granted["id"], "-o", str(tmp_path / "saved"))
    again = bob.do("save", granted["id"], "-o", str(tmp_path / "saved"))

    assert opened["sha256"] == image["sha256"]
    assert Path(saved["files"][0]["path"]).read_bytes() == path.read_bytes()
    assert again["files"][0]["path"] != saved["files"][0]["path"]
    assert bob.refused("open", granted["id"]) == (3, "exhausted")
    (share,) = alice.do("shares", "--to", "bob")
    assert (share["state"], share["opens"], share["opens_left"]) == ("exhausted", 3, 0)
    (revoked,) = alice.do("revoke", granted["id"], "--yes")["revoked"]
    assert revoked["seen_by_holder"]
    assert bob.refused("open", granted["id"]) == (3, "revoked")
    assert alice.do("audit", "verify")["ok"]
    assert bob.do("audit", "verify")["ok"]
    assert alice.do("check", "--read-data")["ok"]


def test_without_the_right_save_nothing_is_saved(team: list[Cli], tmp_path: Path) -> None:
    alice, bob = team
    (path,) = picture_files(tmp_path / "other", 1, (500, 333))
    image = alice.do("import", str(path))["images"][0]
    (granted,) = alice.do("share", image["id"], "--to", "bob")["capabilities"]
    bob.ready(granted["id"])

    assert bob.refused("save", granted["id"], "-o", str(tmp_path / "out")) == (3, "policy")
    assert not (tmp_path / "out").exists()
    assert alice.events("released")[-1]["detail"].get("capability") != granted["id"]


def test_what_the_policy_needs_and_this_build_lacks_is_refused(
    team: list[Cli], tmp_path: Path
) -> None:
    alice, _ = team
    (path,) = picture_files(tmp_path / "secret", 1, (400, 267))
    image = alice.do("import", str(path), "--classification", "restricted")["images"][0]

    assert image["classification"] == "restricted"
    assert alice.refused("share", image["id"], "--to", "bob") == (3, "policy")


def test_what_would_leave_is_said_and_a_clean_copy_leaves(team: list[Cli], tmp_path: Path) -> None:
    alice, bob = team
    (path,) = picture_files(tmp_path / "clean", 1, (420, 280))
    image = alice.do("import", str(path))["images"][0]
    share = ("share", image["id"], "--to", "bob", "--allow", "view,save", "--credit", "Zoë")

    told = alice.do(*share, "--dry-run")

    (picture,) = told["pictures"]
    assert any("position" in line for line in picture["found"])
    assert (picture["removed"], picture["kept"]) == (["exif", "gps"], ["ownership"])
    (granted,) = alice.do(*share)["capabilities"]
    assert granted["rendition"] == "clean"
    bob.ready(granted["id"])
    (file,) = bob.do("save", granted["id"], "-o", str(tmp_path / "out"))["files"]
    copy = Path(file["path"]).read_bytes()
    assert (len(copy), file["undeclared"]) == (picture["bytes"], [])
    assert "Zoë".encode() in copy
    assert b"ARITHMETIC" in path.read_bytes()
    assert b"ARITHMETIC" not in copy
    (marked,) = alice.do("share", image["id"], "--to", "bob", "--watermark")["capabilities"]
    bob.ready(marked["id"])
    assert bob.do("open", marked["id"])["opens_left"] == 9


def test_nobody_by_that_name_is_exit_7_and_two_by_that_name_exit_2(
    team: list[Cli], tmp_path: Path
) -> None:
    alice, _ = team
    first = picture_files(tmp_path / "a", 1, (300, 200))[0]
    second = tmp_path / "b" / first.name
    second.parent.mkdir()
    second.write_bytes(picture_files(tmp_path / "c", 2, (310, 207))[1].read_bytes())
    alice.do("import", str(first), str(second))

    assert alice.refused("show", "no such picture") == (7, "unknown")
    assert alice.refused("show", first.name) == (2, "ambiguous")
    assert alice.refused("share", first.stem, "--to", "nobody")[0] == 7
    assert alice.refused("open", "abcdef")[0] == 7


def test_a_locked_vault_still_serves_and_a_fully_locked_one_does_not(
    team: list[Cli], tmp_path: Path
) -> None:
    alice, bob = team
    (path,) = picture_files(tmp_path / "locked", 1, (330, 220))
    image = alice.do("import", str(path))["images"][0]
    (granted,) = alice.do("share", image["id"], "--to", "bob")["capabilities"]
    bob.ready(granted["id"])

    alice.do("lock")
    assert alice.refused("images") == (6, "locked")
    assert bob.do("open", granted["id"])["opens_left"] == 9
    alice.do("unlock")
    assert alice.do("images")

    alice.do("lock", "--full")
    assert alice.refused("images") == (6, "locked")
    assert bob.refused("open", granted["id"])[0] == 4
    alice.do("unlock")
    assert bob.do("open", granted["id"])["opens_left"] == 8


def test_a_wrong_passphrase_is_exit_6_and_logged_at_the_next_unlock(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    alice.do("init", "--name", "alice", "--recovery-out", str(tmp_path / "24"))
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase\n")
    wrong.chmod(0o600)
    try:
        assert alice.refused("images", "--passphrase-file", str(wrong)) == (6, "wrong_passphrase")
        assert alice.do("node", "status")["state"] == "stopped"
        assert alice.do("images") == []
        assert alice.refused("unlock", "--passphrase-file", str(wrong)) == (6, "wrong_passphrase")

        (failed,) = alice.events("unlock_failed")
        assert failed["detail"]["count"] == "1"
    finally:
        alice.run("node", "stop")


def test_the_passphrase_is_changed_and_a_lost_one_recovered(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    alice.set_up()
    new, newer = tmp_path / "new", tmp_path / "newer"
    for path, passphrase in ((new, "a second passphrase"), (newer, "a third passphrase")):
        path.touch(0o600)
        path.write_text(passphrase + "\n")
    try:
        alice.do("passphrase", "change", "--new-passphrase-file", str(new))
        assert alice.refused("unlock") == (6, "wrong_passphrase")
        alice.do("unlock", "--passphrase-file", str(new))
        recovering = (
            "recover", "--recovery-file", str(tmp_path / "alice.24"),
            "--passphrase-file", str(newer),
        )  # fmt: skip
        assert alice.refused(*recovering) == (1, "vault_busy")
        alice.do("node", "stop")
        wrong = tmp_path / "wrong"
        wrong.touch(0o600)
        wrong.write_text("abandon " * 23 + "art\n")
        assert alice.refused(
            "recover", "--recovery-file", str(wrong), "--passphrase-file", str(newer)
        ) == (6, "wrong_passphrase")

        alice.do(*recovering)

        assert alice.refused("images", "--passphrase-file", str(new)) == (6, "wrong_passphrase")
        assert alice.do("images", "--passphrase-file", str(newer)) == []
        # Each of the two replaced the log's key: at once, and when the node was unlocked next.
        entries = alice.do("audit", "log")["entries"]
        assert [one["event"] for one in entries].count("epoch_closed") == 2
        assert alice.do("audit", "roll")["epoch"] == 3
        assert alice.do("audit", "verify")["ok"]
    finally:
        alice.run("node", "stop")


def test_a_second_node_on_one_home_is_refused(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    alice.set_up()
    # Not below pytest's own folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="run-") as run:
        elsewhere = Cli("alice", tmp_path, environment={"XDG_RUNTIME_DIR": run})
        try:
            assert alice.refused("node", "run") == (1, "already_running")
            assert elsewhere.refused("images") == (1, "vault_busy")
        finally:
            alice.run("node", "stop")
            elsewhere.run("node", "stop")


def test_a_node_that_was_killed_starts_again_by_itself(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    alice.set_up()
    try:
        (path,) = picture_files(tmp_path / "pictures", 1, (200, 133))
        image = alice.do("import", str(path))["images"][0]
        listening = alice.do("node", "status")["listen"]

        alice.kill()

        assert alice.do("images")[0]["id"] == image["id"]
        assert alice.do("node", "status")["state"] == "unlocked"
        assert alice.do("node", "status")["listen"] == listening
        assert alice.do("audit", "verify")["ok"]
    finally:
        alice.run("node", "stop")


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    alice.set_up()
    try:
        folder = tmp_path / "mixed"
        (good,) = picture_files(folder, 1, (220, 147))
        (folder / "empty.jpg").write_bytes(b"")
        (folder / "text.jpg").write_text("not a picture")
        (folder / "cut.jpg").write_bytes(good.read_bytes()[:2000])
        (folder / os.fsdecode(b"bad\xff\x1b[31mname.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
        os.mkfifo(folder / "pipe.jpg")
        result = alice.do("import", str(folder))
        assert len(result["images"]) == 1
        assert len(result["failed"]) == 5
        assert all(one["code"] and one["message"] for one in result["failed"])
        assert "\x1b" not in str(result)
        (folder / good.name).unlink()

        assert alice.refused("import", str(folder))[0] == 1
    finally:
        alice.run("node", "stop")


def test_the_version_needs_no_vault_and_no_node() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("safelight ")


def test_the_demonstration_leaves_nothing_behind() -> None:
    # Not below pytest's own folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="demo-") as temporary:
        environment = {**os.environ, "TMPDIR": temporary}
        environment.pop("XDG_RUNTIME_DIR", None)

        done = subprocess.run(
            [*COMMAND, "demo"], env=environment, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert "every sealed byte" in done.stdout
        assert list(Path(temporary).iterdir()) == []
        assert not any(temporary in arguments for arguments in _running())


def _running() -> list[str]:
    """Return the arguments of every process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().decode(errors="replace"))
    return found
