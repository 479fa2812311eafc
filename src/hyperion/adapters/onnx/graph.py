"""Models as ONNX graphs: read, quantized within their budget, split into layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hyperion.adapters.engine.session import make_session, run_interruptibly
from hyperion.adapters.onnx.architecture import architecture_bytes
from hyperion.adapters.onnx.choice import Deciding, Decision
from hyperion.adapters.onnx.forms import Forms
from hyperion.adapters.onnx.golden import judged_by, silent, uncompared
from hyperion.adapters.onnx.measure import FormMeasure
from hyperion.adapters.onnx.noted_shapes import keep_harmless_notes
from hyperion.adapters.onnx.record import quantization_record, scheme_of_most
from hyperion.adapters.onnx.rows import EvaluationRows, rows_of_samples, rows_of_sets
from hyperion.adapters.onnx.samples import collect_samples, index_bound
from hyperion.adapters.onnx.signature import requirement_of, signature_of
from hyperion.adapters.onnx.source import SourceModel, read_source
from hyperion.adapters.onnx.weights import hoist, weight_uses
from hyperion.domain.layer import split_layers
from hyperion.domain.loss import BY_LABELS, EPSILON, LossBudget, MeasuredLoss
from hyperion.domain.manifest import WEIGHTS_FOLDER, SchemeName
from hyperion.domain.scheme import AGREEMENT_THRESHOLD, Measurements
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError
from hyperion.ports import Array, GoldenSource, PreparedModel, QuantizeRequest, Reporter, SessionOptions, Tensors
from hyperion.quantization.agreement import are_probabilities
from hyperion.quantization.recognition import quantized_by, scores_classes
from hyperion.verification.budget_sample import BudgetSample, can_be_carried, sample_entries


class OnnxGraphs:
    """Implements ports.ModelGraphs."""

    def load(self, model: Path) -> OnnxGraph:
        """Read a model; see ports.ModelGraphs."""
        return OnnxGraph(read_source(model), str(model))


class OnnxGraph:
    """Implements ports.ModelGraph."""

    def __init__(self, source: SourceModel, path: str) -> None:
        self._source = source
        self._path = path
        self._signature = signature_of(source.model, path)

    @property
    def signature(self) -> Signature:
        return self._signature

    def index_bound(self, name: str) -> int | None:
        """See ports.ModelGraph."""
        return index_bound(self._source.model, name)

    def prepare(
        self, request: QuantizeRequest, signature: Signature, golden: Sequence[GoldenSource], reporter: Reporter
    ) -> PreparedModel:
        """Quantize as asked and split into layers; see ports.ModelGraph."""
        return _Preparing(self._source, self._path, request, signature, golden, reporter).run()


class _Preparing:
    """One model on its way into a package."""

    def __init__(
        self,
        source: SourceModel,
        path: str,
        request: QuantizeRequest,
        signature: Signature,
        golden: Sequence[GoldenSource],
        reporter: Reporter,
    ) -> None:
        self._source, self._path, self._request = source, path, request
        self._signature, self._golden, self._reporter = signature, tuple(golden), reporter
        self._uses = weight_uses(source.model)
        self._plans = split_layers(self._uses)
        self._full_range = request.platform is not None and request.platform.has_vnni
        self._measure: FormMeasure | None = None

    def run(self) -> PreparedModel:
        warnings = [*self._source.warnings, *silent(self._golden)]
        already = None if self._request.choice == "none" else quantized_by(self._source.model)
        forms: Forms | None = None
        if self._request.choice == "none":
            decision = Decision(None)
        elif already is not None:
            decision = Decision(None, reason=f"the model is quantized already ({already}) and is kept as it is")
        else:
            with self._reporter.stage("Quantizing"):
                forms, decision = self._decide()
        golden = self._golden
        if decision.form is not None:
            golden = tuple(judged_by(item, set(decision.form.schemes.values())) for item in self._golden)
            warnings += uncompared(self._golden, golden)
        warnings += decision.warnings
        return self._prepared(decision, forms, "none" if already is None else "kept", golden, warnings)

    def _decide(self) -> tuple[Forms, Decision]:
        rows = self._rows()
        forms = Forms(
            self._source, self._plans, full_range=self._full_range, scratch=self._request.scratch,
            calibration=self._calibration(rows),
        )  # fmt: skip
        if forms.impossible is not None:
            reasons = {weight.key: next(iter(weight.refused.values()), "") for weight in forms.weights}
            return forms, Decision(None, reasons, reason=forms.impossible)
        choice = self._request.choice
        budget = self._budget(rows)
        if budget is not None:
            self._measure = FormMeasure(
                self._source, self._signature, self._golden, rows, budget, self._request.policy.seed, self._path
            )
        deciding = Deciding(
            self._source, forms, self._plans, self._measure, self._request.policy, self._reporter
        )  # fmt: skip
        decision = deciding.auto() if choice == "auto" else deciding.fixed(choice)
        if self._measure is None:
            why = rows.unavailable or "no output is floating-point"
            decision = replace(decision, measurements=Measurements(unavailable=why))
        return forms, replace(decision, warnings=(*decision.warnings, *self._doubts(rows, decision)))

    def _rows(self) -> EvaluationRows:
        """The rows to measure on; without data, golden requests and generated inputs."""
        if self._request.sets is not None:
            return rows_of_sets(self._request.sets)
        session = make_session(
            self._source.model.SerializeToString(), self._source.folder, SessionOptions(prepacking=False), self._path
        )
        names = [spec.name for spec in self._signature.outputs]

        def run(feeds: Tensors) -> dict[str, Array]:
            return run_interruptibly(session, names, feeds, self._path)

        return rows_of_samples(collect_samples(self._source.model, self._signature, self._golden, run))

    def _calibration(self, rows: EvaluationRows) -> tuple[Tensors, ...]:
        """Inputs to find the ranges of activations on, where a scheme may need them."""
        choice = self._request.choice
        overridden = any(item.scheme == "static-int8" for item in self._request.policy.overrides)
        if choice == "static-int8" and not rows.calibration:
            raise ConfigError(
                "static-int8 needs inputs to find the ranges of activations on, and there are none",
                hint="name a dataset with --dataset, or put requests into golden/",
                code="quantize.no_calibration",
            )
        wanted = overridden or choice == "static-int8" or (choice == "auto" and rows.from_data)
        return rows.calibration if wanted else ()

    def _budget(self, rows: EvaluationRows) -> LossBudget | None:
        """The stated budget, or the agreement that is asked for without one; None where nothing can be compared."""
        stated = self._request.policy.budget
        if stated is not None:
            if stated.metric in BY_LABELS and not rows.sizes.labelled:
                raise ConfigError(
                    f"{stated.metric} needs labelled rows: there are none in {rows.sizes.source}",
                    hint="name a dataset with labels with --dataset, or choose --metric top1 or cosine",
                    code="quantize.no_labels",
                )
            if rows.search.rows:
                return stated
        if not rows.search.rows:
            return None
        limit = 1 - AGREEMENT_THRESHOLD
        scores = self._class_scores(rows)
        if scores is not None:
            return LossBudget(metric="top1", max_loss=limit, output=scores.name)
        output = next((spec for spec in self._signature.outputs if spec.dtype.startswith("float")), None)
        return None if output is None else LossBudget(metric="cosine", max_loss=limit, output=output.name)

    def _class_scores(self, rows: EvaluationRows) -> TensorSpec | None:
        """The output that holds class scores: labels are named, the graph chooses by it, or its rows are probabilities.

        Without any of these, [batch, n] may as well be an embedding.
        """
        found = self._signature.class_output()
        if found is None or self._signature.labels is not None or scores_classes(self._source.model, found.name):
            return found
        first = next(iter(rows.search.batches(16)))
        session = make_session(
            self._source.model.SerializeToString(), self._source.folder, SessionOptions(prepacking=False), self._path
        )
        answer = run_interruptibly(session, [found.name], first.feeds, self._path)
        return found if are_probabilities(answer[found.name]) else None

    def _doubts(self, rows: EvaluationRows, decision: Decision) -> list[str]:
        """What makes a verdict weak."""
        budget, loss = self._request.policy.budget, decision.measurements.loss
        found = []
        if budget is not None and not rows.from_data:
            found.append(
                f"no data were given: the budget was held against {rows.sizes.source}, which prove little; "
                "give --dataset"
            )
        if budget is None or loss is None:
            return found
        doubt = interval_doubt(budget, loss)
        if doubt is not None:
            found.append(doubt)
        limit = budget.max_class_loss
        found += [
            f"class {item.name!r} lost one of its {item.support} rows: one row proves nothing, so it was let pass"
            for item in loss.classes
            if limit is not None and item.recall_loss > limit and item.rows_lost == 1
        ]
        return found

    def _prepared(
        self,
        decision: Decision,
        forms: Forms | None,
        untouched: SchemeName,
        golden: Sequence[GoldenSource],
        warnings: list[str],
    ) -> PreparedModel:
        form = decision.form
        source = self._source if form is None else SourceModel(form.model, form.folder)
        origins = {} if form is None else form.origins

        def scheme_of(key: str) -> SchemeName:
            if form is None:
                return untouched
            return form.schemes.get(origins.get(key, key), "none") if key in origins else "none"

        if form is None:
            keep_harmless_notes(source, self._signature, [item.inputs for item in self._golden[:1]], self._path)
        sample, sample_warnings = self._sample(decision)
        layers = hoist(source, self._plans, origins, scheme_of, _entry)
        record = quantization_record(
            self._request, decision, forms, self._uses, self._plans, layers,
            full_range=self._full_range, scheme=scheme_of_most(form, forms, untouched),
            finite_outputs=() if self._measure is None else self._measure.finite_outputs,
        )  # fmt: skip
        return PreparedModel(
            architecture_bytes(source.model), layers, requirement_of(source.model), record, tuple(golden),
            decision.measurements if forms is not None else None, (*warnings, *sample_warnings), sample,
        )  # fmt: skip

    def _sample(self, decision: Decision) -> tuple[dict[str, bytes], list[str]]:
        """What another host needs to hold the package to a stated budget."""
        measure, budget = self._measure, self._request.policy.budget
        if measure is None or budget is None or decision.form is None or not self._request.policy.sample:
            return {}, []
        if not can_be_carried(measure.rows.sample.batches(16)):
            return {}, ["the package carries no sample to check its budget by: its inputs are text"]
        meter = measure.meter()
        document = BudgetSample(
            budget=budget,
            output=meter.output,
            labels_are_text=measure.labels_are_text,
            whole=measure.rows.sample.rows == measure.rows.report.rows,
            batches=(),
        )
        with self._reporter.stage("Taking a sample for the budget's check at deploy"):
            return sample_entries(document, measure.sample()), []


def interval_doubt(budget: LossBudget, loss: MeasuredLoss) -> str | None:
    """What to say where chance alone may hide a broken budget, with the rows that would settle it.

    An interval is as wide as 1/√rows; the rows named are those of which it ends at the budget. Of a loss that is at
    its limit itself there is no such number.
    """
    if loss.high <= budget.max_loss:
        return None
    # With two digits, and with more where these would not show that it is above the budget.
    high = next(text for digits in range(2, 18) if float(text := f"{loss.high:.{digits}g}") > budget.max_loss)
    found = (
        f"the loss may be as large as {high} (95 % interval), above the budget of {budget.max_loss:g}: {loss.rows} "
        f"rows tell it to ±{loss.width:.2g} only"
    )
    room = budget.max_loss - loss.loss
    if room <= EPSILON:
        return found
    needed = max(math.ceil(loss.rows * (loss.width / room) ** 2), loss.rows + 1)
    return f"{found}; about {needed:,} would tell whether it is within"


def _entry(index: int) -> str:
    return f"{WEIGHTS_FOLDER}layer{index}.weights"
