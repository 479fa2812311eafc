"""Tensors between a sandbox and its child: one file per request, plain bytes behind a JSON header, never pickle.

Layout: header length (uint64, little endian), header (UTF-8 JSON: a list of name, dtype, shape and size_bytes),
then each tensor's bytes in C order; text tensors are a JSON list of their elements.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np

from hyperion.adapters.files.atomic_file import translated
from hyperion.errors import HostError
from hyperion.ports import Array, Tensors

MAX_HEADER_BYTES = 16 * 1024 * 1024
TEXT = "string"


def save_tensors(path: Path, tensors: Tensors) -> None:
    """Write ``tensors`` to a new file.

    Raises:
        HostError: The file cannot be written.
    """
    header, payloads = [], []
    for name, value in tensors.items():
        array = np.asarray(value)
        dtype = TEXT if array.dtype.kind in "OU" else array.dtype.name
        payload = _text_bytes(array) if dtype == TEXT else np.ascontiguousarray(array).tobytes()
        header.append({"name": name, "dtype": dtype, "shape": list(array.shape), "size_bytes": len(payload)})
        payloads.append(payload)
    raw = json.dumps(header).encode()
    with translated(path), path.open("xb") as stream:
        stream.write(struct.pack("<Q", len(raw)))
        stream.write(raw)
        stream.writelines(payloads)


def load_tensors(path: Path) -> dict[str, Array]:
    """Read what save_tensors wrote.

    Raises:
        HostError: The file cannot be read or does not follow the layout.
    """
    try:
        raw = path.read_bytes()
        (length,) = struct.unpack_from("<Q", raw)
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        tensors, position = {}, 8 + length
        for item in json.loads(raw[8:position]):
            end = position + item["size_bytes"]
            tensors[str(item["name"])] = _array(item["dtype"], tuple(item["shape"]), raw[position:end])
            position = end
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise HostError(f"{path} is no tensor file: {error}") from error
    return tensors


def _array(dtype: str, shape: tuple[int, ...], payload: bytes) -> Array:
    if dtype == TEXT:
        values = json.loads(payload)
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} texts for shape {list(shape)}")
        text = np.empty(len(values), dtype=object)
        text[:] = values
        return text.reshape(shape)
    return np.frombuffer(payload, dtype=np.dtype(dtype)).reshape(shape).copy()


def _text_bytes(array: Array) -> bytes:
    return json.dumps([str(value) for value in array.ravel().tolist()]).encode()
