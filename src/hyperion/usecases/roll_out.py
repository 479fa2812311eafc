"""What deploy and rollback share: a candidate is checked, the gate decides, the supervisor rolls it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperion.domain.command import Deploy, Deployed, DeploymentStatus, Progress, Status, StatusReply
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.digest import short
from hyperion.domain.document import Document
from hyperion.domain.finding import Finding, Report
from hyperion.domain.gate import Decision, decide
from hyperion.domain.tuning import Curve
from hyperion.errors import ConfigError, Problem
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter
from hyperion.usecases.ask import ask_supervisor, expect_reply
from hyperion.usecases.trust import judge_signing
from hyperion.verification.plan import check_plan
from hyperion.verification.plan_version import is_denied_step, override_step


class DeployResult(Document):
    """What came of a deploy or a rollback.

    Where ``allowed`` is false, the gate denied it and nothing changed. Where neither ``dry_run`` nor ``unchanged``
    is true either, the rollout was made: then just one of ``promoted`` and ``aborted`` is true.
    """

    deployment: str
    origin: Origin
    model: str
    version: str
    digest: str
    allowed: bool
    dry_run: bool
    unchanged: bool = False
    """The active revision serves this very package with this very config already."""
    promoted: bool = False
    """The new revision takes the traffic."""
    aborted: bool = False
    """The new revision failed its proof; what was active before still is."""
    aborted_reason: str | None = None
    revision: Revision | None = None
    """The new revision, or the active one where nothing changed; None where none was made."""
    previous: Revision | None
    """What was active before."""
    url: str | None = None
    """Where the deployment answers, ``http://host:port``; None where that is not known."""
    checklist: Report
    denied_by: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    proof: tuple[Finding, ...] = ()
    """What the new revision's workers showed before they took traffic."""
    plan: tuple[str, ...] = ()
    """The steps that a dry run would take."""
    duration_ms: int | None = None
    """How long the rollout took; None where there was none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A package and a complete config, checked against this host and against what is active."""

    path: Path
    digest: str
    model: str
    version: str
    config: DeploymentConfig
    origin: Origin
    reason: str | None
    override: str | None
    """Why a version step that is too small is let pass; None where there is nothing to let pass."""
    active: Revision | None
    checklist: Report
    decision: Decision
    curve: Curve | None = None
    """How threads and batches pay here; None where that was not measured."""

    @property
    def deployment(self) -> str:
        return str(self.config.name)

    def result(self, *, dry_run: bool = False, **outcome: Any) -> DeployResult:
        """The result with what is known so far and ``outcome``."""
        return DeployResult(
            deployment=self.deployment,
            origin=self.origin,
            model=self.model,
            version=self.version,
            digest=self.digest,
            allowed=self.decision.allowed,
            dry_run=dry_run,
            previous=self.active,
            checklist=self.checklist,
            denied_by=self.decision.denied_by,
            warnings=self.decision.warnings,
            **outcome,
        )


def complete_config(config: DeploymentConfig, model: str, *, insecure: bool = False) -> DeploymentConfig:
    """The config with its name set and without what only editors read.

    Raises:
        ConfigError: Its host is beyond loopback and it is not insecure (code ``config.insecure_host``).
    """
    serve = config.serve.model_copy(update={"insecure": config.serve.insecure or insecure})
    if not serve.is_loopback and not serve.insecure:
        fault = f"expected a loopback address, since requests are not authenticated yet; found {serve.host!r}"
        raise ConfigError(
            f"serve.host: {fault}",
            problems=[Problem("serve.host", fault)],
            hint="bind 127.0.0.1 behind a proxy that authenticates, or accept the risk with --insecure",
            code="config.insecure_host",
        )
    return config.model_copy(update={"name": config.name or model, "serve": serve, "schema_reference": None})


def check_candidate(
    host: Host,
    path: Path,
    package: PackageReader,
    config: DeploymentConfig,
    reporter: Reporter,
    *,
    origin: Origin,
    reason: str | None = None,
    override: str | None = None,
    full: bool = False,
) -> Candidate:
    """Make the checks of the checklist and let the gate decide; a rollback is judged as a rescue.

    Args:
        host: This host.
        path: Where the package lies; the supervisor will read it from there.
        package: The same, opened.
        config: Complete.
        reporter: Where progress goes.
        origin: What asks for the rollout.
        reason: Why, in the operator's words.
        override: Why a version step that is too small may pass; every other check stays as it is.
        full: Whether to read also what was proven before and is unchanged since.
    """
    active = active_revision(host, str(config.name))
    rescue = origin is Origin.ROLLBACK
    signing = judge_signing(host, package, str(config.name), rescue=rescue)
    curves: list[Curve] = []
    checklist = check_plan(
        host, path, package, config, active, reporter,
        signing=signing, rescue=rescue, full=full, on_curve=None if rescue else curves.append,
    )  # fmt: skip
    used = override if any(is_denied_step(finding) for finding in checklist.findings) else None
    findings = override_step(checklist.findings, used)
    return Candidate(
        path=path,
        digest=package.digest,
        model=package.manifest.name,
        version=package.manifest.version,
        config=config,
        origin=origin,
        reason=reason,
        override=used,
        active=active,
        checklist=checklist.model_copy(update={"findings": findings}),
        decision=decide(findings, rescue=rescue),
        curve=curves[0] if curves else None,
    )


def roll_out(host: Host, candidate: Candidate, reporter: Reporter) -> DeployResult:
    """Have the supervisor, started where none runs, roll the candidate out; follow it to its end."""
    if host.control.ping() is None:
        with reporter.stage("Start the supervisor"):
            host.control.ensure_running()
    command = Deploy(
        package_path=str(candidate.path.absolute()),
        expected_digest=candidate.digest,
        config=candidate.config,
        origin=candidate.origin,
        reason=candidate.reason,
        override=candidate.override,
        actor=host.facts.user(),
        checklist=candidate.checklist,
    )

    def follow(progress: Progress) -> None:
        reporter.info(f"{progress.stage}: {progress.message}")

    try:
        with reporter.stage(f"Roll out {candidate.model} {candidate.version}"):
            reply = expect_reply(host.control.ask(command, follow), Deployed)
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM
        reporter.warn(
            "what the supervisor was told already goes on without this command: "
            f"'hyperion history {candidate.deployment}' shows what became of it"
        )
        raise
    return candidate.result(
        promoted=reply.promoted,
        aborted=not reply.promoted,
        aborted_reason=None if reply.promoted else reply.reason,
        revision=reply.revision,
        url=reply.url,
        proof=reply.proof,
        duration_ms=reply.duration_ms,
    )


def plan_steps(host: Host, candidate: Candidate) -> tuple[str, ...]:
    """What ``roll_out`` would do, step by step, for people."""
    config, active, name = candidate.config, candidate.active, candidate.deployment
    number = max((revision.number for revision in host.ledger.revisions(name)), default=0) + 1
    workers = "1 worker" if config.workers == 1 else f"{config.workers} workers"
    threads = "1 thread" if config.threads == 1 else f"{config.threads} threads"
    threads = "as many threads as pay" if config.threads == "auto" else threads
    port = config.serve.port or "a free port"
    steps = [
        f"copy {candidate.model} {candidate.version} ({short(candidate.digest)}) into the store, verifying it",
        f"record revision {number} of {name}",
        f"start {workers} with {threads} each; load, warm up and prove within {config.startup_timeout_s:g} s",
        f"shift the traffic of {config.serve.host}, port {port}, to revision {number} ({config.strategy})",
    ]
    if host.control.ping() is None:
        steps.insert(0, "start the supervisor")
    if active is not None:
        steps.append(f"drain revision {active.number} for at most {config.drain_timeout_s:g} s and stop it")
    return tuple(steps)


def active_revision(host: Host, deployment: str) -> Revision | None:
    """The active revision of a deployment; None where it has none, or does not exist."""
    for known in host.ledger.deployments():
        if known.name == deployment and known.active_revision is not None:
            return host.ledger.revision(deployment, known.active_revision)
    return None


def serving_status(host: Host, revision: Revision) -> DeploymentStatus | None:
    """The status of the revision's deployment where that serves this very revision now, else None."""
    reply = ask_supervisor(host, Status(), StatusReply)
    if reply is None:
        return None
    for status in reply.deployments:
        if status.deployment.name == revision.deployment and status.serving and status.active == revision:
            return status
    return None


def require_portable_path(path: Path) -> None:
    """Demand that a path can be told to the supervisor.

    Raises:
        ConfigError: Its name is not UTF-8 (code ``config.path_not_utf8``).
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"the path {str(path)!r} is not UTF-8", hint="rename the file", code="config.path_not_utf8"
        ) from error
