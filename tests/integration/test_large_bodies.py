"""Bodies that are read straight to their place, past the parser: whole, aligned, and with everything around them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import models
from tests.serving_kit import address_of, call, eventually, infer_body, read_answer
from tests.worker_kit import INFER, Pair, Workers, workers

from hyperion.serving.channel import LameDucked, Rest, Rested
from hyperion.serving.received_body import LARGE_BYTES
from hyperion.serving.telemetry import SlotReading, read_slots

ROWS = 60_000
X = models.inputs(rows=ROWS, seed=4)
RIGHT = models.expected(models.mlp(0), X)
BEGUN = 2 * LARGE_BYTES
"""Sent before anything else: much came, and much is missing."""


@pytest.fixture
def pair(worker_pair: Pair) -> Pair:
    """v1 accepts as revision 1; v2 is warm."""
    worker_pair.reset()
    return worker_pair


class Client:
    """A connection that its client keeps."""

    def __init__(self, url: str) -> None:
        self.connection = socket.create_connection(address_of(url), 20)
        self.stream = self.connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        return read_answer(self.stream)

    def ends(self) -> bool:
        """Whether the other end sends nothing more."""
        return self.stream.read() == b""


@contextmanager
def connected(kit: Workers) -> Iterator[Client]:
    client = Client(kit.url)
    try:
        yield client
    finally:
        client.stream.close()
        client.connection.close()


def posted(head: str = "", **extra: Any) -> bytes:
    """X as bytes, to be answered in bytes."""
    tensor = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "parameters": {"binary_data_size": X.nbytes}}
    document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **extra}).encode()
    lines = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {len(document)}\r\n{head}"
    return f"{lines}Content-Length: {len(document) + X.nbytes}\r\n\r\n".encode() + document + X.tobytes()


def small() -> bytes:
    body = infer_body()
    return f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def slot(kit: Workers, worker: str = "r1-w0") -> SlotReading:
    return next(found for found in read_slots(kit.metrics_dir) if found.worker == worker)


def begin(kit: Workers, client: Client, request: bytes, size: int = BEGUN) -> bytes:
    """Send the first bytes and wait until the worker has them; the rest."""
    before = slot(kit).received_bytes
    client.send(request[:size])
    eventually(lambda: slot(kit).received_bytes == before + size, what="the arrival of what was sent")
    return request[size:]


def require_right(answer: tuple[int, dict[str, str], bytes], request_id: str | None = None) -> None:
    status, headers, body = answer
    length = int(headers["inference-header-content-length"])
    document = json.loads(body[:length])
    assert (status, document.get("id")) == (200, request_id)
    found = np.frombuffer(body[length:], np.float32).reshape(document["outputs"][0]["shape"])
    np.testing.assert_allclose(found, RIGHT, rtol=1e-4, atol=1e-6)


def test_a_large_body_in_pieces_is_answered_right_and_its_connection_goes_on(pair: Pair) -> None:
    with connected(pair.kit) as client:
        for odd in (1, LARGE_BYTES + 1):
            rest = begin(pair.kit, client, posted())
            client.send(begin(pair.kit, client, rest, odd))
            require_right(client.read())
            client.send(small())
            assert client.read()[0] == 200


def test_what_is_pipelined_behind_a_large_body_is_answered_after_it(pair: Pair) -> None:
    with connected(pair.kit) as client:
        rest = begin(pair.kit, client, posted(id="first"))
        client.send(rest + posted(id="second") + small())
        require_right(client.read(), "first")
        require_right(client.read(), "second")
        assert client.read()[0] == 200


def test_a_client_that_ends_its_connection_with_a_large_request_gets_its_answer(pair: Pair) -> None:
    with connected(pair.kit) as client:
        client.send(begin(pair.kit, client, posted("Connection: close\r\n")))
        require_right(client.read())
        assert client.ends()


def test_a_client_that_waits_for_leave_to_send_a_large_body_gets_it(pair: Pair) -> None:
    with connected(pair.kit) as client:
        head, blank, body = posted("Expect: 100-continue\r\n").partition(b"\r\n\r\n")
        client.send(head + blank)
        assert client.read()[0] == 100
        client.send(body)
        require_right(client.read())


def test_a_client_that_goes_amid_a_large_body_leaves_nothing_behind(pair: Pair) -> None:
    answered = slot(pair.kit).requests
    with connected(pair.kit) as client:
        begin(pair.kit, client, posted())
    assert call(pair.kit.url + INFER, infer_body())[0] == 200
    eventually(lambda: slot(pair.kit).inflight == 0, what="nothing in work")
    assert slot(pair.kit).requests == answered + 1


def test_a_worker_that_leaves_amid_a_large_body_answers_it_and_gives_the_connection_away(pair: Pair) -> None:
    with connected(pair.kit) as client:
        rest = begin(pair.kit, client, posted())
        pair.candidate.accept(2, "r2-w0")
        pair.stable.tell(Rest(10.0, [pair.candidate.start.handover_path]))
        pair.stable.hear(LameDucked)
        client.send(rest)
        answer = client.read()
        require_right(answer)
        client.send(small())
        assert (answer[1]["hyperion-revision"], client.read()[1]["hyperion-revision"]) == ("1", "2")
        assert pair.stable.hear(Rested).cut == 0


def test_a_large_body_that_is_not_whole_at_the_deadline_of_a_leaving_worker_gets_503(pair: Pair) -> None:
    with connected(pair.kit) as client:
        rest = begin(pair.kit, client, posted())
        pair.stable.tell(Rest(0.05, []))
        status, headers, _ = client.read()
        client.send(rest[: LARGE_BYTES * 2])  # it is thrown away, so that the refusal is not lost
        client.connection.shutdown(socket.SHUT_WR)
        assert (status, headers["connection"], client.ends()) == (503, "close", True)
        assert pair.stable.hear(Rested).cut == 1


def test_a_large_body_that_comes_too_slowly_gets_408_and_what_still_comes_is_thrown_away(
    tmp_path: Path, packages: Path
) -> None:
    # given
    with workers(tmp_path / "state") as kit:
        kit.start(packages / "v1.hyperion", 1, limits={"header_timeout_s": 0.5}).accept()
        with connected(kit) as client:
            rest = begin(kit, client, posted())

            # when: nothing more comes for a while
            status, headers, body = client.read()

            # then
            assert (status, headers["connection"]) == (408, "close")
            assert "not complete after 0.5 s" in json.loads(body)["error"]
            client.send(rest[: 4 * LARGE_BYTES])
            client.connection.shutdown(socket.SHUT_WR)
            assert client.ends()
        assert slot(kit).failures == {"timeout": 1}
