"""The channel's bytes: lines over a unix stream socket, and descriptors that travel beside them (SCM_RIGHTS).

Both ends use it. Descriptors arrive no later than the first byte of the line that they were sent with, and in order:
a message that carries some says how many, and its reader takes so many.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence

from hyperion.serving.channel import LINE_LIMIT

MOST_DESCRIPTORS = 64
"""Beside one line; the kernel's own limit is 253 (SCM_MAX_FD)."""
DESCRIPTOR_BYTES = 4
READ_BYTES = 65536


class Wire:
    """One end of a channel; lives in the running event loop.

    Args:
        end: Connected unix stream socket; owned from here on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._lines: deque[bytes] = deque()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[tuple[memoryview, Sequence[socket.socket]]] = deque()
        self._ended = False
        self._closed = False
        self._news = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._loop.add_reader(end.fileno(), self._read)

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed, or the other end is gone."""
        return self._closed or self._ended

    async def read_line(self) -> bytes:
        """The next line; empty when the other end is gone and all it said was read.

        Raises:
            ValueError: A line is longer than LINE_LIMIT.
        """
        while not self._lines:
            if len(self._received) > LINE_LIMIT:
                raise ValueError(f"a line is longer than {LINE_LIMIT} bytes")
            if self._ended:
                return b""
            self._news.clear()
            await self._news.wait()
        return self._lines.popleft()

    def take(self) -> socket.socket:
        """The next socket that came beside a line.

        Raises:
            ValueError: None came.
        """
        if not self._descriptors:
            raise ValueError("a message announced a descriptor that did not come with it")
        return socket.socket(fileno=self._descriptors.popleft())

    def send(self, line: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a line with ``sockets`` beside it, closed here once sent; what a dead peer is told is lost."""
        if self.is_closed:
            _close_all(sockets)
            return
        self._unsent.append((memoryview(line), sockets))
        if self._flushed.is_set():
            self._flushed.clear()
            self._write()

    async def flush(self) -> None:
        """Until everything was given to the kernel, or the other end is gone."""
        await self._flushed.wait()

    def close(self) -> None:
        """Close this end; what was not sent is lost."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._stop_writing()
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._end()

    def _read(self) -> None:
        try:
            data, descriptors = receive(self._socket, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors.extend(descriptors)
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            self._end()
            return
        self._received += data
        *lines, rest = self._received.split(b"\n")
        if lines:
            self._lines.extend(bytes(line) for line in lines)
            self._received = rest
        self._news.set()

    def _write(self) -> None:
        while self._unsent:
            line, sockets = self._unsent[0]
            try:
                sent = socket.send_fds(self._socket, [line], [each.fileno() for each in sockets])
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._write)
                return
            except OSError:
                break  # the reader sees that it is gone, after what it said last
            _close_all(sockets)
            if sent < len(line):
                self._unsent[0] = (line[sent:], ())  # descriptors went with the first byte
            else:
                self._unsent.popleft()
        self._stop_writing()

    def _stop_writing(self) -> None:
        while self._unsent:
            _close_all(self._unsent.popleft()[1])
        self._loop.remove_writer(self._socket.fileno())
        self._flushed.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()


def receive(end: socket.socket, most_bytes: int) -> tuple[bytes, list[int]]:
    """Bytes and the descriptors that came with them, which no child inherits (socket.recv_fds of 3.11 drops its flags).

    Raises:
        OSError: As recv.
    """
    size = socket.CMSG_SPACE(MOST_DESCRIPTORS * DESCRIPTOR_BYTES)
    data, messages, _, _ = end.recvmsg(most_bytes, size, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, raw in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += memoryview(raw[: len(raw) - len(raw) % DESCRIPTOR_BYTES]).cast("i").tolist()
    return data, descriptors


def _close_all(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()
