"""A host for checks: real engine, sandbox, packages and facts; what needs a supervisor is scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperion.adapters.conversion.model_converters import ChildConverters
from hyperion.adapters.dataset.reading import LocalDatasets
from hyperion.adapters.engine.host_images import LocalHostImages
from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.files.report_store import LocalReportStore
from hyperion.adapters.host.host_facts import LocalHostFacts
from hyperion.adapters.onnx.graph import OnnxGraphs
from hyperion.adapters.onnx.model_directory import ModelDirectories
from hyperion.adapters.onnx.values import OnnxWeights
from hyperion.adapters.processing.route import LocalProcessors
from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.adapters.store.proof_record import SqliteProofRecord
from hyperion.domain.command import (
    Command,
    DeploymentStatus,
    Pong,
    Progress,
    Reply,
    Stats,
    StatsReply,
    Status,
    StatusReply,
)
from hyperion.domain.config import DeploymentConfig, Serve
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.metrics import ServingFigures
from hyperion.domain.scheme import QuantizeChoice
from hyperion.errors import EngineError, HostError
from hyperion.ports import Answer, Host, NotReady, Tensors
from hyperion.usecases.package import PackageOptions, package_model
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.reporter import CollectingReporter
from tests.models import LABELS, write_model_dir

PONG = Pong(pid=1, version="0")


class ScriptedSupervisor:
    """Implements ports.SupervisorControl for status and stats; where nothing is scripted, none runs."""

    def __init__(self, status: StatusReply | None = None, figures: Iterable[ServingFigures | HostError] = ()) -> None:
        self.status = status
        self.figures = list(figures)
        self.left_orphans = False

    def ping(self) -> Pong | None:
        return PONG if self.status is not None or self.figures else None

    def has_orphans(self) -> bool:
        return self.left_orphans

    def ensure_running(self) -> Pong:
        return PONG

    def ask(self, command: Command, on_progress: Callable[[Progress], None] | None = None) -> Reply:
        if isinstance(command, Status) and self.status is not None:
            return self.status
        if isinstance(command, Stats) and self.figures:
            found = self.figures.pop(0) if len(self.figures) > 1 else self.figures[0]
            if isinstance(found, HostError):
                raise found
            return StatsReply(figures=found)
        raise HostError("no supervisor runs", code="supervisor.not_running")


class EngineInference:
    """Implements ports.InferenceClient by the engine itself; ``fault`` may change or refuse an answer."""

    def __init__(self, package: Path | None = None, revision: int = 1, latency_ms: float = 2.0) -> None:
        self.session, self.version = None, ""
        if package is not None:
            with LocalPackages().open(package) as opened:
                self.session, self.version = OnnxRuntimeEngine().load(opened), opened.manifest.version
        self.revision = revision
        self.latency_ms = latency_ms
        self.ready = package is not None
        self.fault: Callable[[int, Answer], Answer | EngineError] = lambda number, answer: answer
        self.asked = 0

    def not_ready(self, url: str, model: str, timeout_s: float) -> NotReady | None:
        return None if self.ready else NotReady("it cannot be reached: nobody listens")

    def infer(self, url: str, model: str, feeds: Tensors, timeout_s: float) -> Answer:
        assert self.session is not None
        self.asked += 1
        answer = Answer(self.session.run(feeds), model, self.version, self.revision, self.latency_ms)
        outcome = self.fault(self.asked, answer)
        if isinstance(outcome, EngineError):
            raise outcome
        return outcome


class ScriptedLog:
    """Implements ports.ServingLog: one batch of lines for each reading."""

    def __init__(self, batches: Sequence[Sequence[dict[str, Any]]] = ()) -> None:
        self.batches = [tuple(batch) for batch in batches]

    def read(self, deployment: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
        position = int(cursor or 0)
        lines = self.batches[position] if position < len(self.batches) else ()
        return lines, str(position + 1)


class StatedFacts(LocalHostFacts):
    """The facts of this machine, but for those that a test states."""

    def __init__(self, state_dir: Path, *, memory_available: int | None = None, port_free: bool = True) -> None:
        super().__init__(state_dir)
        self._memory_available, self._port_free = memory_available, port_free

    def memory_available_bytes(self) -> int:
        return super().memory_available_bytes() if self._memory_available is None else self._memory_available

    def port_is_free(self, host: str, port: int) -> bool:
        return self._port_free


def checks_host(folder: Path, **replaced: Any) -> Host:
    """A host on ``folder``; any field may be replaced."""
    files, clock = AtomicFiles(), FakeClock()
    state = folder / "home"
    state.mkdir(mode=0o700, exist_ok=True)
    host = Host(
        clock=clock,
        files=files,
        sources=ModelDirectories(),
        converters=ChildConverters(state / "tmp"),
        graphs=OnnxGraphs(),
        weights=OnnxWeights(),
        engine=OnnxRuntimeEngine(),
        sandbox=ChildSandbox(state / "tmp"),
        images=LocalHostImages(state, OnnxRuntimeEngine(), SqliteProofRecord(state), clock, ChildSandbox()),
        packages=LocalPackages(),
        store=LocalPackageStore(state, files),
        proofs=SqliteProofRecord(state),
        ledger=InMemoryLedger(clock),
        reports=LocalReportStore(state, files),
        log=ScriptedLog(),
        control=ScriptedSupervisor(),
        facts=StatedFacts(state),
        inference=EngineInference(),
        datasets=LocalDatasets(),
        processors=LocalProcessors(),
        state_dir=state,
    )
    return replace(host, **replaced)


def packaged(
    folder: Path,
    host: Host,
    name: str = "model",
    *,
    labels: Sequence[str] | None = LABELS,
    quantize: QuantizeChoice = "none",
    **model: Any,
) -> Path:
    """``tests.models.write_model_dir`` (which takes ``model``), packaged: FOLDER/NAME.hyperion."""
    source = write_model_dir(folder / name, **model)
    card = json.loads((source / "hyperion.json").read_text())
    (source / "hyperion.json").write_text(json.dumps({**card, "labels": labels and list(labels)}))
    options = PackageOptions(input_dir=source, output=folder / f"{name}.hyperion", quantize=quantize)
    package_model(host, options, CollectingReporter())
    return options.output


def activate(host: Host, package: Path, deployment: str = "shop", port: int = 8080) -> Revision:
    """Admit a package and make it the active revision of a deployment, as a supervisor would."""
    with host.packages.open(package) as opened:
        host.store.admit(opened)
        manifest, digest = opened.manifest, opened.digest
    revision = Revision(
        deployment=deployment, number=len(host.ledger.revisions(deployment)) + 1, digest=digest, model=manifest.name,
        version=manifest.version, config=DeploymentConfig(name=deployment, serve=Serve(port=port)),
        origin=Origin.DEPLOY, reason=None, replaces=None, actor="tester", created_at=host.clock.now(),
    )  # fmt: skip
    host.ledger.create_revision(revision)
    draft = EventDraft(kind=EventKind.ROLLOUT_PROMOTED, deployment=deployment, revision=revision.number, actor="tester")
    host.ledger.promote(deployment, revision.number, draft)
    return revision


def status_of(host: Host, *revisions: Revision, url: str | None = "http://127.0.0.1:8080") -> StatusReply:
    """What a supervisor says that serves these revisions."""
    deployments = {deployment.name: deployment for deployment in host.ledger.deployments()}
    return StatusReply(
        pid=1,
        deployments=tuple(
            DeploymentStatus(
                deployment=deployments[revision.deployment], active=revision, serving=url is not None, updating=False,
                url=url, workers=(), trouble=None if url else "its worker was given up",
            )
            for revision in revisions
        ),
    )  # fmt: skip


def damaged(package: Path, folder: Path) -> Path:
    """A copy whose first weights entry has one wrong byte; container and manifest are whole."""
    with LocalPackages().open(package) as opened:
        place = opened.locate("weights/layer0.weights")
    raw = bytearray(package.read_bytes())
    raw[place.offset + place.size_bytes - 1] ^= 0xFF
    broken = folder / "damaged.hyperion"
    broken.write_bytes(raw)
    return broken
