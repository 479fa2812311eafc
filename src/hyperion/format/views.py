"""Entries and tensors in place: views of the mapped file, without a copy.

A view keeps its file mapped for as long as it lives, also after its package was closed. Nothing is read before its
bytes are looked at, and nothing is proven: that is what ``hyperion.verify`` and ``hyperion.load_model`` do. Where
another program cuts the file short meanwhile, looking at a view of what is gone ends this process with SIGBUS, as with
every mapped file; Hyperion itself never shortens or rewrites the payload of a package.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hyperion.domain.manifest import SchemeLabel
from hyperion.errors import MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.format.random_access import descriptor_of
from hyperion.format.weights import ITEM_BYTES, TensorSlice, read_header

if TYPE_CHECKING:
    import numpy as np

NUMPY_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
"""safetensors names that numpy has a type for; it lacks BF16 and the 8-bit floats."""


class Views:
    """The views of one opened package; files are mapped when they are first looked at, and once."""

    def __init__(self, package: PackageReader) -> None:
        self._package = package
        self._maps: WeakValueDictionary[Path, mmap.mmap] = WeakValueDictionary()
        self._headers: dict[str, dict[str, TensorSlice]] = {}

    def view(self, name: str) -> memoryview:
        """All bytes of one entry; see PackageReader.view."""
        location = self._package.locate(name)
        with self._package.open(name) as stream:
            descriptor = descriptor_of(stream)
            if descriptor is None:  # in memory
                return memoryview(stream.read(location.size_bytes))
            if location.size_bytes == 0:  # nothing can be mapped
                return memoryview(b"")
            mapped = self._maps.get(location.path)
            if mapped is None:
                mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
                self._maps[location.path] = mapped
        end = location.offset + location.size_bytes
        if len(mapped) < end:
            raise MalformedPackageError(
                f"{self._package.source}: {name}: expected a file of at least {end} bytes, found {len(mapped)}",
                hint="it became shorter after it was opened: fetch or make the package again",
                entry=name,
                code="package.size_mismatch",
            )
        return memoryview(mapped)[location.offset : end]

    def tensors(self) -> tuple[StoredTensor, ...]:
        """All tensors by layer; see PackageReader.tensors."""
        return tuple(
            StoredTensor(tensor.name, layer.name, layer.entry, tensor.dtype, tensor.shape, tensor.scheme, self._data)
            for layer in self._package.manifest.layers
            for tensor in layer.tensors
        )

    def _data(self, tensor: StoredTensor) -> memoryview:
        piece = self._header(tensor.entry).get(tensor.name)
        if piece is None or (piece.dtype, piece.shape) != (tensor.dtype, tensor.shape):
            raise MalformedPackageError(
                f"{self._package.source}: the tensor {tensor.name!r} in {tensor.entry} is not what the manifest says",
                hint="'hyperion verify integrity' says more",
                entry=tensor.entry,
                code="package.weights",
            )
        return self.view(tensor.entry)[piece.offset : piece.offset + piece.size_bytes]

    def _header(self, entry: str) -> dict[str, TensorSlice]:
        found = self._headers.get(entry)
        if found is None:
            with self._package.open(entry) as stream:
                found = read_header(stream, self._package.locate(entry).size_bytes, entry)
            self._headers[entry] = found
        return found


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as a package stores it.

    Attributes:
        name: Unique in its layer.
        layer: Name of its layer.
        entry: The entry that holds it, such as ``weights/layer0.weights``.
        dtype: Element type as safetensors names it: F32, F16, BF16, I8, U8, …
        shape: Sizes, outermost first.
        scheme: How its layer is stored: ``none``, ``int8``, ``w4``, ``kept``. A ``w4`` tensor is U8, two values a byte;
            config/quantization.json and architecture.json say what they stand for.
    """

    name: str
    layer: str
    entry: str
    dtype: str
    shape: tuple[int, ...]
    scheme: SchemeLabel
    _find: Callable[[StoredTensor], memoryview] = field(repr=False, compare=False)

    @property
    def data(self) -> memoryview:
        """Its elements in place: bytes, little endian, row-major, read-only; begins at a multiple of 64 in memory.

        Raises:
            MalformedPackageError: Its entry does not hold it (code ``package.weights``), or became shorter
                (``package.size_mismatch``).
            ValueError: The package file was closed.
        """
        return self._find(self)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The tensor in place, read-only, in its own shape and dtype.

        BF16 and the 8-bit floats, which numpy lacks, come as their raw bytes: uint8 of the same shape, BF16 with a last
        axis of 2 more.

        Raises:
            MalformedPackageError, ValueError: As ``data``.
        """
        import numpy as np

        dtype = NUMPY_DTYPES.get(self.dtype)
        if dtype is not None:
            return np.frombuffer(self.data, dtype).reshape(self.shape)
        item = ITEM_BYTES[self.dtype]
        return np.frombuffer(self.data, "u1").reshape(self.shape if item == 1 else (*self.shape, item))
