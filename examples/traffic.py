"""Clients that send inference requests without pause and never retry: what the demo and the benchmarks load with.

Half of them keep their connection alive, half open one for each request. A request that does not come back with
status 200, a revision and the right answer is a failed one, and its cause is kept.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """One request's end.

    Attributes:
        at_s: When it came, in seconds since the traffic began.
        latency_ms: From sending to the whole answer.
        revision: What answered; None where nothing did, or it did not say.
        version: Version of the model that answered; None likewise.
        fault: Why it failed; None where it did not.
    """

    at_s: float
    latency_ms: float
    revision: int | None
    version: str | None
    fault: str | None


@dataclass(frozen=True)
class Request:
    """What is sent, and how its answer is judged.

    Attributes:
        body: The v2 inference request.
        fault_of: Given the decoded answer, what is wrong with it, or None.
    """

    body: bytes
    fault_of: Callable[[dict], str | None]


def classification(name: str, values: Sequence[float], shape: Sequence[int], label: int) -> Request:
    """A request with one float input whose answer must give ``label`` the largest value."""
    tensor = {"name": name, "datatype": "FP32", "shape": list(shape), "data": list(values)}
    body = json.dumps({"inputs": [tensor]}).encode()

    def fault_of(answer: dict) -> str | None:
        scores = answer["outputs"][0]["data"]
        found = max(range(len(scores)), key=scores.__getitem__)
        return None if found == label else f"answered {found} for {label}"

    return Request(body, fault_of)


class Traffic:
    """A context in which the clients send; afterwards ``answers`` holds every request that was sent, in order."""

    def __init__(
        self, port: int, model: str, requests: Sequence[Request], *, keep_alive: int = 2, one_shot: int = 2,
        host: str = "127.0.0.1", timeout_s: float = 10.0, pause_s: float = 0.0,
    ) -> None:  # fmt: skip
        self._address, self._path, self._timeout_s = (host, port), f"/v2/models/{model}/infer", timeout_s
        self._pause_s = pause_s
        self._requests, self._answers, self._lock = tuple(requests), [], threading.Lock()
        self._end = threading.Event()
        self._began = time.monotonic()
        clients = [(True, number) for number in range(keep_alive)] + [(False, number) for number in range(one_shot)]
        self._threads = [threading.Thread(target=self._send, args=client, daemon=True) for client in clients]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(self._timeout_s + 1)

    def now_s(self) -> float:
        """Seconds since the traffic began."""
        return time.monotonic() - self._began

    @property
    def answers(self) -> list[Answer]:
        with self._lock:
            return sorted(self._answers, key=lambda answer: answer.at_s)

    def _send(self, keep_alive: bool, first: int) -> None:
        number, connection = first, None
        headers = {"Content-Type": "application/json", "Connection": "keep-alive" if keep_alive else "close"}
        while not self._end.is_set():
            request = self._requests[number % len(self._requests)]
            number += 1
            if connection is None:
                connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
            answer = self._ask(connection, request, headers)
            if answer.fault is not None or not keep_alive:
                connection.close()
                connection = None
            with self._lock:
                self._answers.append(answer)
            pause_s = self._pause_s if answer.fault is None else max(0.01, self._pause_s)
            if pause_s:  # after a failure always: a dead server must not fill the memory with failures
                self._end.wait(pause_s)
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, request: Request, headers: dict[str, str]) -> Answer:
        started = time.monotonic()
        revision = version = None
        try:
            connection.request("POST", self._path, request.body, headers)
            response = connection.getresponse()
            raw = response.read()
            if response.status != http.HTTPStatus.OK:
                revision = int(response.getheader("hyperion-revision", 0)) or None
                version = response.getheader("hyperion-version")
                fault: str | None = f"status {response.status}: {raw[:200].decode(errors='replace')}"
            else:
                answer = json.loads(raw)
                revision, version = answer["parameters"]["revision"], answer["model_version"]
                fault = request.fault_of(answer)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            fault = f"{type(error).__name__}: {error}"
        ended = time.monotonic()
        return Answer(ended - self._began, (ended - started) * 1000, revision, version, fault)


def faults(answers: Sequence[Answer]) -> Counter[str]:
    """How often each cause made a request fail."""
    return Counter(answer.fault for answer in answers if answer.fault is not None)
