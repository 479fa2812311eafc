"""Whatever happens in whatever order: who serves goes on serving until somebody ready has taken over."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.rollout_kit import STEPS, verdict

from hyperion.domain import action as act
from hyperion.domain import observation as seen
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import VerdictKind
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.serving_state import RolloutState, ServingState
from hyperion.domain.worker_state import Worker, WorkerState, worker_name

PROOF = [WorkerState.SPAWNED, WorkerState.LOADED, WorkerState.GATED]
LEAVING = (WorkerState.LAME_DUCK, WorkerState.RESTING, WorkerState.EXITED)
ROUTING = (RolloutState.CANARY, RolloutState.SHIFTING)


class Process:
    """A worker's process: how far it is, what it was told and has not done, and what it forwards."""

    def __init__(self) -> None:
        self.reached = WorkerState.SPAWNED
        self.told: WorkerState | None = None
        self.has_left = False
        self.share = 0.0

    @property
    def takes_traffic(self) -> bool:
        return self.reached is WorkerState.ACCEPTING and self.told not in LEAVING

    @property
    def survives(self) -> bool:
        """Whether it lives on without a supervisor."""
        return self.reached not in PROOF and self.told is not WorkerState.EXITED


@st.composite
def plans(draw: st.DrawFn) -> RolloutPlan:
    strategy = draw(st.sampled_from(["blue-green", "canary", "recreate"]))
    keeps = strategy != "recreate"
    return RolloutPlan(
        size=draw(st.integers(1, 3)),
        spare=keeps and draw(st.booleans()),
        steps=STEPS if strategy == "canary" else (),
        recreate=not keeps,
        watch_s=draw(st.sampled_from([0.0, 60.0])),
        automatic=draw(st.booleans()),
        warm_s=60.0 if keeps and draw(st.booleans()) else 0.0,
    )


class Host(RuleBasedStateMachine):
    """A host with processes that obey, crash, fail and answer in any order, and a ledger that may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ServingState()
        self.processes: dict[str, Process] = {}
        self.due: list[seen.RespawnDue] = []
        self.warm: list[int] = []
        self.routed: list[seen.Routed] = []
        self.latest = 0
        self.plans: dict[int, RolloutPlan] = {}
        self.replaces: dict[int, int | None] = {}
        self.aborted: set[int] = set()
        self.left: set[int] = set()
        self.ledger_active: int | None = None
        self.ledger_full = False
        self.stopped = False
        self.restarted = False

    # --- the supervisor's part ---

    def observe(self, observation: seen.Observation, *, worker_lost: bool = False) -> None:
        """Feed one observation, do the actions, and hold the step against the promise."""
        before = self._taking_traffic()
        self.state, actions = advance(self.state, observation)
        for action in actions:
            self._do(action)
        if self._ready(before) and not (worker_lost or self.stopped or self._recreates()):
            assert self._taking_traffic(), f"{observation} took the last ready worker away"

    def _taking_traffic(self) -> set[str]:
        return {name for name, process in self.processes.items() if process.takes_traffic}

    def _ready(self, names: set[str]) -> set[str]:
        return {name for name in names if revision_of(name) not in self.aborted}

    def _recreates(self) -> bool:
        rollout = self.state.rollout
        return rollout is not None and rollout.plan.recreate

    def _do(self, action: act.Action) -> None:
        match action:
            case act.Spawn(revision, index):
                name = worker_name(revision, index)
                assert name not in self.processes, "a living worker was spawned again"
                self.processes[name] = Process()
            case act.Accept(name):
                assert self.processes[name].reached in (WorkerState.GATED, WorkerState.CANARY), "not proven"
                assert revision_of(name) not in self.aborted
                self.processes[name].told = WorkerState.ACCEPTING
            case act.Flip(name, revision, index):
                process = self.processes.pop(name)
                assert process.reached in (WorkerState.ACCEPTING, WorkerState.RESTING, WorkerState.WARM), "not warm"
                process.reached, process.told = WorkerState.WARM, WorkerState.ACCEPTING
                process.has_left = False
                self.processes[worker_name(revision, index)] = process
            case act.OpenFrames(name):
                assert self.processes[name].reached is WorkerState.GATED
                self.processes[name].told = WorkerState.CANARY
            case act.Route(name, revision, share):
                assert self.processes[name].takes_traffic, "who takes no traffic has nothing to forward"
                self.processes[name].share = share
                self.routed.append(seen.Routed(name, revision, share))
            case act.LameDuck(name):
                self.processes[name].told = WorkerState.LAME_DUCK
            case act.Rest(name):
                self.processes[name].told = WorkerState.RESTING
            case act.Kill(name):
                self.processes[name].told = WorkerState.EXITED
            case _:
                self._act(action)

    def _act(self, action: act.Action) -> None:
        match action:
            case act.KeepWarm(revision):
                self.warm.append(revision)
            case act.RespawnLater(revision, index, delay_s):
                assert delay_s >= 0
                self.due.append(seen.RespawnDue(revision, index))
            case act.WriteStep():
                self.observe(seen.WriteRefused("disk full") if self.ledger_full else seen.StepWritten())
            case act.Promote(revision):
                self._promote(revision)
            case act.Abort(revision):
                assert revision != self.state.active, "an active revision was aborted"
                self.aborted.add(revision)
                self.ledger_active = self.state.active
            case act.Shifted(revision) | act.Alert(revision):
                assert revision == self.ledger_active
            case act.Finish(revision):  # also of a watch that ends since a flip was asked for
                assert revision in (self.ledger_active, self.state.active)
            case act.GoBack(revision, to):
                assert revision == self.ledger_active
                assert revision not in self.left, "it went back from one revision twice"
                assert to not in self.aborted
                assert not self.plans[revision].rescue, "it went back from a way back"
                self.left.add(revision)
                self._ask(self._rescue(self.plans[to]))
            case act.GiveUp() | act.Judge():
                pass

    def _promote(self, revision: int) -> None:
        assert revision not in self.aborted
        assert any(revision_of(name) == revision for name in self._taking_traffic()), "nobody of it takes traffic"
        told = [name for name, process in self.processes.items() if process.told is WorkerState.ACCEPTING]
        assert not [name for name in told if revision_of(name) == revision], "not all of it take traffic"
        if self.ledger_full and revision != self.ledger_active:
            self.observe(seen.WriteRefused("disk full"))
        else:
            self.ledger_active = revision
            self.observe(seen.PromotionWritten())

    def _ask(self, plan: RolloutPlan) -> None:
        """What flips is active in the ledger before anything is done about it."""
        self.latest += 1
        self.plans[self.latest] = plan
        self.replaces[self.latest] = self.ledger_active
        if plan.flips is not None:
            self.ledger_active = self.latest
        self.observe(seen.RolloutAsked(self.latest, plan))

    def _rescue(self, plan: RolloutPlan) -> RolloutPlan:
        warm = None if plan.recreate else self.state.warm
        return RolloutPlan(
            size=plan.size, spare=plan.spare, recreate=plan.recreate, warm_s=plan.warm_s, rescue=True, flips=warm
        )

    # --- what people ask ---

    @precondition(lambda self: not self.stopped and not self.state.updating)
    @rule(plan=plans())
    def deploy(self, plan: RolloutPlan) -> None:
        self._ask(plan)

    @precondition(lambda self: not self.stopped and not self.state.updating)
    @rule(plan=plans())
    def deploy_undisturbed(self, plan: RolloutPlan) -> None:
        """So that later rules meet revisions that serve, rest and are watched."""
        self.ledger_full = False
        self._ask(plan)
        for _ in range(30):
            self._all_go_on()
            if self.state.updating and self.state.rollout is not None and self.state.rollout.is_judged:
                self.observe(seen.Judged(verdict(VerdictKind.PASS)))
        assert self.ledger_active == self.latest, "nothing was in the way of the rollout"

    @precondition(lambda self: not self.stopped and not self.state.updating and self.ledger_active is not None)
    @rule(plan=plans())
    def roll_back(self, plan: RolloutPlan) -> None:
        self._ask(self._rescue(plan))

    @precondition(lambda self: self.processes and not self.stopped and self.latest > 3)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        self.observe(seen.StopAsked())

    @precondition(lambda self: not self.stopped)
    @rule()
    def recall(self) -> None:
        self.observe(seen.RecallAsked("a rollback was asked for"))

    @precondition(lambda self: not self.stopped)
    @rule()
    def restart_the_workers(self) -> None:
        self.restarted = True
        self.observe(seen.RestartAsked())

    # --- what workers do ---

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def a_worker_goes_on(self, data: st.DataObject) -> None:
        self._go_on(data.draw(st.sampled_from(sorted(self.processes))))

    @precondition(lambda self: self.processes)
    @rule(rounds=st.integers(1, 6))
    def all_workers_go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self._all_go_on()

    def _all_go_on(self) -> None:
        for name in sorted(self.processes):
            if name in self.processes:
                self._go_on(name)
        while self.routed:
            self.observe(self.routed.pop(0))

    def _go_on(self, name: str) -> None:
        """A worker does its next step, or what it was told."""
        process = self.processes[name]
        match process.told:
            case WorkerState.EXITED:
                self._exit(name, "was killed")
            case WorkerState.LAME_DUCK | WorkerState.RESTING if not process.has_left:
                process.has_left = True
                self.observe(seen.Reached(name, WorkerState.LAME_DUCK))
            case WorkerState.LAME_DUCK if process.reached is WorkerState.DRAINED:
                self._exit(name, "ended")
            case WorkerState.LAME_DUCK:
                self._reach(name, WorkerState.DRAINED, told=WorkerState.LAME_DUCK)
            case WorkerState.RESTING:
                self._reach(name, WorkerState.WARM)
            case WorkerState.ACCEPTING | WorkerState.CANARY:
                self._reach(name, process.told)
            case None if process.reached in PROOF[:-1]:
                self._reach(name, PROOF[PROOF.index(process.reached) + 1])

    def _reach(self, name: str, reached: WorkerState, told: WorkerState | None = None) -> None:
        self.processes[name].reached, self.processes[name].told = reached, told
        self.observe(seen.Reached(name, reached))

    def _exit(self, name: str, reason: str) -> None:
        del self.processes[name]
        self.observe(seen.Exited(name, reason))

    @precondition(lambda self: self.routed)
    @rule()
    def a_worker_confirms_its_route(self) -> None:
        self.observe(self.routed.pop(0))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), fault=st.sampled_from(["proof", "mute", "dead", "steady"]))
    def a_worker_fails(self, data: st.DataObject, fault: str) -> None:
        """Of those that such a fault can befall."""
        living = self.processes.items()
        fit = {
            "proof": [name for name, process in living if process.reached in PROOF and process.told is None],
            "mute": [name for name, process in living if process.reached is WorkerState.WARM and process.told],
        }
        names = sorted(fit.get(fault, self.processes))
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        if fault in fit:
            self.observe(seen.Failed(name, fault))
        else:
            del self.processes[name]
            self.observe(seen.Exited(name, "kill -9", 60.0 if fault == "steady" else 0.0), worker_lost=True)

    # --- what else happens ---

    @precondition(lambda self: self.state.rollout is not None and self.state.rollout.is_judged)
    @rule(kind=st.sampled_from([VerdictKind.PASS, VerdictKind.HOLD]))
    def the_gates_hold(self, kind: VerdictKind) -> None:
        self.observe(seen.Judged(verdict(kind)))

    @precondition(lambda self: self.state.rollout is not None and self.state.rollout.is_judged)
    @rule()
    def the_gates_see_a_breach(self) -> None:
        self.observe(seen.Judged(verdict(VerdictKind.BREACH)))

    @precondition(lambda self: self._taking_traffic() and not self.stopped)
    @rule()
    def the_active_revision_crash_loops(self) -> None:
        for _ in range(CRASH_LIMIT):
            for name in sorted(self.processes):
                if revision_of(name) == self.ledger_active and name in self.processes:
                    del self.processes[name]
                    self.observe(seen.Exited(name, "boom"), worker_lost=True)
            while self.due:
                self.observe(self.due.pop(0))

    @precondition(lambda self: self.due)
    @rule()
    def a_respawn_is_due(self) -> None:
        self.observe(self.due.pop(0))

    @precondition(lambda self: self.warm)
    @rule()
    def warmth_is_over(self) -> None:
        self.observe(seen.WarmthOver(self.warm.pop(0)))

    @rule(full=st.booleans())
    def the_disk_fills_or_empties(self, full: bool) -> None:
        self.ledger_full = full

    @precondition(lambda self: not self.stopped and self.ledger_active is not None)
    @rule(watch_s=st.sampled_from([0.0, 30.0]))
    def the_supervisor_dies_and_the_next_one_comes(self, watch_s: float) -> None:
        """Workers do what they were told last; what was not promoted is reverted."""
        active = self.ledger_active
        assert active is not None
        self.aborted |= {n for n in self.plans if n > active}
        self.processes = {name: process for name, process in self.processes.items() if process.survives}
        for process in self.processes.values():
            process.has_left = False
            if process.told is not None and process.told is not WorkerState.LAME_DUCK:
                process.reached, process.told = process.told, None
        self.due, self.warm, self.routed = [], [], []
        self.state = ServingState()
        adopted = tuple(worker_of(name, process) for name, process in sorted(self.processes.items()))
        previous = None if active in self.left else self.replaces[active]
        warm = [w.revision for w in adopted if w.rests and w.revision not in (active, previous)]
        plan = replace(self.plans[active], flips=warm[0] if warm and self.plans[active].rescue else None)
        self.observe(seen.Resumed(active, plan, previous, adopted, watch_s))

    # --- what always holds ---

    @invariant()
    def the_state_knows_exactly_the_living(self) -> None:
        assert {worker.name for worker in self.state.workers} == set(self.processes)

    @invariant()
    def what_is_active_is_what_the_ledger_says(self) -> None:
        """But for a switch that is decided and not gone through with: what it replaces is kept alive until then."""
        rollout = self.state.rollout
        is_decided = rollout is not None and rollout.reversible and rollout.revision == self.ledger_active
        assert is_decided or self.state.active == self.ledger_active

    @invariant()
    def no_aborted_revision_keeps_traffic(self) -> None:
        for name in self._taking_traffic():
            assert revision_of(name) not in self.aborted

    @invariant()
    def a_stopped_deployment_spawns_nothing(self) -> None:
        if self.stopped:
            assert all(p.told in (WorkerState.LAME_DUCK, WorkerState.EXITED) for p in self.processes.values())

    @invariant()
    def a_promoted_rollout_is_the_active_one(self) -> None:
        rollout = self.state.rollout
        if rollout is not None and rollout.state is RolloutState.PROMOTED:
            assert rollout.revision == self.ledger_active

    @invariant()
    def a_share_is_forwarded_only_to_a_canary(self) -> None:
        rollout = self.state.rollout
        if rollout is None or rollout.state not in ROUTING:
            assert not [name for name, process in self.processes.items() if process.share]

    @invariant()
    def no_more_workers_take_traffic_than_were_asked_for(self) -> None:
        for revision, plan in self.plans.items():
            most = plan.size + self.restarted  # a restart lets the next one in before the last one leaves
            assert len([n for n in self._taking_traffic() if revision_of(n) == revision]) <= most


def revision_of(name: str) -> int:
    return int(name[1:].partition("-")[0])


def worker_of(name: str, process: Process) -> Worker:
    reached = WorkerState.LAME_DUCK if process.told is WorkerState.LAME_DUCK else process.reached
    return Worker(revision_of(name), int(name.rpartition("-w")[2]), reached)


TestRollouts = Host.TestCase
TestRollouts.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
