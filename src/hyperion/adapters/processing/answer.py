"""Outputs of a model to classes with probabilities, and to vectors."""

from __future__ import annotations

import numpy as np

from hyperion.domain.prediction import ClassPrediction, Prediction, VectorPrediction
from hyperion.domain.processing import ClassesOutput, VectorOutput
from hyperion.domain.tensor import TensorSpec
from hyperion.errors import EngineError
from hyperion.ports import Array, Encoded, Tensors

LABEL, SCORE, VECTOR = "label", "score", "vector"
_SHORTEST = 1e-12
"""Euclidean length below which a vector is not made longer: torch.nn.functional.normalize's own bound."""


class ClassAnswers:
    """The likeliest class of each row; the first one of equals."""

    def __init__(self, output: ClassesOutput) -> None:
        self._output = output
        self._labels = np.array(output.labels, dtype=object)

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return (
            TensorSpec(name=LABEL, dtype="string", shape=("batch",)),
            TensorSpec(name=SCORE, dtype="float32", shape=("batch",)),
        )

    def tensors(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]:
        """Label and score; see ports.Processor.answers."""
        scores = self._scores(encoded, outputs)
        best = scores.argmax(axis=1)
        return {LABEL: self._labels[best], SCORE: scores[np.arange(len(best)), best].astype(np.float32)}

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]:
        """With the scores of all classes; see ports.Processor.predictions."""
        scores = self._scores(encoded, outputs)
        return tuple(
            ClassPrediction(
                label=self._output.labels[best],
                score=row[best],
                scores=dict(zip(self._output.labels, row, strict=True)),
            )
            for best, row in zip(scores.argmax(axis=1).tolist(), scores.astype(np.float32).tolist(), strict=True)
        )

    def _scores(self, encoded: Encoded, outputs: Tensors) -> Array:
        """Probabilities, float64 [rows, classes]."""
        given = expected_rows(outputs, self._output.output, encoded.rows)
        scores = given.reshape(encoded.rows, -1).astype(np.float64)
        classes = len(self._output.labels)
        if self._output.activation == "sigmoid":
            scores = _sigmoid(scores)
            if scores.shape[1] == 1 and classes == 2:
                scores = np.concatenate([1 - scores, scores], axis=1)
        elif self._output.activation == "softmax":
            scores = softmax(scores)
        if scores.shape[1] != classes:
            raise mismatch(self._output.output, f"{classes} classes", given.shape)
        return scores


class VectorAnswers:
    """One vector for each row."""

    def __init__(self, output: VectorOutput) -> None:
        self._output = output
        self._is_own = output.pooling != "none" or output.normalize

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """None where the vector is the model's output as it is."""
        return (TensorSpec(name=VECTOR, dtype="float32", shape=("batch", "size")),) if self._is_own else ()

    def tensors(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]:
        """The vectors; see ports.Processor.answers."""
        return {VECTOR: self._vectors(encoded, outputs)} if self._is_own else {}

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]:
        """The vectors; see ports.Processor.predictions."""
        return tuple(
            VectorPrediction.model_construct(values=tuple(row)) for row in self._vectors(encoded, outputs).tolist()
        )

    def _vectors(self, encoded: Encoded, outputs: Tensors) -> Array:
        """Pooled and normalized as asked, float32 [rows, size]."""
        given = expected_rows(outputs, self._output.output, encoded.rows)
        vectors = given.astype(np.float64)
        if self._output.pooling != "none":
            if vectors.ndim != 3 or encoded.mask is None or vectors.shape[1] != encoded.mask.shape[1]:
                raise mismatch(self._output.output, "a vector for each token", given.shape)
            vectors = vectors[:, 0] if self._output.pooling == "first" else _mean(vectors, encoded.mask)
        vectors = vectors.reshape(encoded.rows, -1)
        if self._output.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
        return vectors.astype(np.float32)


def expected_rows(outputs: Tensors, name: str, rows: int) -> Array:
    """An output that must have one element of its first dimension for each row.

    Raises:
        EngineError: It has not (code ``output.mismatch``), or it holds NaN or infinity (``output.not_finite``).
    """
    found = outputs[name]
    if found.ndim == 0 or found.shape[0] != rows:
        raise mismatch(name, f"{rows} rows", found.shape)
    if not np.isfinite(found).all():
        wrong = found.size - int(np.isfinite(found).sum())
        fault = f"output {name!r} holds {wrong} of {found.size} values that are NaN or infinite, which are no answer"
        raise EngineError(fault, code="output.not_finite")
    return found


def mismatch(name: str, expected: str, shape: tuple[int, ...]) -> EngineError:
    """The error for an output that is not what config/processing.json says of it."""
    return EngineError(
        f"output {name!r}: expected {expected}, found shape {list(shape)}",
        hint="config/processing.json does not describe this model",
        code="output.mismatch",
    )


def softmax(scores: Array) -> Array:
    """Along the last axis, without overflow."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normalized: Array = powers / powers.sum(axis=-1, keepdims=True)
    return normalized


def _sigmoid(scores: Array) -> Array:
    """Without overflow: exp is taken of nothing above 0."""
    small = np.exp(-np.abs(scores))
    found: Array = np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
    return found


def _mean(vectors: Array, mask: Array) -> Array:
    """Over the tokens that are no padding, float64 [rows, size]."""
    weights = mask.astype(np.float64)
    found: Array = np.einsum("rts,rt->rs", vectors, weights) / weights.sum(axis=1, keepdims=True)
    return found
