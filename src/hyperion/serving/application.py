"""The ASGI application of a worker: routes of the Open Inference Protocol v2, and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperion.errors import EngineError
from hyperion.ports import Array, Session, Tensors
from hyperion.serving.batching import Batcher
from hyperion.serving.door import Door, Headers
from hyperion.serving.exposition import CONTENT_TYPE, render_metrics
from hyperion.serving.failure_log import FailureLog
from hyperion.serving.protocol import (
    Body,
    InferenceRequest,
    RequestRefused,
    ServedModel,
    json_length,
    parse_infer,
    render_error,
    render_infer,
    render_model,
    render_server,
    request_id,
)
from hyperion.serving.raw_inputs import RawRequests
from hyperion.serving.router import Router
from hyperion.serving.telemetry import INFLIGHT, Slot, read_slots

INLINE_RUN_MS = 1.0
"""A model that runs faster than this is run in the event loop: a thread would cost more than it frees."""
INLINE_BODY_BYTES = 64 * 1024
"""Larger requests run in the thread even then, since they hold more rows than the warm-up measured."""
INLINE_RAW_BYTES = 2 * 1024
"""The same for raw requests: tokenizing takes longer than reading numbers, and the warm-up did not measure it."""
RETRY_AFTER_S = 1

JSON_TYPE = b"application/json"
Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]
Reply = tuple[int, Headers, bytes]
"""Status, headers beside the identity's, and body."""


class Application:
    """Answers requests; one per worker.

    Attributes:
        router: Says which infer requests a candidate answers. A request that names a version is never one of them.
    """

    def __init__(
        self,
        model: ServedModel,
        session: Session,
        door: Door,
        log: FailureLog,
        *,
        metrics_dir: Path,
        run_ms: float,
        server_version: str,
        raw_requests: RawRequests | None = None,
        max_batch: int = 1,
        max_wait_s: float = 0.0,
    ) -> None:
        self._model = model
        self._raw_requests = raw_requests
        self._session = session
        self._door = door
        self._log = log
        self._metrics_dir = metrics_dir
        self._inline_bytes = INLINE_BODY_BYTES if run_ms < INLINE_RUN_MS else 0
        self._inline_raw_bytes = INLINE_RAW_BYTES if run_ms < INLINE_RUN_MS else 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._batcher: Batcher | None = None
        if max_batch > 1:
            self._batcher = Batcher(self._run_engine, self._thread, max_batch, max_wait_s, self._batched)
        self._timeout_s = door.limits.request_timeout_s
        self.router = Router(door.limits.max_inflight, self._timeout_s / 2)
        base = f"/v2/models/{model.name}"
        names = (base, f"{base}/versions/{model.version}")
        document = render_model(model)
        ready = b'{"name":"%s","ready":true}' % model.name.encode()
        self._documents: dict[str, bytes] = {
            "/v2": render_server(server_version),
            "/v2/health/live": b'{"live":true}',
            "/v2/health/ready": b'{"ready":true}',
        }
        for name in names:
            self._documents[name] = document
            self._documents[f"{name}/ready"] = ready
        self._infer_paths = {f"{name}/infer" for name in names}
        self._shared_path = f"{base}/infer"
        self._head_bytes = 80 + sum(len(name) + len(value) + 4 for name, value in door.identity)

    def rename(self, revision: int) -> None:
        """Answer as another revision of the same package and configuration."""
        self._model = replace(self._model, revision=revision)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            if path in self._infer_paths and method == "POST":
                await self._infer(scope, send)
            else:
                status, body, headers = self._look_up(path, method)
                await _respond(send, status, body, headers, self._door.identity)
        finally:
            scope["slot"].counters[INFLIGHT] -= 1

    def _look_up(self, path: str, method: str) -> tuple[int, bytes, Headers]:
        """What anything but inference gets."""
        allowed = b"POST" if path in self._infer_paths else b"GET, HEAD"
        path = path.rstrip("/") or "/"
        if path in self._documents or path == "/metrics" or allowed == b"POST":
            if method not in ("GET", "HEAD") or allowed == b"POST":
                return 405, render_error(f"{path} takes {allowed.decode()}, not {method[:20]}"), [(b"allow", allowed)]
            if path == "/metrics":
                text = render_metrics(read_slots(self._metrics_dir)).encode()
                return 200, text, [(b"content-type", CONTENT_TYPE.encode())]
            return 200, self._documents[path], []
        if method == "POST" and path.endswith("/infer"):
            self._door.slot.refused("not_found")
        model = self._model
        return 404, render_error(f"nothing at {path[:200]!r}; this serves {model.name!r} version {model.version}"), []

    def answer_at_once(self, body: Body, json_bytes: int | None) -> Reply | None:
        """The answer to a forwarded request where it is small and the model quick; None where it takes a task."""
        if self._batcher is not None or len(body) >= self._inline_raw_bytes:
            return None
        slot, started = self._door.slot, time.perf_counter_ns()
        slot.counters[INFLIGHT] += 1
        try:
            request = self._admit(body, json_bytes, slot)
            reply: Reply = (200, *render_infer(self._model, request, self._run_request(request)))
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            reply = self._failure(error, body[:json_bytes], slot)
        finally:
            slot.counters[INFLIGHT] -= 1
        return self._counted(reply, started, slot)

    async def answer_forwarded(self, body: Body, json_bytes: int | None) -> Reply:
        """The answer to an infer request that another worker read."""
        slot = self._door.slot
        slot.counters[INFLIGHT] += 1
        try:
            return await self._answer(body, json_bytes, time.perf_counter_ns(), slot)
        finally:
            slot.counters[INFLIGHT] -= 1

    async def _infer(self, scope: Scope, send: Send) -> None:
        started, slot = scope["received_ns"], scope["slot"]
        body: Body = scope["body"]
        json_bytes = json_length(scope["headers"])
        if self.router.is_on and scope["path"] == self._shared_path and self.router.chooses(scope["headers"]):
            slot.counters[INFLIGHT] -= 1  # it is in work elsewhere, and counts there
            try:
                forwarded = await self.router.forward(bytes(body), json_bytes, slot)
            finally:
                slot.counters[INFLIGHT] += 1
            if forwarded is not None:
                found, identity = forwarded
                await _respond(send, found.status, found.body, found.headers, identity)
                return
            started = time.perf_counter_ns()  # the time that the candidate took is not ours
        status, headers, answer = await self._answer(body, json_bytes, started, slot)
        await _respond(send, status, answer, headers, self._door.identity)

    async def _answer(self, body: Body, json_bytes: int | None, started: int, slot: Slot) -> Reply:
        try:
            reply: Reply = (200, *await self._run(self._admit(body, json_bytes, slot), body))
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            reply = self._failure(error, body[:json_bytes], slot)
        return self._counted(reply, started, slot)

    def _failure(self, error: Exception, body: Body, slot: Slot) -> Reply:
        """What a client gets whose request failed, counted by its cause and logged."""
        if not isinstance(error, RequestRefused):
            slot.failed("internal")
            self._log.write("internal", 500, f"{type(error).__name__}: {error}", request_id(body), error)
            return 500, [], render_error("internal error; the worker's log has the cause")
        slot.failed(error.cause)
        self._log.write(error.cause, error.status, error.message, request_id(body))
        headers = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if error.cause == "overloaded" else []
        return error.status, headers, render_error(error.message)

    def _counted(self, reply: Reply, started: int, slot: Slot) -> Reply:
        """Counted before it is sent: whoever has an answer finds it in the counters."""
        slot.answered(time.perf_counter_ns() - started, len(reply[2]) + self._head_bytes)
        return reply

    def _admit(self, body: Body, json_bytes: int | None, slot: Slot) -> InferenceRequest:
        limit = self._door.limits.max_inflight
        if slot.counters[INFLIGHT] > limit:
            raise RequestRefused("overloaded", f"{limit} requests are in work, the most that are accepted; retry later")
        return parse_infer(self._model, body, json_bytes)

    async def _run(self, request: InferenceRequest, body: Body) -> tuple[Headers, bytes]:
        if self._batcher is not None:
            outputs = await self._in_time(self._run_batched(request, self._batcher))
        elif len(body) < (self._inline_bytes if request.raw is None else self._inline_raw_bytes):
            outputs = self._run_request(request)
        else:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._run_request, request)
            outputs = await self._in_time(work)
        return render_infer(self._model, request, outputs)

    async def _in_time(self, work: Awaitable[Tensors]) -> Tensors:
        try:
            return await asyncio.wait_for(work, self._timeout_s)
        except TimeoutError as error:
            raise RequestRefused("timeout", f"no answer within {self._timeout_s:g} s") from error

    async def _run_batched(self, request: InferenceRequest, batcher: Batcher) -> Tensors:
        """As _run_request, but the engine's run may be shared with other requests."""
        if request.raw is None or self._raw_requests is None:
            return await batcher.answer(request.feeds)
        encoded = await asyncio.to_thread(self._raw_requests.encode, request.raw)
        return self._raw_requests.answered(encoded, await batcher.answer(encoded.feeds), request.outputs)

    def _run_request(self, request: InferenceRequest) -> Tensors:
        if request.raw is None or self._raw_requests is None:
            return self._run_engine(request.feeds)
        encoded = self._raw_requests.encode(request.raw)
        return self._raw_requests.answered(encoded, self._run_engine(encoded.feeds), request.outputs)

    def _batched(self, requests: int) -> None:
        self._door.slot.batched(requests)

    def _run_engine(self, feeds: Tensors) -> dict[str, Array]:
        began = time.perf_counter_ns()
        try:
            outputs = self._session.run(feeds)
        except EngineError as error:
            if error.code == "engine.timeout":
                raise RequestRefused("timeout", f"no answer within {self._timeout_s:g} s") from error
            raise RequestRefused("engine", f"the inference engine refused the request: {error.message}") from error
        self._door.slot.ran(time.perf_counter_ns() - began)
        return outputs


async def _respond(send: Send, status: int, body: bytes, headers: Headers, identity: Headers) -> None:
    length = (b"content-length", b"%d" % len(body))
    if not any(name == b"content-type" for name, _ in headers):
        headers = [(b"content-type", JSON_TYPE), *headers]
    await send({"type": "http.response.start", "status": status, "headers": [*identity, *headers, length]})
    await send({"type": "http.response.body", "body": body})
