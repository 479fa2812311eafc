"""Inputs to compare two forms of a model on: golden requests, and generated ones that the model accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import EngineError
from hyperion.ports import Array, GoldenSource, Tensors

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

SLICE_ROWS = 16
"""Rows of one call: thousands at once took gigabytes (INPUTS.md, trap 13)."""
WANTED_ROWS = 128
"""Rows that one disagreement may stand out of, and still be under a hundredth."""
MAX_CALLS = 100
"""For models of a fixed batch."""
_SIZES = (16, 32, 64, 8, 1, 128, 224, 256, 512)
"""Tried in turn for dimensions that the model leaves open."""
_SEED = 20260
_PASSING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators through which an index stays an index."""

Runner = Callable[[Tensors], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Feeds with what the float model answers to them.

    Attributes:
        feeds: One mapping for each call.
        answers: The float model's outputs, one mapping for each call.
        golden: How many of the calls, the first ones, are golden requests.
        unavailable: Why there are no generated ones, or None.
    """

    feeds: tuple[Tensors, ...]
    answers: tuple[Mapping[str, Array], ...]
    golden: int
    unavailable: str | None


def collect_samples(model: ModelProto, signature: Signature, golden: Sequence[GoldenSource], run: Runner) -> Samples:
    """Golden inputs, and generated ones up to ``WANTED_ROWS`` rows in all.

    Args:
        model: Looked through for the range of integer inputs.
        signature: Its inputs.
        golden: Their inputs are taken; with floating-point ones at hand, generated inputs are drawn near them.
        run: The float model.

    Raises:
        EngineError: The model refuses a golden request.
    """
    feeds: list[Tensors] = []
    answers: list[Mapping[str, Array]] = []
    for request in golden:
        for piece in sliced(request.inputs, signature):
            feeds.append(piece)
            answers.append(run(piece))
    count = len(feeds)
    missing = WANTED_ROWS - sum(rows_of(piece) for piece in feeds)
    if missing <= 0:
        return Samples(tuple(feeds), tuple(answers), count, None)
    generator = _Generator(model, signature, [request.inputs for request in golden])
    refusal = "the model has an input that cannot be generated"
    for batch, size in generator.sizes():
        try:
            first = generator.feed(batch, size)
            first_answer = run(first)
        except EngineError as error:
            refusal = error.message
            continue
        feeds.append(first)
        answers.append(first_answer)
        calls = min(MAX_CALLS, -(-missing // max(1, rows_of(first))))
        for _ in range(calls - 1):
            feeds.append(generator.feed(batch, size))
            answers.append(run(feeds[-1]))
        return Samples(tuple(feeds), tuple(answers), count, None)
    return Samples(tuple(feeds), tuple(answers), count, f"no generated input was accepted: {refusal}")


def rows_of(feeds: Tensors) -> int:
    """Rows of one call: the longest first axis of its inputs."""
    return max((array.shape[0] for array in feeds.values() if array.ndim), default=1)


def sliced(feeds: Tensors, signature: Signature) -> Iterator[Tensors]:
    """Requests of many rows in pieces, where every input has the open batch as its first axis."""
    specs = {spec.name: spec for spec in signature.inputs}
    rows = rows_of(feeds)
    splits = all(array.ndim > 0 and array.shape[0] == rows and _is_open(specs[name]) for name, array in feeds.items())
    if not splits or rows <= SLICE_ROWS:
        yield feeds
        return
    for start in range(0, rows, SLICE_ROWS):
        yield {name: array[start : start + SLICE_ROWS] for name, array in feeds.items()}


def _is_open(spec: TensorSpec) -> bool:
    return bool(spec.shape) and isinstance((spec.shape or (1,))[0], str)


class _Generator:
    """Draws inputs, but for those with a default; the same ones on every run."""

    def __init__(self, model: ModelProto, signature: Signature, examples: Sequence[Tensors]) -> None:
        import numpy as np

        self._random = np.random.default_rng(_SEED)
        self._specs = signature.required
        self._examples = [{spec.name: example[spec.name] for spec in self._specs} for example in examples]
        self._bounds = {
            spec.name: index_bound(model, spec.name) for spec in self._specs if spec.dtype.startswith(("int", "uint"))
        }

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Batches, and sizes for the other open dimensions, to try in turn."""
        if any(spec.dtype in ("string", "other", "bfloat16") or spec.shape is None for spec in self._specs):
            return
        is_open = any(isinstance(size, str) for spec in self._specs for size in (spec.shape or ())[1:])
        for batch in (SLICE_ROWS, 1):
            yield from ((batch, size) for size in (_SIZES if is_open else _SIZES[:1]))

    def feed(self, batch: int, size: int) -> dict[str, Array]:
        """One call's inputs."""
        near = self._near_examples()
        return near if near is not None else {spec.name: self._draw(spec, batch, size) for spec in self._specs}

    def _near_examples(self) -> dict[str, Array] | None:
        """Mixtures of golden rows with a little noise, where all inputs are floating-point."""
        import numpy as np

        if not self._examples or not all(spec.dtype.startswith("float") for spec in self._specs):
            return None
        first, second = (self._rows(self._examples[int(self._random.integers(len(self._examples)))]) for _ in "ab")
        found = {}
        for spec in self._specs:
            one, other = first[spec.name], second[spec.name]
            if one.shape != other.shape:
                other = one
            share = self._random.uniform(size=(len(one), *[1] * (one.ndim - 1)) if one.ndim else ())
            spread = 0.05 * float(np.std(one.astype(np.float64))) if one.size else 0.0
            noise = self._random.normal(0.0, spread if np.isfinite(spread) else 0.0, one.shape)
            found[spec.name] = (one * share + other * (1 - share) + noise).astype(one.dtype)
        return found

    def _rows(self, example: Tensors) -> dict[str, Array]:
        """At most SLICE_ROWS rows of a request, drawn with repetition, so that any two requests can be mixed."""
        import numpy as np

        rows = rows_of(example)
        open_batch = all(
            array.ndim > 0 and array.shape[0] == rows and _is_open(spec)
            for spec, array in ((spec, np.asarray(example[spec.name])) for spec in self._specs)
        )
        chosen = self._random.integers(rows, size=SLICE_ROWS) if open_batch else slice(None)
        return {spec.name: np.asarray(example[spec.name])[chosen] for spec in self._specs}

    def _draw(self, spec: TensorSpec, batch: int, size: int) -> Array:
        import numpy as np

        rows = {spec.shape[0] for spec in self._specs if spec.shape} - {""}  # a batch may stand further in, by its name
        shape = tuple(
            length if isinstance(length, int) else batch if axis == 0 or length in rows else size
            for axis, length in enumerate(spec.shape or ())
        )
        kind = np.dtype(spec.dtype)
        if spec.dtype.startswith("float"):
            return np.asarray(self._random.normal(size=shape)).astype(kind)
        if spec.dtype == "bool" or "mask" in spec.name.lower():
            return np.ones(shape, kind)
        bound = self._bounds.get(spec.name) or 2
        return np.asarray(self._random.integers(0, bound, size=shape)).astype(kind)


def index_bound(model: ModelProto, name: str) -> int | None:
    """How many values an integer input may have, where it picks rows of a table; None where it picks none."""
    tables = {tensor.name: tensor for tensor in model.graph.initializer}
    carried = {name}
    bounds = []
    for node in model.graph.node:  # in topological order, so one pass is enough
        if node.op_type == "Gather" and node.input[1] in carried and node.input[0] in tables:
            dims = tables[node.input[0]].dims
            axis = _axis(node)
            if -len(dims) <= axis < len(dims):
                bounds.append(dims[axis])
        elif node.op_type in _PASSING and node.input[0] in carried:
            carried.update(node.output)
        elif node.op_type == "OneHot" and node.input[0] in carried and node.input[1] in tables:
            bounds.append(_scalar(tables[node.input[1]]))
    return min((bound for bound in bounds if bound > 0), default=None)


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _scalar(tensor: TensorProto) -> int:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    return int(values.reshape(-1)[0]) if values.size else 0
