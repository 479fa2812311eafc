"""Shapes that an answer must have, as signature and golden requests say together."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.domain.manifest import GoldenRequest
from hyperion.domain.tensor import TensorSpec
from hyperion.serving.output_shape import misshapen, proven_shapes
from hyperion.serving.protocol import InferenceRequest, RequestRefused, ServedModel, render_infer
from hyperion.verification.golden import Golden

X = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
Y = TensorSpec(name="y", dtype="float32", shape=("batch", 3))


def golden(rows: int, answered: int) -> Golden:
    x, y = np.zeros((rows, 2), np.float32), np.zeros((answered, 3), np.float32)
    return Golden("sample", GoldenRequest(), {"x": x}, {"y": y})


def test_what_signature_and_golden_requests_agree_on_is_demanded() -> None:
    assert proven_shapes([X], [Y], [golden(4, 4)]) == {"y": (("x", 0), 3)}


@pytest.mark.parametrize("goldens", [[golden(4, 1)], [golden(1, 1)], [golden(4, 4), golden(2, 1)]])
def test_a_shared_name_that_the_golden_requests_do_not_bear_out_is_not_demanded(goldens: list[Golden]) -> None:
    assert proven_shapes([X], [Y], goldens) == {"y": (None, 3)}


def test_without_golden_requests_nothing_is_demanded() -> None:
    assert proven_shapes([X], [Y], []) == {}


@pytest.mark.parametrize(
    ("shape", "fault"),
    [((4, 3), None), ((5, 3), "expected size 4 in dimension 0"), ((4, 2), "expected size 3"), ((4,), "2 dimensions")],
)
def test_an_output_is_held_to_its_inputs(shape: tuple[int, ...], fault: str | None) -> None:
    found = misshapen((("x", 0), 3), shape, {"x": np.zeros((4, 2), np.float32)})
    assert found is None if fault is None else fault in str(found)


def test_a_misshapen_answer_is_an_invalid_output() -> None:
    model = ServedModel("shop", "1.0.0", 1, (X,), (Y,), shapes={"y": (("x", 0), 3)})
    request = InferenceRequest(None, {"x": np.zeros((1, 2), np.float32)}, ("y",))
    with pytest.raises(RequestRefused) as caught:
        render_infer(model, request, {"y": np.zeros((5, 3), np.float32)})
    assert (caught.value.cause, caught.value.status) == ("invalid_output", 500)
