"""The filter of system calls, run on a small machine of our own: both architectures, no kernel."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from node.imaging.seccomp import (
    ALLOW,
    ALLOWED,
    AUDIT_ARCHITECTURES,
    CONDITIONAL,
    DENY,
    FATAL,
    KILL_PROCESS,
    NOT_THERE,
    THREAD,
    UNKNOWN,
    Numbers,
    assemble,
)

MACHINES = tuple(AUDIT_ARCHITECTURES)
THREAD_FLAGS = 0x3D0F00
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def decided(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what a filter says to a call: classic BPF, as far as the filter uses it."""
    words = struct.pack(
        "<IIQ6Q",
        number,
        AUDIT_ARCHITECTURES[machine] if architecture is None else architecture,
        0,
        *(*arguments, 0, 0, 0, 0, 0, 0)[:6],
    )
    program = list(struct.iter_unpack("=HBBI", assemble(machine)))
    accumulator = at = 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", words, k)
            case 0x54:
                accumulator &= k
            case 0x15:
                at += yes if accumulator == k else no
            case 0x35:
                at += yes if accumulator >= k else no
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(code)


def number_of(machine: str, numbers: Numbers) -> int | None:
    """Return the number of a call on a machine."""
    number: int | None = numbers._asdict()[machine]
    return number


def of(machine: str, calls: dict[str, Numbers]) -> list[int]:
    """Return the numbers of calls that a machine has."""
    return [number for one in calls.values() if (number := number_of(machine, one)) is not None]


EVERY = {
    **ALLOWED,
    **{name: numbers for name, (numbers, _) in CONDITIONAL.items()},
    "clone": THREAD[0],
    "clone3": UNKNOWN,
    **FATAL,
}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_is_decided_as_the_list_says(machine: str) -> None:
    assert {decided(machine, number) for number in of(machine, ALLOWED)} == {ALLOW}
    assert {decided(machine, number) for number in of(machine, FATAL)} == {KILL_PROCESS}
    known = of(machine, EVERY)
    others = set(range(600)) - set(known)
    assert {decided(machine, number) for number in others} == {DENY}
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_thread_is_allowed_and_a_process_is_not(machine: str) -> None:
    clone = number_of(machine, THREAD[0])
    assert clone is not None

    assert decided(machine, clone, THREAD_FLAGS) == ALLOW
    assert decided(machine, clone, THREAD_FLAGS | 0x400000) == ALLOW  # as musl has it
    for bit in range(32):
        if 1 << bit != 0x400000:
            assert decided(machine, clone, THREAD_FLAGS ^ 1 << bit) == KILL_PROCESS
    assert decided(machine, clone, 17) == KILL_PROCESS
    assert decided(machine, 435) == NOT_THERE


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["mmap", "mprotect"])
def test_memory_is_given_and_none_of_it_runs(machine: str, name: str) -> None:
    number = number_of(machine, CONDITIONAL[name][0])
    assert number is not None

    for protection in range(4):
        assert decided(machine, number, 0, 4096, protection) == ALLOW
        assert decided(machine, number, 0, 4096, protection | 4) == DENY


@pytest.mark.parametrize("machine", MACHINES)
def test_the_only_limit_that_changes_is_the_cpu_time_of_the_process_itself(machine: str) -> None:
    number = number_of(machine, CONDITIONAL["prlimit64"][0])
    assert number is not None

    assert decided(machine, number, 0, 0, 1, 1) == ALLOW
    assert decided(machine, number, 1, 0, 1, 1) == DENY
    assert {decided(machine, number, 0, limit, 1, 1) for limit in range(1, 17)} == {DENY}


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    for architecture in (0, 0x40000003, 0x40000028, *AUDIT_ARCHITECTURES.values()):
        if architecture != AUDIT_ARCHITECTURES[machine]:
            assert decided(machine, 39, architecture=architecture) == KILL_PROCESS
    assert decided("x86_64", 0x40000000 | 39) == KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    text = HEADERS[machine].read_text()
    found = {
        name: int(number)
        for name, number in re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", text, re.MULTILINE)
    }
    known = {name: number_of(machine, numbers) for name, numbers in EVERY.items()}

    # Headers may be older than a call.
    assert {name: found[name] for name in known if name in found} == {
        name: number for name, number in known.items() if name in found
    }
    assert {name for name in known if name not in found} <= {
        *(name for name, number in known.items() if number is None),
        *("memfd_secret", "process_madvise"),
    }
