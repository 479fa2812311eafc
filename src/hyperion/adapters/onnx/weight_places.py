"""Where the weights of a package lie: one table, tensor → (file, offset, length), for every form of a package.

A reference in architecture.json names an entry and a tensor in it. What the engine is told instead, the file and the
range in it, comes from the package's own table and from nothing else: the engine knows no entry's limits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.external_reference import set_reference
from hyperion.adapters.onnx.parts import EXTERNAL
from hyperion.adapters.onnx.types import is_storable, stored_as, tensor_bytes
from hyperion.domain.manifest import ARCHITECTURE, WEIGHTS_FOLDER
from hyperion.errors import MalformedPackageError
from hyperion.format.package import EntryLocation, PackageReader
from hyperion.format.weights import TensorSlice, read_header
from hyperion.quantization.graph import all_graphs, child_graphs

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

ROOT = Path("/")
"""The folder that the engine is told: weights may lie in several, and this one holds them all."""
_REFERENCE_KEYS = {"location", "tensor"}


@dataclass(frozen=True, slots=True)
class _Table:
    """The tensors of one entry.

    Attributes:
        path: The file's path below ``ROOT``, without links, which the engine refuses.
        location: The entry's range in that file.
        tensors: Ranges in the entry.
    """

    path: bytes
    location: EntryLocation
    tensors: dict[str, TensorSlice]


class WeightPlaces:
    """Turns the references of an architecture into (file, offset, length), from the package's own table alone."""

    def __init__(self, package: PackageReader) -> None:
        self._package = package
        self._tables: dict[str, _Table] = {}

    def resolve(self, model: ModelProto) -> None:
        """Rewrite every reference in place, to files by their path below ``ROOT``.

        Raises:
            MalformedPackageError: A reference names no tensor of the package, or one of another type or shape.
        """
        for _, graph in all_graphs(model.graph):
            self._refuse_elsewhere(graph)
            for tensor in graph.initializer:
                if tensor.data_location == EXTERNAL:
                    self._place(tensor)
        for function in model.functions:
            for node in function.node:
                self._refuse_attributes(node)
                for _, child in child_graphs(node):
                    for _, graph in all_graphs(child):
                        self._refuse_elsewhere(graph)
                        self._refuse_external(list(graph.initializer))

    def _place(self, tensor: TensorProto) -> None:
        """Point one tensor at its bytes."""
        where = {item.key: item.value for item in tensor.external_data}
        if set(where) != _REFERENCE_KEYS or len(tensor.external_data) != len(where) or tensor.HasField("raw_data"):
            raise self._malformed(f"the weight {tensor.name!r} has a reference other than location and tensor")
        table = self._table(where["location"], tensor.name)
        piece = table.tensors.get(where["tensor"])
        if piece is None:
            raise self._malformed(
                f"the weight {tensor.name!r} refers to {where['tensor']!r}, which is not in {where['location']}"
            )
        self._check_type(tensor, piece)
        if piece.offset + piece.size_bytes > table.location.size_bytes:
            raise self._malformed(f"the weight {tensor.name!r} reaches beyond the end of {where['location']}")
        offset = table.location.offset + piece.offset
        set_reference(tensor, table.path, offset, piece.size_bytes)

    def _check_type(self, tensor: TensorProto, piece: TensorSlice) -> None:
        if not is_storable(tensor.data_type) or any(size < 0 for size in tensor.dims):
            raise self._malformed(f"the weight {tensor.name!r} has a type or shape that cannot be stored")
        expected = stored_as(tensor.data_type, tensor.dims)
        if (piece.dtype, piece.shape) != expected or piece.size_bytes != tensor_bytes(tensor.data_type, tensor.dims):
            raise self._malformed(
                f"the weight {tensor.name!r} is {expected[0]}{list(expected[1])} in {ARCHITECTURE}, "
                f"but {piece.dtype}{list(piece.shape)} where it is stored"
            )

    def _table(self, entry: str, tensor: str) -> _Table:
        found = self._tables.get(entry)
        if found is None:
            if not entry.startswith(WEIGHTS_FOLDER) or entry not in self._package.manifest.entries:
                raise self._malformed(f"the weight {tensor!r} refers to {entry!r}, which is no weights entry of it")
            location = self._package.locate(entry)
            path = os.fsencode(os.path.relpath(os.path.realpath(location.path), ROOT))
            with self._package.open(entry) as stream:
                found = _Table(path, location, read_header(stream, location.size_bytes, entry))
            self._tables[entry] = found
        return found

    def _refuse_elsewhere(self, graph: GraphProto) -> None:
        """External data anywhere but in initializers would reach the engine unchecked."""
        for sparse in graph.sparse_initializer:
            self._refuse_external([sparse.values, sparse.indices])
        for node in graph.node:
            self._refuse_attributes(node)

    def _refuse_attributes(self, node: NodeProto) -> None:
        for attribute in node.attribute:
            self._refuse_external(_attribute_tensors(attribute))

    def _refuse_external(self, tensors: list[TensorProto]) -> None:
        for tensor in tensors:
            if tensor.data_location == EXTERNAL or tensor.external_data:
                raise self._malformed(f"the tensor {tensor.name!r} is external, but no initializer")

    def _malformed(self, fault: str) -> MalformedPackageError:
        return MalformedPackageError(
            f"{self._package.source}: {ARCHITECTURE}: {fault}", entry=ARCHITECTURE, code="package.architecture"
        )


def _attribute_tensors(attribute: AttributeProto) -> list[TensorProto]:
    found = [attribute.t, *attribute.tensors]
    for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
        found += [sparse.values, sparse.indices]
    return found
