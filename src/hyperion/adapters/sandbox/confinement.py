"""Confinement of the current process: what it may read and write, no network, no programs, limits on what it takes.

All of it is laid upon oneself, needs no privilege, cannot be taken back, and holds for whatever code runs later, also
code that a hole in a library lets in. It should be done while there is one thread: Landlock holds only the
thread that asks for it and those that this one starts.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hyperion.adapters.sandbox import landlock, seccomp
from hyperion.adapters.sandbox.unprivileged_user import WorkerUser, become
from hyperion.domain.confinement import Confinement, Protection
from hyperion.errors import HostError

_SET_NO_NEW_PRIVS, _GET_NO_NEW_PRIVS = 38, 39
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_FACTS = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm",
    "/sys/devices",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/etc/localtime",
    "/usr/share/zoneinfo",
)
"""What the engine and the C library ask about the machine."""
_DEVICES = ("/dev/zero", "/dev/urandom", "/dev/random")
_HELD_OPEN: list[int] = []
"""Descriptors of this process's own folder under /proc: Landlock knows a file by its inode, and that of /proc/PID is
made anew once nobody holds it."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Hard limits, which nothing can raise again; None leaves a limit as it is.

    Attributes:
        address_space_bytes: RLIMIT_AS.
        cpu_s: RLIMIT_CPU: SIGXCPU after so much processor time, SIGKILL a second later.
        file_bytes: RLIMIT_FSIZE: the largest file that may be written.
    """

    address_space_bytes: int | None = None
    cpu_s: int | None = None
    file_bytes: int | None = None


NO_LIMITS = ResourceLimits()


def confine(
    readable: Sequence[Path],
    writable: Sequence[Path] = (),
    *,
    network: bool = False,
    processes: bool = False,
    limits: ResourceLimits = NO_LIMITS,
    leave_root: bool = False,
    user: WorkerUser | None = None,
    strict: bool = False,
) -> Confinement:
    """Confine this process for the rest of its life.

    The Python installation, the system's libraries and this process's own figures under /proc stay readable. Files and
    sockets that are open already stay usable: an inherited listening socket still accepts.

    Args:
        readable: Files and folders that may be read; one that does not exist is left out.
        writable: Folders in which files may be made, changed and removed, and files that may be changed.
        network: Whether sockets may be made.
        processes: Whether other programs may be run; they are confined as this one is.
        limits: What it may take.
        leave_root: Whether to leave root, where this process is root's, and to say as whom it goes on.
        user: As whom then; None where nobody else is there.
        strict: Whether to fail where the kernel lacks something.

    Returns:
        What is in force; what is not, with the reason.

    Raises:
        HostError: With ``strict``: a protection is not in force (code ``host.confinement``).
    """
    found = Confinement(
        protections=(
            _no_new_privileges(),
            _limit(limits),
            _file_access(
                (*readable, *installation(), *(_programs() if processes else ())),
                tuple(writable),
                network=network,
                processes=processes,
            ),
            *([become(user)] if leave_root else []),
            _system_calls(network=network, processes=processes),
        )
    )
    if strict and found.missing:
        raise HostError(
            f"this process cannot be confined: {'; '.join(map(str, found.missing))}",
            hint="use a kernel with Landlock and seccomp: Linux 5.13 or later",
            code="host.confinement",
        )
    return found


def refuse_io_uring() -> None:
    """Keep event loops from making rings for io_uring, which they would still use when ``confine`` refuses that.

    Where the kernel cannot, ``confine`` will say so.
    """
    if _no_new_privileges().in_force:
        with suppress(seccomp.SeccompUnavailableError):
            seccomp.refuse_io_uring()


def available() -> Confinement:
    """What ``confine`` would put into force on this host; nothing is confined."""
    protections = [Protection(name="no_new_privileges", in_force=True, detail="no set-user-ID program gives rights")]
    protections.append(Protection(name="resources", in_force=True, detail="no core dumps, and what the job allows"))
    try:
        detail, there = landlock.describe(landlock.version(), network=False), True
    except landlock.LandlockUnavailableError as error:
        detail, there = str(error), False
    protections.append(Protection(name="file_access", in_force=there, detail=detail))
    try:
        seccomp.require()
        detail, there = _refused_calls(network=False, processes=False), True
    except seccomp.SeccompUnavailableError as error:
        detail, there = str(error), False
    protections.append(Protection(name="system_calls", in_force=there, detail=detail))
    return Confinement(protections=tuple(protections))


def installation() -> tuple[Path, ...]:
    """What Python and the libraries below it read: importable folders, shared libraries, facts of the machine."""
    schemes = sysconfig.get_paths()
    folders = [schemes[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [str(Path(prefix) / "lib") for prefix in (sys.prefix, sys.base_prefix)] + [
        str(Path(sys.prefix) / "pyvenv.cfg")
    ]
    folders += [entry for entry in sys.path if Path(entry).is_absolute()]
    return tuple(Path(place) for place in dict.fromkeys((*folders, *_LIBRARIES, *_FACTS, *_DEVICES)))


def _programs() -> tuple[Path, ...]:
    """Where programs lie: Python itself and what the system's search path names."""
    folders = [str(Path(prefix) / "bin") for prefix in (sys.prefix, sys.base_prefix)]
    return tuple(Path(folder) for folder in (*folders, *os.defpath.split(os.pathsep)) if folder)


def _no_new_privileges() -> Protection:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        return Protection(name="no_new_privileges", in_force=False, detail="the kernel does not know it")
    return Protection(name="no_new_privileges", in_force=True, detail="no set-user-ID program gives rights")


def _limit(limits: ResourceLimits) -> Protection:
    said = ["no core dumps"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, soft, hard, words in (
        (
            resource.RLIMIT_AS,
            limits.address_space_bytes,
            limits.address_space_bytes,
            "at most {} bytes of address space",
        ),
        (
            resource.RLIMIT_CPU,
            limits.cpu_s,
            None if limits.cpu_s is None else limits.cpu_s + 1,
            "at most {} s of processor time",
        ),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes, "files of at most {} bytes"),
    ):
        if soft is not None and hard is not None:
            ceiling = resource.getrlimit(number)[1]
            lowered = (soft, hard) if ceiling == resource.RLIM_INFINITY else (min(soft, ceiling), min(hard, ceiling))
            resource.setrlimit(number, lowered)
            said.append(words.format(lowered[0]))
    return Protection(name="resources", in_force=True, detail=", ".join(said))


def _file_access(readable: Sequence[Path], writable: tuple[Path, ...], *, network: bool, processes: bool) -> Protection:
    own = Path("/proc/self")
    if own.exists():
        _HELD_OPEN.append(os.open(own, os.O_PATH | os.O_CLOEXEC))
    rules = landlock.FileRules((*readable, own), (*writable, Path(os.devnull)), executable=processes, network=network)
    others = _threads() - 1
    try:
        known = landlock.restrict(rules)
    except landlock.LandlockUnavailableError as error:
        return Protection(name="file_access", in_force=False, detail=str(error))
    if others:
        detail = f"{others} thread(s) had been started before and are not held by Landlock"
        return Protection(name="file_access", in_force=False, detail=detail)
    return Protection(name="file_access", in_force=True, detail=landlock.describe(known, network=network))


def _system_calls(*, network: bool, processes: bool) -> Protection:
    try:
        seccomp.restrict(network=network, processes=processes)
    except seccomp.SeccompUnavailableError as error:
        return Protection(name="system_calls", in_force=False, detail=str(error))
    return Protection(name="system_calls", in_force=True, detail=_refused_calls(network=network, processes=processes))


def _refused_calls(*, network: bool, processes: bool) -> str:
    held = [
        *([] if network else ["sockets"]),
        *([] if processes else ["programs", "signals"]),
        "other processes' memory",
        "mounts, keys and rights of files",
    ]
    return f"seccomp: {', '.join(held)}"


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - counted, not read
    except OSError:
        return 1  # no /proc: nothing says otherwise
