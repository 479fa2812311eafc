"""What this machine is and what its processes take."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import pwd
import shutil
import socket
import stat
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hyperion.adapters.host.hardware_counters import COUNTERS, HardwareCounters, threads_of
from hyperion.adapters.host.memory import MemorySources
from hyperion.adapters.host.process_usage import usage_of
from hyperion.adapters.sandbox.confinement import available
from hyperion.domain.platform import PlatformProfile
from hyperion.ports import ProcessUsage

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's block is


class LocalHostFacts:
    """Implements ports.HostFacts."""

    def __init__(self, state_dir: Path) -> None:
        """Measure free disk space where ``state_dir`` is, or will be."""
        self._state_dir = state_dir

    def platform(self) -> PlatformProfile:
        return PlatformProfile(
            os=sys.platform,
            architecture=_architecture(),
            cpu_features=cpu_features(),
            cores=os.cpu_count(),
            memory_bytes=self.memory_bytes(),
            disk_free_bytes=shutil.disk_usage(_existing(self._state_dir)).free,
            confinement=available(),
            probed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def platform_name(self) -> str:
        return PlatformProfile(os=sys.platform, architecture=_architecture()).name

    def memory_bytes(self) -> int | None:
        return MemorySources().total_bytes()

    def memory_available_bytes(self) -> int:
        return MemorySources().available_bytes()

    def memory_in_use_bytes(self) -> int | None:
        return MemorySources().in_use_bytes()

    def process(self, pid: int, *, proportional: bool = True) -> ProcessUsage | None:
        return usage_of(pid, proportional=proportional)

    def page_cache_resident_ratio(self, paths: Sequence[Path]) -> float | None:
        resident = pages = 0
        for path in paths:
            counted = _resident_pages(path)
            if counted is None:
                return None
            resident, pages = resident + counted[0], pages + counted[1]
        return resident / pages if pages else None

    def hardware_counters(self, pids: Sequence[int], duration_s: float) -> tuple[dict[str, int | None], str | None]:
        threads = threads_of(pids)
        if not threads:
            return dict.fromkeys(COUNTERS), "there is no process to count"
        counters = HardwareCounters(threads)
        try:
            if counters.unavailable is None:
                counters.start()
                time.sleep(duration_s)
                counters.stop()
            return counters.read(), counters.unavailable
        finally:
            counters.close()

    def disk_usage(self, path: Path) -> int:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_blocks * _BLOCK_BYTES
        total = 0
        for folder, _, files in os.walk(path):
            for name in files:
                try:
                    total += (Path(folder) / name).lstat().st_blocks * _BLOCK_BYTES
                except FileNotFoundError:
                    continue  # removed while we looked
        return total

    def user(self) -> str:
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    def port_is_free(self, host: str, port: int) -> bool:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                # As the supervisor binds: connections that linger in TIME_WAIT do not occupy a port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError:
            return False
        return True

    def socket_fault(self, path: Path) -> str | None:
        try:
            return _socket_fault(path)
        except OSError as error:
            return str(error.strerror)


def _socket_fault(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} is not ours to write"
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return "it is there already, and no socket"
    except FileNotFoundError:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code in (errno.ECONNREFUSED, errno.ENOENT):
        return None
    return "another process listens on it" if code in (0, errno.EAGAIN) else os.strerror(code)


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def cpu_features() -> tuple[str, ...] | None:
    """Flags that the kernel lists for the first processor (x86: ``flags``, arm: ``Features``)."""
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as lines:  # not all: the kernel asks each processor in turn
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return tuple(sorted(set(value.lower().split())))
    except OSError:
        return None
    return None


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _resident_pages(path: Path) -> tuple[int, int] | None:
    """Pages of a file that are in the page cache, and all its pages (mincore); None where that cannot be known.

    For a file that the caller neither owns nor may write, the kernel calls every page resident, so we do not ask.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_size == 0:
                return 0, 0
            if status.st_uid != os.geteuid() and os.geteuid() != 0 and not os.access(path, os.W_OK):
                return None
            mapped = mmap.mmap(stream.fileno(), status.st_size, access=mmap.ACCESS_COPY)
    except OSError:
        return None
    pages = -(-status.st_size // mmap.PAGESIZE)
    vector = (ctypes.c_ubyte * pages)()
    anchor = ctypes.c_char.from_buffer(mapped)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(status.st_size), vector)
    finally:
        del anchor  # a mapping that is still exported cannot be closed
        mapped.close()
    return None if failed else (sum(value & 1 for value in vector), pages)
