"""A worker's end of its channel: it outlives the supervisor, and the next one takes it up.

At first it is the socket pair that the worker inherited. Where that ends, since the supervisor is gone, the worker goes
on serving and waits at its own unix socket; whoever connects there is greeted with Introduced and the listening socket,
and speaks on as the supervisor.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hyperion.domain.worker_state import WorkerState
from hyperion.serving.channel import Introduced, encode
from hyperion.serving.wire import Wire

BACKLOG = 4
IDLE_ORPHAN_S = 120.0
"""How long a worker that accepts no connections waits for a supervisor: its memory is taken, and a canary's answers are
judged by nobody."""
_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid and gid (man 7 unix)."""

Introduce = Callable[[], Introduced | None]


class SupervisorChannel:
    """Orders in, reports out, as a Wire that mends itself; what a dead supervisor is told is lost.

    Args:
        control: Our end of the supervisor's socket pair.
        listener: The deployment's listening socket; it travels with the greeting while it is open.
    """

    def __init__(self, control: socket.socket, listener: socket.socket) -> None:
        self._wire = Wire(control)
        self._listener = listener
        self._door: socket.socket | None = None
        self._introduce: Introduce = _nobody

    def bind(self, path: Path, introduce: Introduce) -> None:
        """Take the place where the next supervisor looks; to be called before the process is confined.

        Args:
            path: A name in a private folder; what is there was left by an earlier process of our pid.
            introduce: Who this worker is at that moment, ``has_listener`` aside; None where it has nothing to go on
                with, and ends with its supervisor.

        Raises:
            OSError: The socket cannot be made; the worker will end with its supervisor.
        """
        path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.bind(os.fspath(path))
            path.chmod(0o600)
            door.setblocking(False)
        except OSError:
            door.close()
            raise
        self._door, self._introduce = door, introduce

    def listen(self) -> None:
        """Be found: call it when proven. Until then a supervisor that tries is refused at once, and need not wait."""
        if self._door is not None:
            self._door.listen(BACKLOG)  # from here on the kernel tells our pid to whoever connects

    async def read_line(self) -> bytes:
        """The next order; empty where the supervisor is gone and this worker does not go on without one.

        Raises:
            ValueError: A line is too long.
        """
        while not (line := await self._wire.read_line()):
            self._wire.close()
            found = await self._wait_for_supervisor()
            if found is None:
                return b""
            self._wire = found
        return line

    def take(self) -> socket.socket:
        """The next socket that came beside a line; see Wire."""
        return self._wire.take()

    def send(self, line: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        self._wire.send(line, sockets)

    async def flush(self) -> None:
        await self._wire.flush()

    def close(self) -> None:
        self._wire.close()
        if self._door is not None:
            self._door.close()

    async def _wait_for_supervisor(self) -> Wire | None:
        """The next supervisor, greeted; None where none came and this worker need not go on."""
        loop = asyncio.get_running_loop()
        while self._door is not None and (who := self._introduce()) is not None:
            serves = who.state == WorkerState.ACCEPTING
            try:
                async with asyncio.timeout(None if serves else IDLE_ORPHAN_S):
                    connection, _ = await loop.sock_accept(self._door)
            except TimeoutError:
                return None
            if (who := self._introduce()) is None or not _is_ours(connection):
                connection.close()
                continue
            return self._greeted(connection, who)
        return None

    def _greeted(self, connection: socket.socket, who: Introduced) -> Wire:
        """Where it dies as well, the next read says so."""
        wire = Wire(connection)
        held = [self._listener.dup()] if self._listener.fileno() >= 0 else []
        wire.send(encode(msgspec.structs.replace(who, has_listener=bool(held))), held)
        return wire


def _nobody() -> Introduced | None:
    return None


def _is_ours(connection: socket.socket) -> bool:
    """Whether it was opened by our own user, or by root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return user in (os.geteuid(), 0)
