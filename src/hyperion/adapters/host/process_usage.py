"""What processes took so far, as /proc tells it (man 5 proc)."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.ports import ProcessUsage

KIB = 1024
_TICKS = os.sysconf("SC_CLK_TCK")


def usage_of(pid: int, *, proportional: bool = True) -> ProcessUsage | None:
    """What process ``pid`` took so far, None where it is gone; see ports.HostFacts."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = _stat_fields(pid)
        status = _sizes(folder / "status")
    except OSError:
        return None
    io = _numbers(folder / "io")
    return ProcessUsage(
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        resident_bytes=status.get("VmRSS", 0),
        proportional_bytes=_sizes_or_none(folder / "smaps_rollup").get("Pss") if proportional else None,
        read_bytes=io.get("read_bytes"),
        written_bytes=io.get("write_bytes"),
    )


def start_ticks(pid: int) -> int | None:
    """When the process was started, in clock ticks since boot; None where it is gone, or there is no /proc.

    Together with the pid this names a process for good: a pid alone is given out again.
    """
    try:
        return int(_stat_fields(pid)[19])
    except OSError:
        return None


def is_stopped(pid: int) -> bool:
    """Whether a signal (SIGSTOP, SIGTSTP) stopped it; a process that is traced is not meant."""
    try:
        return _stat_fields(pid)[0] == "T"
    except OSError:
        return False


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return _sizes(Path("/proc/self/status")).get("VmRSS", 0)


def peak_resident_bytes() -> int:
    """The kernel's high-water mark of this process's resident memory since its exec.

    ``ru_maxrss`` will not do: it survives exec, so a small child of a large parent would show the parent's.
    """
    return _sizes(Path("/proc/self/status")).get("VmHWM", 0)


def storage_read_bytes() -> int | None:
    """Bytes that this process made the kernel read from storage; None where the kernel does not say."""
    return _numbers(Path("/proc/self/io")).get("read_bytes")


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third, the state, on.

    The command name in parentheses before them may hold anything, so they count from the last parenthesis.
    """
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _sizes(path: Path) -> dict[str, int]:
    """Values given in kB, as bytes."""
    sizes = {}
    for line in path.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        amount, _, unit = value.strip().partition(" ")
        if unit.strip() == "kB" and amount.isdigit():
            sizes[name] = int(amount) * KIB
    return sizes


def _sizes_or_none(path: Path) -> dict[str, int]:
    try:
        return _sizes(path)
    except OSError:
        return {}


def _numbers(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name: int(value) for name, _, value in pairs if value.strip().isdigit()}
