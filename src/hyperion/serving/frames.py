"""Frames: requests that one worker forwards to another over a unix stream socket, and their answers.

A frame is 4 bytes of length (big endian) and a msgpack array. Who was asked says Hello first; then questions and
answers pass in any order, told apart by their numbers. The asking end closes the link once it has all its answers.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec

from hyperion.serving.exchange import header_lines

Headers = list[tuple[bytes, bytes]]
LENGTH_BYTES = 4
STATUSES = frozenset(range(200, 600)) - {204, 205, 304}
"""Of answers with a body; behind another, its bytes would pass for the next answer."""
FRAMING = frozenset({b"connection", b"content-length", b"keep-alive", b"trailer", b"transfer-encoding", b"upgrade"})
"""Headers that say where an answer ends: ours alone."""
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
FRAME_OVERHEAD_BYTES = 64 * 1024
"""What a frame may have beyond the largest body: its headers."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Who answers: the headers that name deployment, model, version and revision."""

    identity: Headers


class Question(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The body of an infer request, and how much of it is JSON (see protocol.json_length)."""

    number: int
    body: bytes
    json_bytes: int | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What its client gets; ``headers`` beside the identity's."""

    number: int
    status: int
    headers: Headers
    body: bytes


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Ask no more: who answers is about to leave."""


Frame = Hello | Question | Answer | Goodbye
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


Tell = Callable[[Answer | None], None]
"""Told what was answered; None where the worker that was asked is gone, or does not answer."""


class FrameStream(asyncio.Protocol, ABC):
    """Frames over a connection; a peer that breaks their form is cut off.

    Args:
        most_bytes: Longest frame.
    """

    def __init__(self, most_bytes: int) -> None:
        self.transport: asyncio.Transport | None = None
        self._most_bytes = most_bytes
        self._received = bytearray()

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @abstractmethod
    def heard(self, frame: Frame) -> None:
        """Take in one frame."""

    def send(self, frame: Frame) -> None:
        """Send one frame; one to a dead peer is lost."""
        if self.transport is not None and not self.transport.is_closing():
            encoded = bytearray(LENGTH_BYTES)
            _encoder.encode_into(frame, encoded, LENGTH_BYTES)
            encoded[:LENGTH_BYTES] = (len(encoded) - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "big")
            self.transport.write(encoded)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= LENGTH_BYTES:
            end = start + LENGTH_BYTES + int.from_bytes(received[start : start + LENGTH_BYTES], "big")
            if end - start > self._most_bytes:
                self.close()
                return
            if len(received) < end:
                break
            try:
                frame = _decoder.decode(bytes(received[start + LENGTH_BYTES : end]))
            except msgspec.DecodeError:
                self.close()
                return
            start = end
            self.heard(frame)
        if start:
            del received[:start]


class FrameLink(FrameStream):
    """The asking end: to one worker of the candidate.

    Attributes:
        identity_lines: Who answers, as it goes over the wire.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self.identity_lines = b""
        self._asked: dict[int, tuple[Tell, float]] = {}
        self._next = 0
        self._retired = False

    @property
    def takes_questions(self) -> bool:
        return self.is_open and not self._retired

    @property
    def unanswered(self) -> int:
        return len(self._asked)

    def ask(self, body: bytes, json_bytes: int | None, tell: Tell) -> None:
        """Have ``tell`` told of the answer; never before this returns."""
        self._next += 1
        self._asked[self._next] = (tell, time.monotonic())
        self.send(Question(self._next, body, json_bytes))

    def expire(self, older_than_s: float) -> None:
        """Give up on what was asked so long ago; a late answer is dropped."""
        before = time.monotonic() - older_than_s
        for number, (tell, asked_at) in list(self._asked.items()):
            if asked_at < before:
                del self._asked[number]
                _fail(tell)
        self._close_if_done()

    def retire(self) -> None:
        """Ask no more; the link is closed with its last answer."""
        self._retired = True
        self._close_if_done()

    def heard(self, frame: Frame) -> None:
        match frame:
            case Answer(number, status, headers) if status in STATUSES and _are_lines(headers):
                tell, _ = self._asked.pop(number, (None, 0.0))
                if tell is not None:
                    tell(frame)
                self._close_if_done()
            case Hello(identity) if _are_lines(identity):
                self.identity_lines = header_lines(identity)
            case Goodbye():
                self.retire()
            case _:
                self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        asked, self._asked = self._asked, {}
        for tell, _ in asked.values():
            _fail(tell)

    def _close_if_done(self) -> None:
        if self._retired and not self._asked:
            self.close()


class FrameDoor(FrameStream):
    """The answering end: from one worker that forwards.

    Args:
        most_bytes: Longest frame.
        identity: Names who answers.
        answer_at_once: Status, headers and body for the body of a request and its json_bytes; None where ``answer`` is
            to be awaited. A task would cost more than the answer to a small request. Neither may raise.
        answer: The same, in a task.
        on_gone: Told when the link is closed.
    """

    def __init__(
        self,
        most_bytes: int,
        identity: Headers,
        answer_at_once: Callable[[bytes, int | None], tuple[int, Headers, bytes] | None],
        answer: Callable[[bytes, int | None], Awaitable[tuple[int, Headers, bytes]]],
        on_gone: Callable[[FrameDoor], None],
    ) -> None:
        super().__init__(most_bytes)
        self._identity = identity
        self._answer_at_once = answer_at_once
        self._answer = answer
        self._on_gone = on_gone
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(Hello(self._identity))

    def connection_lost(self, _error: Exception | None) -> None:
        self._on_gone(self)

    def say_goodbye(self) -> None:
        """Be asked no more; what was asked is answered, then the other end closes the link."""
        self.send(Goodbye())

    def heard(self, frame: Frame) -> None:
        if not isinstance(frame, Question):
            self.close()
            return
        found = self._answer_at_once(frame.body, frame.json_bytes)
        if found is not None:
            self.send(Answer(frame.number, *found))
            return
        task = asyncio.get_running_loop().create_task(self._reply(frame))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, question: Question) -> None:
        status, headers, body = await self._answer(question.body, question.json_bytes)
        self.send(Answer(question.number, status, headers, body))


def _are_lines(headers: Headers) -> bool:
    """Whether each of them is one line that says nothing of where the answer ends: a candidate has no part in that."""
    return all(
        _NAME.fullmatch(name) and _VALUE.fullmatch(value) and name.lower() not in FRAMING for name, value in headers
    )


def _fail(tell: Tell) -> None:
    """Each by itself: what one of them does must not keep the others waiting."""
    asyncio.get_running_loop().call_soon(tell, None)
