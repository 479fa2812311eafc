"""Deciding what of a model is stored in which scheme: as a person asks, or as measuring tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hyperion.adapters.onnx.effects import weight_effects
from hyperion.adapters.onnx.forms import Form, Forms, FormWeight
from hyperion.adapters.onnx.measure import FormMeasure, Measured
from hyperion.adapters.onnx.overrides import overridden_schemes
from hyperion.adapters.onnx.search import FormSearch, shortfall_of
from hyperion.adapters.onnx.source import SourceModel
from hyperion.adapters.onnx.trials import Trials, WeightGroups
from hyperion.domain.layer import LayerPlan
from hyperion.domain.loss import MeasuredLoss
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.quantization_policy import QuantizationPolicy
from hyperion.domain.scheme import Agreement, Measurements, rounded
from hyperion.errors import BudgetError
from hyperion.ports import Reporter
from hyperion.quantization.search import FAITHFUL, Assignment

WITHOUT_DATA: frozenset[WeightScheme] = frozenset({"int8", "w8"})
"""What ``auto`` tries where there are no data: generated inputs prove little."""
WITHOUT_DATA_REASON = "without a dataset only int8 and w8 are tried, for generated inputs prove little"
NAMED_LAYERS = 5
"""How many of those that cost most an error names."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided.

    Attributes:
        form: The form that is packaged; None for the float model as it is.
        reasons: Why weights stay in float, by key.
        promoted: Why weights have a larger scheme than they might, by key.
        reason: Why nothing was quantized, or why some of it stayed in float; without measured figures.
        measurements: These figures.
        warnings: What a person should know.
    """

    form: Form | None
    reasons: Mapping[str, str] = field(default_factory=dict)
    promoted: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    measurements: Measurements = field(default_factory=Measurements)
    warnings: tuple[str, ...] = ()


class Deciding:
    """Decides on one model's weights."""

    def __init__(
        self,
        source: SourceModel,
        forms: Forms,
        plans: Sequence[LayerPlan],
        measure: FormMeasure | None,
        policy: QuantizationPolicy,
        reporter: Reporter,
    ) -> None:
        """Look at the overrides.

        Args:
            source: The float model.
            forms: Makes forms of it.
            plans: Its layers.
            measure: Measures them; None where nothing can be compared.
            policy: Budget, overrides, seed.
            reporter: Where progress goes.

        Raises:
            ConfigError: An override names no weight, or a scheme that does not fit (code ``quantize.override``).
        """
        self._source = source
        self._forms = forms
        self._plans = plans
        self._measure = measure
        self._policy = policy
        self._reporter = reporter
        self._settled = overridden_schemes(forms.weights, policy)

    def fixed(self, scheme: WeightScheme) -> Decision:
        """Everything that the scheme covers, whatever it costs; that is measured, and held to a stated budget.

        Raises:
            BudgetError: A stated budget is broken.
            EngineError: The engine refuses the form.
        """
        chosen: dict[str, WeightScheme] = {w.key: scheme for w in self._forms.weights if scheme in w.options}
        chosen |= self._settled
        reasons = {
            weight.key: self._overridden(weight) or weight.refused.get(scheme, "")
            for weight in self._forms.weights
            if chosen.get(weight.key, "none") == "none"
        }
        if all(scheme == "none" for scheme in chosen.values()):
            return Decision(None, reasons, reason=_impossible(reasons))
        form = self._forms.build(chosen)
        if self._measure is None:
            return Decision(form, reasons)
        with self._reporter.stage("Measuring what quantizing costs"):
            measured = self._measure.on_report(form)
        broken = self._broken(measured)
        warnings: tuple[str, ...] = ()
        if broken and self._policy.budget is not None:
            raise self._too_dear(measured, broken, form, scheme)
        if broken and measured.loss is not None:
            warnings = (
                f"{shortfall_of(measured, self._measure.budget)}; --quantize auto keeps in float what breaks it",
            )
        return Decision(form, reasons, measurements=self._measurements(form, measured, None), warnings=warnings)

    def auto(self) -> Decision:
        """The smallest form within the budget, or within the agreement that is asked for without one.

        Raises:
            BudgetError: What held on the search set breaks on the report set, twice.
        """
        measure = self._measure
        if measure is None:
            return Decision(None, reason="agreement with the float model cannot be measured")
        groups = self._groups(measure)
        if not groups.options() and not any(scheme != "none" for scheme in self._settled.values()):
            reasons = {
                weight.key: self._overridden(weight) or next(iter(weight.refused.values()), "stays in float")
                for weight in self._forms.weights
            }
            return Decision(None, reasons, reason=_impossible(reasons))
        with self._reporter.stage("Searching the smallest form that holds", unit="trials") as advance:
            trials = Trials(self._forms, measure, self._settled, advance)
            search = FormSearch(groups, trials, measure.budget)
            found = search.run(certain=False)
            decision, broken = self._judged(search, found, measure)
            if broken and measure.rows.from_data:
                self._reporter.info(
                    "what held on the search set breaks on the report set: searching again for what holds for certain"
                )
                found = search.run(certain=True)
                decision, broken = self._judged(search, found, measure)
        if not broken:
            return decision
        if self._policy.budget is None:
            return replace(decision, warnings=(f"{'; '.join(broken)}, on the report set",))
        form = trials.form(groups.chosen(found))
        raise self._too_dear(measure.on_report(form), broken, form, "auto")

    def _groups(self, measure: FormMeasure) -> WeightGroups:
        allowed = frozenset(FAITHFUL) - {"none"} if measure.rows.from_data else WITHOUT_DATA
        open_weights = [
            weight
            for weight in self._forms.weights
            if weight.key not in self._settled and allowed.intersection(weight.options)
        ]
        return WeightGroups(open_weights, self._plans, allowed)

    def _judged(
        self, search: FormSearch, assignment: Assignment, measure: FormMeasure
    ) -> tuple[Decision, tuple[str, ...]]:
        """The decision for an assignment, and what of it breaks on the report set."""
        chosen = search.groups.chosen(assignment)
        everything = {**chosen, **{key: scheme for key, scheme in self._settled.items() if scheme != "none"}}
        shortfall = search.shortfall()
        found = Measurements(shortfall=shortfall, trials=tuple(search.trials.tried), sets=measure.rows.sizes)
        if not everything:
            found = found.model_copy(update={"unavailable": "nothing was quantized", "alone": search.alone(chosen)})
            reason = "nothing could be quantized"
            return Decision(None, self._kept(search, chosen), reason=reason, measurements=found), ()
        form = search.trials.form(chosen)
        searched = search.trials.search(chosen, measure.budget)
        measured = searched if measure.rows.report is measure.rows.search else None
        measured = measured or measure.on_report(form)
        kept = self._kept(search, chosen)
        figures = self._measurements(form, measured, None if searched is None else searched.loss)
        figures = figures.model_copy(
            update={
                "shortfall": shortfall,
                "alone": search.alone(chosen),
                "trials": tuple(search.trials.tried),
            }
        )
        stayed = sum(key in search.groups.group_of() for key in kept)
        reasons = [f"{stayed} of {len(search.groups.group_of())} weights stay in float"] if stayed else []
        if not measure.rows.from_data:
            reasons.append(WITHOUT_DATA_REASON)
        decision = Decision(form, kept, search.promoted(assignment), "; ".join(reasons) or None, figures)
        return decision, self._broken(measured)

    def _kept(self, search: FormSearch, chosen: Mapping[str, WeightScheme]) -> dict[str, str]:
        """Why weights stay in float."""
        found = {}
        for weight in self._forms.weights:
            if chosen.get(weight.key, self._settled.get(weight.key, "none")) != "none":
                continue
            reason = self._overridden(weight) or search.why_kept(weight.key, stated=self._policy.budget is not None)
            found[weight.key] = reason or next(iter(weight.refused.values()), "")
        return found

    def _overridden(self, weight: FormWeight) -> str | None:
        return "stays in float by an override" if self._settled.get(weight.key) == "none" else None

    def _broken(self, measured: Measured) -> tuple[str, ...]:
        if self._measure is None or measured.loss is None:
            return ()
        return measured.loss.breaks(self._measure.budget)

    def _too_dear(self, measured: Measured, broken: Sequence[str], form: Form, scheme: str) -> BudgetError:
        """The error of a broken budget: it names the weights that cost most."""
        assert self._measure is not None  # noqa: S101 - a budget is broken only by what was measured
        weights = [w for w in self._forms.weights if w.key in form.schemes]
        by_group: dict[str, dict[str, WeightScheme]] = {}
        names = WeightGroups(weights, self._plans, frozenset(FAITHFUL)).group_of()
        for weight in weights:
            by_group.setdefault(names[weight.key], {})[weight.key] = form.schemes[weight.key]
        with self._reporter.stage("Finding the layers that cost most", len(by_group), "trials") as advance:
            trials = Trials(self._forms, self._measure, {}, advance)
            errors = {name: trials.alone(f"{name} alone", chosen) for name, chosen in by_group.items()}
        worst = sorted(errors, key=lambda name: -errors[name])[:NAMED_LAYERS]
        listed = ", ".join(f"{name} ({errors[name]:.1%} of the output)" for name in worst)
        more = f" ({measured.loss.rows} rows of the report set)" if measured.loss is not None else ""
        where = "--quantize auto keeps these in more bits" if scheme != "auto" else "give more rows to search on"
        return BudgetError(
            f"the budget is broken, nothing was written: {'; '.join(broken)}{more}; what costs most alone: {listed}",
            hint=f"{where}; or name them under overrides in config/quantization.json, or allow a larger loss",
        )

    def _measurements(self, form: Form, measured: Measured, searched: MeasuredLoss | None) -> Measurements:
        measure = self._measure
        assert measure is not None  # noqa: S101 - called only with figures at hand
        unavailable = None
        if measured.loss is None:
            unavailable = measure.rows.unavailable or "no finite floating-point output could be compared"
        return Measurements(
            agreement=None if self._policy.budget is not None else _agreement(measured.loss, measure),
            unavailable=unavailable,
            sets=measure.rows.sizes,
            loss=measured.loss,
            search_loss=searched,
            effects=weight_effects(self._source, form, self._forms.weights, measure.rows.search),
        )


def _impossible(reasons: Mapping[str, str]) -> str:
    """Why no weight at all is quantized."""
    (key, reason), *others = reasons.items()
    more = f" (and {len(others)} more)" if others else ""
    return f"none of its weights can be quantized: {key!r} {reason}{more}"


def _agreement(loss: MeasuredLoss | None, measure: FormMeasure) -> Agreement | None:
    if loss is None:
        return None
    return Agreement(
        measure="top1" if loss.metric == "top1" else "cosine",
        value=max(-1.0, min(1.0, rounded(loss.after))),
        output=loss.output,
        rows=loss.rows,
        golden_rows=min(measure.rows.golden, loss.rows),
    )
