"""Deciding what of a model is quantized: by what its scheme covers, and by measuring what it does to the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from hyperion.adapters.onnx_measure import FormMeasure, Measured
from hyperion.adapters.onnx_source import SourceModel
from hyperion.domain.layer import LayerPlan
from hyperion.domain.manifest import SchemeName
from hyperion.domain.scheme import AGREEMENT_THRESHOLD, Measurements
from hyperion.errors import EngineError
from hyperion.ports import Reporter
from hyperion.quantization.candidate import Candidate, Scheme, find_candidates
from hyperion.quantization.gemm import split_gemms
from hyperion.quantization.recognition import parameter_holders, quantized_by
from hyperion.quantization.rewrite import Rounded, read_weights, rewrite
from hyperion.quantization.search import Choice, Trial, choose

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_SINGLE_TRIALS = 24
"""With more candidates than these, whole layers are tried instead of single weights."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a model that is packaged.

    Attributes:
        model: Its graph, weights still in it.
        scheme: What it was quantized with.
        origins: Key of every tensor that quantizing made → key of the weight that it stands for.
        reasons: Why a weight stayed as it was, by key.
        reason: Why nothing was quantized, or why some of it stayed in float; without measured figures.
        measurements: Those figures; None where nothing was tried.
        warnings: What a person should know.
    """

    model: ModelProto
    scheme: SchemeName
    origins: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    measurements: Measurements | None = None
    warnings: tuple[str, ...] = ()


def untouched(model: ModelProto, scheme: SchemeName, reason: str | None) -> Form:
    """The model as it is."""
    return Form(model, scheme, reason=reason)


def is_settled(model: ModelProto) -> Form | None:
    """The form of a model that no scheme can do anything for, or None."""
    already = quantized_by(model)
    if already is not None:
        return untouched(model, "kept", f"the model is quantized already ({already}) and is kept as it is")
    return None


class Quantizing:
    """Makes one model's form in a scheme."""

    def __init__(self, source: SourceModel, plans: Sequence[LayerPlan], scheme: Scheme, *, full_range: bool) -> None:
        self._source = source
        self._plans = plans
        self._scheme = scheme
        self._base = _copy(source.model)
        self._read = SourceModel(self._base, source.folder).array
        split_gemms(self._base, self._read)
        candidates, reasons = find_candidates(self._base, scheme)
        self._rounded, unusable = read_weights(self._base, candidates, self._read, scheme, full_range=full_range)
        self._candidates = tuple(candidate for candidate in candidates if candidate.key in self._rounded)
        self._reasons = reasons | unusable

    @cached_property
    def impossible(self) -> str | None:
        """Why no weight at all can be quantized, or None."""
        if self._candidates:
            return None
        holders = parameter_holders(self._source.model)
        if holders:
            return f"its parameters are attributes of {', '.join(holders)}, which no scheme covers"
        if not self._reasons:
            return "it has no weights that could be quantized"
        key, reason = next(iter(self._reasons.items()))
        more = f" (and {len(self._reasons) - 1} more)" if len(self._reasons) > 1 else ""
        return f"none of its weights can be quantized: {key!r} {reason}{more}"

    def all(self, measure: FormMeasure) -> Form:
        """Everything that the scheme covers, whatever it does to the answers; that is measured and said."""
        form, measured = self._measured(measure, frozenset(self._groups()))
        warnings = []
        if measured.agreement is not None and not measured.agreement.holds:
            warnings.append(
                f"{measured.agreement.measure} agreement with the float model is {measured.agreement.value}, below "
                f"{AGREEMENT_THRESHOLD}; --quantize auto keeps in float what breaks it"
            )
        return self._form(form, measured, measure, Measurements(), warnings=tuple(warnings))

    def agreeing(self, measure: FormMeasure, reporter: Reporter) -> Form:
        """As much as leaves the answers as they were."""
        if measure.compared_output() is None or not measure.samples.feeds:
            why = measure.samples.unavailable or "no output is floating-point"
            form = untouched(self._source.model, "none", "agreement with the float model cannot be measured")
            return replace(form, measurements=Measurements(unavailable=why))
        groups = self._groups()
        trials: dict[frozenset[str], Measured] = {}

        def trial(quantized: frozenset[str]) -> Trial:
            try:
                trials[quantized] = self._measured(measure, quantized)[1]
            except EngineError:
                return Trial(holds=False, error=float("inf"))
            found = trials[quantized]
            advance(1)
            holds = found.agreement is not None and found.agreement.holds and not found.unmet
            return Trial(holds, found.error)

        with reporter.stage("Measuring agreement with the float model", unit="trials") as advance:
            choice = choose(list(groups), trial)
        first = trials.get(frozenset(groups))
        alone = {key: error for group, error in choice.kept.items() if error < float("inf") for key in groups[group]}
        found = Measurements(shortfall=_shortfall(first) if choice.kept else None, alone=alone)
        if not choice.quantized:
            form = untouched(self._source.model, "none", "nothing could be quantized")
            return replace(form, measurements=found.model_copy(update={"unavailable": "nothing was quantized"}))
        quantized, measured = self._measured(measure, frozenset(choice.quantized))
        return self._form(quantized, measured, measure, found, self._kept_reasons(choice, groups))

    def _groups(self) -> dict[str, tuple[str, ...]]:
        """What is tried together: single weights, or layers where there are many; keys by name of the group."""
        if len(self._candidates) <= MAX_SINGLE_TRIALS:
            return {candidate.key: (candidate.key,) for candidate in self._candidates}
        keys = {candidate.key for candidate in self._candidates}
        found = {f"layer{index}": tuple(k for k in plan.keys if k in keys) for index, plan in enumerate(self._plans)}
        return {name: members for name, members in found.items() if members}

    def _measured(
        self, measure: FormMeasure, quantized: frozenset[str]
    ) -> tuple[tuple[ModelProto, dict[str, str]], Measured]:
        groups = self._groups()
        form = self._apply({key for group in quantized for key in groups[group]})
        return form, measure.measure(form[0])

    def _apply(self, keys: Collection[str]) -> tuple[ModelProto, dict[str, str]]:
        model = _copy(self._base)
        chosen: dict[str, Rounded] = {key: part for key, part in self._rounded.items() if key in keys}
        return model, rewrite(model, chosen, self._scheme)

    def _kept_reasons(self, choice: Choice, groups: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        return {
            key: "the engine refuses it quantized" if error == float("inf") else "breaks the agreement"
            for group, error in choice.kept.items()
            for key in groups[group]
        }

    def _form(
        self,
        form: tuple[ModelProto, dict[str, str]],
        measured: Measured,
        measure: FormMeasure,
        found: Measurements,
        kept: Mapping[str, str] = MappingProxyType({}),
        warnings: tuple[str, ...] = (),
    ) -> Form:
        model, origins = form
        unavailable = None
        if measured.agreement is None:
            unavailable = measure.samples.unavailable or "no finite floating-point output could be compared"
        return Form(
            model,
            self._scheme,
            origins,
            {**self._reasons, **kept},
            f"{len(kept)} of {len(self._candidates)} weights stay in float" if kept else None,
            found.model_copy(update={"agreement": measured.agreement, "unavailable": unavailable}),
            warnings,
        )


def _shortfall(measured: Measured | None) -> str:
    if measured is None:
        return "the engine refuses the model"
    if measured.unmet:
        name, fault = next(iter(measured.unmet.items()))
        return f"golden request {name!r} is not met ({fault})"
    if measured.agreement is None:
        return "no finite floating-point output could be compared"
    found = measured.agreement
    return f"{found.measure} agreement is {found.value}, below {found.threshold}"


def _copy(model: ModelProto) -> ModelProto:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


__all__ = ["Candidate", "Form", "Quantizing", "is_settled", "untouched"]
