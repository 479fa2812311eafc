"""Watching a candidate by the counters of real slots, on a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock

from hyperion.domain.evidence import Verdict, VerdictKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.rollout_policy import Gates
from hyperion.serving.telemetry import FALLBACKS, FORWARDED, Slot, SlotLabels
from hyperion.serving.watch import MIB, UNANSWERED, MemoryReading, PastTraffic, Watch

BAKE_S = 20
BROKEN = Finding(check="model.golden", outcome=Outcome.FAILED, summary="golden request 'a' gives other outputs")


class Host:
    """The slots of a stable revision, 1, and its candidate, 2, each with one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.stable = Slot(folder, "r1-w0", SlotLabels("shop", "mlp", "1.0.0", 1))
        self.candidate = Slot(folder, "r2-w0", SlotLabels("shop", "mlp", "1.1.0", 2))

    def answer(self, slot: Slot, requests: int, *, ms: float = 10.0, failed: int = 0, cause: str = "engine") -> None:
        for number in range(requests):
            slot.answered(round((ms + number % 10 * ms / 40) * 1e6), 100)
        for _ in range(failed):
            slot.failed(cause)

    def canary(self, **gates: float) -> Watch:
        watch = Watch(self.folder, 2, 1, Gates.model_validate(gates), self.clock, bake_s=BAKE_S)
        watch.begin()
        return watch

    def bake(self, watch: Watch, *, ms: float = 10.0, failed: int = 0, both: bool = True) -> Verdict:
        """Let a bake run: 10 requests of the candidate and 90 of stable a second."""
        for _ in range(BAKE_S):
            self.clock.advance(1.0)
            self.answer(self.candidate, 10, ms=ms, failed=failed)
            if both:
                self.answer(self.stable, 90)
            verdict = watch.verdict()
            if verdict.kind is not VerdictKind.HOLD:
                break
        return verdict


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stable.close()
    host.candidate.close()


def test_a_good_candidate_passes(host: Host) -> None:
    verdict = host.bake(host.canary())
    assert verdict.kind is VerdictKind.PASS
    assert verdict.evidence.stable is not None
    assert (verdict.evidence.candidate.requests, verdict.evidence.stable.requests) == (200, 1800)


def test_a_failing_candidate_is_a_breach(host: Host) -> None:
    assert [found.check for found in host.bake(host.canary(), failed=5).evidence.breaches] == ["rollout.errors"]


def test_a_slow_candidate_is_a_breach(host: Host) -> None:
    assert [found.check for found in host.bake(host.canary(), ms=25).evidence.breaches] == ["rollout.latency_p95"]


def test_what_was_counted_before_the_bake_does_not_count(host: Host) -> None:
    host.answer(host.candidate, 500, failed=500)
    assert host.bake(host.canary()).kind is VerdictKind.PASS


def test_a_candidate_that_leaves_its_requests_to_stable_fails_them(host: Host) -> None:
    watch = host.canary()
    for _ in range(BAKE_S):
        host.clock.advance(1.0)
        host.answer(host.stable, 100)
        host.stable.counters[FORWARDED] += 10
        host.stable.counters[FALLBACKS] += 10
        verdict = watch.verdict()
        if verdict.kind is not VerdictKind.HOLD:
            break
    assert verdict.kind is VerdictKind.BREACH
    assert verdict.evidence.candidate.failures == {UNANSWERED: verdict.evidence.candidate.requests}


def test_an_invalid_output_of_the_candidate_is_a_breach_at_once(host: Host) -> None:
    watch = host.canary()
    host.clock.advance(1.0)
    host.answer(host.candidate, 1, failed=1, cause="invalid_output")
    assert [found.check for found in watch.verdict().evidence.breaches] == ["rollout.invalid_outputs"]


@pytest.mark.parametrize(("grown_mb", "kind"), [(256, VerdictKind.HOLD), (257, VerdictKind.BREACH)])
def test_a_worker_that_grows_beyond_its_limit_is_a_breach(host: Host, grown_mb: int, kind: VerdictKind) -> None:
    reading = MemoryReading(100 * MIB, (100 + grown_mb) * MIB)
    watch = Watch(host.folder, 2, 1, Gates(), host.clock, bake_s=BAKE_S, memory=lambda: {"r2-w0/7": reading})
    watch.begin()
    host.clock.advance(1.0)
    assert watch.verdict().kind is kind


def test_growth_counts_from_the_first_reading_where_nothing_earlier_is_known(host: Host) -> None:
    resident = [100 * MIB, 600 * MIB]
    watch = Watch(
        host.folder, 2, 1, Gates(), host.clock, bake_s=BAKE_S,
        memory=lambda: {"r2-w0/7": MemoryReading(None, resident.pop(0))},
    )  # fmt: skip
    watch.begin()
    assert watch.verdict().kind is VerdictKind.HOLD
    assert watch.verdict().reason == (
        "worker r2-w0/7 takes 500.0 MiB more than after its warm-up: expected at most memory_growth_mb = 256 more"
    )


def test_a_replay_is_due_after_each_pause_and_once(host: Host) -> None:
    watch = host.canary(golden_replay_s=5.0)
    told = []
    for _ in range(11):
        host.clock.advance(1.0)
        told.append(watch.replay_is_due())
    assert [second for second, due in enumerate(told, start=1) if due] == [5, 10]


def test_no_replay_is_ever_due_where_none_is_wanted(host: Host) -> None:
    watch = host.canary(golden_replay_s=0.0)
    host.clock.advance(1000.0)
    assert not watch.replay_is_due()


def test_a_replay_that_gives_other_outputs_is_a_breach(host: Host) -> None:
    watch = host.canary()
    watch.replayed("r2-w0", [BROKEN.model_dump(mode="json") | {"reason": "expected 1, found 2"}])
    verdict = watch.verdict()
    assert verdict.kind is VerdictKind.BREACH
    assert verdict.reason == "in worker r2-w0 golden request 'a' gives other outputs: expected 1, found 2"


def test_a_promoted_revision_is_held_against_what_its_predecessor_answered(host: Host) -> None:
    past = PastTraffic(host.folder, host.clock)
    past.note(1, BAKE_S)
    host.answer(host.stable, 2000)
    watch = Watch(host.folder, 2, 1, Gates(), host.clock, bake_s=BAKE_S, past=past)
    watch.begin()
    verdict = host.bake(watch, ms=30, both=False)
    assert (verdict.kind, verdict.evidence.bake) == (VerdictKind.BREACH, "watch")


def test_the_past_reaches_back_ten_minutes(host: Host) -> None:
    past = PastTraffic(host.folder, host.clock)
    for _ in range(30):
        host.clock.advance(60.0)
        host.answer(host.stable, 10)
        past.note(1, BAKE_S)
    assert past.of(1).requests == 100


def test_the_past_of_a_revision_that_was_not_noted_is_all_that_it_answered(host: Host) -> None:
    host.answer(host.stable, 70)
    past = PastTraffic(host.folder, host.clock)
    past.note(2, BAKE_S)
    assert past.of(1).requests == 70
