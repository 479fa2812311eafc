"""The workers of a deployment: started, told to take traffic, sent away, and replaced where they die."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hyperion.domain.action import (
    Accept,
    Action,
    GiveUp,
    KeepWarm,
    Kill,
    LameDuck,
    RespawnLater,
    Rest,
    Spawn,
)
from hyperion.domain.serving_state import ServingState, Step
from hyperion.domain.worker_state import Worker, WorkerState, worker_name

CRASH_LIMIT = 5
"""Crashes in a row after which a worker's slot is given up."""
STEADY_S = 30.0
"""A worker that took traffic for this long starts its count of crashes anew."""
LONGEST_BACKOFF_S = 10.0


def backoff_s(crashes: int) -> float:
    """Pause before the respawn after so many crashes in a row: none, then 0.2 s doubling up to a limit."""
    return 0.0 if crashes <= 1 else min(LONGEST_BACKOFF_S, 0.1 * 2 ** (crashes - 1))


def spawn(state: ServingState, revision: int, index: int) -> Step:
    workers = (*state.workers, Worker(revision, index))
    return replace(state, workers=workers), (Spawn(revision, index),)


def spawn_missing(state: ServingState, revision: int, crew: int) -> Step:
    """Start those of the revision's ``crew`` that do not live."""
    actions: list[Action] = []
    for index in range(crew):
        if state.worker(worker_name(revision, index)) is None:
            state, spawned = spawn(state, revision, index)
            actions += spawned
    return state, tuple(actions)


def tell_to_accept(state: ServingState, workers: Iterable[Worker]) -> Step:
    """Let proven workers take traffic."""
    actions: list[Action] = []
    for worker in workers:
        state = state.put(replace(worker, told=True))
        actions.append(Accept(worker.name))
    return state, tuple(actions)


def fill_places(state: ServingState) -> Step:
    """Let proven workers of the active revision take the places that are free in traffic; the rest stay spare."""
    free = state.size - len(state.taking(state.active))
    ready = [w for w in state.of(state.active) if w.state is WorkerState.GATED and not w.told]
    return tell_to_accept(state, ready[: max(0, free)])


def dismiss(state: ServingState, workers: Iterable[Worker]) -> Step:
    """Send workers away: those that may hold requests, or would be ready to, as lame ducks, the others at once."""
    actions: list[Action] = []
    for worker in workers:
        if worker.takes_traffic or worker.rests or worker.state is WorkerState.CANARY:
            actions.append(LameDuck(worker.name, frames_only=not worker.takes_traffic and not worker.rests))
            state = state.put(replace(worker, state=WorkerState.LAME_DUCK, told=True))
        elif not worker.leaves:
            actions.append(Kill(worker.name))
    return state, tuple(actions)


def rest(state: ServingState, revision: int | None, seconds: float) -> Step:
    """Take the revision out of traffic; it stays loaded for so long, or ends where ``seconds`` is 0."""
    workers = state.of(revision)
    taking = [worker for worker in workers if worker.state is WorkerState.ACCEPTING]
    if revision is None or not seconds or not taking:
        return dismiss(state, workers)
    state, resting = lay_to_rest(state, taking)
    state, dismissed = dismiss(state, [worker for worker in workers if worker not in taking])
    return state, (*resting, KeepWarm(revision, seconds), *dismissed)


def lay_to_rest(state: ServingState, workers: Iterable[Worker]) -> Step:
    """Take these out of traffic; they stay loaded."""
    actions: list[Action] = []
    for worker in workers:
        actions.append(Rest(worker.name))
        state = state.put(replace(worker, state=WorkerState.RESTING, told=True))
    return state, tuple(actions)


def remove(state: ServingState, worker: Worker) -> ServingState:
    return replace(state, workers=tuple(w for w in state.workers if w.name != worker.name))


def replace_lost(state: ServingState, lost: Worker, reason: str, accepted_s: float) -> Step:
    """After a worker of the active revision died: its spare takes its place at once, and it is started again."""
    state, filled = fill_places(state)
    counts = dict(state.crashes)
    crashes = 1 if accepted_s >= STEADY_S else counts.get(lost.index, 0) + 1
    counts[lost.index] = crashes
    state = replace(state, crashes=tuple(counts.items()))
    if crashes >= CRASH_LIMIT:  # a restart that waits for it would wait forever
        return replace(state, renewing=()), (*filled, GiveUp(lost.name, crashes, reason))
    return state, (*filled, RespawnLater(lost.revision, lost.index, backoff_s(crashes)))


def is_kept_alive(state: ServingState, worker: Worker) -> bool:
    """Whether its death is to be answered with a respawn."""
    return worker.revision == state.active and not state.stopping and not state.clearing
