"""Clients that speak HTTP/1 as few do, over real sockets and under both event loops: none waits forever, none gains."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.models import FEATURES
from tests.serving_kit import infer_body

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import DeploymentConfig
from hyperion.ports import Session, SessionOptions
from hyperion.serving.application import Application
from hyperion.serving.channel import WorkerLimits
from hyperion.serving.connection import Connection
from hyperion.serving.door import Door
from hyperion.serving.exchange import Exchange
from hyperion.serving.failure_log import FailureLog
from hyperion.serving.protocol import ServedModel
from hyperion.serving.telemetry import INFLIGHT, RECEIVED_BYTES, Slot, SlotLabels

INFER = "/v2/models/shop/infer"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
QUICK, SLOW = infer_body(id="quick"), infer_body(1500, id="slow")
"""The event loop runs the one, a thread the other."""


def post(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {INFER} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.fixture(scope="module")
def session(packages: Path) -> Iterator[Session]:
    with LocalPackages().open(packages / "v1.hyperion") as package:
        yield OnnxRuntimeEngine().load(package, SessionOptions(threads=1))


class Served:
    """A worker's part that answers, on a port of its own."""

    def __init__(self, session: Session, folder: Path, address: tuple[str, int], **limits: float) -> None:
        wanted = DeploymentConfig.model_validate({"name": "shop", "limits": limits}).limits
        fields = {name: getattr(wanted, name) for name in WorkerLimits.__struct_fields__}
        self.address = address
        self.slot = Slot(folder, "r1-w0", SlotLabels("shop", "m", "1", 1))
        self.refusals: list[tuple[int, str]] = []
        identity = [(b"hyperion-deployment", b"shop"), (b"hyperion-revision", b"1")]
        self.door = Door(WorkerLimits(**fields), self.slot, identity, self._refused, lambda _: None)
        model = ServedModel("shop", "1.0.0", 1, session.inputs, session.outputs)
        self.application = Application(
            model, session, self.door, FailureLog("shop", 1, "r1-w0"), metrics_dir=folder, run_ms=0.0,
            run_elements=FEATURES, server_version="1",
        )  # fmt: skip

    def make_connection(self) -> Connection:
        return Connection(self.application, self.door, asyncio.get_running_loop())

    def _refused(self, status: int, cause: str, _message: str) -> None:
        self.refusals.append((status, cause))

    async def talk(self, *pieces: bytes, ends: bool = False) -> bytes:
        """All that a client gets that sends these, until the other side closes."""
        reader, writer = await asyncio.open_connection(*self.address)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if ends:
            writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()


Serve = Callable[..., Any]


@pytest.fixture(params=LOOPS)
def serve(request: pytest.FixtureRequest, session: Session, tmp_path: Path) -> Serve:
    """Runs a talk with a server; at the end nothing is in work and no connection is left."""

    def run(talk: Callable[[Served], Awaitable[Any]], **limits: float) -> Any:
        async def main() -> Any:
            async with listening(session, tmp_path, **limits) as served:
                return await talk(served)

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(asyncio.wait_for(main(), 20))

    return run


@asynccontextmanager
async def listening(session: Session, folder: Path, **limits: float) -> AsyncIterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    served = Served(session, folder, listener.getsockname(), **limits)
    server = await asyncio.get_running_loop().create_server(served.make_connection, sock=listener)
    yield served
    server.close()
    while served.door.connections or served.slot.counters[INFLIGHT]:  # noqa: ASYNC110  (which has no event)
        await asyncio.sleep(0.001)
    served.slot.close()


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answers)]


class TestHalfClosed:
    @pytest.mark.parametrize("body", [QUICK, SLOW], ids=["quick", "slow"])
    def test_who_sends_no_more_still_gets_the_answer(self, serve: Serve, body: bytes) -> None:
        assert statuses(serve(lambda served: served.talk(post(body), ends=True))) == [200]

    def test_so_do_requests_behind_each_other_without_the_half_one_at_their_end(self, serve: Serve) -> None:
        sent = post(QUICK) + post(SLOW) + post(QUICK) + post(SLOW)
        assert statuses(serve(lambda served: served.talk(sent, post(QUICK)[:-5], ends=True))) == [200] * 4

    def test_half_a_request_gets_nothing(self, serve: Serve) -> None:
        assert serve(lambda served: served.talk(post(SLOW)[:-5], ends=True)) == b""


class TestTime:
    def test_empty_lines_keep_no_connection(self, serve: Serve) -> None:
        assert serve(lambda served: served.talk(b"\r\n"), header_timeout_s=0.2) == b""

    def test_each_request_has_its_own(self, serve: Serve) -> None:
        """A client of which always half a request is here is none that dawdles."""

        async def talk(served: Served) -> int:
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(LIVE[:10])
            for answered in range(40):
                writer.write(LIVE[10:] + LIVE[:10])
                if not await reader.readline():
                    return answered
                await reader.readuntil(b"}")
                await asyncio.sleep(0.025)
            writer.close()
            return 40

        assert serve(talk, header_timeout_s=0.8) == 40


class TestUpgrades:
    def test_a_crowd_of_offers_is_answered_one_by_one(self, serve: Serve) -> None:
        offer = b"GET /v2/health/live HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
        assert statuses(serve(lambda served: served.talk(offer * 2000, ends=True))) == [200] * 2000

    @pytest.mark.parametrize(
        "request_", [post(QUICK, "Connection: close, Upgrade", "Upgrade: a"), post(QUICK, "Upgrade: a", version="1.0")]
    )
    def test_an_offer_hides_no_close(self, serve: Serve, request_: bytes) -> None:
        assert b"connection: close\r\n" in serve(lambda served: served.talk(request_))

    def test_an_offer_hides_no_second_length(self, serve: Serve) -> None:
        sent = post(QUICK, "Connection: Upgrade", "Upgrade: a", "Content-Length: 3")
        assert statuses(serve(lambda served: served.talk(sent))) == [400]


class TestHeaders:
    def test_blanks_behind_a_value_are_no_part_of_it(self, serve: Serve) -> None:
        sent = post(QUICK, f"Inference-Header-Content-Length: {len(QUICK)} \t", "Content-Encoding: identity ")
        assert statuses(serve(lambda served: served.talk(sent, ends=True))) == [200]

    def test_a_client_of_http_1_0_gets_no_interim_answer(self, serve: Serve) -> None:
        sent = post(QUICK, "Expect: 100-continue", version="1.0")
        assert statuses(serve(lambda served: served.talk(sent))) == [200]

    def test_an_absolute_target_may_have_no_path(self, serve: Serve) -> None:
        sent = b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert statuses(serve(lambda served: served.talk(sent))) == [404]

    @pytest.mark.parametrize("target", [b"/\xc3\xa9", b"?a", b"http://"])
    def test_a_target_that_is_none_gets_400(self, serve: Serve, target: bytes) -> None:
        assert statuses(serve(lambda served: served.talk(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target))) == [400]

    @pytest.mark.parametrize("endless", [b"0\r\nX: ", b"5;a="], ids=["trailer", "extension"])
    def test_what_is_around_chunks_is_limited(self, serve: Serve, endless: bytes) -> None:
        async def talk(served: Served) -> bytes:
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(CHUNKED + endless)
            while not served.refusals:
                writer.write(b"a" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)
            answer = await reader.read()
            writer.close()
            return answer

        assert statuses(serve(talk)) == [431]


def test_a_body_in_tiny_chunks_takes_little_more_memory_than_its_bytes(serve: Serve) -> None:
    async def talk(served: Served) -> int:
        _, writer = await asyncio.open_connection(*served.address)
        chunks = b"2\r\nab\r\n" * 5_000
        tracemalloc.start()
        writer.write(CHUNKED)
        for _ in range(20):
            writer.write(chunks)
            await writer.drain()
        while served.slot.counters[RECEIVED_BYTES] < 20 * len(chunks):  # noqa: ASYNC110  (which has no event)
            await asyncio.sleep(0.001)
        taken = tracemalloc.get_traced_memory()[0]
        writer.close()
        return taken

    try:
        assert serve(talk) < 2_000_000  # ten times of what the body has
    finally:
        tracemalloc.stop()


class TestFaultsOfOurs:
    """What fails in us is said and logged, and leaves nothing in work."""

    def test_what_the_application_raises_gets_500(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_application: Application, exchange: Exchange) -> None:
            exchange.end()  # as where a request goes on elsewhere
            raise LookupError

        monkeypatch.setattr(Application, "_infer", fail)
        assert statuses(serve(lambda served: served.talk(post(QUICK) * 3, ends=True))) == [500] * 3

    def test_what_reading_raises_gets_500(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def talk(served: Served) -> bytes:
            monkeypatch.setattr(served.door, "keys", None)
            return await served.talk(post(QUICK))

        assert statuses(serve(talk)) == [500]
        assert "AttributeError" in caplog.text

    def test_a_log_that_cannot_be_written_holds_no_answer_up(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = Disk()
        monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BufferedWriter(disk)))
        assert statuses(serve(lambda served: served.talk(post(b"{}") * 3, ends=True))) == [400] * 3
        disk.is_full = False


class Disk(io.RawIOBase):
    is_full = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)
