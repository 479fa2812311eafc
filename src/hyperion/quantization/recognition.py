"""Telling what a model is before touching it: quantized already, or without weights that a scheme could take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.quantization.graph import all_graphs, uses_by_key

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZED_OPERATORS = frozenset({
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "GatherBlockQuantized",
    "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QAttention", "QEmbedLayerNormalization",
    "QGemm", "QLinearConv", "QLinearMatMul", "QMoE", "QOrderedMatMul", "QuantizeLinear",
})  # fmt: skip
"""Operators that only a quantized model has."""

_SMALL_TYPES = frozenset({2, 3, 21, 22})
"""uint8, int8, uint4, int4."""


def quantized_by(model: ModelProto) -> str | None:
    """What shows that a model was quantized before (such as ``MatMulInteger ×37``), or None where nothing does."""
    counts: dict[str, int] = {}
    for _, graph in all_graphs(model.graph):
        for node in graph.node:
            if node.op_type in QUANTIZED_OPERATORS:
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
    if counts:
        return ", ".join(f"{name} ×{count}" for name, count in sorted(counts.items()))
    casts = sum(
        use.tensor.data_type in _SMALL_TYPES and len(use.tensor.dims) > 1 and use.node.op_type in ("Cast", "Gather")
        for uses in uses_by_key(model.graph).values()
        for use in uses
    )
    return f"8-bit weights with Cast ×{casts}" if casts else None


def parameter_holders(model: ModelProto) -> tuple[str, ...]:
    """Operators of ``ai.onnx.ml`` that keep their parameters as attributes, where no scheme reaches them."""
    found = {
        node.op_type
        for _, graph in all_graphs(model.graph)
        for node in graph.node
        if node.domain == "ai.onnx.ml" and node.op_type.endswith(("Classifier", "Regressor", "Ensemble"))
    }
    return tuple(sorted(found))


_SCORING = frozenset({"LogSoftmax", "Normalizer", "Softmax", "ZipMap"})
_CHOOSING = frozenset({"ArgMax", "TopK"})
_CARRYING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def scores_classes(model: ModelProto, output: str) -> bool:
    """Whether the graph itself treats an output as class scores: it is a softmax, or the largest of it is chosen."""
    makers = {name: node for node in model.graph.node for name in node.output}
    scores = {output}
    node = makers.get(output)
    while node is not None:
        if node.op_type in _SCORING:
            return True
        if node.op_type not in _CARRYING or node.input[0] in scores:
            break
        scores.add(node.input[0])
        node = makers.get(node.input[0])
    return any(node.op_type in _CHOOSING and node.input[0] in scores for node in model.graph.node)
