"""Memory limits by control groups, version 2 or 1 (kernel.org: admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).

Only beneath a group that was given to us: systemd marks one that it delegates (``Delegate=``, an extended attribute),
or the operator names one with ``$HYPERION_CGROUP``. Each worker gets a group of its own there, gone when it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hyperion.domain.confinement import Protection

VARIABLE = "HYPERION_CGROUP"
MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
SUPERVISOR = "supervisor"
_MARKS = ("user.delegate", "trusted.delegate")
_MIB = 1024**2


class MemoryGroups:
    """Groups of the workers of one supervisor.

    Args:
        parent: The group that was given to us; None where none was.
        watched: The group that this process is in, whose counters are read where a worker has no group of its own.
    """

    def __init__(self, parent: Path | None, watched: Path | None = None) -> None:
        self._parent = parent
        self._watched = watched
        self._prepared = False

    def limit(self, pid: int, limit_bytes: int) -> Protection:
        """Put a process under a limit of its own; what is in force then."""
        if self._parent is None:
            return _missing(f"no control group was delegated to the supervisor, and {VARIABLE} names none")
        try:
            self._prepare(self._parent)
            group = self._group(self._parent, pid)
            group.mkdir(exist_ok=True)
            self._lay(group, limit_bytes)
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            return _missing(f"the control group {self._parent} takes no limit: {error.strerror}")
        version = 2 if _is_v2(self._parent) else 1
        detail = f"killed beyond {limit_bytes // _MIB} MiB (control group, version {version})"
        return Protection(name="memory", in_force=True, detail=detail)

    def kills(self, pid: int) -> int | None:
        """How often the kernel killed for want of memory in the process's group, or in ours where it has none."""
        group = None if self._parent is None else self._group(self._parent, pid)
        if group is None or not group.is_dir():
            group = self._watched
        return None if group is None else _kills(group)

    def has_group(self, pid: int) -> bool:
        """Whether the counter is the process's own."""
        return self._parent is not None and self._group(self._parent, pid).is_dir()

    def remove(self, pid: int) -> None:
        """Forget the group of a process that is gone."""
        if self._parent is not None:
            with suppress(OSError):
                self._group(self._parent, pid).rmdir()

    def _prepare(self, parent: Path) -> None:
        """Version 2 gives controllers only to groups beneath one that holds no process itself."""
        if self._prepared or not _is_v2(parent):
            return
        if str(os.getpid()) in (parent / "cgroup.procs").read_text().split():
            own = parent / SUPERVISOR
            own.mkdir(exist_ok=True)
            (own / "cgroup.procs").write_text(str(os.getpid()))
        (parent / "cgroup.subtree_control").write_text("+memory")
        self._prepared = True

    @staticmethod
    def _lay(group: Path, limit_bytes: int) -> None:
        if _is_v2(group):
            (group / "memory.max").write_text(str(limit_bytes))
            with suppress(OSError):  # a kernel without swap accounting
                (group / "memory.swap.max").write_text("0")
            return
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        with suppress(OSError):
            (group / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))

    @staticmethod
    def _group(parent: Path, pid: int) -> Path:
        return parent / f"hyperion-w{pid}"


def find_groups(environ: Mapping[str, str] = os.environ, own: Path = OWN, mount: Path = MOUNT) -> MemoryGroups:
    """Those of this process: see the module."""
    watched = _own_group(own, mount)
    if named := environ.get(VARIABLE):
        return MemoryGroups(Path(named), watched)
    if watched is None or not _is_v2(watched):
        return MemoryGroups(None, watched)
    # systemd's DelegateSubgroup= puts us one below the group that is ours.
    given = next((group for group in (watched.parent, watched) if _is_delegated(group)), None)
    return MemoryGroups(given, watched)


def _own_group(own: Path, mount: Path) -> Path | None:
    """The group of this process that counts its memory; None where the host shows none."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if "memory" in controllers.split(","):
            places = [mount / "memory" / path.lstrip("/")]
        elif not controllers:
            places = [mount / path.lstrip("/"), mount / "unified" / path.lstrip("/")]
        else:
            continue
        for place in places:
            if (place / "memory.oom_control").exists() or (place / "memory.events").exists():
                return place
    return None


def _is_delegated(group: Path) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return False


def _is_v2(group: Path) -> bool:
    return (group / "cgroup.controllers").exists()


def _kills(group: Path) -> int | None:
    for name in ("memory.events", "memory.oom_control"):
        with suppress(OSError, ValueError):
            for line in (group / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return None


def _missing(why: str) -> Protection:
    return Protection(name="memory", in_force=False, detail=f"no limit by the kernel: {why}")
