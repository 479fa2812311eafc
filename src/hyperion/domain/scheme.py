"""Quantization schemes: which there are, which one a model got (config/quantization.json), and what was measured.

What was measured runs through the engine, so its last digits are the machine's: it stays with the host (Measurements)
and never goes into a package (docs/adr/0013-nothing-measured-in-a-package.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Digest, Document, Many
from hyperion.domain.loss import LossBudget, MeasuredLoss, SetSizes, TriedForm, WeightEffect
from hyperion.domain.manifest import SchemeName, WeightScheme
from hyperion.domain.platform import PlatformProfile

QuantizeChoice = Literal["auto", "int8", "w8", "w4", "static-int8", "fp16", "none"]
"""What a person may ask for; ``auto`` searches for the smallest package within the budget."""

AGREEMENT_THRESHOLD = 0.99
"""Share of rows with the same class, or mean cosine where there are no classes, that ``auto`` asks for."""

W4_BLOCK = 32
"""Weights that share one scale and zero point in ``w4``."""

GOLDEN_RELATIVE: dict[SchemeName, float] = {"fp16": 0.02, "w8": 0.1, "int8": 0.15, "static-int8": 0.2, "w4": 0.3}
"""How far a golden answer may lie from the float model's, as a share of its norm, where nobody wrote tolerances; of
several schemes in one model the widest counts.

A cosine of 0.99 (AGREEMENT_THRESHOLD) between vectors of one length is a distance of √(2 · 0.01) = 0.14; 4 bits get
twice the room. Measured on six models: 0.00–0.12 with int8, 0.00–0.22 with w4. They only say that the right model
answers; where a budget is stated, its check is the judge of quality.
"""

VNNI_FEATURES = frozenset({"vnni", "avx_vnni", "avxvnni", "avx512_vnni", "avx512vnni", "avx_vnni_int8", "asimddp"})
"""CPU features with which u8·s8 products cannot saturate, so that int8 may use its full range."""

STORAGE: dict[SchemeName, str] = {
    "int8": "symmetric, one scale per output channel or row; activations are quantized while running",
    "w4": f"asymmetric blocks of {W4_BLOCK} along the input axis, two values a byte, low nibble first; "
    "zero points are packed alike",
    "w8": f"symmetric blocks of {W4_BLOCK} along the input axis, one byte a value, of which 128 is zero",
    "static-int8": "symmetric, one scale per output channel; activations in steps that calibration data gave",
    "fp16": "half precision; computed in float32",
}
"""How tensors of a scheme are to be read."""


@dataclass(frozen=True, slots=True)
class TargetPlatform:
    """The machine that a package is made for, as far as the scheme depends on it.

    Attributes:
        name: As the person named it, for the manifest.
        has_vnni: Whether it is known to multiply u8 by s8 without saturation.
    """

    name: str
    has_vnni: bool

    @classmethod
    def parse(cls, name: str) -> TargetPlatform:
        """Read ``os/architecture``, optionally with a CPU feature: ``linux/amd64``, ``linux/amd64+avx512_vnni``."""
        features = name.lower().replace("-", "_").split("+")[1:]
        return cls(name, not VNNI_FEATURES.isdisjoint(features))

    @classmethod
    def of_profile(cls, profile: PlatformProfile) -> TargetPlatform:
        """The target that a probed profile describes."""
        return cls(profile.name, not VNNI_FEATURES.isdisjoint(profile.cpu_features or ()))


class KeptTensor(Document):
    """A weight that the scheme left as it was."""

    tensor: str
    reason: str


class StoredWeight(Document):
    """A weight that is stored in few bits, and how far that is from its float values.

    The figures follow from the weight alone by exact sums, so they are the same wherever it is packaged.
    """

    tensor: str
    scheme: SchemeName
    bits: Annotated[int, Field(ge=1, le=64)]
    bytes_before: int
    bytes_after: int
    sqnr_db: float | None = None
    """Signal to quantization noise; None where there is no noise at all."""
    cosine: float | None = None
    reason: str | None = None
    """Why it has this scheme where a smaller one was to be had, or the model was asked for in another."""


class LayerScheme(Document):
    """What became of one layer."""

    index: Annotated[int, Field(ge=0)]
    name: str
    scheme: SchemeName
    bits: Annotated[int, Field(ge=1, le=64)]
    """Bits of one element of the layer's largest weight."""
    bytes_before: int
    bytes_after: int
    kept: Many[KeptTensor] = ()
    """Weights of this layer that stayed as they were, each with its reason."""
    weights: Many[StoredWeight] = ()
    """Its other weights."""


class Agreement(Document):
    """How far the quantized model answers like the float model; the same on every run on the same machine."""

    measure: Literal["top1", "cosine"]
    """``top1``: share of rows with the same class; ``cosine``: mean cosine of output rows."""
    value: Annotated[float, Field(ge=-1, le=1)]
    threshold: float = AGREEMENT_THRESHOLD
    output: str
    """The output that was compared."""
    rows: Annotated[int, Field(ge=1)]
    golden_rows: Annotated[int, Field(ge=0)]
    """How many rows came from golden requests; the others were generated."""

    @property
    def holds(self) -> bool:
        return self.value >= self.threshold


class Measurements(Document):
    """What packaging measured of a scheme, through the engine of one machine."""

    agreement: Agreement | None = None
    unavailable: str | None = None
    """Why there is no agreement figure."""
    shortfall: str | None = None
    """What kept ``auto`` from quantizing everything, such as ``cosine agreement is 0.97, below 0.99``."""
    alone: dict[str, float] = {}
    """For weights that ``auto`` left in float: relative error of the output when they alone are quantized."""
    sets: SetSizes | None = None
    """The rows that were used; None where nothing was compared."""
    loss: MeasuredLoss | None = None
    """On the report set."""
    search_loss: MeasuredLoss | None = None
    """On the search set, which the decisions were made on."""
    effects: Many[WeightEffect] = ()
    """What became of the outputs of each quantized weight's node."""
    trials: Many[TriedForm] = ()
    """Every form that was measured on the search set, in order."""
    cpu_features: Many[str] = ()
    """Of this host, those that decide which kernels multiply integers."""


class HostMeasurements(Document):
    """The measurements of one package on one host, as its state folder keeps them."""

    format_version: Literal[1] = 1
    digest: Digest
    """Of the package."""
    platform: str
    """``os/architecture`` of the host."""
    engine_version: str
    measured_at: datetime
    measurements: Measurements


class QuantizationRecord(Document):
    """config/quantization.json: which scheme each layer has, what it saved, and why; the same wherever it is built."""

    format_version: Literal[1] = 1
    requested: QuantizeChoice
    scheme: SchemeName
    """The scheme of most quantized bytes; ``none`` where nothing was quantized."""
    reason: str | None = None
    """Why nothing was quantized, or why layers stayed in float; no measured figures."""
    budget: LossBudget | None = None
    """What quantizing may cost at most, where a person said so; a sample to check it by is under assets/budget/."""
    seed: int | None = None
    """Of the sets that the choice was made on."""
    full_range: bool = False
    """Whether int8 weights use all of -127…127; otherwise -64…64, which no CPU can saturate."""
    storage: dict[str, str] = {}
    bytes_before: int
    bytes_after: int
    layers: Many[LayerScheme]
    finite_outputs: Many[str] = ()
    """Outputs that the float model gave without NaN or infinity for every input it was tried on while quantizing;
    none where it was not run. With these a NaN is the scheme's doing."""


def rounded(value: float, digits: int = 4) -> float:
    """``value`` with a fixed number of decimals, rounded down so that a figure never flatters."""
    factor = float(10**digits)
    return math.floor(value * factor + 1e-9) / factor


__all__ = [
    "AGREEMENT_THRESHOLD", "GOLDEN_RELATIVE", "STORAGE", "VNNI_FEATURES", "W4_BLOCK", "Agreement", "HostMeasurements",
    "KeptTensor", "LayerScheme", "Measurements", "QuantizationRecord", "QuantizeChoice", "StoredWeight",
    "TargetPlatform", "WeightScheme", "rounded",
]  # fmt: skip
