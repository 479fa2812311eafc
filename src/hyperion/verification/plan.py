"""The pre-deployment checklist of the guide, item by item, in its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome, Report, Subject
from hyperion.domain.host_load import Claim, claim_of, claims_after, claims_during
from hyperion.domain.metrics import percentile
from hyperion.domain.platform import PlatformProfile
from hyperion.domain.tuning import Curve
from hyperion.errors import ConfigError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.side_by_side import available_cores
from hyperion.ports import Host, InferenceResult, Reporter
from hyperion.verification.budget import BUDGET, check_budget
from hyperion.verification.budget_sample import SAMPLE
from hyperion.verification.compatibility import OPERATORS, check_compatibility, local_profile, quantization_of
from hyperion.verification.integrity import check_integrity
from hyperion.verification.model import LOAD, Trial, check_configs, examine
from hyperion.verification.plan_batching import check_batching
from hyperion.verification.plan_environment import check_environment, check_monitoring
from hyperion.verification.plan_host import CORES, HOST_MEMORY, check_host_load
from hyperion.verification.plan_record import check_records
from hyperion.verification.plan_version import check_version_step

MEMORY = "plan.memory"
MIB = 1024**2
REPEATS, WARMUP = 5, 1


def check_plan(
    host: Host,
    path: Path,
    package: PackageReader,
    config: DeploymentConfig,
    active: Revision | None,
    reporter: Reporter,
    *,
    signing: Finding | None = None,
    rescue: bool = False,
    full: bool = False,
    on_curve: Callable[[Curve], None] | None = None,
    claims: Sequence[Claim] = (),
) -> Report:
    """Model verification, environment preparation, deployment plan.

    Args:
        host: This host.
        path: Where the package lies.
        package: The same, opened.
        config: Complete.
        active: What the deployment serves now, None where nothing.
        reporter: Where progress goes.
        signing: What the trust policy says; where it denies the package, its model is not run.
        rescue: Whether traffic waits for it: then what only measures, and could only warn, is skipped.
        full: Whether to read also what was proven before and is unchanged since.
        on_curve: Told how threads and batches pay here, where that was measured; None does not measure it.
        claims: What the deployments of this host claim of it now, this one's active revision among them.

    Returns:
        A report of kind ``checklist``. Items that only a person can answer are ``manual`` and name the field of
        deployment.json that records the answer.

    Raises:
        HostError: No child can be started.
    """
    integrity = check_integrity(host, path, reporter, recall=not full)
    trusted = () if signing is None else (signing,)
    unfit = any(finding.outcome is Outcome.FAILED for finding in (*integrity, *trusted))
    model = () if unfit else _check_model(host, path, package, config, active, reporter, rescue, on_curve)
    ready = _NOT_COMPARED if rescue else _compare_host(host, package, config, active, model, claims)
    findings = (
        *integrity,
        *trusted,
        *model,
        *ready,
        check_monitoring(host, config, active),
        *check_records(host, config, active, rescue=rescue),
    )
    return Report(
        kind="checklist",
        subject=Subject(
            name=package.manifest.name,
            version=package.manifest.version,
            digest=package.digest,
            source=str(path),
        ),
        created_at=host.clock.now(),
        findings=findings,
    )


def _check_model(
    host: Host,
    path: Path,
    package: PackageReader,
    config: DeploymentConfig,
    active: Revision | None,
    reporter: Reporter,
    rescue: bool,
    on_curve: Callable[[Curve], None] | None,
) -> tuple[Finding, ...]:
    trial = Trial(threads=config.fixed_threads) if rescue else _trial(config, curve=on_curve is not None)
    examined = examine(host, path, package, reporter, trial)
    curve = None if examined.result is None else examined.result.curve
    if on_curve is not None and curve is not None:
        on_curve(curve)
    measured = _NOT_MEASURED if rescue else (_performance(examined.result), _memory(host, config, examined.result))
    batched = () if on_curve is None else (check_batching(config.batching, curve, package.manifest.signature),)
    return (
        check_configs(package),
        check_version_step(host, package, active, rescue=rescue),
        *examined.findings,
        *_budget(host, path, package, reporter, rescue=rescue),
        *batched,
        *measured,
    )


def _budget(host: Host, path: Path, package: PackageReader, reporter: Reporter, *, rescue: bool) -> tuple[Finding, ...]:
    """The accuracy budget on this host; of packages that carry no sample for it there is nothing to say."""
    if rescue and SAMPLE in package.names():
        return (_not_awaited(BUDGET, "the accuracy budget is not checked"),)
    finding = check_budget(host, path, package, reporter).finding
    return () if finding is None else (finding,)


def _trial(config: DeploymentConfig, *, curve: bool) -> Trial:
    """What to run and to measure; other numbers of threads only where the config leaves that open."""
    cores = available_cores()
    others = [2**power for power in range(1, cores.bit_length()) if 2**power <= cores]
    tried = tuple(others) if config.threads == "auto" else ()
    return Trial(REPEATS, WARMUP, config.fixed_threads, curve=curve, trial_threads=tried)


def _not_awaited(check: str, summary: str) -> Finding:
    return Finding(check=check, outcome=Outcome.SKIPPED, summary=summary, reason="a rescue does not wait for it")


_NOT_MEASURED = (
    _not_awaited("plan.performance", "speed is not measured"),
    _not_awaited(MEMORY, "memory is not measured"),
)
_NOT_COMPARED = (
    _not_awaited("plan.system_requirements", "this machine is not compared with what the package needs"),
    _not_awaited("plan.dependencies", "the engine is not compared with what the package needs"),
    _not_awaited("plan.memory_settings", "the memory budget is not compared with this machine"),
    _not_awaited(HOST_MEMORY, "what all deployments may take is not compared with this machine"),
    _not_awaited(CORES, "the threads of all deployments are not compared with this machine"),
)
"""Comparing loads the engine into this process too; that the model loads and answers in the child says more."""


def _compare_host(
    host: Host,
    package: PackageReader,
    config: DeploymentConfig,
    active: Revision | None,
    model: Sequence[Finding],
    claims: Sequence[Claim],
) -> tuple[Finding, ...]:
    """What the package, and all deployments together, need of this host."""
    profile = local_profile(host)
    loads = any(finding.check == LOAD and finding.outcome is Outcome.PASSED for finding in model)
    peaks = [finding.measured for finding in model if finding.check == MEMORY and isinstance(finding.measured, int)]
    during = after = claims
    if active is None or (active.digest, active.config) != (package.digest, config):
        candidate = claim_of(config, "the new revision", measured_bytes=next(iter(peaks), None))
        during = claims_during(claims, candidate, recreate=config.strategy == "recreate")
        after = claims_after(claims, candidate)
    return (
        *check_environment(package, config, profile, _requirements(package, profile, loads=loads)),
        *check_host_load(during, after, profile.memory_bytes, profile.cores),
    )


def _performance(result: InferenceResult | None) -> Finding:
    check = "plan.performance"
    if result is None or not result.latencies_ms:
        return Finding(
            check=check, outcome=Outcome.SKIPPED, summary="speed is unknown", reason="no request ran in the child"
        )
    p50, p95 = percentile(result.latencies_ms, 0.5), percentile(result.latencies_ms, 0.95)
    return Finding(
        check=check,
        outcome=Outcome.PASSED,
        summary=f"a request takes {p50:.2f} ms (median), {p95:.2f} ms (p95) in a child",
        measured={"p50_ms": p50, "p95_ms": p95, "runs": len(result.latencies_ms)},
    )


def _memory(host: Host, config: DeploymentConfig, result: InferenceResult | None) -> Finding:
    check = MEMORY
    if result is None:
        return Finding(
            check=check,
            outcome=Outcome.SKIPPED,
            summary="memory is unknown",
            reason="the child did not come to its end",
        )
    peak, budget, available = result.memory.peak, config.memory.budget_mb, host.facts.memory_available_bytes()
    summary = f"a process that runs the model takes {peak / MIB:.0f} MiB at its peak"
    limit = available if budget is None else min(available, budget * MIB)
    reason = None
    if budget is not None and peak > budget * MIB:
        reason = f"memory.budget_mb is {budget}"
    elif peak > available:
        reason = f"only {available / MIB:.0f} MiB are available on this host"
    return Finding(
        check=check,
        outcome=Outcome.PASSED if reason is None else Outcome.FAILED,
        summary=summary,
        reason=reason,
        measured=peak,
        limit=limit,
        hint=None if reason is None else "raise the budget, free memory, or quantize the model further",
    )


def _requirements(package: PackageReader, profile: PlatformProfile, *, loads: bool) -> Sequence[Finding]:
    """What the package needs of this host; that it loads here proves more of the engine than any list of operators."""
    try:
        quantization = quantization_of(package)
    except (ConfigError, PackageError):
        quantization = None  # told by integrity and by model.configs
    findings = check_compatibility(package.manifest, quantization, profile)
    return [finding for finding in findings if not loads or finding.check != OPERATORS]
