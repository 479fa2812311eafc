"""The manifest: what a package says of itself (FORMAT: docs/reference/format.md)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hyperion.domain.document import Digest, Document, Many, ModelName
from hyperion.domain.tensor import LARGEST_INTEGER, DType, Signature
from hyperion.domain.version import Version
from hyperion.errors import ConfigError

FORMAT_NAME = "hyperion"
FORMAT_VERSION = 1
"""What this Hyperion writes. Every version from 1 on is read for ever; 0 was a draft and is not."""

MODEL_FILE = "model.onnx"
"""What makes a folder a model directory, whatever else lies in it."""
MANIFEST = "manifest.json"
ARCHITECTURE = "architecture.json"
QUANTIZATION = "config/quantization.json"
OPTIMIZATION = "config/optimization.json"
PROCESSING = "config/processing.json"
"""What happens to raw inputs before the tensors, and to the tensors before the answer."""
CHUNKS = "config/chunks.bin"
"""The chunk digests of every entry over 8 MiB (format.chunk_tree)."""
SIGNING = "model.sig"
"""The detached signing: an entry that the manifest does not list."""
WEIGHTS_FOLDER = "weights/"
GOLDEN_FOLDER = "assets/golden/"
BUDGET_FOLDER = "assets/budget/"
"""The rows by which a host can hold a package to its accuracy budget."""

WeightScheme = Literal["none", "int8", "w8", "w4", "static-int8", "fp16"]
"""How a weight may be stored: in float; 8 bits, with activations quantized while running; 8 or 4 bits, weights alone;
8 bits, with the ranges of activations measured beforehand; half precision."""

SchemeName = Literal["none", "int8", "w8", "w4", "static-int8", "fp16", "kept"]
"""The same, and ``kept``: quantized already at its source."""

SchemeLabel = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""A scheme as manifests name it: open, so that a later scheme needs no later format."""


def _semantic(text: str) -> str:
    try:
        return str(Version.parse(text))
    except ConfigError as error:
        raise ValueError(error.message) from error


def _universal(date: datetime) -> datetime:
    if date.utcoffset() != timedelta():
        raise ValueError("a date is written in UTC, such as 2026-01-02T03:04:05Z")
    return date


SemanticVersion = Annotated[str, AfterValidator(_semantic)]
Size = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


class ChunkTree(Document):
    """The digests of an entry's chunks, summed up: what lets one entry be proven in parallel and in part."""

    size_bytes: Literal[4_194_304] = 4_194_304
    """Of every chunk but the last."""
    digest: Digest
    """Root: of a byte of 1 and the SHA-256 digests of all chunks in order, 32 bytes each."""


class Entry(Document):
    """One member of a package, as its manifest lists it."""

    digest: Digest
    size_bytes: Size
    chunks: ChunkTree | None = None
    """Of entries over 8 MiB, and of no others."""


class LayerTensor(Document):
    name: str
    dtype: str
    """Element type as safetensors names it (F32, I8, U8, …)."""
    shape: Many[Size]
    scheme: SchemeLabel


class Layer(Document):
    """One ``weights/layerN.weights`` entry and the tensors in it."""

    index: Size
    name: str
    entry: str
    tensors: Many[LayerTensor]


class EngineRequirement(Document):
    """What the engine must offer to run the architecture."""

    name: Literal["onnxruntime"] = "onnxruntime"
    minimum_version: str
    opsets: dict[str, Size]
    """Operator-set version by domain; the ONNX domain is written ``ai.onnx``."""
    operators: Many[str]
    """``domain::Operator`` of every node, sorted."""


class Parent(Document):
    """The package that this one was made from."""

    digest: Digest
    version: SemanticVersion
    signature: Signature
    processing: Digest | None = None
    """Of its config/processing.json, where it had one."""


SHORT_MESSAGE_CHARACTERS = 200


class HistoryLine(Document):
    version: SemanticVersion
    message: str
    date: Annotated[datetime, AfterValidator(_universal)] | None = None
    digest_before: Digest | None = None

    @property
    def short_message(self) -> str:
        """The beginning of a message that may be pages long, for a line among others."""
        message = self.message
        return message if len(message) <= SHORT_MESSAGE_CHARACTERS else f"{message[: SHORT_MESSAGE_CHARACTERS - 1]}…"


class Manifest(Document):
    """Metadata and the list of all entries; its canonical bytes give the package's digest."""

    format: Literal["hyperion"] = "hyperion"
    format_version: int
    name: ModelName
    version: SemanticVersion
    description: str = ""
    author: str = ""
    license: str = ""
    tags: Many[str] = ()
    platform: str | None = None
    """The target that the scheme was chosen for (``--platform``), None for any."""
    signature: Signature
    engine: EngineRequirement
    layers: Many[Layer]
    entries: dict[str, Entry]
    parent: Parent | None = None
    history: Many[HistoryLine] = ()
    annotations: dict[str, str] = {}

    @property
    def total_bytes(self) -> int:
        """Payload bytes of all entries."""
        return sum(entry.size_bytes for entry in self.entries.values())

    @property
    def weights_bytes(self) -> int:
        """Payload bytes under ``weights/``."""
        return sum(e.size_bytes for path, e in self.entries.items() if path.startswith(WEIGHTS_FOLDER))


class GoldenRequest(Document):
    """How a recorded request is compared: ``assets/golden/NAME.json`` beside ``NAME.safetensors``.

    The tensors file holds ``input:NAME`` and ``output:NAME`` tensors; a request without outputs is run, but nothing
    says which answers are right.
    """

    format_version: int = 1
    comparison: Literal["close", "equal", "norm", "top1"] = "close"
    """``close``: |found - expected| ≤ absolute + relative * |expected| for every element; ``norm``: the same of the
    root mean squares over all elements of an output; ``top1``: same class in every row."""
    absolute: Annotated[float, Field(ge=0)] = 1e-4
    relative: Annotated[float, Field(ge=0)] = 1e-3
    ignore: Many[str] = ()
    """Outputs that are not compared."""


class ModelCard(Document):
    """``hyperion.json`` of a model directory: what a person says of the model. Every key is optional."""

    schema_reference: str | None = Field(default=None, alias="$schema")
    format_version: int = 1
    name: str | None = None
    version: str | None = None
    description: str = ""
    author: str = ""
    license: str = ""
    labels: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    """What Hyperion has no key for; kept as it is."""


__all__ = [
    "ARCHITECTURE", "BUDGET_FOLDER", "FORMAT_NAME", "FORMAT_VERSION", "GOLDEN_FOLDER", "MANIFEST", "OPTIMIZATION",
    "QUANTIZATION", "WEIGHTS_FOLDER", "DType", "EngineRequirement", "Entry", "GoldenRequest", "HistoryLine", "Layer",
    "LayerTensor", "Manifest", "ModelCard", "Parent", "SchemeName", "WeightScheme",
]  # fmt: skip
