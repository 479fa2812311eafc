"""The inference engine: ONNX Runtime on CPU, weights mapped from where the package keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.adapters.engine.image import image_session, save_image
from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
from hyperion.adapters.engine.session import make_session, run_interruptibly, run_session
from hyperion.adapters.host.run_watch import RunWatch
from hyperion.adapters.onnx.architecture import parse_architecture
from hyperion.adapters.onnx.validator import rules_of_host
from hyperion.adapters.onnx.weight_places import ROOT, WeightPlaces
from hyperion.adapters.sandbox.untrusted_models import validate_package
from hyperion.domain.manifest import ARCHITECTURE
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import EngineError, MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.format.tensor_json import dtype_name
from hyperion.ports import Array, Session, SessionOptions, Tensors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_DEFAULTS = SessionOptions()


class OnnxRuntimeSession:
    """One loaded model; names, types and shapes are those of the manifest."""

    def __init__(
        self, session: InferenceSession, signature: Signature, source: str, options: SessionOptions = _DEFAULTS
    ) -> None:
        self._session = session
        self._run = run_interruptibly if options.interruptible else run_session
        if options.run_timeout_s is not None:
            self._run = RunWatch(options.run_timeout_s).run
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
                ``engine.run_failed`` where the engine itself refuses or fails; ``engine.timeout`` where it was ended.
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
            dtype = "string" if array.dtype.kind in "OU" else dtype_name(array.dtype)
            mismatch = spec.mismatch(dtype, array.shape)
            if mismatch is not None:
                return f"the input {name!r} does not fit: {mismatch}"
        return None


class OnnxRuntimeEngine:
    """Implements ports.Engine.

    Args:
        graphs: Where graphs are kept once they are parsed; None parses each time.
    """

    def __init__(self, graphs: PreparedGraphs | None = None) -> None:
        self._graphs = graphs

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def load(self, package: PackageReader, options: SessionOptions = _DEFAULTS) -> Session:
        """Load a package in place; see ports.Engine."""
        session = make_session(self._graph(package), ROOT, options, package.source)
        return _checked(session, package, options)

    def build_image(self, package: PackageReader, folder: Path, options: SessionOptions = _DEFAULTS) -> Session:
        """Load a package and leave its host image in ``folder``; see ports.Engine."""
        return _checked(save_image(self._graph(package), folder, options, package.source), package, options)

    def load_image(self, package: PackageReader, folder: Path, options: SessionOptions = _DEFAULTS) -> Session:
        """Load a package from its host image; see ports.Engine."""
        return _checked(image_session(folder, options, package.source), package, options)

    def _graph(self, package: PackageReader) -> bytes:
        """The serialized graph, every weight at its place; parsed and validated unless that was done before."""
        rules = f"{self.version()} {rules_of_host()}"
        key = None if self._graphs is None else self._graphs.key(package, rules)
        graph = None if self._graphs is None or key is None else self._graphs.recall(key)
        if graph is None:
            model = parse_architecture(package.read(ARCHITECTURE), package.source)
            WeightPlaces(package).resolve(model)
            validate_package(model, package)
            graph = bytes(model.SerializeToString())
            if self._graphs is not None and key is not None:
                self._graphs.remember(key, graph)
        return graph

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


def load_source(path: Path, options: SessionOptions = _DEFAULTS) -> Session:
    """A session from a model as somebody wrote it, its parts beside it.

    Raises:
        ModelSourceError: It is no ONNX model, or breaks the rules of ``adapters.onnx_validator``.
        EngineError: The engine rejects it.
    """
    from hyperion.adapters.onnx.signature import signature_of
    from hyperion.adapters.onnx.source import read_source

    source = read_source(path)
    session = make_session(source.model.SerializeToString(), source.folder, options, str(path))
    return OnnxRuntimeSession(session, signature_of(source.model, str(path)), str(path))


def _checked(session: InferenceSession, package: PackageReader, options: SessionOptions) -> OnnxRuntimeSession:
    _check_signature(session, package)
    signature = package.manifest.signature
    return OnnxRuntimeSession(session, signature, package.source, options)


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
