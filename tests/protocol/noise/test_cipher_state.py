from __future__ import annotations

import pytest

from protocol.errors import AuthenticationError, LocalError, LocalProtocolError
from protocol.noise.cipher_state import RESERVED_NONCE, CipherState

KEY = bytes(range(32))


def _pair() -> tuple[CipherState, CipherState]:
    return CipherState(KEY), CipherState(KEY)


def test_without_a_key_messages_pass_unchanged_and_uncounted() -> None:
    cipher = CipherState()

    assert not cipher.has_key()
    assert cipher.encrypt_with_ad(b"ad", b"clear") == b"clear"
    assert cipher.decrypt_with_ad(b"ad", b"clear") == b"clear"
    assert cipher.n == 0


def test_messages_open_in_order_and_only_in_order() -> None:
    sender, receiver = _pair()
    first, second = sender.encrypt_with_ad(b"", b"1"), sender.encrypt_with_ad(b"", b"2")

    with pytest.raises(AuthenticationError):
        receiver.decrypt_with_ad(b"", second)
    assert receiver.decrypt_with_ad(b"", first) == b"1"
    with pytest.raises(AuthenticationError):
        receiver.decrypt_with_ad(b"", first)
    assert receiver.decrypt_with_ad(b"", second) == b"2"


def test_a_message_that_does_not_verify_leaves_n_unchanged() -> None:
    sender, receiver = _pair()
    good = sender.encrypt_with_ad(b"ad", b"text")

    for bad in (b"", good[:-1], good + b"\x00", bytes([good[0] ^ 1]) + good[1:]):
        with pytest.raises(AuthenticationError):
            receiver.decrypt_with_ad(b"ad", bad)
    with pytest.raises(AuthenticationError):
        receiver.decrypt_with_ad(b"other ad", good)

    assert receiver.n == 0
    assert receiver.decrypt_with_ad(b"ad", good) == b"text"
    assert receiver.n == 1


def test_the_last_nonce_is_reserved_and_the_end_is_a_hard_error() -> None:
    sender, receiver = _pair()
    sender.n = receiver.n = RESERVED_NONCE - 1

    assert receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"last")) == b"last"
    for _attempt in range(2):
        with pytest.raises(LocalError, match="used up"):
            sender.encrypt_with_ad(b"", b"one more")
        with pytest.raises(LocalError, match="used up"):
            receiver.decrypt_with_ad(b"", bytes(32))
    assert RESERVED_NONCE == sender.n == receiver.n


def test_rekey_changes_the_key_and_keeps_n() -> None:
    sender, receiver = _pair()
    receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"before"))
    sender.rekey()
    ciphertext = sender.encrypt_with_ad(b"", b"after")

    with pytest.raises(AuthenticationError):
        receiver.decrypt_with_ad(b"", ciphertext)
    receiver.rekey()
    assert receiver.decrypt_with_ad(b"", ciphertext) == b"after"
    assert sender.n == 2


def test_a_state_without_a_key_cannot_rekey() -> None:
    with pytest.raises(LocalProtocolError):
        CipherState().rekey()


def test_no_repr_shows_a_key() -> None:
    assert repr(CipherState(KEY)) == "CipherState(n=0)"
