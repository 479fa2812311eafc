"""How many may come to a worker, how fast, and how long they may leave an answer unread."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.models import FEATURES
from tests.serving_kit import call, eventually, infer_body, read_answer
from tests.worker_kit import INFER, Workers, workers

from hyperion.serving.telemetry import read_slots


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Workers]:
    with workers(tmp_path / "state") as found:
        yield found


def start(kit: Workers, package: Path, **limits: float) -> None:
    kit.start(package, 1, limits=limits).accept()


@contextmanager
def connected(kit: Workers) -> Iterator[socket.socket]:
    with socket.create_connection(kit.listener.getsockname(), 10) as connection:
        yield connection


def request(body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (INFER.encode(), len(body)) + body


def failures(kit: Workers) -> dict[str, int]:
    return read_slots(kit.metrics_dir)[0].failures


def test_a_connection_too_many_gets_503_and_room_is_made_again(kit: Workers, packages: Path) -> None:
    # given: three connections, each of which was answered once
    start(kit, packages / "v1.hyperion", max_connections=3)
    with ExitStack() as stack:
        for _ in range(3):
            one = stack.enter_context(connected(kit))
            one.sendall(request(infer_body()))
            assert read_answer(one.makefile("rb"))[0] == 200

        # when
        with connected(kit) as fourth:
            status, headers, body = read_answer(fourth.makefile("rb"))

        # then
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert "3 connections" in json.loads(body)["error"]
        assert failures(kit) == {"overloaded": 1}

    # and when they are gone
    eventually(lambda: call(kit.url + INFER, infer_body())[0] == 200, what="an answer")


@pytest.mark.slow
def test_connections_that_come_too_fast_get_429(kit: Workers, packages: Path) -> None:
    start(kit, packages / "v1.hyperion", max_new_connections_per_s=2.0)
    seen = [call(kit.url + INFER, infer_body())[0] for _ in range(12)]
    assert seen[:2] == [200, 200]
    assert 429 in seen
    assert failures(kit).keys() == {"rate_limited"}


def test_a_compressed_body_gets_415_which_names_what_is_taken(kit: Workers, packages: Path) -> None:
    start(kit, packages / "v1.hyperion")
    status, answer, headers = call(kit.url + INFER, gzip.compress(infer_body()), {"Content-Encoding": "gzip"})
    assert (status, headers["accept-encoding"], headers["connection"]) == (415, "identity", "close")
    assert "'gzip' is not taken" in answer["error"]
    assert failures(kit) == {"bad_request": 1}


def test_a_body_whose_coding_is_identity_is_taken(kit: Workers, packages: Path) -> None:
    start(kit, packages / "v1.hyperion")
    assert call(kit.url + INFER, infer_body(), {"Content-Encoding": "identity"})[0] == 200


def test_who_does_not_read_an_answer_is_cut_off_and_others_are_served(kit: Workers, packages: Path) -> None:
    # given: an answer larger than what the kernel takes for a client that does not read
    kit.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    start(kit, packages / "v1.hyperion", write_timeout_s=0.3, max_inflight=1)
    rows = 4000
    tensor = {"name": "x", "shape": [rows, FEATURES], "datatype": "FP32", "data": [0.5] * (rows * FEATURES)}
    body = json.dumps({"inputs": [tensor]}).encode()

    # when
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(kit.listener.getsockname())
        connection.sendall(request(body))
        eventually(lambda: failures(kit).get("slow_reader"), 20, "the cut")

    # then: its place among the requests in work is free again
    assert call(kit.url + INFER, infer_body())[0] == 200
    assert failures(kit) == {"slow_reader": 1}
