"""Does a package load in the engine, and does it answer as its golden requests say? All in a sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hyperion.domain.document import JsonValue
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import QUANTIZATION
from hyperion.domain.scheme import QuantizationRecord
from hyperion.errors import ConfigError, EngineError, IncompatibleError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.quantization_json import read_quantization
from hyperion.format.strict_json import parse_document, parse_json
from hyperion.ports import Host, InferenceJob, InferenceResult, Reporter, SandboxLimits, Tensors
from hyperion.verification.golden import Comparison, Golden, compare, is_finite, load_golden_requests
from hyperion.verification.request import NoRequestError, generated_request

GIB = 1024**3
CONFIGS, LOAD, GOLDEN, OUTPUTS = "model.configs", "model.load", "model.golden", "model.outputs"
CONFIG_FOLDER = "config/"
_STORAGE_RATE = 50_000_000  # bytes per second that even a slow disk gives


def sandbox_limits(package: PackageReader, timeout_s: float = 120.0) -> SandboxLimits:
    """Limits that no honest model of this size meets: the engine may hold several copies of the weights."""
    size = package.manifest.total_bytes
    return SandboxLimits(timeout_s=timeout_s + size / _STORAGE_RATE, address_space_bytes=8 * GIB + 6 * size)


def check_configs(package: PackageReader) -> Finding:
    """Is every ``config/*.json`` strict JSON, and config/quantization.json what it should be?"""
    faults = []
    entries = [name for name in package.names() if name.startswith(CONFIG_FOLDER) and name.endswith(".json")]
    for name in entries:
        source = f"{package.source}:{name}"
        try:
            if name == QUANTIZATION:
                parse_document(QuantizationRecord, package.read(name), source)
            elif not isinstance(parse_json(package.read(name), source), dict):
                faults.append((name, f"{source}: expected a JSON object"))
        except (ConfigError, PackageError) as error:
            faults.append((name, error.message))
    if faults:
        return Finding(
            check=CONFIGS,
            outcome=Outcome.FAILED,
            summary=f"{len(faults)} of {len(entries)} config files are faulty",
            reason="; ".join(fault for _, fault in faults),
            entry=faults[0][0],
            hint="package the model again",
        )
    return Finding(
        check=CONFIGS, outcome=Outcome.PASSED, summary=f"well-formed config files: {len(entries)} of {len(entries)}"
    )


@dataclass(frozen=True, slots=True)
class Examination:
    """What one child showed.

    Attributes:
        findings: ``model.load``, ``model.golden`` and ``model.outputs``, as far as it came.
        result: All that was measured, None where the child did not come to its end.
    """

    findings: tuple[Finding, ...]
    result: InferenceResult | None


def check_model(host: Host, path: Path, package: PackageReader, reporter: Reporter) -> tuple[Finding, ...]:
    """Load the package in a child and run its golden requests there, or one generated input without them.

    Never raises for what the package does: that is a finding (``model.load``, ``model.golden``, ``model.outputs``).

    Raises:
        HostError: No child can be started.
    """
    return examine(host, path, package, reporter, Trial()).findings


@dataclass(frozen=True, slots=True)
class Trial:
    """How often each request runs in the child, and how; more than one run is for measuring."""

    repeats: int = 1
    warmup: int = 0
    threads: int = 1
    curve: bool = False
    trial_threads: tuple[int, ...] = ()


def examine(host: Host, path: Path, package: PackageReader, reporter: Reporter, trial: Trial) -> Examination:
    """As check_model, with what was measured on the way."""
    try:
        golden = load_golden_requests(package)
    except (ConfigError, PackageError) as error:
        return Examination((_failed(GOLDEN, "the golden requests cannot be read", error),), None)
    why = ""
    requests: tuple[Tensors, ...] = tuple(request.inputs for request in golden)
    if not golden:
        try:
            requests = (generated_request(package.manifest.signature),)
        except NoRequestError as error:
            why = str(error)
    job = InferenceJob(
        path,
        requests,
        repeats=trial.repeats,
        warmup=trial.warmup,
        threads=trial.threads,
        curve=trial.curve,
        trial_threads=trial.trial_threads,
    )
    with reporter.stage("Load and run the model in a child"):
        try:
            result = host.sandbox.run(job, sandbox_limits(package))
        except (EngineError, IncompatibleError, PackageError) as error:
            ended = _after_crash(host, job, package, error, GOLDEN if golden else OUTPUTS)
            return Examination(ended if golden else (*ended, _NO_GOLDEN), None)
    finite = _finite_outputs(package)
    if golden:
        compared = [_compare(request, result, index) for index, request in enumerate(golden)]
        findings = (_golden_finding(golden, compared), _finite_finding(golden, result, finite))
    else:
        findings = (_NO_GOLDEN, _generated_finding(result, finite) if requests else _skipped_outputs(why))
    return Examination((_loaded(result), *findings), result)


_NO_GOLDEN = Finding(
    check=GOLDEN,
    outcome=Outcome.SKIPPED,
    summary="the package holds no golden requests",
    reason="nothing says which outputs are right",
    hint="put inputs and expected outputs into golden/ of the model directory",
)


def _after_crash(
    host: Host,
    job: InferenceJob,
    package: PackageReader,
    error: EngineError | IncompatibleError | PackageError,
    check: str,
) -> tuple[Finding, ...]:
    """A child that ended early: was it loading that ended it, or running? A second one, that only loads, tells."""
    failed = _failed(LOAD, "the model does not load", error)
    if not isinstance(error, EngineError) or error.code == "engine.load_failed" or not job.requests:
        return (failed,)
    try:
        result = host.sandbox.run(replace(job, requests=()), sandbox_limits(package))
    except (EngineError, IncompatibleError, PackageError):
        return (failed,)
    return (_loaded(result), _failed(check, "the model loads, but running it ended the child", error))


def _failed(check: str, summary: str, error: ConfigError | EngineError | IncompatibleError | PackageError) -> Finding:
    return Finding(
        check=check,
        outcome=Outcome.FAILED,
        summary=summary,
        reason=f"{error.message} [{error.code}]",
        entry=error.entry,
        hint=error.hint,
    )


def _loaded(result: InferenceResult) -> Finding:
    return Finding(
        check=LOAD,
        outcome=Outcome.PASSED,
        summary=f"the model loads in {result.load_ms:.0f} ms",
        measured={"load_ms": round(result.load_ms, 3)},
    )


def _compare(golden: Golden, result: InferenceResult, index: int) -> Comparison:
    outputs = result.outputs[index]
    if outputs is None:
        return Comparison(f"the engine refused the request: {result.errors[index]}", None)
    return compare(golden, outputs)


def _golden_finding(golden: Sequence[Golden], compared: Sequence[Comparison]) -> Finding:
    faults = [f"{request.name}: {c.fault}" for request, c in zip(golden, compared, strict=True) if c.fault is not None]
    errors = [c.largest_error for c in compared if c.largest_error is not None]
    silent = sum(not request.outputs for request in golden)
    measured: dict[str, JsonValue] = {
        "requests": len(golden),
        "wrong": len(faults),
        "without_outputs": silent,
        "largest_error": max(errors) if errors else None,
    }
    if faults:
        return Finding(
            check=GOLDEN,
            outcome=Outcome.FAILED,
            summary=f"golden requests answered wrongly: {len(faults)} of {len(golden)}",
            reason="; ".join(faults[:5]),
            measured=measured,
            hint="the quantized model differs from the recorded one: try --quantize none, or check the tolerances",
        )
    if silent == len(golden):
        return Finding(
            check=GOLDEN,
            outcome=Outcome.SKIPPED,
            summary=f"golden requests that were answered, with nothing to compare: {silent}",
            reason="they name no outputs: nothing says which answers are right",
            measured=measured,
            hint="put the expected outputs beside the inputs in golden/ of the model directory",
        )
    judged = len(golden) - silent
    more = f"; {silent} more name no outputs" if silent else ""
    return Finding(
        check=GOLDEN,
        outcome=Outcome.PASSED,
        summary=f"golden requests answered within tolerance: {judged} of {judged}{more}",
        measured=measured,
    )


def _finite_outputs(package: PackageReader) -> frozenset[str]:
    """Outputs that were finite in the float model; none where the package does not say, or says it wrongly."""
    try:
        record = read_quantization(package)
    except PackageError:  # told by check_configs
        return frozenset()
    return frozenset(() if record is None else record.finite_outputs)


def _finite_finding(golden: Sequence[Golden], result: InferenceResult, expected: frozenset[str]) -> Finding:
    """Outputs may be NaN or infinite only where such ones are expected, or where nothing is known of them.

    Args:
        golden: The requests.
        result: What was answered.
        expected: Outputs that are finite in the float model.
    """
    stray: list[str] = []
    unknown: list[str] = []
    for request, outputs in zip(golden, result.outputs, strict=True):
        for name in _not_finite(outputs or {}):
            if name in request.rule.ignore or not request.has_finite_outputs:
                continue
            certain = bool(request.outputs) or name in expected
            (stray if certain else unknown).append(f"{request.name}: {name!r}")
    if stray:
        return Finding(
            check=OUTPUTS,
            outcome=Outcome.FAILED,
            summary="outputs are NaN or infinite where finite ones are expected",
            reason=", ".join(stray[:5]),
        )
    if unknown:
        return Finding(
            check=OUTPUTS,
            outcome=Outcome.WARNED,
            summary=f"golden requests without outputs are answered with NaN or infinity: {', '.join(unknown[:5])}",
            reason="nothing says that the float model's outputs are finite",
            hint="put the expected outputs beside the inputs in golden/ of the model directory",
        )
    return Finding(check=OUTPUTS, outcome=Outcome.PASSED, summary="outputs are finite where they should be")


def _generated_finding(result: InferenceResult, expected: frozenset[str]) -> Finding:
    """Finite outputs pass; others fail where the float model's were finite, and are worth a look elsewhere."""
    outputs = result.outputs[0]
    if outputs is None:
        return _skipped_outputs(f"the model rejects a generated input: {result.errors[0]}")
    stray = _not_finite(outputs)
    if stray:
        broken = not expected.isdisjoint(stray)
        return Finding(
            check=OUTPUTS,
            outcome=Outcome.FAILED if broken else Outcome.WARNED,
            summary=f"a generated input gives NaN or infinity in {', '.join(map(repr, stray))}",
            reason="the float model's outputs were finite when it was quantized"
            if broken
            else "nothing says that the float model's outputs are finite",
            hint="add golden requests: they say which outputs are right",
        )
    return Finding(check=OUTPUTS, outcome=Outcome.PASSED, summary="a generated input gives finite outputs")


def _skipped_outputs(reason: str) -> Finding:
    return Finding(
        check=OUTPUTS,
        outcome=Outcome.SKIPPED,
        summary="the model was loaded, but not run",
        reason=reason,
        hint="put inputs and expected outputs into golden/ of the model directory",
    )


def _not_finite(outputs: Tensors) -> list[str]:
    return [name for name, value in outputs.items() if not is_finite(value)]
