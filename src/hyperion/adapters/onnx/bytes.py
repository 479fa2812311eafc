"""Whether the tensors of a graph have the bytes that their shapes say, before anybody takes memory for a shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.parts import EXTERNAL
from hyperion.adapters.onnx.refusal import Refusal
from hyperion.adapters.onnx.types import STRING, is_storable, tensor_bytes

if TYPE_CHECKING:
    from onnx import NodeProto, SparseTensorProto, TensorProto

MAX_DIMS = 64
MAX_TENSOR_BYTES = 2**48
"""Beyond any memory, and far from where products of sizes leave 64 bits."""
MAX_SPARSE_BYTES = 256 * 1024**2
"""What all sparse weights may grow to: the engine writes each out in full."""
_COMPLEX = (14, 15)
_FOUR_BITS = (21, 22, 23)
_TYPED = {
    1: "float_data", 11: "double_data", 14: "float_data", 15: "double_data", 7: "int64_data", 12: "uint64_data",
    13: "uint64_data", STRING: "string_data",
}  # fmt: skip
"""The field of each type's values where they are not raw; all others are in int32_data (onnx.proto)."""
_BITS = (2, 4, 8)


def bytes_of_initializers(tensors: Iterable[TensorProto]) -> int:
    """Check the weights of a graph; returns how many bytes those that lie elsewhere say they have.

    Raises:
        Refusal: A shape, or the bytes of one, are wrong.
    """
    external = 0
    for tensor in tensors:
        if tensor.data_location == EXTERNAL:
            _check_shape(tensor)
            external += tensor_bytes(tensor.data_type, tensor.dims) if is_storable(tensor.data_type) else 0
        else:
            check_tensor(tensor)
    return external


def check_tensor(tensor: TensorProto) -> None:
    """Demand that a tensor in the graph itself has exactly the values that its shape says.

    Raises:
        Refusal: Code ``model.tensor``.
    """
    if tensor.data_location == EXTERNAL:
        return  # where these may stand is for the reader of references to say
    count = _check_shape(tensor)
    kind = tensor.data_type
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), tensor_bytes(kind, tensor.dims) if is_storable(kind) else 0
        what = "bytes"
    else:
        found, expected, what = len(getattr(tensor, _TYPED.get(kind, "int32_data"))), count, "values"
        if kind in _COMPLEX:
            expected *= 2
        elif kind in _FOUR_BITS and found != count:
            expected = (count + 1) // 2
    if found != expected:
        raise Refusal(
            "model.tensor",
            f"the tensor {tensor.name[:200]!r} of shape {_shown(tensor.dims)} has {found} {what}, expected {expected}",
        )


def sparse_bytes(sparse: SparseTensorProto, before: int) -> int:
    """Check a sparse weight; returns what it and those before it take written out.

    Raises:
        Refusal: It is too large, or its parts are wrong.
    """
    check_tensor(sparse.values)
    check_tensor(sparse.indices)
    dims = list(sparse.dims)
    if len(dims) > MAX_DIMS or any(size < 0 for size in dims):
        raise Refusal("model.tensor", f"a sparse weight has the shape {_shown(dims)}")
    count = math.prod(dims)
    total = before + (
        tensor_bytes(sparse.values.data_type, dims) if is_storable(sparse.values.data_type) else 16 * count
    )
    if total > MAX_SPARSE_BYTES:
        raise Refusal(
            "model.too_large", f"its sparse weights take {total} bytes written out; at most {MAX_SPARSE_BYTES}"
        )
    return total


def refuse_blocks(node: NodeProto, packed: TensorProto | None) -> None:
    """Demand that a MatMulNBits has blocks that its packed weight can be cut into.

    Args:
        node: The node.
        packed: Its weight, where it is an initializer of the same graph.

    Raises:
        Refusal: Code ``model.quantization``.
    """
    given = {attribute.name: attribute.i for attribute in node.attribute}
    rows, columns, block, bits = (given.get(name, default) for name, default in
                                  (("K", 0), ("N", 0), ("block_size", 0), ("bits", 4)))  # fmt: skip
    sound = rows > 0 and columns > 0 and bits in _BITS and block >= 16 and block & (block - 1) == 0
    if sound and packed is not None:
        sound = math.prod(packed.dims) == columns * -(-rows // block) * (block * bits // 8)
    if not sound:
        raise Refusal(
            "model.quantization",
            f"the node {node.name[:200]!r} has blocks that fit no weight: K {rows}, N {columns}, block_size {block}, "
            f"bits {bits}",
        )


def _check_shape(tensor: TensorProto) -> int:
    """How many elements a tensor has."""
    dims = tensor.dims
    count = 1
    for size in dims:
        count *= size
        if size < 0:
            raise Refusal("model.tensor", f"the tensor {tensor.name[:200]!r} has the shape {_shown(dims)}")
    if count > MAX_TENSOR_BYTES or len(dims) > MAX_DIMS:
        raise Refusal(
            "model.tensor", f"the tensor {tensor.name[:200]!r} has the shape {_shown(dims)}, beyond any memory"
        )
    return count


def _shown(dims: Sequence[int]) -> str:
    return f"{list(dims[:8])}" if len(dims) <= 8 else f"{list(dims[:8])} and {len(dims) - 8} more sizes"
