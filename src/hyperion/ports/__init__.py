"""The outside world on one page: what use cases and checks may ask of it.

A port exists only where reality differs between a test and a host. Adapters implement them
(src/hyperion/adapters), fakes in tests/fakes pass the same contract suites.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperion.ports.client import Answer, InferenceClient
from hyperion.ports.clock import Clock
from hyperion.ports.datasets import Batch, Dataset, Datasets
from hyperion.ports.files import Files, PackageOpener
from hyperion.ports.inference import (
    Engine,
    InferenceJob,
    InferenceResult,
    MemoryFigures,
    Sandbox,
    SandboxLimits,
    Session,
    SessionOptions,
)
from hyperion.ports.machine import HostFacts, ProcessUsage
from hyperion.ports.models import (
    GoldenSource,
    ModelGraph,
    ModelGraphs,
    ModelSource,
    ModelSources,
    PreparedLayer,
    PreparedModel,
    SourceFile,
)
from hyperion.ports.reporter import Reporter
from hyperion.ports.state import Ledger, PackageStore, ProofRecord, ReportStore, ServingLog
from hyperion.ports.supervision import SupervisorControl, WorkerLauncher, WorkerProcess
from hyperion.ports.tensors import Array, Tensors
from hyperion.ports.weights import ModelWeight, ModelWeights


@dataclass(frozen=True, slots=True)
class Host:
    """Everything a use case may need, wired by bootstrap; tests build it from fakes."""

    clock: Clock
    files: Files
    sources: ModelSources
    graphs: ModelGraphs
    weights: ModelWeights
    engine: Engine
    sandbox: Sandbox
    packages: PackageOpener
    store: PackageStore
    proofs: ProofRecord
    ledger: Ledger
    reports: ReportStore
    log: ServingLog
    control: SupervisorControl
    facts: HostFacts
    inference: InferenceClient
    datasets: Datasets
    state_dir: Path
    trust_policy: Path | None = None
    """Whose signing is demanded; None for trust.json in the state folder, where there is one."""


__all__ = [
    "Answer",
    "Array",
    "Batch",
    "Clock",
    "Dataset",
    "Datasets",
    "Engine",
    "Files",
    "GoldenSource",
    "Host",
    "HostFacts",
    "InferenceClient",
    "InferenceJob",
    "InferenceResult",
    "Ledger",
    "MemoryFigures",
    "ModelGraph",
    "ModelGraphs",
    "ModelSource",
    "ModelSources",
    "ModelWeight",
    "ModelWeights",
    "PackageOpener",
    "PackageStore",
    "PreparedLayer",
    "PreparedModel",
    "ProcessUsage",
    "ProofRecord",
    "ReportStore",
    "Reporter",
    "Sandbox",
    "SandboxLimits",
    "ServingLog",
    "Session",
    "SessionOptions",
    "SourceFile",
    "SupervisorControl",
    "Tensors",
    "WorkerLauncher",
    "WorkerProcess",
]
