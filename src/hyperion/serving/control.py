"""The control socket of the supervisor: one JSON object a line; commands in, progress and one final reply out.

A request line is ``{"protocol": 1, "command": {…}}``. The socket lies in a 0700 folder and is 0600; beyond that the
kernel is asked whose a client is, and another user's is refused by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError

from hyperion.domain.command import (
    PROTOCOL_VERSION,
    Command,
    Progress,
    Refused,
    Reply,
    line_of,
    parse_command,
    parse_request,
)
from hyperion.errors import ConfigError, ConflictError, HostError, HyperionError

REQUEST_S = 60.0
"""How long a client may be connected before it has said what it wants."""
MOST_CLIENTS = 64
"""Connected at the same time; who comes beyond is told so. Each takes a descriptor, which workers need, too."""
HASTE_S = 1.0
"""How long one who is beyond may take to say what it wants."""
QUEUE = 128
"""Clients that wait in the kernel."""
TELL_S = 0.02
"""How long progress may wait to be told with what follows: in a switch of milliseconds it would wake the client, who
takes the processor from those that switch."""
LINE_LIMIT = 16 * 1024 * 1024
"""Longest command; a Deploy carries its checklist."""

_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid and gid (man 7 unix)."""

Tell = Callable[[Progress], None]
Handler = Callable[[Command, Tell], Awaitable[Reply]]

_log = logging.getLogger(__name__)


class ControlServer:
    """Serves the control socket.

    Args:
        path: Where the socket lies.
        handle: Answers a command; what it raises becomes a Refused.
    """

    def __init__(self, path: Path, handle: Handler) -> None:
        self._path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a client is connected."""
        return bool(self._conversations)

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)  # of a supervisor that died; the lock says that none lives
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(str(self._path))
        self._path.chmod(0o600)
        # asyncio tries to accept ``backlog`` times in a row, and where descriptors are used up, says so each time.
        self._server = await asyncio.start_unix_server(self._accept, sock=door, limit=LINE_LIMIT, backlog=1)
        door.listen(QUEUE)

    async def stop(self) -> None:
        """Take no more clients, and let those that are here have their replies."""
        if self._server is None:
            return
        self._path.unlink(missing_ok=True)
        self._server.close()
        if self._conversations:
            _, late = await asyncio.wait(self._conversations, timeout=1.0)
            for conversation in late:
                conversation.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._conversations.add(task)
            task.add_done_callback(self._conversations.discard)
        too_many = len(self._conversations) > MOST_CLIENTS
        unwanted = _stranger(writer) or (_crowded() if too_many else None)
        try:
            while True:
                async with asyncio.timeout(HASTE_S if too_many else REQUEST_S):
                    line = await reader.readline()
                if not line:
                    return
                if unwanted is not None:
                    writer.write(line_of(refusal(unwanted)))
                    return
                await self._answer(line, writer)
        except (ConnectionError, TimeoutError, ValueError, asyncio.CancelledError):
            return  # the client left, was silent, or sent a line beyond all measure; what it asked for goes on
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        unsent: list[Reply] = []

        def send() -> None:
            if unsent and not writer.is_closing():
                writer.write(b"".join(map(line_of, unsent)))
            unsent.clear()

        def tell(progress: Progress) -> None:
            if not unsent:
                asyncio.get_running_loop().call_later(TELL_S, send)
            unsent.append(progress)

        unsent.append(await self._reply(line, tell))
        send()
        await writer.drain()

    async def _reply(self, line: bytes, tell: Tell) -> Reply:
        try:
            return await self._handle(_parse_request(line), tell)
        except HyperionError as error:
            return refusal(error)
        except Exception as error:  # noqa: BLE001  (the process edge)
            _log.exception("a command failed")
            return refusal(HyperionError(f"the supervisor failed: {type(error).__name__}: {error}", code="internal"))


def _stranger(writer: asyncio.StreamWriter) -> HostError | None:
    """Why this client may not command: the kernel says whose it is."""
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    own = os.geteuid()
    if user == own:
        return None
    return HostError(
        f"the supervisor is user {own}'s, you are user {user}: only the user that it runs as may command it",
        hint=f"run the command as that user: sudo -u '#{own}' hyperion …",
        code="control.foreign_user",
        expected=own,
        actual=user,
    )


def _crowded() -> ConflictError:
    return ConflictError(
        f"the supervisor talks to {MOST_CLIENTS} clients already",
        hint="repeat the command in a moment, and end those that wait for nothing",
        code="control.crowded",
        expected=MOST_CLIENTS,
    )


def refusal(error: HyperionError) -> Refused:
    """The error as it goes over the wire."""
    details = json.loads(json.dumps(error.details(), default=str))
    return Refused(error=type(error).__name__, details=details)


def _parse_request(line: bytes) -> Command:
    """The command of a request; what is no request of this version is looked at once more, to say why."""
    with contextlib.suppress(ValidationError):
        whole = parse_request(line)
        if whole.protocol == PROTOCOL_VERSION:
            return whole.command
    try:
        request = json.loads(line)
        protocol, command = request["protocol"], request["command"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("the line is no request", code="control.malformed") from error
    if protocol != PROTOCOL_VERSION:
        raise ConflictError(
            f"the supervisor speaks control protocol {PROTOCOL_VERSION}, this client {protocol!r}",
            hint="end the supervisor with 'hyperion stop --all' of its own version, then start it again",
            code="control.protocol",
            expected=PROTOCOL_VERSION,
            actual=protocol,
        )
    try:
        return parse_command(json.dumps(command).encode())
    except ValidationError as error:
        raise ConfigError(f"the command is not understood: {error}", code="control.malformed") from error
