"""The checklist's second part: is this host ready? Requirements, dependencies, memory settings, monitoring."""

from __future__ import annotations

from collections.abc import Sequence

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.platform import PlatformProfile
from hyperion.format.package import PackageReader
from hyperion.ports import Host

MIB = 1024**2
PORT_IN_USE = "host.port_in_use"
_SYSTEM = ("compatibility.platform", "compatibility.cpu_features", "compatibility.memory", "compatibility.disk")
_DEPENDENCIES = ("compatibility.engine_version", "compatibility.opsets", "compatibility.operators")


def check_environment(
    package: PackageReader,
    config: DeploymentConfig,
    profile: PlatformProfile,
    requirements: Sequence[Finding],
) -> tuple[Finding, ...]:
    """One finding for each of requirements, dependencies and memory settings.

    Args:
        package: What is to be deployed.
        config: Complete.
        profile: This host, as a profile.
        requirements: Findings of check_compatibility for that profile.
    """
    found = {finding.check: finding for finding in requirements}
    machine = f"{profile.name}, {profile.cores} cores"
    engine = package.manifest.engine
    return (
        _cores(config, profile) or _together("plan.system_requirements", machine, [found[name] for name in _SYSTEM]),
        _together(
            "plan.dependencies",
            f"{engine.name} {profile.engine_version}",
            [found[name] for name in _DEPENDENCIES if name in found],
        ),
        _memory_settings(config, profile),
    )


def _together(check: str, summary: str, findings: Sequence[Finding]) -> Finding:
    """One checklist item from several findings: as bad as the worst of them."""
    for outcome in (Outcome.FAILED, Outcome.WARNED):
        worst = [finding for finding in findings if finding.outcome is outcome]
        if worst:
            reasons = (
                f"{finding.summary}: {finding.reason}" if finding.reason else finding.summary for finding in worst
            )
            return Finding(check=check, outcome=outcome, summary=summary, reason="; ".join(reasons), hint=worst[0].hint)
    return Finding(check=check, outcome=Outcome.PASSED, summary=summary)


def _cores(config: DeploymentConfig, profile: PlatformProfile) -> Finding | None:
    wanted = config.workers * config.fixed_threads
    if profile.cores is None or wanted <= profile.cores:
        return None
    return Finding(
        check="plan.system_requirements",
        outcome=Outcome.WARNED,
        summary=f"{config.workers} workers with {config.fixed_threads} threads each on {profile.cores} cores",
        reason="they will wait for each other",
        measured=wanted,
        limit=profile.cores,
        hint="lower 'workers' or 'threads' in deployment.json",
    )


def _memory_settings(config: DeploymentConfig, profile: PlatformProfile) -> Finding:
    check, budget = "plan.memory_settings", config.memory.budget_mb
    if budget is None:
        return Finding(
            check=check,
            outcome=Outcome.MANUAL,
            summary="no memory budget is set",
            reason="record it as memory.budget_mb in deployment.json",
            entry="memory.budget_mb",
        )
    total = budget * config.workers
    summary = f"{budget} MiB for each of {config.workers} workers"
    if profile.memory_bytes is not None and total * MIB > profile.memory_bytes:
        reason = f"together {total} MiB, more than the {profile.memory_bytes // MIB} MiB of this host"
        return Finding(check=check, outcome=Outcome.WARNED, summary=summary, reason=reason, entry="memory.budget_mb")
    return Finding(check=check, outcome=Outcome.PASSED, summary=summary, entry="memory.budget_mb")


def check_monitoring(host: Host, config: DeploymentConfig, active: Revision | None) -> Finding:
    """Is the port free, or ours, that requests and /metrics come to?

    Args:
        host: This host.
        config: Complete.
        active: What the deployment serves now.
    """
    check, serve = "plan.monitoring", config.serve
    place = f"{serve.host}, port {serve.port or 'chosen when it starts'}"
    own = active is not None and active.config.serve.port == serve.port and host.control.ping() is not None
    if own or serve.port == 0 or host.facts.port_is_free(serve.host, serve.port):
        return Finding(check=check, outcome=Outcome.PASSED, summary=f"/metrics will answer at {place}")
    return Finding(
        check=check,
        outcome=Outcome.FAILED,
        summary=f"{place} cannot be bound",
        reason=f"another process uses it, or it is not ours to bind [{PORT_IN_USE}]",
        entry="serve.port",
        measured=serve.port,
        hint=f"see 'ss -ltnp sport = :{serve.port}', or choose another serve.port in deployment.json (0: a free one)",
    )
