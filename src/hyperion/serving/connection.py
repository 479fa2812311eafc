"""HTTP connections of a worker: uvicorn's httptools protocol with limits, and with a way to leave without loss.

What differs from stock uvicorn, and why:

- The application starts when the request is complete, so limits on header, body and time stand in one place.
- Refusals (400, 408, 413, 431) half-close and then read on for a moment: closing with unread data would reset the
  connection and take the answer with it.
- A lame duck closes no connection that may carry a request: it gives each away, once nothing of a request or an
  answer is here (handover), or its next answer says ``Connection: close``. A connection that was accepted and not yet
  read gets its answer too. Only past the deadline requests get 503.
- Idle connections are kept for KEEP_ALIVE_S, since closing one races with the client's next request.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from hyperion.serving.door import Door
from hyperion.serving.handover import Heirs, Outcome
from hyperion.serving.received_body import ReceivedBody
from hyperion.serving.slow_reader import ReadingTime
from hyperion.serving.telemetry import INFLIGHT, RECEIVED_BYTES

KEEP_ALIVE_S = 75
LINGER_S = 2.0
"""How long a refused connection is read on, so that its client sees the refusal."""
RETRY_S = 0.005
"""When a connection that could not yet be given away is offered again."""
RETRY_AFTER_S = 1
"""When a client may come again whose request the worker had to drop."""

UPGRADE_HEADERS = (b"upgrade", b"connection", b"http2-settings")


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
    """One client connection.

    Args:
        config: See connection_config.
        door: Of the worker.
        loop: The running event loop.
        inherited: Whether another worker served it before.
    """

    server_state: Door

    def __init__(self, config: Config, door: Door, loop: asyncio.AbstractEventLoop, *, inherited: bool = False) -> None:
        super().__init__(config, door, {}, loop)
        self.door = door
        self.inherited = inherited
        self.limits = door.limits
        self.head_bytes = 0
        self.body = ReceivedBody()
        self.in_header = False
        self.receiving = False
        self.refused = False
        self.waiting: tuple[RequestResponseCycle, Any] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.linger: asyncio.TimerHandle | None = None
        self.reading_time = ReadingTime(loop, door.limits.write_timeout_s, door.on_unread)

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.inherited:  # it may stay as silent as it was
            self.timeout_keep_alive_task = self.loop.call_later(KEEP_ALIVE_S, self.timeout_keep_alive_handler)
        elif self.door.overrun:
            transport.abort()
            return
        elif (crowd := self.door.crowd_refusal()) is not None:
            self.refuse(*crowd)
            return
        else:
            self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
        if self.door.heirs is not None:
            self.loop.call_soon(self.move_on)  # not now: the transport begins to read when this returns

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()
        if self.linger is not None:
            self.linger.cancel()
        self.reading_time.stop()
        super().connection_lost(exc)
        self.door.departed()

    def data_received(self, data: bytes) -> None:
        self.door.slot.counters[RECEIVED_BYTES] += len(data)
        if self.refused:
            return  # lingering: what still comes is thrown away
        self.head_bytes += len(data)
        self._unset_keepalive_if_required()
        self.reading_time.look(self.transport)
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
        self.body = ReceivedBody()
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
        if (no := self.door.keys.refusal(self.scope["path"], self.headers)) is not None:
            self.refuse(*no)
            return
        if self.expect_100_continue:
            self.cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.door.leaving:
            self._make_last(self.cycle, earlier)

    def on_body(self, body: bytes) -> None:
        if self.refused:
            return
        self.body.add(body)
        if self.body.size > self.limits.max_body_bytes:
            limit = self.limits.max_body_bytes
            self.refuse(413, "too_large", f"the body has more than {limit} bytes, the most that is accepted")

    def on_message_complete(self) -> None:
        if self.refused or self.parser.should_upgrade():
            return
        self.receiving = False
        self.head_bytes = 0
        self.cycle.scope["received_ns"] = time.perf_counter_ns()  # type: ignore[typeddict-unknown-key]
        self.cycle.scope["body"] = self.body.whole(self.headers)  # type: ignore[typeddict-unknown-key]
        self.body = ReceivedBody()
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
        slot = self.door.slot
        slot.counters[INFLIGHT] += 1
        cycle.scope["slot"] = slot  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.reading_time.begin(self.transport)
        if self.receiving:
            self._unset_keepalive_if_required()  # a request is half here: its own deadline runs
        self._move_soon()

    # --- refusals ---

    def refuse(self, status: int, cause: str, message: str, *, instead: bool = False) -> None:
        """Answer without the application, then let the client read that before the connection goes.

        With ``instead`` this answer also takes the place of one that is in work and not begun.
        """
        latest = self._latest
        in_work = latest is not None and not latest.response_complete and self.waiting is None
        self.refused = True
        self.receiving = self.in_header = False
        self.waiting = None
        self._disarm()
        self._unset_keepalive_if_required()
        self.door.on_refused(status, cause, message)
        if in_work and instead and not self.pipeline and latest is not None and not latest.response_started:
            latest.disconnected = True  # what comes of it is dropped
        elif in_work:
            self.transport.abort()  # an earlier pipelined request is in work: order cannot be kept
            return
        body = orjson.dumps({"error": message})
        head = [STATUS_LINE[status]]
        for name, value in (*self.door.default_headers, *self.door.identity):
            head += (name, b": ", value, b"\r\n")
        if status in (429, 503):
            head.append(b"retry-after: %d\r\n" % RETRY_AFTER_S)
        elif status == 401:
            head.append(b"www-authenticate: Bearer\r\n")
        head.append(b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join((*head, body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.linger = self.loop.call_later(LINGER_S, self._stop_lingering)

    def eof_received(self) -> None:
        """The client sends no more; uvicorn's answer, closing once all is written, is the transport's default."""

    def _stop_lingering(self) -> None:
        self.reading_time.begin(self.transport)  # which closes once all is written
        self.transport.close()

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

    # --- clients that do not read ---

    def pause_writing(self) -> None:
        super().pause_writing()
        self.reading_time.begin(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.reading_time.stop()

    # --- leaving ---

    def say_goodbye(self) -> None:
        """Make the newest answer the last, if it is still to come; else the next one will be."""
        latest = self._latest
        if latest is not None and not latest.response_started:
            latest.keep_alive = False

    def move_on(self) -> None:
        """Go to an heir, if nothing of a request or an answer is here; else with the end of the answer."""
        if self.door.heirs is None or not self._is_at_rest:
            return
        # Reading stops first: from here on what the client sends stays in the kernel, and goes along.
        self.transport.pause_reading()
        self._give_away()

    def _give_away(self) -> None:
        """Offer this connection, which reads no more, until an heir has it or it is to stay."""
        heirs, transport = self.door.heirs, self.transport
        if transport.is_closing():
            return
        if heirs is None or self.door.leaving or not self._is_at_rest:
            transport.resume_reading()
        elif transport.get_write_buffer_size():
            self.loop.call_later(RETRY_S, self._give_away)
        else:
            self._offer(heirs)

    def _offer(self, heirs: Heirs) -> None:
        match heirs.give(self.transport.get_extra_info("socket").fileno()):
            case Outcome.GIVEN:
                self.connections.discard(self)
                self.transport.abort()  # closes our copy, which ends nothing
            case Outcome.LATER:
                self.loop.call_later(RETRY_S, self._give_away)
            case Outcome.NO_HEIR:
                self.transport.resume_reading()
                self.door.dismiss()

    def give_up(self) -> None:
        """End now: a request that is here gets 503, and its client may come again."""
        if self.transport.is_closing() or self.refused:
            self.transport.abort()
        elif self._is_at_rest:
            self.transport.close()
        else:
            message = "the worker leaves, and did not answer within its drain deadline; retry"
            self.refuse(503, "timeout", message, instead=True)

    @property
    def _is_at_rest(self) -> bool:
        """Whether nothing of a request was read that is not answered."""
        latest = self._latest
        return (
            not (self.receiving or self.refused or self.pipeline)
            and self.waiting is None
            and (latest is None or latest.response_complete)
            and not self.transport.is_closing()
        )

    def _move_soon(self) -> None:
        """Read nothing more, and go in the next turn of the loop, by when the answer has been written.

        A client on this host has its answer and asks again before this process runs on.
        """
        if self.door.heirs is not None and not self.door.leaving and self._is_at_rest:
            self.transport.pause_reading()
            self.loop.call_soon(self._give_away)

    @staticmethod
    def _make_last(cycle: RequestResponseCycle, earlier: RequestResponseCycle | None) -> None:
        """End after this answer, and not after the one before it that is still to come."""
        if earlier is not None and not earlier.response_started:
            earlier.keep_alive = True
        cycle.keep_alive = False
