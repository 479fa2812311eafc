"""static-int8: which activations are stored in 8 bits between nodes, and in which steps."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.quantization.graph import all_graphs
from hyperion.quantization.survey import Reader

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_LARGEST = 255
_GRID_BITS = 6
"""Ranges are widened to this many bits of mantissa."""
_CLIPPING = frozenset({"Clip", "Relu"})
"""What follows a convolution and only narrows its range, so that its integers can be those of the narrow one."""
_CARRYING = frozenset({"Dropout", "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give back values they were given, so that one step serves before and after them."""
_INTEGER_OPERATORS = _CARRYING | {"Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "Relu"}
"""Operators that the engine has integer kernels for: they may read quantized activations."""


@dataclass(frozen=True, slots=True)
class Affine:
    """The steps of an activation: ``real = (integer - zero) * scale``, integers from 0 to 255."""

    scale: float
    zero: int


def affine(low: float, high: float) -> Affine:
    """The steps for a measured range.

    The range is widened to zero and to a coarse grid, so that the last digits of one machine's arithmetic do not show.
    """
    low, high = -_widened(max(-low, 0.0)), _widened(max(high, 0.0))
    scale = (high - low) / _LARGEST or 1.0
    return Affine(scale, min(max(round(-low / scale), 0), _LARGEST))


def _widened(value: float) -> float:
    """The next number with few bits of mantissa, not below ``value``."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(mantissa * 2**_GRID_BITS), exponent - _GRID_BITS)


class ActivationNames:
    """Which results of a graph a product or convolution reads and gives, seen as integers."""

    def __init__(self, graph: GraphProto, folded: Mapping[str, str]) -> None:
        """Index a graph.

        Args:
            graph: The outermost one; in inner ones nothing is measured.
            folded: Result of a convolution → result of the batch normalization that is folded into it.
        """
        self._folded = folded
        self._makers = {name: node for node in graph.node for name in node.output}
        self._outputs = {value.name for value in graph.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for path, child in all_graphs(graph):
            for node in child.node:
                for name in node.input:
                    self._readers.setdefault(name, []).append(node)
            if path:
                self._outputs |= {value.name for value in child.output}
        inner = {n for path, child in all_graphs(graph) if path for node in child.node for n in node.input}
        self._outputs |= inner & self._makers.keys()

    def of(self, reader: Reader) -> tuple[str, ...]:
        """Names whose ranges a reader of a weight needs: what it reads, and of a convolution what it gives."""
        source = self._origin(reader.node.input[0])
        return (source, self._end(reader.node.output[0])) if reader.reading == "conv" else (source,)

    def _origin(self, name: str) -> str:
        """Where the values of an activation come from."""
        maker = self._makers.get(name)
        while maker is not None and maker.op_type in _CARRYING and maker.input[0]:
            name = maker.input[0]
            maker = self._makers.get(name)
        return name

    def _end(self, name: str) -> str:
        """What a convolution gives, after a batch normalization and a clipping that nothing else reads around."""
        name = self._folded.get(name, name)
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in _CLIPPING and name not in self._outputs:
            return str(readers[0].output[0])
        return name

    def plan(self, chosen: Sequence[Reader], ranges: Mapping[str, tuple[float, float]]) -> ActivationPlan:
        """What becomes integers, where these readers compute with them."""
        nodes = {reader.node.output[0] for reader in chosen}
        given = {self._end(reader.node.output[0]) for reader in chosen if reader.reading == "conv"}
        whole = {name: affine(*ranges[name]) for name in sorted(given)}
        private: dict[str, Affine] = {}
        for reader in chosen:
            name = reader.node.input[0]
            if name not in whole:
                steps = affine(*ranges[self._origin(name)])
                (whole if self._may_be_integers(name, nodes) else private)[name] = steps
        return ActivationPlan(whole, private)

    def _may_be_integers(self, name: str, chosen: Collection[str]) -> bool:
        """Whether all that reads an activation computes with integers, or can."""
        if name not in self._makers or name in self._outputs:
            return False
        return all(
            node.output[0] in chosen or node.op_type in _INTEGER_OPERATORS for node in self._readers.get(name, [])
        )


@dataclass(frozen=True, slots=True)
class ActivationPlan:
    """Which activations become integers.

    Attributes:
        whole: For all that read them, by name.
        private: For the chosen nodes alone, by name.
    """

    whole: Mapping[str, Affine]
    private: Mapping[str, Affine]

    @classmethod
    def none(cls) -> ActivationPlan:
        return cls({}, {})


def needed_ranges(names: ActivationNames, readers: Iterable[Reader]) -> tuple[str, ...]:
    """Every activation that must be measured, sorted."""
    return tuple(sorted({name for reader in readers for name in names.of(reader)}))
