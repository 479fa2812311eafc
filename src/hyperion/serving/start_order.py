"""The order that a worker starts with."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.deployment import Revision
from hyperion.domain.worker_state import Worker
from hyperion.format.side_by_side import available_cores
from hyperion.serving.channel import CHANNEL_VERSION, Guard, Start, WorkerLimits
from hyperion.serving.host_knowledge import images_of, tuning_of
from hyperion.serving.surroundings import Surroundings


def start_order(
    around: Surroundings, metrics_dir: Path, worker: Worker, revision: Revision, guard: Guard, pid: int
) -> Start:
    """What the worker with this pid needs to know to serve its revision."""
    config = revision.config
    tuning = tuning_of(around.reports, around.facts, revision.digest)
    return Start(
        version=CHANNEL_VERSION,
        server_version=around.version,
        deployment=revision.deployment,
        model=revision.model,
        model_version=revision.version,
        revision=revision.number,
        digest=revision.digest,
        worker=worker.name,
        threads=config.threads_for(tuning, available_cores()),
        workers=config.workers,
        image=config.image,
        images=images_of(around.ledger, revision.digest),
        batching=config.batching.mode,
        max_batch=config.batching.max_batch,
        max_wait_ms=config.batching.max_wait_ms,
        tuning=None if tuning is None else tuning.model_dump(mode="json"),
        limits=WorkerLimits(**config.limits.model_dump()),
        drain_timeout_s=config.drain_timeout_s,
        metrics_dir=str(metrics_dir),
        frames_path=socket_path(around, pid, "frames"),
        handover_path=socket_path(around, pid, "handover"),
        control_path=socket_path(around, pid, "control"),
        guard=guard,
        address_space_mb=config.memory.address_space_mb,
        p99_ms=config.gates.p99_ms,
    )


def socket_path(around: Surroundings, pid: int, purpose: str) -> str:
    """Where that worker has its ``frames``, ``handover`` or ``control`` socket.

    It fits into a socket's address (107 bytes) wherever the supervisor's own one does.
    """
    return f"{around.sockets_dir}/w{pid}.{purpose}"
