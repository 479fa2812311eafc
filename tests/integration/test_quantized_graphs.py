"""What quantizing does to graphs: which nodes, which answers, what is left alone and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.models import inputs, mlp
from tests.packaging import (
    answers,
    branching,
    cnn,
    embedder,
    fragile,
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
from hyperion.quantization.rounding import Blocks, w4_blocks

node = helper.make_node


def restored(blocks: Blocks) -> np.ndarray:
    """float64 [rows, columns] that 4-bit blocks stand for."""
    values, zeros = (np.stack([part & 15, part >> 4], axis=-1) for part in (blocks.values, blocks.zero_points))
    rows, count = blocks.scales.shape
    shifted = values.reshape(rows, count, 32).astype(float) - zeros.reshape(rows, count, 1)
    return (shifted * blocks.scales[..., None]).reshape(rows, -1)


class TestInt8:
    def test_linear_layers(self, tmp_path: Path) -> None:
        model = mlp(hidden=256)
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        found = load(tmp_path / "m.hyperion").run({"x": inputs(32)})["probabilities"]

        assert operators(tmp_path / "m.hyperion")["MatMulInteger"] == 2
        assert operators(tmp_path / "m.hyperion")["Gemm"] == 0
        assert relative_error(answers(model, {"x": inputs(32)})["probabilities"], found) < 0.02
        assert summary.bytes_after < 0.3 * summary.bytes_before  # biases stay

    def test_convolutions_with_and_without_bias(self, tmp_path: Path) -> None:
        images = np.random.default_rng(3).normal(size=(3, 3, 17, 20)).astype(np.float32)
        summary = pack(write_model(tmp_path / "d", cnn()), tmp_path / "m.hyperion", "int8")

        found = load(tmp_path / "m.hyperion").run({"image": images})["scores"]

        assert operators(tmp_path / "m.hyperion")["ConvInteger"] == 2
        assert relative_error(answers(cnn(), {"image": images})["scores"], found) < 0.05
        assert not any(layer.kept for layer in summary.layers)

    @pytest.mark.parametrize("spatial", [1, 3])
    def test_convolutions_of_other_ranks_and_groups(self, spatial: int, tmp_path: Path) -> None:
        sizes = [3] * spatial
        model = model_of(
            [node("Conv", ["x", "w", "b"], ["y"], "c", group=2, dilations=[2] * spatial)],
            [tensor("x", "n", 32, *["s"] * spatial)],
            [tensor("y", "n", 16, *["t"] * spatial)],
            [weight("w", 16, 16, *sizes), weight("b", 16)],
        )
        feeds = {"x": np.random.default_rng(0).normal(size=(2, 32, *[9] * spatial)).astype(np.float32)}
        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        found = load(tmp_path / "m.hyperion").run(feeds)["y"]

        assert relative_error(answers(model, feeds)["y"], found) < 0.05

    def test_embeddings_row_by_row(self, tmp_path: Path) -> None:
        model = embedder()
        scaled = numpy_helper.to_array(model.graph.initializer[0]).copy()
        scaled[7] *= 1e-3  # one scale for the whole table would lose this row
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(scaled, "table"))
        feeds = {"ids": np.full((1, 4), 7, np.int64)}
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        found = load(tmp_path / "m.hyperion").run(feeds)["embedding"]

        assert relative_error(answers(model, feeds)["embedding"], found) < 0.02
        assert summary.bytes_after < 0.28 * summary.bytes_before
        assert summary.agreement is not None
        assert summary.agreement.measure == "cosine"  # nothing says that [batch, 64] are classes

    def test_an_activation_that_several_layers_read_is_quantized_once(self, tmp_path: Path) -> None:
        model = model_of(
            [
                node("MatMul", ["x", "q"], ["a"], "q"),
                node("MatMul", ["x", "k"], ["b"], "k"),
                node("Add", ["a", "b"], ["y"]),
            ],
            [tensor("x", "n", 32)],
            [tensor("y", "n", 32)],
            [weight("q", 32, 32, seed=1), weight("k", 32, 32, seed=2)],
        )
        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        assert operators(tmp_path / "m.hyperion")["DynamicQuantizeLinear"] == 1

    @pytest.mark.parametrize("outer", [False, True])
    def test_weights_inside_and_outside_of_branches(self, outer: bool, tmp_path: Path) -> None:
        model = branching(outer=outer)
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")
        loaded = load(tmp_path / "m.hyperion")

        for flag in (True, False):
            feeds = {"x": inputs(), "flag": np.array(flag)}
            assert relative_error(answers(model, feeds)["y"], loaded.run(feeds)["y"]) < 0.02
        assert operators(tmp_path / "m.hyperion")["MatMulInteger"] == 2
        assert summary.bytes_after < 0.35 * summary.bytes_before

    def test_integers_stay_below_saturation_unless_the_target_has_vnni(self, tmp_path: Path) -> None:
        largest = {}
        for platform in ("linux/amd64", "linux/amd64+avx512_vnni"):
            pack(write_model(tmp_path / "d", mlp()), tmp_path / "m.hyperion", "int8", platform=platform)
            with LocalPackages().open(tmp_path / "m.hyperion") as package:
                from safetensors.numpy import load as tensors

                stored = tensors(package.read("weights/layer0.weights"))
            largest[platform] = int(np.abs(stored["fc1.weight_int8"].astype(int)).max())

        assert largest == {"linux/amd64": 64, "linux/amd64+avx512_vnni": 127}


class TestW4:
    def test_linear_layers(self, tmp_path: Path) -> None:
        model = mlp(hidden=256)
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "w4")

        found = load(tmp_path / "m.hyperion").run({"x": inputs(32)})["probabilities"]

        assert operators(tmp_path / "m.hyperion")["MatMulNBits"] == 2
        assert relative_error(answers(model, {"x": inputs(32)})["probabilities"], found) < 0.15
        assert summary.bytes_after < 0.2 * summary.bytes_before

    def test_rounding_is_as_good_as_the_engines_own(self) -> None:
        from onnxruntime.capi.onnxruntime_pybind11_state import quantize_matmul_4bits

        weight = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)  # [K, N]
        values = np.zeros((64, 8, 16), np.uint8)
        scales, zeros = np.zeros(64 * 8, np.float32), np.zeros((64, 4), np.uint8)
        quantize_matmul_4bits(values, weight, scales, zeros, 32, 64, 256, False)

        ours = w4_blocks(np.ascontiguousarray(weight.T))

        theirs = Blocks(values, scales.reshape(64, 8), zeros)
        assert relative_error(weight.T, restored(ours)) < 1.05 * relative_error(weight.T, restored(theirs))

    def test_embeddings(self, tmp_path: Path) -> None:
        model = embedder()
        feeds = {"ids": np.arange(12, dtype=np.int64).reshape(3, 4)}
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "w4")

        found = load(tmp_path / "m.hyperion").run(feeds)["embedding"]

        assert operators(tmp_path / "m.hyperion")["GatherBlockQuantized"] == 1
        assert relative_error(answers(model, feeds)["embedding"], found) < 0.2
        assert summary.bytes_after < 0.2 * summary.bytes_before

    def test_convolutions_stay_in_float_and_that_is_said(self, tmp_path: Path) -> None:
        summary = pack(write_model(tmp_path / "d", cnn()), tmp_path / "m.hyperion", "w4")

        kept = {kept.tensor: kept.reason for layer in summary.layers for kept in layer.kept}
        assert kept == {
            "c1.weight": "is used by Conv, which w4 does not cover",
            "c2.weight": "is used by Conv, which w4 does not cover",
        }


class TestGemm:
    @pytest.mark.parametrize("quantize", ["int8", "w8", "w4", "fp16"])
    @pytest.mark.parametrize("transposed", [0, 1])
    @pytest.mark.parametrize("settings", [{}, {"alpha": 0.5, "beta": 2.0}, {"transA": 1}])
    def test_every_setting_is_kept(
        self, quantize: str, transposed: int, settings: dict[str, float], tmp_path: Path
    ) -> None:
        shape = (48, 300) if transposed else (300, 48)
        rows = (300, 5) if "transA" in settings else (5, 300)
        model = model_of(
            [node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=transposed, **settings)],
            [tensor("x", *rows)],
            [tensor("y", 5, 48)],
            [weight("w", *shape), weight("b", 48)],
        )
        feeds = {"x": np.random.default_rng(0).normal(size=rows).astype(np.float32)}
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", quantize)

        found = load(tmp_path / "m.hyperion").run(feeds)["y"]

        assert summary.scheme == quantize
        assert relative_error(answers(model, feeds)["y"], found) < (0.1 if quantize == "w4" else 0.02)

    def test_gemms_that_share_a_weight_in_two_orientations_stay(self, tmp_path: Path) -> None:
        model = model_of(
            [node("Gemm", ["x", "w"], ["a"], "one"), node("Gemm", ["a", "w"], ["y"], "two", transB=1)],
            [tensor("x", "n", 32)],
            [tensor("y", "n", 32)],
            [weight("w", 32, 32)],
        )
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        assert summary.scheme == "none"
        assert "is shared by Gemm" in (summary.reason or "")


class TestLeftAlone:
    @pytest.mark.parametrize("quantize", ["auto", "int8", "w4"])
    def test_a_quantized_model_is_recognised_and_kept(self, quantize: str, tmp_path: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model = mlp(gemm=False)
        onnx.save(model, tmp_path / "float.onnx")
        (tmp_path / "d").mkdir()
        quantize_dynamic(tmp_path / "float.onnx", tmp_path / "d" / "model.onnx", weight_type=QuantType.QInt8)

        summary = pack(tmp_path / "d", tmp_path / "m.hyperion", quantize)

        reference = answers(tmp_path / "d" / "model.onnx", {"x": inputs()})["probabilities"]
        assert np.array_equal(load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"], reference)
        assert summary.scheme == "kept"
        assert "MatMulInteger ×2" in (summary.reason or "")
        assert {layer.scheme for layer in summary.layers} == {"kept"}

    def test_half_precision_weights_stay(self, tmp_path: Path) -> None:
        half = numpy_helper.from_array(np.ones((64, 64), np.float16), "w")
        model = model_of(
            [node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), node("MatMul", ["x", "c"], ["y"])],
            [tensor("x", "n", 64)],
            [tensor("y", "n", 64)],
            [half],
        )
        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        assert (summary.scheme, summary.layers[0].bits) == ("none", 16)
        assert "float16" in (summary.reason or "")

    def test_weights_that_are_not_finite_stay(self, tmp_path: Path) -> None:
        summary = pack(write_model(tmp_path / "d", mlp(nan=True)), tmp_path / "m.hyperion", "int8")

        assert [kept.reason for layer in summary.layers for kept in layer.kept] == ["holds NaN or infinite values"]

    def test_a_model_without_weights_has_no_weights_entry(self, tmp_path: Path) -> None:
        model = model_of([node("Relu", ["x"], ["y"])], [tensor("x", "n", 4)], [tensor("y", "n", 4)], [])

        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion")

        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            assert not any(name.startswith("weights/") for name in package.names())
        assert (summary.scheme, summary.layers) == ("none", ())
        assert summary.reason == "it has no weights that could be quantized"

    def test_nothing_is_quantized_where_agreement_cannot_be_measured(self, tmp_path: Path) -> None:
        model = model_of(
            [node("MatMul", ["x", "w"], ["y"])], [tensor("x", "n", "m")], [tensor("y", "n", 70)], [weight("w", 70, 70)]
        )
        folder = write_model(tmp_path / "d", model)  # no generated input has 70 columns, and nothing says it must

        summary = pack(folder, tmp_path / "m.hyperion")
        asked = pack(folder, tmp_path / "m.hyperion", "int8")

        assert (summary.scheme, asked.scheme) == ("none", "int8")
        assert summary.reason == "agreement with the float model cannot be measured"
        assert summary.agreement_unavailable == asked.agreement_unavailable
        assert asked.agreement is None
        assert "no generated input was accepted" in (asked.agreement_unavailable or "")


class TestAuto:
    def test_a_layer_that_breaks_the_answers_stays_in_float_with_its_reason(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "d", fragile())

        summary = pack(folder, tmp_path / "m.hyperion", "auto")
        asked = pack(folder, tmp_path / "all.hyperion", "int8")

        kept = {kept.tensor: kept.reason for layer in summary.layers for kept in layer.kept}
        assert summary.scheme == "int8"
        assert "last" in kept
        assert kept["last"] == "breaks the agreement"
        assert summary.alone.keys() == kept.keys()
        assert summary.alone["last"] > 0.1
        assert summary.agreement is not None
        assert summary.agreement.holds
        assert (summary.reason or "").startswith(f"{len(kept)} of 3 weights stay in float; without a dataset")
        assert summary.shortfall is not None
        assert summary.shortfall.startswith("cosine agreement is ")
        assert any("below 0.99" in warning for warning in asked.warnings)
