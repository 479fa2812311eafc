"""Every scheme on graphs as exporters write them: what becomes of each weight, and how near the answers stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.graphs import batch_normalized, before_branches, old_exporter, tied, twice
from tests.models import inputs, mlp
from tests.packaging import answers, branching, cnn, embedder, model_of, relative_error, tensor, weight, write_model

from hyperion.adapters.engine.session import make_session
from hyperion.adapters.onnx.forms import Form, Forms
from hyperion.adapters.onnx.source import read_source
from hyperion.adapters.onnx.weights import weight_uses
from hyperion.domain.layer import split_layers
from hyperion.domain.manifest import WeightScheme
from hyperion.ports import Array, SessionOptions
from hyperion.quantization.graph import all_graphs

node = helper.make_node

IMAGES = {"image": np.random.default_rng(3).normal(size=(3, 3, 17, 20)).astype(np.float32)}
TOKENS = {"ids": np.arange(12, dtype=np.int64).reshape(3, 4)}
FLAGGED = {"x": inputs(), "flag": np.array(True)}
PLANES: dict[str, Array] = {"x": np.random.default_rng(3).normal(size=(2, 8, 9, 9)).astype(np.float32)}

MODELS: Mapping[str, tuple[onnx.ModelProto, dict[str, Array]]] = {
    "linear": (mlp(hidden=256), {"x": inputs(16)}),
    "convolutional": (cnn(), IMAGES),
    "batch norm": (batch_normalized(), PLANES),
    "embedding": (embedder(), TOKENS),
    "branches": (branching(), FLAGGED),
    "weights outside of branches": (branching(outer=True), FLAGGED),
    "tied by Gemm": (tied(gemm=True), TOKENS),
    "tied by Transpose": (tied(gemm=False), TOKENS),
    "tied, stored twice": (twice(), TOKENS),
    "opset 9": (old_exporter(9), PLANES),
    "opset 11": (old_exporter(11), PLANES),
    "opset 12": (old_exporter(12), PLANES),
}
NEAR: Mapping[WeightScheme, float] = {"int8": 0.04, "w8": 0.02, "w4": 0.2, "static-int8": 0.05, "fp16": 0.001}
"""Largest relative error of the answers."""


def forms_of(model: onnx.ModelProto, folder: Path, feeds: Mapping[str, Array] | None = None, **save: object) -> Forms:
    """The forms of a model that was saved and read again."""
    source = read_source(write_model(folder / "model", model, **save) / "model.onnx")
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    calibration = [] if feeds is None else [dict(feeds)]
    plans = split_layers(weight_uses(source.model))
    return Forms(source, plans, full_range=False, scratch=scratch.resolve(), calibration=calibration)


def answer(form: Form, feeds: Mapping[str, Array]) -> list[Array]:
    session = make_session(form.model.SerializeToString(), form.folder, SessionOptions(), "form")
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def operators(form: Form) -> list[str]:
    return [item.op_type for _, graph in all_graphs(form.model.graph) for item in graph.node]


@pytest.mark.parametrize("scheme", list(NEAR))
@pytest.mark.parametrize("name", list(MODELS))
def test_answers_stay_near_in_every_scheme(name: str, scheme: WeightScheme, tmp_path: Path) -> None:
    model, feeds = MODELS[name]
    forms = forms_of(model, tmp_path, feeds)
    chosen = {weight.key: scheme for weight in forms.weights if scheme in weight.options}

    form = forms.build(chosen)

    for want, have in zip(answers(model, feeds).values(), answer(form, feeds), strict=True):
        assert relative_error(want, have) < NEAR[scheme]
    assert form.schemes == chosen


@pytest.mark.parametrize("name", list(MODELS))
def test_every_weight_of_every_model_can_take_some_scheme(name: str, tmp_path: Path) -> None:
    model, feeds = MODELS[name]

    forms = forms_of(model, tmp_path, feeds)

    assert forms.impossible is None
    assert [weight.key for weight in forms.weights if set(weight.options) <= {"fp16"}] == []


def test_each_weight_may_have_a_scheme_of_its_own(tmp_path: Path) -> None:
    forms = forms_of(cnn(), tmp_path, IMAGES)

    form = forms.build({"c1.weight": "static-int8", "c2.weight": "int8", "fc.weight": "w4"})

    assert {"QuantizeLinear", "ConvInteger", "MatMulNBits"} <= set(operators(form))
    assert relative_error(answers(cnn(), IMAGES)["scores"], answer(form, IMAGES)[0]) < 0.2
    assert form.origins["fc.weight_w4"] == "fc.weight"


def test_sizes_are_those_of_what_is_stored(tmp_path: Path) -> None:
    forms = forms_of(mlp(hidden=256), tmp_path, {"x": inputs(16)})

    for scheme in NEAR:
        form = forms.build({weight.key: scheme for weight in forms.weights})
        stored: dict[str, int] = {}
        for tensor_ in form.model.graph.initializer:
            if tensor_.name in form.origins:
                size = helper.tensor_dtype_to_np_dtype(tensor_.data_type).itemsize * int(np.prod(tensor_.dims))
                stored[form.origins[tensor_.name]] = stored.get(form.origins[tensor_.name], 0) + size
        assert stored == {weight.key: weight.options[scheme] for weight in forms.weights}


class TestWhatIsLeftAlone:
    def test_a_form_without_choices_is_the_source(self, tmp_path: Path) -> None:
        model = batch_normalized()

        form = forms_of(model, tmp_path).build({})

        assert [item.SerializeToString() for item in form.model.graph.node] == [
            item.SerializeToString() for item in read_source(tmp_path / "model" / "model.onnx").model.graph.node
        ]

    def test_what_is_not_chosen_keeps_its_nodes(self, tmp_path: Path) -> None:
        form = forms_of(cnn(), tmp_path).build({"c1.weight": "int8"})

        assert operators(form).count("Conv") == 1
        assert operators(form).count("Gemm") == 1  # split only where its own weight is chosen

    @pytest.mark.parametrize(
        ("nodes", "shape", "reason"),
        [
            ([node("MatMul", ["x", "w"], ["y"])], (2, 32, 32), "is a batch of matrices (rank 3)"),
            ([node("MatMul", ["w", "x"], ["y"])], (32, 32), "is the left operand of MatMul"),
            ([node("ConvTranspose", ["x", "w"], ["y"])], (32, 4, 3, 3), "is used by ConvTranspose"),
            ([node("Mul", ["x", "w"], ["y"])], (32, 32), "is used by Mul"),
        ],
    )
    def test_every_refusal_has_its_reason(
        self, nodes: list[onnx.NodeProto], shape: tuple[int, ...], reason: str, tmp_path: Path
    ) -> None:
        model = model_of(nodes, [tensor("x", *["n"] * max(2, len(shape)))], [tensor("y", *["m"] * max(2, len(shape)))],
                         [weight("w", *shape)])  # fmt: skip

        (found,) = forms_of(model, tmp_path).weights

        assert set(found.options) == {"fp16"}
        assert reason in found.refused["int8"]
        assert set(found.refused) == {"int8", "w8", "w4", "static-int8"}

    def test_recurrent_weights_can_be_halved_alone(self, tmp_path: Path) -> None:
        model = model_of(
            [node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=16)],
            [tensor("x", "s", "n", 8)], [tensor("y", "s", 1, "n", 16)], [weight("w", 1, 64, 8), weight("r", 1, 64, 16)],
        )  # fmt: skip
        feeds = {"x": np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)}
        forms = forms_of(model, tmp_path)

        form = forms.build({item.key: "fp16" for item in forms.weights})

        assert {item.refused["int8"] for item in forms.weights} == {"is used by LSTM, which int8 does not cover"}
        assert relative_error(answers(model, feeds)["y"], answer(form, feeds)[0]) < 0.001

    def test_a_weight_too_large_for_half_precision_is_refused_it(self, tmp_path: Path) -> None:
        huge = numpy_helper.from_array(np.full((32, 32), 1e5, np.float32), "w")
        model = model_of([node("MatMul", ["x", "w"], ["y"])], [tensor("x", "n", 32)], [tensor("y", "n", 32)], [huge])

        (found,) = forms_of(model, tmp_path).weights

        assert found.refused["fp16"] == "holds values up to 1e+05, more than float16 can"

    def test_without_calibration_data_static_int8_is_refused(self, tmp_path: Path) -> None:
        found = forms_of(cnn(), tmp_path).weights

        assert {item.refused["static-int8"] for item in found} == {
            "static-int8 needs calibration data, and there is none"
        }


class TestPreparation:
    def test_batch_normalization_goes_into_the_convolution_before_it(self, tmp_path: Path) -> None:
        forms = forms_of(batch_normalized(), tmp_path, PLANES)

        for scheme in ("int8", "static-int8"):
            form = forms.build({"w": scheme})
            assert "BatchNormalization" not in operators(form)
            assert {"g", "mean", "var"}.isdisjoint(item.name for item in form.model.graph.initializer)
        assert form.origins["beta_folded"] == "beta"  # so that no layer loses all its tensors

    def test_labels_stay_out_of_calibration(self, tmp_path: Path) -> None:
        """A label beside the scores, made by ai.onnx.ml, as skl2onnx writes it."""
        model = mlp(hidden=64)
        model.graph.node.extend([
            node("ArgMax", [model.graph.output[0].name], ["best"], "best", axis=1, keepdims=0),
            node("ArrayFeatureExtractor", ["classes", "best"], ["label"], "label", domain="ai.onnx.ml"),
        ])  # fmt: skip
        model.graph.initializer.append(numpy_helper.from_array(np.arange(16, dtype=np.int64), "classes"))
        model.graph.output.append(tensor("label", 1, "n", kind=TensorProto.INT64))
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
        forms = forms_of(model, tmp_path, {"x": inputs(16)})

        form = forms.build({item.key: "static-int8" for item in forms.weights})

        assert set(forms.weights[0].options) >= {"static-int8"}
        assert (
            relative_error(answers(model, {"x": inputs(16)})["probabilities"], answer(form, {"x": inputs(16)})[0])
            < 0.05
        )

    def test_constants_are_weights(self, tmp_path: Path) -> None:
        """As Paddle exports them."""
        model = cnn()
        held = list(model.graph.initializer)
        del model.graph.initializer[:]
        constants = [node("Constant", [], [item.name], value=item) for item in held]
        nodes = [*constants, *[onnx.NodeProto.FromString(item.SerializeToString()) for item in model.graph.node]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        forms = forms_of(model, tmp_path)

        form = forms.build({item.key: "int8" for item in forms.weights if "int8" in item.options})

        assert operators(form).count("ConvInteger") == 2
        assert relative_error(answers(model, IMAGES)["scores"], answer(form, IMAGES)[0]) < 0.05

    def test_what_stands_in_branches_is_found_when_nodes_were_added_before_them(self, tmp_path: Path) -> None:
        """Keys tell positions, which change with every node that is added."""
        forms = forms_of(before_branches(), tmp_path)

        form = forms.build({"first": "int8", "choose@1.then_branch/then.weight": "w4"})

        weights = {key: origin for key, origin in form.origins.items() if not key.endswith(("_scale", "_zero"))}
        assert weights == {
            "first_int8": "first",
            "choose@5.then_branch/then.weight_w4": "choose@1.then_branch/then.weight",
            "choose@5.else_branch/else.weight": "choose@1.else_branch/else.weight",
        }

    def test_tied_embeddings_are_stored_once(self, tmp_path: Path) -> None:
        forms = forms_of(tied(gemm=False), tmp_path)

        form = forms.build({"table": "w4"})

        assert [item.name for item in form.model.graph.initializer if "w4" in item.name] == [
            "table_w4", "table_w4_scale", "table_w4_zero",
        ]  # fmt: skip

    @pytest.mark.parametrize("scheme", ["int8", "w8", "w4"])
    def test_a_table_that_the_model_holds_twice_is_stored_once(self, scheme: WeightScheme, tmp_path: Path) -> None:
        forms = forms_of(twice(), tmp_path)

        form = forms.build({"table": scheme, "head": scheme})
        apart = forms.build({"table": scheme, "head": "fp16"})

        assert set(form.origins.values()) == {"table"}
        assert set(apart.origins.values()) == {"table", "head"}
        assert form.schemes == {"table": scheme, "head": scheme}
        assert "head" not in [item.name for item in form.model.graph.initializer]

    @pytest.mark.parametrize("opset", [9, 11, 12])
    def test_the_operator_set_is_raised_only_where_a_scheme_needs_it(self, opset: int, tmp_path: Path) -> None:
        forms = forms_of(old_exporter(opset), tmp_path, PLANES)

        found = {
            scheme: forms.build({"fc": scheme}).model.opset_import[0].version
            for scheme in ("w4", "int8", "static-int8")
        }  # fmt: skip

        assert found == {"w4": opset, "int8": opset if opset >= 11 else 13, "static-int8": 13}


class TestKernels:
    """What the engine's integer kernels cannot do by themselves."""

    def test_a_bias_far_above_its_convolution_does_not_overflow(self, tmp_path: Path) -> None:
        bias = numpy_helper.from_array(np.full(16, 1e6, np.float32), "b")
        model = model_of(
            [node("Conv", ["x", "w", "b"], ["y"], "conv")],
            [tensor("x", "n", 8, 9, 9)], [tensor("y", "n", 16, 7, 7)], [weight("w", 16, 8, 3, 3), bias],
        )  # fmt: skip

        form = forms_of(model, tmp_path, PLANES).build({"w": "static-int8"})

        assert relative_error(answers(model, PLANES)["y"], answer(form, PLANES)[0]) < 0.01

    @pytest.mark.parametrize("scheme", ["int8", "w8", "w4", "static-int8"])
    def test_zeros_give_zeros(self, scheme: WeightScheme, tmp_path: Path) -> None:
        zeros = numpy_helper.from_array(np.zeros((32, 32), np.float32), "w")
        model = model_of([node("MatMul", ["x", "w"], ["y"])], [tensor("x", "n", 32)], [tensor("y", "n", 32)], [zeros])
        feeds = {"x": inputs(8)}

        form = forms_of(model, tmp_path, feeds).build({"w": scheme})

        assert not answer(form, feeds)[0].any()

    def test_residual_networks_compute_with_integers_throughout(self, tmp_path: Path) -> None:
        """The engine makes one kernel of each convolution, with its activation, and of the sum."""
        model = model_of(
            [
                node("Conv", ["x", "a"], ["a1"], "a", pads=[1, 1, 1, 1]), node("Relu", ["a1"], ["a2"]),
                node("Conv", ["a2", "b"], ["b1"], "b", pads=[1, 1, 1, 1]),
                node("Add", ["b1", "a2"], ["sum"]), node("Relu", ["sum"], ["s2"]),
                node("MaxPool", ["s2"], ["pool"], kernel_shape=[2, 2]), node("Conv", ["pool", "c"], ["y"], "c"),
            ],
            [tensor("x", "n", 8, 9, 9)], [tensor("y", "n", 16, 6, 6)],
            [weight("a", 16, 8, 3, 3), weight("b", 16, 16, 3, 3), weight("c", 16, 16, 3, 3)],
        )  # fmt: skip
        form = forms_of(model, tmp_path, PLANES).build(dict.fromkeys("abc", "static-int8"))

        found = optimized(form, tmp_path / "optimized.onnx")

        assert [item for item in found if item in ("Conv", "FusedConv", "Add", "Relu")] == []
        assert found.count("QLinearConv") == 3


def optimized(form: Form, path: Path) -> list[str]:
    """The operators that the engine makes of a form."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/")
    onnxruntime.InferenceSession(form.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [item.op_type for item in onnx.load(path).graph.node]
