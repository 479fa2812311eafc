"""Gemm → MatMul + Add, so that one rule quantizes every linear layer; the float results stay bit-equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hyperion.quantization.graph import Use, all_graphs, uses_by_key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Reader = Callable[["TensorProto"], "NDArray[Any]"]
"""Gives a tensor's values, wherever they lie."""

FLOAT = 1
"""TensorProto.FLOAT."""


def split_gemms(model: ModelProto, read: Reader) -> int:
    """Replace every Gemm whose weight is an initializer of its own graph; returns how many.

    A transposed weight is stored the other way round, ``alpha`` is multiplied into it. Gemms that share a weight with
    anything but alike Gemms stay.
    """
    uses = uses_by_key(model.graph)
    count = 0
    for path, graph in reversed(list(all_graphs(model.graph))):
        own = {path + tensor.name: tensor for tensor in graph.initializer}
        fixed = {value.name for value in [*graph.input, *graph.output]}
        ready = {
            key: tensor
            for key, tensor in own.items()
            if tensor.name not in fixed and _is_plain_weight(tensor, uses.get(key, []), path)
        }
        count += _split(graph, path, ready, read)
    return count


def _is_plain_weight(tensor: TensorProto, uses: list[Use], path: str) -> bool:
    settings = {(_number(use.node, "transB", 0), _number(use.node, "alpha", 1.0)) for use in uses}
    return (
        bool(uses)
        and tensor.data_type == FLOAT
        and len(tensor.dims) == 2
        and len(settings) == 1
        and all(use.node.op_type == "Gemm" and use.position == 1 and use.scope == path for use in uses)
    )


def _split(graph: GraphProto, path: str, ready: dict[str, TensorProto], read: Reader) -> int:
    from onnx import numpy_helper

    nodes: list[NodeProto] = []
    settled: set[str] = set()
    count = 0
    for node in graph.node:
        key = path + node.input[1] if node.op_type == "Gemm" else None
        if key is None or key not in ready:
            nodes.append(type(node).FromString(node.SerializeToString()))
            continue
        transposed, alpha = bool(_number(node, "transB", 0)), _number(node, "alpha", 1.0)
        if key not in settled and (transposed or alpha != 1):
            tensor = ready[key]
            values = read(tensor).T if transposed else read(tensor)
            values = values if alpha == 1 else values * values.dtype.type(alpha)
            tensor.CopyFrom(numpy_helper.from_array(values.copy(order="C"), tensor.name))
        settled.add(key)
        nodes += _linear(graph, node)
        count += 1
    if count:
        del graph.node[:]
        graph.node.extend(nodes)
    return count


def _linear(graph: GraphProto, node: NodeProto) -> list[NodeProto]:
    """MatMul and Add in place of one Gemm."""
    import numpy as np
    from onnx import helper, numpy_helper

    left, output = node.input[0], node.output[0]
    nodes = []
    if _number(node, "transA", 0):
        nodes.append(helper.make_node("Transpose", [left], [f"{output}_left"], f"{node.name}_left", perm=[1, 0]))
        left = f"{output}_left"
    bias = node.input[2] if len(node.input) > 2 else ""
    product = f"{output}_product" if bias else output
    nodes.append(helper.make_node("MatMul", [left, node.input[1]], [product], node.name))
    if bias:
        beta = _number(node, "beta", 1.0)
        if beta != 1:
            factor = f"{output}_beta"
            graph.initializer.append(numpy_helper.from_array(np.array(beta, np.float32), factor))
            nodes.append(helper.make_node("Mul", [bias, factor], [f"{output}_bias"], f"{node.name}_beta"))
            bias = f"{output}_bias"
        nodes.append(helper.make_node("Add", [product, bias], [output], f"{node.name}_bias"))
    return nodes


def _number(node: NodeProto, name: str, default: float) -> float:
    for attribute in node.attribute:
        if attribute.name == name:
            return float(attribute.f if attribute.type == FLOAT else attribute.i)
    return default
