"""Measuring the ranges of activations, with the float model in the engine itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hyperion.adapters.engine.prepacking import passing_options
from hyperion.adapters.engine.session import make_session, run_interruptibly
from hyperion.adapters.files.part_files import ROOT
from hyperion.ports import Tensors
from hyperion.quantization.graph import all_graphs, child_graphs
from hyperion.quantization.names import FreshNames
from hyperion.quantization.static_ranges import ActivationNames, ActivationPlan, affine, needed_ranges
from hyperion.quantization.survey import FloatWeight, Reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto

_LARGEST_BIAS = 2**30
"""The engine rounds the bias of an integer convolution to int32 steps of both scales, without looking for overflow."""


class Activations:
    """The activations that ``static-int8`` stores in 8 bits, with their measured ranges."""

    def __init__(
        self, model: ModelProto, readers: Iterable[Reader], folded: Mapping[str, str], feeds: Sequence[Tensors]
    ) -> None:
        """Run the float model, where there are inputs to run it with.

        Args:
            model: Its weights lie below ROOT.
            readers: Nodes that may compute with integers.
            folded: Result of a convolution → result of the batch normalization that is folded into it.
            feeds: Inputs.
        """
        self._names = ActivationNames(model.graph, folded)
        self._calibrated = bool(feeds)
        self._ranges = measured_ranges(model, needed_ranges(self._names, readers), feeds) if feeds else {}

    def fault(self, weight: FloatWeight) -> str | None:
        """Why the ranges around a weight are not known, or None."""
        if not self._calibrated:
            return "static-int8 needs calibration data, and there is none"
        missing = [name for name in needed_ranges(self._names, weight.readers) if name not in self._ranges]
        return f"the activation {missing[0]!r} is not always finite" if missing else None

    def plan(self, readers: Sequence[Reader]) -> ActivationPlan:
        """What becomes integers where these compute with them."""
        return self._names.plan(readers, self._ranges)

    def least_scales(
        self, weight: FloatWeight, bias_of: Callable[[Reader], NDArray[np.float32] | None]
    ) -> NDArray[np.float32] | None:
        """What a weight's scales must not fall below, so that each bias fits in the integers of its convolution."""
        import numpy as np

        found = None
        for reader in weight.readers:
            bias = bias_of(reader) if reader.reading == "conv" else None
            if bias is not None:
                step = np.float32(affine(*self._ranges[self._names.of(reader)[0]]).scale * _LARGEST_BIAS)
                least = (np.abs(bias.reshape(-1)) / step).astype(np.float32)
                found = least if found is None else np.maximum(found, least)
        return found


def measured_ranges(
    model: ModelProto, names: Sequence[str], feeds: Sequence[Tensors]
) -> Mapping[str, tuple[float, float]]:
    """Smallest and largest value of each activation over all inputs; those that are not always finite are left out.

    The engine itself gives back the two numbers alone, so that memory does not grow with the activations.

    Args:
        model: The float model; its weights lie below ROOT.
        names: Inputs or results of the outermost graph, floating-point.
        feeds: Each is run by itself; those without rows are passed over.
    """
    from onnx import TensorProto, helper

    if not names:
        return {}
    tapped = type(model)()
    tapped.CopyFrom(model)
    fresh = FreshNames(tapped)
    taps: dict[str, tuple[str, str]] = {}
    _prune(tapped.graph, names)
    del tapped.graph.output[:]
    for name in names:
        low, high = (fresh.fresh(f"{name}_{suffix}") for suffix in ("least", "largest"))
        taps[name] = low, high
        for operator, output in (("ReduceMin", low), ("ReduceMax", high)):
            tapped.graph.node.append(helper.make_node(operator, [name], [output], keepdims=0))
            tapped.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    session = make_session(tapped.SerializeToString(), ROOT, passing_options(tapped), "calibration")
    outputs = [output for pair in taps.values() for output in pair]
    found: dict[str, tuple[float, float]] = {}
    broken: set[str] = set()
    for feed in (feed for feed in feeds if all(array.size for array in feed.values())):
        values = run_interruptibly(session, outputs, feed, "calibration")
        for name, (low, high) in taps.items():
            least, largest = float(values[low]), float(values[high])
            if not (math.isfinite(least) and math.isfinite(largest)):
                broken.add(name)
                continue
            before = found.get(name, (least, largest))
            found[name] = min(before[0], least), max(before[1], largest)
    return {name: found[name] for name in names if name in found and name not in broken}


def _prune(graph: GraphProto, names: Sequence[str]) -> None:
    """Keep the nodes that these results need: what makes labels of scores may refuse what calibration gives it."""
    needed = set(names)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            inner = [child for _, found in child_graphs(node) for _, child in all_graphs(found)]
            needed.update(name for child in inner for item in child.node for name in item.input)
            needed.update(value.name for child in inner for value in child.output)
            kept.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(reversed(kept))
