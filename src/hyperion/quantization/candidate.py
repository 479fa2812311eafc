"""Which weights a scheme can take, and why it cannot take the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.gemm import FLOAT
from hyperion.quantization.graph import Use, all_graphs, ambiguous_names, uses_by_key

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Scheme = Literal["int8", "w4"]
Kind = Literal["matmul", "conv", "gather"]

MINIMUM_BYTES = 1024
"""Smaller weights gain less than their scales and the extra nodes cost."""
INT8_OPSET = 11
"""DynamicQuantizeLinear came with it."""

_KINDS: dict[tuple[str, int], Kind] = {("MatMul", 1): "matmul", ("Conv", 1): "conv", ("Gather", 0): "gather"}
_COVERED: dict[Scheme, tuple[Kind, ...]] = {"int8": ("matmul", "conv", "gather"), "w4": ("matmul", "gather")}
_TYPE_NAMES = {10: "float16", 11: "float64", 16: "bfloat16"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A weight that a scheme can take.

    Attributes:
        key: Path of its graph and its name.
        kind: How all its uses read it.
        size_bytes: In float.
    """

    key: str
    kind: Kind
    size_bytes: int


def find_candidates(model: ModelProto, scheme: Scheme) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Candidates in topological order, and for every other float matrix the reason why it is none, by key."""
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    uses = uses_by_key(model.graph)
    fixed = _fixed(model)
    ambiguous = ambiguous_names(model)
    tensors = {path + tensor.name: tensor for path, graph in all_graphs(model.graph) for tensor in graph.initializer}
    found: list[Candidate] = []
    reasons: dict[str, str] = {}
    for key, readers in uses.items():
        tensor = tensors[key]
        if tensor.data_type not in (FLOAT, *_TYPE_NAMES) or sum(size != 1 for size in tensor.dims) < 2:
            continue  # vectors (biases, scales) are no matter for a scheme
        kind, reason = _judge(key, tensor, readers, scheme, opset, fixed, ambiguous)
        if reason is not None:
            reasons[key] = reason
        elif kind is not None:
            found.append(Candidate(key, kind, 4 * math.prod(tensor.dims)))
    return tuple(found), reasons


def _fixed(model: ModelProto) -> set[str]:
    """Keys that stand among their graph's inputs or outputs, so that they must stay as they are."""
    return {
        path + value.name
        for path, graph in all_graphs(model.graph)
        for value in [*graph.input, *graph.output]
    }  # fmt: skip


def _judge(
    key: str,
    tensor: TensorProto,
    uses: Sequence[Use],
    scheme: Scheme,
    opset: int,
    fixed: set[str],
    ambiguous: set[str],
) -> tuple[Kind | None, str | None]:
    if tensor.data_type != FLOAT:
        return None, f"is {_TYPE_NAMES[tensor.data_type]}; {scheme} covers float32"
    if 4 * math.prod(tensor.dims) < MINIMUM_BYTES:
        return None, f"has {4 * math.prod(tensor.dims)} bytes: too small to gain from {scheme}"
    if key in fixed:
        return None, "is an input or output of its graph"
    if scheme == "int8" and opset < INT8_OPSET:
        return None, f"int8 needs operator set {INT8_OPSET}; the model has {opset}"
    kinds = {_KINDS.get((use.node.op_type, use.position)) for use in uses}
    readers = " and ".join(sorted({use.node.op_type for use in uses}))
    if len(kinds) > 1:
        return None, f"is shared by {readers}, which need it in different forms"
    kind = kinds.pop()
    if kind is None or kind not in _COVERED[scheme] or any(use.node.domain not in ("", "ai.onnx") for use in uses):
        return None, f"is used by {readers}, which {scheme} does not cover"
    if tensor.name in ambiguous:
        return None, "has a name that several graphs use"
    return kind, _shape_fault(kind, tensor, uses, scheme)


def _shape_fault(kind: Kind, tensor: TensorProto, uses: Sequence[Use], scheme: Scheme) -> str | None:
    dims = list(tensor.dims)
    if kind == "conv":
        return None if len(dims) >= 3 else f"has shape {dims}, which is no convolution"
    if len(dims) != 2:
        return f"has {len(dims)} dimensions; {scheme} covers matrices"
    if kind == "gather":
        if any(_axis(use.node) not in (0, -2) for use in uses):
            return "is gathered along its columns"
        if scheme == "w4" and dims[1] % W4_BLOCK:
            return f"has rows of {dims[1]}, no multiple of the block of {W4_BLOCK}"
    return None


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
