"""Does a package keep its accuracy budget on this host? The rows that it carries are run in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperion.domain.document import JsonValue
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.loss import MeasuredLoss
from hyperion.domain.scheme import VNNI_FEATURES
from hyperion.errors import ConfigError, EngineError, IncompatibleError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host, InferenceJob, InferenceResult, Reporter
from hyperion.verification.budget_sample import BudgetSample, SampledBatch, load_sample
from hyperion.verification.loss import LossMeter
from hyperion.verification.model import sandbox_limits

BUDGET = "model.budget"
_KERNEL_FEATURES = VNNI_FEATURES | {"avx2", "avx512f", "avx512bw", "fma", "i8mm", "sve"}
"""What decides which kernels multiply integers, and so how exact they are."""
_HINTS = {
    Outcome.FAILED: "the same weights are less exact with some processors' kernels: package the model again, with "
    "--platform as 'hyperion platform probe' names this host, or with another --quantize",
    Outcome.WARNED: "'hyperion verify performance' with the whole dataset tells more",
}


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """What the check says, and the figures behind it.

    Attributes:
        finding: None where the package states no budget.
        loss: What was measured; None where nothing was.
    """

    finding: Finding | None
    loss: MeasuredLoss | None = None


def check_budget(host: Host, path: Path, package: PackageReader, reporter: Reporter) -> BudgetCheck:
    """Run the sample of a package with a stated budget, and compare with what the float model answered.

    Where the sample is all of the report set, the loss itself decides, as when it was packaged. Of a part of it the
    lower end of the interval does: what lies between may be chance, and is warned of.

    Raises:
        HostError: No child can be started.
    """
    try:
        found = load_sample(package)
        if found is None:
            return BudgetCheck(_without_sample(package))
        sample, batches = found
        meter = LossMeter(
            package.manifest.signature, sample.budget.metric, sample.output, labels_are_text=sample.labels_are_text
        )
        job = InferenceJob(path, [item.batch.feeds for item in batches], kept=frozenset({meter.output}))
        with reporter.stage("Run the budget's sample in a child"):
            result = host.sandbox.run(job, sandbox_limits(package))
        loss = _loss(meter, batches, result)
    except (ConfigError, EngineError, IncompatibleError, PackageError) as error:
        return BudgetCheck(
            Finding(
                check=BUDGET,
                outcome=Outcome.FAILED,
                summary="the accuracy budget cannot be checked",
                reason=f"{error.message} [{error.code}]",
                entry=getattr(error, "entry", None),
                hint=error.hint,
            )
        )
    if loss is None:
        return BudgetCheck(
            Finding(
                check=BUDGET,
                outcome=Outcome.FAILED,
                summary="the accuracy budget cannot be checked",
                reason="no row of the sample was answered",
                hint="package the model again",
            )
        )
    return BudgetCheck(_finding(sample, loss, kernel_features(host)), loss)


def kernel_features(host: Host) -> tuple[str, ...]:
    """The processor features of this host that the answers of a quantized model may depend on."""
    return tuple(sorted(_KERNEL_FEATURES.intersection(host.facts.platform().cpu_features or ())))


def describe(loss: MeasuredLoss) -> str:
    """``accuracy 0.9711 → 0.9667, loss 0.0044 (95 % interval -0.0067 to 0.0156, 450 rows)``."""
    return (
        f"{loss.metric} {loss.before:.4f} → {loss.after:.4f}, loss {loss.loss:.4g} "
        f"(95 % interval {loss.low:.4g} to {loss.high:.4g}, {loss.rows} rows)"
    )


def _without_sample(package: PackageReader) -> Finding | None:
    """What to say of a package without a sample: nothing, unless it states a budget that its weights might break."""
    record = read_quantization(package)
    if record is None or record.budget is None or record.scheme in ("none", "kept"):
        return None
    return Finding(
        check=BUDGET,
        outcome=Outcome.SKIPPED,
        summary="the accuracy budget was not checked here",
        reason="the package carries no row of data to check it by: it was packaged with --no-sample, or takes texts",
    )


def _loss(meter: LossMeter, batches: tuple[SampledBatch, ...], result: InferenceResult) -> MeasuredLoss | None:
    for item, outputs, error in zip(batches, result.outputs, result.errors, strict=True):
        if outputs is None:
            raise EngineError(f"the engine refused a batch of the sample: {error}", code="engine.run_failed")
        meter.add(item.batch, item.reference, outputs)
    return meter.loss(seed=0)


def _finding(sample: BudgetSample, loss: MeasuredLoss, features: tuple[str, ...]) -> Finding:
    budget = sample.budget
    broken = loss.breaks(budget)
    certain = sample.whole or loss.low > budget.max_loss
    outcome = Outcome.PASSED if not broken else Outcome.FAILED if certain else Outcome.WARNED
    figures: dict[str, JsonValue] = loss.model_dump(mode="json")
    said = {
        Outcome.PASSED: "the accuracy budget holds here",
        Outcome.WARNED: "the accuracy budget may be broken here",
        Outcome.FAILED: "the accuracy budget is broken here",
    }
    reason = "; ".join(broken) or None
    if outcome is Outcome.WARNED:
        reason = f"{reason}; the sample is only a part of the report set, so this may be chance"
    return Finding(
        check=BUDGET,
        outcome=outcome,
        summary=f"{said[outcome]}: {describe(loss)}",
        reason=reason,
        measured={**figures, "cpu_features": [*features]},
        limit=budget.model_dump(mode="json", exclude_none=True),
        hint=_HINTS.get(outcome),
    )
