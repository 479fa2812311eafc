"""What two models answer on one dataset: each runs it in a child of its own, as `verify performance` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hyperion.domain.answers import AnswerComparison, ClassAnswers, ClassChange, OutputAnswers
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError, EngineError, IncompatibleError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Batch, Dataset, Host, InferenceJob, Reporter, Tensors
from hyperion.verification.accuracy import AccuracyMeter, Class
from hyperion.verification.model import sandbox_limits
from hyperion.verification.performance import TIMEOUT_S

BATCH_ROWS = 32


@dataclass(frozen=True, slots=True)
class _Row:
    """What one model said of one row of the dataset.

    Attributes:
        answer: Its class; None where the model is no classifier.
        right: Whether that is the label; None without labels.
        outputs: The row of every floating-point output that has one a row.
    """

    answer: Class | None
    right: bool | None
    outputs: Tensors


@dataclass(slots=True)
class _Answers:
    """What one model said; None for a row of a batch that the engine refused."""

    signature: Signature
    rows: list[_Row | None] = field(default_factory=list)
    unavailable: str | None = None
    """Why there are no classes."""

    @property
    def refused(self) -> int:
        return self.rows.count(None)

    def name_of(self, answer: Class) -> str:
        labels = self.signature.labels
        return labels[answer] if labels and isinstance(answer, int) and 0 <= answer < len(labels) else str(answer)


def compare_answers(
    host: Host, before: tuple[Path, PackageReader], after: tuple[Path, PackageReader], folder: Path, reporter: Reporter
) -> AnswerComparison:
    """Run both models on the whole dataset and hold their answers side by side.

    Args:
        host: This host.
        before: Package A: where it lies, and the same opened.
        after: Package B.
        folder: The dataset, as `verify performance` takes it.
        reporter: Where progress goes.

    Returns:
        With ``unavailable`` set where B cannot be run on what A takes.

    Raises:
        NotFoundError: There is no such folder.
        ConfigError: A does not take what is in it.
        IncompatibleError: This engine does not know what A is made of.
        EngineError: A does not load, or its child dies.
        HostError: No child can be started.
    """
    old = _run(host, "A", *before, folder, reporter)
    try:
        new = _run(host, "B", *after, folder, reporter)
    except (ConfigError, EngineError, IncompatibleError) as error:
        return AnswerComparison(
            dataset=str(folder),
            rows=0,
            refused_before=old.refused,
            refused_after=len(old.rows),
            unavailable=f"B ({after[1].manifest.version}) cannot be run on it: {error.message}",
        )
    both = [(a, b) for a, b in zip(old.rows, new.rows, strict=True) if a is not None and b is not None]
    reason = old.unavailable or new.unavailable or (None if both else "no row was answered by both")
    return AnswerComparison(
        dataset=str(folder),
        rows=len(both),
        refused_before=old.refused,
        refused_after=new.refused,
        lost_rows=sum(a is not None and b is None for a, b in zip(old.rows, new.rows, strict=True)),
        stray_rows=sum(_is_finite(a) and not _is_finite(b) for a, b in both),
        classes=_compare_classes(old, new, both) if reason is None else None,
        classes_unavailable=reason,
        outputs=tuple(_compare_output(name, both) for name in _common_outputs(old.signature, new.signature)),
    )


def _run(host: Host, side: str, path: Path, package: PackageReader, folder: Path, reporter: Reporter) -> _Answers:
    """Run one model in a child; returns all that the comparison needs of its answers."""
    signature = package.manifest.signature
    dataset = host.datasets.open(folder, signature)
    by_text = _labels_are_text(dataset)
    meter = AccuracyMeter(signature, labels_are_text=by_text)
    batches: list[tuple[Batch, int]] = []
    with reporter.stage(f"Run the dataset on {side} ({package.manifest.version})", dataset.rows, "rows") as advance:
        kept = frozenset({*_float_outputs(signature), *([] if meter.output is None else [meter.output])})
        job = InferenceJob(path, _requests(dataset, batches, advance), kept=kept)
        result = host.sandbox.run(job, sandbox_limits(package, TIMEOUT_S))
    answers = _Answers(signature, unavailable=meter.unavailable)
    for (batch, fed), outputs in zip(batches, result.outputs, strict=True):
        meter = AccuracyMeter(signature, labels_are_text=by_text)
        answers.rows += [None] * batch.rows if outputs is None else _rows(batch, fed, outputs, meter)
    return answers


def _labels_are_text(dataset: Dataset) -> bool:
    if not dataset.has_labels:
        return False
    first = next(dataset.batches(1), None)
    return first is not None and first.labels is not None and first.labels.dtype == object


def _requests(dataset: Dataset, batches: list[tuple[Batch, int]], advance: Callable[[int], None]) -> Iterator[Tensors]:
    """The dataset as requests; notes of each batch what is needed after the run, and how many rows were fed."""
    for batch in dataset.batches(BATCH_ROWS):
        fed = max((len(value) for value in batch.feeds.values() if value.ndim), default=batch.rows)
        batches.append((Batch({}, batch.rows, batch.labels, batch.source, batch.first_row), fed))
        advance(batch.rows)
        yield batch.feeds


def _rows(batch: Batch, fed: int, outputs: Tensors, meter: AccuracyMeter) -> list[_Row]:
    meter.add(batch, outputs)
    right = meter.right
    answers = meter.answers(outputs, batch.rows)
    by_row = {name: value for name, value in outputs.items() if value.ndim and len(value) == fed and _is_float(value)}
    return [
        _Row(
            answers[row] if answers else None,
            right[row] if right else None,
            {name: value[row] for name, value in by_row.items()},
        )
        for row in range(batch.rows)
    ]


def _compare_classes(old: _Answers, new: _Answers, both: list[tuple[_Row, _Row]]) -> ClassAnswers:
    """Where the classes differ; by name where both models have names for them, else by number."""
    named = old.signature.labels is not None and new.signature.labels is not None
    before = [_spoken(old, a.answer, named=named) for a, _ in both]
    after = [_spoken(new, b.answer, named=named) for _, b in both]
    moves = Counter((a, b) for a, b in zip(before, after, strict=True) if a != b)
    changes = tuple(ClassChange(before=a, after=b, rows=count) for (a, b), count in moves.most_common())
    changed = sum(moves.values())
    plain = ClassAnswers(changed_rows=changed, changed_share=changed / len(both), changes=changes)
    if any(a.right is None or b.right is None for a, b in both):
        return plain
    return plain.model_copy(
        update={
            "accuracy_before": sum(bool(a.right) for a, _ in both) / len(both),
            "accuracy_after": sum(bool(b.right) for _, b in both) / len(both),
            "mended_rows": sum(bool(b.right) and not a.right for a, b in both),
            "broken_rows": sum(bool(a.right) and not b.right for a, b in both),
        }
    )


def _spoken(answers: _Answers, answer: Class | None, *, named: bool) -> str:
    return answers.name_of(answer) if named and answer is not None else str(answer)


def _common_outputs(old: Signature, new: Signature) -> list[str]:
    return [name for name in _float_outputs(old) if name in _float_outputs(new)]


def _float_outputs(signature: Signature) -> list[str]:
    return [spec.name for spec in signature.outputs if spec.dtype in ("float16", "float32", "float64")]


def _compare_output(name: str, both: list[tuple[_Row, _Row]]) -> OutputAnswers:
    """Largest and mean difference over all values, mean cosine over rows; rows that are not finite do not count."""
    pairs = [(_flat(a, name), _flat(b, name)) for a, b in both if name in a.outputs and name in b.outputs]
    if not pairs:
        return OutputAnswers(name=name, unavailable="it has no entry for each row, or no row was answered by both")
    if any(a.shape != b.shape for a, b in pairs):
        return OutputAnswers(name=name, unavailable="its size differs between the two")
    finite = [(a, b) for a, b in pairs if a.size and np.isfinite(a).all() and np.isfinite(b).all()]
    if not finite:
        return OutputAnswers(name=name, unavailable="it has no finite values")
    apart = [np.abs(b - a) for a, b in finite]
    return OutputAnswers(
        name=name,
        max_abs=float(max(row.max() for row in apart)),
        mean_abs=float(sum(row.sum() for row in apart) / sum(row.size for row in apart)),
        cosine=_mean_cosine(finite),
    )


def _flat(row: _Row, name: str) -> Array:
    return np.asarray(row.outputs[name], np.float64).reshape(-1)


def _mean_cosine(pairs: list[tuple[Array, Array]]) -> float | None:
    """Over the rows in which neither answer is zero everywhere; None where there are no such rows."""
    lengths = [(a, b, float(np.linalg.norm(a) * np.linalg.norm(b))) for a, b in pairs]
    cosines = [min(1.0, float(a @ b) / length) for a, b, length in lengths if length > 0]
    return sum(cosines) / len(cosines) if cosines else None


def _is_finite(row: _Row) -> bool:
    return all(np.isfinite(value).all() for value in row.outputs.values())


def _is_float(value: Array) -> bool:
    return bool(value.dtype.kind == "f")
