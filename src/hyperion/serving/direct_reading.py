"""Large bodies go from the kernel to their place: no parser, and no copy, in between.

A connection whose client sends one is read by DirectReading from then on: its transport (uvloop's and asyncio's alike)
then reads into the buffer that it names. For small requests that costs a little more than pieces made by the transport
do, so other connections are not read so.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from hyperion.serving.received_body import ReceivedBody

HEAD_BYTES = 32 * 1024
"""How much is read at most before a request's header was parsed; what comes behind that goes to its place."""
_head = memoryview(bytearray(HEAD_BYTES))
"""All connections of a process share it: what is in it is taken out before anything else is read."""


class Receiver(Protocol):
    """The connection that is read."""

    def data_received(self, data: bytes) -> None:
        """Something came that goes to the parser."""

    def body_received(self, size: int, *, complete: bool) -> None:
        """So many bytes more of a body are in their place; ``complete`` says whether those were the last."""

    def eof_received(self) -> bool:
        """The client sends no more; says whether the transport stays open."""

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class DirectReading(asyncio.BufferedProtocol):
    """Takes a connection's place at its transport, while that reads.

    Attributes:
        body: Has a place, and gets what comes; None where that is for the parser.
    """

    def __init__(self, receiver: Receiver, transport: asyncio.Transport) -> None:
        self.body: ReceivedBody | None = None
        self._receiver = receiver
        transport.pause_reading()  # how it reads is settled when it begins to
        transport.set_protocol(self)
        transport.resume_reading()

    def get_buffer(self, _sizehint: int) -> memoryview:
        return _head if self.body is None else self.body.room()

    def buffer_updated(self, nbytes: int) -> None:
        body = self.body
        if body is None:
            self._receiver.data_received(bytes(_head[:nbytes]))
            return
        body.grew(nbytes)
        if body.is_complete:
            self.body = None
        self._receiver.body_received(nbytes, complete=self.body is None)

    def eof_received(self) -> bool:
        return self._receiver.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(exc)

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()
