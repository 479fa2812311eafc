"""A worker: one process that serves one revision.

Its life: start order → load → warm up and prove → (told) accept → (told) lame duck → drained → exit. Everything is
imported, loaded and warm before it may accept. It holds the listening socket that its supervisor opened and only
ever closes its own copy: shutdown() would end the socket for every other worker.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from hyperion.domain.tuning import BatchingPlan
from hyperion.errors import ConfigError, HostError, HyperionError
from hyperion.format.package import PackageReader
from hyperion.ports import Clock, Engine, HostImages, PackageStore, Processor, Processors, ProofRecord, Session
from hyperion.serving.application import Application
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    LINE_LIMIT,
    Accepting,
    AcceptTraffic,
    CannotServe,
    Drained,
    Gated,
    LameDucked,
    LeaveTraffic,
    Loaded,
    Start,
    ToSupervisor,
    encode,
    parse_order,
)
from hyperion.serving.connection import Connection, Door, connection_config
from hyperion.serving.failure_log import FailureLog, LoggingBridge
from hyperion.serving.loading import choose_image, load_session, plan_requests
from hyperion.serving.proof import Proof, prove
from hyperion.serving.protocol import ServedModel
from hyperion.serving.raw_inputs import RawRequests
from hyperion.serving.telemetry import Slot, SlotLabels
from hyperion.verification.proof import prove_package

if TYPE_CHECKING:
    from hyperion.domain.confinement import Confinement

BACKLOG = 2048
SETTLE_S = 0.02
"""After the listener closed: long enough for connections that were accepted just before to come up."""


class LoadingParts(Protocol):
    """What a worker loads its package with."""

    @property
    def engine(self) -> Engine: ...

    @property
    def images(self) -> HostImages: ...

    @property
    def store(self) -> PackageStore: ...

    @property
    def proofs(self) -> ProofRecord: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def processors(self) -> Processors: ...

    @property
    def confine(self) -> Callable[[Path], Confinement]: ...


async def run_worker(parts: LoadingParts, control: socket.socket, listener: socket.socket, version: str) -> int:
    """Serve until told to leave; returns the process's exit status.

    Args:
        parts: Hold and load the package.
        control: Our end of the supervisor's socket pair.
        listener: The deployment's listening socket, inherited.
        version: Of this software.
    """
    reader, writer = await asyncio.open_connection(sock=control, limit=LINE_LIMIT)
    line = await reader.readline()
    if not line:
        return 0  # the supervisor was gone before it said anything
    order = _parse_start(line)
    if order is None:
        reason = (
            f"supervisor and worker are of different versions (the worker is hyperion {version}): the software was "
            "replaced while the supervisor ran; end the supervisor with SIGTERM, then start it with 'hyperion serve'"
        )
        return await _refuse(writer, reason)
    log = FailureLog(order.deployment, order.revision, order.worker)
    logging.basicConfig(handlers=[LoggingBridge(log)], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    try:
        worker = Worker(order, log, writer, listener)
        await worker.load(parts)
        await worker.serve(reader)
    except HyperionError as error:
        log.event("worker.failed", error.message, level="error", code=error.code)
        return await _refuse(writer, error.message)
    except ConnectionError:
        return 0  # the supervisor is gone, and we had nothing to finish
    return 0


def _parse_start(line: bytes) -> Start | None:
    """The start order; None where it is none of this version."""
    try:
        order = parse_order(line)
    except msgspec.DecodeError:
        return None
    return order if isinstance(order, Start) and order.version == CHANNEL_VERSION else None


class Worker:
    """The parts of a running worker."""

    def __init__(self, order: Start, log: FailureLog, control: asyncio.StreamWriter, listener: socket.socket) -> None:
        self._order = order
        self._log = log
        self._control = control
        self._listener = listener
        labels = SlotLabels(order.deployment, order.model, order.model_version, order.revision)
        self._slot = Slot(Path(order.metrics_dir), order.worker, labels)
        self._door = Door(order.limits, self._slot, _identity(order), self._refused)
        self._server: asyncio.Server | None = None

    async def load(self, parts: LoadingParts) -> None:
        """Load, warm up, prove, and bring the server up, without accepting.

        Raises:
            HostError: The store's copy of the package is damaged (code ``store.blob_damaged``).
        """
        order = self._order
        self._slot.begin(time.time_ns() // 1_000_000)
        started = time.perf_counter()
        package = parts.store.open(order.digest)
        _require_whole(package, parts, order.threads)
        image = choose_image(parts.images, package, order)
        self._confine(parts)
        session, source = load_session(parts.engine, package, order, image)
        if source.fault is not None:
            self._log.event("worker.no_image", source.fault, level="warning")
        processor, no_raw_inputs = self._processor(parts.processors, package)
        load_ms = 1000 * (time.perf_counter() - started)
        await self._say(Loaded(load_ms, image=source.folder is not None, image_fault=source.fault))
        proof = prove(package, session)
        batching = plan_requests(package, order)
        await self._bring_up(session, proof, batching, processor, no_raw_inputs)
        gc.collect()
        gc.freeze()
        findings = [finding.model_dump(mode="json") for finding in proof.findings]
        await self._say(Gated(findings, proof.run_ms, max_batch=batching.max_batch, batching=batching.reason))

    def _confine(self, parts: LoadingParts) -> None:
        """From here on the process can do no more than serve; what it read so far it only digested."""
        confinement = parts.confine(Path(self._order.metrics_dir))
        if confinement.missing:
            self._log.event("worker.not_confined", "; ".join(map(str, confinement.missing)), level="warning")
        self._log.event("worker.confined", str(confinement), level="info")

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Follow the supervisor's orders; without a supervisor, finish and leave."""
        clock = asyncio.create_task(self._keep_date())
        try:
            deadline_s = await self._follow(reader)
            await self._leave(deadline_s)
        finally:
            clock.cancel()
            self._slot.end()

    async def _follow(self, reader: asyncio.StreamReader) -> float:
        """Until told to leave; returns how long that may take."""
        while line := await reader.readline():
            match parse_order(line):
                case AcceptTraffic() if self._server is not None:
                    await self._server.start_serving()
                    await self._say(Accepting())
                case LeaveTraffic(deadline_s):
                    return deadline_s
        self._log.event("supervisor.gone", "the supervisor is gone: finishing what is in flight", level="warning")
        return self._order.drain_timeout_s

    async def _leave(self, deadline_s: float) -> None:
        """Lame duck: take no new connection, answer what is there, close what is left at the deadline."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        await self._say(LameDucked(connections=self._door.leave()), must=False)
        await asyncio.sleep(SETTLE_S)
        self._door.emptied.clear()
        cut = 0
        if self._door.connections:
            try:
                await asyncio.wait_for(self._door.emptied.wait(), deadline_s)
            except TimeoutError:
                cut = self._door.cut()
                await asyncio.sleep(0)
        await self._say(Drained(cut=cut), must=False)

    def _processor(self, processors: Processors, package: PackageReader) -> tuple[Processor | None, str | None]:
        """What raw inputs need, tokenizer included; or why the package, which takes tensors still, takes none."""
        try:
            return processors.open(package), None
        except ConfigError as error:
            self._log.event("worker.no_raw_inputs", error.message, level="warning", code=error.code)
            return None, error.message

    async def _bring_up(
        self,
        session: Session,
        proof: Proof,
        batching: BatchingPlan,
        processor: Processor | None,
        no_raw_inputs: str | None,
    ) -> None:
        order = self._order
        model = ServedModel(
            order.deployment, order.model_version, order.revision, session.inputs, session.outputs,
            processing=None if processor is None else processor.processing,
            answers=() if processor is None else processor.answer_specs,
            no_raw_inputs=no_raw_inputs,
        )  # fmt: skip
        application = Application(
            model,
            session,
            self._door,
            self._log,
            metrics_dir=Path(order.metrics_dir),
            run_ms=proof.run_ms,
            server_version=order.server_version,
            raw_requests=None if processor is None else RawRequests(processor),
            max_batch=batching.max_batch,
            max_wait_s=order.max_wait_ms / 1000,
        )
        config = connection_config(application)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(config, self._door, loop), sock=self._listener, backlog=BACKLOG, start_serving=False
        )

    def _refused(self, status: int, cause: str, message: str) -> None:
        self._slot.refused(cause)
        self._log.write(cause, status, message)

    async def _keep_date(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._door.refresh_date()

    async def _say(self, message: ToSupervisor, *, must: bool = True) -> None:
        """Tell the supervisor; with ``must`` false it may be gone."""
        try:
            self._control.write(encode(message))
            await self._control.drain()
        except ConnectionError:
            if must:
                raise


def _require_whole(package: PackageReader, parts: LoadingParts, threads: int) -> None:
    """Demand that the disk still holds what was admitted; what is unchanged since it was proven is not read."""
    proof = prove_package(package, parts.proofs, parts.clock, recall=True, threads=threads)
    for name, fault in proof.faults.items():
        blob = package.locate(name).path
        raise HostError(
            f"the store's copy is damaged, {blob}: {fault.message}",
            hint="check the disk; move that file aside and deploy the package again",
            code="store.blob_damaged",
            entry=name,
        )


def _identity(order: Start) -> list[tuple[bytes, bytes]]:
    return [
        (b"hyperion-deployment", order.deployment.encode()),
        (b"hyperion-model", order.model.encode()),
        (b"hyperion-version", order.model_version.encode()),
        (b"hyperion-revision", str(order.revision).encode()),
    ]


async def _refuse(control: asyncio.StreamWriter, reason: str) -> int:
    try:
        control.write(encode(CannotServe(reason)))
        await control.drain()
    except ConnectionError:
        pass
    return 1
