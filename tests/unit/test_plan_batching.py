"""The checklist on batches: batched answers are the single ones, or batches that were asked for are denied."""

from __future__ import annotations

import pytest

from hyperion.domain.config import Batching
from hyperion.domain.finding import Outcome
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.tuning import TOLERANCE, BatchingMode, Curve
from hyperion.verification.plan_batching import check_batching

ROWS = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=("n", 3)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("n", 2)),),
)
ONE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2)),),
)
MODES: tuple[BatchingMode, ...] = ("auto", "on", "off")


def outcome(mode: BatchingMode, difference: float | None, signature: Signature = ROWS) -> Outcome:
    return check_batching(Batching(mode=mode), Curve(difference=difference), signature).outcome


@pytest.mark.parametrize("mode", MODES)
def test_equal_answers_pass_in_every_mode(mode: BatchingMode) -> None:
    assert outcome(mode, TOLERANCE) is Outcome.PASSED


@pytest.mark.parametrize("mode", MODES)
def test_answers_that_differ_deny_only_who_asked_for_batches(mode: BatchingMode) -> None:
    assert outcome(mode, 2 * TOLERANCE) is (Outcome.FAILED if mode == "on" else Outcome.PASSED)


@pytest.mark.parametrize("mode", MODES)
def test_a_model_without_open_rows_denies_only_who_asked_for_batches(mode: BatchingMode) -> None:
    assert outcome(mode, None, ONE) is (Outcome.FAILED if mode == "on" else Outcome.PASSED)


def test_what_was_not_measured_is_skipped_with_its_reason() -> None:
    finding = check_batching(Batching(mode="on"), Curve(unavailable="no time"), ROWS)

    assert (finding.outcome, finding.reason) == (Outcome.SKIPPED, "no time")
