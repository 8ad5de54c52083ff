"""The system calls a worker may make, as a seccomp filter.

Belongs here: the list, and assembling it for the kernel.
Never here: any other wall.

Decoding is arithmetic in memory: a worker takes and gives bytes on one socket, gets and returns
memory, and runs threads. Those calls are allowed. A call that only an intruder makes ends the
process; any other fails with EPERM, since libraries try this and that and go on without.

A filter is a classic BPF program that sees the number of a call, the architecture and
the six arguments (linux/seccomp.h):

    number:4 architecture:4 instruction_pointer:8 argument:8 × 6

and an instruction of it is (linux/filter.h)

    code:2 jump_if_true:1 jump_if_false:1 k:4
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from node.imaging import kernel


class Numbers(NamedTuple):
    """What a call is called by the kernel; None where the architecture has no such call."""

    x86_64: int | None
    aarch64: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A call is allowed where an argument's low word, masked, has this value."""

    argument: int
    mask: int = 0xFFFF_FFFF
    value: int


ALLOWED: Final = {
    # The most frequent first: the kernel reads the program from its beginning.
    "futex": Numbers(202, 98),
    "recvfrom": Numbers(45, 207),
    "sendto": Numbers(44, 206),
    "brk": Numbers(12, 214),
    "munmap": Numbers(11, 215),
    "mremap": Numbers(25, 216),
    "madvise": Numbers(28, 233),
    "getrusage": Numbers(98, 165),
    # Threads: HEIC is decoded in one of its own.
    "set_robust_list": Numbers(273, 99),
    "rseq": Numbers(334, 293),
    "rt_sigprocmask": Numbers(14, 135),
    "exit": Numbers(60, 93),
    "gettid": Numbers(186, 178),
    "getpid": Numbers(39, 172),
    "sched_yield": Numbers(24, 124),
    "sched_getaffinity": Numbers(204, 123),
    # Time and chance, for what does not ask the vDSO.
    "clock_gettime": Numbers(228, 113),
    "clock_getres": Numbers(229, 114),
    "gettimeofday": Numbers(96, 169),
    "time": Numbers(201, None),
    "clock_nanosleep": Numbers(230, 115),
    "nanosleep": Numbers(35, 101),
    "getrandom": Numbers(318, 278),
    # A library's complaints, into /dev/null.
    "write": Numbers(1, 64),
    # Pillow asks for the working folder before it encodes into memory. It is always /.
    "getcwd": Numbers(79, 17),
    # Being stopped and going on, and the end.
    "rt_sigaction": Numbers(13, 134),
    "rt_sigreturn": Numbers(15, 139),
    "restart_syscall": Numbers(219, 128),
    "exit_group": Numbers(231, 94),
}
"""Allowed whatever their arguments."""

_PROT_EXEC: Final = 4
_OWN_THREAD: Final = 0x003D_0F00
"""CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID and CHILD_CLEARTID: what
starting a thread takes, and nothing that starts a process or a namespace."""
_CLONE_DETACHED: Final = 0x0040_0000
"""Without effect since Linux 2.6, and still set by musl."""
_OWN_PROCESS: Final = 0
_RLIMIT_CPU: Final = 0

CONDITIONAL: Final = {
    "mmap": (Numbers(9, 222), (Condition(argument=2, mask=_PROT_EXEC, value=0),)),
    "mprotect": (Numbers(10, 226), (Condition(argument=2, mask=_PROT_EXEC, value=0),)),
    "prlimit64": (
        Numbers(302, 261),
        (Condition(argument=0, value=_OWN_PROCESS), Condition(argument=1, value=_RLIMIT_CPU)),
    ),
}
"""Allowed where all conditions hold: no new code, no limit but the CPU time of each job."""

THREAD: Final = (
    Numbers(56, 220),
    (Condition(argument=0, mask=0xFFFF_FFFF ^ _CLONE_DETACHED, value=_OWN_THREAD),),
)
"""clone. Anything but a thread of one's own ends the process."""

UNKNOWN: Final = Numbers(435, 435)
"""clone3 keeps its flags where no filter sees them. Libraries then use clone."""

FATAL: Final = {
    # Running a program, or another process.
    "execve": Numbers(59, 221),
    "execveat": Numbers(322, 281),
    "fork": Numbers(57, None),
    "vfork": Numbers(58, None),
    # Reading, writing and ending other processes.
    "ptrace": Numbers(101, 117),
    "process_vm_readv": Numbers(310, 270),
    "process_vm_writev": Numbers(311, 271),
    "process_madvise": Numbers(440, 440),
    "kill": Numbers(62, 129),
    "tkill": Numbers(200, 130),
    "rt_sigqueueinfo": Numbers(129, 138),
    "rt_tgsigqueueinfo": Numbers(297, 240),
    "pidfd_open": Numbers(434, 434),
    "pidfd_getfd": Numbers(438, 438),
    "pidfd_send_signal": Numbers(424, 424),
    # Reaching somebody.
    "socket": Numbers(41, 198),
    "socketpair": Numbers(53, 199),
    "connect": Numbers(42, 203),
    "bind": Numbers(49, 200),
    "listen": Numbers(50, 201),
    "accept": Numbers(43, 202),
    "accept4": Numbers(288, 242),
    # Passing a descriptor on.
    "sendmsg": Numbers(46, 211),
    "recvmsg": Numbers(47, 212),
    # Parts of the kernel that are known for their holes.
    "io_uring_setup": Numbers(425, 425),
    "io_uring_enter": Numbers(426, 426),
    "io_uring_register": Numbers(427, 427),
    "bpf": Numbers(321, 280),
    "userfaultfd": Numbers(323, 282),
    "perf_event_open": Numbers(298, 241),
    "add_key": Numbers(248, 217),
    "request_key": Numbers(249, 218),
    "keyctl": Numbers(250, 219),
    # The machine itself.
    "mount": Numbers(165, 40),
    "umount2": Numbers(166, 39),
    "open_tree": Numbers(428, 428),
    "move_mount": Numbers(429, 429),
    "fsopen": Numbers(430, 430),
    "pivot_root": Numbers(155, 41),
    "chroot": Numbers(161, 51),
    "setns": Numbers(308, 268),
    "unshare": Numbers(272, 97),
    "init_module": Numbers(175, 105),
    "finit_module": Numbers(313, 273),
    "delete_module": Numbers(176, 106),
    "kexec_load": Numbers(246, 104),
    "kexec_file_load": Numbers(320, 294),
    "open_by_handle_at": Numbers(304, 265),
    # Files without a name, and memory that runs.
    "memfd_create": Numbers(319, 279),
    "memfd_secret": Numbers(447, 447),
    "pkey_mprotect": Numbers(329, 288),
    "personality": Numbers(135, 92),
}
"""Nothing that decodes pictures makes these calls, not even to see whether it may."""

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
DENY: Final = _ERRNO | errno.EPERM
NOT_THERE: Final = _ERRNO | errno.ENOSYS

AUDIT_ARCHITECTURES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""linux/audit.h"""

_X32: Final = 0x4000_0000
"""Calls of another ABI under the same architecture have this bit."""

_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_AT_LEAST: Final = 0x35
_AND: Final = 0x54
_RETURN: Final = 0x06

_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def supported() -> bool:
    """Say whether the kernel takes filters."""
    if not kernel.IS_LINUX:
        return False
    try:
        kernel.process_attribute(_PR_SET_SECCOMP, _MODE_FILTER, 0)
    except OSError as error:
        # A kernel with filters looks for the one that is not there.
        return error.errno == errno.EFAULT
    return False


def assemble(machine: str) -> bytes:
    """Return the filter for a machine of AUDIT_ARCHITECTURES."""
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 1, 0, AUDIT_ARCHITECTURES[machine]),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [(_JUMP_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, KILL_PROCESS)]

    def add(numbers: Numbers, *then: Instruction) -> None:
        number: int | None = numbers._asdict()[machine]
        if number is not None:
            program.extend([(_JUMP_IF_EQUAL, 0, len(then), number), *then])

    for numbers in ALLOWED.values():
        add(numbers, (_RETURN, 0, 0, ALLOW))
    for numbers, conditions in CONDITIONAL.values():
        add(numbers, *_where(conditions, otherwise=DENY))
    add(THREAD[0], *_where(THREAD[1], otherwise=KILL_PROCESS))
    add(UNKNOWN, (_RETURN, 0, 0, NOT_THERE))
    for numbers in FATAL.values():
        add(numbers, (_RETURN, 0, 0, KILL_PROCESS))
    program.append((_RETURN, 0, 0, DENY))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install(program: bytes) -> None:
    """Put this process under an assembled filter, for good; OSError. Needs no_new_privs."""
    instructions = ctypes.create_string_buffer(program)
    whole = _Program(len(program) // 8, ctypes.addressof(instructions))
    kernel.process_attribute(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(whole))


def _where(conditions: tuple[Condition, ...], *, otherwise: int) -> list[Instruction]:
    """Allow a call where all conditions hold."""
    steps: list[Instruction] = []
    for number, condition in enumerate(conditions):
        after = 3 * (len(conditions) - number - 1)
        steps += [
            # Both architectures are little-endian: the low word comes first.
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * condition.argument),
            (_AND, 0, 0, condition.mask),
            (_JUMP_IF_EQUAL, 0, after + 1, condition.value),
        ]
    return [*steps, (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, otherwise)]
