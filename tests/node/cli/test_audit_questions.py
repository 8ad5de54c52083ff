"""The questions about the past and the erasure: what is asked of the node, what people read."""

from __future__ import annotations

import asyncio
from typing import Any

from node.control import schema
from tests.node.cli.conftest import Served
from tests.node.cli.support import refusal, run_on_terminal

ID = "3f9a12c4" + "00" * 12
WHEN = "2030-01-31T18:00:00.000Z"

COULD: dict[str, Any] = {
    "at": WHEN,
    "roster_version": 4,
    "could": [
        {
            "holder": "bob", "fingerprint": "aaaa-bbbb", "role": "editor", "image": "aa" * 16,
            "name": "harbour.jpg", "capability": ID, "rendition": "preview:2048",
            "watermark": True, "rights": ["view"], "opens_left": 3, "expires_at": WHEN,
            "factor": True,
        }
    ],
    "could_not": [
        {
            "holder": "carol", "fingerprint": "cccc-dddd", "role": None, "image": "aa" * 16,
            "name": "harbour.jpg", "capability": ID, "reason": "not_member",
        }
    ],
    "notes": ["2 later changes are erased"],
}  # fmt: skip

HOLDERS: dict[str, Any] = {
    "image": "aa" * 16,
    "name": "harbour.jpg",
    "holders": [
        {
            "holder": name, "fingerprint": "aaaa-bbbb", "member": name == "bob", "capability": ID,
            "over": False, "rendition": "clean", "watermark": False, "form": form,
            "evidence": evidence, "last": WHEN, "first": WHEN, "releases": 2, "receipts": 1,
            "saves": 1, "may_save": True,
        }
        for name, form, evidence in (("bob", "saved", "receipt"), ("carol", "released", "release"))
    ],
    "granted_not_opened": [
        {
            "holder": "dave", "fingerprint": "eeee-ffff", "member": True, "capability": ID,
            "over": True, "rendition": "clean", "watermark": False,
        }
    ],
    "exported": [{"at": WHEN, "rendition": "original", "sha256": "ab" * 32}],
    "came_from": {"issuer": "erin", "capability": ID, "rendition": "clean"},
}  # fmt: skip

SUBJECT: dict[str, Any] = {
    "person": {"name": "bob", "fingerprint": "aaaa-bbbb", "member": False, "role": None},
    "at": WHEN,
    "counts": [{"event": "opened", "count": 7, "first": WHEN, "last": WHEN}],
    "entries": [
        {
            "index": 3, "time": WHEN, "event": "opened", "actor": "bob", "subject": "harbour.jpg",
            "detail": {"holder": "bob"},
        }
    ],
    "capabilities": [],
    "last_seen": WHEN,
    "addresses": ["192.0.2.1 port 7"],
}  # fmt: skip

ERASED: dict[str, Any] = {
    "subject": {"kind": "person", "id": "aaaa-bbbb", "name": "bob"},
    "erased": True,
    "values": 12,
    "entries": 9,
    "mentions": 1,
    "receipts": 2,
    "rewritten": 3,
    "pseudonym": "ab" * 16,
    "remains": ["the roster's signed history says who was a member"],
    "elsewhere": ["backups made before still hold it"],
}


async def test_each_question_is_asked_as_typed_and_answered_for_people_and_scripts(
    served: Served,
) -> None:
    for line, method, result, params, said in (
        (
            f"who-could --at {WHEN} --image harbour.jpg", "audit_who_could", COULD,
            schema.AuditWhoCould(at=WHEN, image="harbour.jpg"),
            ["bob", "preview:2048, watermarked, with a phrase", "not carol: not_member", "note: 2"],
        ),
        (
            "holders harbour.jpg", "audit_holders", HOLDERS,
            schema.AuditHolders(image="harbour.jpg"),
            [
                "a saved copy, may save", "carol (no member)", "a key, no receipt",
                "never opened by dave", "it is over", "written to a file by you: original",
                "you saved it from erin",
            ],
        ),
        (
            "subject bob", "audit_subject", SUBJECT, schema.AuditSubject(who="bob"),
            ["no member any more", "192.0.2.1 port 7", "opened", "7", "harbour.jpg"],
        ),
        (
            "erase bob --kind person", "audit_erase", ERASED,
            schema.AuditErase(subject="bob", kind="person"),
            [
                "erased: person bob: 12 values of 9 entries of the log", "1 more value",
                "2 signed receipts", "3 rows", "stays: the roster's", "stays: backups",
            ],
        ),
    ):  # fmt: skip
        served.node.results[method] = result

        for_people = await served.run("audit", *line.split())
        for_scripts = await served.run("audit", *line.split(), "--json")

        assert served.node.called(method) == [params, params]
        assert (for_people.code, for_scripts.code) == (0, 0), for_people.err + for_scripts.err
        for words in said:
            assert words in for_people.out
        assert for_scripts.document == result


async def test_empty_answers_are_sentences(served: Served) -> None:
    served.node.results["audit_who_could"] = {**COULD, "could": [], "could_not": [], "notes": []}
    served.node.results["audit_holders"] = {
        **HOLDERS, "holders": [], "granted_not_opened": [], "exported": [], "came_from": None,
    }  # fmt: skip

    could = await served.run("audit", "who-could", "--at", WHEN)
    holders = await served.run("audit", "holders", "harbour.jpg")

    assert could.out == "nobody could open anything then\n"
    assert holders.out == "nobody was ever given a key to that picture\n"


async def test_a_moment_is_needed_and_a_refusal_is_told(served: Served) -> None:
    served.node.results["audit_subject"] = refusal("unknown")

    assert (await served.run("audit", "who-could")).code == 2
    assert (await served.run("audit", "subject", "nobody")).code == 7
    assert (await served.run("audit", "erase", "bob", "--kind", "house")).code == 2


async def test_erasing_asks_on_a_terminal_and_says_before_what_stays(served: Served) -> None:
    served.node.results["audit_erase"] = ERASED
    tried = schema.AuditErase(subject="bob", dry_run=True)
    done = schema.AuditErase(subject="bob")
    line = ("audit", "erase", "bob")

    def answered(answer: str) -> Any:
        return asyncio.to_thread(
            run_on_terminal, line, served.environment, answers=[("erase it?", answer)]
        )

    declined = await answered("n")
    assert served.node.called("audit_erase") == [tried]
    agreed = await answered("y")
    assert served.node.called("audit_erase") == [tried, tried, done]
    await served.run(*line, "--yes")

    assert served.node.called("audit_erase") == [tried, tried, done, done]
    assert (declined.code, agreed.code) == (1, 0)
    assert "this destroys person bob" in declined.out
    assert "stays: backups" in declined.out
    assert "nothing was erased" in declined.out
    assert "erased: person bob" in agreed.out
