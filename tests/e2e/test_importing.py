"""An import that somebody stops, with real processes: what is there is sound, and goes on."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.people import Cli, picture_files, wait_gone

COUNT = 150


def many_pictures(folder: Path, count: int) -> None:
    """Write large pictures that all differ."""
    (path,) = picture_files(folder, 1, (3000, 2000))
    data = path.read_bytes()
    path.unlink()
    for number in range(count):
        # Bytes behind the end make another file of the same picture.
        (folder / f"{number:03}.jpg").write_bytes(data + number.to_bytes(2))


@pytest.mark.timeout(900)
def test_an_import_stopped_by_ctrl_c_leaves_a_sound_vault_that_can_go_on(tmp_path: Path) -> None:
    alice = Cli("alice", tmp_path)
    many_pictures(tmp_path / "pictures", COUNT)
    alice.set_up()
    try:
        process = alice.start("import", str(tmp_path / "pictures"))
        while not alice.do("images", "--limit", "1"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)

        assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "interrupted")
        assert "Traceback" not in err
        imported = len(alice.do("images", "--limit", "1000"))
        assert 0 < imported < COUNT
        assert alice.do("check", "--read-data")["ok"]
        assert alice.do("audit", "verify")["ok"]
        assert len(alice.events("imported")) == len(alice.do("images", "--limit", "1000"))

        again = alice.do("import", str(tmp_path / "pictures"))

        assert (len(again["images"]), again["failed"]) == (COUNT, [])
        assert sum(one["duplicate"] for one in again["images"]) >= imported
        assert len(alice.do("images", "--limit", "1000")) == COUNT
        assert alice.do("check", "--read-data")["ok"]
        pid = alice.pid()
    finally:
        alice.run("node", "stop")
    wait_gone(pid)
