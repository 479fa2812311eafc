"""Weights in the form of the float model: rounded ones dequantized as their graph does it, range by range.

How each is stored, quantization.parts says (domain.scheme.STORAGE in short); which part belongs to which weight, the
names tell that it gives: the weight's name and a suffix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.architecture import parse_architecture
from hyperion.adapters.onnx.parts import EXTERNAL
from hyperion.adapters.onnx.types import dtype_of
from hyperion.domain.manifest import ARCHITECTURE, LayerTensor
from hyperion.domain.scheme import W4_BLOCK
from hyperion.errors import MalformedPackageError
from hyperion.format.package import EntryLocation, PackageReader
from hyperion.format.weights import ITEM_BYTES, TensorSlice, read_header
from hyperion.ports import Array
from hyperion.ports.weights import ModelWeight
from hyperion.quantization.graph import Use, all_graphs, initializer_uses
from hyperion.quantization.rounding import UNSIGNED_ZERO

if TYPE_CHECKING:
    from onnx import ModelProto

_PART = {
    "int8": re.compile(r"(?P<weight>.*)_(?P<part>int8|scale)_*", re.DOTALL),
    "static-int8": re.compile(r"(?P<weight>.*)_(?P<part>int8|scale)_*", re.DOTALL),
    "w8": re.compile(r"(?P<weight>.*)_(?P<part>w8_scale|w8)_*", re.DOTALL),
    "w4": re.compile(r"(?P<weight>.*)_(?P<part>w4_scale|w4_zero|w4)_*", re.DOTALL),
    "fp16": re.compile(r"(?P<weight>.*)_(?P<part>fp16)_*", re.DOTALL),
}
_NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "BF16": "<u2", "U32": "<u4",
    "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_INTEGER_OPERATORS = re.compile(r"QLinear.*|.*Integer|DequantizeLinear|.*NBits|GatherBlockQuantized")
"""Operators whose integer operands stand for other numbers."""

_INT8_TYPES = {("I8", "F"), ("U8", "F")}
_HALF = 10
"""TensorProto.FLOAT16."""
_FLOAT_ATTRIBUTE = 1
"""AttributeProto.FLOAT."""

_Rows = Callable[[int, int], "Array"]


@dataclass(frozen=True, slots=True)
class _Stored:
    """One stored tensor, where it lies, and the nodes that read it."""

    key: str
    entry: str
    listed: LayerTensor
    location: EntryLocation
    piece: TensorSlice
    elem_type: int
    """TensorProto.DataType."""
    uses: tuple[Use, ...]

    @property
    def operators(self) -> set[str]:
        return {use.node.op_type for use in self.uses}

    def array(self) -> Array:
        """The elements in place, as the file has them."""
        import numpy as np

        dtype = _NUMPY[self.piece.dtype]
        if 0 in self.piece.shape:  # nothing to map
            return np.zeros(self.piece.shape, dtype)
        offset = self.location.offset + self.piece.offset
        return np.memmap(self.location.path, dtype, "r", offset, self.piece.shape)


class OnnxWeights:
    """Implements ports.ModelWeights."""

    def read(self, package: PackageReader) -> tuple[ModelWeight, ...]:
        """Every weight of the package; see ports.ModelWeights."""
        model = parse_architecture(package.read(ARCHITECTURE), package.source)
        stored = list(_stored_tensors(package, model))
        parts: dict[tuple[str, str], dict[str, _Stored]] = {}
        plain: list[_Stored] = []
        for tensor in stored:
            pattern = _PART.get(tensor.listed.scheme)
            found = None if pattern is None else pattern.fullmatch(tensor.key)
            if found is None:
                plain.append(tensor)
            else:
                parts.setdefault((tensor.entry, found["weight"]), {})[found["part"]] = tensor
        rounded = [_rounded(name, members) for (_, name), members in parts.items()]
        return (*(_plain(tensor) for tensor in plain), *rounded)


def _stored_tensors(package: PackageReader, model: ModelProto) -> Iterator[_Stored]:
    """Every tensor that the graph refers to and the manifest lists, in the order of the graph."""
    listed: dict[tuple[str, str], LayerTensor] = {}
    pieces: dict[str, Mapping[str, TensorSlice]] = {}
    for layer in package.manifest.layers:
        listed |= {(layer.entry, tensor.name): tensor for tensor in layer.tensors}
        with package.open(layer.entry) as stream:
            size = package.manifest.entries[layer.entry].size_bytes
            pieces[layer.entry] = read_header(stream, size, layer.entry)
    uses: dict[str, list[Use]] = {}
    for use in initializer_uses(model.graph):
        uses.setdefault(use.key, []).extend(_behind_cast(model, use))
    for path, graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_location != EXTERNAL:
                continue
            where = {item.key: item.value for item in tensor.external_data}
            entry, name = where.get("location", ""), where.get("tensor", "")
            piece = pieces.get(entry, {}).get(name)
            if piece is None or (entry, name) not in listed:
                raise MalformedPackageError(
                    f"{package.source}: {ARCHITECTURE} refers to the tensor {name!r} in {entry!r}, which is not there",
                    entry=ARCHITECTURE,
                    code="package.architecture",
                )
            key = path + tensor.name
            location = package.locate(entry)
            readers = tuple(uses.get(key, ()))
            yield _Stored(key, entry, listed[entry, name], location, piece, tensor.data_type, readers)


def _behind_cast(model: ModelProto, use: Use) -> Iterator[Use]:
    """A read of an initializer; where that is a Cast of half precision, the reads of what it gives."""
    if use.node.op_type != "Cast" or use.tensor.data_type != _HALF:
        yield use
        return
    for path, graph in all_graphs(model.graph):
        for node in graph.node:
            for position, name in enumerate(node.input):
                if name == use.node.output[0]:
                    yield Use(use.key, use.tensor, path, node, position)


def _plain(stored: _Stored, name: str | None = None) -> ModelWeight:
    """A weight whose stored values are the ones it has; those of a linear layer that turns it are turned."""
    turned, factor = _gemm_form(stored)
    shape = stored.piece.shape[::-1] if turned else stored.piece.shape
    reason = _unreadable(stored)
    rows = None if reason is not None else partial(_plain_rows, stored, turned, factor)
    return _weight(stored, stored.key if name is None else name, shape, rows, reason)


def _unreadable(stored: _Stored) -> str | None:
    if stored.piece.dtype not in _NUMPY or dtype_of(stored.elem_type) == "other":
        return "has an element type that numpy lacks"
    if any(map(_INTEGER_OPERATORS.fullmatch, stored.operators)) and stored.piece.dtype[0] in "IU":
        return "holds integers that were quantized before packaging, in a form that is kept as it was"
    return None


def _gemm_form(stored: _Stored) -> tuple[bool, float]:
    """Whether every reader is a Gemm that turns the weight, and the factor that they all multiply it with."""
    forms = {_form(use) if len(stored.piece.shape) == 2 else (0.0, 1.0) for use in stored.uses}
    turned, factor = forms.pop() if len(forms) == 1 else (0.0, 1.0)
    return bool(turned), factor


def _form(use: Use) -> tuple[float, float]:
    if use.node.op_type == "Gemm" and use.position == 1:
        return _number(use, "transB", 0), _number(use, "alpha", 1.0)
    return (1.0, 1.0) if use.node.op_type == "Transpose" else (0.0, 1.0)


def _number(use: Use, name: str, default: float) -> float:
    for attribute in use.node.attribute:
        if attribute.name == name:
            return float(attribute.f if attribute.type == _FLOAT_ATTRIBUTE else attribute.i)
    return default


def _plain_rows(stored: _Stored, turned: bool, factor: float, start: int, stop: int) -> Array:
    import numpy as np

    array = np.atleast_1d(stored.array())
    array = (array.T if turned else array)[start:stop]
    if stored.piece.dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32) * np.float32(factor)
    return array.astype(np.float32) * np.float32(factor)


def _rounded(name: str, parts: Mapping[str, _Stored]) -> ModelWeight:
    """A weight from its parts; a package that lies about them gets no values."""
    stored = next((parts[part] for part in ("int8", "w8", "w4", "fp16") if part in parts), next(iter(parts.values())))
    if "fp16" in parts:
        return _plain(stored, name)
    form = _int8_form(parts) or _block_form(parts, 4) or _block_form(parts, 8)
    if form is None:
        return _weight(stored, name, stored.piece.shape, None, "its parts do not fit together")
    return _weight(stored, name, *form, None)


def _int8_form(parts: Mapping[str, _Stored]) -> tuple[tuple[int, ...], _Rows] | None:
    """Values less their zero point, times one scale for each index of an axis."""
    values, scale = parts.get("int8"), parts.get("scale")
    if values is None or scale is None or (values.piece.dtype, scale.piece.dtype[0]) not in _INT8_TYPES:
        return None
    shape = values.piece.shape
    axis = 1 if values.operators == {"MatMulInteger"} else 0
    if len(shape) < 2 or math.prod(scale.piece.shape) != shape[axis]:
        return None
    zero = UNSIGNED_ZERO if values.piece.dtype == "U8" else 0
    return shape, partial(_int8_rows, values, scale, axis, zero)


def _int8_rows(values: _Stored, scale: _Stored, axis: int, zero: int, start: int, stop: int) -> Array:
    import numpy as np

    scales = scale.array().astype(np.float32).reshape(-1)
    scales = scales if axis else scales[start:stop].reshape(-1, *([1] * (len(values.piece.shape) - 1)))
    return (values.array()[start:stop].astype(np.float32) - np.float32(zero)) * scales


def _block_form(parts: Mapping[str, _Stored], bits: int) -> tuple[tuple[int, ...], _Rows] | None:
    """Blocks along the axis that a linear layer sums over: its first one, stored as the second."""
    values, scale, zero = (parts.get(f"w{bits}{part}") for part in ("", "_scale", "_zero"))
    if values is None or scale is None or len(scale.piece.shape) != 2 or (zero is None) != (bits == 8):
        return None
    lines, blocks = scale.piece.shape
    if (values.piece.dtype, scale.piece.dtype, math.prod(values.piece.shape)) != (
        "U8", "F32", lines * blocks * W4_BLOCK * bits // 8,
    ):  # fmt: skip
        return None
    if zero is not None and (zero.piece.dtype, zero.piece.shape) != ("U8", (lines, (blocks + 1) // 2)):
        return None
    whole = _Blocks(values, scale, zero)
    inner = {int(_number(use, "K", 0)) for use in values.uses if use.node.op_type == "MatMulNBits"}
    if values.operators != {"MatMulNBits"}:  # a table, which a linear layer may read too
        return (lines, blocks * W4_BLOCK), whole.lines
    if len(inner) > 1 or not (blocks - 1) * W4_BLOCK < max(inner) <= blocks * W4_BLOCK:
        return None
    return (inner.pop(), lines), whole.columns


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A matrix in blocks along its second axis: of 4 bits with zero points, or of 8 without."""

    values: _Stored
    scale: _Stored
    zero: _Stored | None

    def lines(self, start: int, stop: int) -> Array:
        """float32 [stop - start, blocks * 32]."""
        _, blocks = self.scale.piece.shape
        return self._decoded(slice(start, stop), slice(0, blocks))

    def columns(self, start: int, stop: int) -> Array:
        """float32 [stop - start, lines]: the transposed matrix, some of its rows."""
        first = start // W4_BLOCK
        found = self._decoded(slice(None), slice(first, -(-stop // W4_BLOCK)))
        return found.T[start - first * W4_BLOCK : stop - first * W4_BLOCK]

    def _decoded(self, lines: slice, blocks: slice) -> Array:
        import numpy as np

        shape = self.scale.piece.shape
        stored = self.values.array().reshape(*shape, -1)[lines, blocks]
        scales = self.scale.array()[lines, blocks]
        if self.zero is None:
            centred = stored.astype(np.float32) - np.float32(UNSIGNED_ZERO)
        else:
            zeros = _nibbles(self.zero.array()[lines])[:, blocks]
            centred = _nibbles(stored).astype(np.float32) - zeros[..., None].astype(np.float32)
        return (centred * scales[..., None]).reshape(len(scales), -1)


def _nibbles(packed: Array) -> Array:
    """Two values a byte along the last axis, low nibble first."""
    import numpy as np

    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def _weight(
    stored: _Stored, name: str, shape: tuple[int, ...], rows: _Rows | None, unavailable: str | None
) -> ModelWeight:
    scheme, dtype = stored.listed.scheme, stored.piece.dtype
    bits = 4 if scheme == "w4" else 8 * ITEM_BYTES[dtype]
    return ModelWeight(name, stored.entry, scheme, dtype, bits, shape, rows, unavailable)
