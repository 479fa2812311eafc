"""CPU time and start of process trees, from /proc."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of these processes, in steps of 10 ms."""
    fields = [_stat(pid) for pid in pids]
    return sum(int(found[11]) + int(found[12]) for found in fields) / _TICKS_PER_S


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    own = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [pid, *(below for child in own for below in tree(child))]


def started_at_s(pid: int) -> float:
    """When a process began, in seconds since boot."""
    return int(_stat(pid)[19]) / _TICKS_PER_S


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
