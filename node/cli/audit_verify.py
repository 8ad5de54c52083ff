"""`safelight audit verify`.

Belongs here: verifying the own log by the node, and what somebody handed over without a vault.
Never here: verification itself (``protocol.audit``, ``services.log_verifying``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.common import Settings, new_command

if TYPE_CHECKING:
    from node.cli.diagnostics import ExitCode


@new_command("verify")
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.pass_obj
def verify(settings: Settings, file: Path | None) -> ExitCode:
    """Check your whole log, or a file that somebody gave you as evidence.

    Example: safelight audit verify pack.zip

    Without FILE: every entry, hash, value and signature of your own log. FILE is a pack of `audit
    export`, a proof of `audit prove`, or evidence of `audit evidence`; no vault is needed for it.
    Compare the fingerprint that is shown with the one you know. Exits with 5 where something is
    wrong, and says where.
    """
    from node.cli import output, reach
    from node.cli.diagnostics import ExitCode

    if file is None:
        report = reach.call(settings, "audit_verify", bar=True)
        words = "the log"
    else:
        from node.services.given_evidence import verify_file

        report = verify_file(file)
        words = _KINDS[report["kind"]]

    def people(found: dict[str, Any]) -> None:
        if found["ok"]:
            entries = "1 entry" if found["size"] == 1 else f"{found['size']} entries"
            output.line(f"{words} verifies: {entries}")
        else:
            output.line(f"{words} does NOT verify")
        if found["cosigned_by"]:
            output.line(_witnessed(found["unwitnessed"]))
        elif file is None:
            output.line("nobody has witnessed the log yet")
        output.details({name: value for name, value in found.items() if name not in _SAID})

    output.present(report, people, as_json=settings.json)
    return ExitCode.DONE if report["ok"] else ExitCode.UNVERIFIED


def _witnessed(tail: int) -> str:
    """Say how much of a log nobody but its keeper has seen."""
    if not tail:
        return "all of it is witnessed by others"
    newest = "the newest entry is" if tail == 1 else f"the newest {tail} entries are"
    return f"{newest} not yet witnessed by others"


_SAID = frozenset({"ok", "size", "kind", "unwitnessed"})
_KINDS = {"pack": "the pack", "proof": "the proof", "evidence": "the evidence"}
