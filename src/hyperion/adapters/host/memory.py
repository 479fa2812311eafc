"""Memory of this machine, and of the control groups that we are in (man 5 proc, man 7 cgroups).

A limit may stand at any group on the way up from ours, and the lowest one holds. Version 2 has one hierarchy, version 1
one for each controller; inside a container the path that the kernel names may lie outside of what is mounted, then the
root of the mount is the container's own group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
UNLIMITED = 1 << 60
"""Version 1 writes no limit as a number near 2^63."""


@dataclass(frozen=True, slots=True)
class _Group:
    """One control group's limit and what it holds, each None where its file says nothing."""

    limit: int | None
    used: int | None


@dataclass(frozen=True, slots=True)
class MemorySources:
    """Where the kernel tells of memory.

    Args:
        proc: The folder /proc.
        groups: The folder /sys/fs/cgroup.
    """

    proc: Path = Path("/proc")
    groups: Path = Path("/sys/fs/cgroup")

    def total_bytes(self) -> int | None:
        """Memory of the machine, or the lowest limit of our groups; None where there is no /proc."""
        total = self._meminfo().get("MemTotal")
        limits = [group.limit for group in self._own_groups() if group.limit is not None]
        return min([total, *limits]) if total is not None else None

    def available_bytes(self) -> int:
        """What may be taken without swapping: by the machine's estimate, and below each group's limit."""
        sizes = self._meminfo()
        available = sizes.get("MemAvailable", sizes.get("MemFree", 0))
        left = [
            max(0, group.limit - group.used)
            for group in self._own_groups()
            if group.limit is not None and group.used is not None
        ]
        return min([available, *left])

    def in_use_bytes(self) -> int | None:
        """What all processes hold that is in no file: the figure that falls at once when one of them ends.

        What is free may lag behind: where the machine is a guest, its host may be given freed pages first.
        """
        return self._meminfo().get("AnonPages")

    def _meminfo(self) -> dict[str, int]:
        sizes = {}
        for line in _text(self.proc / "meminfo").splitlines():
            name, _, value = line.partition(":")
            amount = value.split()[:1]
            if amount and amount[0].isdigit():
                sizes[name] = int(amount[0]) * KIB
        return sizes

    def _own_groups(self) -> Iterator[_Group]:
        """Every group that holds us, from our own up to the root."""
        for line in _text(self.proc / "self/cgroup").splitlines():
            number, controllers, path = (*line.split(":", 2), "", "")[:3]
            if number == "0" and not controllers:
                for folder in _upward(self.groups, path):
                    yield _Group(_number(folder / "memory.max"), _in_use(folder, "memory.current", "inactive_file"))
            elif "memory" in controllers.split(","):
                for folder in _upward(self.groups / "memory", path):
                    used = _in_use(folder, "memory.usage_in_bytes", "total_inactive_file")
                    yield _Group(_number(folder / "memory.limit_in_bytes"), used)


def _upward(root: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it; only the root where the group lies outside of the mount."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:depth])


def _in_use(folder: Path, file: str, cache: str) -> int | None:
    """What the group holds, without the page cache that the kernel takes back first."""
    used = _number(folder / file)
    if used is None:
        return None
    rows = (line.split() for line in _text(folder / "memory.stat").splitlines())
    reclaimable = next((int(row[1]) for row in rows if len(row) == 2 and row[0] == cache and row[1].isdigit()), 0)
    return max(0, used - reclaimable)


def _number(path: Path) -> int | None:
    """A size in bytes; None where the file is not there, or says that there is no limit."""
    text = _text(path).strip()
    return int(text) if text.isdigit() and int(text) < UNLIMITED else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
