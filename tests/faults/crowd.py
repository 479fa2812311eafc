"""Clients that never retry, of all manners, over raw sockets; every answer is checked for value and revision.

They live in an event loop of their own, in a thread. Whatever does not end in the right answer is a fault.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.serving_kit import address_of

TIMEOUT_S = 30.0
CATCH_UP_S = 0.1
"""So much of a schedule is made up for at most."""
LARGE_ROWS = 1500
"""Of a slow reader's request: its answer does not fit into the sockets' buffers."""

Values = Sequence[Sequence[float]]
Manners = Mapping[str, int]
"""How many clients of each manner."""
ALL: Manners = {"keep-alive": 3, "one-shot": 2, "pipelining": 1, "slow reader": 1, "half a header": 2, "silent": 2}
PLAIN: Manners = {"keep-alive": 4, "one-shot": 4}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and what became of it; times in seconds of the monotonic clock, revision 0 where none answered."""

    manner: str
    sent_at: float
    ended_at: float
    revision: int
    fault: str | None


@dataclass(frozen=True)
class Question:
    """A request's body, and the values that each version of the model answers."""

    body: bytes
    answers: Mapping[str, Values]


class WrongAnswerError(Exception):
    """An answer came, and is not the right one."""

    def __init__(self, revision: int, words: str) -> None:
        super().__init__(words)
        self.revision = revision


class Crowd:
    """A context in which the clients send.

    Args:
        url: Of the deployment.
        name: Of the deployment.
        small: Questions of one row.
        large: A question of LARGE_ROWS rows, for slow readers.
        manners: Who asks.
        every_s: From one request of a client to its next, on average; more where answers take longer.
    """

    def __init__(
        self, url: str, name: str, small: Sequence[Question], large: Question, manners: Manners = PLAIN,
        every_s: float = 0.007,
    ) -> None:  # fmt: skip
        self._address, self._name, self._every_s = address_of(url), name, every_s
        self._small, self._large = small, large
        self._manners = manners
        self._sent: list[Sent] = []
        self._due_s: dict[asyncio.Task[Any] | None, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join(TIMEOUT_S + 5)
        assert not self._thread.is_alive(), "a client waits for ever"

    # --- what they saw ---

    @property
    def sent(self) -> list[Sent]:
        return list(self._sent)

    def answered(self, since: float = 0.0) -> int:
        """Right answers to what was sent since then."""
        return sum(1 for sent in self.sent if sent.fault is None and sent.sent_at >= since)

    def faults(self, *, but_of: int | None = None) -> Counter[str]:
        """How often each fault was seen, but for those that this revision answered."""
        return Counter(
            f"{sent.manner}: {sent.fault}" for sent in self.sent if sent.fault is not None and sent.revision != but_of
        )

    def last_of(self, revision: int) -> float:
        """When the last request was sent that this revision answered; 0 where it answered none."""
        return max((sent.sent_at for sent in self.sent if sent.revision == revision), default=0.0)

    # --- the clients ---

    async def _all(self) -> None:
        ways: dict[str, Callable[[random.Random], Awaitable[None]]] = {
            "keep-alive": self._keep_alive, "one-shot": self._one_shot, "pipelining": self._pipelining,
            "slow reader": self._slow_reader, "half a header": self._half_header, "silent": self._silent,
        }  # fmt: skip
        clients = [(manner, number) for manner, count in self._manners.items() for number in range(count)]
        await asyncio.gather(*(self._repeat(manner, ways[manner], number) for manner, number in clients))

    async def _repeat(self, manner: str, way: Callable[[random.Random], Awaitable[None]], number: int) -> None:
        chance = random.Random(f"{manner} {number}")
        while not self._end.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await way(chance)
            except WrongAnswerError as error:
                self._note(manner, began, error.revision, str(error))
            except (OSError, ValueError, KeyError, asyncio.IncompleteReadError) as error:
                self._note(manner, began, 0, f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.01)  # a dead server must not fill the memory with faults

    def _note(self, manner: str, sent_at: float, revision: int, fault: str | None) -> None:
        self._sent.append(Sent(manner, sent_at, time.monotonic(), revision, fault))

    async def _keep_alive(self, chance: random.Random) -> None:
        """Until the server says that it closes, or for some seconds."""
        line = await Line.open(self._address)
        until = time.monotonic() + chance.uniform(2, 10)
        try:
            while not self._end.is_set() and time.monotonic() < until:
                began = time.monotonic()
                if not await self._exchange("keep-alive", line, chance.choice(self._small)):
                    return
                await self._rest(began)
        finally:
            line.close()

    async def _one_shot(self, chance: random.Random) -> None:
        began = time.monotonic()
        await self._single("one-shot", chance.choice(self._small))
        await self._rest(began)

    async def _pipelining(self, chance: random.Random) -> None:
        """Three requests in one write; the server owes three answers, in order."""
        line = await Line.open(self._address)
        until = time.monotonic() + chance.uniform(2, 10)
        try:
            while not self._end.is_set() and time.monotonic() < until:
                asked = [chance.choice(self._small) for _ in range(3)]
                began = time.monotonic()
                line.write(b"".join(self._request(question) for question in asked))
                stays = True
                for question in asked:
                    revision, stays = check(await line.read(), question)
                    self._note("pipelining", began, revision, None)
                if not stays:
                    return
                await self._rest(began)
        finally:
            line.close()

    async def _slow_reader(self, _chance: random.Random) -> None:
        """Takes a large answer in small sips."""
        await self._single("slow reader", self._large, sip_s=0.002)
        await asyncio.sleep(0.05)

    async def _half_header(self, chance: random.Random) -> None:
        """Sends the rest of a request after a while."""
        await self._single("half a header", chance.choice(self._small), pause_s=chance.uniform(0.02, 0.6), first=40)

    async def _silent(self, chance: random.Random) -> None:
        """Connects, and sends nothing for a while."""
        await self._single("silent", chance.choice(self._small), pause_s=chance.uniform(0.1, 1.5))

    async def _single(
        self, manner: str, question: Question, *, pause_s: float = 0.0, first: int = 0, sip_s: float = 0.0
    ) -> None:
        line = await Line.open(self._address, small=sip_s > 0)
        try:
            request = self._request(question, last=True)
            line.write(request[:first])
            if pause_s:
                await asyncio.sleep(pause_s)
            began = time.monotonic()
            line.write(request[first:])
            revision, _ = check(await line.read(sip_s), question)
            self._note(manner, began, revision, None)
        finally:
            line.close()

    async def _rest(self, began: float) -> None:
        """Until this client's next request is due: by a schedule, as each sleep lasts a bit too long."""
        client, now = asyncio.current_task(), time.monotonic()
        due = self._due_s[client] = max(self._due_s.get(client, began) + self._every_s, now - CATCH_UP_S)
        await asyncio.sleep(max(0.0, due - now))

    async def _exchange(self, manner: str, line: Line, question: Question) -> bool:
        began = time.monotonic()
        line.write(self._request(question))
        revision, stays = check(await line.read(), question)
        self._note(manner, began, revision, None)
        return stays

    def _request(self, question: Question, *, last: bool = False) -> bytes:
        lines = [f"POST /v2/models/{self._name}/infer HTTP/1.1", "Host: faults"]
        lines += ["Connection: close"] if last else []
        lines += [f"Content-Length: {len(question.body)}", "", ""]
        return "\r\n".join(lines).encode() + question.body


Answer = tuple[int, dict[str, str], bytes]


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: tuple[str, int], *, small: bool = False) -> Line:
        """Connected; with ``small`` the kernel keeps little for it."""
        connection = socket.socket()
        connection.setblocking(False)
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await asyncio.get_running_loop().sock_connect(connection, address)
            return cls(*await asyncio.open_connection(sock=connection, limit=4096 if small else 2**16))
        except BaseException:
            connection.close()
            raise

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self, sip_s: float = 0.0) -> Answer:
        """One answer; with a pause after every few kilobytes."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        left, body = int(headers["content-length"]), bytearray()
        while left:
            part = await self._reader.readexactly(min(left, 4096)) if sip_s else await self._reader.readexactly(left)
            body += part
            left -= len(part)
            if sip_s:
                await asyncio.sleep(sip_s)
        return int(status.split()[1]), headers, bytes(body)

    def close(self) -> None:
        self._writer.close()


def check(answer: Answer, question: Question) -> tuple[int, bool]:
    """The revision that answered, and whether the connection goes on.

    Raises:
        WrongAnswerError: Another status than 200, or not what the version that answered gives.
    """
    status, headers, body = answer
    revision = int(headers.get("hyperion-revision", 0))
    if status != 200:
        raise WrongAnswerError(revision, f"status {status}: {body[:150].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(body)
    (output,) = found["outputs"]
    version = found["model_version"]
    if found["parameters"]["revision"] != revision or version != headers["hyperion-version"]:
        raise WrongAnswerError(revision, "header and body name different revisions")
    expected = question.answers[version]
    flat = [value for row in expected for value in row]
    if output["shape"] != [len(expected), len(expected[0])]:
        raise WrongAnswerError(revision, f"shape {output['shape']} of {len(expected)} rows")
    if not all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-5) for a, b in zip(output["data"], flat, strict=True)):
        raise WrongAnswerError(revision, f"wrong values for version {version}")
    return revision, headers.get("connection", "").lower() != "close"
