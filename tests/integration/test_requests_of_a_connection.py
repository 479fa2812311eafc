"""Requests of one connection, as the transport hands them in: whichever way one is answered, its client cannot tell."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import FEATURES
from tests.serving_kit import infer_body

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import DeploymentConfig
from hyperion.ports import Session, SessionOptions
from hyperion.serving import connection as connections
from hyperion.serving.application import Application
from hyperion.serving.channel import WorkerLimits
from hyperion.serving.connection import Connection
from hyperion.serving.door import Door
from hyperion.serving.failure_log import FailureLog
from hyperion.serving.protocol import ServedModel
from hyperion.serving.telemetry import INFLIGHT, REQUESTS, Slot, SlotLabels

INFER = "/v2/models/shop/infer"
QUICK_MS, SLOW_MS = 0.0, 1000.0
"""Of a model that the event loop runs, and of one that a thread runs."""
IDENTITY = [(b"hyperion-deployment", b"shop"), (b"hyperion-revision", b"1")]


class Pipe(asyncio.Transport):
    """Keeps what is written, and hands in what the test sends."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self.written = b""
        self.closed = False
        self.reads = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    async def receive(self, sent: bytes) -> None:
        """Hand it to the protocol, as far as that reads and the connection lasts."""
        while sent:
            await until(lambda: self.reads or self.closed)
            if self.closed:
                return
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                room = memoryview(self.protocol.get_buffer(-1))
                size = min(len(room), len(sent))
                room[:size] = sent[:size]
                self.protocol.buffer_updated(size)
            else:
                size = len(sent)
                cast("asyncio.Protocol", self.protocol).data_received(sent)
            sent = sent[size:]


@pytest.fixture(scope="module")
def session(packages: Path) -> Iterator[Session]:
    with LocalPackages().open(packages / "v1.hyperion") as package:
        yield OnnxRuntimeEngine().load(package, SessionOptions(threads=1))


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    made = Slot(tmp_path, "r1-w0", SlotLabels("shop", "m", "1", 1))
    yield made
    made.close()


class Server:
    """A worker's part that answers, with one connection; the caller is its transport and its client."""

    def __init__(self, session: Session, slot: Slot, run_ms: float) -> None:
        limits = DeploymentConfig(name="shop").limits
        wanted = {name: getattr(limits, name) for name in WorkerLimits.__struct_fields__}
        self.slot = slot
        self.door = Door(WorkerLimits(**wanted), slot, IDENTITY, lambda *_: None, lambda _: None)
        model = ServedModel("shop", "1.0.0", 1, session.inputs, session.outputs)
        log = FailureLog("shop", 1, "r1-w0")
        application = Application(
            model, session, self.door, log, metrics_dir=Path("none"), run_ms=run_ms, run_elements=FEATURES,
            server_version="1",
        )  # fmt: skip
        self.pipe = Pipe()
        self.connection = Connection(application, self.door, asyncio.get_running_loop())
        self.pipe.set_protocol(self.connection)
        self.connection.connection_made(self.pipe)

    async def feed(self, *pieces: bytes) -> None:
        """What a client sends, piece by piece."""
        for piece in pieces:
            await self.pipe.receive(piece)

    async def rest(self) -> bytes:
        """All that was answered, without the time of day, once nothing is in work."""
        await until(lambda: not self.slot.counters[INFLIGHT] and self.pipe.reads)
        if not self.pipe.closed:
            self.pipe.close()
        self.connection.connection_lost(None)
        return re.sub(rb"date: [^\r]+\r\n", b"", self.pipe.written)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.0005)


def run(talk: Callable[[], Awaitable[bytes]]) -> bytes:
    async def main() -> bytes:
        return await talk()

    return asyncio.run(main())


def post(body: bytes, *headers: str, path: str = INFER, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:50], body[50:])) + b"0\r\n\r\n"


def ids(answers: bytes) -> list[str]:
    return re.findall(r'"id":"(\w+)"', answers.decode())


BODY = infer_body(id="one")
REQUESTS_OF_ALL_KINDS = [
    post(BODY),
    post(infer_body(2, id="two")),
    post(infer_body(1500, id="large")),
    post(b"{}"),
    post(b"no JSON"),
    post(BODY, path="/v2/models/shop/versions/1.0.0/infer"),
    post(BODY, path="/v2/models/other/infer"),
    post(BODY, path="/v2/models/shop/infer?query=1"),
    post(BODY, path="/v2/models/sh%6Fp/infer"),
    post(BODY, "Inference-Header-Content-Length: 7"),
    chunked(BODY),
    f"GET {INFER} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
]
LAST_REQUESTS = [
    post(BODY, "Connection: close"),
    post(BODY, version="1.0"),
    post(BODY, "Connection: keep-alive", version="1.0"),
    b"HEAD /v2 HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01 no HTTP\r\n\r\n",
    post(BODY, "Connection: close") * 2,
]
REAL = settings(deadline=None, max_examples=60)


class TestBothWays:
    """Law: bytes in → bytes out is the same whether the event loop runs the model or a thread does, however cut."""

    @REAL
    @given(
        requests=st.lists(st.sampled_from(REQUESTS_OF_ALL_KINDS), max_size=5),
        last=st.sampled_from(LAST_REQUESTS),
        data=st.data(),
    )
    def test_answers_are_byte_equal(
        self, session: Session, tmp_path_factory: pytest.TempPathFactory, requests: list[bytes], last: bytes, data: Any
    ) -> None:
        sent = b"".join(requests)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=6)))
        pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) if begin < end]
        found = []
        for run_ms in (QUICK_MS, SLOW_MS):
            slot = Slot(tmp_path_factory.mktemp("slot"), "r1-w0", SlotLabels("shop", "m", "1", 1))

            async def talk(run_ms: float = run_ms, slot: Slot = slot) -> bytes:
                server = Server(session, slot, run_ms)
                await server.feed(*pieces)
                await until(lambda: not slot.counters[INFLIGHT] and server.pipe.reads)
                await server.feed(last)
                return await server.rest()

            found.append((run(talk), slot.counters[REQUESTS]))
            slot.close()
        assert found[0] == found[1]

    @pytest.mark.parametrize("run_ms", [QUICK_MS, SLOW_MS])
    def test_a_request_may_be_cut_anywhere(self, session: Session, slot: Slot, run_ms: float) -> None:
        request = post(BODY)

        async def talk(*pieces: bytes) -> bytes:
            server = Server(session, slot, run_ms)
            await server.feed(*pieces)
            return await server.rest()

        whole = run(lambda: talk(request))
        assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
        for cut in range(1, len(request)):
            assert run(partial(talk, request[:cut], request[cut:])) == whole


def test_quick_and_slow_requests_are_answered_in_the_order_of_their_coming(session: Session, slot: Slot) -> None:
    wanted = ["a", "b", "c", "d", "e", "f"]
    sent = b"".join(post(infer_body(1500 if name in "bdf" else 1, id=name)) for name in wanted)

    async def talk() -> bytes:
        server = Server(session, slot, QUICK_MS)
        await server.feed(sent)
        return await server.rest()

    answers = run(talk)
    assert ids(answers) == wanted
    assert answers.count(b"HTTP/1.1 200 OK") == slot.counters[REQUESTS] == 6


def test_a_quick_request_is_answered_before_the_loop_turns_and_those_behind_it_wait(
    session: Session, slot: Slot
) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, QUICK_MS)
        server.connection.data_received(post(BODY) * 3)
        assert ids(server.pipe.written) == ["one"]
        assert not server.pipe.reads
        return await server.rest()

    assert ids(run(talk)) == ["one"] * 3


@pytest.mark.parametrize("run_ms", [QUICK_MS, SLOW_MS])
def test_what_comes_behind_a_last_request_is_not_answered(session: Session, slot: Slot, run_ms: float) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, run_ms)
        await server.feed(post(BODY, "Connection: close") + post(BODY) * 2)
        await until(lambda: server.pipe.closed)
        return await server.rest()

    answers = run(talk)
    assert answers.count(b"connection: close\r\n") == answers.count(b"HTTP/1.1 ") == 1
    assert slot.counters[REQUESTS] == 1


@pytest.mark.parametrize("run_ms", [QUICK_MS, SLOW_MS])
def test_a_lame_ducks_newest_answer_is_the_last(session: Session, slot: Slot, run_ms: float) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, run_ms)
        server.door.dismiss()
        half = post(infer_body(id="two"))
        await server.feed(post(BODY) + half[:50])  # the second is half here, so the first is not the last
        await until(lambda: not slot.counters[INFLIGHT] and server.pipe.reads)
        assert not server.pipe.closed
        await server.feed(half[50:])
        await until(lambda: server.pipe.closed)
        return await server.rest()

    answers = run(talk)
    assert ids(answers) == ["one", "two"]
    assert b"connection: close" in answers[answers.rindex(b"HTTP/1.1") :]
    assert answers.count(b"connection: close") == 1


@pytest.mark.parametrize("run_ms", [QUICK_MS, SLOW_MS])
def test_an_answer_waits_in_work_for_a_client_that_does_not_read(session: Session, slot: Slot, run_ms: float) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, run_ms)
        server.connection.pause_writing()
        await server.feed(post(BODY))
        await until(lambda: slot.counters[REQUESTS])
        await asyncio.sleep(0)
        assert (server.pipe.written, slot.counters[INFLIGHT]) == (b"", 1)
        server.connection.resume_writing()
        return await server.rest()

    assert ids(run(talk)) == ["one"]


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("run_ms", [QUICK_MS, SLOW_MS])
def test_a_client_that_goes_leaves_nothing_in_work(
    session: Session, slot: Slot, run_ms: float, *, unread: bool
) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, run_ms)
        if unread:
            server.connection.pause_writing()
        await server.feed(post(BODY) * 3)
        server.connection.connection_lost(None)
        await until(lambda: not slot.counters[INFLIGHT])
        assert not server.door.connections
        return b""

    run(talk)


def test_headers_behind_a_body_in_chunks_are_passed_over(session: Session, slot: Slot) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, QUICK_MS)
        await server.feed(chunked(BODY)[:-2] + b"Inference-Header-Content-Length: 7\r\nX: y\r\n\r\n")
        return await server.rest()

    assert ids(run(talk)) == ["one"]


def test_leave_to_send_a_body_is_given_once_its_header_is_accepted(session: Session, slot: Slot) -> None:
    async def talk() -> bytes:
        server = Server(session, slot, QUICK_MS)
        request = post(BODY, "Expect: 100-continue")
        await server.feed(request[: -len(BODY)])
        assert server.pipe.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        await server.feed(BODY)
        return await server.rest()

    assert ids(run(talk)) == ["one"]


def test_an_idle_connection_is_closed_and_one_that_asks_again_is_kept(
    session: Session, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.1)

    async def talk() -> bytes:
        server = Server(session, slot, QUICK_MS)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + 0.3:
            await server.feed(post(BODY))
            await asyncio.sleep(0.01)
        assert not server.pipe.closed or loop.time() > began + 0.4  # a host that stood still may have closed it
        await until(lambda: server.pipe.closed)
        return await server.rest()

    assert json.loads(run(talk).rpartition(b"\r\n\r\n")[2])["id"] == "one"
