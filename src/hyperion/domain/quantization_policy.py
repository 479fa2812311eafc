"""config/quantization.json of a model directory: how a person wants a model quantized, and what that may cost."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Document, Many, WrittenDocument
from hyperion.domain.scheme import QuantizeChoice, WeightScheme

Metric = Literal["accuracy", "f1", "top1", "cosine", "kl"]
"""``accuracy`` and ``f1`` (macro) against labels; ``top1`` (share of rows with the float model's class), ``cosine``
(mean over rows) and ``kl`` (Kullback–Leibler divergence from the float model's distribution, nats) against the float
model."""

Share = Annotated[float, Field(gt=0, lt=1)]


class SchemeOverride(Document):
    """The scheme of all weights that a pattern names; the last one that matches counts."""

    match: Annotated[str, Field(min_length=1)]
    """Shell pattern over the names of layers and weights: ``encoder.layer.0*``, ``*embeddings*``."""
    scheme: WeightScheme
    """``none`` keeps them in float."""

    def names(self, layer: str, weight: str) -> bool:
        """Whether it speaks of a weight, by the weight's own name or its layer's."""
        return fnmatchcase(weight, self.match) or fnmatchcase(layer, self.match)


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


class QuantizationPolicy(WrittenDocument):
    """config/quantization.json of a model directory."""

    scheme: QuantizeChoice | None = None
    """Instead of ``--quantize``."""
    reference: Literal["float"] = "float"
    """What the quantized model is compared with."""
    budget: LossBudget | None = None
    data: EvaluationData | None = None
    overrides: Many[SchemeOverride] = ()
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Of the split and of generated inputs: the same seed gives the same package."""

    def override(self, layer: str, weight: str) -> WeightScheme | None:
        """The scheme that a person set for a weight, or None."""
        found = [item.scheme for item in self.overrides if item.names(layer, weight)]
        return found[-1] if found else None
