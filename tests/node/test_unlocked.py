"""An unlocked node as a whole: addresses as they are written, told and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import UsageError
from node.services.context import Context
from node.services.events import Events
from node.system import system_entropy
from node.unlocked import Unlocked, split_address
from node.vault.vault import Vault
from tests.node.services.conditions import alone
from tests.node.services.team import PASSPHRASE, Person


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("host.example:65535", ("host.example", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("::1:80", ("::1", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:65536", "host:-1", "host:٨٠", "host:8o", "host: 80"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        split_address(text)
    assert "HOST:PORT" in refused.value.hint


async def _start(person: Person, listen: str | None) -> Unlocked:
    vault = await Vault.open(
        person.home, passphrase=PASSPHRASE, clock=person.clock, entropy=system_entropy
    )
    context = Context(
        vault=vault,
        imaging=person.imaging,
        clock=person.clock,
        entropy=system_entropy,
        events=Events(),
    )
    return await Unlocked.start(context, listen=listen)


async def test_a_port_is_chosen_once_and_a_wildcard_is_never_told_to_others(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as alice:
        await alice.node.close()

        alice.node = await _start(alice, "0.0.0.0:0")
        ((host, port),) = alice.node.peering.listening
        told = alice.node.addresses()
        await alice.node.close()
        # Said once, kept for every start without a word.
        alice.node = await _start(alice, None)

        assert alice.node.peering.listening == [(host, port)]
        assert told
        assert {one for _, one in told} == {port}
        assert not {one for one, _ in told} & {"0.0.0.0", "::"}


async def test_a_node_that_listens_on_ipv6_starts_again_where_it_was(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.node.close()
        alice.node = await _start(alice, "[::1]:0")
        listening = alice.node.peering.listening
        await alice.node.close()

        alice.node = await _start(alice, None)

        assert alice.node.peering.listening == listening
        assert listening[0][0] == "::1"


async def test_closing_twice_and_during_work_is_harmless(tmp_path: Path) -> None:
    async with alone(tmp_path) as alice:
        await alice.import_pictures(2)
        await alice.node.close()
        await alice.node.close()
        await alice.restart()
        assert len(await alice.node.library.images(query="", album=None, tag=None, limit=9)) == 2
