"""The gates in the supervisor: once a second what serves is remembered, and who is on trial is judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from hyperion.domain import observation as seen
from hyperion.domain.evidence import VerdictKind
from hyperion.domain.rollout_policy import Gates
from hyperion.domain.serving_state import Rollout, RolloutState
from hyperion.ports import Clock
from hyperion.serving.watch import PastTraffic, Watch
from hyperion.serving.worker_set import WorkerSet

_log = logging.getLogger(__name__)

LOOK_S = 1.0
TELL_EVERY_S = 5.0
"""Between two lines of progress."""


class Bakes:
    """The bakes of one deployment, one at a time: steps of a canary, and the watch after a promotion.

    Args:
        workers: Of the deployment.
        clock: The supervisor's.
        observe: Told what the gates say, once a second during a bake.
        say: Told stage and progress, in words for people.
    """

    def __init__(
        self,
        workers: WorkerSet,
        clock: Clock,
        observe: Callable[[seen.Observation], None],
        say: Callable[[str, str], None],
    ) -> None:
        self.latest: str | None = None
        """What the gates said last in this bake, in words."""
        self._workers = workers
        self._clock = clock
        self._observe = observe
        self._say = say
        self._past = PastTraffic(workers.metrics_dir, clock)
        self._serving: tuple[int, float] | None = None
        self._rollout: Rollout | None = None
        self._watch: Watch | None = None
        self._told_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(LOOK_S, self._look)

    def remember(self, revision: int, window_s: float) -> None:
        """From now on this revision serves: what it answers may be what its successor is held against."""
        self._serving = (revision, window_s)

    def begin(self, rollout: Rollout, gates: Gates) -> None:
        """A bake of the rollout, on a step of its canary or promoted, begins in place of one that may still run."""
        plan = rollout.plan
        is_watch = rollout.state is RolloutState.BAKING
        self._rollout, self.latest = rollout, None
        self._watch = Watch(
            self._workers.metrics_dir,
            rollout.revision,
            rollout.stable,
            gates,
            self._clock,
            bake_s=plan.watch_s if is_watch else plan.steps[rollout.step].bake_s,
            past=self._past if is_watch else None,
            phases=len(plan.steps) + bool(plan.watch_s),
            memory=lambda: self._workers.memory(rollout.revision),
        )
        self._watch.begin()

    def replayed(self, worker: str, findings: list[dict[str, Any]]) -> None:
        """How the golden requests went in a worker of the candidate; findings as JSON."""
        if self._watch is not None:
            self._watch.replayed(worker, findings)

    def end(self) -> None:
        self._rollout = self._watch = self.latest = None

    def close(self) -> None:
        """The deployment ends."""
        self.end()
        self._next.cancel()

    def _look(self) -> None:
        self._next = self._loop.call_later(LOOK_S, self._look)
        if self._serving is not None:
            self._past.note(*self._serving)
        if self._watch is not None and self._rollout is not None:
            self._judge(self._watch, self._rollout)

    def _judge(self, watch: Watch, rollout: Rollout) -> None:
        if watch.replay_is_due():
            self._workers.replay(rollout.revision)
        verdict = watch.verdict()
        self.latest = verdict.reason
        now = self._clock.monotonic()
        if verdict.kind is VerdictKind.HOLD and now - self._told_s >= TELL_EVERY_S:
            self._told_s = now
            self._say("watch" if rollout.state is RolloutState.BAKING else "canary", verdict.reason)
        if verdict.kind is VerdictKind.BREACH:
            deployment = self._workers.metrics_dir.name
            _log.warning("%s: revision %d breaks its gates: %r", deployment, rollout.revision, verdict.reason)
        self._observe(seen.Judged(verdict))
