"""What a worker shows before it may take traffic: it answers its own golden requests, warm and correct."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.metrics import percentile
from hyperion.domain.tensor import Signature, TensorSpec, free_dimensions
from hyperion.domain.tuning import batch_fault
from hyperion.errors import EngineError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Session, Tensors
from hyperion.verification.golden import Golden, compare, is_finite, load_golden_requests

WARMUP_RUNS = 5
WARMUP_S = 5.0
"""Warm-up ends after so many runs or this time, whichever comes first."""
P99_RUNS = 200
"""Runs that a p99 is measured over, where WARMUP_S has room for them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a worker showed.

    Attributes:
        findings: On its answers, and its p99 where that is limited.
        run_ms: Shortest time of a warm run, since a busy host makes them longer: of one row where rows can be told
            apart, else of a golden request, the median of all; 0 where the model ran on no input.
        run_elements: Elements of the inputs of such a run, the fewest of all; 0 where there was none.
        goldens: The golden requests that it was asked.
    """

    findings: tuple[Finding, ...]
    run_ms: float
    run_elements: int = 0
    goldens: tuple[Golden, ...] = ()

    @property
    def finite_outputs(self) -> frozenset[str]:
        """Outputs that golden requests have, and that are finite in all of them."""
        finite: dict[str, bool] = {}
        for golden in self.goldens:
            for name, value in golden.outputs.items():
                finite[name] = finite.get(name, True) and is_finite(np.asarray(value))
        return frozenset(name for name, always in finite.items() if always)


def prove(package: PackageReader, session: Session, p99_ms: float | None = None) -> Proof:
    """Warm the session up and replay the package's golden requests.

    Without golden requests a generated input is tried: a model may refuse it, then the check is skipped.

    Args:
        package: Proven.
        session: Of the package.
        p99_ms: Most milliseconds that 99 % of the warm runs may take; None for no limit.

    Raises:
        PackageError: A golden request breaks the format.
    """
    goldens = load_golden_requests(package)
    if goldens:
        proof, feeds = _prove_goldens(goldens, session, package.manifest.signature)
    else:
        proof, feeds = _prove_generated(package.manifest.signature, session)
    if p99_ms is None:
        return proof
    return replace(proof, findings=(*proof.findings, check_p99(session, feeds, p99_ms)))


def check_p99(session: Session, feeds: Sequence[Tensors], limit_ms: float) -> Finding:
    """99 % of warm runs against ``gates.p99_ms``; the inputs take turns."""
    check = "performance.latency_p99"
    times_ms: list[float] = []
    started = time.perf_counter()
    while feeds and len(times_ms) < P99_RUNS and time.perf_counter() - started < WARMUP_S:
        began = time.perf_counter()
        session.run(feeds[len(times_ms) % len(feeds)])
        times_ms.append(1000 * (time.perf_counter() - began))
    p99_ms = percentile(times_ms, 0.99)
    if p99_ms is None:
        summary, reason = "p99 is not known", "the model ran on no input"
        return Finding(check=check, outcome=Outcome.SKIPPED, summary=summary, reason=reason, limit=limit_ms)
    over = p99_ms > limit_ms
    return Finding(
        check=check,
        outcome=Outcome.FAILED if over else Outcome.PASSED,
        summary=f"99 % of {len(times_ms)} warm runs take at most {p99_ms:.3g} ms",
        reason=f"expected at most gates.p99_ms = {limit_ms:g}, found {p99_ms:.3g}" if over else None,
        measured=p99_ms,
        limit=limit_ms,
        hint="raise gates.p99_ms, give more threads, or package the model with a faster scheme" if over else None,
    )


def _prove_goldens(goldens: tuple[Golden, ...], session: Session, signature: Signature) -> tuple[Proof, list[Tensors]]:
    """The proof, and the inputs that the model took."""
    findings: list[Finding] = []
    taken: list[Tensors] = []
    times_ms: list[float] = []
    elements: list[int] = []
    has_rows = batch_fault(signature) is None
    for golden in goldens:
        check, title = "model.golden", f"golden request {golden.name!r}"
        try:
            outputs, run_ms = _warm(session, golden.inputs)
        except EngineError as error:
            findings.append(
                Finding(check=check, outcome=Outcome.FAILED, summary=f"{title} was refused", reason=error.message)
            )
            continue
        times_ms.append(min(run_ms, _row_ms(session, golden.inputs) if has_rows else math.inf))
        elements.append(_elements(golden.inputs, 1 if has_rows else None))
        taken.append(golden.inputs)
        findings.append(check_golden(golden, outputs))
    run_ms = median(times_ms) if times_ms else 0.0
    return Proof(tuple(findings), run_ms, min(elements, default=0), goldens), taken


def check_golden(golden: Golden, outputs: Tensors) -> Finding:
    """An answer to a golden request; where nothing is expected, it must at least be finite."""
    title = f"golden request {golden.name!r}"
    if not golden.outputs:
        return _finite(outputs, title)
    result = compare(golden, outputs)
    return Finding(
        check="model.golden",
        outcome=Outcome.PASSED if result.ok else Outcome.FAILED,
        summary=f"{title} {'gives the expected outputs' if result.ok else 'gives other outputs'}",
        reason=result.fault,
        measured=result.largest_error,
    )


def _prove_generated(signature: Signature, session: Session) -> tuple[Proof, list[Tensors]]:
    """One run on ones: enough to warm up and to see that the model answers at all."""
    check = "model.outputs"
    sizes = free_dimensions(signature, {})
    try:
        feeds = {spec.name: _generated(spec, sizes) for spec in signature.required}
        outputs, run_ms = _warm(session, feeds)
    except (EngineError, TypeError) as error:
        reason = f"the package has no golden requests, and the model refused a generated input: {error}"
        hint = "record one under golden/ of the model directory, so that a candidate can be proven"
        skipped = Finding(check=check, outcome=Outcome.SKIPPED, summary="not proven", reason=reason[:1000], hint=hint)
        return Proof((skipped,), 0.0), []
    return Proof((_finite(outputs, "a generated input"),), run_ms, _elements(feeds)), [feeds]


def _finite(outputs: Tensors, title: str) -> Finding:
    """Where nothing says which answers are right, they must at least be numbers."""
    stray = [name for name, value in outputs.items() if not is_finite(value)]
    if stray:
        return Finding(
            check="model.outputs",
            outcome=Outcome.FAILED,
            summary="the model answers with non-finite values",
            reason=f"{title} gives NaN or infinity in {', '.join(map(repr, stray))}",
        )
    return Finding(check="model.outputs", outcome=Outcome.PASSED, summary=f"answers {title} with finite values")


def _warm(session: Session, feeds: Tensors) -> tuple[dict[str, Array], float]:
    """Outputs of the first run, and the shortest time of those after it."""
    started = time.perf_counter()
    outputs = session.run(feeds)
    times = [time.perf_counter() - started]
    while len(times) < WARMUP_RUNS and time.perf_counter() - started < WARMUP_S:
        began = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - began)
    return outputs, 1000 * min(times[1:] or times)


def _row_ms(session: Session, feeds: Tensors) -> float:
    """Shortest time of a warm run on the first row alone; infinite where the model refuses it."""
    try:
        return _warm(session, {name: value[:1] for name, value in feeds.items()})[1]
    except EngineError:
        return math.inf


def _elements(feeds: Tensors, rows: int | None = None) -> int:
    """How many there are in the first rows of all inputs; None for all rows."""
    return sum(value[:rows].size if value.ndim else value.size for value in feeds.values())


def _generated(spec: TensorSpec, sizes: dict[str, int]) -> Array:
    """Ones (text: ``"a"``), in the smallest shape that the model allows.

    Raises:
        TypeError: Numpy lacks the type.
    """
    shape = tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape or ())
    if spec.dtype == "string":
        return np.full(shape, "a", dtype=object)
    return np.ones(shape, dtype=spec.dtype)
