"""What quantizing does inside a model: the outputs of the nodes that use quantized weights, against the float ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.engine.prepacking import passing_options
from hyperion.adapters.engine.session import make_session, run_interruptibly
from hyperion.adapters.onnx.forms import Form, FormWeight
from hyperion.adapters.onnx.source import SourceModel
from hyperion.domain.loss import WeightEffect
from hyperion.errors import EngineError
from hyperion.ports import Array, Dataset, Tensors
from hyperion.quantization.graph import uses_by_key

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnxruntime import InferenceSession

ROWS = 32
"""Rows that are looked at: an output has many values in each."""
MOST_RUNS = 32
"""For one batch: each runs the whole model, so that thousands of weights would take time that grows by the square."""
AT_ONCE = 8
"""Outputs that are held at once, more where there are over 256; the model runs again for the next ones."""
_SLICE = 8
_FOLLOWED = 3
"""Nodes that an output is followed through."""
_FLOAT = 1


def weight_effects(
    source: SourceModel, form: Form, weights: Sequence[FormWeight], rows: Dataset
) -> tuple[WeightEffect, ...]:
    """How far the outputs of quantized weights' nodes are from the float model's, in the model's order.

    Weights inside of branches and loops, and those whose node the form no longer has under its name, are left out: the
    engine shows no value there. Nothing is told where the engine refuses to show any.

    Args:
        source: The float model.
        form: The form.
        weights: All weights of the model.
        rows: Of which the first ones are run.
    """
    places = _places(source.model, form, weights)
    if not places:
        return ()
    names = sorted(set(places.values()))
    try:
        before, after = (
            _session(model, folder, names)
            for model, folder in ((source.model, source.folder), (form.model, form.folder))
        )
        sums = {name: _Sums() for name in names}
        at_once = max(AT_ONCE, -(-len(names) // MOST_RUNS))
        for feeds in _feeds(rows):
            for start in range(0, len(names), at_once):
                part = names[start : start + at_once]
                want, have = (run_interruptibly(session, part, feeds, "effects") for session in (before, after))
                for name in part:
                    sums[name].add(want[name], have[name])
    except EngineError:
        return ()
    return tuple(
        WeightEffect(tensor=key, sqnr_db=sums[name].sqnr_db, cosine=sums[name].cosine)
        for key, name in places.items()
        if sums[name].signal > 0
    )


class _Sums:
    """Products of an output before and after."""

    def __init__(self) -> None:
        self.signal = self.noise = self.product = self.found = 0.0

    def add(self, want: Array, have: Array) -> None:
        import numpy as np

        want, have = (value.astype(np.float64).reshape(-1) for value in (want, have))
        if want.shape != have.shape:
            return
        usable = np.isfinite(want)
        want, have = want[usable], np.nan_to_num(have[usable], nan=0.0, posinf=0.0, neginf=0.0)
        self.signal += float(want @ want)
        self.noise += float((want - have) @ (want - have))
        self.product += float(want @ have)
        self.found += float(have @ have)

    @property
    def sqnr_db(self) -> float | None:
        return round(10 * math.log10(self.signal / self.noise), 2) if self.noise else None

    @property
    def cosine(self) -> float:
        length = math.sqrt(self.signal * self.found)
        return round(self.product / length, 6) if length else 0.0


def _places(model: ModelProto, form: Form, weights: Sequence[FormWeight]) -> dict[str, str]:
    """Key of each quantized weight → the output of the node that uses it, where both models have it."""
    uses = uses_by_key(model.graph)
    made = {name for node in form.model.graph.node for name in node.output}
    given = {value.name for value in model.graph.output}
    known = made.intersection(name for node in model.graph.node for name in node.output) | given
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, str] = {}
    for weight in weights:
        if weight.key in form.schemes and weight.key in uses:
            use = uses[weight.key][0]
            place = _shown(use.node.output[0], known, readers)
            if use.scope == "" and place is not None:
                found[weight.key] = place
    return found


def _shown(name: str, known: Collection[str], readers: Mapping[str, Sequence[NodeProto]]) -> str | None:
    """An output itself, or where it is gone what the only node that reads it makes of it.

    A convolution and its batch normalization become one, which gives what the second one gave.
    """
    for _ in range(_FOLLOWED):
        if name in known:
            return name
        if len(readers.get(name, ())) != 1:
            return None
        name = readers[name][0].output[0]
    return None


def _session(model: ModelProto, folder: Path, names: Sequence[str]) -> InferenceSession:
    from onnx import helper

    copy = type(model)()
    copy.CopyFrom(model)
    given = {value.name for value in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, _FLOAT, None) for name in names if name not in given
    )  # fmt: skip
    return make_session(copy.SerializeToString(), folder, passing_options(model), "effects")


def _feeds(rows: Dataset) -> Iterator[Mapping[str, Array] | Tensors]:
    count = 0
    for batch in rows.batches(_SLICE):
        yield batch.feeds
        count += batch.rows
        if count >= ROWS:
            return
