"""Rewriting a graph so that chosen weights are stored in few bits; everything else stays bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hyperion.domain.manifest import WeightScheme
from hyperion.quantization.batch_norm import Fold
from hyperion.quantization.graph import all_graphs, child_graphs
from hyperion.quantization.names import FreshNames
from hyperion.quantization.quantized_nodes import MICROSOFT, NodeWriter
from hyperion.quantization.static_ranges import ActivationPlan
from hyperion.quantization.survey import FLOAT, FloatWeight, Reader

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


@dataclass(frozen=True, slots=True)
class Chosen:
    """A weight that is stored in few bits.

    Attributes:
        weight: It.
        scheme: Any but ``none``.
        tensors: Makes its tensors, by suffix; they have no names yet.
        fold: The batch normalization that is in it.
    """

    weight: FloatWeight
    scheme: WeightScheme
    tensors: Callable[[], Mapping[str, TensorProto]]
    fold: Fold | None = None


def rebuild(model: ModelProto, chosen: Mapping[str, Chosen], activations: ActivationPlan) -> dict[str, str]:
    """Store the chosen weights in place of the float ones.

    Args:
        model: Changed in place.
        chosen: By key.
        activations: What of the outermost graph ``static-int8`` stores in integers.

    Returns:
        Key of every tensor that is new or has a new key → key of the weight that it stands for.
    """
    graphs = list(all_graphs(model.graph))
    read_before = _names_read(model.graph)
    names = FreshNames(model)
    stored: dict[str, dict[str, str]] = {}
    origins: dict[tuple[str, str], str] = {}
    for path, graph in graphs:
        found = _store(graph, path, chosen, names)
        stored |= found
        origins |= {(path, name): key for key, parts in found.items() for name in parts.values()}
    plan = _Plan(chosen, stored)
    for path, graph in reversed(graphs):  # inner before outer: an outer node is copied with the graphs in it
        origins |= _GraphRewriter(graph, path, plan, names, ActivationPlan.none() if path else activations).run()
    if any(item.scheme in ("w4", "w8") for item in chosen.values()):
        _import_microsoft(model)
    _drop_unread(model.graph, read_before)
    # Nodes were added before inner graphs, whose paths tell positions: what stood in them has another key now.
    return {
        new + tensor.name: origins.get((old, tensor.name), old + tensor.name)
        for (old, _), (new, graph) in zip(graphs, all_graphs(model.graph), strict=True)
        for tensor in graph.initializer
        if (old, tensor.name) in origins or old != new
    }


class _Plan:
    """What becomes of which node and weight.

    Attributes:
        stored: New names of each weight's tensors, by key and suffix.
        replaced: Nodes that read a weight otherwise now, by scope and name of their first result.
        folded: Batch normalizations that go, by the same.
        transposes: By scope, names that Transpose gives of weights.
        widened: By scope, name of a weight → name of its float16 form.
    """

    def __init__(self, chosen: Mapping[str, Chosen], stored: Mapping[str, Mapping[str, str]]) -> None:
        self.stored = stored
        self.replaced: dict[tuple[str, str], tuple[str, Chosen, Reader]] = {}
        self.folded: set[tuple[str, str]] = set()
        self.transposes: dict[str, set[str]] = {}
        self.widened: dict[str, dict[str, str]] = {}
        for key, item in chosen.items():
            name = item.weight.tensor.name
            if item.scheme == "fp16" and item.weight.readings != {"gather"}:
                self.widened.setdefault(key.removesuffix(name), {})[name] = stored[key]["fp16"]
            for reader in item.weight.readers:
                if item.scheme == "fp16" and reader.reading != "gather":
                    continue  # it reads the float values that a Cast gives, by their old name
                self.replaced[reader.scope, reader.node.output[0]] = key, item, reader
                if reader.transpose is not None:
                    self.transposes.setdefault(reader.scope, set()).add(reader.transpose.output[0])
            if item.fold is not None:
                self.folded.add((item.fold.scope, item.fold.output))


def _store(graph: GraphProto, path: str, chosen: Mapping[str, Chosen], names: FreshNames) -> dict[str, dict[str, str]]:
    """Exchange the initializers of one graph; returns the new names of each weight's tensors, by key and suffix."""
    stored: dict[str, dict[str, str]] = {}
    kept = []
    for tensor in graph.initializer:
        key = path + tensor.name
        if key not in chosen:
            kept.append(type(tensor).FromString(tensor.SerializeToString()))
            continue
        stored[key] = {}
        for suffix, part in chosen[key].tensors().items():
            part.name = stored[key][suffix] = names.fresh(f"{tensor.name}_{suffix}")
            kept.append(part)
    if stored:
        del graph.initializer[:]
        graph.initializer.extend(kept)
    return stored


class _GraphRewriter:
    """One graph; weights may be stored in it or in an outer one."""

    def __init__(
        self, graph: GraphProto, path: str, plan: _Plan, names: FreshNames, activations: ActivationPlan
    ) -> None:
        self._graph = graph
        self._path = path
        self._plan = plan
        self._writer = NodeWriter(graph, names, activations)

    def run(self) -> dict[tuple[str, str], str]:
        """Rewrite it; returns keys of weights by place of the initializers that were added for them."""
        for name, stored in self._plan.widened.get(self._path, {}).items():
            self._writer.add("Cast", [stored], name, to=FLOAT)
        added: dict[tuple[str, str], str] = {}
        for node in self._graph.node:
            place = self._path, node.output[0] if node.output else ""
            if place in self._plan.folded:
                continue
            found = self._plan.replaced.get(place)
            if found is None:
                self._writer.copy(node)
                self._writer.settle(node.output)
                continue
            key, item, reader = found
            if item.fold is not None:
                bias = self._writer.constant(f"{item.fold.beta}_folded", item.fold.bias)
                added[self._path, bias] = self._path + item.fold.beta
                reader = replace(reader, node=_with_bias(node, item.fold.output, bias))
            self._writer.replace(reader, item.weight, item.scheme, self._plan.stored[key])
            self._writer.settle(reader.node.output)
        nodes = _without_idle(self._writer.nodes, self._plan.transposes.get(self._path, set()), self._graph)
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        return added


def _with_bias(node: NodeProto, output: str, bias: str) -> NodeProto:
    """A convolution with another bias and another name for its result."""
    copy: NodeProto = type(node).FromString(node.SerializeToString())
    del copy.input[2:]
    copy.input.append(bias)
    copy.output[0] = output
    return copy


def _without_idle(nodes: Sequence[NodeProto], transposes: Collection[str], graph: GraphProto) -> list[NodeProto]:
    """The nodes without those that nothing reads among the dequantizing ones and ``transposes`` (names of results)."""
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    read |= {name for node in nodes for _, child in child_graphs(node) for name in _names_read(child)}
    return [
        node
        for node in nodes
        if not node.output
        or node.output[0] in read
        or not (node.output[0] in transposes or node.op_type == "DequantizeLinear")
    ]


def _names_read(graph: GraphProto) -> set[str]:
    """Every name that a graph and those in it read or give."""
    return {
        name
        for _, child in all_graphs(graph)
        for names in (*(node.input for node in child.node), [value.name for value in child.output])
        for name in names
    }


def _drop_unread(graph: GraphProto, read_before: Collection[str]) -> None:
    """Drop initializers, in all graphs, that were read before and are no longer."""
    read_now = _names_read(graph)
    for _, child in all_graphs(graph):
        idle = {tensor.name for tensor in child.initializer} & set(read_before) - read_now
        if idle:
            kept = [type(t).FromString(t.SerializeToString()) for t in child.initializer if t.name not in idle]
            del child.initializer[:]
            child.initializer.extend(kept)


def _import_microsoft(model: ModelProto) -> None:
    if not any(item.domain == MICROSOFT for item in model.opset_import):
        model.opset_import.add(domain=MICROSOFT, version=1)
