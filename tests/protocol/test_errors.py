"""The tree of errors: who is at fault, what a code is, and that the drawing is true."""

from __future__ import annotations

import re

import pytest

from protocol import errors
from protocol.errors import LocalError, Reason, Refused, RemoteError, SafelightError

EVERY = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, SafelightError)
]


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^    ((?:[│├└ ][ ─]{3})*)(\w+)(?:  |$)", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "Exception"

    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in EVERY}


def test_an_error_is_local_remote_or_a_refusal_and_never_two_of_them() -> None:
    families = (LocalError, RemoteError, Refused)
    for kind in EVERY:
        if kind is not SafelightError:
            assert sum(issubclass(kind, family) for family in families) == 1


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in EVERY if kind is not Refused]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)
    assert not set(codes) & set(Reason)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind is not Refused])
def test_an_error_says_its_message_or_else_its_code(kind: type[SafelightError]) -> None:
    assert str(kind()) == kind.code
    assert str(kind("words")) == "words"
    assert str(kind(code="other")) == "other"
    assert kind(code="other").code == "other"
    assert kind().code == kind.code
    assert kind().hint == ""
    assert kind("words", hint="do this").hint == "do this"


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_carries_its_one_reason_as_its_code(reason: Reason) -> None:
    refused = Refused(reason)

    assert refused.reason is reason
    assert refused.code == reason.value
    assert str(refused) == reason.value
    assert str(Refused(reason, "words", hint="wait")) == "words"
    assert Refused(reason, "words", hint="wait").hint == "wait"


def test_the_reasons_of_a_refusal_are_the_wire_words() -> None:
    denials = "expired revoked exhausted not_yet not_ready not_member policy factor clock unknown"

    assert [str(reason) for reason in Reason] == [*denials.split(), "full", "busy"]
