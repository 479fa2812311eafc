"""Worker processes: exec'd, so that each inherits the two sockets it needs and nothing else; and found again.

A worker that serves listens on ``wPID.control`` beside the supervisor's own socket. Where its supervisor died, the next
one finds it there: the kernel says which process listens (SO_PEERCRED), so no file has to remember a pid.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from hyperion.adapters.files.state_folder import make_private
from hyperion.adapters.host.memory_cgroup import MemoryGroups, find_groups
from hyperion.adapters.host.process_usage import is_stopped, start_ticks
from hyperion.adapters.service.control_client import control_path
from hyperion.domain.confinement import Protection
from hyperion.errors import HostError
from hyperion.ports import OrphanedWorker, WorkerProcess

ENTRY = "hyperion.cli.worker"
CONNECT_S = 1.0

_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid and gid (man 7 unix)."""

_log = logging.getLogger(__name__)


class ExecutedWorkers:
    """Implements ports.WorkerLauncher.

    Args:
        state: The state folder; workers read its store and append to ``logs/DEPLOYMENT/rREVISION.jsonl``.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._sockets = control_path(state).parent
        self._groups = find_groups()

    def launch(self, deployment: str, revision: int, listener: socket.socket) -> WorkerProcess:
        """Start one, in its own session, so that Ctrl-C in the supervisor's terminal does not reach it."""
        try:
            log = self._open_log(deployment, revision)
        except OSError as error:
            raise HostError(f"cannot write the log of {deployment}: {error}", code="host.io") from error
        ours, theirs = socket.socketpair()
        # -P: what lies in the supervisor's working folder is not importable by accident.
        command = [sys.executable, "-P", "-m", ENTRY, str(theirs.fileno()), str(listener.fileno())]
        try:
            process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(), listener.fileno()),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise HostError(f"cannot start a worker: {error}", code="host.process") from error
        finally:
            theirs.close()
            os.close(log)
        return ExecutedWorker(process, ours, self._sockets, self._groups)

    def orphans(self) -> tuple[OrphanedWorker, ...]:
        """Whoever listens; see ports.WorkerLauncher."""
        found = []
        for path in sorted(self._sockets.glob("w*.control")):
            try:
                connection = _connected(path)
            except (ConnectionRefusedError, FileNotFoundError):
                _forget(self._sockets, path.stem)  # nobody listens there any more
                continue
            except OSError as error:
                _log.warning("the worker at %s cannot be reached: %s", path, error)
                continue
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, _, _ = _CREDENTIALS.unpack(raw)
            try:
                exit_fd = os.pidfd_open(pid)
            except OSError:
                connection.close()  # it died since
                continue
            found.append(AdoptedWorker(pid, connection, exit_fd, self._sockets, self._groups))
        return tuple(found)

    def _open_log(self, deployment: str, revision: int) -> int:
        folder = self._state / "logs" / deployment
        make_private(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(folder / f"r{revision}.jsonl", flags, 0o600)

    def _environment(self) -> dict[str, str]:
        """The supervisor's, without the libraries' thread pools (the engine has its own) and the engine's telemetry."""
        quiet = {"OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "ORT_DISABLE_TELEMETRY": "1"}
        return os.environ | {"HYPERION_HOME": str(self._state)} | quiet


class ExecutedWorker:
    """Implements ports.WorkerProcess for a child of this process."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, sockets: Path, groups: MemoryGroups
    ) -> None:
        self._process = process
        self._memory = _Memory(process.pid, groups)
        self._control = control
        self._sockets = sockets
        self._exit_fd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def control(self) -> socket.socket:
        return self._control

    @property
    def exit_fd(self) -> int:
        return self._exit_fd

    def halted(self) -> bool:
        return is_stopped(self.pid)

    def reap(self) -> int | None:
        _forget(self._sockets, f"w{self.pid}")  # before the wait, after which the pid may be another's
        status = self._process.wait()
        os.close(self._exit_fd)
        self._memory.forget()
        return status

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def limit_memory(self, limit_bytes: int) -> Protection:
        return self._memory.limit(limit_bytes)

    def memory_kill(self) -> str | None:
        return self._memory.kill_in_words()


class AdoptedWorker:
    """Implements ports.OrphanedWorker: a process that another supervisor started.

    It is spoken of by its pidfd alone, which cannot come to mean another process as a pid can.
    """

    def __init__(self, pid: int, control: socket.socket, exit_fd: int, sockets: Path, groups: MemoryGroups) -> None:
        self._pid = pid
        self._memory = _Memory(pid, groups)
        self._control = control
        self._exit_fd = exit_fd
        self._sockets = sockets
        self._started_ticks = start_ticks(pid)

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def control(self) -> socket.socket:
        return self._control

    @property
    def exit_fd(self) -> int:
        return self._exit_fd

    @property
    def started_ticks(self) -> int | None:
        return self._started_ticks

    def halted(self) -> bool:
        return is_stopped(self._pid)

    def reap(self) -> int | None:
        status = _status_of(self._exit_fd)
        os.close(self._exit_fd)
        self._control.close()
        _forget(self._sockets, f"w{self._pid}")
        self._memory.forget()
        return status

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._exit_fd, signal.SIGKILL)

    def limit_memory(self, limit_bytes: int) -> Protection:
        return self._memory.limit(limit_bytes)

    def memory_kill(self) -> str | None:
        return self._memory.kill_in_words()


class _Memory:
    """The kernel's account of one process's memory."""

    def __init__(self, pid: int, groups: MemoryGroups) -> None:
        self._pid = pid
        self._groups = groups
        self._kills = groups.kills(pid)

    def limit(self, limit_bytes: int) -> Protection:
        found = self._groups.limit(self._pid, limit_bytes)
        self._kills = self._groups.kills(self._pid)
        return found

    def kill_in_words(self) -> str | None:
        now = self._groups.kills(self._pid)
        if now is None or self._kills is None or now <= self._kills:
            return None
        if self._groups.has_group(self._pid):
            return f"the kernel killed it for want of memory (oom_kill {now} in its control group)"
        more = now - self._kills
        return f"the kernel killed {more} processes of our control group for want of memory meanwhile, perhaps it"

    def forget(self) -> None:
        self._groups.remove(self._pid)


def _status_of(exit_fd: int) -> int | None:
    """How a process ended, where it is our child: the supervisor before us had our pid, and gave way to us by exec."""
    try:
        found = os.waitid(os.P_PIDFD, exit_fd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection


def _forget(sockets: Path, stem: str) -> None:
    """Remove the socket files that a process left."""
    for path in sockets.glob(f"{stem}.*"):
        path.unlink(missing_ok=True)
