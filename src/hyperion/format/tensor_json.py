"""Tensors of the Open Inference Protocol v2 as JSON: lists of numbers, booleans or text ↔ arrays.

Nothing is coerced: a fraction where an integer belongs, a number out of range, a null are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

DATATYPES: dict[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "BF16": "bfloat16", "FP32": "float32", "FP64": "float64",
    "BYTES": "string",
}  # fmt: skip
"""Names of the protocol → names of domain.tensor.DType."""
DATATYPE_OF = {dtype: name for name, dtype in DATATYPES.items()}

MAX_DIMENSIONS = 32


class TensorJsonError(ValueError):
    """Why a JSON tensor is none; the text names what was expected and found, never the data."""


def parse_tensor(datatype: str, shape: Sequence[int], data: Any) -> Array:
    """The array that ``data`` (flat in row-major order, or nested as ``shape``) spells.

    Text gives dtype object holding str.

    Raises:
        TensorJsonError: It spells none.
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        raise TensorJsonError(f"unknown datatype {datatype[:20]!r}; known are {', '.join(DATATYPES)}")
    if dtype == "bfloat16":
        raise TensorJsonError("BF16 has no JSON form here; send FP32 to a model that takes it")
    if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape):
        raise TensorJsonError(f"shape must be at most {MAX_DIMENSIONS} sizes of 0 or more, found {list(shape)[:40]}")
    count = math.prod(shape)
    values = _texts(data) if dtype == "string" else _numbers(data, dtype)
    if values.size != count:
        raise TensorJsonError(f"shape {list(shape)} needs {count} elements, found {values.size}")
    if values.ndim != 1 and values.shape != tuple(shape):
        raise TensorJsonError(f"data is nested as {list(values.shape)}; expected {list(shape)}, or a flat list")
    return values.reshape(tuple(shape))


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """The dtype's own name, which numpy puts together anew each time it is asked."""
    return str(dtype.name)


def all_finite(values: Array) -> bool:
    """Whether no value is NaN or infinite; for few values in half the time of ``all()``, which is Python inside."""
    return b"\x00" not in np.isfinite(values).tobytes()


def tensor_data(values: Array) -> Any:
    """What orjson writes as a flat list: the array itself where it can, else a list.

    The caller has made sure that all numbers are finite.
    """
    flat = values.reshape(-1)
    if flat.dtype.kind in "OUS":
        return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in flat.tolist()]
    if dtype_name(flat.dtype) == "bfloat16":
        flat = flat.astype(np.float32)
    return np.ascontiguousarray(flat)


def _numbers(data: Any, dtype: str) -> Array:
    try:
        values: Array = np.array(data)
    except (ValueError, OverflowError) as error:
        raise TensorJsonError("data is a ragged list") from error
    kind = values.dtype.kind
    if values.size == 0:
        return values.astype(dtype)
    if dtype == "bool":
        if kind != "b":
            raise TensorJsonError("BOOL data must be true and false only")
        return values
    if kind == "b" or kind not in "iuf":
        raise TensorJsonError(f"{DATATYPE_OF[dtype]} data must be numbers only")
    if dtype.startswith("float"):
        return _floats(values, dtype)
    return _integers(values, data, dtype)


def _floats(values: Array, dtype: str) -> Array:
    cast = _cast(values, dtype)
    if dtype != "float64" and not all_finite(cast):
        raise TensorJsonError(f"a number is out of range of {DATATYPE_OF[dtype]}")
    return cast


@np.errstate(over="ignore")
def _cast(values: Array, dtype: str) -> Array:
    return values.astype(dtype)


def _integers(values: Array, data: Any, dtype: str) -> Array:
    if values.dtype.kind == "f":  # also what numpy makes of integers on both sides of 2^63
        if dtype != "uint64":
            raise TensorJsonError(f"{DATATYPE_OF[dtype]} data must be integers, without fraction or exponent")
        values = np.array(data, dtype=object)
        if not all(type(item) is int and 0 <= item < 2**64 for item in values.reshape(-1)):
            raise TensorJsonError("UINT64 data must be integers from 0 to 2^64 - 1")
        return values.astype(np.uint64)
    limits = np.iinfo(dtype)
    if int(values.min()) < limits.min or int(values.max()) > limits.max:
        raise TensorJsonError(f"{DATATYPE_OF[dtype]} data must lie in {limits.min} … {limits.max}")
    return values.astype(dtype)


def _texts(data: Any) -> Array:
    try:
        values: Array = np.array(data, dtype=object)
    except ValueError as error:
        raise TensorJsonError("data is a ragged list") from error
    if not all(isinstance(item, str) for item in values.reshape(-1)):
        raise TensorJsonError("BYTES data must be JSON strings only")
    return values
