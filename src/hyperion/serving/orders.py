"""What the rollout rules want a worker told, handed to the worker set."""

from __future__ import annotations

from hyperion.domain import action as act
from hyperion.domain.serving_state import ServingState
from hyperion.domain.worker_state import Worker
from hyperion.serving.lineage import Lineage
from hyperion.serving.worker_set import WorkerSet


def give(order: act.Order, state: ServingState, lineage: Lineage, workers: WorkerSet) -> None:
    """Have it done; ``state`` is the one that the order led to."""
    match order:
        case act.Spawn(revision, index):
            workers.spawn(Worker(revision, index), lineage[revision], lineage.listener(revision))
        case act.Accept(name):
            workers.accept(name)
        case act.Flip(name, revision, index):
            workers.flip(name, Worker(revision, index), lineage[revision])
        case act.OpenFrames(name):
            workers.open_frames(name)
        case act.Route(name, revision, share):
            candidates = [worker.name for worker in state.of(revision)] if share else []
            workers.route(name, revision, share, candidates, lineage[revision].config.canary_steps.sticky_header)
        case act.LameDuck(name, frames_only):
            heirs, is_last = _heirs(state, lineage), state.stopping or state.clearing
            workers.lame_duck(name, heirs, frames_only=frames_only, is_last=is_last)
        case act.Rest(name):
            workers.rest(name, _heirs(state, lineage))
        case act.Kill(name):
            workers.kill(name)


def _heirs(state: ServingState, lineage: Lineage) -> list[str]:
    """Who takes over the live connections of a worker that leaves; nobody where they would have to speak TLS."""
    active = lineage.get(state.active)
    if active is not None and active.config.serve.tls is not None:
        return []
    return [worker.name for worker in state.accepting(state.active)]
