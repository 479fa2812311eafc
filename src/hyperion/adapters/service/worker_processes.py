"""Worker processes: exec'd, so that each inherits the two sockets it needs and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from hyperion.adapters.files.state_folder import make_private
from hyperion.errors import HostError
from hyperion.ports import WorkerProcess

ENTRY = "hyperion.cli.worker"


class ExecutedWorkers:
    """Implements ports.WorkerLauncher.

    Args:
        state: The state folder; workers read its store and append to ``logs/DEPLOYMENT/rREVISION.jsonl``.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

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
        return ExecutedWorker(process, ours)

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
    """Implements ports.WorkerProcess."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
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

    def reap(self) -> int:
        status = self._process.wait()
        os.close(self._exit_fd)
        return status

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
