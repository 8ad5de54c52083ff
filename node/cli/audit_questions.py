"""`safelight audit who-could`, `holders` and `subject`.

Belongs here: the three commands, and their answers as a page for people.
Never here: how an answer is found (``services.questions``).
"""

from __future__ import annotations

from typing import Any

import click

from node.cli.common import Settings, new_command
from node.cli.complete import images, members


@new_command("who-could")
@click.option("--at", required=True, metavar="TIME", help="A time: 2030-01-31T18:00:00Z.")
@click.option(
    "--image", metavar="I", shell_complete=images, help="Only this picture; says why not."
)
@click.pass_obj
def who_could(settings: Settings, at: str, image: str | None) -> None:
    """Say who could open which of your pictures at a moment.

    Example: safelight audit who-could --at 2030-03-03T12:00:00Z

    It is what your node would have answered then: by what was granted, amended and
    revoked, by the time and the opens that were left, by the roster and the roles.
    """
    from node.cli import output, reach
    from node.control.schema import AuditWhoCould

    answer = reach.call(settings, "audit_who_could", AuditWhoCould(at=at, image=image))
    output.present(answer, _could_page, as_json=settings.json)


@new_command("holders")
@click.argument("image", metavar="IMAGE", shell_complete=images, help="A name or an id.")
@click.pass_obj
def holders(settings: Settings, image: str) -> None:
    """Say who may hold a copy of one of your pictures, and in what form.

    Example: safelight audit holders harbour.jpg

    A receipt is what the holder's node has signed; a release only says that the key left
    yours. Nobody can see from here what was photographed off a screen.
    """
    from node.cli import output, reach
    from node.control.schema import AuditHolders

    answer = reach.call(settings, "audit_holders", AuditHolders(image=image))
    output.present(answer, _holders_page, as_json=settings.json)


@new_command("subject")
@click.argument("person", metavar="PERSON", shell_complete=members, help="A member or former one.")
@click.pass_obj
def subject(settings: Settings, person: str) -> None:
    """Show everything that your log says about a person.

    Example: safelight audit subject carol

    This answers a person's request for the data that is kept about them: give them the
    page, or the same as --json.
    """
    from node.cli import output, reach
    from node.control.schema import AuditSubject

    answer = reach.call(settings, "audit_subject", AuditSubject(who=person))
    output.present(answer, _subject_page, as_json=settings.json)


def _could_page(answer: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import clock_time

    output.table(
        ("holder", "role", "picture", "as", "opens left", "until", "capability"),
        [
            (
                one["holder"],
                one["role"],
                one["name"] or output.short(one["image"]),
                _as(one) + (", with a phrase" if one["factor"] else ""),
                one["opens_left"],
                clock_time(one["expires_at"]),
                output.short(one["capability"]),
            )
            for one in answer["could"]
        ],
        empty="nobody could open anything then",
    )
    for one in answer["could_not"]:
        output.line(f"not {output.plain(one['holder'])}: {one['reason']}")
    for note in answer["notes"]:
        output.line(f"note: {output.plain(note)}")


def _holders_page(answer: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.times import clock_time

    output.table(
        ("holder", "has", "known by", "last", "as", "times", "capability"),
        [
            (
                one["holder"] + ("" if one["member"] else " (no member)"),
                _HAS[one["form"]] + (", may save" if one["may_save"] else ""),
                one["evidence"],
                clock_time(one["last"]),
                _as(one),
                one["releases"],
                output.short(one["capability"]),
            )
            for one in answer["holders"]
        ],
        empty="nobody was ever given a key to that picture",
    )
    for one in answer["granted_not_opened"]:
        over = "; it is over" if one["over"] else ""
        output.line(
            f"never opened by {output.plain(one['holder'])} under {output.short(one['capability'])}"
            + over
        )
    for one in answer["exported"]:
        output.line(
            f"written to a file by you: {output.plain(one['rendition'])}, {clock_time(one['at'])}"
        )
    if (came := answer["came_from"]) is not None:
        output.line(f"you saved it from {output.plain(came['issuer'])}: {came['rendition']}")


_HAS = {
    "saved": "a saved copy",
    "opened": "seen its pixels",
    "released": "a key, no receipt",
}


def _subject_page(answer: dict[str, Any]) -> None:
    from node.cli import output
    from node.cli.shares import show_shares
    from node.cli.times import clock_time

    person = answer["person"]
    output.details(
        {
            "name": person["name"],
            "fingerprint": person["fingerprint"],
            "role": person["role"] or "no member any more",
            "last_seen": answer["last_seen"],
            "addresses": answer["addresses"],
        }
    )
    output.line("\nhow often")
    output.table(
        ("event", "count", "first", "last"),
        [
            (one["event"], one["count"], clock_time(one["first"]), clock_time(one["last"]))
            for one in answer["counts"]
        ],
        empty="nothing in the log",
    )
    if answer["capabilities"]:
        output.line("\ncapabilities")
        show_shares(answer["capabilities"])
    output.line("\nentries")
    output.table(
        ("entry", "time", "event", "actor", "subject", "detail"),
        [
            (
                one["index"],
                clock_time(one["time"]),
                one["event"],
                one["actor"],
                one["subject"],
                one["detail"],
            )
            for one in answer["entries"]
        ],
        empty="none",
    )


def _as(one: dict[str, Any]) -> str:
    return f"{one['rendition']}, watermarked" if one["watermark"] else str(one["rendition"])
