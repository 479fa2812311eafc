"""The checklist's second part: is this host ready? Requirements, dependencies, memory settings, monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from hyperion.domain.config import DeploymentConfig, Serve, host_and_port
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
    limit = config.memory.limit_mb
    if limit is not None and limit < budget:
        return Finding(
            check=check,
            outcome=Outcome.WARNED,
            summary=f"a worker may have {budget} MiB after warm-up, and is killed past {limit} MiB",
            reason="memory.limit_mb is below memory.budget_mb: a worker within its budget ends without a word",
            measured=limit,
            limit=budget,
            entry="memory.limit_mb",
            hint="set memory.limit_mb above memory.budget_mb: requests take memory, too",
        )
    summary = f"{budget} MiB for each of {config.workers} workers"
    return Finding(check=check, outcome=Outcome.PASSED, summary=summary, entry="memory.budget_mb")


def check_monitoring(host: Host, config: DeploymentConfig, active: Revision | None) -> Finding:
    """Is the place free, or ours, or opened for us by a service manager, that requests and /metrics come to?

    Args:
        host: This host.
        config: Complete.
        active: What the deployment serves now.
    """
    check, serve = "plan.monitoring", config.serve
    is_same = active is not None and active.config.serve.address == serve.address
    supervisor = host.control.ping()
    serves = supervisor is not None or host.control.has_orphans()
    own = is_same and serves
    handed = supervisor is not None and (serve.socket or host_and_port(serve.host, serve.port)) in supervisor.opened
    fault = None if own or handed else _place_fault(host, serve)
    if fault is None:
        return Finding(check=check, outcome=Outcome.PASSED, summary=f"/metrics will answer at {serve.place}")
    if serves and (holder := _holder(host, serve)) is not None:
        return _held(serve, holder, config)
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


def _holder(host: Host, serve: Serve) -> Revision | None:
    """The active revision of this host that listens there, perhaps at another address of the same port."""
    for deployment in host.ledger.deployments():
        if deployment.active_revision is not None:
            revision = host.ledger.revision(deployment.name, deployment.active_revision)
            if _overlap(serve, revision.config.serve):
                return revision
    return None


def _overlap(one: Serve, other: Serve) -> bool:
    """Whether not both can listen, as with one port of all addresses and of one of them."""
    if one.socket is not None or other.socket is not None:
        return one.socket == other.socket
    if one.port != other.port:
        return False
    is_everywhere = _is_everywhere(one.host) or _is_everywhere(other.host)
    return is_everywhere or one.host == other.host or (one.is_loopback and other.is_loopback)


def _is_everywhere(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def _held(serve: Serve, holder: Revision, config: DeploymentConfig) -> Finding:
    """That a deployment of this host listens there: nobody needs to look for a process, least of all to end it."""
    key = "serve.socket" if serve.socket is not None else "serve.port"
    name = holder.deployment
    other = f"choose another {key} in deployment.json, or stop it first with 'hyperion stop {name}'"
    return Finding(
        check="plan.monitoring",
        outcome=Outcome.FAILED,
        summary=f"{serve.place} cannot be bound",
        reason=f"revision {holder.number} of {name} listens at {holder.config.serve.place} [{PORT_IN_USE}]",
        entry=key,
        measured=serve.socket or serve.port,
        hint=f"{other}, since the new workers start beside the old ones" if name == config.name else other,
    )


def _place_fault(host: Host, serve: Serve) -> str | None:
    """Why nobody could listen there; None where one could."""
    if serve.socket is not None:
        return host.facts.socket_fault(Path(serve.socket))
    if serve.port == 0 or host.facts.port_is_free(serve.host, serve.port):
        return None
    return f"another process uses it, or it is not ours to bind [{PORT_IN_USE}]"
