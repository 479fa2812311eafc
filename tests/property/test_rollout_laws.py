"""Whatever happens in whatever order: who serves goes on serving until somebody ready has taken over."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hyperion.domain.action import Abort, Accept, Action, Finish, GiveUp, Kill, LameDuck, Promote, RespawnLater, Spawn
from hyperion.domain.observation import (
    Exited,
    Failed,
    Observation,
    PromotionRefused,
    PromotionWritten,
    Reached,
    RespawnDue,
    Resumed,
    RolloutAsked,
    StopAsked,
)
from hyperion.domain.rollout import RolloutState, ServingState, advance
from hyperion.domain.worker_state import WorkerState, worker_name

ORDER = [WorkerState.SPAWNED, WorkerState.LOADED, WorkerState.GATED]


class Host(RuleBasedStateMachine):
    """A host with processes that obey, crash, fail and answer in any order, and a ledger that may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ServingState()
        self.processes: dict[str, WorkerState] = {}
        self.told: dict[str, WorkerState] = {}
        self.due: list[RespawnDue] = []
        self.next_revision = 1
        self.aborted: set[int] = set()
        self.ledger_active: int | None = None
        self.ledger_full = False
        self.stopped = False

    def observe(self, observation: Observation, *, worker_lost: bool = False) -> None:
        """Feed one observation, do the actions, and hold the step against the promise."""
        before = self._taking_traffic()
        self.state, actions = advance(self.state, observation)
        for action in actions:
            self._do(action)
        before = {name for name in before if not self._revision(name) & self.aborted}
        if before and not worker_lost and not self.stopped:
            assert self._taking_traffic(), f"{observation} took the last ready worker away"

    def _taking_traffic(self) -> set[str]:
        return {
            name
            for name, reached in self.processes.items()
            if reached is WorkerState.ACCEPTING and self.told.get(name) is not WorkerState.LAME_DUCK
        }

    def _do(self, action: Action) -> None:
        match action:
            case Spawn(revision, index):
                name = worker_name(revision, index)
                assert name not in self.processes, "a living worker was spawned again"
                self.processes[name] = WorkerState.SPAWNED
                self.told.pop(name, None)
            case Accept(name):
                assert self.processes[name] is WorkerState.GATED, "told to accept before it was proven"
                assert not self._revision(name) & self.aborted
                self.told[name] = WorkerState.ACCEPTING
            case LameDuck(name):
                self.told[name] = WorkerState.LAME_DUCK
            case Kill(name):
                self.told[name] = WorkerState.EXITED
            case RespawnLater(revision, index, delay_s):
                assert delay_s >= 0
                self.due.append(RespawnDue(revision, index))
            case Promote(revision):
                self._promote(revision)
            case Abort(revision, _):
                assert revision != self.ledger_active, "an active revision was aborted"
                self.aborted.add(revision)
            case Finish(revision):
                assert revision == self.ledger_active
            case GiveUp():
                pass

    def _promote(self, revision: int) -> None:
        assert revision not in self.aborted
        accepting = [
            n for n, s in self.processes.items() if s is WorkerState.ACCEPTING and self._revision(n) == {revision}
        ]
        assert accepting, "promoted without a worker that takes traffic"
        if self.ledger_full:
            self.observe(PromotionRefused("disk full"))
        else:
            self.ledger_active = revision
            self.observe(PromotionWritten())

    @staticmethod
    def _revision(name: str) -> set[int]:
        return {int(name[1:].partition("-")[0])}

    @precondition(lambda self: not self.stopped and not self.state.updating)
    @rule(size=st.integers(1, 3))
    def deploy(self, size: int) -> None:
        revision, self.next_revision = self.next_revision, self.next_revision + 1
        self.observe(RolloutAsked(revision, size))

    @precondition(lambda self: self.next_revision == 1)
    @rule(size=st.integers(1, 3))
    def resume(self, size: int) -> None:
        self.next_revision, self.ledger_active = 2, 1
        self.observe(Resumed(1, size))

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def a_worker_goes_on(self, data: st.DataObject) -> None:
        """A worker does its next step, or what it was told."""
        name = data.draw(st.sampled_from(sorted(self.processes)))
        reached, told = self.processes[name], self.told.get(name)
        if told is WorkerState.EXITED:
            del self.processes[name]
            self.observe(Exited(name, "was killed"))
        elif told is WorkerState.LAME_DUCK:
            if reached is WorkerState.DRAINED:
                del self.processes[name]
                self.observe(Exited(name, "ended"))
            else:
                self.processes[name] = WorkerState.DRAINED
                self.observe(Reached(name, WorkerState.DRAINED))
        elif told is WorkerState.ACCEPTING and reached is WorkerState.GATED:
            self.processes[name] = WorkerState.ACCEPTING
            self.observe(Reached(name, WorkerState.ACCEPTING))
        elif reached in ORDER[:-1]:
            self.processes[name] = ORDER[ORDER.index(reached) + 1]
            self.observe(Reached(name, self.processes[name]))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), steady=st.booleans())
    def a_worker_dies(self, data: st.DataObject, steady: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.processes)))
        del self.processes[name]
        self.observe(Exited(name, "kill -9", 60.0 if steady else 0.0), worker_lost=True)

    @precondition(lambda self: any(s in ORDER for s in self.processes.values()))
    @rule(data=st.data())
    def a_worker_fails_its_proof(self, data: st.DataObject) -> None:
        unproven = sorted(name for name, reached in self.processes.items() if reached in ORDER)
        self.observe(Failed(data.draw(st.sampled_from(unproven)), "proof"))

    @precondition(lambda self: self.due)
    @rule()
    def a_respawn_is_due(self) -> None:
        self.observe(self.due.pop(0))

    @rule(full=st.booleans())
    def the_disk_fills_or_empties(self, full: bool) -> None:
        self.ledger_full = full

    @precondition(lambda self: self.processes and not self.stopped)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        self.observe(StopAsked())

    @invariant()
    def the_state_knows_exactly_the_living(self) -> None:
        assert {worker.name for worker in self.state.workers} == set(self.processes)

    @invariant()
    def what_is_active_is_what_the_ledger_says(self) -> None:
        assert self.state.active == self.ledger_active

    @invariant()
    def no_aborted_revision_keeps_traffic(self) -> None:
        for name in self._taking_traffic():
            assert not self._revision(name) & self.aborted

    @invariant()
    def a_stopped_deployment_spawns_nothing(self) -> None:
        if self.stopped:
            assert all(self.told.get(n) in (WorkerState.LAME_DUCK, WorkerState.EXITED) for n in self.processes)

    @invariant()
    def an_ended_rollout_is_promoted_or_aborted(self) -> None:
        rollout = self.state.rollout
        if rollout is not None and rollout.state is RolloutState.PROMOTED:
            assert rollout.revision == self.ledger_active


TestRollouts = Host.TestCase
TestRollouts.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
