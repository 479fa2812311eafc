"""What happened to a deployment: its revisions, its events, and what its processes wrote."""

from __future__ import annotations

import json
from typing import Any

from hyperion.domain.deployment import find_deployment
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Report
from hyperion.domain.history import CHECKLIST, DeploymentHistory, RevisionRecord, revision_of, trace_revisions
from hyperion.domain.live import LiveHistory, LiveRevision, Period, live_in, outages_in
from hyperion.errors import ConfigError
from hyperion.ports import Host
from hyperion.usecases.moment import parse_moment

SHOWN_REPORTS = 20
"""How many of the latest reports a history holds; all of them lie under reports/ in the state folder."""


def read_history(host: Host, name: str) -> DeploymentHistory:
    """The deployment's revisions with what became of each, and its events; no supervisor is needed.

    Raises:
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    deployment = find_deployment(host.ledger.deployments(), name)
    events = host.ledger.events(deployment.name)
    reports = host.reports.recent(deployment.name, limit=SHOWN_REPORTS)
    return DeploymentHistory(
        deployment=deployment,
        revisions=trace_revisions(host.ledger.revisions(deployment.name), events),
        events=events,
        reports=reports,
        report_revisions=tuple(revision_of(report, events) for report in reports),
        ledger=host.ledger.head(),
        first_broken=host.ledger.first_broken(),
    )


def read_revision(host: Host, name: str, number: int) -> RevisionRecord:
    """One revision: what became of it, the checklist that was filled in for it, and its events.

    Raises:
        NotFoundError: There is no such deployment (code ``deployment.not_found``) or revision (``revision.not_found``).
    """
    deployment = find_deployment(host.ledger.deployments(), name).name
    revision = host.ledger.revision(deployment, number)
    events = host.ledger.events(deployment)
    (history,) = trace_revisions((revision,), events)
    own = tuple(event for event in events if event.revision == number)
    filled = next((event.data.get(CHECKLIST) for event in own if event.kind is EventKind.ROLLOUT_STARTED), None)
    checklist = None if filled is None else Report.model_validate_json(json.dumps(filled))
    return RevisionRecord(history=history, checklist=checklist, events=own)


def read_live(host: Host, time: str, name: str | None = None) -> LiveHistory:
    """What was live at a time, in one deployment or in all, by the ledger alone.

    Args:
        host: This host.
        time: As ``usecases.moment.parse_moment`` has it.
        name: The deployment; ``current_model`` also stands for the only one. None for all.

    Raises:
        ConfigError: The time is none, or has not come yet (code ``history.time``).
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    period = parse_moment(time)
    if period.start > host.clock.now():
        raise ConfigError(
            f"--at {time!r}: that time has not come yet",
            hint="'hyperion status' shows what is live",
            code="history.time",
        )
    deployments = host.ledger.deployments()
    chosen = deployments if name is None else (find_deployment(deployments, name),)
    supervisor = (EventKind.SUPERVISOR_STARTED, EventKind.SUPERVISOR_STOPPED)
    return LiveHistory(
        start=period.start,
        end=period.end,
        deployments={deployment.name: _live(host, period, deployment.name) for deployment in chosen},
        outages=outages_in(period, host.ledger.events(kinds=supervisor)),
    )


def _live(host: Host, period: Period, name: str) -> tuple[LiveRevision, ...]:
    revisions = {revision.number: revision for revision in host.ledger.revisions(name)}
    return live_in(period, host.ledger.events(name), revisions)


def read_logs(host: Host, name: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
    """Lines that the deployment's workers and the supervisor wrote after ``cursor``, and the cursor to go on from.

    Raises:
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    return host.log.read(find_deployment(host.ledger.deployments(), name).name, cursor)
