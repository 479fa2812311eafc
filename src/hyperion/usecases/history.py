"""What happened to a deployment: its revisions, its events, and what its processes wrote."""

from __future__ import annotations

from typing import Any

from hyperion.domain.deployment import find_deployment
from hyperion.domain.history import DeploymentHistory, trace_revisions
from hyperion.ports import Host

SHOWN_REPORTS = 20
"""How many of the latest reports a history holds; all of them lie under reports/ in the state folder."""


def read_history(host: Host, name: str) -> DeploymentHistory:
    """The deployment's revisions with what became of each, and its events; no supervisor is needed.

    Raises:
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    deployment = find_deployment(host.ledger.deployments(), name)
    events = host.ledger.events(deployment.name)
    return DeploymentHistory(
        deployment=deployment,
        revisions=trace_revisions(host.ledger.revisions(deployment.name), events),
        events=events,
        reports=host.reports.recent(deployment.name, limit=SHOWN_REPORTS),
        ledger=host.ledger.head(),
        first_broken=host.ledger.first_broken(),
    )


def read_logs(host: Host, name: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
    """Lines that the deployment's workers and the supervisor wrote after ``cursor``, and the cursor to go on from.

    Raises:
        NotFoundError: There is no deployment of that name (code ``deployment.not_found``).
    """
    return host.log.read(find_deployment(host.ledger.deployments(), name).name, cursor)
