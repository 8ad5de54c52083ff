"""Landlock: no files, no TCP, and no process outside, whatever the file permissions say.

Belongs here: giving up all that the running kernel's Landlock can take away.
Never here: exceptions. A worker needs none.

The layout of the one structure, linux/landlock.h:

    handled_access_fs:8 handled_access_net:8 scoped:8

A kernel that knows fewer fields takes a shorter one.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from node.imaging import kernel

FILES: Final = 1
"""The first ABI at all: files and folders."""
NETWORK: Final = 4
"""The first ABI that denies TCP."""
SIGNALS: Final = 6
"""The first ABI that denies signals and abstract sockets of processes outside."""

# The numbers are the same on every architecture.
_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1

_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights over files each ABI knows, where it knows more than the one before."""
_TCP: Final = 0b11
"""Bind, connect."""
_SCOPES: Final = 0b11
"""Abstract Unix sockets, signals."""


def version() -> int:
    """Return the kernel's ABI, 0 where it has no Landlock or does not use it."""
    if not kernel.IS_LINUX:
        return 0
    try:
        return kernel.system_call(_CREATE_RULESET, 0, 0, _ASK_VERSION)
    except OSError:
        return 0


def ruleset(abi: int) -> bytes:
    """Return the structure that denies all that an ABI can deny."""
    rights = max(count for known, count in _FILE_RIGHTS.items() if known <= abi)
    fields = [(1 << rights) - 1]
    if abi >= NETWORK:
        fields.append(_TCP)
    if abi >= SIGNALS:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def deny_everything(abi: int) -> None:
    """Give up what an ABI can take, for good; OSError. Needs no_new_privs and one descriptor."""
    attributes = ctypes.create_string_buffer(ruleset(abi))
    length = len(attributes) - 1
    descriptor = kernel.system_call(_CREATE_RULESET, ctypes.addressof(attributes), length, 0)
    try:
        kernel.system_call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
