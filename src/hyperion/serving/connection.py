"""HTTP/1 connections of a worker: limits, and a way to leave without loss.

- A request reaches the application when it is complete, so limits on header, body and time stand in one place. What
  the application can say at once is written before the loop turns again: no task, no queue (ADR 28).
- One request of a connection is in work at a time; those that were pipelined behind it wait, and reading stops.
- Refusals (400, 408, 413, 415, 431) half-close and then read on for a moment: closing with unread data would reset the
  connection and take the answer with it.
- A lame duck closes no connection that may carry a request: it gives each away, once nothing of a request or an
  answer is here (handover), or its next answer says ``Connection: close``. A connection that was accepted and not yet
  read gets its answer too. Only past the deadline requests get 503.
- Idle connections are kept for KEEP_ALIVE_S, since closing one races with the client's next request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

from hyperion.serving.direct_reading import DirectReading
from hyperion.serving.door import Door
from hyperion.serving.exchange import Exchange, Reply, render_head
from hyperion.serving.handover import Heirs, Outcome
from hyperion.serving.protocol import Body, Headers, render_error
from hyperion.serving.request_reader import RequestReader
from hyperion.serving.slow_reader import ReadingTime
from hyperion.serving.telemetry import RECEIVED_BYTES

KEEP_ALIVE_S = 75
LINGER_S = 2.0
"""How long a refused connection is read on, so that its client sees the refusal."""
RETRY_S = 0.005
"""When a connection that could not yet be given away is offered again."""
RETRY_AFTER_S = 1
"""When a client may come again whose request the worker had to drop."""
JOINED_BYTES = 64 * 1024
"""A body up to this size is written together with its head; a copy of a larger one would cost more than it saves."""


class Answering(Protocol):
    """What answers requests."""

    def answer(self, exchange: Exchange) -> None:
        """Have the exchange deliver its answer, now or later."""


class Connection(asyncio.Protocol):
    """One client connection.

    Args:
        application: Answers.
        door: Of the worker.
        loop: The running event loop.
        inherited: Whether another worker served it before.
    """

    transport: asyncio.Transport

    def __init__(
        self, application: Answering, door: Door, loop: asyncio.AbstractEventLoop, *, inherited: bool = False
    ) -> None:
        self.application = application
        self.door = door
        self.loop = loop
        self.inherited = inherited
        self.limits = door.limits
        self.reader = RequestReader(door, self)
        self.refused = False
        self.half_closed = False
        self.direct: DirectReading | None = None
        self.current: Exchange | None = None
        self.queue: deque[Exchange] = deque()
        self.unsent: tuple[Reply, bytes] | None = None
        self.read_paused = False
        self.write_paused = False
        self.deadline: asyncio.TimerHandle | None = None
        self.linger: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        self.idle_end: asyncio.TimerHandle | None = None
        self.reading_time = ReadingTime(loop, door.limits.write_timeout_s, door.on_unread)

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.door.connections.add(self)
        if self.inherited:
            self._begin_idling()  # it may stay as silent as it was
        elif self.door.overrun:
            self.transport.abort()
            return
        elif (crowd := self.door.crowd_refusal()) is not None:
            self.refuse(*crowd)
            return
        else:
            self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
        if self.door.heirs is not None:
            self.loop.call_soon(self.move_on)  # not now: the transport begins to read when this returns

    def connection_lost(self, _error: Exception | None) -> None:
        for timer in (self.deadline, self.idle_end, self.linger):
            if timer is not None:
                timer.cancel()
        self.reading_time.stop()
        self.reader.release()
        self._drop()
        self.direct = None  # they refer to each other
        self.queue.clear()
        self.door.connections.discard(self)
        self.door.departed()

    def data_received(self, data: bytes) -> None:
        self.door.slot.counters[RECEIVED_BYTES] += len(data)
        if self.refused:
            return  # lingering: what still comes is thrown away
        self.reading_time.look(self.transport)
        self.reader.feed(data)
        if self.reader.receiving:
            if self.deadline is None:
                self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
            self._read_directly()
        if self.queue:
            self._go_on()

    def _read_directly(self) -> None:
        """Let the rest of a large body come past the parser; not with TLS, which decrypts into buffers of its own."""
        if self.transport.get_extra_info("sslcontext") is None and (body := self.reader.placed_body()) is not None:
            if self.direct is None:
                self.direct = DirectReading(self, self.transport)
            self.direct.body = body

    def body_received(self, size: int, *, complete: bool) -> None:
        self.door.slot.counters[RECEIVED_BYTES] += size
        if complete:
            self.reader.body_complete()
            self._go_on()

    def eof_received(self) -> bool:
        """The client sends no more, but may still read: what it asked for is answered (but TLS ends with its end).

        Nothing waits in the queue then: while something does, nothing is read, not even an end.
        """
        if self.current is None or self.transport.get_extra_info("sslcontext") is not None:
            return False  # the transport closes once all is written
        self.half_closed = True
        self.reader.end()
        self._disarm()
        return True

    # --- requests and answers ---

    def requested(self, method: bytes, path: str, headers: Headers, body: Body, *, keeps: bool) -> None:
        self._disarm()  # another one that is half here already has a time of its own
        self.queue.append(Exchange(method, path, headers, body, self._deliver, keeps=keeps))

    def invite(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _go_on(self) -> None:
        """Have the next request answered, where none is in work; read no more while others wait behind it."""
        if self.queue and self.current is None and not (self.refused or self.transport.is_closing()):
            self.current = self.queue.popleft()
            self.current.begin(self.door.slot)
            self.application.answer(self.current)
        waits = bool(self.queue)
        if waits != self.read_paused and not self.transport.is_closing():
            self.read_paused = waits
            (self.transport.pause_reading if waits else self.transport.resume_reading)()

    def _deliver(self, exchange: Exchange, reply: Reply, identity_lines: bytes) -> None:
        if exchange is not self.current or self.transport.is_closing():
            exchange.end()  # nobody waits for it any more
        elif self.write_paused:
            self.unsent = reply, identity_lines
        else:
            self._write(exchange, reply, identity_lines)

    def _write(self, exchange: Exchange, reply: Reply, identity_lines: bytes) -> None:
        ends = self.half_closed or self.door.leaving
        last = not exchange.keeps or (ends and not self.queue and not self.reader.receiving)
        head, body = render_head(reply, self.door.date_line, identity_lines, last=last), reply[2]
        exchange.end()
        self.current = None
        self.reading_time.look(self.transport)
        if exchange.method == b"HEAD":
            self.transport.write(head)
        elif len(body) <= JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self.reading_time.begin(self.transport)
        if last:
            self.queue.clear()
            self.transport.close()
        elif self.queue:
            self.loop.call_soon(self._go_on)  # not now: other connections have their turn
        else:
            self._rest()

    def _rest(self) -> None:
        """All is answered that was read."""
        if self.read_paused:
            self._go_on()
        self._begin_idling()
        self._move_soon()

    def _drop(self) -> None:
        """Let nothing come of the request in work."""
        if self.unsent is not None and self.current is not None:
            self.current.end()
        self.current = self.unsent = None

    # --- refusals ---

    def refuse(self, status: int, cause: str, message: str, *, instead: bool = False) -> None:
        """Answer without the application, then let the client read that before the connection goes.

        With ``instead`` this answer also takes the place of one that is in work.
        """
        self.refused = True
        self.reader.end()
        if self.direct is not None:
            self.direct.body = None
        self._disarm()
        self.door.on_refused(status, cause, message)
        if self.queue or (self.current is not None and not instead):
            self.transport.abort()  # an earlier pipelined request is in work: order cannot be kept
            return
        self._drop()
        headers: Headers = []
        if status in (429, 503):
            headers = [(b"retry-after", b"%d" % RETRY_AFTER_S)]
        elif status == 401:
            headers = [(b"www-authenticate", b"Bearer")]
        elif status == 415:
            headers = [(b"accept-encoding", b"identity")]
        reply = status, headers, render_error(message)
        head = render_head(reply, self.door.date_line, self.door.identity_lines, last=True)
        self.transport.write(head + reply[2])
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.linger = self.loop.call_later(LINGER_S, self._stop_lingering)

    def _stop_lingering(self) -> None:
        self.reading_time.begin(self.transport)  # which closes once all is written
        self.transport.close()

    def _too_slow(self) -> None:
        self.deadline = None
        if self.transport.is_closing():
            return
        if self.read_paused:  # it is we who do not read, since an earlier request is in work
            self.deadline = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)
            return
        if not self.reader.receiving:
            self.transport.close()  # opened and silent; empty lines say nothing either
            return
        seconds = self.limits.header_timeout_s
        self.refuse(408, "timeout", f"the request was not complete after {seconds:g} s")

    def _disarm(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    # --- clients that neither read nor ask ---

    def pause_writing(self) -> None:
        self.write_paused = True
        self.reading_time.begin(self.transport)

    def resume_writing(self) -> None:
        self.write_paused = False
        self.reading_time.stop()
        if self.unsent is not None and self.current is not None:
            (reply, identity_lines), self.unsent = self.unsent, None
            self._write(self.current, reply, identity_lines)

    def _begin_idling(self) -> None:
        """From here on the client may be silent; the timer runs on from request to request, which is cheaper."""
        self.idle_since = self.loop.time()
        if self.idle_end is None:
            self.idle_end = self.loop.call_later(KEEP_ALIVE_S, self._end_if_idle)

    def _end_if_idle(self) -> None:
        left_s = self.idle_since + KEEP_ALIVE_S - self.loop.time()
        if left_s <= 0 and self._is_at_rest:
            self.transport.close()
        else:
            self.idle_end = self.loop.call_later(left_s if left_s > 0 else KEEP_ALIVE_S, self._end_if_idle)

    # --- leaving ---

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
                self.door.connections.discard(self)
                self.transport.abort()  # closes our copy, which ends nothing
            case Outcome.LATER:
                self.loop.call_later(RETRY_S, self._give_away)
            case Outcome.NO_HEIR:
                self.transport.resume_reading()
                self.door.dismiss()

    def end_if_at_rest(self) -> None:
        """End now, if nothing of a request or an answer is here."""
        if self._is_at_rest:
            self.transport.close()

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
        return (
            not (self.reader.receiving or self.refused or self.queue)
            and self.current is None
            and not self.transport.is_closing()
        )

    def _move_soon(self) -> None:
        """Read nothing more, and go in the next turn of the loop, by when the answer has been written.

        A client on this host has its answer and asks again before this process runs on.
        """
        if self.door.heirs is not None and not self.door.leaving and self._is_at_rest:
            self.transport.pause_reading()
            self.loop.call_soon(self._give_away)
