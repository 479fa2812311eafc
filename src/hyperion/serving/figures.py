"""What a deployment is doing, as the documents of ``status`` and ``stats``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from hyperion.domain.command import DeploymentStatus, RolloutStatus, WarmRevision
from hyperion.domain.deployment import Deployment, Revision
from hyperion.domain.metrics import Histogram, ServingFigures, WorkerFigures
from hyperion.ports import HostFacts
from hyperion.serving.deployment import RunningDeployment
from hyperion.serving.telemetry import SlotReading, read_slots


def worker_figures(running: RunningDeployment, facts: HostFacts) -> tuple[WorkerFigures, ...]:
    """Every living worker, in the order of their start."""
    slots = {slot.worker: slot for slot in read_slots(running.workers.metrics_dir) if slot.alive}
    found = []
    for worker in running.state.workers:
        link = running.workers.find(worker.name)
        if link is None:
            continue
        usage, slot = facts.process(link.process.pid, proportional=False), slots.get(worker.name)
        found.append(
            WorkerFigures(
                worker=worker.name,
                pid=link.process.pid,
                revision=worker.revision,
                state=worker.state.value,
                inflight=0 if slot is None else slot.inflight,
                resident_bytes=None if usage is None else usage.resident_bytes,
                cpu_s=None if usage is None else usage.cpu_s,
                started_at=link.started_at,
            )
        )
    return tuple(found)


def serving_figures(running: RunningDeployment, revision: Revision, facts: HostFacts, now: datetime) -> ServingFigures:
    """Counters of the active revision, summed over its slots, and its workers."""
    slots = [slot for slot in read_slots(running.workers.metrics_dir) if slot.labels.revision == revision.number]
    workers = tuple(w for w in worker_figures(running, facts) if w.revision == revision.number)
    failures: dict[str, int] = {}
    latency = Histogram()
    for slot in slots:
        latency = latency.plus(slot.latency)
        for cause, count in slot.failures.items():
            failures[cause] = failures.get(cause, 0) + count
    return ServingFigures(
        deployment=running.name,
        model=revision.model,
        version=revision.version,
        revision=revision.number,
        digest=revision.digest,
        at=now,
        uptime_s=_uptime_s(slots, now),
        workers=workers,
        requests=sum(slot.requests for slot in slots),
        failures=failures,
        latency=latency,
        received_bytes=sum(slot.received_bytes for slot in slots),
        sent_bytes=sum(slot.sent_bytes for slot in slots),
    )


def deployment_status(
    deployment: Deployment, running: RunningDeployment | None, active: Revision | None, facts: HostFacts
) -> DeploymentStatus:
    """One deployment; ``running`` is None where nothing of it runs."""
    if running is None:
        trouble = None if deployment.desired_revision is None else "it is desired, but nothing of it runs"
        return DeploymentStatus(
            deployment=deployment, active=active, serving=False, updating=False, url=None, workers=(), trouble=trouble
        )
    serving, workers = running.state.serving, worker_figures(running, facts)
    starting = None if serving or running.state.updating else "no worker takes traffic yet"
    return DeploymentStatus(
        deployment=deployment,
        active=active,
        serving=serving,
        updating=running.state.updating,
        url=running.url,
        workers=workers,
        trouble=running.trouble or starting,
        rollout=_rollout_status(running),
        warm=_warm_revision(running, workers),
        notes=_notes(running, active),
        protections=running.workers.protections(running.state.active),
    )


def _notes(running: RunningDeployment, active: Revision | None) -> tuple[str, ...]:
    alerts = () if running.alert is None else (running.alert,)
    faults = () if active is None else running.guard_faults(active)
    return (*alerts, *faults, *running.workers.notes)


def _rollout_status(running: RunningDeployment) -> RolloutStatus | None:
    rollout = running.state.rollout
    if rollout is None:
        return None
    return RolloutStatus(
        revision=rollout.revision,
        state=rollout.state,
        share=rollout.share or None,
        gates=running.gates,
        reason=rollout.reason,
    )


def _warm_revision(running: RunningDeployment, workers: Iterable[WorkerFigures]) -> WarmRevision | None:
    warm = running.warm
    if warm is None or running.warm_until is None:
        return None
    sizes = [w.resident_bytes for w in workers if w.revision == warm.number]
    known = [size for size in sizes if size is not None]
    memory = sum(known) if known and len(known) == len(sizes) else None
    return WarmRevision(revision=warm, until=running.warm_until, resident_bytes=memory)


def _uptime_s(slots: list[SlotReading], now: datetime) -> float:
    """Since the oldest living worker started."""
    started = [slot.started_at_ms for slot in slots if slot.alive]
    if not started:
        return 0.0
    return max(0.0, (now - datetime.fromtimestamp(min(started) / 1000, UTC)).total_seconds())
