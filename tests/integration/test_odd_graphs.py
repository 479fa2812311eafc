"""Graphs that are legal and unusual: names, constants, types and branches survive being packaged and quantized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.models import inputs
from tests.packaging import (
    answers,
    branching,
    load,
    model_of,
    operators,
    pack,
    relative_error,
    tensor,
    weight,
    write_model,
)

from hyperion.adapters.files.package_files import LocalPackages

node = helper.make_node


class TestOddModels:
    def test_names_of_any_kind_survive(self, tmp_path: Path) -> None:
        source, sink = "input:0", '{"name": "out", "x": [1]}'
        names = ["onnx::MatMul_1", "__pad0", "__metadata__"]
        model = model_of(
            [
                node("MatMul", [source, names[0]], ["a/b"], "n/1"),
                node("MatMul", ["a/b", names[1]], ["ü\n"], ""),
                node("MatMul", ["ü\n", names[2]], [sink], ""),
            ],
            [tensor(source, 1, 32)],
            [tensor(sink, 1, 32)],
            [weight(name, 32, 32, seed=index) for index, name in enumerate(names)],
        )
        folder = write_model(tmp_path / "d", model)
        feeds = {source: inputs(1)}

        pack(folder, tmp_path / "none.hyperion", "none")
        pack(folder, tmp_path / "int8.hyperion", "int8")

        assert np.array_equal(load(tmp_path / "none.hyperion").run(feeds)[sink], answers(model, feeds)[sink])
        assert relative_error(answers(model, feeds)[sink], load(tmp_path / "int8.hyperion").run(feeds)[sink]) < 0.1

    def test_weights_in_constant_nodes_are_stored_and_quantized(self, tmp_path: Path) -> None:
        held = weight("w", 64, 64)
        model = model_of(
            [node("Constant", [], ["w"], "const", value=held), node("MatMul", ["x", "w"], ["y"], "fc")],
            [tensor("x", "n", 64)],
            [tensor("y", "n", 64)],
            [],
        )
        folder = write_model(tmp_path / "d", model)
        feeds = {"x": np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)}

        pack(folder, tmp_path / "none.hyperion", "none")
        summary = pack(folder, tmp_path / "int8.hyperion", "int8")

        assert np.array_equal(load(tmp_path / "none.hyperion").run(feeds)["y"], answers(model, feeds)["y"])
        assert operators(tmp_path / "int8.hyperion")["MatMulInteger"] == 1
        assert summary.bytes_before == 64 * 64 * 4

    def test_a_fixed_batch_integer_inputs_and_several_outputs(self, tmp_path: Path) -> None:
        model = model_of(
            [
                node("Gather", ["table", "ids"], ["rows"], "embed"),
                node("Reshape", ["rows", "flat"], ["features"], "flatten"),
                node("MatMul", ["features", "w"], ["scores"], "fc"),
                node("ArgMax", ["scores"], ["label"], "argmax", axis=1, keepdims=0),
            ],
            [tensor("ids", 1, 16, kind=TensorProto.INT32)],
            [tensor("label", 1, kind=TensorProto.INT64), tensor("scores", 1, 10)],
            [weight("table", 50, 16), weight("w", 256, 10), numpy_helper.from_array(np.array([1, 256]), "flat")],
        )
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        loaded = load(tmp_path / "m.hyperion")
        found = loaded.run({"ids": np.arange(16, dtype=np.int32).reshape(1, 16)})

        assert [(spec.name, spec.dtype, spec.shape) for spec in loaded.outputs] == [
            ("label", "int64", (1,)), ("scores", "float32", (1, 10)),
        ]  # fmt: skip
        assert set(found) == {"label", "scores"}
        assert summary.agreement is not None
        assert (summary.agreement.output, summary.agreement.rows) == ("scores", 100)

    def test_a_scalar_input(self, tmp_path: Path) -> None:
        model = model_of(
            [node("Mul", ["x", "factor"], ["scaled"]), node("MatMul", ["scaled", "w"], ["y"])],
            [tensor("x", "n", 32), tensor("factor")],
            [tensor("y", "n", 32)],
            [weight("w", 32, 32)],
        )
        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        found = load(tmp_path / "m.hyperion").run({"x": inputs(), "factor": np.array(2.0, np.float32)})

        assert found["y"].shape == (4, 32)

    def test_types_that_safetensors_cannot_name_are_stored_as_bytes(self, tmp_path: Path) -> None:
        values = helper.make_tensor("w", TensorProto.INT4, [64, 64], np.arange(4096) % 16 - 8)
        model = model_of(
            [node("DequantizeLinear", ["w", "scale"], ["f"]), node("MatMul", ["x", "f"], ["y"])],
            [tensor("x", "n", 64)],
            [tensor("y", "n", 64)],
            [values, numpy_helper.from_array(np.array(0.1, np.float32), "scale")],
            opset=21,
        )
        model.ir_version = 10
        feeds = {"x": np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)}

        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion")

        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            stored = package.manifest.layers[0].tensors[0]
        assert (stored.dtype, stored.shape) == ("U8", (2048,))
        assert summary.scheme == "kept"
        assert np.array_equal(load(tmp_path / "m.hyperion").run(feeds)["y"], answers(model, feeds)["y"])

    @pytest.mark.parametrize("quantize", ["none", "int8"])
    def test_a_branch_that_is_nothing_but_a_large_constant(self, quantize: str, tmp_path: Path) -> None:
        def branch(name: str, seed: int) -> onnx.GraphProto:
            constant = node("Constant", [], [f"{name}_w"], value=weight("", 32, 16, seed=seed))
            return helper.make_graph([constant], name, [], [tensor(f"{name}_w", 32, 16)], [])

        model = model_of(
            [
                node("If", ["flag"], ["w"], "choose", then_branch=branch("a", 1), else_branch=branch("b", 2)),
                node("MatMul", ["x", "w"], ["y"], "linear"),
            ],
            [tensor("x", "n", 32), tensor("flag", kind=TensorProto.BOOL)],
            [tensor("y", "n", 16)],
            [],
        )
        feeds = {"x": inputs(), "flag": np.array(False)}
        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", quantize)

        assert np.array_equal(load(tmp_path / "m.hyperion").run(feeds)["y"], answers(model, feeds)["y"])

    def test_weights_of_one_name_in_two_branches_stay_apart(self, tmp_path: Path) -> None:
        model = branching()
        for attribute in model.graph.node[0].attribute:
            attribute.g.initializer[0].name = "weight"
            attribute.g.node[0].input[1] = "weight"
        folder = write_model(tmp_path / "d", model)
        pack(folder, tmp_path / "none.hyperion", "none")
        summary = pack(folder, tmp_path / "int8.hyperion", "int8")

        loaded = load(tmp_path / "none.hyperion")
        for flag in (True, False):
            feeds = {"x": inputs(), "flag": np.array(flag)}
            assert np.array_equal(loaded.run(feeds)["y"], answers(model, feeds)["y"])
        assert "has a name that several graphs use" in (summary.reason or "")
