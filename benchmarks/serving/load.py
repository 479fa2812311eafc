"""A client that costs little itself: prebuilt requests over sockets and epoll, in a process of its own.

``python -m benchmarks.serving.load PORT MODEL CONNECTIONS SECONDS`` prints requests per second and latencies as JSON.
Every answer must have status 200; the client never retries.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.measure import ROOT
from benchmarks.traffic import request_body

BODIES = 16


@dataclass(frozen=True)
class Measured:
    """What the clients saw; latencies in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    requests: int


def load(port: int, model: str, connections: int, seconds: float) -> Measured:
    """Run the client beside a server.

    Raises:
        RuntimeError: A request failed.
    """
    words = [sys.executable, "-m", "benchmarks.serving.load", str(port), model, str(connections), str(seconds)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr.strip().splitlines()[-1:]}")
    return Measured(**json.loads(done.stdout))


def post(model: str, body: bytes, *headers: str) -> bytes:
    """An infer request, as it goes over the wire."""
    lines = (f"POST /v2/models/{model}/infer HTTP/1.1", "Host: bench", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


class Line:
    """One connection with one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._received = b""

    def ask(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Take in what came; whether that is the whole answer."""
        came = self.socket.recv(1 << 20)
        if not came:
            raise ConnectionError("closed without an answer")
        self._received += came
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"refused: {self._received[:200]!r}")
        lower = head.lower()
        at = lower.index(b"content-length:") + len(b"content-length:")
        if len(body) < int(lower[at:].split(b"\r\n", 1)[0]):
            return False
        self._received = b""
        return True

    def exchange(self, request: bytes) -> float:
        """One request and its answer; seconds."""
        self.ask(request)
        while not self.is_answered():
            pass
        return time.perf_counter() - self.sent_at


def main(port: int, model: str, connections: int, seconds: float) -> None:
    requests = [post(model, request_body(seed)) for seed in range(BODIES)]
    lines = [Line(port) for _ in range(connections)]
    by_descriptor = {line.socket.fileno(): line for line in lines}
    waiting = select.epoll()
    for descriptor in by_descriptor:
        waiting.register(descriptor, select.EPOLLIN)
    taken: list[float] = []
    began = time.perf_counter()
    for number, line in enumerate(lines):
        line.ask(requests[number % BODIES])
    while (now := time.perf_counter()) < began + seconds:
        for descriptor, _ in waiting.poll(1.0):
            line = by_descriptor[descriptor]
            if line.is_answered():
                taken.append(time.perf_counter() - line.sent_at)
                line.ask(requests[len(taken) % BODIES])
    taken.sort()
    spent = now - began
    found = Measured(
        len(taken) / spent, 1000 * taken[len(taken) // 2], 1000 * taken[int(len(taken) * 0.99)], len(taken)
    )
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
