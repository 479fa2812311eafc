"""The rules for graphs from strangers, without the engine: what is refused, and what honest models need."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.hostile.models_craft import FLOAT, model_of, node, tensor, value
from tests.models import mlp

from hyperion.adapters.onnx.refusal import Refusal
from hyperion.adapters.onnx.validator import DENIED, Policy, denied_operators, validate

KNOWN = frozenset({("", name) for name in ("Add", "Relu", "Gemm", "Softmax", "If", "Identity", "Constant")})
OPSETS = {"": 21, "ai.onnx.ml": 5}
POLICY = Policy(KNOWN, OPSETS)


def refusal(model: onnx.ModelProto, policy: Policy = POLICY, weights_bytes: int = 0) -> Refusal:
    with pytest.raises(Refusal) as caught:
        validate(model, policy, weights_bytes=weights_bytes)
    return caught.value


def test_an_honest_model_passes() -> None:
    validate(mlp(0), POLICY, weights_bytes=0)


def test_a_function_of_the_models_own_needs_no_operator_of_that_name() -> None:
    own = helper.make_function("f", "Own", ["a"], ["r"], [node("Relu", ["a"], ["r"])], [helper.make_opsetid("", 21)])

    validate(model_of([node("Own", ["x"], domain="f")], functions=[own]), POLICY, weights_bytes=0)


def test_an_operator_that_the_engine_does_not_know_is_named() -> None:
    found = refusal(model_of([node("Evil", ["x"])]))

    assert found.code == "model.operator"
    assert "ai.onnx::Evil" in found.fault


@pytest.mark.parametrize(("size", "passes"), [(-1, True), (1, True), (-2, False), (2**40, False)])
def test_an_input_may_leave_a_size_open_as_old_exporters_write_it(size: int, passes: bool) -> None:
    model = mlp(0)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size

    if passes:
        validate(model, POLICY, weights_bytes=0)
    else:
        assert refusal(model).code == "model.too_large"


def test_the_host_can_refuse_more_operators() -> None:
    denied = denied_operators({DENIED: "ai.onnx::Relu, com.microsoft::MoE,"})

    found = refusal(model_of([node("Relu", ["x"])]), Policy(KNOWN, OPSETS, denied))

    assert denied == {("", "Relu"), ("com.microsoft", "MoE")}
    assert found.code == "model.operator_denied"


def test_weights_that_share_bytes_may_not_say_more_than_there_is() -> None:
    weight = TensorProto(name="w", dims=[100], data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    model = model_of([node("Add", ["x", "w"])], [weight])

    validate(model, POLICY, weights_bytes=400)

    assert refusal(model, weights_bytes=399).code == "model.too_large"


def test_a_function_is_counted_at_each_of_its_calls() -> None:
    sets = [helper.make_opsetid("", 21)]
    own = helper.make_function("f", "F", ["a"], ["r"], [node("Relu", ["a"], ["r"])] * 1000, sets)
    calls = [node("F", ["x"], [f"y{i}"], domain="f") for i in range(501)]

    found = refusal(model_of(calls, functions=[own]))

    assert (found.code, "501000 nodes" in found.fault) == ("model.too_large", True)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.BFLOAT16, TensorProto.COMPLEX64, TensorProto.STRING])
def test_tensors_of_odd_types_pass_where_they_are_whole(kind: int) -> None:
    values = {TensorProto.STRING: [b"a"] * 3, TensorProto.COMPLEX64: [1 + 1j] * 3}.get(kind, [1] * 3)
    odd = helper.make_tensor("w", kind, [3], values)

    validate(model_of([node("Identity", ["w"])], [odd]), POLICY, weights_bytes=0)


def test_empty_and_scalar_weights_pass() -> None:
    weights = [tensor("a", np.zeros((0, 5))), tensor("b", 1.0)]

    validate(model_of([node("Add", ["a", "b"])], weights, inputs=[value("x", FLOAT, None)]), POLICY, weights_bytes=0)
