"""What a model takes of memory: peak, steady and after it is unloaded, in a child, against a budget."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.config import MemoryConfig
from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import ConfigError, EngineError, IncompatibleError, PackageError
from hyperion.format.package import PackageReader
from hyperion.ports import Host, InferenceJob, MemoryFigures, Reporter, Tensors
from hyperion.verification.model import sandbox_limits
from hyperion.verification.performance import Measurement
from hyperion.verification.request import NoRequestError, sample_request

MIB = 1024**2


def measure_memory(
    host: Host, path: Path, package: PackageReader, config: MemoryConfig, reporter: Reporter
) -> Measurement:
    """Load the model in a child, run it ``config.runs`` times, unload it.

    Raises:
        HostError: No child can be started.
    """
    measurement = Measurement()
    requests: tuple[Tensors, ...] = ()
    refusal: str | None = None
    try:
        requests = (sample_request(package, config.batch_size),)
    except (NoRequestError, PackageError, ConfigError) as error:
        refusal = str(error)
    job = InferenceJob(path, requests, repeats=config.runs, threads=config.threads, keep_outputs=False, unload=True)
    with reporter.stage("Load and run the model in a child"):
        try:
            result = host.sandbox.run(job, sandbox_limits(package, config.timeout_s))
        except (EngineError, IncompatibleError, PackageError) as error:
            measurement.findings.append(
                Finding(
                    check="memory.run",
                    outcome=Outcome.FAILED,
                    summary="the model could not be loaded and run",
                    reason=f"{error.message} [{error.code}]",
                    hint=error.hint,
                )
            )
            return measurement
    refusal = refusal or next((error for error in result.errors if error is not None), None)
    measurement.findings.append(_run_finding(config, refusal))
    _add_figures(measurement, result.memory, config)
    return measurement


def budget_finding(check: str, what: str, size_bytes: int, budget_mb: int) -> Finding:
    """Whether ``size_bytes`` of memory are within the budget in MiB."""
    passed = size_bytes <= budget_mb * MIB
    return Finding(
        check=check,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        summary=f"{what}: {size_bytes / MIB:.1f} MiB of {budget_mb} MiB",
        reason=None if passed else f"{size_bytes / MIB - budget_mb:.1f} MiB over the budget",
        measured=size_bytes,
        limit=budget_mb * MIB,
        hint=None if passed else "raise budget_mb, lower batch_size, or quantize the model further",
    )


def _run_finding(config: MemoryConfig, refusal: str | None) -> Finding:
    if refusal is not None:
        return Finding(
            check="memory.run",
            outcome=Outcome.SKIPPED,
            summary="the model was loaded, but not run: the figures are those of loading it",
            reason=refusal,
            hint="put golden requests into the package: they are requests that the model accepts",
        )
    return Finding(
        check="memory.run",
        outcome=Outcome.PASSED,
        summary=f"the model ran {config.runs} times with {config.batch_size} rows a request",
        measured=config.runs,
    )


def _add_figures(measurement: Measurement, memory: MemoryFigures, config: MemoryConfig) -> None:
    measurement.set("budget_bytes", config.budget_mb * MIB)
    measurement.set("before_load_bytes", memory.before_load)
    measurement.set("after_load_bytes", memory.after_load)
    stages = (("peak", memory.peak), ("steady", memory.steady), ("after_unload", memory.after_unload))
    for name, size in stages:
        measurement.set(f"{name}_bytes", size, "the session was not dropped")
        if size is not None:
            check = f"memory.{name}"
            measurement.findings.append(
                budget_finding(check, f"{name.replace('_', ' ')} memory", size, config.budget_mb)
            )
