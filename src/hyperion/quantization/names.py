"""New names in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.quantization.graph import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto


class FreshNames:
    """Names that nothing in a model has yet."""

    def __init__(self, model: ModelProto) -> None:
        self._taken: set[str] = set()
        for _, graph in all_graphs(model.graph):
            self._taken.update(tensor.name for tensor in graph.initializer)
            self._taken.update(value.name for value in [*graph.input, *graph.output])
            for node in graph.node:
                self._taken.update([*node.input, *node.output, node.name])

    def fresh(self, wanted: str) -> str:
        """``wanted``, with as many ``_`` behind it as make it new."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted
