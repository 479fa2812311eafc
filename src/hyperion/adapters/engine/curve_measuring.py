"""In the child: how batches and threads pay for a model, within 0.15 s for a quick one and 1.5 s for a slow one."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from hyperion.domain.tuning import BATCHES, Curve, CurvePoint, ThreadPoint, batch_fault
from hyperion.errors import EngineError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Engine, Session, SessionOptions, Tensors

SHORTEST_S, LONGEST_S, RUNS_OF_ONE_ROW = 0.15, 1.5, 24
"""What the curve may take: so many runs of one row, within these bounds. A larger batch is tried only where two runs
of it should fit into what is left."""
RUNS = 5
"""Most runs of one point; the shortest counts, since everything else a machine does only adds."""
COMPARED_ROWS = 4
_SCALES = (1.0, 4.0, 0.25, 2.0)
"""What tells rows of floats apart: magnitudes, since activations that are quantized per batch follow the largest."""


def measure_curve(
    engine: Engine, package: PackageReader, session: Session, feeds: Tensors, threads: int, trial_threads: Iterable[int]
) -> Curve:
    """Time one row and batches of it, compare answers in a batch with answers alone, and time other threads.

    Args:
        engine: Loads sessions with other numbers of threads.
        package: Opened.
        session: Loaded from it, warm.
        feeds: One request that it answers; its first row is used.
        threads: Of ``session``.
        trial_threads: Other numbers to try, each in a session of its own.
    """
    fault = batch_fault(package.manifest.signature)
    if fault is None and len({array.shape[:1] for array in feeds.values()}) != 1:
        fault = "the inputs of the request have different numbers of rows"
    row = feeds if fault is not None else {name: array[:1] for name, array in feeds.items()}
    try:
        single_ms = _shortest_ms(session, row, SHORTEST_S)
        points, difference, why = [CurvePoint(batch=1, run_ms=single_ms)], None, fault
        if fault is None:
            difference, why = _difference(session, row)
        if why is None:
            more, why = _larger(session, row, single_ms)
            points += more
        tried = tuple(_timed(engine, package, number, row) for number in trial_threads if number != threads)
    except (EngineError, MemoryError) as error:
        return Curve(unavailable=f"the engine refuses a variation of the request: {error}"[:500])
    except (TypeError, ValueError, AttributeError) as error:  # a figure that is wanted, but never worth a deployment
        why = f"its answers cannot be timed and compared: {type(error).__name__}: {error}"
        return Curve(unavailable=why[:500])
    own = (ThreadPoint(threads=threads, run_ms=single_ms),) if tried else ()
    return Curve(points=tuple(points), threads=(*own, *tried), difference=difference, unavailable=why)


def _larger(session: Session, row: Tensors, single_ms: float) -> tuple[list[CurvePoint], str | None]:
    """The points beyond one row, as far as time allows, and why they end early."""
    budget_s = min(LONGEST_S, max(SHORTEST_S, RUNS_OF_ONE_ROW * single_ms / 1000))
    began, last_ms = time.perf_counter(), single_ms
    points: list[CurvePoint] = []
    for batch in BATCHES[1:]:
        spent = time.perf_counter() - began
        if spent + 2 * 2 * last_ms / 1000 > budget_s:
            return points, f"batches of {batch} and more were not tried: the measurement may take {budget_s:.2g} s"
        last_ms = _shortest_ms(session, _rows(row, batch), budget_s - spent)
        points.append(CurvePoint(batch=batch, run_ms=last_ms))
    return points, None


def _difference(session: Session, row: Tensors) -> tuple[float | None, str | None]:
    """How far answers in a batch lie from answers alone; or why that cannot be said."""
    together = session.run(_rows(row, COMPARED_ROWS))
    worst = 0.0
    for index in range(COMPARED_ROWS):
        alone = session.run({name: array[index : index + 1] for name, array in _rows(row, COMPARED_ROWS).items()})
        for name, wanted in alone.items():
            found = together[name]
            if found.shape != (COMPARED_ROWS, *wanted.shape[1:]) or wanted.shape[:1] != (1,):
                return None, f"output {name!r} has not one row for each row that is put in"
            worst = max(worst, _distance(wanted, found[index : index + 1]))
    return worst, None


def _distance(wanted: Array, found: Array) -> float:
    """Largest difference, relative to the root mean square; 1 where what must be equal is not."""
    if wanted.dtype.kind != "f":
        return 0.0 if bool((wanted == found).all()) else 1.0
    one, other = wanted.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return 1.0
    if not finite.any():
        return 0.0
    scale = float(np.sqrt(np.mean(np.square(one[finite]))))
    return float(np.abs(one[finite] - other[finite]).max()) / max(scale, float(np.finfo(np.float32).tiny))


def _rows(row: Tensors, count: int) -> dict[str, Array]:
    """``count`` rows that differ: floats in magnitude, everything else by turning the row round."""
    found: dict[str, Array] = {}
    for name, array in row.items():
        if array.dtype.kind == "f":
            rows = [array * array.dtype.type(_SCALES[index % len(_SCALES)]) for index in range(count)]
        else:
            rows = [np.roll(array, index, axis=-1) for index in range(count)]
        found[name] = np.concatenate(rows)
    return found


def _timed(engine: Engine, package: PackageReader, threads: int, row: Tensors) -> ThreadPoint:
    session = engine.load(package, SessionOptions(threads=threads))
    session.run(row)
    return ThreadPoint(threads=threads, run_ms=_shortest_ms(session, row, SHORTEST_S))


def _shortest_ms(session: Session, feeds: Tensors, budget_s: float) -> float:
    """Of at most RUNS runs within a quarter of the budget, and of two at least: the first one makes room for itself."""
    began, shortest = time.perf_counter(), float("inf")
    for index in range(RUNS):
        started = time.perf_counter()
        session.run(feeds)
        ended = time.perf_counter()
        shortest = min(shortest, ended - started)
        if index > 0 and ended - began > budget_s / 4:
            break
    return round(1000 * shortest, 4)
