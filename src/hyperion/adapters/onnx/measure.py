"""Measuring forms of a model against the float one, in the engine itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.engine.prepacking import passing_options
from hyperion.adapters.engine.session import make_session, run_interruptibly
from hyperion.adapters.onnx.forms import Form
from hyperion.adapters.onnx.golden import judged_by
from hyperion.adapters.onnx.rows import EvaluationRows
from hyperion.adapters.onnx.source import SourceModel
from hyperion.domain.loss import BY_LABELS, LossBudget, MeasuredLoss
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.ports import Array, Batch, Dataset, GoldenSource, Tensors
from hyperion.quantization.agreement import OutputError, output_error
from hyperion.verification.golden import Golden, compare, is_finite
from hyperion.verification.loss import LossMeter, Reference

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

SLICE_ROWS = 16
"""Rows of one call: thousands at once took gigabytes (INPUTS.md, trap 13)."""
SENSITIVITY_ROWS = 128
"""Rows that tell what one weight does to the output: an error of many values needs fewer than a share of rows."""
HELD_BYTES = 64 * 1024**2
"""Answers of the float model up to this size are kept; beyond, it is run again beside every form."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One form of a model against the float one.

    Attributes:
        loss: None where nothing could be compared.
        error: Of the compared floating-point output, relative to its norm.
        latency_ms: Mean of a row.
        unmet: What differs in golden requests that the float model meets, by name.
    """

    loss: MeasuredLoss | None
    error: float
    latency_ms: float
    unmet: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the float model says to a batch: what the metric asks for, and the rows of the compared output."""

    reference: Reference
    output: Array | None


class FormMeasure:
    """Compares forms of one model on the same rows.

    Attributes:
        rows: These rows.
        budget: What decides: the stated one, or the agreement that is asked for where none was stated.
    """

    def __init__(
        self,
        source: SourceModel,
        signature: Signature,
        golden: Sequence[GoldenSource],
        rows: EvaluationRows,
        budget: LossBudget,
        seed: int,
        path: str,
    ) -> None:
        self.rows = rows
        self.budget = budget
        self._signature = signature
        self._path = path
        self._seed = seed
        self._names = [spec.name for spec in signature.outputs]
        self._text = _labels_are_text(rows.search) if budget.metric in BY_LABELS else False
        self._output = _compared_output(signature, budget)
        self._float = self._session(source.model, source.folder)
        self._held: dict[int, list[_Answer]] = {}
        self._stray: set[str] = set()
        self._answers = 0
        self._golden = tuple((request, self._run(self._float, request.inputs)) for request in golden if request.outputs)

    @property
    def finite_outputs(self) -> tuple[str, ...]:
        """Outputs that held no NaN or infinity in any answer of the float model; none before it was asked."""
        return tuple(name for name in self._names if self._answers and name not in self._stray)

    @property
    def labels_are_text(self) -> bool:
        return self._text

    def on_search(self, form: Form) -> Measured:
        """Load a form and compare it on the search set and the golden requests.

        Raises:
            EngineError: The engine refuses it.
        """
        session = self._session(form.model, form.folder)
        return self._measure(session, self.rows.search, None, self._unmet(session, form))

    def on_report(self, form: Form) -> Measured:
        """The same on the report set."""
        session = self._session(form.model, form.folder)
        return self._measure(session, self.rows.report, None, self._unmet(session, form))

    def sensitivity(self, form: Form) -> Measured:
        """The error of the compared output, on a few rows of the search set."""
        return self._measure(self._session(form.model, form.folder), self.rows.search, SENSITIVITY_ROWS, {})

    def sample(self) -> Iterator[tuple[Batch, Reference]]:
        """The rows that travel with the package, with what the float model answers."""
        meter = self.meter()
        for batch in self.rows.sample.batches(SLICE_ROWS):
            yield batch, meter.reference(batch, self._run(self._float, batch.feeds))

    def meter(self) -> LossMeter:
        return LossMeter(self._signature, self.budget.metric, self.budget.output, labels_are_text=self._text)

    def _measure(
        self, session: InferenceSession, rows: Dataset, most: int | None, unmet: Mapping[str, str]
    ) -> Measured:
        meter = self.meter()
        total, seconds, count = OutputError(), 0.0, 0
        wanted = sorted({meter.output, *([] if self._output is None else [self._output.name])})
        for batch, answer in self._answered(rows, meter):
            began = time.perf_counter()
            found = run_interruptibly(session, wanted, batch.feeds, self._path)
            seconds += time.perf_counter() - began
            count += batch.rows
            meter.add(batch, answer.reference, found)
            if self._output is not None and answer.output is not None:
                total += output_error(answer.output, _rows(found[self._output.name], batch))
            if most is not None and count >= most:
                break
        return Measured(meter.loss(self._seed), total.relative, 1000 * seconds / max(1, count), unmet)

    def _answered(self, rows: Dataset, meter: LossMeter) -> Iterator[tuple[Batch, _Answer]]:
        """Batches with the float model's answers, which are kept where they are small."""
        held = self._held.setdefault(id(rows), [])
        room = HELD_BYTES - sum(_size(answer) for answer in held)
        for index, batch in enumerate(rows.batches(SLICE_ROWS)):
            if index < len(held):
                yield batch, held[index]
                continue
            outputs = self._run(self._float, batch.feeds)
            self._answers += 1
            self._stray.update(name for name, value in outputs.items() if not is_finite(value))
            output = None if self._output is None else _rows(outputs[self._output.name], batch)
            answer = _Answer(meter.reference(batch, outputs), output)
            if index == len(held) and _size(answer) <= room:
                held.append(answer)
                room -= _size(answer)
            yield batch, answer

    def _unmet(self, session: InferenceSession, form: Form) -> dict[str, str]:
        """Golden requests that a form misses and the float model meets: what both miss says nothing about a scheme."""
        found = {}
        for request, answer in self._golden:
            golden = _as_golden(judged_by(request, set(form.schemes.values())))
            if not compare(golden, answer).ok:
                continue
            comparison = compare(golden, self._run(session, request.inputs))
            if comparison.fault is not None:
                found[request.name] = comparison.fault
        return found

    def _run(self, session: InferenceSession, feeds: Tensors) -> dict[str, Array]:
        return run_interruptibly(session, self._names, feeds, self._path)

    def _session(self, model: ModelProto, folder: Path) -> InferenceSession:
        return make_session(model.SerializeToString(), folder, passing_options(model), self._path)


def _compared_output(signature: Signature, budget: LossBudget) -> TensorSpec | None:
    """The floating-point output whose error is told: the budget's, the class scores, or the first one."""
    floats = [spec for spec in signature.outputs if spec.dtype.startswith("float")]
    named = [spec for spec in floats if spec.name == budget.output]
    return next((spec for spec in (*named, signature.class_output(), *floats) if spec is not None), None)


def _labels_are_text(rows: Dataset) -> bool:
    first = next(iter(rows.batches(SLICE_ROWS)), None)
    return first is not None and first.labels is not None and first.labels.dtype == object


def _rows(value: Array, batch: Batch) -> Array:
    """Without the rows that only fill a batch."""
    return value[: batch.rows] if value.ndim and len(value) >= batch.rows else value


def _size(answer: _Answer) -> int:
    values = answer.reference.values
    return (0 if values is None else values.nbytes) + (0 if answer.output is None else answer.output.nbytes) + 64


def _as_golden(request: GoldenSource) -> Golden:
    return Golden(request.name, request.request, request.inputs, request.outputs)
