"""`safelight import`: what the node is asked for, and what people read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node.control import schema
from tests.node.cli.canned import IMAGE, NEW
from tests.node.cli.conftest import Served
from tests.node.cli.support import COMMAND, run_on_terminal


async def test_a_path_is_made_absolute_for_the_node(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    served.node.results["import"] = {"images": [], "failed": []}

    await served.run("import", "a.jpg", "./b")

    assert served.node.called("import") == [
        schema.Import(paths=[str(tmp_path / "a.jpg"), str(tmp_path / "b")])
    ]


async def test_a_file_that_is_no_picture_is_named_and_the_rest_goes_on(served: Served) -> None:
    result = {
        "images": [{**IMAGE, **NEW}],
        "failed": [{"path": "/p/x.txt", "code": "unknown_format", "message": "no picture"}],
    }
    served.node.results["import"] = result

    for_people = await served.run("import", "/p")
    for_scripts = await served.run("import", "/p", "--json")

    assert (for_people.code, for_scripts.code) == (0, 0)
    assert "not imported: /p/x.txt: no picture" in for_people.err
    assert (for_scripts.document, for_scripts.err) == (result, "")


async def test_a_path_that_is_no_text_is_sent_as_a_uri(served: Served) -> None:
    served.node.results["import"] = {"images": [], "failed": []}

    ran = await served.run("import", os.fsdecode(b"/p/caf\xe9 1.jpg"))

    assert ran.code == 0, ran.err
    assert served.node.called("import") == [schema.Import(paths=["file:///p/caf%E9%201.jpg"])]


async def test_where_nothing_was_imported_the_command_fails(served: Served) -> None:
    failed = [
        {"path": "/p/a.txt", "code": "unknown_format", "message": "no picture"},
        {"path": "/p/b.jpg", "code": "empty", "message": "the file is empty"},
    ]
    served.node.results["import"] = {"images": [], "failed": failed}

    for_people = await served.run("import", "/p")
    for_scripts = await served.run("import", "/p", "--json")

    assert (for_people.code, for_scripts.code) == (1, 1)
    assert "not imported: /p/a.txt: no picture\n" in for_people.err
    assert "not imported: /p/b.jpg: the file is empty\n" in for_people.err
    assert for_scripts.document["failed"] == failed
    assert for_scripts.document["error"]["code"] == "nothing_imported"


async def test_the_node_moves_and_the_command_says_what_stays(
    served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    stays = {**IMAGE, **NEW, "path": str(path), "stays": "it has changed meanwhile"}
    gone = {**IMAGE, **NEW, "path": "/p/b.jpg", "moved": True}
    failed = {"path": "/p/b.xmp", "code": "not_removed", "message": "Permission denied"}
    served.node.results["import"] = {"images": [stays, gone], "failed": [failed]}

    ran = await served.run("import", "--move", str(path))

    assert ran.code == 0
    assert served.node.called("import") == [schema.Import(paths=[str(path)], move=True)]
    assert path.exists()
    assert f"not removed: {path}: it has changed meanwhile" in ran.err
    assert "not removed: /p/b.xmp: Permission denied" in ran.err
    assert "/p/b.jpg" not in ran.err
    assert "not imported" not in ran.err


async def test_a_picture_that_looks_like_others_names_them_in_one_line(served: Served) -> None:
    similar = [{"id": "ab" * 16, "name": "quay.jpg"}, {"id": "cd" * 16, "name": "pier.jpg"}]
    served.node.results["import"] = {
        "images": [{**IMAGE, **NEW, "similar": similar}],
        "failed": [],
    }

    ran = await served.run("import", "/p/harbour.jpg")

    assert ran.code == 0
    assert "harbour.jpg looks like quay.jpg (abababab), pier.jpg (cdcdcdcd)" in ran.err


async def test_the_bar_tells_the_rate_and_the_time_left(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(method: str, params: Any, progress: Any) -> Any:
        if method == "import":
            for done in range(1, 6):
                progress(done, 5, "importing")
                await asyncio.sleep(0.2)
            return {"images": [], "failed": []}
        return served.node.results[method]

    monkeypatch.setattr(served.node, "call", call)

    ran = await asyncio.to_thread(run_on_terminal, ("import", "/p"), served.environment)

    assert ran.code == 0
    assert "/s" in ran.out
    assert "00:0" in ran.out


async def test_watching_imports_what_comes_until_ctrl_c(served: Served, tmp_path: Path) -> None:
    served.node.results["import"] = {"images": [{**IMAGE, **NEW}], "failed": []}
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "first.jpg").write_bytes(b"1")
    process = subprocess.Popen(
        [*COMMAND, "import", str(folder), "--watch", "--tag", "in", "--json"],
        env=served.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whatever runs the tests may ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        async with asyncio.timeout(120):
            while len(served.node.called("import")) < 1:
                await asyncio.sleep(0.05)
            (folder / "second.jpg").write_bytes(b"2")
            while len(served.node.called("import")) < 2:
                await asyncio.sleep(0.05)
            # The second answer is written a moment after the call.
            assert process.stdout is not None
            lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            out, _ = await asyncio.to_thread(process.communicate)
    finally:
        process.kill()

    assert [len(json.loads(line)["images"]) for line in lines] == [1, 1]
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert process.returncode == 130
    assert served.node.called("import") == [
        schema.Import(paths=[str(folder / name)], tags=["in"])
        for name in ("first.jpg", "second.jpg")
    ]
