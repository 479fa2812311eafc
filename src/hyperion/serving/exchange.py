"""A request that came whole, and its answer: what a connection and the application speak of."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from hyperion.serving.protocol import Body, Headers
from hyperion.serving.telemetry import INFLIGHT, Slot

Reply: TypeAlias = tuple[int, Headers, bytes]
"""Status, headers beside the identity's, and body."""

JSON_LINE = b"content-type: application/json\r\n"
STATUS_LINES = [b"HTTP/1.1 %d \r\n" % status for status in range(600)]
for _status in HTTPStatus:
    STATUS_LINES[_status] = b"HTTP/1.1 %d %s\r\n" % (_status, _status.phrase.encode())


class Exchange:
    """One request and its answer.

    Attributes:
        method: As it was sent.
        path: Decoded, without the query.
        headers: Names in lower case.
        body: All of it.
        received_ns: When the last byte was here; ``time.perf_counter_ns``.
        keeps: Whether the client keeps its connection after the answer.
        slot: Where it counts, once it is in work.
    """

    __slots__ = ("_deliver", "_in_work", "body", "headers", "keeps", "method", "path", "received_ns", "slot")

    def __init__(
        self,
        method: bytes,
        path: str,
        headers: Headers,
        body: Body,
        deliver: Callable[[Exchange, Reply, bytes], None],
        *,
        keeps: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.received_ns = time.perf_counter_ns()
        self.keeps = keeps
        self._deliver = deliver
        self._in_work = False

    def begin(self, slot: Slot) -> None:
        """It is in work, and counts in ``slot`` from here on."""
        self.slot = slot
        self._in_work = True
        slot.counters[INFLIGHT] += 1

    def end(self) -> None:
        """It is in work no longer; said twice, it counts once."""
        if self._in_work:
            self._in_work = False
            self.slot.counters[INFLIGHT] -= 1

    def deliver(self, reply: Reply, identity_lines: bytes) -> None:
        """Give the answer, once: within the application's call or any time after it, in the event loop.

        Args:
            reply: It.
            identity_lines: Who gives it, as ``header_lines``.
        """
        self._deliver(self, reply, identity_lines)


def header_lines(headers: Headers) -> bytes:
    """Headers as they go over the wire.

    Raises:
        ValueError: One of them would be more than one line.
    """
    lines = b"".join([b"%b: %b\r\n" % item for item in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header holds a line break")
    return lines


def render_head(reply: Reply, date_line: bytes, identity_lines: bytes, *, last: bool) -> bytes:
    """All of an answer before its body; ``last`` says that its connection ends with it."""
    status, headers, body = reply
    lines = header_lines(headers) if headers else b""
    return b"%b%b%b%b%bcontent-length: %d\r\n%b\r\n" % (
        STATUS_LINES[status],
        date_line,
        identity_lines,
        b"" if b"content-type: " in lines else JSON_LINE,
        lines,
        len(body),
        b"connection: close\r\n" if last else b"",
    )
