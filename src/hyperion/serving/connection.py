"""HTTP connections of a worker: uvicorn's httptools protocol with limits, and with a way to leave without loss.

What differs from stock uvicorn, and why:

- The application starts when the request is complete, so limits on header, body and time stand in one place.
- Refusals (400, 408, 413, 431) half-close and then read on for a moment: closing with unread data would reset the
  connection and take the answer with it.
- A lame duck closes no connection that may carry a request: the next answer of each says ``Connection: close``.
  A connection that was accepted and not yet read gets its answer too.
- Idle connections are kept for KEEP_ALIVE_S, since closing one races with the client's next request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hyperion.serving.channel import WorkerLimits
from hyperion.serving.telemetry import INFLIGHT, RECEIVED_BYTES, Slot

KEEP_ALIVE_S = 75
LINGER_S = 2.0
"""How long a refused connection is read on, so that its client sees the refusal."""

UPGRADE_HEADERS = (b"upgrade", b"connection", b"http2-settings")

Headers = list[tuple[bytes, bytes]]


class Door(ServerState):
    """What all connections of a worker share.

    Attributes:
        limits: What a request may take.
        slot: Counters.
        leaving: Whether the worker is a lame duck.
        on_refused: Told status, cause and message of each request that never reached the application.
    """

    def __init__(
        self, limits: WorkerLimits, slot: Slot, identity: Headers, on_refused: Callable[[int, str, str], None]
    ) -> None:
        super().__init__()
        self.limits = limits
        self.slot = slot
        self.on_refused = on_refused
        self.leaving = False
        self.emptied = asyncio.Event()
        self._identity = identity
        self.refresh_date()

    def refresh_date(self) -> None:
        """Renew the headers that every answer carries; call once a second."""
        date = formatdate(time.time(), usegmt=True).encode()
        self.default_headers = [(b"date", date), *self._identity]

    def leave(self) -> int:
        """Become a lame duck; returns how many connections are still open."""
        self.leaving = True
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.say_goodbye()
        if not self.connections:
            self.emptied.set()
        return len(self.connections)

    def cut(self) -> int:
        """Close what is left after the deadline; returns how many connections that were."""
        left = list(self.connections)
        for connection in left:
            connection.transport.abort()
        return len(left)


def connection_config(app: Any) -> Config:
    """Uvicorn's settings for Connection; its server, logging and lifespan are not used."""
    config = Config(
        app,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    return config


class Connection(HttpToolsProtocol):
    """One client connection."""

    server_state: Door

    def __init__(self, config: Config, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, door, {}, loop)
        self.door = door
        self.limits = door.limits
        self.head_bytes = 0
        self.in_header = False
        self.receiving = False
        self.refused = False
        self.waiting: tuple[RequestResponseCycle, Any] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.linger: asyncio.TimerHandle | None = None

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()
        if self.linger is not None:
            self.linger.cancel()
        super().connection_lost(exc)
        if self.door.leaving and not self.door.connections:
            self.door.emptied.set()

    def data_received(self, data: bytes) -> None:
        self.door.slot.counters[RECEIVED_BYTES] += len(data)
        if self.refused:
            return  # lingering: what still comes is thrown away
        self.head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if not self.receiving:
            self._disarm()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
        if self.in_header and self.head_bytes > self.limits.max_header_bytes:
            self._refuse_header()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self.refused:
                self.refuse(400, "bad_request", "the bytes are no HTTP request")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request anew without its offer to upgrade (some clients offer HTTP/2 with every request).

        The parser takes an upgrade for granted and would give the body to the next protocol.
        """
        if self.refused:
            return
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(400, "bad_request", "CONNECT is not served")
            return
        kept = [(name, value) for name, value in self.headers if name not in UPGRADE_HEADERS]
        head = b"".join((method, b" ", self.url, b" HTTP/1.1\r\n", *(b"%s: %s\r\n" % item for item in kept), b"\r\n"))
        self.parser = httptools.HttpRequestParser(self)
        self._feed(head)
        self._feed(rest)

    # --- the parser's events ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.receiving = self.in_header = not self.refused

    def on_headers_complete(self) -> None:
        self.in_header = False
        if self.refused or self.parser.should_upgrade():
            return
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.max_header_bytes:
            self._refuse_header()
            return
        limit = self.limits.max_body_bytes
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limit:
                self.refuse(413, "too_large", f"the body has {int(value)} bytes; at most {limit} are accepted")
                return
        earlier = self._latest
        super().on_headers_complete()
        if self.expect_100_continue:
            self.cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.door.leaving:
            self._make_last(self.cycle, earlier)

    def on_body(self, body: bytes) -> None:
        if self.refused:
            return
        if len(self.cycle.body) + len(body) > self.limits.max_body_bytes:
            limit = self.limits.max_body_bytes
            self.refuse(413, "too_large", f"the body has more than {limit} bytes, the most that is accepted")
            return
        self.cycle.body += body

    def on_message_complete(self) -> None:
        if self.refused or self.parser.should_upgrade():
            return
        self.receiving = False
        self.head_bytes = 0
        self.cycle.scope["received_ns"] = time.perf_counter_ns()  # type: ignore[typeddict-unknown-key]
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self.waiting is not None:
            cycle, app = self.waiting
            self.waiting = None
            self._run(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.more_body:
            self.waiting = (cycle, app)
        else:
            self._run(cycle, app)

    def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.door.slot.counters[INFLIGHT] += 1
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.receiving:
            self._unset_keepalive_if_required()  # a request is half here: its own deadline runs

    # --- refusals ---

    def refuse(self, status: int, cause: str, message: str) -> None:
        """Answer without the application, then let the client read that before the connection goes."""
        latest = self._latest
        in_work = latest is not None and not latest.response_complete and self.waiting is None
        self.refused = True
        self.receiving = self.in_header = False
        self.waiting = None
        self._disarm()
        self._unset_keepalive_if_required()
        self.door.on_refused(status, cause, message)
        if in_work:
            self.transport.abort()  # an earlier pipelined request is in work: order cannot be kept
            return
        body = orjson.dumps({"error": message})
        head = [STATUS_LINE[status]]
        for name, value in self.door.default_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join((*head, body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.linger = self.loop.call_later(LINGER_S, self.transport.close)

    def eof_received(self) -> None:
        """The client sends no more; uvicorn's answer, closing once all is written, is the transport's default."""

    def _refuse_header(self) -> None:
        limit = self.limits.max_header_bytes
        self.refuse(431, "too_large", f"the header has more than {limit} bytes, the most that is accepted")

    def _too_slow(self) -> None:
        self.deadline = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # it is we who do not read, since an earlier request is in work
            self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
            return
        if not self.head_bytes:
            self.transport.close()  # opened and silent
            return
        seconds = self.limits.header_timeout_s
        self.refuse(408, "timeout", f"the request was not complete after {seconds:g} s")

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The newest request of this connection; None before the first."""
        return self.cycle

    def _disarm(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    # --- leaving ---

    def say_goodbye(self) -> None:
        """Make the newest answer the last, if it is still to come; else the next one will be."""
        latest = self._latest
        if latest is not None and not latest.response_started:
            latest.keep_alive = False

    @staticmethod
    def _make_last(cycle: RequestResponseCycle, earlier: RequestResponseCycle | None) -> None:
        """End after this answer, and not after the one before it that is still to come."""
        if earlier is not None and not earlier.response_started:
            earlier.keep_alive = True
        cycle.keep_alive = False
