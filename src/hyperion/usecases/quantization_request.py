"""How a model is to be quantized: config/quantization.json with the options over it, and the rows to judge it on."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from hyperion.domain.loss import LossBudget, Metric
from hyperion.domain.quantization_policy import EvaluationData, QuantizationPolicy
from hyperion.domain.scheme import TargetPlatform
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError
from hyperion.ports import EvaluationSets, Host, ModelSource, QuantizeRequest, Reporter
from hyperion.usecases.packaging import BudgetOptions, PackageOptions
from hyperion.verification.evaluation import open_sets

_OPTIONS = {"max_loss": "--max-loss", "max_class_loss": "--max-class-loss", "metric": "--metric"}
"""Where a value of the budget may come from."""


def quantize_request(
    host: Host,
    options: PackageOptions,
    source: ModelSource,
    signature: Signature,
    platform: TargetPlatform | None,
    scratch: Path,
    reporter: Reporter,
) -> QuantizeRequest:
    """Join what the model directory and the person say, and draw the sets.

    Raises:
        NotFoundError: There is no such dataset.
        ConfigError: The options contradict each other, or the data do not suit the model.
    """
    policy = source.policy or QuantizationPolicy()
    given = options.budget
    choice = options.quantize or policy.scheme or "auto"
    if given.seed is not None:
        policy = policy.model_copy(update={"seed": given.seed})
    if given.sample is not None:
        policy = policy.model_copy(update={"sample": given.sample})
    base = source.path if source.path.is_dir() else source.path.parent
    if given.dataset is not None:
        base, data = Path(), EvaluationData(folder=str(given.dataset))
        policy = policy.model_copy(update={"data": data})
    sets: EvaluationSets | None = None
    if policy.data is not None and choice != "none":
        sets = open_sets(host.datasets, policy.data, base, signature, policy.seed, reporter)
    budget = _budget(given, policy.budget, signature, labelled=sets is not None and sets.sizes.labelled)
    return QuantizeRequest(choice, policy.model_copy(update={"budget": budget}), sets, platform, scratch)


def _budget(
    given: BudgetOptions, stated: LossBudget | None, signature: Signature, *, labelled: bool
) -> LossBudget | None:
    """The budget of the options over the stated one; None where nobody states any."""
    if given.metric is None and given.max_loss is None and given.max_class_loss is None:
        return stated
    limit, of_class = given.max_loss, given.max_class_loss
    if stated is not None:
        limit = stated.max_loss if limit is None else limit
        of_class = stated.max_class_loss if of_class is None else of_class
    if limit is None:
        raise ConfigError(
            "a budget needs --max-loss, the largest loss that quantizing may cost",
            hint="such as --metric accuracy --max-loss 0.005 for half a point",
            code="quantize.no_limit",
        )
    metric = given.metric or (stated.metric if stated is not None else _usual_metric(signature, labelled=labelled))
    try:
        return LossBudget(
            metric=metric, max_loss=limit, max_class_loss=of_class, output=None if stated is None else stated.output
        )
    except ValidationError as error:
        first = error.errors()[0]
        fault = first["msg"].removeprefix("Value error, ")
        option = _OPTIONS.get(str(first["loc"][0]) if first["loc"] else "", "the budget is wrong")
        found = f", found {first['input']}" if first["loc"] else ""
        raise ConfigError(f"{option}: {fault}{found}", code="quantize.budget_invalid") from error


def _usual_metric(signature: Signature, *, labelled: bool) -> Metric:
    if labelled:
        return "accuracy"
    return "top1" if signature.class_output() is not None else "cosine"
