"""One search for the smallest form: what was tried in it, and what it says of every weight."""

from __future__ import annotations

from collections.abc import Mapping

from hyperion.adapters.onnx.measure import Measured
from hyperion.adapters.onnx.trials import Trials, WeightGroups
from hyperion.domain.loss import LossBudget
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import AGREEMENT_THRESHOLD, rounded
from hyperion.quantization.search import Assignment, choose


class FormSearch:
    """The search over groups, and what it found out."""

    def __init__(self, groups: WeightGroups, trials: Trials, budget: LossBudget) -> None:
        """Search over ``groups``, by ``trials``, for what keeps ``budget`` on the search set."""
        self.groups, self.trials = groups, trials
        self._budget = budget
        self._options = groups.options()
        self._errors: dict[tuple[str, WeightScheme], float] = {}
        self._first: Measured | None = None
        self._smallest: Assignment = {}

    def run(self, *, certain: bool) -> dict[str, WeightScheme]:
        """The smallest assignment that holds on the search set; certainly so where its whole interval must."""

        def holds(assignment: Assignment) -> bool:
            if not self._smallest:
                self._smallest = assignment
            measured = self.trials.search(self.groups.chosen(assignment), self._budget)
            if assignment is self._smallest:
                self._first = measured
            if measured is None or measured.loss is None or measured.unmet:
                return False
            if measured.loss.breaks(self._budget):
                return False
            return not certain or measured.loss.high <= self._budget.max_loss

        found = choose(self._options, self._alone, holds)
        return found.schemes

    def shortfall(self) -> str | None:
        """What kept the smallest form from being chosen."""
        if not self._options or not self._smallest:
            return None
        if self._first is None:
            return "the engine refuses the model"
        return shortfall_of(self._first, self._budget)

    def alone(self, chosen: Mapping[str, WeightScheme]) -> dict[str, float]:
        """For weights in float, the least error that any scheme of its group had alone."""
        found = {}
        for key, group in self.groups.group_of().items():
            errors = [
                self._errors[group, option.scheme]
                for option in self._options[group]
                if (group, option.scheme) in self._errors and self._errors[group, option.scheme] < float("inf")
            ]
            if key not in chosen and errors:
                found[key] = min(errors)
        return found

    def promoted(self, assignment: Assignment) -> dict[str, str]:
        """Which weights are stored in a larger scheme than the smallest they take."""
        before, after = self.groups.chosen(self._smallest), self.groups.chosen(assignment)
        return {
            key: f"{before[key]} costs too much here"
            for key, scheme in after.items()
            if key in before and before[key] != scheme
        }

    def why_kept(self, key: str, *, stated: bool) -> str | None:
        """Why a weight stays in float; None where it never had a choice.

        Args:
            key: The weight.
            stated: Whether a person stated the budget.
        """
        group = self.groups.group_of().get(key)
        if group is None:
            return None
        tried = [error for (name, scheme), error in self._errors.items() if name == group and scheme != "none"]
        if tried and all(error == float("inf") for error in tried):
            return "the engine refuses it quantized"
        return "breaks the budget" if stated else "breaks the agreement"

    def _alone(self, group: str, scheme: WeightScheme) -> float:
        if (group, scheme) not in self._errors:
            members = {g: (scheme if g == group else "none") for g in self._options}
            chosen = self.groups.chosen(members)
            self._errors[group, scheme] = self.trials.alone(f"{scheme} in {group} alone", chosen)
        return self._errors[group, scheme]


def shortfall_of(measured: Measured, budget: LossBudget) -> str | None:
    """What of a form is not good enough, or None where nothing is."""
    if measured.unmet:
        name, fault = next(iter(measured.unmet.items()))
        return f"golden request {name!r} is not met ({fault})"
    if measured.loss is None:
        return "no finite floating-point output could be compared"
    broken = measured.loss.breaks(budget)
    if not broken:
        return None
    if budget.max_loss == 1 - AGREEMENT_THRESHOLD:
        return f"{measured.loss.metric} agreement is {rounded(measured.loss.after)}, below {AGREEMENT_THRESHOLD}"
    return "; ".join(broken)
