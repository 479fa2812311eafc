"""What two models answer on one dataset, side by side."""

from __future__ import annotations

from math import comb, erfc, sqrt

from hyperion.domain.document import Document

SIGNIFICANT = 0.05
"""A loss of accuracy that chance alone would bring less often than this counts as one."""
_EXACT = 1000
"""Up to so many rows the binomial distribution is summed; beyond, the normal one stands for it."""


class ClassChange(Document):
    """Rows that one model puts into one class and the other into another."""

    before: str
    after: str
    rows: int


class ClassAnswers(Document):
    """Of two classifiers."""

    changed_rows: int
    changed_share: float
    """Of the rows that both answered, 0 to 1."""
    changes: tuple[ClassChange, ...]
    """Most frequent first."""
    accuracy_before: float | None = None
    """None where the dataset has no labels."""
    accuracy_after: float | None = None
    mended_rows: int | None = None
    """Wrong before, right now."""
    broken_rows: int | None = None
    """Right before, wrong now."""

    @property
    def is_worse(self) -> bool:
        """Whether accuracy fell by more than chance: McNemar's exact test, one-sided, at 5 %.

        Q. McNemar, Note on the sampling error of the difference between correlated proportions, 1947: of the rows
        on which just one of the two is right, either is right on half of them by chance.
        """
        if self.broken_rows is None or self.mended_rows is None:
            return False
        return chance_of_at_least(self.broken_rows, self.broken_rows + self.mended_rows) < SIGNIFICANT


class OutputAnswers(Document):
    """Of one floating-point output of both models."""

    name: str
    max_abs: float | None = None
    mean_abs: float | None = None
    cosine: float | None = None
    """Mean over rows of the cosine between the two answers."""
    unavailable: str | None = None
    """Why the figures are null."""


class AnswerComparison(Document):
    """What both models answer."""

    dataset: str
    rows: int
    """Rows that both answered."""
    refused_before: int
    """Rows of batches that A refused."""
    refused_after: int
    """Rows of batches that B refused."""
    lost_rows: int = 0
    """Rows that A answers and B refuses."""
    stray_rows: int = 0
    """Rows where B answers NaN or infinity and A does not."""
    classes: ClassAnswers | None = None
    classes_unavailable: str | None = None
    """Why ``classes`` is null."""
    outputs: tuple[OutputAnswers, ...] = ()
    unavailable: str | None = None
    """Why nothing could be compared, such as a dataset that only A takes."""


def chance_of_at_least(count: int, trials: int) -> float:
    """The chance of ``count`` or more heads in ``trials`` throws of a fair coin."""
    if trials == 0:
        return 1.0
    if trials <= _EXACT:
        ways = sum(comb(trials, heads) for heads in range(count, trials + 1))
        return ways / int(2**trials)
    return erfc((count - 0.5 - trials / 2) / sqrt(trials / 4) / sqrt(2)) / 2
