"""Model directories, and what becomes of their graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.manifest import EngineRequirement, GoldenRequest, ModelCard, SchemeName
    from hyperion.domain.quantization_policy import QuantizationPolicy
    from hyperion.domain.scheme import Measurements, QuantizationRecord, QuantizeChoice, TargetPlatform
    from hyperion.domain.tensor import Signature
    from hyperion.format.weights import WeightTensor
    from hyperion.ports.datasets import EvaluationSets
    from hyperion.ports.reporter import Reporter
    from hyperion.ports.tensors import Tensors


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a model directory that goes into the package as it is.

    Attributes:
        entry: Its name in the package, such as ``assets/vocab.txt``.
        path: Where it lies.
        size_bytes: Its length.
    """

    entry: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GoldenSource:
    """One golden request as found in a model directory.

    Attributes:
        name: File name without suffix.
        inputs: Inputs of the model by name; optional ones may be missing.
        outputs: The expected outputs; empty where the directory gives none.
        request: How outputs are compared.
        explicit: Whether a person wrote the tolerances.
    """

    name: str
    inputs: Tensors
    outputs: Tensors
    request: GoldenRequest
    explicit: bool


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a model directory holds, before its graph is read.

    Attributes:
        path: The directory, or the file that a person named.
        model: Its ONNX model; of a converted model, that in the converter's folder.
        card: Its ``hyperion.json``, or the defaults.
        files: Configuration files and assets, sorted by entry.
        left_out: Names that are not taken in, each with its reason.
        policy: Its config/quantization.json; None where it has none.
    """

    path: Path
    model: Path
    card: ModelCard
    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...] = ()
    policy: QuantizationPolicy | None = None


class ModelSources(Protocol):
    """Reads model directories."""

    def read(self, path: Path, converted: Path | None = None) -> ModelSource:
        """Look over a model directory, or a single ONNX file.

        Args:
            path: What the person named.
            converted: A folder that a converter made of it: its model is taken, and of its other files and its
                hyperion.json whatever the person's folder does not say itself.

        Raises:
            NotFoundError: Nothing is there (code ``model_source.not_found``).
            ModelSourceError: It is no model directory, or holds what no package may hold.
            ConfigError: hyperion.json or a file under config/ is wrong; all problems at once.
        """

    def read_golden(self, source: ModelSource, signature: Signature) -> tuple[GoldenSource, ...]:
        """Its golden requests, checked against the signature; sorted by name.

        Raises:
            ModelSourceError: A request does not fit the model, or holds text tensors.
            ConfigError: The document beside it is wrong.
        """


@dataclass(frozen=True, slots=True)
class PreparedLayer:
    """The weights of one layer, ready to be written.

    Attributes:
        name: The scope or node that it was split by.
        tensors: In the order in which they are stored.
        schemes: One for each tensor.
    """

    name: str
    tensors: tuple[WeightTensor, ...]
    schemes: tuple[SchemeName, ...]


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A graph prepared, quantized and split.

    Attributes:
        architecture: The bytes of architecture.json.
        layers: Layer N is stored as ``weights/layerN.weights``.
        engine: What the graph asks of an engine.
        quantization: What was decided.
        golden: The golden requests, with tolerances that suit the scheme.
        measurements: What was measured on the way; None where nothing was.
        warnings: What a person should know.
        budget_sample: Entries (name → bytes) by which another host can hold the package to its budget.
    """

    architecture: bytes
    layers: tuple[PreparedLayer, ...]
    engine: EngineRequirement
    quantization: QuantizationRecord
    golden: tuple[GoldenSource, ...]
    measurements: Measurements | None = None
    warnings: tuple[str, ...] = ()
    budget_sample: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuantizeRequest:
    """How a model is to be quantized.

    Attributes:
        choice: The scheme, or ``auto``.
        policy: Budget, overrides and seed, with the options over them.
        sets: The rows to calibrate, choose and judge on; None where there are no data.
        platform: The target; None for any.
        scratch: A folder for what is too large for memory; it must stay until the package is written.
    """

    choice: QuantizeChoice
    policy: QuantizationPolicy
    sets: EvaluationSets | None
    platform: TargetPlatform | None
    scratch: Path


class ModelGraph(Protocol):
    """A model's graph, read and checked."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs; labels where the graph itself names them."""

    def index_bound(self, name: str) -> int | None:
        """How many values, from 0, an integer input that picks rows of a table may have; None where it picks none."""

    def prepare(
        self, request: QuantizeRequest, signature: Signature, golden: Sequence[GoldenSource], reporter: Reporter
    ) -> PreparedModel:
        """Quantize as asked, measure what that costs, and split into layers.

        Raises:
            ConfigError: The data do not suit the model or the metric.
            EngineError: The engine refuses the graph.
            ModelSourceError: The graph cannot be stored without loss.
            BudgetError: A stated budget is broken (code ``quantize.budget``).
        """


class ModelGraphs(Protocol):
    """Reads models."""

    def load(self, model: Path) -> ModelGraph:
        """Read a model and look at all its weights; external parts must lie inside the model's directory.

        Raises:
            ModelSourceError: It is no ONNX model, a Git LFS pointer, or a part is missing or outside.
            EngineError: The engine refuses the graph.
        """
