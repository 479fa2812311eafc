"""What deploy and rollback share: a candidate is checked, the gate decides, the supervisor rolls it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperion.domain.access import what_is_open
from hyperion.domain.command import Deploy, Deployed, DeploymentStatus, Progress, Status, StatusReply, Until
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.digest import short
from hyperion.domain.document import Document
from hyperion.domain.finding import Finding, Report
from hyperion.domain.gate import Decision, decide
from hyperion.domain.rollout_plan import plan_rollout, serves_alike
from hyperion.domain.serving_state import RolloutState
from hyperion.domain.tuning import Curve
from hyperion.errors import ConfigError, Problem
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter
from hyperion.usecases.ask import ask_supervisor, expect_reply
from hyperion.usecases.host_load import claims_now
from hyperion.usecases.trust import judge_signing
from hyperion.verification.override import is_overridable
from hyperion.verification.override import override as let_pass
from hyperion.verification.plan import check_plan


class DeployResult(Document):
    """What came of a deploy or a rollback.

    Where ``allowed`` is false, the gate denied it and nothing changed. Where neither ``dry_run`` nor ``unchanged``
    is true either, the rollout was begun: then just one of ``promoted``, ``aborted``, ``rolled_back`` and ``detached``
    is true.
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
    """The new revision failed its proof, or its gates as a canary; what was active before still is."""
    rolled_back: bool = False
    """The new revision took the traffic, broke its gates, and the supervisor went back from it by itself."""
    detached: bool = False
    """Its rollout goes on by itself; nobody waited for what comes of it."""
    aborted_reason: str | None = None
    """Why it was aborted or gone back from."""
    revision: Revision | None = None
    """The new revision, or the active one where nothing changed; None where none was made."""
    previous: Revision | None
    """What was active before."""
    back_to: Revision | None = None
    """What is active now, where the supervisor went back; None where it did not, or nothing is."""
    url: str | None = None
    """Where the deployment answers, ``http://HOST:PORT`` or ``unix:PATH``; None where that is not known."""
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

    path: Path | None
    """Where the supervisor takes it from; None for the store of this host."""
    digest: str
    model: str
    version: str
    config: DeploymentConfig
    origin: Origin
    reason: str | None
    override: str | None
    """Why what the gate would deny, and may be let pass, is let pass; None where there is no such thing."""
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
        ConfigError: It listens beyond loopback, where anyone could use or overhear it, and is not insecure (code
            ``config.insecure_host``). Whether there is a key at all the supervisor asks.
    """
    serve = config.serve.model_copy(update={"insecure": config.serve.insecure or insecure})
    if lacks := what_is_open(serve, has_key=True):
        fault = f"expected a loopback address, or {' and '.join(lacks)}; found {serve.host!r}"
        raise ConfigError(
            f"serve.host: {fault}",
            problems=[Problem("serve.host", fault)],
            hint="add what is missing, bind 127.0.0.1 behind a proxy that authenticates, or accept the risk with "
            "--insecure",
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
        override: Why a version step that is too small, a time outside the window, or a missing way back may pass; every
            other check stays as it is.
        full: Whether to read also what was proven before and is unchanged since.
    """
    active = active_revision(host, str(config.name))
    rescue = origin is Origin.ROLLBACK
    signing = judge_signing(host, package, str(config.name), rescue=rescue)
    curves: list[Curve] = []
    checklist = check_plan(
        host, path, package, config, active, reporter,
        signing=signing, rescue=rescue, full=full, on_curve=None if rescue else curves.append,
        claims=() if rescue else claims_now(host),
    )  # fmt: skip
    used = override if any(map(is_overridable, checklist.findings)) else None
    findings = let_pass(checklist.findings, used)
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


def roll_out(host: Host, candidate: Candidate, reporter: Reporter, *, until: Until = Until.SHIFTED) -> DeployResult:
    """Have the supervisor, started where none runs, roll the candidate out, and follow it as far as ``until``."""
    if host.control.ping() is None:
        with reporter.stage("Start the supervisor"):
            host.control.ensure_running()
    command = Deploy(
        package_path=None if candidate.path is None else str(candidate.path.absolute()),
        expected_digest=candidate.digest,
        config=candidate.config,
        origin=candidate.origin,
        reason=candidate.reason,
        override=candidate.override,
        actor=host.facts.user(),
        checklist=candidate.checklist,
        until=until,
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
    state = reply.state
    return candidate.result(
        promoted=state in (RolloutState.BAKING, RolloutState.PROMOTED),
        aborted=state is RolloutState.ABORTED,
        rolled_back=state is RolloutState.ROLLED_BACK,
        detached=state is RolloutState.PLANNED,
        aborted_reason=reply.reason,
        revision=reply.revision,
        back_to=active_revision(host, candidate.deployment) if state is RolloutState.ROLLED_BACK else None,
        url=reply.url,
        proof=reply.proof,
        duration_ms=reply.duration_ms,
    )


def plan_steps(host: Host, candidate: Candidate) -> tuple[str, ...]:
    """What ``roll_out`` would do, step by step, for people."""
    name = candidate.deployment
    number = max((revision.number for revision in host.ledger.revisions(name)), default=0) + 1
    subject = f"{candidate.model} {candidate.version} ({short(candidate.digest)})"
    steps = [
        f"take {subject} from the store" if candidate.path is None else f"copy {subject} into the store, verifying it",
        f"record revision {number} of {name}",
        *_moving_steps(candidate, number, _warm_twin(host, candidate)),
    ]
    if host.control.ping() is None:
        steps.insert(0, "start the supervisor")
    return tuple(steps)


def _warm_twin(host: Host, candidate: Candidate) -> Revision | None:
    """The revision whose loaded workers a rollback would take over; None where none is warm, or it is no rollback."""
    if candidate.origin is not Origin.ROLLBACK:
        return None
    reply = ask_supervisor(host, Status(), StatusReply)
    warm = {} if reply is None else {status.deployment.name: status.warm for status in reply.deployments}
    found = warm.get(candidate.deployment)
    if found is None or found.revision.digest != candidate.digest:
        return None
    return found.revision if serves_alike(found.revision.config, candidate.config) else None


def _moving_steps(candidate: Candidate, number: int, warm: Revision | None) -> list[str]:
    """How workers and traffic would move."""
    config, active = candidate.config, candidate.active
    plan = plan_rollout(config, rescue=candidate.origin is Origin.ROLLBACK)
    workers = "1 worker" if plan.crew == 1 else f"{plan.crew} workers"
    threads = "1 thread" if config.threads == 1 else f"{config.threads} threads"
    threads = "as many threads as pay" if config.threads == "auto" else threads
    started = f"start {workers} with {threads} each; load, warm up and prove within"
    shift = f"shift the traffic of {config.serve.place}, to revision {number}"
    steps = [f"{started} {config.startup_timeout_s:g} s", f"{shift} ({config.strategy})"]
    if warm is not None:
        steps = [f"take over the workers of revision {warm.number}, which are warm: nothing is loaded", shift]
    if active is None:
        first = f"{shift}, at once: there is nothing to compare it with"
        return [steps[0], first] if plan.steps else steps
    drained = f"drain revision {active.number} for at most {config.drain_timeout_s:g} s"
    if plan.recreate:
        return [f"{drained} and stop it: from here on requests wait or fail", *steps]
    steps[1:1] = [
        f"forward {100 * step.share:g}% of the requests to revision {number} for {step.bake_s:g} s while the gates hold"
        for step in plan.steps
    ]
    steps.append(f"{drained} and {f'keep it warm for {plan.warm_s:g} s' if plan.warm_s else 'stop it'}")
    if plan.watch_s:
        breach = "go back by itself" if plan.automatic else "alert"
        steps.append(f"watch revision {number} for {plan.watch_s:g} s and {breach} where it breaks its gates")
    return steps


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
