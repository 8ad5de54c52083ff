"""The examples of the documents are what the code makes."""

from __future__ import annotations

import pytest

from tests.protocol.examples import encoding_examples, identity_examples, sealed_blob_examples
from tests.protocol.spec_examples import printed


@pytest.mark.parametrize(
    ("document", "examples"),
    [
        ("identity.md", identity_examples()),
        ("sealed-blob.md", sealed_blob_examples()),
        ("encoding.md", encoding_examples()),
    ],
    ids=["identity", "sealed blob", "encoding"],
)
def test_a_document_shows_what_the_code_makes(document: str, examples: dict[str, str]) -> None:
    assert examples == printed(document)
