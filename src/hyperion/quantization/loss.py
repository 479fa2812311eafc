"""From the answers of two forms of a model to what the second one costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hyperion.domain.loss import EPSILON, ClassLoss, MeasuredLoss, Metric
from hyperion.quantization.agreement import are_probabilities, row_cosines
from hyperion.quantization.interval import newcombe, of_counts, of_mean, widened, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST_CHANCE = 1e-12
"""A probability below counts as this, so that no divergence is infinite."""


def loss_by_classes(
    metric: Metric,
    true: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    names: Sequence[str],
    *,
    output: str,
    seed: int,
) -> MeasuredLoss:
    """What the second form costs by accuracy, macro F1 or top-1 agreement.

    Args:
        metric: ``accuracy``, ``f1`` or ``top1``.
        true: The class of each row, an index into ``names``; for ``top1`` the float model's answer.
        before: What the float model answers; -1 where it gave no numbers.
        after: What the other form answers.
        names: Of all classes in ``true``, ``before`` and ``after``.
        output: Where the classes come from.
        seed: Of the bootstrap.
    """
    import numpy as np

    rows = np.array([true, before, after], np.int64)
    kinds, counts = np.unique(rows, axis=1, return_counts=True)
    right_before, right_after = kinds[0] == kinds[1], kinds[0] == kinds[2]
    total = int(counts.sum())
    classes = _class_losses(kinds, counts, names)
    if metric == "f1":
        present = np.unique(kinds[0])
        scores = [_MacroF1(kinds[0], kinds[column], present) for column in (1, 2)]
        first, second = (float(score(counts[None, :])[0]) for score in scores)
        low, high = of_counts(counts, lambda drawn: scores[0](drawn) - scores[1](drawn), seed)
        method = "paired bootstrap, percentiles"
        if high - low < EPSILON:
            low, high = widened((low, high), total)
            method = f"paired bootstrap that varies nowhere, ± Wilson's upper end for 0 of {total} rows"
    else:
        both = int(counts[right_before & right_after].sum())
        first_only, second_only = (
            int(counts[right_before & ~right_after].sum()),
            int(counts[~right_before & right_after].sum()),
        )
        first, second = (both + first_only) / total, (both + second_only) / total
        if metric == "top1":
            low, high = wilson(total - both, total)
            method = "Wilson's score interval"
        else:
            low, high = newcombe(both, first_only, second_only, total - both - first_only - second_only)
            method = "Newcombe's hybrid score interval for paired rows"
    return MeasuredLoss(
        metric=metric, rows=total, before=first, after=second, loss=first - second, low=low, high=high, method=method,
        output=output, classes=classes,
    )  # fmt: skip


def loss_by_values(
    metric: Metric, values: NDArray[np.float64], *, output: str, seed: int, classes: tuple[ClassLoss, ...] = ()
) -> MeasuredLoss:
    """What the second form costs by the mean of one value a row.

    Args:
        metric: ``cosine`` or ``kl``.
        values: The cosine, or the divergence, of each row.
        output: What was compared.
        seed: Of the bootstrap.
        classes: Where the rows have classes too.
    """
    mean = float(values.mean())
    low, high = of_mean(values, seed)
    if metric == "cosine":
        mean, low, high = 1 - mean, 1 - high, 1 - low
    before = 1.0 if metric == "cosine" else 0.0
    return MeasuredLoss(
        metric=metric, rows=len(values), before=before, after=before - mean if metric == "cosine" else mean, loss=mean,
        low=low, high=high, method="bootstrap, percentiles", output=output, classes=classes,
    )  # fmt: skip


def row_values(metric: Metric, want: NDArray[Any], have: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine, or the divergence, of each row; rows that are not finite in ``want`` are left out.

    Rows of ``have`` that are not finite are as bad as can be.

    Args:
        metric: ``cosine`` or ``kl``.
        want: Of the float model, [rows, values].
        have: Of the other form, the same shape.
    """
    import numpy as np

    want, have = want.astype(np.float64), have.astype(np.float64)
    usable = np.isfinite(want).all(axis=1)
    want, have = want[usable], have[usable]
    broken = ~np.isfinite(have).all(axis=1)
    have = np.where(broken[:, None], 0.0, have)
    if metric == "cosine":
        return np.asarray(np.where(broken, 0.0, row_cosines(want, have)))
    worst = -float(np.log(SMALLEST_CHANCE))
    return np.asarray(np.where(broken, worst, _divergences(want, have)))


def _divergences(want: NDArray[Any], have: NDArray[Any]) -> NDArray[Any]:
    """Σ p · log(p / q) of each row; scores that are no probabilities go through a softmax."""
    import numpy as np

    if not want.size:
        return np.zeros(len(want))
    if not are_probabilities(want):
        want, have = _softmax(want), _softmax(have)
    p, q = np.clip(want, SMALLEST_CHANCE, None), np.clip(have, SMALLEST_CHANCE, None)
    return np.asarray(np.maximum((want * (np.log(p) - np.log(q))).sum(axis=1), 0.0))


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


class _MacroF1:
    """Macro F1 over the classes that rows have, from how many rows there are of each kind."""

    def __init__(self, true: NDArray[np.int64], answered: NDArray[np.int64], present: NDArray[np.int64]) -> None:
        self._hits = ((true == answered)[:, None] & (true[:, None] == present)).astype(float)
        self._sums = (true[:, None] == present).astype(float) + (answered[:, None] == present)

    def __call__(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Counts [resamples, kinds] → scores [resamples]."""
        import numpy as np

        sums = counts @ self._sums
        scores = 2 * (counts @ self._hits) / np.where(sums > 0, sums, 1)
        return np.asarray(scores.mean(axis=1))


def _class_losses(kinds: NDArray[np.int64], counts: NDArray[np.int64], names: Sequence[str]) -> tuple[ClassLoss, ...]:
    import numpy as np

    found = []
    for index in np.unique(kinds[0]).tolist():
        of_class = kinds[0] == index
        support = int(counts[of_class].sum())
        (recall_before, precision_before, f1_before), (recall_after, precision_after, f1_after) = (
            _three(int(counts[of_class & (answered == index)].sum()), support, int(counts[answered == index].sum()))
            for answered in kinds[1:]
        )
        found.append(
            ClassLoss(
                name=names[index], support=support, recall_before=recall_before, recall_after=recall_after,
                precision_before=precision_before, precision_after=precision_after, f1_before=f1_before,
                f1_after=f1_after,
            )
        )  # fmt: skip
    return tuple(found)


def _three(hits: int, support: int, answered: int) -> tuple[float, float, float]:
    """Recall, precision and F1."""
    return hits / support, hits / answered if answered else 0.0, 2 * hits / (support + answered)
