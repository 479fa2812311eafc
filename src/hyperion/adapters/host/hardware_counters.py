"""Hardware counters of processes, by perf_event_open (man 2 perf_event_open); counts are read, never estimated."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

COUNTERS = ("cycles", "instructions", "cache_references", "cache_misses")
_HARDWARE = 0
_EVENTS = {name: (_HARDWARE, event) for event, name in enumerate(COUNTERS)}
_SYSCALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
_ENABLE, _DISABLE = 0x2400, 0x2401
_FLAGS = 0b1 | 0b10 | 1 << 5 | 1 << 6  # disabled, inherit, exclude_kernel, exclude_hv
_READ_FORMAT = 0b11  # total_time_enabled, total_time_running
_CLOSE_ON_EXEC = 8


class HardwareCounters:
    """Counters of some threads, off until ``start``.

    Attributes:
        unavailable: Why nothing can be counted, or None.
    """

    def __init__(self, threads: Iterable[int] = (0,)) -> None:
        """Open the counters of these kernel threads (0: the caller and whatever threads it starts later)."""
        self._descriptors: dict[str, list[int]] = {name: [] for name in COUNTERS}
        self.unavailable: str | None = None
        number = _SYSCALLS.get(platform.machine())
        if number is None:
            self.unavailable = f"perf_event_open is not known for {platform.machine()}"
            return
        for thread in threads:
            self.unavailable = self._open(number, thread)
            if self.unavailable is not None:
                return
        if not any(self._descriptors.values()):
            self.unavailable = "the processes are gone"

    def start(self) -> None:
        self._control(_ENABLE)

    def stop(self) -> None:
        self._control(_DISABLE)

    def read(self) -> dict[str, int | None]:
        """Counts so far; None for all where a counter did not run all the time (then a count would be a guess)."""
        if self.unavailable is not None:
            return dict.fromkeys(COUNTERS)
        counts: dict[str, int | None] = {}
        for name, descriptors in self._descriptors.items():
            total = 0
            for descriptor in descriptors:
                count, enabled, running = struct.unpack("<QQQ", os.read(descriptor, 24))
                if running < enabled:
                    self.unavailable = "the counters had to share the hardware and missed part of the time"
                    return dict.fromkeys(COUNTERS)
                total += count
            counts[name] = total
        return counts

    def close(self) -> None:
        for descriptors in self._descriptors.values():
            for descriptor in descriptors:
                os.close(descriptor)
            descriptors.clear()

    def _open(self, number: int, thread: int) -> str | None:
        """Open all counters of a thread; the reason where they cannot be had, None also for a thread that is gone."""
        libc = ctypes.CDLL(None, use_errno=True)
        for name, (kind, event) in _EVENTS.items():
            attributes = struct.pack("<IIQQQQQ", kind, 112, event, 0, 0, _READ_FORMAT, _FLAGS).ljust(112, b"\0")
            descriptor = libc.syscall(ctypes.c_long(number), attributes, thread, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
            if descriptor >= 0:
                self._descriptors[name].append(descriptor)
            elif (code := ctypes.get_errno()) != errno.ESRCH:
                self.close()
                return _reason(code)
        return None

    def _control(self, request: int) -> None:
        for descriptors in self._descriptors.values():
            for descriptor in descriptors:
                fcntl.ioctl(descriptor, request, 0)


def threads_of(pids: Iterable[int]) -> list[int]:
    """Kernel threads of these processes; those of a process that is gone are left out."""
    threads: list[int] = []
    for pid in pids:
        try:
            threads.extend(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
    return threads


def _reason(code: int) -> str:
    if code in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return f"this machine has no hardware counters (perf_event_open: {errno.errorcode[code]})"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"reading hardware counters is not allowed (perf_event_open: {errno.errorcode[code]}; "
            "see /proc/sys/kernel/perf_event_paranoid)"
        )
    return f"perf_event_open: {errno.errorcode.get(code, str(code))}"
