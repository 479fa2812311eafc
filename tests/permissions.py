"""Permissions that hold: root, as which tests may run, is let through them by two capabilities, which are put aside."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 (linux/capability.h)
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def permissions_hold() -> Iterator[None]:
    """Let this thread read and write only what the permissions of files and folders allow their owner."""
    header, sets = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    _ask("capget", header, sets)
    effective = sets[0]
    sets[0] &= ~_OVERRIDES
    _ask("capset", header, sets)
    try:
        yield
    finally:
        sets[0] = effective
        _ask("capset", header, sets)


def _ask(name: str, header: ctypes.Array[ctypes.c_uint32], sets: ctypes.Array[ctypes.c_uint32]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(header, sets) != 0:
        raise OSError(ctypes.get_errno(), name)
