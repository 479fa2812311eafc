"""What goes into a package: its entries and its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from hyperion.domain.document import Document
from hyperion.domain.manifest import (
    ARCHITECTURE,
    FORMAT_VERSION,
    GOLDEN_FOLDER,
    QUANTIZATION,
    WEIGHTS_FOLDER,
    Entry,
    Layer,
    LayerTensor,
    Manifest,
    ModelCard,
    Parent,
)
from hyperion.domain.scheme import TargetPlatform
from hyperion.domain.tensor import Signature
from hyperion.errors import HostError
from hyperion.format.archive import PendingEntry
from hyperion.format.weights import weights_entry
from hyperion.ports import GoldenSource, ModelSource, PreparedModel
from hyperion.verification.golden import INPUT_PREFIX, OUTPUT_PREFIX


@dataclass(frozen=True, slots=True)
class ManifestDraft:
    """All of a manifest but its entries."""

    card: ModelCard
    signature: Signature
    prepared: PreparedModel
    parent: Parent | None
    platform: TargetPlatform | None

    def manifest(self, entries: dict[str, Entry]) -> Manifest:
        layers = tuple(
            Layer(
                index=index,
                name=layer.name,
                entry=layer_entry(index),
                tensors=tuple(
                    LayerTensor(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, scheme=scheme)
                    for tensor, scheme in zip(layer.tensors, layer.schemes, strict=True)
                ),
            )
            for index, layer in enumerate(self.prepared.layers)
        )
        return Manifest(
            format_version=FORMAT_VERSION,
            name=str(self.card.name),
            version=str(self.card.version),
            description=self.card.description,
            author=self.card.author,
            license=self.card.license,
            tags=self.card.tags,
            platform=None if self.platform is None else self.platform.name,
            signature=self.signature,
            engine=self.prepared.engine,
            layers=layers,
            entries=entries,
            parent=self.parent,
            annotations=self.card.annotations,
        )


def layer_entry(index: int) -> str:
    """The entry of layer ``index``."""
    return f"{WEIGHTS_FOLDER}layer{index}.weights"


def pending_entries(source: ModelSource, prepared: PreparedModel) -> Iterator[PendingEntry]:
    """All entries but manifest.json."""
    yield _in_memory(ARCHITECTURE, prepared.architecture)
    yield _in_memory(QUANTIZATION, _document_bytes(prepared.quantization))
    for index, layer in enumerate(prepared.layers):
        layout = weights_entry(layer.tensors)
        yield PendingEntry(layer_entry(index), layout.size_bytes, layout.open)
    for golden in prepared.golden:
        yield _in_memory(f"{GOLDEN_FOLDER}{golden.name}.safetensors", _golden_bytes(golden))
        yield _in_memory(f"{GOLDEN_FOLDER}{golden.name}.json", _document_bytes(golden.request))
    for name, data in prepared.budget_sample.items():
        yield _in_memory(name, data)
    for file in source.files:
        yield PendingEntry(file.entry, file.size_bytes, partial(open_source, file.path))


def _in_memory(name: str, data: bytes) -> PendingEntry:
    return PendingEntry(name, len(data), lambda: BytesIO(data))


def _document_bytes(document: Document) -> bytes:
    return document.model_dump_json(indent=2).encode() + b"\n"


def _golden_bytes(golden: GoldenSource) -> bytes:
    from safetensors.numpy import save

    tensors = {f"{INPUT_PREFIX}{name}": array for name, array in golden.inputs.items()}
    tensors |= {f"{OUTPUT_PREFIX}{name}": array for name, array in golden.outputs.items()}
    return save(tensors)


def open_source(path: Path) -> BinaryIO:
    """A file that the person named, for reading.

    Raises:
        HostError: It cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
