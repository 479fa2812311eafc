"""A rolling restart: fresh workers for all of the active revision, and none leaves before its place is taken.

One more worker is loaded first, unless a spare is there. Then, one after the other, the one that stands ready takes
traffic, an old one leaves as a lame duck, and once it is gone it is started again and stands ready for the next.
"""

from __future__ import annotations

from dataclasses import replace

from hyperion.domain.action import LameDuck
from hyperion.domain.crew import fill_places, spawn, spawn_missing, tell_to_accept
from hyperion.domain.serving_state import ServingState, Step, in_turn
from hyperion.domain.worker_state import Worker, WorkerState, worker_name


def asked(state: ServingState) -> Step:
    """Begin, or begin anew; nothing where nothing serves, or where a rollout replaces the workers anyway."""
    if state.active is None or state.stopping or state.updating or not state.accepting(state.active):
        return state, ()
    state = replace(state, renewing=tuple(range(state.size + 1)))
    return in_turn(state, lambda state: spawn_missing(state, state.active or 0, state.size + 1), go_on)


def go_on(state: ServingState) -> Step:
    """Let the one that stands ready take traffic, and once it does, the next old one leave."""
    if not state.renewing or state.active is None or state.stopping or state.updating:
        return state, ()
    worker = state.worker(worker_name(state.active, state.renewing[0]))
    if worker is None or worker.state in (WorkerState.SPAWNED, WorkerState.LOADED):  # it died: what comes is fresh
        return go_on(replace(state, renewing=state.renewing[1:]))
    if worker.leaves:
        return state, ()
    if not worker.takes_traffic or len(state.accepting(state.active)) > state.size:
        return state.put(replace(worker, state=WorkerState.LAME_DUCK, told=True)), (LameDuck(worker.name),)
    ready = [w for w in state.of(state.active) if w.state is WorkerState.GATED and not w.told]
    if not ready or len(state.taking(state.active)) > state.size:
        return state, ()
    return tell_to_accept(state, ready[:1])


def left(state: ServingState, worker: Worker) -> Step | None:
    """After a worker of the active revision has gone: what follows where that was the restart's matter, else None."""
    crew = state.size + state.spare
    if state.renewing and worker.index == state.renewing[0]:
        state = replace(state, renewing=state.renewing[1:])
        again = [worker.index] if worker.index < crew else []
        return in_turn(
            state,
            fill_places,
            *(lambda state, index=index: spawn(state, worker.revision, index) for index in again),
            go_on,
        )
    if worker.index < crew:
        return None
    # The one that was to stand ready could not be proven, or died: those that are still there serve on.
    return in_turn(replace(state, renewing=()), fill_places, lambda state: spawn_missing(state, worker.revision, crew))
