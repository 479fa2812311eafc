"""How quick a model is on a dataset, what it takes, and how right it is where the dataset has labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hyperion.domain.document import JsonValue
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import WEIGHTS_FOLDER
from hyperion.domain.metrics import percentile
from hyperion.domain.tensor import Signature
from hyperion.errors import EngineError, IncompatibleError, PackageError
from hyperion.format.package import PackageReader
from hyperion.ports import Batch, Dataset, Host, InferenceJob, InferenceResult, Reporter, Tensors
from hyperion.verification.accuracy import AccuracyMeter
from hyperion.verification.golden import is_finite
from hyperion.verification.model import sandbox_limits

TIMEOUT_S = 6 * 3600.0
WARMUP_RUNS = 3
PERCENTILES = (("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99))


@dataclass
class Measurement:
    """Findings and figures of one check; a figure that could not be had is null and ``unavailable`` says why."""

    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, JsonValue] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: JsonValue, reason: str | None = None) -> None:
        """Note a figure, or null and why."""
        self.figures[name] = value
        if value is None:
            self.unavailable[name] = reason or "not measured"


def measure_performance(
    host: Host, path: Path, package: PackageReader, dataset: Dataset, reporter: Reporter, batch_size: int
) -> Measurement:
    """Run the whole dataset in a child, batch by batch, and measure.

    Args:
        host: This host.
        path: Where the package lies.
        package: The same, opened.
        dataset: Opened for the package's signature.
        reporter: Where progress goes.
        batch_size: Rows a request, where the model leaves that free.

    Raises:
        ConfigError: A value or label of the dataset is wrong; names file and row.
        HostError: No child can be started.
    """
    measurement = Measurement()
    run = _Run(dataset, batch_size, package.manifest.signature)
    with reporter.stage("Run the dataset in a child", dataset.rows, "rows") as advance:
        job = InferenceJob(
            path, run.requests(advance), warmup=WARMUP_RUNS, kept=run.kept(), keep_outputs=bool(run.kept())
        )
        try:
            result = host.sandbox.run(job, sandbox_limits(package, TIMEOUT_S))
        except (EngineError, IncompatibleError, PackageError) as error:
            measurement.findings.append(
                Finding(
                    check="performance.run",
                    outcome=Outcome.FAILED,
                    summary="the dataset could not be run",
                    reason=f"{error.message} [{error.code}]",
                    hint=error.hint,
                )
            )
            return measurement
    measurement.findings.append(_run_finding(run.batches, result))
    _add_speed(measurement, run.batches, result)
    _add_resources(measurement, host, path, package, result)
    _add_counters(measurement, result)
    _add_accuracy(measurement, run, result)
    return measurement


class _Run:
    """The dataset as requests; keeps of each batch what is needed after the run, its inputs not."""

    def __init__(self, dataset: Dataset, batch_size: int, signature: Signature) -> None:
        self._dataset, self._batch_size = dataset, batch_size
        self.batches: list[Batch] = []
        self.signature = signature

    def kept(self) -> frozenset[str]:
        """Outputs that accuracy may need; which one is known when the first labels are seen."""
        if not self._dataset.has_labels:
            return frozenset()
        meters = (AccuracyMeter(self.signature, labels_are_text=text) for text in (False, True))
        return frozenset(meter.output for meter in meters if meter.output is not None)

    def requests(self, advance: Callable[[int], None]) -> Iterator[Tensors]:
        for batch in self._dataset.batches(self._batch_size):
            self.batches.append(Batch({}, batch.rows, batch.labels, batch.source, batch.first_row))
            advance(batch.rows)
            yield batch.feeds


def _run_finding(batches: Sequence[Batch], result: InferenceResult) -> Finding:
    refused = [(batch, error) for batch, error in zip(batches, result.errors, strict=True) if error is not None]
    rows = sum(batch.rows for batch in batches)
    measured: dict[str, JsonValue] = {"rows": rows, "batches": len(batches), "refused_batches": len(refused)}
    if refused:
        batch, error = refused[0]
        return Finding(
            check="performance.run",
            outcome=Outcome.FAILED,
            summary=f"the engine refused {len(refused)} of {len(batches)} batches",
            reason=f"{batch.source}, rows from {batch.first_row}: {error}",
            measured=measured,
            hint="compare the dataset's arrays with 'hyperion inspect'",
        )
    return Finding(
        check="performance.run",
        outcome=Outcome.PASSED,
        summary=f"{rows} rows ran in {len(batches)} batches",
        measured=measured,
    )


def _add_speed(measurement: Measurement, batches: Sequence[Batch], result: InferenceResult) -> None:
    ran = [batch.rows for batch, error in zip(batches, result.errors, strict=True) if error is None]
    rows = sum(ran)
    reason = None if rows else "no batch ran"
    measurement.set("rows", rows)
    measurement.set("batches", len(ran))
    measurement.set("batch_latency_ms", _spread(result.latencies_ms), reason)
    row_latencies = [ms / count for ms, count in zip(result.latencies_ms, ran, strict=True)]
    measurement.set("row_latency_ms", _spread(row_latencies), reason)
    measurement.set("throughput_rows_s", rows / result.wall_s if result.wall_s > 0 else None, reason)
    measurement.set("load_ms", result.load_ms)
    measurement.set("cpu_s", result.cpu_s)
    measurement.set("cpu_utilisation", result.cpu_s / result.wall_s if result.wall_s > 0 else None, reason)


def _spread(values: Sequence[float]) -> JsonValue:
    if not values:
        return None
    spread: dict[str, JsonValue] = {name: percentile(values, q) for name, q in PERCENTILES}
    return {**spread, "mean": sum(values) / len(values), "max": max(values)}


def _add_resources(
    measurement: Measurement, host: Host, path: Path, package: PackageReader, result: InferenceResult
) -> None:
    measurement.set("memory_peak_bytes", result.memory.peak)
    measurement.set("memory_steady_bytes", result.memory.steady)
    measurement.set("disk_bytes", host.facts.disk_usage(path))
    measurement.set("storage_read_bytes", result.read_bytes, "the kernel does not say (/proc/PID/io)")
    measurement.set("major_faults", result.major_faults, "the kernel does not say")
    measurement.set("network_bytes", None, "the model ran in a child, without a network")
    entries = [name for name in package.names() if name.startswith(WEIGHTS_FOLDER)]
    paths = sorted({package.locate(name).path for name in entries})
    ratio = host.facts.page_cache_resident_ratio(paths) if paths else None
    reason = "the kernel does not say (mincore)" if paths else "the package has no weights"
    measurement.set("page_cache_resident_ratio", ratio, reason)


def _add_counters(measurement: Measurement, result: InferenceResult) -> None:
    counters, reason = result.counters, result.counters_unavailable
    references, misses = counters.get("cache_references"), counters.get("cache_misses")
    ratio = None if not references or misses is None else 1 - misses / references
    measurement.set("cache_hit_ratio", ratio, reason or "the cache was never asked")
    measurement.set("cpu_cycles", counters.get("cycles"), reason)
    measurement.set("cpu_instructions", counters.get("instructions"), reason)


def _add_accuracy(measurement: Measurement, run: _Run, result: InferenceResult) -> None:
    labelled = next((batch.labels for batch in run.batches if batch.labels is not None), None)
    if labelled is None:
        measurement.set("accuracy", None, "the dataset has no labels")
        return
    meter = AccuracyMeter(run.signature, labels_are_text=labelled.dtype == object)
    stray = 0
    for batch, outputs in zip(run.batches, result.outputs, strict=True):
        if outputs is not None and meter.output is not None:
            stray += not is_finite(outputs[meter.output])
            meter.add(batch, outputs)
    if meter.unavailable is not None or not meter.rows:
        measurement.set("accuracy", None, meter.unavailable or "no batch ran")
        return
    if stray:
        measurement.findings.append(
            Finding(
                check="performance.finite",
                outcome=Outcome.FAILED,
                summary=f"{stray} batches have NaN or infinite class scores",
                measured=stray,
                limit=0,
            )
        )
    figures = meter.figures()
    for name, value in figures.items():
        measurement.set(name, value, meter.matrix_unavailable())
    measurement.findings.append(
        Finding(
            check="performance.accuracy",
            outcome=Outcome.PASSED,
            summary=f"{figures['errors']} of {figures['labelled_rows']} rows are answered wrongly",
            measured=figures["accuracy"],
        )
    )
