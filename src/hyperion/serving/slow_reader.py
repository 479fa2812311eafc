"""Clients that do not read: their answers wait in our memory, and their requests among those in work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ReadingTime:
    """How long one client may leave unread what the kernel could not take; then its connection is cut.

    Args:
        loop: The running event loop.
        limit_s: The time.
        on_unread: Told why the connection is cut.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float, on_unread: Callable[[str], None]) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._on_unread = on_unread
        self._end: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Something was written: where it still waits, the time runs, if it does not already."""
        if self._end is None and transport.get_write_buffer_size():
            self._end = self._loop.call_later(self._limit_s, self._over, transport)

    def look(self, transport: asyncio.Transport) -> None:
        """Stop the time where all was taken meanwhile."""
        if self._end is not None and not transport.get_write_buffer_size():
            self.stop()

    def stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _over(self, transport: asyncio.Transport) -> None:
        self._end = None
        if transport.get_write_buffer_size():
            self._on_unread(f"an answer was not read within {self._limit_s:g} s")
            transport.abort()
