"""The supervisor from outside: finds its socket, starts it where none runs, asks it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from hyperion import errors
from hyperion.adapters.files.atomic_file import translated
from hyperion.adapters.files.state_folder import make_private
from hyperion.domain.command import PROTOCOL_VERSION, Command, Ping, Pong, Progress, Refused, Reply, parse_reply
from hyperion.errors import HostError, HyperionError, Problem

LONGEST_PATH = 100
"""Bytes; a unix socket's address holds 107."""
CONNECT_S = 5.0
SILENCE_S = 10.0
"""A supervisor that says nothing for so long is asked whether it still lives."""
START_S = 30.0
POLL_S = 0.05
RECEIVE_BYTES = 64 * 1024
LOG_TAIL_BYTES = 2000


def control_path(state: Path) -> Path:
    """Where the supervisor of a state folder has its socket.

    ``run/control.sock``, or where that is too long for a socket's address, in a private folder under /tmp named
    after the state folder.
    """
    path = state / "run" / "control.sock"
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    return Path("/tmp", f"hyperion-{os.geteuid()}-{digest}", "control.sock")  # noqa: S108  (checked below)


def open_control_folder(path: Path) -> None:
    """Make the socket's folder, private; demand that it is ours and no link.

    Raises:
        HostError: It belongs to another user (code ``host.foreign_state``), or cannot be made.
    """
    folder = path.parent
    with translated(folder):
        make_private(folder)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HostError(
            f"{folder} is not a folder of yours", hint="remove it, or choose another HYPERION_HOME",
            code="host.foreign_state",
        )  # fmt: skip


class SupervisorClient:
    """Implements ports.SupervisorControl.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = control_path(state)

    def ping(self) -> Pong | None:
        """None where none runs, or the one that did is just ending."""
        try:
            reply = self.ask(Ping())
        except HostError as error:
            if error.code in ("supervisor.not_running", "supervisor.gone"):
                return None
            raise
        return reply if isinstance(reply, Pong) else None

    def has_orphans(self) -> bool:
        """By the names of their sockets, ``wPID.control``: connecting would be taken for the next supervisor."""
        pids = (path.stem.removeprefix("w") for path in self._path.parent.glob("w*.control"))
        return any(Path("/proc", pid).is_dir() for pid in pids if pid.isdecimal())

    def ensure_running(self) -> Pong:
        """Start one where none runs; see ports.SupervisorControl.

        Two callers may both start one: the second to come finds the lock taken and ends.
        """
        open_control_folder(self._path)
        deadline = time.monotonic() + START_S
        started: subprocess.Popen[bytes] | None = None
        while (pong := self.ping()) is None:
            if time.monotonic() > deadline:
                raise HostError(
                    f"the supervisor did not come up within {START_S:g} s; its log ends: {self._log_tail()}",
                    hint=f"see {self._log}, or run 'hyperion serve --foreground'",
                    code="supervisor.not_started",
                )
            if started is None or started.poll() is not None:
                self._raise_if_failed(started)
                started = self._start()
            time.sleep(POLL_S)
        return pong

    def ask(self, command: Command, on_progress: Callable[[Progress], None] | None = None) -> Reply:
        """Send and wait for the final reply; see ports.SupervisorControl.

        A rollout may be silent for long, and has its own deadlines; so one that says nothing is waited for as long
        as the supervisor answers to a ping.
        """
        request = {"protocol": PROTOCOL_VERSION, "command": command.model_dump(mode="json", by_alias=True)}
        asked = json.dumps(request).encode() + b"\n"  # before connecting: the supervisor is then woken but once
        on_silence = self._silent if isinstance(command, Ping) else self._require_life
        with self._connected() as connection:
            try:
                connection.sendall(asked)
            except TimeoutError:
                self._silent()
            for line in _lines(connection, on_silence):
                reply = _parse(line)
                if isinstance(reply, Refused):
                    raise restored(reply)
                if not isinstance(reply, Progress):
                    return reply
                if on_progress is not None:
                    on_progress(reply)
        raise _gone("it ended the conversation")

    def _require_life(self) -> None:
        """Demand that the supervisor answers to a ping."""
        self.ask(Ping())

    def _silent(self) -> NoReturn:
        raise HostError(
            f"the supervisor at {self._path} has said nothing for {SILENCE_S:g} s",
            hint=f"the workers go on serving; see {self._log}, kill the supervisor (its pid is in "
            f"{self._state / 'run' / 'supervisor.lock'}), then start one with 'hyperion serve'",
            code="supervisor.silent",
        )

    @property
    def _log(self) -> Path:
        return self._state / "logs" / "supervisor.log"

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_S)
            try:
                connection.connect(os.fspath(self._path))
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
                raise HostError(
                    f"no supervisor runs on {self._state}",
                    hint="'hyperion deploy model' starts one, 'hyperion serve' too",
                    code="supervisor.not_running",
                ) from error
            except OSError as error:
                raise HostError(f"cannot reach the supervisor at {self._path}: {error}", code="host.io") from error
            connection.settimeout(SILENCE_S)
            try:
                yield connection
            except OSError as error:
                raise _gone(str(error)) from error

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a supervisor: own session, no inherited descriptors, output to its log."""
        with translated(self._log):
            make_private(self._log.parent)
            with self._log.open("ab") as log:
                self._log.chmod(0o600)
                return subprocess.Popen(
                    [sys.executable, "-P", "-m", "hyperion", "serve", "--foreground", "--detached"],
                    env=os.environ | {"HYPERION_HOME": str(self._state)},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    close_fds=True,
                )

    def _raise_if_failed(self, started: subprocess.Popen[bytes] | None) -> None:
        """Give up where the one that we started ended for another reason than a supervisor that runs already."""
        if started is None or started.returncode in (0, _EXIT_CONFLICT):
            return
        raise HostError(
            f"the supervisor ended with exit status {started.returncode}; its log ends: {self._log_tail()}",
            hint=f"see {self._log}, or run 'hyperion serve --foreground'",
            code="supervisor.not_started",
        )

    def _log_tail(self) -> str:
        try:
            return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip() or "(empty)"
        except OSError:
            return "(no log)"


_EXIT_CONFLICT = 6
"""What `hyperion serve` ends with where another supervisor holds the lock (cli.exit_codes)."""


def _lines(connection: socket.socket, on_silence: Callable[[], None]) -> Iterator[bytes]:
    """What comes, line by line, until the other end closes; ``on_silence`` is called whenever nothing comes."""
    pending = b""
    while True:
        try:
            received = connection.recv(RECEIVE_BYTES)
        except TimeoutError:
            on_silence()
            continue
        if not received:
            return
        *whole, pending = (pending + received).split(b"\n")
        yield from whole


def restored(refused: Refused) -> HyperionError:
    """The very error that the supervisor raised: its class by name, its code and its words."""
    found = getattr(errors, refused.error, HyperionError)
    kind = found if isinstance(found, type) and issubclass(found, HyperionError) else HyperionError
    details = refused.details
    message, code = str(details.get("message", "refused")), str(details.get("code", kind.code))
    hint = None if details.get("hint") is None else str(details["hint"])
    if issubclass(kind, errors.ConfigError):
        return kind(message, problems=_problems(details.get("problems")), hint=hint, code=code)
    return kind(
        message,
        hint=hint,
        code=code,
        entry=None if details.get("entry") is None else str(details["entry"]),
        expected=details.get("expected"),
        actual=details.get("actual"),
    )


def _problems(found: object) -> tuple[Problem, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(
        Problem(str(problem.get("path", "")), str(problem.get("message", "")))
        for problem in found
        if isinstance(problem, dict)
    )


def _parse(line: bytes) -> Reply:
    try:
        return parse_reply(line)
    except ValidationError as error:
        raise HostError(
            "the supervisor answers in words of another version",
            hint="end it with 'hyperion stop --all' of its own version, then start it again",
            code="control.protocol",
        ) from error


def _gone(why: str) -> HostError:
    return HostError(
        f"the supervisor went away before it answered: {why}",
        hint="'hyperion status' shows what became of it; logs/supervisor.log in the state folder has its last words",
        code="supervisor.gone",
    )
