"""A wall around the address space: an allocation beyond it fails, so one oversized request does and not the worker."""

from __future__ import annotations

import resource
from pathlib import Path

from hyperion.domain.confinement import Protection

FACTOR = 3
LEAST_ROOM_BYTES = 2 * 1024**3
"""Threads that start later reserve space for stack and heap, far more than they use."""
_MIB = 1024**2


def wall_in(limit_mb: int | None, own: Path = Path("/proc/self")) -> Protection:
    """Lay it upon this process, which is loaded and warm; it cannot be taken back.

    Args:
        limit_mb: Where it stands, in MiB; None for three times what this process ever had mapped, and 2 GiB more at
            least.
        own: Where the kernel says how much that was.
    """
    try:
        if limit_mb is None and "/dev/nvidia" in (own / "maps").read_text(errors="replace"):
            detail = "none: the driver of a GPU maps far more than there is memory"
            return Protection(name="address_space", in_force=False, detail=detail)
        peak = _peak_bytes(own / "status")
    except (OSError, ValueError) as error:
        return Protection(name="address_space", in_force=False, detail=f"none: what is mapped is not known: {error}")
    limit = limit_mb * _MIB if limit_mb is not None else max(FACTOR * peak, peak + LEAST_ROOM_BYTES)
    ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = limit if ceiling == resource.RLIM_INFINITY else min(limit, ceiling)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    detail = f"at most {limit // _MIB} MiB mapped (RLIMIT_AS); {peak // _MIB} MiB were when it was proven"
    return Protection(name="address_space", in_force=True, detail=detail)


def _peak_bytes(status: Path) -> int:
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmPeak":
            return int(value.split()[0]) * 1024
    raise ValueError("the kernel says no VmPeak")
