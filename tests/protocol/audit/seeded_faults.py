"""Faults that a verifier could have, seeded one at a time, and the test that each must fail.

Run as a program it plays every fault in one process: it patches the source of one module,
imports the named test anew, runs it, and prints what became of it as JSON.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import settings

FORGETTABLE = ("protocol", "tests")
BROKEN = (NameError, ImportError, SyntaxError, AttributeError, UnboundLocalError)
"""A fault that only makes the program nonsense shows nothing about the tests."""


@dataclass(frozen=True)
class Fault:
    name: str
    module: str
    """Below protocol."""
    old: str
    new: str
    test: str
    """Module below tests.protocol, colon, function."""
    nth: int = 1
    """Which occurrence of old is replaced."""


_INCLUSION = (
    "audit.test_proof:test_every_inclusion_proof_holds_for_its_leaf_and_no_damage_to_it_does"
)
_CONSISTENCY = (
    "audit.test_proof:test_every_consistency_proof_holds_for_its_trees_and_no_damage_to_it_does"
)
_ROWS = "audit.test_tamper_matrix:test_row"
_FORK = "audit.test_equivocation:test_a_fork_without_its_proof_is_no_evidence"
_STATUS = "audit.test_witness:test_every_refusal_has_its_status"
_VKEY = "audit.test_note:test_a_bad_verifier_key_is_refused"
_NEXT = "audit.test_log_keys:test_what_does_not_come_next_is_refused"

FAULTS = (
    # Inclusion and consistency
    Fault(
        "inclusion: drop `or fn == sn`",
        "audit.proof",
        "if position & 1 or position == last:",
        "if position & 1:",
        _INCLUSION,
    ),
    Fault(
        "consistency: drop `or fn == sn`",
        "audit.proof",
        "if position & 1 or position == last:",
        "if position & 1:",
        _CONSISTENCY,
        nth=2,
    ),
    Fault(
        "consistency: no root1 compare",
        "audit.proof",
        "path) != (root_old, root_new)",
        "path)[1] != root_new",
        _CONSISTENCY,
    ),
    Fault(
        "consistency: no root2 compare",
        "audit.proof",
        "path) != (root_old, root_new)",
        "path)[0] != root_old",
        _CONSISTENCY,
    ),
    Fault(
        "consistency: always prepend root1",
        "audit.proof",
        "[root_old, *proof] if old & (old - 1) == 0 else proof",
        "[root_old, *proof]",
        _CONSISTENCY,
    ),
    Fault(
        "consistency: never prepend root1",
        "audit.proof",
        "[root_old, *proof] if old & (old - 1) == 0 else proof",
        "proof",
        _CONSISTENCY,
    ),
    Fault(
        "consistency: equal sizes without equal roots",
        "audit.proof",
        "if proof or root_old != root_new:",
        "if proof:",
        "audit.test_proof:test_one_size_has_one_root",
    ),
    Fault(
        "consistency: from the empty tree",
        "audit.proof",
        "if 1 <= old == new:",
        "if 0 <= old == new:",
        "audit.test_proof:test_no_consistency_proof_starts_from_the_empty_tree",
    ),
    Fault(
        "consistency: a shorter proof will do",
        "audit.proof",
        '''    if last != 0:
        raise LogError("consistency proof: too short"''',
        '''    if False:
        raise LogError("consistency proof: too short"''',
        "audit.test_seeded_faults:test_a_consistency_proof_of_a_smaller_tree_is_refused",
    ),
    Fault(
        "inclusion: the index may be the size",
        "audit.proof",
        "if not 0 <= index < size",
        "if not 0 <= index <= size",
        "audit.test_seeded_faults:test_an_index_of_the_size_is_refused",
    ),
    Fault(
        "inclusion: no root compare",
        "audit.proof",
        "if last != 0 or node != root:",
        "if last != 0:",
        _INCLUSION,
    ),
    Fault(
        "inclusion: a shorter proof will do",
        "audit.proof",
        "if last != 0 or node != root:",
        "if node != root:",
        "audit.test_seeded_faults:test_a_node_passed_as_a_leaf_hash_is_refused_in_a_larger_tree",
    ),
    Fault(
        "hashes of any length",
        "audit.proof",
        "return all(len(value) == HASH_BYTES for value in values)",
        "return True",
        "audit.test_proof:test_the_boundary_between_two_hashes_cannot_move",
    ),
    Fault(
        "tlog-proof: size not from the head",
        "audit.tlog_proof",
        "verify_inclusion(proof.index, head.size,",
        "verify_inclusion(proof.index, max(head.size, 20),",
        "audit.test_tlog_proof:test_size_and_root_come_from_the_head_and_from_nowhere_else",
    ),
    # The tree
    Fault(
        "leaves without a prefix",
        "audit.tree",
        'b"\\x00" + entry',
        "entry",
        "audit.test_tree:test_hashes_are_those_of_rfc_6962",
    ),
    Fault(
        "nodes with the prefix of leaves",
        "audit.tree",
        'b"\\x01" + left',
        'b"\\x00" + left',
        "audit.test_tree:test_hashes_are_those_of_rfc_6962",
    ),
    Fault(
        "an empty tree of zeros",
        "audit.tree",
        'EMPTY_ROOT: Final = sha256(b"")',
        "EMPTY_ROOT: Final = bytes(32)",
        "audit.test_tree:test_hashes_are_those_of_rfc_6962",
    ),
    # Notes
    Fault(
        "note: text up to the first empty line",
        "audit.note",
        'data.rpartition(b"\\n\\n")',
        'data.partition(b"\\n\\n")',
        "audit.test_note:test_a_signed_text_opens_with_its_empty_lines",
    ),
    Fault(
        "note: signatures are not verified",
        "audit.note",
        "verify_signature(key.public, message, field)",
        "field",
        _ROWS,
    ),
    Fault(
        "note: a bad signature of a known key is passed over",
        "audit.note",
        "verified[key] = verify_note_signature_untrusted(text, signature, key)",
        """try:
                verified[key] = verify_note_signature_untrusted(text, signature, key)
            except LogError:
                unverified.append(signature)""",
        _ROWS,
    ),
    Fault(
        "note: a key id that leaves out the type",
        "audit.note",
        'b"\\n" + bytes([self.key_type]) + self.public',
        'b"\\n\\x01" + self.public',
        "audit.test_note:test_a_signature_of_one_type_is_none_of_the_other",
    ),
    Fault(
        "note: a cosignature of another time",
        "audit.note",
        "_cosigned(seconds, text)\n    try",
        "_cosigned(int.from_bytes(signature.signature[:8], 'big') // 3600 * 3600, text)\n    try",
        "audit.test_note:test_a_cosignature_says_when_it_was_made_in_whole_seconds",
    ),
    Fault(
        "base64 in any spelling",
        "audit.note",
        "if base64.b64encode(data).decode() != text:",
        "if False:",
        _ROWS,
    ),
    Fault(
        "decimals with leading zeros",
        "audit.note",
        "0|[1-9][0-9]{0,18}",
        "[0-9]{1,19}",
        _ROWS,
    ),
    Fault("decimals in any digits", "audit.note", "0|[1-9][0-9]{0,18}", r"\\d{1,19}", _ROWS),
    Fault(
        "vkey: skip is_valid_point",
        "audit.note",
        "if not is_valid_point(data[1:]):",
        "if False:",
        _VKEY,
    ),
    Fault(
        "vkey: its id is not compared",
        "audit.note",
        "if key.key_id.hex() != key_id:",
        "if False:",
        _VKEY,
    ),
    # Checkpoints
    Fault(
        "checkpoint: extension lines", "audit.checkpoint", 'if rest != [""]:', "if False:", _ROWS
    ),
    Fault(
        "checkpoint: of any origin",
        "audit.checkpoint",
        "if checkpoint.origin != origin:",
        "if False:",
        _ROWS,
    ),
    Fault(
        "checkpoint: a witness alone will do",
        "audit.checkpoint",
        "if all(signature.key != log for signature in note.verified):",
        "if False:",
        "audit.test_checkpoint:test_a_checkpoint_without_the_logs_signature_is_refused_whoever_cosigned",
    ),
    Fault(
        "checkpoint: a root of any length",
        "audit.checkpoint",
        "if len(checkpoint.root) != HASH_BYTES:",
        "if False:",
        _ROWS,
    ),
    Fault(
        "checkpoint: a cosignature of whoever",
        "audit.checkpoint",
        "if (signature.name, signature.key_id) != (witness.name, witness.key_id):",
        "if False:",
        "audit.test_checkpoint:test_a_bad_cosignature_line_is_refused",
    ),
    # Whole logs
    Fault(
        "log: the root is not compared",
        "audit.verify",
        "elif tree.root() != checkpoint.root:",
        "elif False:",
        _ROWS,
    ),
    Fault(
        "log: size not from the head",
        "audit.verify",
        "if tree.size < checkpoint.size:",
        "if False:",
        _ROWS,
    ),
    Fault(
        "log: positions are not compared",
        "audit.verify",
        "if seq != index:",
        "if False:",
        "audit.test_verify:test_an_entry_with_the_number_of_another_is_named_even_where_the_root_is_right",
    ),
    Fault(
        "log: closing heads are not compared",
        "audit.verify",
        "[(head, _other_closing) for head in closings] + ",
        "",
        _ROWS,
    ),
    Fault(
        "log: heads that others hold are not compared",
        "audit.verify",
        " + [(head, _forked) for head in seen]",
        "",
        _ROWS,
    ),
    Fault(
        "log: a rollback is none",
        "audit.verify",
        "if head.size > checkpoint.size\n",
        "if False\n",
        _ROWS,
    ),
    Fault(
        "log: `<=` for `<` at a clock set back",
        "audit.verify",
        "elif time < last_time:",
        "elif time <= last_time:",
        "audit.test_seeded_faults:test_two_entries_of_one_millisecond_are_not_flagged",
    ),
    # Log keys
    Fault(
        "keys: skip is_valid_point",
        "audit.log_keys",
        " or not is_valid_point(statement.key)",
        "",
        "audit.test_log_keys:test_a_statement_that_says_too_much_is_refused_and_not_made",
    ),
    Fault(
        "keys: a key of another use",
        "audit.log_keys",
        "statement.key in others or ",
        "",
        "audit.test_log_keys:test_a_statement_that_says_too_much_is_refused_and_not_made",
    ),
    Fault(
        "keys: another log's origin",
        "audit.log_keys",
        "if statement.origin != origin_of(signer.fingerprint, statement.incarnation):",
        "if False:",
        "audit.test_log_keys:test_a_statement_that_says_too_much_is_refused_and_not_made",
    ),
    Fault(
        "keys: a closing head by the key that comes next",
        "audit.log_keys",
        "key=lambda one: one.start) - 1",
        "key=lambda one: one.start - 1) - 1",
        _ROWS,
    ),
    Fault(
        "keys: today's key for every size",
        "audit.log_keys",
        "epochs[bisect.bisect_right(epochs, head.size, key=lambda one: one.start) - 1]",
        "epochs[-1]",
        _ROWS,
    ),
    Fault(
        "keys: the first key for every size",
        "audit.log_keys",
        "epochs[bisect.bisect_right(epochs, head.size, key=lambda one: one.start) - 1]",
        "epochs[0]",
        _ROWS,
    ),
    Fault(
        "keys: epochs may be skipped",
        "audit.log_keys",
        "if place == (self.incarnation, self.epoch + 1):",
        "if statement.incarnation == self.incarnation and statement.epoch > self.epoch:",
        _ROWS,
    ),
    Fault(
        "keys: a closing head that nobody signed",
        "audit.log_keys",
        "closing = self.open_head_untrusted(statement.previous, origin)",
        "closing = parse_checkpoint_untrusted(split_note_untrusted(statement.previous)[0])",
        _NEXT,
    ),
    Fault(
        "keys: an epoch closed before it began",
        "audit.log_keys",
        "if closing.size < max(newest.start, 1):",
        "if closing.size < 0:",
        "audit.test_log_keys:test_an_epoch_is_not_closed_by_the_head_of_an_earlier_one",
    ),
    Fault(
        "keys: a second statement for one epoch",
        "audit.log_keys",
        "if known == statement:",
        "if known:",
        "audit.test_log_keys:test_two_statements_for_one_epoch_are_an_equivocation",
    ),
    Fault(
        "keys: one key for two epochs",
        "audit.log_keys",
        "if any(statement.key == known.key for known in self._said):",
        "if False:",
        "audit.test_log_keys:test_a_key_is_used_for_one_epoch",
    ),
    Fault(
        "keys: an earlier incarnation after a later one",
        "audit.log_keys",
        "elif statement.incarnation > self.incarnation and not statement.epoch:",
        "elif not statement.epoch:",
        "audit.test_log_keys:test_incarnations_may_be_skipped_and_never_come_after",
    ),
    # Witnesses
    Fault(
        "witness: any old size",
        "audit.witness",
        "if request.old != size:",
        "if False:",
        _STATUS,
    ),
    Fault(
        "witness: an old size over the new one",
        "audit.witness",
        "if request.old > told.size:",
        "if False:",
        _STATUS,
    ),
    Fault(
        "witness: consistency is not verified",
        "audit.witness",
        "verify_consistency(held.size, told.size, held.root, told.root, request.proof)",
        "held.size",
        _ROWS,
    ),
    Fault(
        "witness: a proof from the empty tree",
        "audit.witness",
        "if request.proof:",
        "if False:",
        _STATUS,
    ),
    Fault(
        "witness: an empty tree of any root",
        "audit.witness",
        "if told.size == 0 and told.root != EMPTY_ROOT:",
        "if False:",
        "audit.test_witness:test_an_empty_head_has_the_root_of_nothing",
    ),
    # Quorum
    Fault(
        "quorum: one fewer is enough",
        "audit.quorum",
        "if len(counted) < quorum.threshold:",
        "if len(counted) < quorum.threshold - 1:",
        _ROWS,
    ),
    Fault(
        "quorum: `<=` for `<`",
        "audit.quorum",
        "if len(counted) < quorum.threshold:",
        "if len(counted) <= quorum.threshold:",
        _ROWS,
    ),
    Fault(
        "quorum: a witness counts by its name",
        "audit.quorum",
        "counted.setdefault(cosignature.key.public, cosignature)",
        "counted.setdefault(cosignature.key.name.encode(), cosignature)",
        "audit.test_quorum:test_a_key_under_two_names_is_one_witness",
    ),
    Fault(
        "quorum: of any age",
        "audit.quorum",
        "now - cosignature.time <= max_age",
        "now - cosignature.time",
        _ROWS,
    ),
    Fault(
        "quorum: of the future",
        "audit.quorum",
        "-COSIGNATURE_CLOCK_SLACK_MS <= now",
        "now",
        "audit.test_quorum:test_a_cosignature_counts_while_it_is_fresh",
    ),
    Fault(
        "quorum: a bad cosignature is passed over",
        "audit.quorum",
        'if error.code == "unsigned":',
        "if error:",
        _ROWS,
    ),
    # Evidence
    Fault(
        "evidence: the log's own root is a fork",
        "audit.equivocation",
        " or evidence.root == first.root",
        "",
        _FORK,
    ),
    Fault(
        "evidence: a fork needs no proof",
        "audit.equivocation",
        "verify_consistency(first.size, second.size, evidence.root, second.root, evidence.proof)",
        "first.size",
        _FORK,
    ),
    Fault(
        "evidence: statements of two epochs",
        "audit.equivocation",
        "shown = places[0] == places[1] and first != second",
        "shown = first != second",
        "audit.test_equivocation:test_two_statements_that_do_not_contradict_each_other_are_no_evidence",
    ),
    Fault(
        "evidence: one statement twice",
        "audit.equivocation",
        "places[0] == places[1] and first != second",
        "places[0] == places[1]",
        "audit.test_equivocation:test_two_statements_that_do_not_contradict_each_other_are_no_evidence",
    ),
    # Entries, commitments and what people are shown
    Fault(
        "commitment: without its salt",
        "audit.entry",
        "COMMIT_LOG_VALUE + salt + _field_name(field)",
        "COMMIT_LOG_VALUE + _field_name(field)",
        "audit.test_entry:test_t24a_a_commitment_opens",
    ),
    Fault(
        "commitment: without the byte between field and value",
        "audit.entry",
        'return name + b"\\x00"',
        "return name",
        "audit.test_entry:test_t24a_a_commitment_opens",
    ),
    Fault(
        "entry: a field twice",
        "audit.entry",
        "left >= right",
        "left > right",
        "audit.test_seeded_faults:test_an_entry_commits_to_a_field_once",
    ),
    Fault(
        "reconcile: one open of a holder answers for many",
        "audit.reconcile",
        "opened.pop(0)",
        "opened[0]",
        "audit.test_reconcile:test_every_open_is_matched_once_or_named_once",
    ),
    Fault(
        "receipts: beyond the end",
        "audit.reconcile",
        "if found != leaf:",
        "if found not in (leaf, None):",
        _ROWS,
    ),
    # Releases
    Fault(
        "release: its proof is not verified",
        "capability.opening",
        "verify_inclusion(released.index, checkpoint.size, leaf, released.proof, checkpoint.root)",
        "leaf",
        "capability.test_opening:test_guarantee_2_a_release_without_its_proof_is_refused",
    ),
    Fault(
        "release: an entry of something else",
        "capability.opening",
        '(entry.event, entry.nonce, entry.seq) != ("released", nonce.hex(), released.index)',
        "entry.seq != released.index",
        "capability.test_opening:test_guarantee_2_an_entry_of_something_else_is_refused",
    ),
    Fault(
        "release: no commitment check",
        "capability.opening",
        "if not equal(commitment, manifest.commit_issuer):",
        "if False:",
        "capability.test_opening:test_a_share_that_was_not_committed_to_is_refused",
    ),
    Fault(
        "terms: `<=` for `<` at their end",
        "capability.opening",
        "(now >= state.expires_at, Reason.EXPIRED)",
        "(now > state.expires_at, Reason.EXPIRED)",
        "capability.test_opening:test_guarantee_3_the_begin_counts_and_the_end_does_not",
    ),
    Fault(
        "certificate: skip is_valid_point",
        "identity",
        "not all(is_valid_point(key) for key in keys[:3])",
        "False",
        "test_identity:test_an_identity_key_of_mixed_order_is_refused_though_its_signature_verifies",
    ),
)


def play(fault: Fault | None, test: str) -> str:
    """Return ``failed`` where the test finds the fault, else ``passed``, or what is wrong."""
    for name in [name for name in sys.modules if name.split(".")[0] in FORGETTABLE]:
        if name != __name__:
            del sys.modules[name]
    try:
        if fault is not None:
            _seed(fault)
        module, _, function = test.partition(":")
        found = importlib.import_module(f"tests.protocol.{module}")
        for case in _cases(getattr(found, function)):
            case()
    except BROKEN as error:
        return f"broken: {type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException:  # pytest's own are no Exception
        return "failed"
    return "passed"


def _seed(fault: Fault) -> None:
    name = f"protocol.{fault.module}"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    parts = Path(spec.origin).read_text(encoding="utf-8").split(fault.old)
    if len(parts) <= fault.nth:
        raise ImportError(f"{fault.module} has no {fault.old!r}")
    source = fault.old.join(parts[: fault.nth]) + fault.new + fault.old.join(parts[fault.nth :])
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)


def _cases(test: Callable[..., object]) -> Iterator[Callable[[], object]]:
    """Yield the test once for each set of its parameters, as pytest does."""
    axes: list[list[dict[str, Any]]] = []
    for mark in getattr(test, "pytestmark", []):
        assert mark.name == "parametrize"
        names, values = mark.args[:2]
        names = [one.strip() for one in names.split(",")] if isinstance(names, str) else names
        axes.append(
            [
                dict(zip(names, (value,) if len(names) == 1 else value, strict=True))
                for value in values
            ]
        )
    for chosen in itertools.product(*axes):
        arguments = {key: value for part in chosen for key, value in part.items()}
        yield functools.partial(test, **arguments)


if __name__ == "__main__":
    settings.register_profile("faults", deadline=None, derandomize=True, database=None)
    settings.load_profile("faults")
    results = {fault.name: play(fault, fault.test) for fault in FAULTS}
    results |= {test: play(None, test) for test in sorted({fault.test for fault in FAULTS})}
    json.dump(results, sys.stdout)
