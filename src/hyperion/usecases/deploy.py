"""Bring a package into service, and take deployments out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hyperion.domain.command import Stop, Stopped, Until
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision, find_deployment
from hyperion.domain.document import Document
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConfigError, ConflictError, HyperionError
from hyperion.ports import Host, Reporter
from hyperion.usecases.ask import ask_supervisor
from hyperion.usecases.image import ensure_image
from hyperion.usecases.roll_out import (
    Candidate,
    DeployResult,
    check_candidate,
    complete_config,
    plan_steps,
    require_portable_path,
    roll_out,
    serving_status,
)
from hyperion.usecases.rollback import require_reason
from hyperion.usecases.tune import describe_sample, keep_tuning
from hyperion.verification.override import is_overridable

__all__ = ["DeployResult", "StopResult", "deploy_model", "stop_deployments"]


class StopResult(Document):
    """What was stopped."""

    names: tuple[str, ...]
    """The deployments that were stopped now; those that were stopped before are not among them."""
    supervisor_ends: bool
    """Whether the supervisor ends, since nothing is left to serve."""


def deploy_model(
    host: Host,
    path: Path,
    config: DeploymentConfig,
    reporter: Reporter,
    *,
    dry_run: bool = False,
    insecure: bool = False,
    override: str | None = None,
    full: bool = False,
    until: Until = Until.SHIFTED,
) -> DeployResult:
    """Bring the package at ``path`` into service.

    A denied gate and an aborted rollout are results: what was active before still serves.

    Args:
        host: This host.
        path: Package file, directory or backup folder.
        config: As the user wrote it; its name defaults to the package's.
        reporter: Where progress goes.
        dry_run: Make the checks and say what would be done; change nothing, start nothing.
        insecure: Allow a host beyond loopback, as ``serve.insecure`` does.
        override: Why it may go on though its version is too small a step for what clients will feel, the time is
            outside the deployment window, or there is no way back; kept in the ledger. It overrides no other check.
        full: Whether to read also what was proven before and is unchanged since.
        until: How far to follow the rollout.

    Raises:
        ConfigError: The host is beyond loopback without ``insecure`` (code ``config.insecure_host``), or ``override``
            gives no reason (``deploy.override_reason``).
        NotFoundError: There is no package.
        PackageError: It is broken.
        ConflictError: Another rollout of this deployment runs.
        HostError: The supervisor does not come up, or goes away.
    """
    require_portable_path(path)
    _require_override_reason(override)
    with host.packages.open(path) as package:
        complete = complete_config(config, package.manifest.name, insecure=insecure)
        candidate = check_candidate(
            host, path, package, complete, reporter, origin=Origin.DEPLOY, override=override, full=full
        )
        signing, measured_on = package.signing, describe_sample(package)
    if override is not None and candidate.override is None:
        reporter.warn("--override was not needed: nothing that it lets pass would be denied")
    if not dry_run:
        host.reports.save(candidate.deployment, candidate.checklist)
    if not all(map(is_overridable, candidate.decision.denied_by)):
        return candidate.result(dry_run=dry_run)
    unchanged = _unchanged(host, candidate, signing, dry_run=dry_run)
    if unchanged is not None:  # at any time: what people agreed on is about changes
        return unchanged
    if not candidate.decision.allowed:
        return candidate.result(dry_run=dry_run)
    if dry_run:
        return candidate.result(dry_run=True, plan=plan_steps(host, candidate))
    if candidate.curve is not None:
        keep_tuning(host, candidate.digest, candidate.curve, measured_on, reporter)
    ensure_image(host, path, complete, reporter)
    return roll_out(host, candidate, reporter, until=until)


def _require_override_reason(override: str | None) -> None:
    if override is None:
        return
    try:
        require_reason(override)
    except ConfigError as error:
        raise ConfigError(
            f"--override: {error.message}",
            problems=error.problems,
            hint='write --override "…": why it cannot wait, or may surprise',
            code="deploy.override_reason",
        ) from error


def _unchanged(host: Host, candidate: Candidate, signing: bytes | None, *, dry_run: bool) -> DeployResult | None:
    """The result where the active revision is what the candidate would become, and serves; else None."""
    active = candidate.active
    if active is None or (active.digest, active.config) != (candidate.digest, candidate.config):
        return None
    if signing is not None and signing != _stored_signing(host, active.digest):
        return None  # only a rollout takes it into the store, where backups come from
    status = serving_status(host, active)
    if status is None:
        return None
    if status.updating:  # "unchanged" would be believed, and the other revision be promoted a minute later
        raise _leaves_soon(active)
    let_be = replace(candidate, decision=candidate.decision.only_warning())
    return let_be.result(dry_run=dry_run, unchanged=True, revision=active, url=status.url)


def _leaves_soon(active: Revision) -> ConflictError:
    name = active.deployment
    return ConflictError(
        f"revision {active.number} of {name!r} serves this package, and a rollout that takes its place is in progress",
        hint=f"'hyperion rollback model --to {active.number} --name {name} --reason …' ends it, or wait",
        code="rollout.in_progress",
    )


def _stored_signing(host: Host, digest: str) -> bytes | None:
    """What the store keeps of a package's signing; None where it has none, or lost the package."""
    try:
        with host.store.open(digest) as stored:
            return stored.signing
    except HyperionError:
        return None


def stop_deployments(host: Host, name: str | None) -> StopResult:
    """Drain and stop one deployment, or all where ``name`` is None; their history stays.

    Raises:
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    if name is not None:
        known = find_deployment(host.ledger.deployments(), name)
        if known.desired_revision is None:
            return StopResult(names=(), supervisor_ends=False)
        name = known.name
    if host.control.ping() is None and host.control.has_orphans():
        host.control.ensure_running()  # it adopts them, and can end them
    reply = ask_supervisor(host, Stop(name=name, actor=host.facts.user()), Stopped)
    if reply is None:
        return StopResult(names=_mark_stopped(host, name), supervisor_ends=False)
    return StopResult(names=reply.names, supervisor_ends=reply.supervisor_ends)


def _mark_stopped(host: Host, name: str | None) -> tuple[str, ...]:
    """Stop in the ledger what no supervisor serves, so that the next one does not start it."""
    running = [
        deployment.name
        for deployment in host.ledger.deployments()
        if name in (None, deployment.name) and deployment.desired_revision is not None
    ]
    for stopped in running:
        draft = EventDraft(kind=EventKind.DEPLOYMENT_STOPPED, deployment=stopped, actor=host.facts.user())
        host.ledger.stop(stopped, draft)
    return tuple(running)
