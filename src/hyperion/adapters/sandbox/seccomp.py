"""seccomp: a filter that refuses system calls which no model needs (man 2 seccomp; kernel.org, seccomp_filter.rst).

A list of what is refused, with EPERM, not of what is allowed: the engine, Python and the C library may change which
calls they make. Refused are the calls that reach beyond the process (sockets, programs, other processes' memory and
signals, mounts, keys), those that change the rights of files, which Landlock does not look at, and entrances to
the kernel through which most holes were found (bpf, io_uring, userfaultfd, perf, namespaces).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables below, and AUDIT_ARCH of linux/audit.h."""
_X32 = 0x40000000
"""Marks the calls of x86_64's third interface, whose numbers the tables do not speak of."""

Numbers = tuple[int | None, int | None]
"""Of a call on x86_64 and on aarch64; None where it does not exist."""

_ALWAYS: Mapping[str, Numbers] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "setpriority": (141, 140), "ioprio_set": (251, 30),
    # memory and messages shared with other processes
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192),
    "semctl": (66, 191), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # the kernel's wider entrances
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "unshare": (272, 97), "setns": (308, 268), "personality": (135, 92),
    "modify_ldt": (154, None), "iopl": (172, None), "ioperm": (173, None), "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "lookup_dcookie": (212, 18),
    # the machine
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428),
    "move_mount": (429, 429), "mount_setattr": (442, 442), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58),
    # rights, owners, times and attributes of files
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "mknod": (133, None), "mknodat": (259, 33),
    # who the process is
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
}  # fmt: skip
_PROGRAMS: Mapping[str, Numbers] = {
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
_NETWORK: Mapping[str, Numbers] = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "sendmmsg": (307, 269),
}  # fmt: skip
_CLONE, _CLONE3, _KILL, _TGKILL = (56, 220), (435, 435), (62, 129), (234, 131)
_SOCKETPAIR, _SENDTO, _SENDMSG, _PRLIMIT, _IOCTL = (53, 199), (44, 206), (46, 211), (302, 261), (16, 29)
_SECCOMP = (317, 277)

_CLONE_NAMESPACES = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_CLONE_THREAD = 0x10000
_SOCKET_TYPE, _STREAM = 0xF, 1
"""A pair of datagram sockets could send to any socket that has a path; a stream only to its other end."""
_FAST_OPEN = 0x20000000
"""MSG_FASTOPEN connects while it sends."""
_TIOCSTI = 0x5412
"""Types into a terminal as if its user did."""

# Instructions of classic BPF (linux/bpf_common.h, linux/seccomp.h).
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_MODE_FILTER, _ALL_THREADS = 1, 1


class SeccompUnavailableError(Exception):
    """Why this kernel or architecture does not do it."""


@dataclass(frozen=True, slots=True)
class _Condition:
    """A call that is judged by the low 32 bits of an argument.

    Attributes:
        numbers: Of the call.
        argument: Its position.
        mask: Which bits count.
        values: What they are compared with.
        allowed: Whether these values are the only ones that pass, or the only ones that do not.
    """

    numbers: Numbers
    argument: int
    mask: int
    values: tuple[int, ...]
    allowed: bool


def restrict(*, network: bool, processes: bool) -> None:
    """Lay the filter upon all threads of this process and upon what they start.

    Args:
        network: Whether sockets may be made and connected.
        processes: Whether programs may be started, and signals sent to other processes.

    Raises:
        SeccompUnavailableError: Another architecture, or a kernel without seccomp.
    """
    _install(b"".join(_program(network=network, processes=processes)))


def refuse_io_uring() -> None:
    """Lay a filter that refuses nothing but io_uring, before an event loop makes a ring that ``restrict`` would break.

    Raises:
        SeccompUnavailableError: As ``restrict``.
    """
    column, audited = _architecture()
    refused = [_ALWAYS[name][column] or 0 for name in ("io_uring_setup", "io_uring_enter", "io_uring_register")]
    program = [_instruction(_LOAD, _ARCHITECTURE_AT), _instruction(_EQUAL, audited, if_true=1), _refusal()]
    program.append(_instruction(_LOAD, _NUMBER_AT))
    for number in refused:
        program += [_instruction(_EQUAL, number, if_false=1), _refusal(errno.ENOSYS)]
    _install(b"".join([*program, _instruction(_RETURN, _ALLOW)]))


def _install(instructions: bytes) -> None:
    column, _ = _architecture()
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    filter_program = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP[column]
    failed = libc.syscall(ctypes.c_long(number), _MODE_FILTER, _ALL_THREADS, filter_program)
    if failed:
        raise SeccompUnavailableError(f"the kernel refused the filter: {os.strerror(ctypes.get_errno())}")


def require() -> None:
    """Demand that a filter could be laid here.

    Raises:
        SeccompUnavailableError: It could not.
    """
    column, _ = _architecture()
    action = struct.pack("=I", _ERRNO)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(_SECCOMP[column]), 2, 0, action):  # SECCOMP_GET_ACTION_AVAIL
        raise SeccompUnavailableError(f"this kernel has no seccomp filters ({os.strerror(ctypes.get_errno())})")


def _architecture() -> tuple[int, int]:
    machine = platform.machine()
    found = _ARCHITECTURES.get(machine)
    if found is None or struct.calcsize("P") != 8:
        raise SeccompUnavailableError(f"the numbers of system calls are not known for {machine}")
    return found


def _program(*, network: bool, processes: bool) -> Iterator[bytes]:
    """The filter; a call of another architecture's interface is refused whatever it is."""
    column, audited = _architecture()
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_EQUAL, audited, if_true=1)
    yield _refusal()
    yield _instruction(_LOAD, _NUMBER_AT)
    if column == 0:
        yield _instruction(_AT_LEAST, _X32, if_false=1)
        yield _refusal()
    yield _instruction(_EQUAL, _CLONE3[column], if_false=1)
    yield _refusal(errno.ENOSYS)  # the C library then falls back to clone, whose flags can be looked at
    tables = [_ALWAYS, *([] if processes else [_PROGRAMS]), *([] if network else [_NETWORK])]
    for numbers in (numbers for table in tables for numbers in table.values()):
        if numbers[column] is not None:
            yield _instruction(_EQUAL, numbers[column] or 0, if_false=1)
            yield _refusal()
    for condition in _conditions(network=network, processes=processes):
        yield from _conditional(condition, column)
    yield _instruction(_RETURN, _ALLOW)


def _conditions(*, network: bool, processes: bool) -> Iterator[_Condition]:
    own = os.getpid()
    yield _Condition(_CLONE, 0, _CLONE_NAMESPACES, (0,), allowed=True)
    yield _Condition(_PRLIMIT, 0, 0xFFFFFFFF, (0, own), allowed=True)
    yield _Condition(_IOCTL, 1, 0xFFFFFFFF, (_TIOCSTI,), allowed=False)
    if not processes:
        yield _Condition(_CLONE, 0, _CLONE_THREAD, (_CLONE_THREAD,), allowed=True)
        yield _Condition(_KILL, 0, 0xFFFFFFFF, (own,), allowed=True)
        yield _Condition(_TGKILL, 0, 0xFFFFFFFF, (own,), allowed=True)
    if not network:
        yield _Condition(_SOCKETPAIR, 1, _SOCKET_TYPE, (_STREAM,), allowed=True)
        yield _Condition(_SENDTO, 3, _FAST_OPEN, (0,), allowed=True)
        yield _Condition(_SENDMSG, 2, _FAST_OPEN, (0,), allowed=True)


def _conditional(condition: _Condition, column: int) -> Iterator[bytes]:
    """Where the number is the call's: load the argument, compare, refuse or go on with the number loaded again."""
    count = len(condition.values)
    yield _instruction(_EQUAL, condition.numbers[column] or 0, if_false=count + 4)
    yield _instruction(_LOAD, _ARGUMENTS_AT + 8 * condition.argument)
    yield _instruction(_AND, condition.mask)
    for position, value in enumerate(condition.values):
        last = position == count - 1
        match = count - position  # past the refusal
        if condition.allowed:
            yield _instruction(_EQUAL, value, if_true=match)
        else:
            yield _instruction(_EQUAL, value, if_true=match - 1, if_false=1 if last else 0)
    yield _refusal()
    yield _instruction(_LOAD, _NUMBER_AT)


def _refusal(code: int = errno.EPERM) -> bytes:
    return _instruction(_RETURN, _ERRNO | code)


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """``struct sock_filter``; jumps count the instructions to leap over."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
