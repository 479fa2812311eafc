"""How deployments look: the outcome of a deploy, status, backups, history, logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hyperion.cli.render import line, number, table, when
from hyperion.cli.render_evidence import show_evidence
from hyperion.cli.render_report import show_findings
from hyperion.cli.text import clean
from hyperion.domain.digest import short

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.command import DeploymentStatus
    from hyperion.domain.deployment import Revision
    from hyperion.domain.finding import Finding, Report
    from hyperion.domain.history import DeploymentHistory
    from hyperion.usecases.deploy import DeployResult, StopResult
    from hyperion.usecases.status import HostMemory, HostStatus

MIB = 2**20


def show_deployed(console: Console, result: DeployResult) -> None:
    """The checklist, what the candidate proved, and the outcome as the last line."""
    line(console, f"checklist of {result.model} {result.version} for deployment {result.deployment}", "bold")
    show_findings(console, result.checklist.findings)
    _show_some(console, "proof of the new workers", result.proof)
    if result.plan:
        line(console, "plan", "bold")
        for position, step in enumerate(result.plan, start=1):
            line(console, f"  {position}. {step}")
    if result.warnings:
        checks = ", ".join(finding.check for finding in result.warnings)
        line(console, f"{'allowed, but' if result.allowed else 'also'} look at: {checks}", "yellow")
    outcome, style = _outcome(result)
    line(console, outcome, style)


def _show_some(console: Console, title: str, findings: Iterable[Finding]) -> None:
    some = tuple(findings)
    if some:
        line(console, title, "bold")
        show_findings(console, some)


def _outcome(result: DeployResult) -> tuple[str, str]:
    """The outcome in one sentence, and its style."""
    before = "nothing was active before" if result.previous is None else f"before: {_revision(result.previous)}"
    if not result.allowed:
        checks = ", ".join(finding.check for finding in result.denied_by)
        return f"denied by {checks}: nothing has changed; {before}", "bold red"
    if result.dry_run:
        return f"dry run: nothing has changed; {before}", "bold"
    if result.unchanged:
        return f"unchanged: {_of(result)} is active already{_at(result)}", "bold green"
    if result.promoted:
        took = "" if result.duration_ms is None else f", in {number(result.duration_ms / 1000)} s"
        return f"active: {_of(result)}{_at(result)}{took}; {before}", "bold green"
    if result.detached:
        shown = f"'hyperion history {result.deployment}' shows what becomes of it"
        return f"begun: {_of(result)}; {shown}; {before}", "bold"
    if result.rolled_back:
        now = "nothing is active now" if result.back_to is None else f"active now: {_revision(result.back_to)}"
        return f"gone back from {_of(result)}: {result.aborted_reason}; {now}", "bold red"
    still = "nothing serves" if result.previous is None else f"{_revision(result.previous)} still serves"
    return f"aborted: {result.aborted_reason}; {still}", "bold red"


def _of(result: DeployResult) -> str:
    return f"{result.model} {result.version}" if result.revision is None else _revision(result.revision)


def _revision(revision: Revision) -> str:
    return f"{revision.model} {revision.version} (revision {revision.number})"


def _at(result: DeployResult) -> str:
    return f" at {result.url}" if result.url else ""


def show_stopped(console: Console, result: StopResult) -> None:
    """Which deployments were stopped."""
    line(console, f"stopped: {', '.join(result.names)}" if result.names else "nothing was serving", "bold")
    if result.supervisor_ends:
        line(console, "the supervisor ends with the last deployment")


def show_status(console: Console, status: HostStatus) -> None:
    """One row a deployment; what is wrong with one below."""
    if not status.deployments:
        line(console, "nothing is deployed on this host")
    else:
        columns = ("deployment", "state", "version", "revision", "workers", "MiB", "requests", "p95 ms", "url")
        rows = [_status_row(item, status) for item in status.deployments]
        table(console, columns, rows, right=("revision", "workers", "MiB", "requests", "p95 ms"))
    for item in status.deployments:
        if item.trouble:
            line(console, f"{item.deployment.name}: {item.trouble}", "yellow")
        if (batching := status.batching.get(item.deployment.name)) is not None:
            for told in (batching.describe(), batching.unsaid(status.tunings.get(item.deployment.name))):
                if told is not None:
                    line(console, f"{item.deployment.name}: {told}", "dim")
        for told in _rollout_lines(item):
            line(console, f"{item.deployment.name}: {told}", "dim")
        for note in item.notes:
            line(console, f"{item.deployment.name}: {note}", "yellow")
        for told, style in _confinement_lines(item):
            line(console, f"{item.deployment.name}: {told}", style)
    if status.deployments:
        _show_host_memory(console, status.memory)
    supervisor = status.supervisor
    told = "no supervisor runs" if supervisor is None else f"supervisor {supervisor.pid}, Hyperion {supervisor.version}"
    line(console, told, "dim")


def _confinement_lines(item: DeploymentStatus) -> Iterator[tuple[str, str]]:
    """What confines the workers, and apart what should and does not."""
    if held := [found.means for found in item.protections if found.in_force]:
        yield f"workers are confined by {', '.join(held)}", "dim"
    for missing in (found for found in item.protections if not found.in_force):
        yield f"workers are NOT confined by {missing.means}: {missing.detail}", "yellow"


def _rollout_lines(item: DeploymentStatus) -> Iterator[str]:
    """What moves, or is watched, or is kept loaded to go back to."""
    rollout, warm = item.rollout, item.warm
    if rollout is not None and rollout.state != "promoted":
        share = "" if rollout.share is None else f" with {100 * rollout.share:g}% of the requests"
        gates = "" if rollout.gates is None else f"; {rollout.gates}"
        reason = "" if rollout.reason is None else f": {rollout.reason}"
        yield f"the rollout of revision {rollout.revision} is {rollout.state.words}{share}{reason}{gates}"
    if warm is not None:
        memory = "" if warm.resident_bytes is None else f", {number(warm.resident_bytes / 2**20)} MiB"
        yield f"{_revision(warm.revision)} is kept warm until {when(warm.until)}{memory}"


def _status_row(item: DeploymentStatus, status: HostStatus) -> tuple[object, ...]:
    figures, active = status.figures.get(item.deployment.name), item.active
    return (
        item.deployment.name,
        _state(item, status),
        None if active is None else f"{active.model} {active.version}",
        None if active is None else active.number,
        None if status.orphans else sum(active is None or worker.revision == active.number for worker in item.workers),
        _memory_of(item),
        None if figures is None else figures.requests,
        None if figures is None else number(figures.latency_p95_ms),
        item.url,
    )


def _state(item: DeploymentStatus, status: HostStatus) -> str:
    """Whether it serves, and what its rollout does; whatever is wrong stands below the table."""
    if status.orphans and item.deployment.desired_revision is not None:
        return "unsupervised, TROUBLE"
    state, rollout = "serving" if item.serving else "not serving", item.rollout
    if rollout is not None and rollout.share is not None:
        state = f"{state}, {100 * rollout.share:g}% to revision {rollout.revision}"
    elif rollout is not None and rollout.state == "baking":
        state = f"{state}, watched"
    elif item.updating:
        state = f"{state}, updating"
    return f"{state}, TROUBLE" if item.trouble and item.deployment.desired_revision is not None else state


def _memory_of(item: DeploymentStatus) -> str | None:
    """What all its workers take, those of other revisions included; None where the host does not say."""
    sizes = [worker.resident_bytes for worker in item.workers]
    known = [size for size in sizes if size is not None]
    return number(sum(known) / MIB) if known and len(known) == len(sizes) else None


def _show_host_memory(console: Console, memory: HostMemory) -> None:
    """What all deployments take of this host, and may take."""
    told = [f"budgets of {memory.claimed_bytes / MIB:.0f} MiB"] if memory.claimed_bytes else []
    if memory.resident_bytes:
        told.append(f"workers take {memory.resident_bytes / MIB:.0f} MiB now")
    if memory.host_bytes is not None:
        told.append(f"this host has {memory.host_bytes / MIB:.0f} MiB")
    if memory.without_budget:
        told.append(f"without a budget: {', '.join(memory.without_budget)}")
    over = memory.host_bytes is not None and memory.claimed_bytes > memory.host_bytes
    line(console, f"memory: {'; '.join(told)}", "bold yellow" if over else "dim")


def show_history(console: Console, history: DeploymentHistory) -> None:
    """Revisions, then the events of the ledger with the evidence of each breach, then the latest reports."""
    from hyperion.cli.render_event import told

    line(console, f"deployment {history.deployment.name}", "bold")
    columns = ("revision", "version", "digest", "state", "by", "from", "until", "who", "reason")
    rows = (
        (
            item.revision.number, item.revision.version, short(item.revision.digest), item.state.value,
            item.revision.origin.value,
            when(item.promoted_at), when(item.active_until), item.revision.actor,
            item.aborted_reason or item.revision.reason or _override(item.revision),
        )
        for item in history.revisions
    )  # fmt: skip
    table(console, columns, rows, right=("revision",))
    line(console, "")
    events = (
        (event.sequence, when(event.at), str(event.kind), event.revision, told(event)) for event in history.events
    )
    table(console, ("event", "at", "what", "revision", "detail"), events, right=("event", "revision"))
    line(console, "")
    show_evidence(console, history.events, breaches_only=True)
    if history.reports:
        reports = (
            (when(report.created_at), report.kind, revision, _version(report), _result(report))
            for report, revision in zip(history.reports, history.report_revisions, strict=True)
        )
        table(console, ("report", "kind", "revision", "version", "result"), reports, right=("revision",))
        line(console, "")
    if history.first_broken is None:
        line(console, f"ledger: whole, {history.ledger.sequence} events", "green")
    else:
        line(
            console,
            f"ledger: BROKEN from event {history.first_broken}; it was changed after it was written",
            "bold red",
        )


def _override(revision: Revision) -> str:
    return "" if revision.override is None else f"overridden: {revision.override}"


def _version(report: Report) -> str:
    return "-" if report.subject is None else report.subject.version


def _result(report: Report) -> str:
    return "ok" if report.ok else "failed: " + ", ".join(finding.check for finding in report.failures())


def log_line(entry: Mapping[str, Any]) -> str:
    """One line of the serving log for people: time, level, who, what, then the rest as key=value."""
    rest = dict(entry)
    head = [str(rest.pop(key)) for key in ("at", "time", "level", "worker", "event", "message") if rest.get(key)]
    return clean(" ".join((*head, *(f"{key}={value}" for key, value in rest.items() if value is not None)))) + "\n"
