"""The judgement on a worker that may hang: what excuses silence, and what does not."""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.serving.heartbeat import HALTED_BEATS, MARGIN_S, Pulse

REQUEST_S = 10.0
PATIENCE = int(REQUEST_S + MARGIN_S)


@dataclass
class Worker:
    """A worker as its supervisor sees it."""

    counted: int = 0
    halted: bool = False

    def pulse(self) -> Pulse:
        return Pulse(REQUEST_S, lambda: self.counted, lambda: self.halted)


def ticks(pulse: Pulse, count: int) -> list[int | None]:
    return [pulse.tick() for _ in range(count)]


def test_a_worker_that_answers_is_asked_again_and_again() -> None:
    pulse = Worker().pulse()
    for number in range(1, 4 * PATIENCE):
        assert pulse.tick() == number
        pulse.answered(number)
    assert pulse.fault is None


def test_an_open_question_is_not_asked_twice() -> None:
    assert ticks(Worker().pulse(), 3) == [1, None, None]


def test_silence_as_long_as_a_request_may_take_is_excused_and_more_is_not() -> None:
    pulse = Worker().pulse()
    ticks(pulse, 1 + PATIENCE)
    assert pulse.fault is None
    pulse.tick()
    assert "hung" in str(pulse.fault)


def test_whoever_counts_anything_meanwhile_lives() -> None:
    worker = Worker()
    pulse = worker.pulse()
    for _ in range(5 * PATIENCE):
        pulse.tick()
        worker.counted += 1  # one long inference after the other ends
    assert pulse.fault is None


def test_a_late_answer_settles_everything() -> None:
    pulse = Worker().pulse()
    ticks(pulse, PATIENCE)
    pulse.answered(1)
    ticks(pulse, PATIENCE)
    assert pulse.fault is None


def test_an_answer_to_an_earlier_question_does_not_settle_the_open_one() -> None:
    pulse = Worker().pulse()
    pulse.tick()
    pulse.answered(1)
    assert pulse.tick() == 2
    pulse.answered(1)
    assert pulse.tick() is None


def test_a_worker_that_a_signal_stopped_is_given_up_long_before_that() -> None:
    worker = Worker(halted=True)
    pulse = worker.pulse()
    ticks(pulse, HALTED_BEATS - 1)
    assert pulse.fault is None
    pulse.tick()
    assert "stopped by a signal" in str(pulse.fault)


def test_a_worker_that_was_stopped_for_a_moment_is_forgiven() -> None:
    worker = Worker()
    pulse = worker.pulse()
    for beat in range(4 * HALTED_BEATS):
        worker.halted = beat % HALTED_BEATS != 0
        pulse.answered(pulse.tick() or 0)
    assert pulse.fault is None
