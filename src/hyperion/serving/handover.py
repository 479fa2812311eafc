"""Live connections go from a worker that leaves to one that stays (SCM_RIGHTS over a unix stream socket).

Only a connection at rest can go: nothing of a request was read, nothing of an answer is unsent. What the client sends
meanwhile waits in the kernel and goes along. So a swap reaches clients that never close their connections, and none
of them has to be told to come again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from enum import Enum

from hyperion.serving.wire import receive

MARK = b"c"
"""Descriptors need a byte to travel with; one for each connection."""
READ_AT_ONCE = 64
FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})
"""The heir is well, but there is no room for one more on the way (the last: of a user's descriptors)."""


class Outcome(Enum):
    """What became of a connection that was offered."""

    GIVEN = "given"
    LATER = "later"
    """The heirs have not yet taken the last ones."""
    NO_HEIR = "no heir"


class Heirs:
    """The workers that take over, in turn.

    Args:
        links: Connected sockets, one for each; owned from here on.
    """

    def __init__(self, links: Sequence[socket.socket]) -> None:
        self._links = list(links)
        self._turn = 0
        for link in self._links:
            link.setblocking(False)

    def give(self, connection: int) -> Outcome:
        """Give the connection with this descriptor away; ours is still to be closed."""
        busy = False
        for _ in range(len(self._links)):
            self._turn = (self._turn + 1) % len(self._links)
            link = self._links[self._turn]
            try:
                socket.send_fds(link, [MARK], [connection])
            except OSError as error:
                if error.errno in FULL:
                    busy = True
                    continue
                link.close()
                self._links = [other for other in self._links if other is not link]
                return self.give(connection)
            else:
                return Outcome.GIVEN
        return Outcome.LATER if busy else Outcome.NO_HEIR

    def close(self) -> None:
        for link in self._links:
            link.close()
        self._links = []


class Inheritance:
    """Takes over what other workers give: one for each of them.

    Args:
        link: Connected socket; owned from here on, closed when the other worker is done.
        take: Takes a connection over.
    """

    def __init__(self, link: socket.socket, take: Callable[[socket.socket], None]) -> None:
        link.setblocking(False)
        self._link = link
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(link.fileno(), self._read)

    def _read(self) -> None:
        for _ in range(READ_AT_ONCE):
            try:
                marks, descriptors = receive(self._link, READ_AT_ONCE)
            except BlockingIOError:
                return
            except OSError:
                marks, descriptors = b"", []
            for descriptor in descriptors:
                self._take_over(descriptor)
            if not marks:
                self._loop.remove_reader(self._link.fileno())
                self._link.close()
                return

    def _take_over(self, descriptor: int) -> None:
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            return
        connection.setblocking(False)
        self._take(connection)
