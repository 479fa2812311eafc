"""Clients that do not read: their answers wait in our memory, and their requests among those in work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ReadingTime:
    """How long one client may leave unread what the kernel could not take; then its connection is cut.

    What was written is still here until the loop turns, so each answer begins a time that ends at once. One timer
    runs on from answer to answer, since arming and disarming one for each costs more than looking when it is up.

    Args:
        loop: The running event loop.
        limit_s: The time.
        on_unread: Told why the connection is cut.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, on_unread: Callable[[str], None]) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._on_unread = on_unread
        self._since: float | None = None
        self._end: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Something was written: where it still waits, the time runs, if it does not already."""
        if self._since is None and transport.get_write_buffer_size():
            self._since = self._loop.time()
            if self._end is None:
                self._end = self._loop.call_later(self._limit_s, self._over, transport)

    def look(self, transport: asyncio.Transport) -> None:
        """Stop the time where all was taken meanwhile."""
        if self._since is not None and not transport.get_write_buffer_size():
            self._since = None

    def stop(self) -> None:
        self._since = None
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _over(self, transport: asyncio.Transport) -> None:
        self._end = None
        self.look(transport)
        if self._since is None:
            return
        left_s = self._since + self._limit_s - self._loop.time()
        if left_s > 0:
            self._end = self._loop.call_later(left_s, self._over, transport)
        else:
            self._on_unread(f"an answer was not read within {self._limit_s:g} s")
            transport.abort()
