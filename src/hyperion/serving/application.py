"""The ASGI application of a worker: routes of the Open Inference Protocol v2, and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hyperion.errors import EngineError
from hyperion.ports import Array, Session, Tensors
from hyperion.serving.batching import Batcher
from hyperion.serving.connection import Door
from hyperion.serving.exposition import CONTENT_TYPE, render_metrics
from hyperion.serving.failure_log import FailureLog
from hyperion.serving.protocol import (
    InferenceRequest,
    RequestRefused,
    ServedModel,
    parse_infer,
    render_error,
    render_infer,
    render_model,
    render_server,
    request_id,
)
from hyperion.serving.raw_inputs import RawRequests
from hyperion.serving.telemetry import INFLIGHT, read_slots

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


class Application:
    """Answers requests; one per worker."""

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
        self._slot = door.slot
        self._log = log
        self._metrics_dir = metrics_dir
        self._inline_bytes = INLINE_BODY_BYTES if run_ms < INLINE_RUN_MS else 0
        self._inline_raw_bytes = INLINE_RAW_BYTES if run_ms < INLINE_RUN_MS else 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._batcher: Batcher | None = None
        if max_batch > 1:
            self._batcher = Batcher(self._run_engine, self._thread, max_batch, max_wait_s, self._slot.batched)
        self._timeout_s = door.limits.request_timeout_s
        self._identity_bytes = sum(len(name) + len(value) + 4 for name, value in door.default_headers)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            if path in self._infer_paths and method == "POST":
                await self._infer(scope, receive, send)
            else:
                status, body, headers = self._answer(path, method)
                await _respond(send, status, body, headers)
        finally:
            self._slot.counters[INFLIGHT] -= 1

    def _answer(self, path: str, method: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
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
            self._slot.refused("not_found")
        model = self._model
        return 404, render_error(f"nothing at {path[:200]!r}; this serves {model.name!r} version {model.version}"), []

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = scope["received_ns"]
        body: bytes = (await receive())["body"]
        status, headers = 200, []
        try:
            answer = await self._run(body)
        except RequestRefused as refusal:
            status, answer = refusal.status, render_error(refusal.message)
            self._slot.failed(refusal.cause)
            self._log.write(refusal.cause, status, refusal.message, request_id(body))
            if refusal.cause == "overloaded":
                headers = [(b"retry-after", b"%d" % RETRY_AFTER_S)]
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            status, answer = 500, render_error("internal error; the worker's log has the cause")
            self._slot.failed("internal")
            self._log.write("internal", status, f"{type(error).__name__}: {error}", request_id(body), error)
        # Counted before it is sent: whoever has an answer finds it in the counters.
        self._slot.answered(time.perf_counter_ns() - started, len(answer) + self._identity_bytes + 80)
        await _respond(send, status, answer, headers)

    async def _run(self, body: bytes) -> bytes:
        limit = self._door.limits.max_inflight
        if self._slot.counters[INFLIGHT] > limit:
            raise RequestRefused("overloaded", f"{limit} requests are in work, the most that are accepted; retry later")
        request = parse_infer(self._model, body)
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

    def _run_engine(self, feeds: Tensors) -> dict[str, Array]:
        began = time.perf_counter_ns()
        try:
            outputs = self._session.run(feeds)
        except EngineError as error:
            if error.code == "engine.timeout":
                raise RequestRefused("timeout", f"no answer within {self._timeout_s:g} s") from error
            raise RequestRefused("engine", f"the inference engine refused the request: {error.message}") from error
        self._slot.ran(time.perf_counter_ns() - began)
        return outputs


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", b"%d" % len(body))
    if not any(name == b"content-type" for name, _ in headers):
        headers = [(b"content-type", JSON_TYPE), *headers]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
