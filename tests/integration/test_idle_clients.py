"""Connections that nobody uses hold up neither a stop nor a ``recreate``: only requests are waited for."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serving_kit import address_of, call, infer_body, read_answer, supervisor

INFER = "/v2/models/shop/infer"
BODY = infer_body()
REQUEST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
MOST_MS = 30_000
"""Far below the drain deadline of 45 s, and far above what a busy machine needs."""


def at_rest(url: str) -> socket.socket:
    """A connection that had an answer, and may have more."""
    connection = socket.create_connection(address_of(url), 60)
    connection.sendall(REQUEST)
    status, headers, _ = read_answer(connection.makefile("rb"))
    assert (status, headers.get("connection")) == (200, None)
    return connection


def test_recreate_waits_for_no_idle_client(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        with at_rest(url) as idle:
            moved = running.deploy(packages / "v2.hyperion", strategy="recreate")

            assert moved.promoted
            assert (moved.duration_ms or 0) < MOST_MS
            assert idle.recv(1) == b""  # closed, not reset
            assert call(url + INFER, BODY)[1]["parameters"] == {"revision": 2}


def test_a_stop_waits_for_a_begun_request_and_for_no_idle_client(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        with at_rest(url) as idle, at_rest(url) as asking:
            asking.sendall(REQUEST[:-20])
            stopped = pool.submit(running.stop)

            assert idle.recv(1) == b""
            asking.sendall(REQUEST[-20:])

            status, headers, _ = read_answer(asking.makefile("rb"))
            assert (status, headers["connection"]) == (200, "close")
            assert stopped.result(30).names == ("shop",)
