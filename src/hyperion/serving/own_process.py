"""What a worker knows of its own process (man 5 proc); None where there is no /proc."""

from __future__ import annotations

import os
from pathlib import Path

_STARTED_FIELD = 22
"""Of /proc/PID/stat; the first two are the pid and the name, which may hold anything and ends with the last ``)``."""


def started_ticks() -> int | None:
    """When this process was started, in the kernel's ticks since boot."""
    try:
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[_STARTED_FIELD - 3])


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM, shared pages included."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
