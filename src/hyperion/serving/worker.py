"""A worker: one process that serves one revision.

Its life: start order → load → warm up and prove → (told) answer a canary's share → accept → lame duck → drained → exit;
or rest → warm → accept again, then as another revision of the same package. Everything is imported, loaded and warm
before it may accept. It goes on without its supervisor, and follows the next one.
"""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from hyperion.domain.finding import Finding
from hyperion.domain.tuning import BatchingPlan
from hyperion.errors import ConfigError, HostError, HyperionError
from hyperion.format.package import PackageReader
from hyperion.ports import Clock, Engine, HostImages, PackageStore, Processor, Processors, ProofRecord, Session
from hyperion.serving.application import Application
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    CannotServe,
    Gated,
    Introduced,
    Loaded,
    Start,
    ToSupervisor,
    encode,
    parse_order,
)
from hyperion.serving.dialing import bind_at
from hyperion.serving.door import Door
from hyperion.serving.duty import Duty, begin_slot, identity
from hyperion.serving.failure_log import FailureLog, LoggingBridge
from hyperion.serving.keys import KeyCheck
from hyperion.serving.loading import choose_image, load_session, plan_requests
from hyperion.serving.output_shape import proven_shapes
from hyperion.serving.proof import Proof, prove
from hyperion.serving.protocol import STATUS_OF_CAUSE, ServedModel
from hyperion.serving.raw_inputs import RawRequests
from hyperion.serving.replay import GoldenReplay
from hyperion.serving.supervisor_channel import SupervisorChannel
from hyperion.serving.tls import server_context
from hyperion.serving.traffic import Doorways, Traffic
from hyperion.verification.proof import prove_package

if TYPE_CHECKING:
    from hyperion.domain.confinement import Confinement, Protection


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

    @property
    def wall_in(self) -> Callable[[int | None], Protection]: ...


async def run_worker(parts: LoadingParts, control: socket.socket, listener: socket.socket, version: str) -> int:
    """Serve until told to leave; returns the process's exit status.

    Args:
        parts: Hold and load the package.
        control: Our end of the supervisor's socket pair.
        listener: The deployment's listening socket, inherited.
        version: Of this software.
    """
    channel = SupervisorChannel(control, listener)
    line = await channel.read_line()
    if not line:
        return 0  # the supervisor was gone before it said anything
    order = _parse_start(line)
    if order is None:
        reason = (
            f"supervisor and worker are of different versions (the worker is hyperion {version}): the software was "
            "replaced while the supervisor ran; end the supervisor with SIGTERM, then start it with 'hyperion serve'"
        )
        return await _refuse(channel, reason)
    log = FailureLog(order.deployment, order.revision, order.worker)
    logging.basicConfig(handlers=[LoggingBridge(log)], level=logging.WARNING, force=True)
    try:
        duty = await Worker(order, log, channel, listener).load(parts)
        await duty.serve()
    except HyperionError as error:
        log.event("worker.failed", error.message, level="error", code=error.code)
        return await _refuse(channel, error.message)
    return 0


def _parse_start(line: bytes) -> Start | None:
    """The start order; None where it is none of this version."""
    try:
        order = parse_order(line)
    except msgspec.DecodeError:
        return None
    return order if isinstance(order, Start) and order.version == CHANNEL_VERSION else None


class Worker:
    """A worker until it is proven; what it does then is its Duty."""

    def __init__(self, order: Start, log: FailureLog, channel: SupervisorChannel, listener: socket.socket) -> None:
        self._order = order
        self._log = log
        self._channel = channel
        self._listener = listener
        slot = begin_slot(order, order.revision, order.worker)
        self._door = Door(order.limits, slot, identity(order, order.revision), self._refused, self._unread)
        self._door.keys = KeyCheck(order.guard.keys)
        self._duty: Duty | None = None

    async def load(self, parts: LoadingParts) -> Duty:
        """Load, warm up, prove, and get everything ready, without accepting.

        Raises:
            HostError: The store's copy of the package is damaged (code ``store.blob_damaged``).
        """
        order = self._order
        started = time.perf_counter()
        package = parts.store.open(order.digest)
        _require_whole(package, parts, order.threads)
        image = choose_image(parts.images, package, order)
        doorways = self._bind()
        confinement = self._confine(parts)
        session, source = load_session(parts.engine, package, order, image)
        if source.fault is not None:
            self._log.event("worker.no_image", source.fault, level="warning")
        processor, no_raw_inputs = self._processor(parts.processors, package)
        load_ms = 1000 * (time.perf_counter() - started)
        await self._say(Loaded(load_ms, image=source.folder is not None, image_fault=source.fault))
        proof = prove(package, session, order.p99_ms)
        batching = plan_requests(package, order)
        application = self._application(session, proof, batching, processor, no_raw_inputs)
        traffic = Traffic(doorways, self._door, application, _tls_of(order))
        await traffic.prepare()
        replay = partial(_findings_of, GoldenReplay(proof.goldens, session))
        duty = Duty(order, self._channel, self._log, self._door, traffic, application, replay)
        self._duty = duty
        self._channel.listen()
        gc.collect()
        gc.freeze()
        duty.protections = _as_json((*confinement.protections, parts.wall_in(order.address_space_mb)))
        findings = _as_json(proof.findings)
        await self._say(Gated(findings, proof.run_ms, batching.max_batch, batching.reason, duty.protections))
        return duty

    def _bind(self) -> Doorways:
        """Take the places where others find this worker, before it is confined."""
        order = self._order
        try:
            self._channel.bind(Path(order.control_path), self._introduce)
        except OSError as error:
            message = f"this worker will end with its supervisor: cannot bind {order.control_path}: {error}"
            self._log.event("worker.not_adoptable", message, level="warning")
        return Doorways(self._listener, bind_at(order.frames_path), bind_at(order.handover_path))

    def _introduce(self) -> Introduced | None:
        return None if self._duty is None else self._duty.introduce()

    def _confine(self, parts: LoadingParts) -> Confinement:
        """From here on the process can do no more than serve; what it read so far it only digested."""
        confinement = parts.confine(Path(self._order.metrics_dir))
        if confinement.missing:
            self._log.event("worker.not_confined", "; ".join(map(str, confinement.missing)), level="warning")
        self._log.event("worker.confined", str(confinement), level="info")
        return confinement

    def _processor(self, processors: Processors, package: PackageReader) -> tuple[Processor | None, str | None]:
        """What raw inputs need, tokenizer included; or why the package, which takes tensors still, takes none."""
        try:
            return processors.open(package), None
        except ConfigError as error:
            self._log.event("worker.no_raw_inputs", error.message, level="warning", code=error.code)
            return None, error.message

    def _refused(self, status: int, cause: str, message: str) -> None:
        self._door.slot.refused(cause)
        self._log.write(cause, status, message)

    def _unread(self, message: str) -> None:
        self._door.slot.failed("slow_reader")
        self._log.write("slow_reader", STATUS_OF_CAUSE["slow_reader"], message)

    async def _say(self, message: ToSupervisor) -> None:
        self._channel.send(encode(message))
        await self._channel.flush()

    def _application(
        self,
        session: Session,
        proof: Proof,
        batching: BatchingPlan,
        processor: Processor | None,
        no_raw_inputs: str | None,
    ) -> Application:
        order = self._order
        model = ServedModel(
            order.deployment, order.model_version, order.revision, session.inputs, session.outputs,
            processing=None if processor is None else processor.processing,
            answers=() if processor is None else processor.answer_specs,
            no_raw_inputs=no_raw_inputs,
            finite_outputs=proof.finite_outputs,
            shapes=proven_shapes(session.inputs, session.outputs, proof.goldens),
        )  # fmt: skip
        return Application(
            model,
            session,
            self._door,
            self._log,
            metrics_dir=Path(order.metrics_dir),
            run_ms=proof.run_ms,
            run_elements=proof.run_elements,
            server_version=order.server_version,
            raw_requests=None if processor is None else RawRequests(processor, proof.finite_outputs),
            max_batch=batching.max_batch,
            max_wait_s=order.max_wait_ms / 1000,
        )


def _findings_of(replay: GoldenReplay) -> list[dict[str, Any]]:
    """The golden requests, once more."""
    return _as_json(replay.run())


def _as_json(documents: Iterable[Finding | Protection]) -> list[dict[str, Any]]:
    return [document.model_dump(mode="json") for document in documents]


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


def _tls_of(order: Start) -> ssl.SSLContext | None:
    """What clients are shown; None for plain HTTP.

    Raises:
        HostError: The certificate that the supervisor proved cannot be used here (code ``host.tls``).
    """
    if order.guard.tls is None:
        return None
    try:
        return server_context(order.guard.tls)
    except (OSError, ValueError) as error:
        raise HostError(f"the certificate cannot be used: {error}", code="host.tls") from error


async def _refuse(channel: SupervisorChannel, reason: str) -> int:
    channel.send(encode(CannotServe(reason)))
    await channel.flush()
    return 1
