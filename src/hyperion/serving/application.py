"""What a worker answers: routes of the Open Inference Protocol v2, and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hyperion.domain.rollout_policy import patience_s
from hyperion.errors import EngineError
from hyperion.ports import Array, Session, Tensors
from hyperion.serving import frames
from hyperion.serving.batching import Batcher
from hyperion.serving.door import Door
from hyperion.serving.exchange import Exchange, Reply
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
from hyperion.serving.quick_runs import QuickRuns
from hyperion.serving.raw_inputs import RawRequests
from hyperion.serving.router import Router
from hyperion.serving.telemetry import INFLIGHT, Slot, read_slots

RETRY_AFTER_S = 1


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
        run_elements: int,
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
        self._quick = QuickRuns(run_ms, run_elements)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._tasks: set[asyncio.Task[None]] = set()
        self._batcher: Batcher | None = None
        if max_batch > 1:
            self._batcher = Batcher(self._run_engine, self._thread, max_batch, max_wait_s, self._batched)
        self._timeout_s = door.limits.request_timeout_s
        self.router = Router(door.limits.max_inflight, patience_s(self._timeout_s))
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
        self._head_bytes = 80 + len(door.identity_lines)

    def rename(self, revision: int) -> None:
        """Answer as another revision of the same package and configuration."""
        self._model = replace(self._model, revision=revision)

    def answer(self, exchange: Exchange) -> None:
        """Answer a client's request: before this returns where that is quickly done, else later."""
        try:
            if exchange.method == b"POST" and exchange.path in self._infer_paths:
                self._infer(exchange)
                return
            reply = self._look_up(exchange.path, exchange.method.decode())
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            reply = self._failure(error, b"", exchange.slot)
        exchange.deliver(reply, self._door.identity_lines)

    def _look_up(self, path: str, method: str) -> Reply:
        """What anything but inference gets."""
        allowed = b"POST" if path in self._infer_paths else b"GET, HEAD"
        path = path.rstrip("/") or "/"
        if path in self._documents or path == "/metrics" or allowed == b"POST":
            if method not in ("GET", "HEAD") or allowed == b"POST":
                return 405, [(b"allow", allowed)], render_error(f"{path} takes {allowed.decode()}, not {method[:20]}")
            if path == "/metrics":
                text = render_metrics(read_slots(self._metrics_dir)).encode()
                return 200, [(b"content-type", CONTENT_TYPE.encode())], text
            return 200, [], self._documents[path]
        if method == "POST" and path.endswith("/infer"):
            self._door.slot.refused("not_found")
        model = self._model
        return 404, [], render_error(f"nothing at {path[:200]!r}; this serves {model.name!r} version {model.version}")

    def answer_at_once(self, body: Body, json_bytes: int | None) -> Reply | None:
        """The answer to a forwarded request where it is small and the model quick; None where it takes a task."""
        if self._batcher is not None or not self._quick.takes_any(len(body)):
            return None
        slot, started = self._door.slot, time.perf_counter_ns()
        slot.counters[INFLIGHT] += 1
        reply = self._answer_now(body, json_bytes, slot)
        slot.counters[INFLIGHT] -= 1
        return None if isinstance(reply, InferenceRequest) else self._counted(reply, started, slot)

    async def answer_forwarded(self, body: Body, json_bytes: int | None) -> Reply:
        """The answer to an infer request that another worker read."""
        slot = self._door.slot
        slot.counters[INFLIGHT] += 1
        try:
            started = time.perf_counter_ns()
            reply = self._answer_now(body, json_bytes, slot)
            if isinstance(reply, InferenceRequest):
                reply = await self._answer_later(reply, body, json_bytes, slot)
            return self._counted(reply, started, slot)
        finally:
            slot.counters[INFLIGHT] -= 1

    def _infer(self, exchange: Exchange) -> None:
        json_bytes = json_length(exchange.headers)
        if self.router.is_on and exchange.path == self._shared_path and self.router.chooses(exchange.headers):
            exchange.end()  # it is in work elsewhere, and counts there
            tell = partial(self._deliver_forwarded, exchange, json_bytes)
            self.router.forward(bytes(exchange.body), json_bytes, exchange.slot, tell)
        else:
            self._infer_here(exchange, json_bytes, exchange.received_ns)

    def _deliver_forwarded(
        self, exchange: Exchange, json_bytes: int | None, found: tuple[frames.Answer, bytes] | None
    ) -> None:
        """Give what the candidate answered; where it did not, answer here."""
        exchange.begin(exchange.slot)
        if found is None:
            self._infer_here(exchange, json_bytes, time.perf_counter_ns())  # the time that it took is not ours
        else:
            answer, identity_lines = found
            exchange.deliver((answer.status, answer.headers, answer.body), identity_lines)

    def _infer_here(self, exchange: Exchange, json_bytes: int | None, started: int) -> None:
        reply = self._answer_now(exchange.body, json_bytes, exchange.slot)
        if isinstance(reply, InferenceRequest):
            self._start(self._infer_later(reply, exchange, json_bytes, started))
        else:
            exchange.deliver(self._counted(reply, started, exchange.slot), self._door.identity_lines)

    async def _infer_later(
        self, request: InferenceRequest, exchange: Exchange, json_bytes: int | None, started: int
    ) -> None:
        reply = await self._answer_later(request, exchange.body, json_bytes, exchange.slot)
        exchange.deliver(self._counted(reply, started, exchange.slot), self._door.identity_lines)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer_now(self, body: Body, json_bytes: int | None, slot: Slot) -> Reply | InferenceRequest:
        """The answer where it is quickly had, also where it is no; else what is to be run."""
        try:
            request = self._admit(body, json_bytes, slot)
            if self._batcher is not None or not self._quick.takes(request, len(body)):
                return request
            return (200, *render_infer(self._model, request, self._run_request(request)))
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            return self._failure(error, body[:json_bytes], slot)

    async def _answer_later(self, request: InferenceRequest, body: Body, json_bytes: int | None, slot: Slot) -> Reply:
        try:
            return (200, *render_infer(self._model, request, await self._run(request)))
        except Exception as error:  # noqa: BLE001  (the process edge of a request)
            return self._failure(error, body[:json_bytes], slot)

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

    async def _run(self, request: InferenceRequest) -> Tensors:
        if self._batcher is not None:
            return await self._in_time(self._run_batched(request, self._batcher))
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._run_request, request)
        return await self._in_time(work)

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
