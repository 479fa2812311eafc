"""Forms of a model that are built and measured, each once, and what is remembered of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hyperion.adapters.onnx.forms import Form, Forms, FormWeight
from hyperion.adapters.onnx.measure import SENSITIVITY_ROWS, FormMeasure, Measured
from hyperion.domain.layer import LayerPlan
from hyperion.domain.loss import LossBudget, TriedForm
from hyperion.domain.manifest import WeightScheme
from hyperion.errors import EngineError
from hyperion.quantization.search import FAITHFUL, Assignment, Option

MAX_GROUPS = 24
"""With more weights than these whole layers are tried, with more layers several of them."""


class WeightGroups:
    """What is tried together: single weights, or layers where there are many."""

    def __init__(
        self, weights: Sequence[FormWeight], plans: Sequence[LayerPlan], allowed: frozenset[WeightScheme]
    ) -> None:
        """Group weights.

        Args:
            weights: Those that are to be decided on, each with a scheme that is allowed.
            plans: The model's layers.
            allowed: Schemes that may be tried.
        """
        self._allowed = allowed
        self._members: dict[str, list[FormWeight]] = {}
        layers = sorted({weight.layer for weight in weights})
        at_once = -(-len(layers) // MAX_GROUPS)
        for weight in weights:
            name = weight.key if len(weights) <= MAX_GROUPS else self._layers(weight.layer, layers, at_once, plans)
            self._members.setdefault(name, []).append(weight)

    @staticmethod
    def _layers(layer: int, layers: Sequence[int], at_once: int, plans: Sequence[LayerPlan]) -> str:
        first = layers.index(layer) // at_once * at_once
        last = min(first + at_once, len(layers)) - 1
        start, end = layers[first], layers[last]
        return plans[start].name if start == end else f"{plans[start].name} to {plans[end].name}"

    def options(self) -> dict[str, tuple[Option, ...]]:
        """For each group the schemes that any of its weights takes, and float."""
        found = {}
        for name, members in self._members.items():
            schemes = [s for s in FAITHFUL if s == "none" or any(s in self._fitting(member) for member in members)]
            found[name] = tuple(Option(scheme, self._size(members, scheme)) for scheme in schemes)
        return found

    def chosen(self, assignment: Assignment) -> dict[str, WeightScheme]:
        """The scheme of each weight; those in float are left out."""
        found = {m.key: self._fitted(m, assignment[name]) for name, ms in self._members.items() for m in ms}
        return {key: scheme for key, scheme in found.items() if scheme != "none"}

    def group_of(self) -> dict[str, str]:
        """Key of each weight → its group."""
        return {member.key: name for name, members in self._members.items() for member in members}

    def _fitting(self, weight: FormWeight) -> frozenset[WeightScheme]:
        return self._allowed.intersection(weight.options)

    def _fitted(self, weight: FormWeight, scheme: WeightScheme) -> WeightScheme:
        """The scheme itself, or the next more faithful one that the weight takes."""
        fitting = self._fitting(weight)
        return next((s for s in FAITHFUL[FAITHFUL.index(scheme) :] if s == "none" or s in fitting), "none")

    def _size(self, members: Sequence[FormWeight], scheme: WeightScheme) -> int:
        return sum(
            member.bytes_before if fitted == "none" else member.options[fitted]
            for member in members
            for fitted in [self._fitted(member, scheme)]
        )


class Trials:
    """Builds and measures forms; each is loaded by the engine, and each is remembered."""

    def __init__(
        self,
        forms: Forms,
        measure: FormMeasure,
        settled: Mapping[str, WeightScheme],
        advance: Callable[[int], None],
    ) -> None:
        """Prepare.

        Args:
            forms: Makes them.
            measure: Measures them.
            settled: Schemes of weights that a person set; they are part of every form.
            advance: Told of every trial.
        """
        self._forms = forms
        self._measure = measure
        self._settled = settled
        self._advance = advance
        self._float_bytes = sum(weight.bytes_before for weight in forms.weights)
        self._weights = {weight.key: weight for weight in forms.weights}
        self._searched: dict[frozenset[tuple[str, WeightScheme]], Measured | None] = {}
        self.tried: list[TriedForm] = []

    def form(self, chosen: Mapping[str, WeightScheme]) -> Form:
        return self._forms.build({**chosen, **self._settled})

    def search(self, chosen: Mapping[str, WeightScheme], budget: LossBudget) -> Measured | None:
        """A form on the search set; None where the engine refuses it."""
        key = frozenset(chosen.items())
        if key in self._searched:
            return self._searched[key]
        what = _describe(chosen, len(self._weights) - len(self._settled))
        rows = self._measure.rows.search.rows
        size = self._size({**chosen, **self._settled})
        found: Measured | None = None
        try:
            form = self.form(chosen)
            found = self._measure.on_search(form)
        except EngineError as error:
            self.tried.append(TriedForm(what=what, weights_bytes=size, rows=rows, holds=False, refused=error.message))
        else:
            holds = found.loss is not None and not found.loss.breaks(budget) and not found.unmet
            self.tried.append(
                TriedForm(
                    what=what, weights_bytes=size, rows=rows, loss=None if found.loss is None else found.loss.loss,
                    error=_finite(found.error), latency_ms=found.latency_ms, holds=holds,
                    missed=tuple(found.unmet),
                )
            )  # fmt: skip
        self._advance(1)
        self._searched[key] = found
        return found

    def alone(self, what: str, chosen: Mapping[str, WeightScheme]) -> float:
        """Relative error of the output with some weights alone quantized; infinite where the engine refuses that."""
        rows = min(SENSITIVITY_ROWS, self._measure.rows.search.rows)
        size = self._size(chosen)
        self._advance(1)
        try:
            form = self._forms.build(chosen)
            found = self._measure.sensitivity(form)
        except EngineError as error:
            self.tried.append(TriedForm(what=what, weights_bytes=size, rows=rows, refused=error.message))
            return float("inf")
        self.tried.append(
            TriedForm(what=what, weights_bytes=size, rows=rows, error=_finite(found.error), latency_ms=found.latency_ms)
        )
        return found.error

    def _size(self, chosen: Mapping[str, WeightScheme]) -> int:
        saved = (
            self._weights[key].bytes_before - self._weights[key].options[scheme]
            for key, scheme in chosen.items()
            if scheme != "none"
        )
        return self._float_bytes - sum(saved)


def _describe(chosen: Mapping[str, WeightScheme], weights: int) -> str:
    """``w4 everywhere``, ``w4 ×10, int8 ×3, none ×1``."""
    counts = Counter(chosen.values())
    counts["none"] += weights - len(chosen)
    listed = [(scheme, counts[scheme]) for scheme in FAITHFUL if counts[scheme] > 0]
    if len(listed) == 1:
        return f"{listed[0][0]} everywhere"
    return ", ".join(f"{scheme} ×{count}" for scheme, count in listed)


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
