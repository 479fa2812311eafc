"""Go back to what a backup holds, or to what this host served before, and say why."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from hyperion.domain.deployment import Origin, Revision, find_deployment
from hyperion.domain.digest import short
from hyperion.domain.gate import decide
from hyperion.domain.history import trace_revisions
from hyperion.domain.rollback import find_target
from hyperion.errors import ConfigError, DigestMismatchError, HostError, Problem
from hyperion.ports import Host, Reporter
from hyperion.usecases.backup_folder import OpenedBackup, open_backup
from hyperion.usecases.roll_out import (
    Candidate,
    DeployResult,
    active_revision,
    check_candidate,
    complete_config,
    plan_steps,
    require_portable_path,
    roll_out,
)
from hyperion.usecases.trust import judge_signing
from hyperion.verification.rescue import check_rescue

__all__ = ["DeployResult", "rollback_model", "rollback_to"]

MAX_REASON_CHARACTERS = 4096


def rollback_model(host: Host, backup: Path, reason: str, reporter: Reporter, *, dry_run: bool = False) -> DeployResult:
    """Make a new revision of a backup's package and config, for the deployment that the backup names.

    Only integrity, loading, wrong golden answers and the trust policy deny it; all else warns. The policy lets what the
    deployment served before come back. It works on a stopped deployment too.

    Args:
        host: This host.
        backup: A folder that ``backup model`` wrote.
        reason: Why, in the operator's words; kept as it is.
        reporter: Where progress goes.
        dry_run: Make the checks and say what would be done; change nothing, start nothing.

    Raises:
        ConfigError: The reason is blank (code ``rollback.reason_required``), too long or no text.
        NotFoundError: There is no backup (code ``backup.not_found``).
        PackageError: Its package is broken, or another one than backup.json says (``backup.digest_mismatch``).
        ConflictError: Another rollout of this deployment runs.
        HostError: The supervisor does not come up, or goes away.
    """
    require_reason(reason)
    require_portable_path(backup)
    candidate = _check_backup(host, open_backup(backup), reason, reporter)
    return _go_back(host, candidate, reporter, dry_run=dry_run)


def rollback_to(
    host: Host, name: str, target: str, reason: str, reporter: Reporter, *, dry_run: bool = False
) -> DeployResult:
    """Make a new revision of the package and config of an earlier one, out of this host's store, without a backup.

    Only damage in the store and the trust policy deny it beforehand; that it loads and answers its golden requests, its
    workers show before they take traffic, or have shown where they are still warm.

    Args:
        host: This host.
        name: The deployment; ``current_model`` also stands for the only one.
        target: A revision, a version or a digest (``domain.rollback.find_target``).
        reason: Why, in the operator's words; kept as it is.
        reporter: Where progress goes.
        dry_run: Make the checks and say what would be done; change nothing, start nothing.

    Raises:
        ConfigError: The reason is none, or the target is nothing that names a revision (code ``rollback.target``).
        NotFoundError: There is no such deployment or target, or the store lost it (code ``store.package_not_found``).
        ConflictError: The target is ambiguous (code ``rollback.ambiguous``), or another rollout runs.
        PackageError: The store's copy is damaged.
        HostError: The same, or the supervisor does not come up, or goes away.
    """
    require_reason(reason)
    deployment = find_deployment(host.ledger.deployments(), name).name
    revisions = host.ledger.revisions(deployment)
    histories = trace_revisions(revisions, host.ledger.events(deployment))
    goal = find_target(target, histories, deployment)
    reporter.info(f"target: revision {goal.number}, {goal.model} {goal.version} ({short(goal.digest)})")
    return _go_back(host, _check_stored(host, goal, reason, reporter), reporter, dry_run=dry_run)


def require_reason(reason: str) -> None:
    """Demand words that say why.

    Raises:
        ConfigError: There are none (code ``rollback.reason_required``), too many of them
            (``rollback.reason_too_long``), or they are not UTF-8 (``rollback.reason_not_utf8``).
    """
    if not any(unicodedata.category(character)[0] not in "CZ" for character in reason):
        raise _reason_error("required", "expected some words that say why, found none", 'write --reason "…"')
    if len(reason) > MAX_REASON_CHARACTERS:
        fault = f"expected at most {MAX_REASON_CHARACTERS} characters, found {len(reason)}"
        raise _reason_error("too_long", fault, "write a summary and where the rest is to be found")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        fault = f"expected UTF-8, found a byte that is none after {error.start} characters"
        raise _reason_error("not_utf8", fault, "check the terminal's character set") from error


def _reason_error(code: str, fault: str, hint: str) -> ConfigError:
    return ConfigError(
        f"reason: {fault}", problems=[Problem("reason", fault)], hint=hint, code=f"rollback.reason_{code}"
    )


def _check_backup(host: Host, opened: OpenedBackup, reason: str, reporter: Reporter) -> Candidate:
    backup = opened.backup
    with host.packages.open(opened.package_path) as package:
        if package.digest != backup.digest:
            raise DigestMismatchError(
                f"{opened.package_path} is another package than backup.json says: expected {backup.digest}, "
                f"found {package.digest}",
                hint="the backup was changed; choose another one",
                code="backup.digest_mismatch",
                expected=backup.digest,
                actual=package.digest,
            )
        config = opened.config.model_copy(update={"name": backup.deployment})
        config = complete_config(config, backup.model)
        return check_candidate(
            host, opened.package_path, package, config, reporter, origin=Origin.ROLLBACK, reason=reason
        )


def _check_stored(host: Host, goal: Revision, reason: str, reporter: Reporter) -> Candidate:
    active = active_revision(host, goal.deployment)
    with host.store.open(goal.digest) as package:
        signing = judge_signing(host, package, goal.deployment, rescue=True)
        checklist = check_rescue(host, package, goal.config, active, reporter, signing)
    return Candidate(
        path=None,
        digest=goal.digest,
        model=goal.model,
        version=goal.version,
        config=goal.config,
        origin=Origin.ROLLBACK,
        reason=reason,
        override=None,
        active=active,
        checklist=checklist,
        decision=decide(checklist.findings, rescue=True),
    )


def _go_back(host: Host, candidate: Candidate, reporter: Reporter, *, dry_run: bool) -> DeployResult:
    if not dry_run:
        _keep_report(host, candidate, reporter)
    if not candidate.decision.allowed:
        return candidate.result(dry_run=dry_run)
    if candidate.active is not None and candidate.active.digest == candidate.digest:
        reporter.warn(f"revision {candidate.active.number} serves this very package; it is proven and started anew")
    if dry_run:
        return candidate.result(dry_run=True, plan=plan_steps(host, candidate))
    return roll_out(host, candidate, reporter)


def _keep_report(host: Host, candidate: Candidate, reporter: Reporter) -> None:
    """A rescue is not refused for want of a file that it does not need, as on a full disk."""
    try:
        host.reports.save(candidate.deployment, candidate.checklist)
    except HostError as error:
        reporter.warn(f"the report of the checks could not be kept: {error.message}")
