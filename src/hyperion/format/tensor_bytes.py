"""Tensors of the Open Inference Protocol v2 as bytes: its binary tensor data extension ↔ arrays.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md. Numbers lie in
row-major order, little endian; a BOOL is a byte of 0 or 1; each element of BYTES is a length of 4 bytes and UTF-8 text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hyperion.format.tensor_json import DATATYPES, MAX_DIMENSIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

LENGTH_BYTES = 4


class TensorBytesError(ValueError):
    """Why bytes are no tensor; the text names what was expected and found, never the data."""


def parse_tensor_bytes(datatype: str, shape: Sequence[int], data: memoryview) -> Array:
    """The array that ``data`` holds; numbers that lie aligned are not copied, and cannot be written to.

    Text gives dtype object holding str.

    Raises:
        TensorBytesError: It holds none.
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None or dtype == "bfloat16":
        raise TensorBytesError(f"datatype {datatype[:20]!r} is not taken as binary data")
    if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape):
        raise TensorBytesError(f"shape must be at most {MAX_DIMENSIONS} sizes of 0 or more, found {list(shape)[:40]}")
    count = math.prod(shape)
    values = _texts(data, count) if dtype == "string" else _numbers(np.dtype(dtype), data, count)
    return values.reshape(tuple(shape))


def tensor_bytes(values: Array) -> bytes:
    """What ``parse_tensor_bytes`` reads back as the same array."""
    if values.dtype.kind in "OUS":
        texts = (item if isinstance(item, bytes) else str(item).encode() for item in values.reshape(-1).tolist())
        return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)
    return values.tobytes()  # row-major whatever the strides; every platform that is served is little endian


def _numbers(dtype: np.dtype[Any], data: memoryview, count: int) -> Array:
    if len(data) != count * dtype.itemsize:
        raise TensorBytesError(
            f"{count} elements of {dtype.name} are {count * dtype.itemsize} bytes, found {len(data)}"
        )
    values: Array = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype)
    if dtype.kind == "b":
        if values.size and values.max() > 1:
            raise TensorBytesError("BOOL data must be bytes of 0 and 1 only")
        return values.view(np.bool_)
    return values if values.flags.aligned else values.copy()


def _texts(data: memoryview, count: int) -> Array:
    if count * LENGTH_BYTES > len(data):
        raise TensorBytesError(
            f"{count} elements of BYTES need {count * LENGTH_BYTES} bytes or more, found {len(data)}"
        )
    values: Array = np.empty(count, dtype=object)
    begin = 0
    for index in range(count):
        end = begin + LENGTH_BYTES
        end, begin = end + int.from_bytes(data[begin:end], "little"), end
        if end > len(data) or begin > len(data):
            raise TensorBytesError(f"element {index} of {count} reaches past the {len(data)} bytes of its tensor")
        try:
            values[index] = str(data[begin:end], "utf-8")
        except UnicodeDecodeError as error:
            raise TensorBytesError(f"element {index} of {count} is no UTF-8 text") from error
        begin = end
    if begin != len(data):
        raise TensorBytesError(f"{len(data) - begin} bytes follow the last of {count} elements")
    return values
