"""What is deployed on this host, and how it is, now."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.command import DeploymentStatus, Pong, Stats, StatsReply, Status, StatusReply
from hyperion.domain.deployment import Deployment
from hyperion.domain.document import Document
from hyperion.domain.tuning import Tuning
from hyperion.errors import NotFoundError
from hyperion.ports import Host
from hyperion.usecases.ask import ask_supervisor
from hyperion.usecases.tune import read_tuning


class DeploymentFigures(Document):
    """What a deployment did since its counters began."""

    requests: int
    latency_p95_ms: float | None
    """None before the first request."""


class HostStatus(Document):
    """All deployments of this host."""

    supervisor: Pong | None
    """None where no supervisor runs; then nothing serves, and ``deployments`` says what the ledger wants."""
    deployments: tuple[DeploymentStatus, ...]
    figures: dict[str, DeploymentFigures] = {}
    """By deployment; only of those that serve."""
    tunings: dict[str, Tuning] = {}
    """How threads and batches pay here for the active package, by deployment; only where that was measured."""


def read_status(host: Host) -> HostStatus:
    """The state of all deployments, from the supervisor or, where none runs, from the ledger alone."""
    pong = host.control.ping()
    reply = None if pong is None else ask_supervisor(host, Status(), StatusReply)
    if reply is not None:
        serving = (item.deployment.name for item in reply.deployments if item.serving)
        figures = {name: found for name in serving if (found := _figures(host, name)) is not None}
        tunings = _tunings(host, reply.deployments)
        return HostStatus(supervisor=pong, deployments=reply.deployments, figures=figures, tunings=tunings)
    recorded = tuple(_recorded_status(host, deployment) for deployment in host.ledger.deployments())
    return HostStatus(supervisor=None, deployments=recorded, tunings=_tunings(host, recorded))


def _tunings(host: Host, deployments: Iterable[DeploymentStatus]) -> dict[str, Tuning]:
    active = {item.deployment.name: item.active.digest for item in deployments if item.active is not None}
    return {name: found for name, digest in active.items() if (found := read_tuning(host, digest)) is not None}


def _figures(host: Host, name: str) -> DeploymentFigures | None:
    """The deployment's figures; None where it was stopped, or the supervisor ended, since we asked."""
    try:
        reply = ask_supervisor(host, Stats(name=name), StatsReply)
    except NotFoundError:
        return None
    if reply is None:
        return None
    figures = reply.figures
    return DeploymentFigures(requests=figures.requests, latency_p95_ms=figures.latency.quantile_ms(0.95))


def _recorded_status(host: Host, deployment: Deployment) -> DeploymentStatus:
    number = deployment.active_revision
    stopped = deployment.desired_revision is None
    return DeploymentStatus(
        deployment=deployment,
        active=None if number is None else host.ledger.revision(deployment.name, number),
        serving=False,
        updating=False,
        url=None,
        workers=(),
        trouble="stopped" if stopped else "no supervisor runs; start one with 'hyperion serve'",
    )
