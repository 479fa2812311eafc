"""Walking ONNX graphs: subgraphs, initializers by scope, who consumes what."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

GRAPH, GRAPHS = 5, 10
"""AttributeProto.AttributeType."""


@dataclass(frozen=True, slots=True)
class Use:
    """One node that reads an initializer.

    Attributes:
        key: The initializer: path of its graph and name, unique in the model.
        tensor: It.
        scope: Path of the graph that the node stands in; "" for the outermost.
        node: The node.
        position: Which of the node's inputs it is.
    """

    key: str
    tensor: TensorProto
    scope: str
    node: NodeProto
    position: int


def child_graphs(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """The graphs in a node's attributes (branches, loop bodies), each with a name."""
    for attribute in node.attribute:
        yield from _attribute_graphs(attribute)


def _attribute_graphs(attribute: AttributeProto) -> Iterator[tuple[str, GraphProto]]:
    if attribute.type == GRAPH:
        yield attribute.name, attribute.g
    elif attribute.type == GRAPHS:
        for index, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}{index}", graph


def all_graphs(graph: GraphProto, path: str = "") -> Iterator[tuple[str, GraphProto]]:
    """A graph and all graphs in it, outer before inner, each with its path (``""``, ``choose@3.then_branch/``, …)."""
    yield path, graph
    for index, node in enumerate(graph.node):
        for name, child in child_graphs(node):
            yield from all_graphs(child, child_path(path, index, node, name))


def child_path(path: str, index: int, node: NodeProto, name: str) -> str:
    """The path of a graph in a node's attribute."""
    return f"{path}{node.name or node.op_type}@{index}.{name}/"


def initializer_uses(graph: GraphProto) -> Iterator[Use]:
    """Every read of an initializer, in topological order; names resolve from inner graphs to outer ones."""
    yield from _uses(graph, "", ChainMap())


def _uses(graph: GraphProto, path: str, outer: ChainMap[str, tuple[str, TensorProto] | None]) -> Iterator[Use]:
    visible = outer.new_child()
    for value in graph.input:  # hides an outer initializer of the same name, unless it is one here
        visible[value.name] = None
    for tensor in graph.initializer:
        visible[tensor.name] = (path + tensor.name, tensor)
    for index, node in enumerate(graph.node):
        for position, name in enumerate(node.input):
            found = visible.get(name)
            if found is not None:
                yield Use(*found, path, node, position)
        for name, child in child_graphs(node):
            yield from _uses(child, child_path(path, index, node, name), visible)
        for output in node.output:
            if output in visible:
                visible[output] = None


def uses_by_key(graph: GraphProto) -> Mapping[str, list[Use]]:
    """All uses of each initializer."""
    found: dict[str, list[Use]] = {}
    for use in initializer_uses(graph):
        found.setdefault(use.key, []).append(use)
    return found


def ambiguous_names(model: ModelProto) -> set[str]:
    """Names that stand for several things, one in each graph; rewriting goes by names."""
    seen: set[str] = set()
    twice: set[str] = set()
    for _, graph in all_graphs(model.graph):
        own = {tensor.name for tensor in graph.initializer}
        own.update(value.name for value in graph.input)
        own.update(output for node in graph.node for output in node.output)
        twice |= seen & own
        seen |= own
    return twice
