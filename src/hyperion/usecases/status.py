"""What is deployed on this host, and how it is, now."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.command import DeploymentStatus, Pong, Stats, StatsReply, Status, StatusReply
from hyperion.domain.deployment import Deployment
from hyperion.domain.document import Document
from hyperion.domain.host_load import memory_of, without_budget
from hyperion.domain.tensor import Signature
from hyperion.domain.tuning import BatchingPlan, Tuning, plan_batching
from hyperion.errors import HyperionError, NotFoundError
from hyperion.ports import Host
from hyperion.usecases.ask import ask_supervisor
from hyperion.usecases.host_load import claims_of
from hyperion.usecases.tune import read_tuning


class DeploymentFigures(Document):
    """What a deployment did since its counters began."""

    requests: int
    latency_p95_ms: float | None
    """None before the first request."""


class HostMemory(Document):
    """Memory of this host, and what its deployments may take of it."""

    host_bytes: int | None
    """Or what a control group leaves of it; None where that is not known."""
    claimed_bytes: int
    """Budgets of all workers that are loaded or are to be, kept warm ones included."""
    resident_bytes: int | None
    """What the workers take now, pages that they share counted for each; None where the host does not say."""
    without_budget: tuple[str, ...]
    """Deployments whose workers ``claimed_bytes`` does not count, for they have no ``memory.budget_mb``."""


class HostStatus(Document):
    """All deployments of this host."""

    supervisor: Pong | None
    """None where no supervisor runs; then ``deployments`` says what the ledger wants, and nobody knows what serves."""
    orphans: bool = False
    """Whether workers serve on that a supervisor which died has left."""
    deployments: tuple[DeploymentStatus, ...]
    memory: HostMemory
    figures: dict[str, DeploymentFigures] = {}
    """By deployment; only of those that serve."""
    tunings: dict[str, Tuning] = {}
    """How threads and batches pay here for the active package, by deployment; only where that was measured."""
    batching: dict[str, BatchingPlan] = {}
    """Whether requests to the active package share a run, and why or why not, by deployment; by what its config and
    this host's measurements say, so a worker that was started before the last measurement may still do otherwise."""


def read_status(host: Host) -> HostStatus:
    """The state of all deployments, from the supervisor or, where none runs, from the ledger alone."""
    pong = host.control.ping()
    reply = None if pong is None else ask_supervisor(host, Status(), StatusReply)
    if reply is not None:
        serving = (item.deployment.name for item in reply.deployments if item.serving)
        figures = {name: found for name in serving if (found := _figures(host, name)) is not None}
        deployments = reply.deployments
        memory = _memory(host, deployments)
        status = HostStatus(supervisor=pong, deployments=deployments, memory=memory, figures=figures)
        return _with_measurements(host, status)
    recorded = tuple(_recorded_status(host, deployment) for deployment in host.ledger.deployments())
    orphans = host.control.has_orphans()
    memory = _memory(host, recorded)
    if orphans:
        memory = memory.model_copy(update={"resident_bytes": None})
    status = HostStatus(supervisor=None, orphans=orphans, deployments=recorded, memory=memory)
    return _with_measurements(host, status)


def _memory(host: Host, deployments: tuple[DeploymentStatus, ...]) -> HostMemory:
    claims = claims_of(host, deployments)
    sizes = [worker.resident_bytes for item in deployments for worker in item.workers]
    known = [size for size in sizes if size is not None]
    return HostMemory(
        host_bytes=host.facts.memory_bytes(),
        claimed_bytes=memory_of(claims),
        resident_bytes=sum(known) if len(known) == len(sizes) else None,
        without_budget=without_budget(claims),
    )


def _with_measurements(host: Host, status: HostStatus) -> HostStatus:
    tunings = _tunings(host, status.deployments)
    return status.model_copy(update={"tunings": tunings, "batching": _batching(host, status.deployments, tunings)})


def _tunings(host: Host, deployments: Iterable[DeploymentStatus]) -> dict[str, Tuning]:
    active = {item.deployment.name: item.active.digest for item in deployments if item.active is not None}
    return {name: found for name, digest in active.items() if (found := read_tuning(host, digest)) is not None}


def _batching(
    host: Host, deployments: Iterable[DeploymentStatus], tunings: dict[str, Tuning]
) -> dict[str, BatchingPlan]:
    """What the workers decide when they start; nothing of a package that the store lost."""
    found: dict[str, BatchingPlan] = {}
    for item in deployments:
        signature = None if item.active is None else _signature(host, item.active.digest)
        if item.active is not None and signature is not None:
            config, name = item.active.config.batching, item.deployment.name
            found[name] = plan_batching(config.mode, config.max_batch, tunings.get(name), signature)
    return found


def _signature(host: Host, digest: str) -> Signature | None:
    try:
        with host.store.open(digest) as package:
            return package.manifest.signature
    except HyperionError:
        return None


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
    if deployment.desired_revision is None:
        trouble = "stopped"
    elif host.control.has_orphans():
        trouble = "no supervisor runs; the workers that it left serve on unwatched, until 'hyperion serve' adopts them"
    else:
        trouble = "no supervisor runs; start one with 'hyperion serve'"
    return DeploymentStatus(
        deployment=deployment,
        active=None if number is None else host.ledger.revision(deployment.name, number),
        serving=False,
        updating=False,
        url=None,
        workers=(),
        trouble=trouble,
    )
