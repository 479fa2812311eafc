"""Element types: ONNX's numbers, numpy's names, safetensors' names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperion.domain.tensor import DType

STRING = 8

_TYPES: dict[int, tuple[DType, int, str | None]] = {
    1: ("float32", 32, "F32"),
    2: ("uint8", 8, "U8"),
    3: ("int8", 8, "I8"),
    4: ("uint16", 16, "U16"),
    5: ("int16", 16, "I16"),
    6: ("int32", 32, "I32"),
    7: ("int64", 64, "I64"),
    9: ("bool", 8, "BOOL"),
    10: ("float16", 16, "F16"),
    11: ("float64", 64, "F64"),
    12: ("uint32", 32, "U32"),
    13: ("uint64", 64, "U64"),
    14: ("other", 64, None),  # complex64
    15: ("other", 128, None),  # complex128
    16: ("bfloat16", 16, "BF16"),
    17: ("other", 8, None),  # float8 variants
    18: ("other", 8, None),
    19: ("other", 8, None),
    20: ("other", 8, None),
    21: ("other", 4, None),  # uint4
    22: ("other", 4, None),  # int4
    23: ("other", 4, None),  # float4e2m1
    24: ("other", 8, None),  # float8e8m0
}
"""By TensorProto.DataType: numpy's name, bits of an element, safetensors' name where it has one."""


def dtype_of(elem_type: int) -> DType:
    """The name that signatures use."""
    return "string" if elem_type == STRING else _TYPES.get(elem_type, ("other", 0, None))[0]


def is_storable(elem_type: int) -> bool:
    """Whether tensors of this type have a fixed size, so that they can lie in ``weights/``."""
    return elem_type in _TYPES


def tensor_bytes(elem_type: int, dims: Sequence[int]) -> int:
    """Bytes of a tensor's raw data."""
    return (math.prod(dims) * _TYPES[elem_type][1] + 7) // 8


def stored_as(elem_type: int, dims: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The dtype and shape in which a tensor is stored; what safetensors cannot name is stored as its raw bytes, U8."""
    name = _TYPES[elem_type][2]
    if name is None:
        return "U8", (tensor_bytes(elem_type, dims),)
    return name, tuple(dims)
