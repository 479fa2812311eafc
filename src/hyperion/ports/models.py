"""Model directories, and what becomes of their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.manifest import EngineRequirement, GoldenRequest, ModelCard, SchemeName
    from hyperion.domain.scheme import Measurements, QuantizationRecord, QuantizeChoice, TargetPlatform
    from hyperion.domain.tensor import Signature
    from hyperion.format.weights import WeightTensor
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
        path: The directory.
        model: Its ``model.onnx``.
        card: Its ``hyperion.json``, or the defaults.
        files: Configuration files and assets, sorted by entry.
        left_out: Names that are not taken in, each with its reason.
    """

    path: Path
    model: Path
    card: ModelCard
    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...] = ()


class ModelSources(Protocol):
    """Reads model directories."""

    def read(self, path: Path) -> ModelSource:
        """Look over a model directory.

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
    """

    architecture: bytes
    layers: tuple[PreparedLayer, ...]
    engine: EngineRequirement
    quantization: QuantizationRecord
    golden: tuple[GoldenSource, ...]
    measurements: Measurements | None = None
    warnings: tuple[str, ...] = ()


class ModelGraph(Protocol):
    """A model's graph, read and checked."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs; labels where the graph itself names them."""

    def prepare(
        self,
        quantize: QuantizeChoice,
        signature: Signature,
        golden: Sequence[GoldenSource],
        platform: TargetPlatform | None,
        reporter: Reporter,
    ) -> PreparedModel:
        """Quantize as asked, measure the agreement with the float model, and split into layers.

        Raises:
            EngineError: The engine refuses the graph.
            ModelSourceError: The graph cannot be stored without loss.
        """


class ModelGraphs(Protocol):
    """Reads models."""

    def load(self, model: Path) -> ModelGraph:
        """Read a model and look at all its weights; external parts must lie inside the model's directory.

        Raises:
            ModelSourceError: It is no ONNX model, a Git LFS pointer, or a part is missing or outside.
            EngineError: The engine refuses the graph.
        """
