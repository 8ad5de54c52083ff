"""Each command against a canned node: what it asks, what it prints, how it exits.

Commands about the log stand in ``test_audit_commands`` too, those that start and stop a node in
``test_node_commands``.
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from node.control import schema
from node.control.schema import Params
from tests.node.cli.canned import (
    ENTRY,
    FILES,
    FINGERPRINT,
    FORETOLD,
    GRANTED,
    HELD,
    ID,
    IMAGE,
    LOG,
    NEW,
    OPENED,
    PROOF,
    SHARE,
    TEAM,
    VERIFIED,
    WORDS,
)
from tests.node.cli.conftest import Served
from tests.node.cli.support import refusal

EXPORT = (
    "audit export -o /out/log.zip --csv --disclose holder,image --who bob --image a"
    " --since 2030-01-01T00:00:00Z --until 2031-01-01T00:00:00Z"
)

CASES: list[tuple[str, str, Any, Params, str]] = [
    ("identity", "identity", {"fingerprint": FINGERPRINT, "words": WORDS, "name": "alice"},
     schema.Empty(), "one two three"),
    ("team create Desk", "team_create", TEAM, schema.TeamCreate(name="Desk"), "Desk, version 2"),
    ("team show", "team_show", TEAM, schema.Empty(), FINGERPRINT),
    ("peers", "peers",
     [{"name": "bob", "fingerprint": FINGERPRINT, "path": "lan", "why": "direct to 192.0.2.7:7421",
       "rtt_ms": 1.4}],
     schema.Empty(), "1 ms"),
    ("peers add bob 192.0.2.7:7421", "peers_add", {},
     schema.PeersAdd(who="bob", host="192.0.2.7", port=7421), "192.0.2.7:7421"),
    ("peers add bob [2001:db8::1]:7421", "peers_add", {},
     schema.PeersAdd(who="bob", host="2001:db8::1", port=7421), "2001:db8::1"),
    ("peers remove bob", "peers_remove", {}, schema.PeersRemove(who="bob"), "bob"),
    ("import /p/a /p/b --album launch --tag press --tag sea --classification public", "import",
     {"images": [{**IMAGE, **NEW, "album": "launch"}], "failed": []},
     schema.Import(paths=["/p/a", "/p/b"], album="launch", tags=["press", "sea"],
                   classification="public"), "harbour.jpg"),
    ("images", "images", [IMAGE], schema.Images(), "4000×3000"),
    ("images old harbour --album launch --tag sea --limit 5", "images", [],
     schema.Images(query="old harbour", album="launch", tag="sea", limit=5), "no pictures"),
    ("show harbour.jpg", "show", {**IMAGE, "versions": [{"number": 1}]},
     schema.Show(image="harbour.jpg"), "2.5 MB"),
    ("export launch -o /out --rendition preview:800", "export", {**FILES, "failed": []},
     schema.Export(what=["launch"], out="/out", rendition="preview:800"), "/out/harbour.jpg"),
    ("export a -o /out --rendition clean --credit Ann --copyright Ann --terms press", "export",
     {**FILES, "failed": []},
     schema.Export(what=["a"], out="/out", rendition="clean", credit="Ann", copyright_notice="Ann",
                   terms="press"), "/out/harbour.jpg"),
    ("export a -o /out --no-credit", "export", {**FILES, "failed": []},
     schema.Export(what=["a"], out="/out", no_credit=True), "/out/harbour.jpg"),
    ("album credit launch --credit Ann --copyright Ann --terms press", "album_credit",
     {"id": ID, "credit": "Ann", "copyright": "© Ann", "terms": "press"},
     schema.AlbumCredit(album="launch", credit="Ann", copyright_notice="Ann", terms="press"),
     "copyright  © Ann"),
    ("album credit launch --no-credit", "album_credit",
     {"id": ID, "credit": "", "copyright": "", "terms": ""},
     schema.AlbumCredit(album="launch", no_credit=True), "no credit"),
    ("watermark --logo /logo.png", "watermark",
     {"logo": {"width": 512, "height": 146, "bytes": 12_000}},
     schema.Watermark(logo="/logo.png"), "a logo of 512×146 pixels, 12.0 kB"),
    ("watermark --no-logo", "watermark", {"logo": None}, schema.Watermark(no_logo=True), "no logo"),
    (("share a b --to bob --to carol,dan --for 48h --allow view,save --opens 3 "
      "--rendition original --no-watermark --not-before 2h --terms press --lease 1h"), "share",
     {"capabilities": [GRANTED]},
     schema.Share(what=["a", "b"], to=["bob", "carol", "dan"], duration="48h",
                  rights=["view", "save"], opens=3, rendition="original", watermark=False,
                  not_before="2h", terms="press", lease="1h"), "bob may view 2 pictures"),
    ("share a --to bob --once --watermark", "share", {"capabilities": [GRANTED]},
     schema.Share(what=["a"], to=["bob"], opens=1, watermark=True), "capability 3f9a12c4"),
    ("share a --to bob --factor", "share",
     {"capabilities": [{**GRANTED, "factor": "abandon ability able"}]},
     schema.Share(what=["a"], to=["bob"], factor=True), "shown this once: abandon ability able"),
    ("share a --to bob --dry-run", "share",
     {"capabilities": [{**GRANTED, "id": None, "changed_by_policy": ["ends after 2 h"],
                        "watermark": "medium: bob", "names": ["picture-1.jpg"]}],
      "pictures": [FORETOLD]},
     schema.Share(what=["a"], to=["bob"], dry_run=True), "by the policy: ends after 2 h"),
    ("share a --to bob --dry-run --credit Ann --copyright Ann --no-names", "share",
     {"capabilities": [{**GRANTED, "id": None, "names": ["picture-1.jpg"]}],
      "pictures": [FORETOLD]},
     schema.Share(what=["a"], to=["bob"], dry_run=True, credit="Ann",
                  copyright_notice="Ann", names=False), "carries position 48.8500 N"),
    ("shares --album launch --to bob --state live", "shares", [SHARE],
     schema.Shares(album="launch", to="bob", state="live"),
     "3f9a12c4  not ready: harbour.png: it cannot be; share a preview of it instead"),
    ("shares 3f9a --reissue --opens recorded --names", "shares_reissue",
     {"capabilities": [{**GRANTED, "instead_of": "aa" * 16, "factor": "abandon ability"}],
      "skipped": [], "dry_run": False},
     schema.SharesReissue(capabilities=["3f9a"], opens=None, names=True),
     "3f9a12c4 instead of aaaaaaaa: bob may view 2 pictures"),
    ("shares --reissue --yes", "shares_reissue",
     {"capabilities": [], "dry_run": False,
      "skipped": [{"instead_of": "aa" * 16, "holder": "bob", "why": "its time is over"}]},
     schema.SharesReissue(opens=1), "not aaaaaaaa to bob: its time is over"),
    ("shares --reissue --opens 2", "shares_reissue",
     {"capabilities": [], "skipped": [], "dry_run": False},
     schema.SharesReissue(opens=2), "nothing has lapsed"),
    ("audit roll", "audit_roll",
     {"epoch": 3, "incarnation": 0, "state": "current", "begun_at": None, "lapsed": 0},
     schema.Empty(), "the log has a new key, number 3; the old one is erased"),
    ("share a --to bob --no-credit", "share", {"capabilities": [GRANTED]},
     schema.Share(what=["a"], to=["bob"], no_credit=True), "capability 3f9a12c4"),
    ("extend 3f9a --for 7d --opens 5", "extend", SHARE,
     schema.Extend(capability="3f9a", duration="7d", opens=5), "3f9a12c4"),
    ("revoke 3f9a --to bob --album launch", "revoke",
     {"revoked": [{"id": ID, "holder": "bob", "at": "2030-01-31T18:00:00Z",
                   "seen_by_holder": False, "leased_opens": 2,
                   "leased_until": "2030-02-01T18:00:00Z"}]},
     schema.Revoke(capabilities=["3f9a"], to="bob", album="launch"), "2 leased opens"),
    ("inbox", "inbox", [HELD], schema.Empty(), "terms: for the press"),
    ("fetch 3f9a harbour.jpg", "fetch",
     {"fetched": 1, "not_ready": 1, "leased": 0, "until": None},
     schema.Fetch(capability="3f9a", images=["harbour.jpg"]), "1 picture fetched"),
    ("open 3f9a harbour.jpg", "open", OPENED,
     schema.Open(capability="3f9a", image="harbour.jpg"), "1 open left"),
    ("save 3f9a harbour.jpg -o /out", "save", FILES,
     schema.Save(capability="3f9a", images=["harbour.jpg"], out="/out"), "/out/harbour.jpg"),
    ("audit log --who bob --image a --since 2030-01-01T00:00:00Z --limit 9", "audit_log", LOG,
     schema.AuditLog(who="bob", image="a", since="2030-01-01T00:00:00Z", limit=9), "opens 1"),
    ("audit log --until 2030-01-01T00:00:00Z --event released --event opened", "audit_log", LOG,
     schema.AuditLog(until="2030-01-01T00:00:00Z", events=["released", "opened"]), "opens 1"),
    ("audit log", "audit_log", {"entries": [{**ENTRY, "incarnation": 1}]}, schema.AuditLog(),
     "1/7"),
    ("audit log --limit 2", "audit_log",
     {"entries": [{**ENTRY, "detail": {"closing": "safelight/abc/0\n17\nAAAA\n\nsigned"}}]},
     schema.AuditLog(limit=2), "closing head of size 17"),
    ("audit verify", "audit_verify", VERIFIED, schema.Empty(), "the log verifies: 8 entries"),
    ("audit prove 7 --log 1", "audit_prove", PROOF, schema.AuditProve(index=7, incarnation=1),
     "c2sp.org/tlog-proof@v1"),
    (EXPORT, "audit_export",
     {"path": "/out/log.zip", "fingerprint": FINGERPRINT, "entries": 8, "disclosed": 3,
      "receipts": 1},
     schema.AuditExport(out="/out/log.zip", table=True, disclose=["holder", "image"], who="bob",
                        image="a", since="2030-01-01T00:00:00Z", until="2031-01-01T00:00:00Z"),
     "8 entries, 3 values told, 1 receipt"),
    ("audit reconcile bob", "audit_reconcile",
     {"contradicted": False, "peers": [
         {"name": "bob", "fingerprint": FINGERPRINT, "released": 2, "opened": 1,
          "without_receipt": [{"incarnation": 0, "index": 7, "time": "2030-01-31T18:00:00.000Z",
                               "event": "released", "image": "aa", "name": "harbour.jpg"}]}]},
     schema.AuditReconcile(who="bob"), "no receipt has come"),
    ("check --read-data", "check", {"ok": True, "problems": []}, schema.Check(read_data=True),
     "no problem found"),
    ("lock --full", "lock", {}, schema.Lock(full=True), "locked"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "method", "result", "params", "said"), CASES)
async def test_a_command_asks_its_method_and_prints_the_result(
    served: Served, line: str, method: str, result: Any, params: Params, said: str
) -> None:
    served.node.results.update({method: result, "close_open": {}})

    for_people = await served.run(*line.split())
    for_scripts = await served.run(*line.split(), "--json")

    assert served.node.called(method) == [params, params]
    assert (for_people.code, for_scripts.code) == (0, 0), for_people.err + for_scripts.err
    assert said in for_people.out
    if method == "lock":
        assert for_scripts.document == {"state": "locked"}
    else:
        assert for_scripts.document == result
    assert for_scripts.err == ""


@pytest.mark.parametrize("line", [line for line, *_ in CASES])
async def test_the_shared_options_stand_on_either_side_of_the_name(
    served: Served, line: str
) -> None:
    served.node.results.update({method: refusal("policy") for _, method, *_ in CASES})
    name, *rest = line.split()

    for arguments in (["--json", "--yes", name, *rest], [name, "--yes", "--json", *rest]):
        ran = await served.run(*arguments)

        assert (ran.code, ran.document["error"]["code"]) == (3, "policy")


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("revoked", 3), ("not_ready", 4), ("tampered", 5), ("locked", 6), ("unknown", 7),
     ("ambiguous", 2), ("storage_full", 1)],
)  # fmt: skip
async def test_a_refusal_of_the_node_is_told_and_decides_the_exit_code(
    served: Served, code: str, exit_code: int
) -> None:
    served.node.results["open"] = refusal(code, hint="ask alice")

    for_people = await served.run("open", "3f9a")
    for_scripts = await served.run("open", "3f9a", "--json")

    assert (for_people.code, for_people.out) == (exit_code, "")
    assert for_people.err == f"safelight: no: {code}\nhint: ask alice\n"
    assert (for_scripts.code, for_scripts.err) == (exit_code, "")
    assert for_scripts.document == {
        "error": {"code": code, "message": f"no: {code}", "hint": "ask alice"}
    }


async def test_names_from_elsewhere_cannot_act_on_the_terminal(served: Served) -> None:
    hostile = "\x1b]52;c;QUFBQQ==\x07\u202ex.jpg"
    served.node.results["images"] = [{**IMAGE, "name": hostile}]
    served.node.results["inbox"] = [{**HELD, "issuer": hostile, "sentence": hostile}]

    for command in ("images", "inbox"):
        ran = await served.run(command)

        assert "x.jpg" in ran.out
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


# Files that a command writes itself ---------------------------------------------------------------


async def test_identity_export_writes_the_file(served: Served, tmp_path: Path) -> None:
    served.node.results["identity_export"] = {
        "name": "alice",
        "identity_file": base64.b64encode(b"certificate").decode(),
    }
    path = tmp_path / "alice.identity"

    ran = await served.run("identity", "export", str(path), "--json")

    assert ran.document == {"path": str(path), "name": "alice"}
    assert path.read_bytes() == b"certificate"


async def test_team_add_reads_the_identity_and_writes_a_private_welcome(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "bob.identity").write_bytes(b"certificate")
    served.node.results["team_add"] = {
        "name": "bob",
        "role": "reviewer",
        "words": WORDS,
        "welcome": base64.b64encode(b"sealed").decode(),
    }
    welcome = tmp_path / "bob.welcome"
    arguments = ["team", "add", str(tmp_path / "bob.identity"), "--role", "reviewer"]

    ran = await served.run(*arguments, "-o", str(welcome))

    assert ran.code == 0
    assert "their words: one two three four five six seven eight" in ran.out
    assert welcome.read_bytes() == b"sealed"
    assert stat.S_IMODE(welcome.stat().st_mode) == 0o600
    assert served.node.called("team_add") == [
        schema.TeamAdd(identity_file=base64.b64encode(b"certificate").decode(), role="reviewer")
    ]


async def test_nobody_is_added_where_the_welcome_cannot_be_written(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "bob.identity").write_bytes(b"certificate")
    (tmp_path / "taken").write_bytes(b"older")

    ran = await served.run(
        "team", "add", str(tmp_path / "bob.identity"), "-o", str(tmp_path / "taken"), "--json"
    )

    assert (ran.code, ran.document["error"]["code"]) == (1, "exists")
    assert served.node.called("team_add") == []
    assert (tmp_path / "taken").read_bytes() == b"older"


async def test_a_refused_addition_leaves_no_file(served: Served, tmp_path: Path) -> None:
    (tmp_path / "bob.identity").write_bytes(b"certificate")
    served.node.results["team_add"] = refusal("policy")

    ran = await served.run(
        "team", "add", str(tmp_path / "bob.identity"), "-o", str(tmp_path / "new")
    )

    assert ran.code == 3
    assert not (tmp_path / "new").exists()


# Joining ------------------------------------------------------------------------------------------


async def test_joining_by_script_says_whom_it_expects(served: Served, tmp_path: Path) -> None:
    (tmp_path / "welcome").write_bytes(b"sealed")
    served.node.results["join_file"] = {"team": "The Desk", "member": "bob", "words": WORDS}

    ran = await served.run(
        "join", "--file", str(tmp_path / "welcome"), "--expect", FINGERPRINT, "--json"
    )

    assert ran.document["team"] == "The Desk"
    assert served.node.called("join_file") == [
        schema.JoinFile(welcome=base64.b64encode(b"sealed").decode(), expect=FINGERPRINT)
    ]


async def test_joining_without_anybody_to_compare_words_is_wrong_usage(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "welcome").write_bytes(b"sealed")

    ran = await served.run("join", "--file", str(tmp_path / "welcome"), "--yes", "--json")

    assert (ran.code, ran.document["error"]["code"]) == (2, "usage")
    assert "--expect" in ran.document["error"]["hint"]
    assert served.node.calls == []


# Open and save ------------------------------------------------------------------------------------


async def test_the_viewer_ends_with_the_command(served: Served) -> None:
    served.node.results.update(open=OPENED, close_open={})

    await served.run("open", "3f9a", "--json")

    assert [name for name, _ in served.node.calls] == ["status", "open", "close_open"]
    assert served.node.called("close_open") == [schema.CloseOpen(open_id=OPENED["open_id"])]


@pytest.mark.parametrize("command", ["open", "save"])
async def test_a_second_factor_comes_from_its_file(
    served: Served, tmp_path: Path, command: str
) -> None:
    served.node.results.update(open=OPENED, save=FILES, close_open={})
    path = tmp_path / "phrase"
    path.write_text("abandon ability able\n")
    path.chmod(0o600)

    ran = await served.run(command, "3f9a", "--factor-file", str(path), "--json")

    assert ran.code == 0
    (params,) = served.node.called(command)
    assert isinstance(params, schema.Open | schema.Save)
    assert params.factor == "abandon ability able"


@pytest.mark.parametrize("command", ["open", "save"])
async def test_a_second_factor_without_file_or_terminal_is_a_denial(
    served: Served, command: str
) -> None:
    served.node.results[command] = refusal("factor", hint="--factor-file FILE")

    ran = await served.run(command, "3f9a", "--json")

    assert (ran.code, ran.document["error"]["code"]) == (3, "factor")
    assert len(served.node.called(command)) == 1


# Revoke -------------------------------------------------------------------------------------------


async def test_without_a_terminal_nothing_is_asked(served: Served) -> None:
    served.node.results["revoke"] = {"revoked": []}

    ran = await served.run("revoke", "3f9a")

    assert (ran.code, ran.out) == (0, "nothing to revoke\n")
    assert [name for name, _ in served.node.calls] == ["status", "revoke"]
