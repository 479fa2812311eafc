"""What quantizing may cost, and what it was measured to cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hyperion.domain.document import Document, Many

Metric = Literal["accuracy", "f1", "top1", "cosine", "kl"]
"""``accuracy`` and ``f1`` (macro) against labels; ``top1`` (share of rows with the float model's class), ``cosine``
(mean over rows) and ``kl`` (Kullback–Leibler divergence from the float model's distribution, nats) against the float
model."""

BY_LABELS: frozenset[Metric] = frozenset({"accuracy", "f1"})
"""Metrics that need labelled rows."""

BY_CLASSES: frozenset[Metric] = frozenset({"accuracy", "f1", "top1"})
"""Metrics that look at the class of a row."""

CONFIDENCE = 0.95
"""Of every interval."""

EPSILON = 1e-9
"""A loss above its limit by less is rounding: 1 - 0.995 is more than 0.005."""


class LossBudget(Document):
    """What quantizing may cost at most."""

    metric: Metric
    max_loss: Annotated[float, Field(ge=0)]
    """Largest loss against the float model: a share for accuracy, f1 and top1 (0.005 is half a point), 1 - mean
    cosine, or nats."""
    max_class_loss: Annotated[float, Field(ge=0, le=1)] | None = None
    """Largest loss of recall that any one class may suffer."""
    output: str | None = None
    """The output that is judged; by default the class scores, else the first floating-point one."""

    @model_validator(mode="after")
    def _has_classes_to_limit(self) -> LossBudget:
        if self.max_class_loss is not None and self.metric not in BY_CLASSES:
            raise ValueError(f"max_class_loss needs a metric by classes: {', '.join(sorted(BY_CLASSES))}")
        return self


class ClassLoss(Document):
    """One class before and after quantizing.

    Its rows are those with that label; without labels, those to which the float model gives it, and then the float
    model is right by definition.
    """

    name: str
    support: int
    """Rows of the class."""
    recall_before: float
    recall_after: float
    precision_before: float
    """0 where the class was never answered."""
    precision_after: float
    f1_before: float
    f1_after: float

    @property
    def recall_loss(self) -> float:
        return self.recall_before - self.recall_after

    @property
    def rows_lost(self) -> int:
        """Rows of the class that are answered rightly no more, less those that newly are."""
        return round(self.recall_loss * self.support)


class MeasuredLoss(Document):
    """What quantizing costs by one metric on one set of rows."""

    metric: Metric
    rows: int
    before: float
    """Of the float model; 1 for top1 and cosine, 0 for kl, which are relative to it."""
    after: float
    loss: float
    low: float
    """The interval in which the loss over all such rows lies with 95 % confidence."""
    high: float
    method: str
    """How the interval was found."""
    output: str
    """The output that was compared."""
    classes: Many[ClassLoss] = ()
    """Sorted by name as the signature orders them; none where the output holds no classes."""

    @property
    def width(self) -> float:
        """How far the loss may lie from what was measured, at most, as far as chance goes."""
        return max(self.high - self.loss, self.loss - self.low)

    def breaks(self, budget: LossBudget) -> tuple[str, ...]:
        """What of it is more than the budget allows, in words; nothing where the budget holds.

        The point estimate decides. A class breaks the budget where it lost more than the limit and more than one row:
        one row proves nothing, and of a class of five it is 20 points.
        """
        found = []
        if self.loss > budget.max_loss + EPSILON:
            found.append(f"the loss of {self.metric} is {self.loss:.4g}, more than {budget.max_loss:g}")
        limit = budget.max_class_loss
        if limit is not None:
            found += [
                f"the recall of class {item.name!r} falls by {item.recall_loss:.4g} ({item.rows_lost} of "
                f"{item.support} rows), more than {limit:g}"
                for item in self.classes
                if item.recall_loss > limit + EPSILON and item.rows_lost > 1
            ]
        return tuple(found)


GENERATED = "golden requests and generated inputs"
"""Where rows come from for want of data."""


class SetSizes(Document):
    """The rows that were used, and where they come from."""

    source: str
    """The folders of a dataset, or ``golden requests and generated inputs``."""
    calibration: int
    search: int
    report: int
    labelled: bool
    left_out: int = 0
    """Rows that stood in two folders, or beyond the largest number that is looked at."""

    @property
    def is_data(self) -> bool:
        """Whether a person gave them; then the three sets share no row, else search and report set are the same."""
        return self.source != GENERATED


class WeightEffect(Document):
    """How far the output of the node that uses a weight is from what the float model has there.

    All of the model is in its packaged form, so the error of the layers before is in it.
    """

    tensor: str
    sqnr_db: float | None
    """Signal to quantization noise; None where there is no noise at all."""
    cosine: float


class TriedForm(Document):
    """One form of the model that was loaded and measured on rows of the search set."""

    what: str
    """Such as ``w4 everywhere``, ``int8 in fc1 alone``."""
    weights_bytes: int
    rows: int
    loss: float | None = None
    """By the budget's metric; None where only the error of the output was asked."""
    error: float | None = None
    """Of the compared output, relative to its norm."""
    latency_ms: float | None = None
    """Mean of a row."""
    holds: bool | None = None
    """Whether it was within the budget on the search set; None where that was not asked."""
    missed: Many[str] = ()
    """Golden requests that it did not meet, though the float model does."""
    refused: str | None = None
    """Why there are no figures."""
