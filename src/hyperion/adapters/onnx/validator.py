"""What a graph from a stranger must keep to before the engine sees it (docs/explanation/untrusted-packages.md).

The engine refuses much by itself. Here stands what it does not look at, or looks at only after it took the memory: how
large, deep and numerous things are, what operators a model may use, whether tensors have the bytes that their shapes
say, what functions grow to, and what a sparse weight grows to. References of weights are the matter of
``adapters.weight_places`` for packages and of ``adapters.onnx_parts`` for sources.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.bytes import bytes_of_initializers, check_tensor, refuse_blocks, sparse_bytes
from hyperion.adapters.onnx.refusal import Refusal
from hyperion.quantization.graph import GRAPH, GRAPHS

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

DENIED = "HYPERION_DENIED_OPERATORS"
"""Environment variable: operators that this host refuses besides, as ``domain::Operator``, separated by commas."""
RULES = 1
"""Raised whenever a rule here gets stricter: what passed the ones before is then looked at again."""
MAX_NODES = 500_000
"""Of all graphs together, functions written out at each of their calls."""
MAX_DEPTH = 16
"""Graphs in graphs: branches, loop bodies."""
_OPEN = -1
"""A size that the caller chooses, as some exporters write it."""
MAX_INPUT_ELEMENTS = 2**28
"""Of an input without its open dimensions."""
MAX_CALLS = 64
"""Functions that call functions."""
_TENSOR, _TENSORS, _SPARSE_TENSOR = 4, 9, 11
"""AttributeProto.AttributeType."""
_STANDARD = ""
_VERSIONED = frozenset({_STANDARD, "ai.onnx.ml"})
_DOMAINS = _VERSIONED | {"com.microsoft"}
_GENERATION = frozenset(
    ("com.microsoft", name) for name in ("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch")
)
"""Loops over whole models in their attributes, with state that grows: nothing that Hyperion packages has them."""

_Key = tuple[str, str, str]
"""Domain, name and overload of a function, or of the operator that a node names."""
Operator = tuple[str, str]
"""Domain and name; the standard domain is empty."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What this host takes.

    Attributes:
        operators: Those that the engine knows.
        opsets: The newest operator set of each domain.
        denied: Operators that are refused although the engine knows them.
    """

    operators: frozenset[Operator]
    opsets: Mapping[str, int]
    denied: frozenset[Operator] = frozenset()


def host_policy(environ: Mapping[str, str] = os.environ) -> Policy:
    """The policy of this host: all that the engine knows, less a few and what the environment names."""
    operators, opsets = _known()
    return Policy(operators, opsets, _GENERATION | denied_operators(environ))


def denied_operators(environ: Mapping[str, str] = os.environ) -> frozenset[Operator]:
    """What ``$HYPERION_DENIED_OPERATORS`` names; an operator without a domain is of the standard one."""
    named = (part.strip() for part in environ.get(DENIED, "").split(","))
    split = (name.rpartition("::") for name in named if name)
    return frozenset((_domain(domain), operator) for domain, _, operator in split)


def rules_of_host(environ: Mapping[str, str] = os.environ) -> str:
    """What, beside the engine, decides which graphs are refused: whatever is kept of a graph that passed names it."""
    return f"{RULES} {sorted(denied_operators(environ))}"


def validate(model: ModelProto, policy: Policy, *, weights_bytes: int) -> None:
    """Demand that a model keeps to the rules.

    Args:
        model: Its weights hold their bytes or refer to them.
        policy: Of this host.
        weights_bytes: What all that it may refer to takes; references together may not say more.

    Raises:
        Refusal: It does not; its code begins with ``model.``.
    """
    _Validation(model, policy).run(weights_bytes)


@cache
def _known() -> tuple[frozenset[Operator], Mapping[str, int]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    schemas = state.get_all_operator_schema()
    opsets: dict[str, int] = {}
    for schema in schemas:
        opsets[schema.domain] = max(opsets.get(schema.domain, 1), schema.since_version)
    return frozenset((schema.domain, schema.name) for schema in schemas), opsets


def _domain(name: str) -> str:
    return _STANDARD if name == "ai.onnx" else name


class _Validation:
    """One model."""

    def __init__(self, model: ModelProto, policy: Policy) -> None:
        self._model = model
        self._policy = policy
        self._functions: dict[_Key, FunctionProto] = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._sizes: dict[_Key, int] = {}
        self._taken: set[_Key] = set()
        self._external = 0
        self._sparse = 0

    def run(self, weights_bytes: int) -> None:
        self._versions()
        self._inputs()
        for key in self._functions:
            self._size_of(key, ())
        total = self._graph(self._model.graph, 1, ())
        if total > MAX_NODES:
            raise Refusal("model.too_large", f"it has {total} nodes, functions written out; at most {MAX_NODES}")
        if self._external > weights_bytes:
            raise Refusal(
                "model.too_large",
                f"its weights are said to take {self._external} bytes, but only {weights_bytes} are there: "
                "several refer to the same ones",
            )

    def _versions(self) -> None:
        if self._model.ir_version < 1:
            raise Refusal("model.opset", f"its format version is {self._model.ir_version}")
        for opset in self._model.opset_import:
            domain = _domain(opset.domain)
            newest = self._policy.opsets.get(domain, 0)
            if domain in _VERSIONED and not 1 <= opset.version <= newest:
                raise Refusal(
                    "model.opset",
                    f"it needs operator set {opset.version} of {opset.domain or 'ai.onnx'}; this engine knows 1 to "
                    f"{newest}",
                    hint="export it for an earlier operator set, or upgrade onnxruntime",
                )

    def _inputs(self) -> None:
        for given in self._model.graph.input:
            sizes = [dim.dim_value for dim in given.type.tensor_type.shape.dim if dim.dim_value not in (0, _OPEN)]
            if math.prod(sizes) > MAX_INPUT_ELEMENTS or any(size < 0 for size in sizes):
                raise Refusal("model.too_large", f"its input {given.name[:200]!r} has the sizes {sizes[:8]}")

    def _graph(self, graph: GraphProto, depth: int, callers: tuple[_Key, ...]) -> int:
        """Check a graph and those in it; returns how many nodes they have."""
        if depth > MAX_DEPTH:
            raise Refusal("model.nesting", f"it has graphs in graphs more than {MAX_DEPTH} deep")
        self._external += bytes_of_initializers(graph.initializer)
        for sparse in graph.sparse_initializer:
            self._sparse = sparse_bytes(sparse, self._sparse)
        for node in graph.node:
            if node.op_type == "MatMulNBits":
                packed = next((t for t in graph.initializer if t.name in node.input[1:2]), None)
                refuse_blocks(node, packed)
        return self._nodes(graph.node, depth, callers)

    def _nodes(self, nodes: Iterable[NodeProto], depth: int, callers: tuple[_Key, ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in self._functions:
                total += self._size_of(key, callers)
            else:
                total += 1
                if key not in self._taken:
                    self._operator(node)
                    self._taken.add(key)
            for attribute in node.attribute:
                total += self._attribute(attribute, depth, callers)
        return total

    def _attribute(self, attribute: AttributeProto, depth: int, callers: tuple[_Key, ...]) -> int:
        kind = attribute.type
        if kind == _TENSOR:
            check_tensor(attribute.t)
        elif kind == _TENSORS:
            for tensor in attribute.tensors:
                check_tensor(tensor)
        elif kind == _SPARSE_TENSOR:
            self._sparse = sparse_bytes(attribute.sparse_tensor, self._sparse)
        elif kind == GRAPH:
            return self._graph(attribute.g, depth + 1, callers)
        elif kind == GRAPHS:
            return sum(self._graph(graph, depth + 1, callers) for graph in attribute.graphs)
        return 0

    def _operator(self, node: NodeProto) -> None:
        name = node.op_type
        domain = _domain(node.domain)
        wanted = (domain, name)
        if wanted in self._policy.denied:
            raise Refusal(
                "model.operator_denied", f"it uses the operator {domain or 'ai.onnx'}::{name}, which this host refuses",
                hint=f"see {DENIED} in the documentation of untrusted packages",
            )  # fmt: skip
        if domain not in _DOMAINS or wanted not in self._policy.operators:
            raise Refusal(
                "model.operator",
                f"it uses the operator {(domain or 'ai.onnx')[:200]}::{name[:200]}, which this engine does not know",
                hint="'hyperion platform probe' lists the operators that it knows; export the model without this one",
            )

    def _size_of(self, key: _Key, callers: tuple[_Key, ...]) -> int:
        """Nodes of a function, the functions that it calls written out; each function is looked at once."""
        known = self._sizes.get(key)
        if known is not None:
            return known
        if key in callers or len(callers) >= MAX_CALLS:
            raise Refusal("model.function", f"its function {key[1][:200]!r} calls itself, or is nested too deep")
        size = self._nodes(self._functions[key].node, 1, (*callers, key))
        self._sizes[key] = size
        return size
