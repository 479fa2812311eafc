"""Gemm → MatMul + Add, so that one rule quantizes every linear layer; the float results stay bit-equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hyperion.quantization.graph import Use, all_graphs, ambiguous_names, uses_by_key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Reader = Callable[["TensorProto"], "NDArray[Any]"]
"""Gives a tensor's values, wherever they lie."""

FLOAT = 1
"""TensorProto.FLOAT."""


def split_gemms(model: ModelProto, read: Reader) -> int:
    """Replace every Gemm whose weight is an initializer; returns how many.

    A transposed weight is stored the other way round, ``alpha`` is multiplied into it. Gemms that share a weight with
    anything but alike Gemms stay.
    """
    uses = uses_by_key(model.graph)
    ambiguous = ambiguous_names(model)
    ready: dict[str, TensorProto] = {}
    for path, graph in all_graphs(model.graph):
        fixed = {value.name for value in [*graph.input, *graph.output]} | ambiguous
        for tensor in graph.initializer:
            readers = uses.get(path + tensor.name, [])
            if tensor.name not in fixed and _is_linear_weight(tensor, readers):
                _settle(tensor, readers[0].node, read)
                ready[tensor.name] = tensor
    return sum(_split(graph, ready) for _, graph in reversed(list(all_graphs(model.graph))))


def _is_linear_weight(tensor: TensorProto, uses: list[Use]) -> bool:
    settings = {(_number(use.node, "transB", 0), _number(use.node, "alpha", 1.0)) for use in uses}
    return (
        len(settings) == 1
        and tensor.data_type == FLOAT
        and len(tensor.dims) == 2
        and all(use.node.op_type == "Gemm" and use.position == 1 for use in uses)
    )


def _settle(tensor: TensorProto, node: NodeProto, read: Reader) -> None:
    """Turn a weight as its Gemms read it."""
    from onnx import numpy_helper

    transposed, alpha = bool(_number(node, "transB", 0)), _number(node, "alpha", 1.0)
    if not transposed and alpha == 1:
        return
    values = read(tensor).T if transposed else read(tensor)
    values = values if alpha == 1 else values * values.dtype.type(alpha)
    tensor.CopyFrom(numpy_helper.from_array(values.copy(order="C"), tensor.name))


def _split(graph: GraphProto, ready: Mapping[str, TensorProto]) -> int:
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in ready:
            nodes += _linear(graph, node)
            count += 1
        else:
            nodes.append(type(node).FromString(node.SerializeToString()))
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
