"""Metering what a form of a model costs against the float model, batch by batch, whatever the metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperion.domain.loss import BY_CLASSES, BY_LABELS, MeasuredLoss, Metric
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError, EngineError
from hyperion.ports import Array, Batch, Tensors
from hyperion.quantization.loss import loss_by_classes, loss_by_values, row_values
from hyperion.verification.accuracy import AccuracyMeter, Class


@dataclass(frozen=True, slots=True)
class Reference:
    """What the float model answers to one batch, as far as the metric looks at it.

    Attributes:
        classes: Of each row, for metrics by classes; None where the scores were no numbers.
        values: The compared output, [rows, values], for the others.
    """

    classes: tuple[Class | None, ...] | None = None
    values: Array | None = None


class LossMeter:
    """Adds up batches of one set; ``loss`` tells what they come to."""

    def __init__(
        self, signature: Signature, metric: Metric, output: str | None = None, *, labels_are_text: bool = False
    ) -> None:
        """Choose the output that is compared.

        Raises:
            ConfigError: The model has no output for this metric (code ``quantize.metric``).
        """
        self.metric = metric
        known = [spec.name for spec in signature.outputs]
        if output is not None and output not in known:
            raise _unfit(metric, f"there is no output {output!r}; the model has {', '.join(map(repr, known))}")
        self._meter = AccuracyMeter(signature, labels_are_text=labels_are_text, output=output)
        self._true: list[Class] = []
        self._before: list[Class | None] = []
        self._after: list[Class | None] = []
        self._values: list[Array] = []
        self.output = self._chosen(signature, output)
        """The output that is compared."""

    def reference(self, batch: Batch, outputs: Tensors) -> Reference:
        """What must be kept of the float model's answer to a batch."""
        if self.metric in BY_CLASSES:
            return Reference(classes=tuple(self._classes(outputs, batch.rows)))
        return Reference(values=self._values_of(outputs, batch.rows))

    def add(self, batch: Batch, reference: Reference, outputs: Tensors) -> None:
        """Note what another form answers to the batch.

        Raises:
            ConfigError: A label is none of the model's classes; names file and row (code ``dataset.invalid``).
            EngineError: The answer has another number of rows than the reference (code ``engine.answer_rows``).
        """
        if reference.classes is not None:
            answered = self._classes(outputs, batch.rows)
            if len(answered) != len(reference.classes):
                raise _other_rows(self.output, len(answered), len(reference.classes))
            self._true += self._labels(batch, outputs) if self.metric in BY_LABELS else _known(reference.classes)
            kept = [self.metric in BY_LABELS or answer is not None for answer in reference.classes]
            self._before += [answer for answer, wanted in zip(reference.classes, kept, strict=True) if wanted]
            self._after += [answer for answer, wanted in zip(answered, kept, strict=True) if wanted]
        elif reference.values is not None:
            found = self._values_of(outputs, batch.rows)
            if found.shape != reference.values.shape:
                found = np.full(reference.values.shape, np.nan)
            self._values.append(row_values(self.metric, reference.values, found))

    def loss(self, seed: int) -> MeasuredLoss | None:
        """What the form costs; None where no row could be compared.

        Args:
            seed: Of the bootstrap.
        """
        if self.metric not in BY_CLASSES:
            values = np.concatenate(self._values) if self._values else np.zeros(0)
            return loss_by_values(self.metric, values, output=self.output, seed=seed) if values.size else None
        if not self._true:
            return None
        classes = sorted({*self._true, *_known(self._before), *_known(self._after)}, key=lambda c: (str(type(c)), c))
        index: dict[Class | None, int] = {value: position for position, value in enumerate(classes)}
        true, before, after = (
            [index.get(value, -1) for value in column] for column in (self._true, self._before, self._after)
        )
        names = [self._meter.name(value) for value in classes]
        return loss_by_classes(self.metric, true, before, after, names, output=self.output, seed=seed)

    def _chosen(self, signature: Signature, output: str | None) -> str:
        if self.metric in BY_CLASSES:
            if self._meter.output is None:
                raise _unfit(self.metric, "the model has neither an output of class scores nor one of labels")
            return self._meter.output
        floats = [spec for spec in signature.outputs if spec.dtype.startswith("float")]
        chosen = [spec for spec in floats if spec.name == output] or [
            spec for spec in (signature.class_output(), *floats) if spec is not None and output is None
        ]
        if not chosen:
            raise _unfit(self.metric, "the model has no such floating-point output")
        return chosen[0].name

    def _classes(self, outputs: Tensors, rows: int) -> list[Class | None]:
        scores = np.asarray(outputs[self.output])
        if scores.ndim == 0 or len(scores) < rows:
            raise _other_rows(self.output, len(scores) if scores.ndim else 0, rows)
        scores = scores[:rows]
        if scores.dtype.kind != "f" and scores.size != rows:
            raise _other_rows(self.output, scores.size, rows)
        answers = self._meter.answers(outputs, rows)
        if scores.dtype.kind != "f":
            return [*answers]
        strange = set(np.nonzero(~np.isfinite(scores.reshape(rows, -1)).all(axis=1))[0].tolist())
        return [None if row in strange else answer for row, answer in enumerate(answers)]

    def _labels(self, batch: Batch, outputs: Tensors) -> list[Class]:
        before = self._meter.rows
        self._meter.add(batch, outputs)
        return self._meter.true[before:]

    def _values_of(self, outputs: Tensors, rows: int) -> Array:
        """[rows, values] of the compared output; [rows · positions, values] where each position has a distribution."""
        value = np.asarray(outputs[self.output])
        found = _by_row(value, rows)
        return found.reshape(-1, value.shape[-1]) if self.metric == "kl" and value.ndim > 2 and value.size else found


def _known(answers: Sequence[Class | None]) -> list[Class]:
    return [answer for answer in answers if answer is not None]


def _by_row(value: Array, rows: int) -> Array:
    """[rows, values]; an output that has no entry for each row is one row."""
    if value.ndim and len(value) >= rows:
        return value[:rows].reshape(rows, -1)
    return value.reshape(1, -1)


def _other_rows(output: str, found: int, expected: int) -> EngineError:
    return EngineError(
        f"output {output!r}: expected an answer for {expected} rows, found {found}", code="engine.answer_rows"
    )


def _unfit(metric: Metric, why: str) -> ConfigError:
    return ConfigError(
        f"{metric} cannot be measured: {why}",
        hint="choose another --metric, or name the output as budget.output in config/quantization.json",
        code="quantize.metric",
    )
