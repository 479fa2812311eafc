"""What a worker shows before it may take traffic: it answers its own golden requests, warm and correct."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.tensor import Signature, TensorSpec, free_dimensions
from hyperion.errors import EngineError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Session, Tensors
from hyperion.verification.golden import compare, is_finite, load_golden_requests

WARMUP_RUNS = 5
WARMUP_S = 5.0
"""Warm-up ends after so many runs or this time, whichever comes first."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The findings, and the median time of a warm run (0 where the model ran on no input)."""

    findings: tuple[Finding, ...]
    run_ms: float


def prove(package: PackageReader, session: Session) -> Proof:
    """Warm the session up and replay the package's golden requests.

    Without golden requests a generated input is tried: a model may refuse it, then the check is skipped.

    Raises:
        PackageError: A golden request breaks the format.
    """
    goldens = load_golden_requests(package)
    if not goldens:
        return _prove_generated(package.manifest.signature, session)
    findings: list[Finding] = []
    times_ms: list[float] = []
    for golden in goldens:
        check, title = "model.golden", f"golden request {golden.name!r}"
        try:
            outputs, run_ms = _warm(session, golden.inputs)
        except EngineError as error:
            findings.append(
                Finding(check=check, outcome=Outcome.FAILED, summary=f"{title} was refused", reason=error.message)
            )
            continue
        times_ms.append(run_ms)
        if not golden.outputs:
            findings.append(_finite(outputs, title))
            continue
        result = compare(golden, outputs)
        findings.append(
            Finding(
                check=check,
                outcome=Outcome.PASSED if result.ok else Outcome.FAILED,
                summary=f"{title} {'gives the expected outputs' if result.ok else 'gives other outputs'}",
                reason=result.fault,
                measured=result.largest_error,
            )
        )
    return Proof(tuple(findings), median(times_ms) if times_ms else 0.0)


def _prove_generated(signature: Signature, session: Session) -> Proof:
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
        return Proof((skipped,), 0.0)
    return Proof((_finite(outputs, "a generated input"),), run_ms)


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
    """Outputs of the first run, and the median time of those after it."""
    started = time.perf_counter()
    outputs = session.run(feeds)
    times = [time.perf_counter() - started]
    while len(times) < WARMUP_RUNS and time.perf_counter() - started < WARMUP_S:
        began = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - began)
    return outputs, 1000 * median(times[1:] or times)


def _generated(spec: TensorSpec, sizes: dict[str, int]) -> Array:
    """Ones (text: ``"a"``), in the smallest shape that the model allows.

    Raises:
        TypeError: Numpy lacks the type.
    """
    shape = tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape or ())
    if spec.dtype == "string":
        return np.full(shape, "a", dtype=object)
    return np.ones(shape, dtype=spec.dtype)
