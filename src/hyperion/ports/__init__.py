"""The outside world on one page: what use cases and checks may ask of it.

A port exists only where reality differs between a test and a host. Adapters implement them
(src/hyperion/adapters), fakes in tests/fakes pass the same contract suites.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperion.ports.access import KeyRings
from hyperion.ports.client import Answer, InferenceClient, NotReady
from hyperion.ports.clock import Clock
from hyperion.ports.conversion import Conversion, ConversionOptions, ModelConverters
from hyperion.ports.datasets import Batch, Dataset, Datasets, EvaluationSets
from hyperion.ports.files import Files, PackageOpener
from hyperion.ports.images import BuiltImage, HostImages, ImageChoice
from hyperion.ports.inference import (
    PREPACKED_BYTES,
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
    QuantizeRequest,
    SourceFile,
)
from hyperion.ports.processing import Encoded, Processor, Processors, TokenPlaces
from hyperion.ports.reporter import Reporter
from hyperion.ports.state import Ledger, PackageStore, ProofRecord, ReportStore, ServingLog
from hyperion.ports.supervision import OrphanedWorker, ServiceManager, SupervisorControl, WorkerLauncher, WorkerProcess
from hyperion.ports.tensors import Array, Tensors
from hyperion.ports.weights import ModelWeight, ModelWeights


@dataclass(frozen=True, slots=True)
class Host:
    """Everything a use case may need, wired by bootstrap; tests build it from fakes."""

    clock: Clock
    files: Files
    sources: ModelSources
    converters: ModelConverters
    graphs: ModelGraphs
    weights: ModelWeights
    engine: Engine
    sandbox: Sandbox
    images: HostImages
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
    processors: Processors
    state_dir: Path
    trust_policy: Path | None = None
    """Whose signing is demanded; None for trust.json in the state folder, where there is one."""


__all__ = [
    "PREPACKED_BYTES",
    "Answer",
    "Array",
    "Batch",
    "BuiltImage",
    "Clock",
    "Conversion",
    "ConversionOptions",
    "Dataset",
    "Datasets",
    "Encoded",
    "Engine",
    "EvaluationSets",
    "Files",
    "GoldenSource",
    "Host",
    "HostFacts",
    "HostImages",
    "ImageChoice",
    "InferenceClient",
    "InferenceJob",
    "InferenceResult",
    "KeyRings",
    "Ledger",
    "MemoryFigures",
    "ModelConverters",
    "ModelGraph",
    "ModelGraphs",
    "ModelSource",
    "ModelSources",
    "ModelWeight",
    "ModelWeights",
    "NotReady",
    "OrphanedWorker",
    "PackageOpener",
    "PackageStore",
    "PreparedLayer",
    "PreparedModel",
    "ProcessUsage",
    "Processor",
    "Processors",
    "ProofRecord",
    "QuantizeRequest",
    "ReportStore",
    "Reporter",
    "Sandbox",
    "SandboxLimits",
    "ServiceManager",
    "ServingLog",
    "Session",
    "SessionOptions",
    "SourceFile",
    "SupervisorControl",
    "Tensors",
    "TokenPlaces",
    "WorkerLauncher",
    "WorkerProcess",
]
