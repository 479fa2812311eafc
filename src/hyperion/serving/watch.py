"""Watching a candidate: counters of its workers and of the stable revision's, once a second, held against the rules.

It reads and asks; what is to be thought of it is domain.judging's matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hyperion.domain.evidence import Verdict
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.judging import Course, Terms, judge
from hyperion.domain.rollout_policy import Gates
from hyperion.domain.traffic_window import Sight, Window
from hyperion.ports import Clock
from hyperion.serving.telemetry import SlotReading, read_slots

MIB = 1024 * 1024
PAST_S = 600.0
"""So much of what a revision answered before its replacement is remembered, or watch_s where that is longer: all that
is usual on this host should have happened in it."""
PAST_MARKS = 60
UNANSWERED = "unanswered"
"""Requests that were forwarded to a candidate, and that the stable revision had to answer in its place."""


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Resident memory of one worker: after its warm-up, where that is known, and now."""

    warm_bytes: int | None
    resident_bytes: int | None


def read_window(slots: Iterable[SlotReading], revision: int) -> Window:
    """What a revision answered since its counters began, over all its workers."""
    total = Window()
    for slot in slots:
        if slot.labels.revision == revision:
            total = total.plus(Window(slot.requests, slot.failures, slot.profile))
    return total


class PastTraffic:
    """What a deployment's active revision answered lately, to hold its successor against."""

    def __init__(self, metrics_dir: Path, clock: Clock) -> None:
        self._metrics_dir = metrics_dir
        self._clock = clock
        self._revision: int | None = None
        self._marks: deque[tuple[float, Window]] = deque()

    def note(self, revision: int, window_s: float) -> None:
        """Remember what the active revision answered so far; call it now and then, every second at most matters."""
        if revision != self._revision:
            self._revision = revision
            self._marks.clear()
        now, reach_s = self._clock.monotonic(), max(PAST_S, window_s)
        if self._marks and now - self._marks[-1][0] < reach_s / PAST_MARKS:
            return
        self._marks.append((now, read_window(read_slots(self._metrics_dir, revision), revision)))
        while now - self._marks[0][0] > reach_s:
            self._marks.popleft()

    def of(self, revision: int) -> Window:
        """What it answered in the time that is remembered; all that it ever did where nothing is."""
        now = read_window(read_slots(self._metrics_dir, revision), revision)
        return now.minus(self._marks[0][1]) if revision == self._revision and self._marks else now


class Watch:
    """One bake of a candidate.

    Args:
        metrics_dir: Slots of the deployment.
        candidate: Its revision.
        stable: The revision that it is held against; None where there is none.
        gates: Of the candidate's config.
        clock: The supervisor's.
        bake_s: How long the bake lasts.
        past: What the stable revision answered before it was replaced: given after promotion, None during a canary.
        phases: Bakes of the whole rollout.
        memory: Memory of the candidate's workers, each by a name that no other process gets.
    """

    def __init__(
        self,
        metrics_dir: Path,
        candidate: int,
        stable: int | None,
        gates: Gates,
        clock: Clock,
        *,
        bake_s: float,
        past: PastTraffic | None = None,
        phases: int = 1,
        memory: Callable[[], Mapping[str, MemoryReading]] = dict,
    ) -> None:
        self._metrics_dir = metrics_dir
        self._clock = clock
        self._memory = memory
        before = None
        if past is not None:
            before = Window() if stable is None else past.of(stable)
        self._terms = Terms(candidate, stable, gates, bake_s, before, phases)
        self._course = Course()
        self._began_s = self._replayed_s = 0.0
        self._origin = Sight(0.0, Window())
        self._warm: dict[str, int] = {}
        self._replays = 0
        self._broken: dict[str, Finding] = {}

    def begin(self) -> None:
        """The bake begins now; what was answered before does not count."""
        self._began_s = self._replayed_s = self._clock.monotonic()
        self._origin = self._read(0.0)

    def verdict(self) -> Verdict:
        """What to think of the candidate now; call it once a second."""
        read = self._read(self._clock.monotonic() - self._began_s)
        sight = Sight(
            read.elapsed_s, read.candidate.minus(self._origin.candidate), read.stable.minus(self._origin.stable)
        )
        limits = (self._check_memory_growth(), *self._check_replays())
        self._course, verdict = judge(self._terms, self._course, sight, limits)
        return verdict

    def replay_is_due(self) -> bool:
        """Whether the candidate's workers are to run the golden requests again now; true once for each time."""
        pause_s = self._terms.gates.golden_replay_s
        now = self._clock.monotonic()
        if not pause_s or now - self._replayed_s < pause_s:
            return False
        self._replayed_s = now
        return True

    def replayed(self, worker: str, findings: Iterable[dict[str, Any]]) -> None:
        """How the golden requests went in a worker of the candidate: findings as JSON."""
        self._replays += 1
        for found in findings:
            finding = Finding.model_validate_json(msgspec.json.encode(found))
            if finding.outcome is Outcome.FAILED:
                self._broken.setdefault(worker, finding)

    def _read(self, elapsed_s: float) -> Sight:
        """All that was ever answered. During a canary, what the candidate left to others counts as its failure."""
        slots, terms = read_slots(self._metrics_dir), self._terms
        candidate = read_window(slots, terms.candidate)
        if terms.past is not None or terms.stable is None:
            return Sight(elapsed_s, candidate)
        left = sum(slot.fallbacks for slot in slots if slot.labels.revision == terms.stable)
        if left:
            candidate = candidate.plus(Window(left, {UNANSWERED: left}))
        return Sight(elapsed_s, candidate, read_window(slots, terms.stable))

    def _check_memory_growth(self) -> Finding:
        check, limit_mb = "rollout.memory_growth", self._terms.gates.memory_growth_mb
        grown: dict[str, float] = {}
        for worker, reading in self._memory().items():
            if reading.resident_bytes is not None:
                warm = self._warm.setdefault(worker, reading.warm_bytes or reading.resident_bytes)
                grown[worker] = (reading.resident_bytes - warm) / MIB
        if not grown:
            summary, reason = "memory is not known", "no worker of the candidate has told it yet"
            return Finding(check=check, outcome=Outcome.SKIPPED, summary=summary, reason=reason)
        worker, most_mb = max(grown.items(), key=lambda item: item[1])
        over = most_mb > limit_mb
        return Finding(
            check=check,
            outcome=Outcome.FAILED if over else Outcome.PASSED,
            summary=f"worker {worker} takes {most_mb:.1f} MiB more than after its warm-up",
            reason=f"expected at most memory_growth_mb = {limit_mb} more" if over else None,
            measured=round(most_mb, 1),
            limit=limit_mb,
        )

    def _check_replays(self) -> tuple[Finding, ...]:
        check = "rollout.golden"
        if self._broken:
            worker, finding = next(iter(self._broken.items()))
            reason = finding.reason or "it passed before the worker took traffic"
            summary = f"in worker {worker} {finding.summary}"
            return (Finding(check=check, outcome=Outcome.FAILED, summary=summary, reason=reason),)
        if not self._replays:
            return ()
        summary = f"the golden requests were answered as expected {self._replays} times"
        return (Finding(check=check, outcome=Outcome.PASSED, summary=summary, measured=self._replays),)
