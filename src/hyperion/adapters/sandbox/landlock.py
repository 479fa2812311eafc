"""Landlock: the kernel's rules on files, TCP and signals that a process lays upon itself (man 7 landlock).

Rules hold for the calling thread and for what it starts from then on, need no privilege and cannot be taken back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# The same on every architecture (asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
"""Rights that a rule on something other than a folder may name; others make the kernel refuse it."""
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, _REFER), (3, _TRUNCATE), (5, 1 << 15))
"""Rights by the version that brought them; the last is ioctl on devices."""
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6


class LandlockUnavailableError(Exception):
    """Why this kernel does not do it."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """What may be touched.

    Attributes:
        readable: Files and folders that may be read, with all below them.
        writable: Files and folders that may be read and changed.
        executable: Whether what is readable may be executed too.
        network: Whether TCP is left alone.
    """

    readable: tuple[Path, ...]
    writable: tuple[Path, ...] = ()
    executable: bool = False
    network: bool = False


def version() -> int:
    """The version of Landlock's interface that the kernel has.

    Raises:
        LandlockUnavailableError: It has none.
    """
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise LandlockUnavailableError(
                "Landlock is switched off in this kernel (boot with lsm=landlock,…)"
            ) from error
        raise LandlockUnavailableError(
            f"this kernel has no Landlock, which came with Linux 5.13 ({error.strerror})"
        ) from error


def restrict(rules: FileRules) -> int:
    """Lay the rules upon the calling thread; returns the version that they were made with.

    No file outside the rules can be opened, made, renamed or removed from then on; what is open already stays so.

    Raises:
        LandlockUnavailableError: The kernel has no Landlock, or refuses.
    """
    known = version()
    handled = 0
    for since, rights in _FILE_RIGHTS:
        handled |= rights if known >= since else 0
    try:
        ruleset = _call(_CREATE_RULESET, *_attributes(known, handled, network=rules.network), 0)
        try:
            reading = _READ | (_EXECUTE if rules.executable else 0)
            _allow(ruleset, rules.readable, reading & handled)
            _allow(ruleset, rules.writable, (_READ | _WRITE) & handled)
            _call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise LandlockUnavailableError(f"the kernel refused the rules of Landlock: {error.strerror}") from error
    return known


def describe(known: int, *, network: bool) -> str:
    """What rules of this version hold back."""
    held = ["files outside its own"]
    if known >= _NETWORK_SINCE and not network:
        held.append("TCP connections")
    if known >= _SCOPES_SINCE:
        held.append("abstract sockets and signals to other processes")
    return f"Landlock, version {known}: {', '.join(held)}"


def _attributes(known: int, handled: int, *, network: bool) -> tuple[bytes, ctypes.c_size_t]:
    """``struct landlock_ruleset_attr`` as far as this version knows it, and its size."""
    fields = [handled]
    if known >= _NETWORK_SINCE:
        fields.append(0 if network else _BIND_AND_CONNECT_TCP)
    if known >= _SCOPES_SINCE:
        fields.append(_ABSTRACT_SOCKETS_AND_SIGNALS)
    packed = struct.pack(f"={len(fields)}Q", *fields)
    return packed, ctypes.c_size_t(len(packed))


def _allow(ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # nothing is there to be allowed
        try:
            allowed = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & _OF_A_FILE
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, place), 0)
        finally:
            os.close(place)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
