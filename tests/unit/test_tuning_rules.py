"""When threads and batches pay, by what was measured; and when a host image does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.image import PAYS_FROM_BYTES, ImageMode, image_pays
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.tuning import Curve, CurvePoint, ThreadPoint, Tuning, plan_batching

MIB = 1024 * 1024
OPEN = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 4)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 2)),),
)


def tuning(*run_ms: float, difference: float | None = 0.0, threads: dict[int, float] | None = None) -> Tuning:
    """A curve of batches 1, 2, 4, … with these times."""
    return Tuning(
        digest="sha256:" + "0" * 64, platform="linux/amd64", engine_version="1.32.0",
        measured_at=datetime(2026, 1, 1, tzinfo=UTC), measured_on="a generated input",
        curve=Curve(
            points=tuple(CurvePoint(batch=2**power, run_ms=time) for power, time in enumerate(run_ms)),
            threads=tuple(ThreadPoint(threads=count, run_ms=time) for count, time in (threads or {}).items()),
            difference=difference,
        ),
    )  # fmt: skip


def planned(found: Tuning | None, signature: Signature = OPEN, mode: Any = "auto", limit: int = 32) -> tuple[int, str]:
    plan = plan_batching(mode, limit, found, signature)
    return plan.max_batch, plan.reason


def test_the_smallest_batch_with_almost_the_most_rows_a_second_is_chosen() -> None:
    assert planned(tuning(4.0, 4.4, 5.0, 9.9))[0] == 4


def test_the_config_bounds_the_batch() -> None:
    assert planned(tuning(4.0, 4.4, 5.0, 6.0), limit=3)[0] == 3


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (tuning(4.0, 8.0, 16.0), "does not pay"),
        (tuning(0.1, 0.1, 0.1), "less than 1 ms"),
        (tuning(4.0, 4.4, difference=0.03), "differ from answers alone by 0.03"),
        (tuning(4.0, 4.4, difference=None), "not compared"),
        (None, "nothing was measured"),
    ],
)
def test_requests_run_alone_where_that_is_better_or_unknown_and_the_reason_is_named(
    found: Tuning | None, reason: str
) -> None:
    size, said = planned(found)

    assert size == 1
    assert reason in said


def test_on_waives_that_it_pays_but_not_that_it_agrees() -> None:
    assert planned(tuning(0.1, 0.2), mode="on")[0] == 32
    assert planned(tuning(4.0, 4.4, difference=0.03), mode="on")[0] == 1


def test_off_is_off() -> None:
    assert planned(tuning(4.0, 4.4, 5.0), mode="off") == (1, "switched off in deployment.json")


@pytest.mark.parametrize(
    "inputs",
    [
        (TensorSpec(name="x", dtype="float32", shape=(1, 4)),),
        (TensorSpec(name="x", dtype="float32", shape=("", 4)),),
        (TensorSpec(name="x", dtype="float32", shape=()),),
        (TensorSpec(name="x", dtype="float32", shape=None),),
        (*OPEN.inputs, TensorSpec(name="rate", dtype="int64", shape=())),
        (*OPEN.inputs, TensorSpec(name="z", dtype="float32", shape=("other",))),
        (*OPEN.inputs, TensorSpec(name="z", dtype="float32", shape=("batch",), optional=True)),
    ],
)
def test_models_without_one_open_first_dimension_are_never_batched(inputs: tuple[TensorSpec, ...]) -> None:
    signature = OPEN.model_copy(update={"inputs": inputs})

    assert planned(tuning(4.0, 4.4, 5.0), signature, mode="on")[0] == 1


@pytest.mark.parametrize(
    ("workers", "cores", "chosen"), [(1, 8, 4), (2, 8, 4), (4, 8, 2), (8, 8, 1), (1, 1, 1), (3, 2, 1)]
)
def test_as_many_threads_as_pay_and_as_each_worker_may_have(workers: int, cores: int, chosen: int) -> None:
    found = tuning(8.0, threads={1: 8.0, 2: 4.5, 4: 3.0, 8: 2.9})

    assert DeploymentConfig(threads="auto", workers=workers).threads_for(found, cores) == chosen


def test_threads_that_were_not_measured_are_one_and_those_that_are_stated_stay() -> None:
    assert DeploymentConfig(threads="auto").threads_for(None, 8) == 1
    assert DeploymentConfig(threads=3).threads_for(tuning(8.0, threads={1: 8.0, 2: 1.0}), 8) == 3


@pytest.mark.parametrize(
    ("mode", "weights", "workers", "pays"),
    [
        ("auto", PAYS_FROM_BYTES, 1, True),
        ("auto", PAYS_FROM_BYTES // 4, 4, True),
        ("auto", MIB, 4, False),
        ("on", 1, 1, True),
        ("off", 100 * PAYS_FROM_BYTES, 8, False),
    ],
)
def test_an_image_is_made_where_the_copies_of_the_weights_are_large(
    mode: ImageMode, weights: int, workers: int, pays: bool
) -> None:
    assert image_pays(mode, weights, workers) is pays
