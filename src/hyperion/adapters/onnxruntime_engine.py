"""The inference engine: ONNX Runtime on CPU, weights mapped from where the package keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.adapters.onnx_architecture import parse_architecture
from hyperion.adapters.onnx_parts import EXTERNAL
from hyperion.adapters.onnx_types import is_storable, stored_as, tensor_bytes
from hyperion.adapters.onnxruntime_session import make_session, run_interruptibly, run_session
from hyperion.domain.manifest import ARCHITECTURE, WEIGHTS_FOLDER
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import EngineError, MalformedPackageError
from hyperion.format.package import EntryLocation, PackageReader
from hyperion.format.weights import TensorSlice, read_header
from hyperion.ports import Array, Session, SessionOptions, Tensors
from hyperion.quantization.graph import all_graphs, child_graphs

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
    from onnxruntime import InferenceSession

_REFERENCE_KEYS = {"location", "tensor"}
_DEFAULTS = SessionOptions()
_EXTERNAL_DATA = 13
"""Number of the field of TensorProto (onnx.proto)."""


class OnnxRuntimeSession:
    """One loaded model; names, types and shapes are those of the manifest."""

    def __init__(
        self, session: InferenceSession, signature: Signature, source: str, *, interruptible: bool = False
    ) -> None:
        self._session = session
        self._run = run_interruptibly if interruptible else run_session
        self._signature = signature
        self._source = source
        self._specs = {spec.name: spec for spec in signature.inputs}
        self._names = [spec.name for spec in signature.outputs]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._signature.outputs

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """All outputs for these inputs.

        Raises:
            EngineError: Code ``engine.bad_input`` for a missing, unknown, wrongly typed or shaped input;
                ``engine.run_failed`` where the engine itself refuses or fails.
        """
        fault = self._fault(feeds)
        if fault is not None:
            raise EngineError(f"{self._source}: {fault}", code="engine.bad_input")
        return self._run(self._session, self._names, feeds, self._source)

    def _fault(self, feeds: Tensors) -> str | None:
        for name in feeds:
            if name not in self._specs:
                return f"the model has no input {name!r}; its inputs are {', '.join(map(repr, self._specs))}"
        for name, spec in self._specs.items():
            if name not in feeds:
                if spec.optional:
                    continue
                return f"the input {name!r} is missing"
            array = feeds[name]
            if not hasattr(array, "dtype"):
                return f"the input {name!r} is no array: expected numpy.ndarray, found {type(array).__name__}"
            dtype = "string" if array.dtype.kind in "OU" else array.dtype.name
            mismatch = spec.mismatch(dtype, array.shape)
            if mismatch is not None:
                return f"the input {name!r} does not fit: {mismatch}"
        return None


class OnnxRuntimeEngine:
    """Implements ports.Engine."""

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def load(self, package: PackageReader, options: SessionOptions = _DEFAULTS) -> Session:
        """Load a package in place; see ports.Engine."""
        model = parse_architecture(package.read(ARCHITECTURE), package.source)
        folder = _Resolver(package).resolve(model)
        session = make_session(model.SerializeToString(), folder, options, package.source)
        _check_signature(session, package)
        signature = package.manifest.signature
        return OnnxRuntimeSession(session, signature, package.source, interruptible=options.interruptible)

    def operators(self) -> frozenset[str]:
        """Those with a CPU kernel, and those that the engine replaces while loading: functions and Constant."""
        from onnx import defs

        kernels = {
            f"{kernel.domain or 'ai.onnx'}::{kernel.op_name}"
            for kernel in _kernels()
            if kernel.provider == "CPUExecutionProvider"
        }
        functions = {
            f"{schema.domain or 'ai.onnx'}::{schema.name}"
            for schema in defs.get_all_schemas()
            if schema.has_function or schema.has_context_dependent_function  # type: ignore[attr-defined]
        }
        return frozenset(kernels | functions | {"ai.onnx::Constant"})

    def opsets(self) -> dict[str, int]:
        """The newest operator set of each domain, as the engine's own schemas say."""
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        newest: dict[str, int] = {}
        for schema in state.get_all_operator_schema():
            domain = schema.domain or "ai.onnx"
            newest[domain] = max(newest.get(domain, 1), schema.since_version)
        return newest


class _Resolver:
    """Turns the references of an architecture into (file, offset, length), from the package's own table alone."""

    def __init__(self, package: PackageReader) -> None:
        self._package = package
        self._tables: dict[str, tuple[EntryLocation, dict[str, TensorSlice]]] = {}

    def resolve(self, model: ModelProto) -> Path | None:
        """Rewrite every reference in place; returns the folder that holds all files, None without weights."""
        folders: set[str] = set()
        for _, graph in all_graphs(model.graph):
            self._refuse_elsewhere(graph)
            for tensor in graph.initializer:
                if tensor.data_location == EXTERNAL:
                    folders.add(self._place(tensor))
        for function in model.functions:
            for node in function.node:
                self._refuse_attributes(node)
                for _, child in child_graphs(node):
                    for _, graph in all_graphs(child):
                        self._refuse_elsewhere(graph)
                        self._refuse_external(list(graph.initializer))
        if len(folders) > 1:
            raise self._malformed(f"its weights lie in several folders: {', '.join(sorted(folders))}")
        return Path(folders.pop()) if folders else None

    def _place(self, tensor: TensorProto) -> str:
        """Point one tensor at its bytes; returns their folder."""
        where = {item.key: item.value for item in tensor.external_data}
        if set(where) != _REFERENCE_KEYS or len(tensor.external_data) != len(where) or tensor.HasField("raw_data"):
            raise self._malformed(f"the weight {tensor.name!r} has a reference other than location and tensor")
        location, table = self._table(where["location"], tensor.name)
        piece = table.get(where["tensor"])
        if piece is None:
            raise self._malformed(
                f"the weight {tensor.name!r} refers to {where['tensor']!r}, which is not in {where['location']}"
            )
        self._check_type(tensor, piece)
        if piece.offset + piece.size_bytes > location.size_bytes:
            raise self._malformed(f"the weight {tensor.name!r} reaches beyond the end of {where['location']}")
        path = os.path.realpath(location.path)  # the engine refuses symbolic links
        del tensor.external_data[:]
        for key, value in (
            ("location", os.path.basename(path)),  # noqa: PTH119 - a bare string, as the engine wants it
            ("offset", str(location.offset + piece.offset)),
            ("length", str(piece.size_bytes)),
        ):
            tensor.MergeFromString(_external_data(key, os.fsencode(value)))
        return os.path.dirname(path)  # noqa: PTH120

    def _check_type(self, tensor: TensorProto, piece: TensorSlice) -> None:
        if not is_storable(tensor.data_type) or any(size < 0 for size in tensor.dims):
            raise self._malformed(f"the weight {tensor.name!r} has a type or shape that cannot be stored")
        expected = stored_as(tensor.data_type, tensor.dims)
        if (piece.dtype, piece.shape) != expected or piece.size_bytes != tensor_bytes(tensor.data_type, tensor.dims):
            raise self._malformed(
                f"the weight {tensor.name!r} is {expected[0]}{list(expected[1])} in {ARCHITECTURE}, "
                f"but {piece.dtype}{list(piece.shape)} where it is stored"
            )

    def _table(self, entry: str, tensor: str) -> tuple[EntryLocation, dict[str, TensorSlice]]:
        found = self._tables.get(entry)
        if found is None:
            if not entry.startswith(WEIGHTS_FOLDER) or entry not in self._package.manifest.entries:
                raise self._malformed(f"the weight {tensor!r} refers to {entry!r}, which is no weights entry of it")
            location = self._package.locate(entry)
            with self._package.open(entry) as stream:
                found = location, read_header(stream, location.size_bytes, entry)
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


def _external_data(key: str, value: bytes) -> bytes:
    """One item of ``TensorProto.external_data`` as protobuf writes it.

    A file's name may hold bytes that are not UTF-8, which Python's protobuf takes in no string; the engine, which reads
    proto2, takes the bytes as they are.
    """
    item = b"".join(_field(number, part) for number, part in ((1, key.encode()), (2, value)))
    return _field(_EXTERNAL_DATA, item)


def _field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes: its tag and their count as varints (protobuf.dev/programming-guides/encoding)."""
    return b"%c%b%b" % (number << 3 | 2, _varint(len(data)), data)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _attribute_tensors(attribute: AttributeProto) -> list[TensorProto]:
    found = [attribute.t, *attribute.tensors]
    for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
        found += [sparse.values, sparse.indices]
    return found


def _check_signature(session: InferenceSession, package: PackageReader) -> None:
    """Demand that the manifest promises the very inputs and outputs that the graph has."""
    signature = package.manifest.signature
    optional = [spec for spec in signature.inputs if spec.optional]
    for kind, promised, found in (
        ("inputs", signature.required, session.get_inputs()),
        ("optional inputs", optional, session.get_overridable_initializers()),
        ("outputs", signature.outputs, session.get_outputs()),
    ):
        names = [spec.name for spec in promised]
        actual = [argument.name for argument in found]
        if sorted(names) != sorted(actual):
            raise MalformedPackageError(
                f"{package.source}: manifest.json names the {kind} {names}, but {ARCHITECTURE} has {actual}",
                entry=ARCHITECTURE,
                code="package.signature",
            )


def _kernels() -> Iterator[Any]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    yield from state.get_all_opkernel_def()
