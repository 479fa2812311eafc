"""Weights entries: safetensors files whose every tensor begins at a multiple of 64, so that engines map them in place.

safetensors forbids holes between tensors, so padding is explicit: U8 tensors named ``__pad0``, ``__pad1``, …, which
readers hide. Tensors whose size is a multiple of 64 come first; then padding is rare. The header is padded to a
multiple of 4096, so that data does not shift where the header grows a little, and has one legal encoding: a reader
builds it anew and compares bytes.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import JsonValue

from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.limits import MAX_DIMENSIONS, MAX_DOCUMENT_MARKS, MAX_TENSOR_HEADER_BYTES
from hyperion.format.strict_json import parse_json, shortened

ALIGNMENT = 64
DATA_ALIGNMENT = 4096
"""Where the data of a weights entry begins: a multiple of this."""
PAD_PREFIX = "__pad"
_METADATA = "__metadata__"
_LENGTH_BYTES = 8

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element by its safetensors name. What has another type is stored as U8."""


@dataclass(frozen=True, slots=True)
class WeightTensor:
    """A tensor that is to be stored.

    Attributes:
        name: Unique in its entry.
        dtype: safetensors name, a key of ``ITEM_BYTES``.
        shape: Sizes, outermost first.
        size_bytes: Length of ``data()``.
        data: Its elements, little endian, row-major; called when its turn comes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    data: Callable[[], bytes | memoryview]


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """Where a stored tensor lies.

    Attributes:
        dtype: safetensors name.
        shape: Sizes, outermost first.
        offset: Bytes from the start of the entry.
        size_bytes: Its length.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class WeightsLayout:
    """A weights entry before it is written: its header, and what follows in order."""

    header: bytes
    tensors: tuple[WeightTensor, ...]

    @property
    def size_bytes(self) -> int:
        return len(self.header) + sum(tensor.size_bytes for tensor in self.tensors)

    def open(self) -> BinaryIO:
        """A fresh stream of the whole entry; one tensor is in memory at a time."""
        return io.BufferedReader(_Chunks(self._chunks()), buffer_size=ALIGNMENT)

    def _chunks(self) -> Iterator[memoryview]:
        yield memoryview(self.header)
        for tensor in self.tensors:
            if tensor.size_bytes == 0:
                continue
            data = memoryview(tensor.data()).cast("B")
            if len(data) != tensor.size_bytes:
                raise ValueError(f"tensor {tensor.name!r} gave {len(data)} bytes instead of {tensor.size_bytes}")
            yield data


def weights_entry(tensors: Sequence[WeightTensor]) -> WeightsLayout:
    """Lay out one weights entry; the same tensors in the same order give the same bytes.

    Raises:
        MalformedPackageError: A name is reserved or given twice, a dtype has no safetensors name, or size and shape
            disagree (code ``package.weights``).
    """
    _check_tensors(tensors)
    ordered: list[WeightTensor] = []
    end = pads = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.size_bytes % ALIGNMENT != 0):
        gap = -end % ALIGNMENT
        if gap:
            ordered.append(WeightTensor(f"{PAD_PREFIX}{pads}", "U8", (gap,), gap, _zeros(gap)))
            pads += 1
        ordered.append(tensor)
        end += gap + tensor.size_bytes
    return WeightsLayout(_header(ordered), tuple(ordered))


def read_header(stream: BinaryIO, size_bytes: int, entry: str, *, aligned: bool = True) -> dict[str, TensorSlice]:
    """Read and validate the header of a safetensors entry.

    Args:
        stream: Positioned at the start of the entry.
        size_bytes: Length of the whole entry.
        entry: Its name, for messages.
        aligned: Whether it is an entry of ``weights/``: every tensor begins at a multiple of 64, and the header is
            encoded as ``weights_entry`` does.

    Returns:
        Every tensor by name, in order of offset, without padding.

    Raises:
        MalformedPackageError: Code ``package.weights_header`` or a ``json.…`` one where the header is not what it must
            be, ``package.weights_layout`` where the tensors do not lie as they must; says which rule is broken.
    """
    header_bytes = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if header_bytes > MAX_TENSOR_HEADER_BYTES or _LENGTH_BYTES + header_bytes > size_bytes:
        raise _bad_header(entry, f"claims a header of {header_bytes} bytes in an entry of {size_bytes}")
    raw = stream.read(header_bytes)
    if not raw.startswith(b"{"):
        raise _bad_header(entry, "has a header that does not begin with '{'")
    try:
        header = parse_json(raw, "a header that", limit=MAX_TENSOR_HEADER_BYTES, marks=MAX_DOCUMENT_MARKS)
    except ConfigError as error:
        code = error.code  # a header's JSON has its faults in common with every other document
        raise MalformedPackageError(
            f"the weights entry {entry!r} has {error.message}", entry=entry, code=code
        ) from error
    if not isinstance(header, dict):
        raise _bad_header(entry, "has a header that is no object")
    _check_metadata(header.pop(_METADATA, {}), entry)
    start = _LENGTH_BYTES + header_bytes
    slices = sorted(
        ((name, _slice(name, value, start, entry)) for name, value in header.items()),
        key=lambda item: (item[1].offset, item[1].size_bytes),
    )
    _check_cover(slices, start, size_bytes, entry, aligned=aligned)
    if aligned:
        _check_encoding(slices, raw, entry)
    return {name: piece for name, piece in slices if not name.startswith(PAD_PREFIX)}


def check_padding(stream: BinaryIO, size_bytes: int, entry: str) -> None:
    """Demand that what readers hide is zeros.

    Args:
        stream: At the start of the entry, seekable.
        size_bytes: Length of the whole entry.
        entry: Its name, for messages.

    Raises:
        MalformedPackageError: Code ``package.weights_layout``.
    """
    header_bytes = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    for name, item in json.loads(stream.read(header_bytes)).items():
        if not name.startswith(PAD_PREFIX):
            continue
        begin, end = item["data_offsets"]
        stream.seek(_LENGTH_BYTES + header_bytes + begin)
        if end > size_bytes or any(stream.read(end - begin)):
            raise _bad_layout(entry, f"has padding {shortened(name)} that is not all zeros")


def _check_tensors(tensors: Sequence[WeightTensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen or tensor.name == _METADATA or tensor.name.startswith(PAD_PREFIX):
            raise MalformedPackageError(
                f"the tensor name {tensor.name!r} is reserved or was given twice", code="package.weights"
            )
        seen.add(tensor.name)
        item = ITEM_BYTES.get(tensor.dtype)
        if item is None or item * math.prod(tensor.shape) != tensor.size_bytes:
            raise MalformedPackageError(
                f"the tensor {tensor.name!r} of dtype {tensor.dtype!r} and shape {list(tensor.shape)} cannot have "
                f"{tensor.size_bytes} bytes",
                code="package.weights",
            )


def _zeros(count: int) -> Callable[[], bytes]:
    return lambda: bytes(count)


def _header(ordered: list[WeightTensor]) -> bytes:
    table: dict[str, object] = {}
    begin = 0
    for tensor in ordered:
        end = begin + tensor.size_bytes
        table[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH_BYTES + len(text)) % DATA_ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _check_encoding(slices: list[tuple[str, TensorSlice]], raw: bytes, entry: str) -> None:
    """Demand that the header is the one that ``weights_entry`` would write, so that nothing can hide in it."""
    tensors = [
        WeightTensor(name, piece.dtype, piece.shape, piece.size_bytes, bytes)
        for name, piece in slices
        if not name.startswith(PAD_PREFIX)
    ]
    if weights_entry(tensors).header[_LENGTH_BYTES:] != raw:
        raise _bad_header(entry, "has a header or an order of tensors that is not the one legal encoding of them")


def _check_metadata(metadata: JsonValue, entry: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _bad_header(entry, f"has {_METADATA} that is no map of texts")


def _slice(name: str, value: JsonValue, start: int, entry: str) -> TensorSlice:
    """One item of the header, validated for itself."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad_header(
            entry, f"describes the tensor {shortened(name)} otherwise than by dtype, shape and data_offsets"
        )
    dtype, shape, offsets = value["dtype"], _integers(value["shape"]), _integers(value["data_offsets"])
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _bad_header(entry, f"has the tensor {shortened(name)} of the unknown dtype {shortened(dtype)}")
    if shape is None or offsets is None or len(offsets) != 2:
        raise _bad_header(entry, f"has the tensor {shortened(name)} with a shape or offsets that are no counts")
    begin, end = offsets
    if math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise _bad_layout(entry, f"gives the tensor {shortened(name)} of {dtype}{list(shape)} {end - begin} bytes")
    return TensorSlice(dtype, shape, start + begin, end - begin)


def _integers(value: JsonValue) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    if not all(type(item) is int and item >= 0 for item in value):
        return None
    return tuple(item for item in value if isinstance(item, int))


def _check_cover(
    slices: list[tuple[str, TensorSlice]], start: int, size_bytes: int, entry: str, *, aligned: bool
) -> None:
    """Demand that the tensors lie one behind the other, from the header to the end of the entry."""
    position = start
    for name, piece in slices:
        if piece.offset != position:
            raise _bad_layout(
                entry,
                f"has the tensor {shortened(name)} at byte {piece.offset} where the one before ends at {position}",
            )
        if aligned and piece.size_bytes and piece.offset % ALIGNMENT and not name.startswith(PAD_PREFIX):
            raise _bad_layout(
                entry, f"has the tensor {shortened(name)} at byte {piece.offset}, no multiple of {ALIGNMENT}"
            )
        position += piece.size_bytes
    if position != size_bytes:
        raise _bad_layout(entry, f"has tensors up to byte {position}, but {size_bytes} bytes")


def _bad_header(entry: str, fault: str) -> MalformedPackageError:
    return MalformedPackageError(f"the weights entry {entry!r} {fault}", entry=entry, code="package.weights_header")


def _bad_layout(entry: str, fault: str) -> MalformedPackageError:
    return MalformedPackageError(f"the weights entry {entry!r} {fault}", entry=entry, code="package.weights_layout")


class _Chunks(io.RawIOBase):
    """Chunks as one stream."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # only what is used
        view = memoryview(buffer).cast("B")
        while not self._rest:
            rest = next(self._chunks, None)
            if rest is None:
                return 0
            self._rest = rest
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
