"""config/quantization.json of a model directory: how a person wants a model quantized, and what that may cost."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hyperion.domain.document import Document, Many, WrittenDocument
from hyperion.domain.loss import LossBudget
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import QuantizationRecord, QuantizeChoice

Share = Annotated[float, Field(gt=0, lt=1)]


class SchemeOverride(Document):
    """The scheme of all weights that a pattern names, themselves or by their layer."""

    match: Annotated[str, Field(min_length=1)]
    """Shell pattern over the names of layers and weights: ``encoder.layer.0*``, ``*embeddings*``."""
    scheme: WeightScheme
    """``none`` keeps them in float."""

    def names(self, layer: str, weight: str) -> bool:
        """Whether it speaks of a weight, by the weight's own name or its layer's."""
        return fnmatchcase(weight, self.match) or fnmatchcase(layer, self.match)


class EvaluationData(Document):
    """Where the rows come from; three disjoint sets are drawn: calibration, search and report."""

    folder: str | None = None
    """A dataset folder (*.npz, *.csv), relative to the model directory; it is split by the seed, each class alike."""
    calibration: str | None = None
    """A folder of its own for calibration, instead of a share of ``folder``."""
    search: str | None = None
    report: str | None = None
    calibration_share: Share = 0.2
    """Of the rows of ``folder``."""
    search_share: Share = 0.4
    """Of the rows of ``folder``; what is left is the report set, which no decision ever sees."""

    @model_validator(mode="after")
    def _leaves_a_report_set(self) -> EvaluationData:
        if self.calibration_share + self.search_share >= 1:
            raise ValueError("calibration_share and search_share leave nothing for the report set")
        return self


class QuantizationPolicy(WrittenDocument):
    """config/quantization.json of a model directory."""

    scheme: QuantizeChoice | None = None
    """Instead of ``--quantize``."""
    reference: Literal["float"] = "float"
    """What the quantized model is compared with."""
    budget: LossBudget | None = None
    data: EvaluationData | None = None
    sample: bool = True
    """Whether the package carries rows of the report set (assets/budget/), by which other hosts hold it to its budget;
    false where the data may not leave this place."""
    overrides: Many[SchemeOverride] = ()
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Of the split and of generated inputs: the same seed gives the same package."""

    def override(self, layer: str, weight: str) -> SchemeOverride | None:
        """What a person set for a weight, or None.

        A small layer joins the next, so a layer may hold weights of another name: patterns that match the weight's own
        name go before those that match only its layer's, and of either the last one counts.
        """
        found = [item for item in self.overrides if item.names(layer, weight)]
        own = [item for item in found if fnmatchcase(weight, item.match)]
        return next(reversed(own or found), None)


def policy_of(record: QuantizationRecord) -> QuantizationPolicy:
    """The policy that a package was made by, as far as its record tells: where the rows came from it does not."""
    return QuantizationPolicy(scheme=record.requested, budget=record.budget, seed=record.seed or 0)


__all__ = ["EvaluationData", "LossBudget", "QuantizationPolicy", "SchemeOverride", "policy_of"]
