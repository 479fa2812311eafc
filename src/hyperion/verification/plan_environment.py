"""The checklist's second part: is this host ready? Requirements, dependencies, memory settings, monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperion.domain.config import DeploymentConfig, Serve
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.platform import PlatformProfile
from hyperion.format.package import PackageReader
from hyperion.ports import Host

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
        _together("plan.system_requirements", machine, [found[name] for name in _SYSTEM]),
        _together(
            "plan.dependencies",
            f"{engine.name} {profile.engine_version}",
            [found[name] for name in _DEPENDENCIES if name in found],
        ),
        _memory_settings(config),
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


def _memory_settings(config: DeploymentConfig) -> Finding:
    check, budget = "plan.memory_settings", config.memory.budget_mb
    if budget is None:
        return Finding(
            check=check,
            outcome=Outcome.MANUAL,
            summary="no memory budget is set",
            reason="record it as memory.budget_mb in deployment.json",
            entry="memory.budget_mb",
        )
    summary = f"{budget} MiB for each of {config.workers} workers"
    return Finding(check=check, outcome=Outcome.PASSED, summary=summary, entry="memory.budget_mb")


def check_monitoring(host: Host, config: DeploymentConfig, active: Revision | None) -> Finding:
    """Is the place free, or ours, that requests and /metrics come to?

    Args:
        host: This host.
        config: Complete.
        active: What the deployment serves now.
    """
    check, serve = "plan.monitoring", config.serve
    is_same = active is not None and active.config.serve.address == serve.address
    own = is_same and (host.control.ping() is not None or host.control.has_orphans())
    fault = None if own else _place_fault(host, serve)
    if fault is None:
        return Finding(check=check, outcome=Outcome.PASSED, summary=f"/metrics will answer at {serve.place}")
    is_socket = serve.socket is not None
    finder = f"ss -lxp src {serve.socket}" if is_socket else f"ss -ltnp sport = :{serve.port}"
    another = "another serve.socket" if is_socket else "another serve.port in deployment.json (0: a free one)"
    return Finding(
        check=check,
        outcome=Outcome.FAILED,
        summary=f"{serve.place} cannot be bound",
        reason=fault,
        entry="serve.socket" if is_socket else "serve.port",
        measured=serve.socket or serve.port,
        hint=f"see '{finder}', or choose {another}",
    )


def _place_fault(host: Host, serve: Serve) -> str | None:
    """Why nobody could listen there; None where one could."""
    if serve.socket is not None:
        return host.facts.socket_fault(Path(serve.socket))
    if serve.port == 0 or host.facts.port_is_free(serve.host, serve.port):
        return None
    return f"another process uses it, or it is not ours to bind [{PORT_IN_USE}]"
