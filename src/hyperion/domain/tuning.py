"""What this host measured of a package to serve it well: how threads pay, and how batches do.

It is measured in the child that the checklist runs anyway, and stays with the host: never in a package.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Digest, Document
from hyperion.domain.tensor import Signature, TensorSpec

BATCHES = (1, 2, 4, 8, 16, 32)
"""Rows that are tried together, while time lasts."""
PAYS_RATIO = 1.3
"""Batching is worth its machinery where it answers this many times as many rows in the same time."""
PAYS_FROM_MS = 1.0
"""Models that answer one row faster are run in the event loop at once: handing them to a queue costs more."""
ALMOST = 0.95
"""The smallest batch within this share of the best one's rows per second is chosen: larger ones only wait longer."""
TOLERANCE = 1e-3
"""Largest difference between a row's answer alone and in a batch, relative to the answer's root mean square.

Kernels add up in another order for other shapes, which moves float32 answers by 1e-7 to 1e-5 here; activations that
are quantized over the whole batch (dynamic int8) move them by 1e-2 and more."""
ROW = "one row takes"
"""Begins what is told of a curve's first figure: wherever it stands, that figure was told."""
FASTER_THREADS = 1.2
"""More threads are used where they answer this many times as fast as fewer."""

BatchingMode = Literal["auto", "on", "off"]
Threads = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]


class CurvePoint(Document):
    """The shortest run of ``batch`` rows."""

    batch: int
    run_ms: float

    @property
    def rows_per_s(self) -> float:
        return 1000 * self.batch / self.run_ms


class ThreadPoint(Document):
    """The shortest run of one row with ``threads`` threads."""

    threads: int
    run_ms: float


class Curve(Document):
    """What was measured in one child."""

    points: tuple[CurvePoint, ...] = ()
    threads: tuple[ThreadPoint, ...] = ()
    """Empty where one number of threads was asked for."""
    difference: float | None = None
    """Largest difference of a row's answer in a batch from its answer alone, relative to the root mean square of the
    answer; None where it was not measured."""
    unavailable: str | None = None
    """Why there is no curve, or why it ends early."""

    @property
    def single_ms(self) -> float | None:
        """The shortest run of one row."""
        return self.points[0].run_ms if self.points else None

    @property
    def best(self) -> CurvePoint | None:
        """The smallest batch with almost the most rows a second."""
        most = max((point.rows_per_s for point in self.points), default=0.0)
        return next((point for point in self.points if point.rows_per_s >= ALMOST * most), None)


class Tuning(Document):
    """The curve of one package on one host, as its state folder keeps it."""

    format_version: Literal[1] = 1
    digest: Digest
    """Of the package."""
    platform: str
    engine_version: str
    measured_at: datetime
    measured_on: str
    """The inputs, in words."""
    curve: Curve

    def threads_for(self, workers: int, cores: int) -> int:
        """How many threads each of ``workers`` workers is given on a machine of ``cores`` cores."""
        chosen, share = 1, max(1, cores // workers)
        times = {point.threads: point.run_ms for point in self.curve.threads}
        for threads in sorted(times):
            if threads <= share and chosen in times and times[chosen] >= FASTER_THREADS * times[threads]:
                chosen = threads
        return chosen

    def describe(self) -> str:
        """The curve in one line, for people."""
        best, single = self.curve.best, self.curve.single_ms
        if best is None or single is None:
            return f"not measured: {self.curve.unavailable}"
        return f"{ROW} {single:.3g} ms; {self.describe_batches()}"

    def describe_batches(self) -> str | None:
        """The second half of the line; None where there is no curve."""
        best, single = self.curve.best, self.curve.single_ms
        if best is None or single is None:
            return None
        if best.batch == 1:
            return "batches do not pay"
        return f"{best.batch} rows at once answer {best.rows_per_s * single / 1000:.1f} times as many"


class BatchingPlan(Document):
    """Whether a worker answers requests together."""

    max_batch: int
    """Most rows of one run; 1 where each request runs alone."""
    reason: str
    """Why, in words."""

    def describe(self) -> str:
        """Whether requests share a run, and why or why not, for people."""
        if self.max_batch == 1:
            return f"each request runs alone: {self.reason}"
        return f"requests share runs of up to {self.max_batch} rows: {self.reason}"

    def unsaid(self, tuning: Tuning | None) -> str | None:
        """What the reason leaves unsaid of the curve, for people; None where there is no curve, or nothing is left."""
        if tuning is None or tuning.describe() in self.reason:
            return None
        return tuning.describe_batches() if ROW in self.reason else tuning.describe()


def plan_batching(mode: BatchingMode, limit: int, tuning: Tuning | None, signature: Signature) -> BatchingPlan:
    """Decide whether requests are answered together: only where that pays and gives the same answers.

    Args:
        mode: The key ``batching.mode`` of deployment.json; ``on`` waives that it must pay, never that it must agree.
        limit: ``batching.max_batch``.
        tuning: What this host measured; None where it did not.
        signature: Of the model.
    """
    fault = batching_fault(mode, limit, tuning, signature)
    if fault is not None or tuning is None:
        return BatchingPlan(max_batch=1, reason=fault or "not measured")
    best = tuning.curve.best
    size = limit if mode == "on" or best is None else min(limit, best.batch)
    return BatchingPlan(max_batch=size, reason=tuning.describe())


def batching_fault(mode: BatchingMode, limit: int, tuning: Tuning | None, signature: Signature) -> str | None:
    """Why each request runs alone; None where requests may share a run."""
    if mode == "off" or limit == 1:
        return "switched off in deployment.json"
    fixed = batch_fault(signature)
    if fixed is not None:
        return fixed
    if tuning is None:
        return "nothing was measured on this host"
    curve = tuning.curve
    if curve.difference is None:
        return curve.unavailable or "batched answers were not compared with single ones"
    if curve.difference > TOLERANCE:
        return f"answers in a batch differ from answers alone by {curve.difference:.2g}, more than {TOLERANCE:g}"
    best, single = curve.best, curve.single_ms
    if mode == "auto" and (best is None or single is None or single < PAYS_FROM_MS):
        return f"{ROW} {single or 0:.3g} ms, less than {PAYS_FROM_MS:g} ms: waiting for others would cost more"
    if mode == "auto" and best is not None and single is not None and best.rows_per_s * single < 1000 * PAYS_RATIO:
        return f"it does not pay: {tuning.describe()}"
    return None


def batch_fault(signature: Signature) -> str | None:
    """Why requests of this model cannot be put together; None where all tensors share an open first dimension."""
    if any(spec.optional for spec in signature.inputs):
        return "it has optional inputs"
    names = {_first(spec) for spec in (*signature.inputs, *signature.outputs)}
    if len(names) != 1 or None in names or "" in names:
        return "its inputs and outputs do not share one open first dimension"
    return None


def _first(spec: TensorSpec) -> str | None:
    """The name of the first dimension; None where it is fixed or there is none."""
    first = spec.shape[0] if spec.shape else None
    return first if isinstance(first, str) else None
