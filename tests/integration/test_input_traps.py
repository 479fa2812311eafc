"""The 15 traps that real inputs showed (INPUTS.md, section 5), each on the smallest graph that has it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.checks_host import checks_host
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_dataset
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
    packaging_host,
    relative_error,
    tensor,
    weight,
    write_model,
)

from hyperion.errors import BudgetError, ConfigError, ModelSourceError
from hyperion.usecases.packaging import BudgetOptions, PackageSummary
from hyperion.usecases.verify import verify_performance

node = helper.make_node
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 90868376\n"


def test_1_four_bits_quantize_every_linear_layer_or_say_which_they_do_not(tmp_path: Path) -> None:
    linear = pack(write_model(tmp_path / "linear", mlp()), tmp_path / "linear.hyperion", "w4")
    conv = pack(write_model(tmp_path / "conv", cnn()), tmp_path / "conv.hyperion", "w4")

    assert operators(tmp_path / "linear.hyperion")["MatMulNBits"] == 2  # Gemms, which the engine's quantizer skips
    assert linear.bytes_after < 0.3 * linear.bytes_before
    kept = {kept.tensor for layer in conv.layers for kept in layer.kept}
    assert {"c1.weight", "c2.weight"} <= kept | {w.tensor for layer in conv.layers for w in layer.weights}
    assert all(kept.reason for layer in conv.layers for kept in layer.kept)


def test_2_stale_shapes_do_not_stop_quantizing(tmp_path: Path) -> None:
    model = mlp()
    model.graph.value_info.append(tensor("h", "batch", 3136))  # as exporters leave them behind: it is 64
    summary = pack(write_model(tmp_path / "d", model), tmp_path / "int8.hyperion", "int8")
    pack(tmp_path / "d", tmp_path / "none.hyperion", "none")

    plain = mlp()
    assert summary.scheme == "int8"
    assert np.array_equal(
        load(tmp_path / "none.hyperion").run({"x": inputs()})["probabilities"], expected(plain, inputs())
    )


def test_3_int8_does_not_saturate_and_the_processor_is_recorded(tmp_path: Path) -> None:
    matrix = np.full((64, 16), 0.5, np.float32)  # every product has one sign: full-range pairs exceed 16 bits
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"], "linear")],
        [tensor("x", "n", 64)],
        [tensor("y", "n", 16)],
        [numpy_helper.from_array(matrix, "w")],
    )
    feeds = {"x": np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 64)}
    summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

    found = load(tmp_path / "m.hyperion").run(feeds)["y"]

    assert operators(tmp_path / "m.hyperion")["MatMulInteger"] == 1
    assert relative_error(answers(model, feeds)["y"], found) < 0.01
    assert isinstance(summary.measurements.cpu_features, tuple)


@pytest.mark.parametrize("place", ["constant", "branch"])
def test_4_weights_in_constants_and_branches_are_found(place: str, tmp_path: Path) -> None:
    model = branching() if place == "branch" else constant_weights()
    summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

    assert operators(tmp_path / "m.hyperion")["MatMulInteger"] == (2 if place == "branch" else 1)
    assert summary.bytes_after < 0.35 * summary.bytes_before


def constant_weights() -> onnx.ModelProto:
    constant = node("Constant", [], ["w"], "constant", value=weight("w", 64, 64))
    return model_of(
        [constant, node("MatMul", ["x", "w"], ["y"], "linear")], [tensor("x", "n", 64)], [tensor("y", "n", 64)], []
    )


def test_5_a_scheme_that_needs_a_newer_opset_gets_it_and_the_output_loads(tmp_path: Path) -> None:
    model = cnn()
    model.opset_import[0].version = 11
    images = np.random.default_rng(0).normal(size=(120, 3, 16, 16)).astype(np.float32)
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows" / "images.npz", image=images)
    budget = BudgetOptions(dataset=tmp_path / "rows")

    summary = pack(
        write_model(tmp_path / "d", model),
        tmp_path / "m.hyperion",
        "static-int8",
        host=checks_host(tmp_path),
        budget=budget,
    )

    found = load(tmp_path / "m.hyperion").run({"image": images[:4]})["scores"]
    assert summary.scheme == "static-int8"
    assert operators(tmp_path / "m.hyperion")["QuantizeLinear"] >= 2
    assert relative_error(answers(model, {"image": images[:4]})["scores"], found) < 0.1


def test_6_auto_never_trades_the_answers_for_size(tmp_path: Path) -> None:
    feeds = {"x": np.random.default_rng(5).normal(size=(64, 64)).astype(np.float32)}
    folder = write_model(tmp_path / "d", fragile())

    everything = pack(folder, tmp_path / "int8.hyperion", "int8")
    searched = pack(folder, tmp_path / "auto.hyperion", "auto")

    assert everything.bytes_after < searched.bytes_after
    assert any("--quantize auto" in warning or "below" in warning for warning in everything.warnings)
    assert relative_error(answers(fragile(), feeds)["y"], load(tmp_path / "auto.hyperion").run(feeds)["y"]) < 0.15


def labelled_pack(folder: Path, output: Path, quantize: str, **budget: object) -> PackageSummary:
    rows = write_dataset(folder / "rows", 400)
    options = BudgetOptions(dataset=rows, **budget)  # type: ignore[arg-type]
    return pack(write_model(folder / "d", mlp()), output, quantize, host=checks_host(folder), budget=options)


def test_7_a_loss_comes_with_its_interval(tmp_path: Path) -> None:
    summary = labelled_pack(tmp_path, tmp_path / "m.hyperion", "w4", metric="accuracy", max_loss=0.2)

    loss = summary.measurements.loss
    assert loss is not None
    assert loss.low <= loss.loss <= loss.high
    assert loss.low < loss.high
    assert "score interval" in loss.method


def test_8_every_class_is_looked_at(tmp_path: Path) -> None:
    summary = labelled_pack(tmp_path, tmp_path / "m.hyperion", "int8", metric="accuracy", max_loss=0.2)

    loss = summary.measurements.loss
    assert loss is not None
    with np.load(tmp_path / "rows" / "part0.npz") as rows:
        assert [item.name for item in loss.classes] == [str(label) for label in np.unique(rows["label"])]
    assert all(0 <= item.recall_after <= 1 and 0 <= item.precision_after <= 1 for item in loss.classes)
    assert sum(item.support for item in loss.classes) == loss.rows


@pytest.mark.parametrize(("scheme", "share"), [("int8", 0.28), ("w4", 0.2)])
def test_9_embedding_tables_are_quantized_too(scheme: str, share: float, tmp_path: Path) -> None:
    summary = pack(write_model(tmp_path / "d", embedder(rows=2000)), tmp_path / "m.hyperion", scheme)

    assert summary.bytes_after < share * summary.bytes_before


def test_9_a_tied_table_is_stored_once(tmp_path: Path) -> None:
    model = model_of(
        [
            node("Gather", ["table", "ids"], ["rows"], "embed"),
            node("Transpose", ["table"], ["turned"], "turn", perm=[1, 0]),
            node("MatMul", ["rows", "turned"], ["logits"], "head"),
        ],
        [tensor("ids", "n", kind=TensorProto.INT64)],
        [tensor("logits", "n", 500)],
        [weight("table", 500, 64)],
    )
    summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "none")

    assert summary.bytes_before == summary.bytes_after == 500 * 64 * 4


def test_10_any_name_type_and_shape_of_inputs_and_outputs_survives(tmp_path: Path) -> None:
    named = '{"outputs": ["wake \\u00e9", "word"]}'
    model = model_of(
        [
            node("Cast", ["input:0"], ["onnx::Flatten_0"], to=TensorProto.FLOAT),
            node("Mul", ["onnx::Flatten_0", "sr"], ["scaled"]),
            node("MatMul", ["scaled", "w"], [named], "linear"),
            node("ArgMax", [named], ["label"], axis=1, keepdims=0),
        ],
        [tensor("input:0", "b", 64, kind=TensorProto.INT32), tensor("sr")],
        [tensor("label", "b", kind=TensorProto.INT64), tensor(named, "b", 48)],
        [weight("w", 64, 48)],
    )
    feeds = {"input:0": np.arange(128, dtype=np.int32).reshape(2, 64), "sr": np.array(0.01, np.float32)}
    folder = write_model(tmp_path / "d", model)
    for scheme in ("none", "int8"):
        pack(folder, tmp_path / f"{scheme}.hyperion", scheme)

    found, wanted = load(tmp_path / "none.hyperion").run(feeds), answers(model, feeds)

    assert list(found) == list(wanted) == ["label", named]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert relative_error(wanted[named], load(tmp_path / "int8.hyperion").run(feeds)[named]) < 0.05


def test_11_a_fixed_batch_and_a_least_length_are_met_or_said(tmp_path: Path) -> None:
    fixed = model_of(
        [node("MatMul", ["x", "w"], ["y"], "linear")], [tensor("x", 1, 64)], [tensor("y", 1, 64)], [weight("w", 64, 64)]
    )
    padded = model_of(
        [
            node("Pad", ["x", "pads"], ["p"], mode="reflect"),
            node("Unsqueeze", ["p", "axis"], ["u"]),
            node("Conv", ["u", "w"], ["y"], "conv", strides=[32]),
        ],
        [tensor("x", "n", "samples")],
        [tensor("y", "n", 16, "frames")],
        [
            numpy_helper.from_array(np.array([0, 96, 0, 96]), "pads"),
            numpy_helper.from_array(np.array([1]), "axis"),
            weight("w", 16, 1, 128),
        ],
        opset=17,
    )
    one = pack(write_model(tmp_path / "fixed", fixed), tmp_path / "fixed.hyperion", "auto")
    other = pack(write_model(tmp_path / "padded", padded), tmp_path / "padded.hyperion", "auto")

    assert one.scheme == "int8"
    assert other.agreement is not None or other.agreement_unavailable


@pytest.mark.parametrize("form", ["MatMulInteger", "QDQ", "weight-only Cast"])
def test_12_an_already_quantized_model_is_kept(form: str, tmp_path: Path) -> None:
    model = quantized_by_others(form)
    summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

    feeds = {"x": inputs()}
    assert summary.scheme == "kept"
    assert np.array_equal(load(tmp_path / "m.hyperion").run(feeds)["y"], answers(model, feeds)["y"])


def quantized_by_others(form: str) -> onnx.ModelProto:
    stored = numpy_helper.from_array(np.random.default_rng(0).integers(-100, 100, (32, 48), dtype=np.int8), "w")
    scale = numpy_helper.from_array(np.array(0.01, np.float32), "scale")
    ends = [tensor("x", "n", 32)], [tensor("y", "n", 48)]
    if form == "QDQ":
        nodes = [node("DequantizeLinear", ["w", "scale"], ["f"]), node("MatMul", ["x", "f"], ["y"])]
    elif form == "weight-only Cast":
        nodes = [
            node("Cast", ["w"], ["c"], to=TensorProto.FLOAT),
            node("Mul", ["c", "scale"], ["f"]),
            node("MatMul", ["x", "f"], ["y"]),
        ]
    else:
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            node("MatMulInteger", ["q", "w", "z"], ["i"]),
            node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
            node("Mul", ["s", "scale"], ["both"]),
            node("Mul", ["c", "both"], ["y"]),
        ]
    return model_of(nodes, *ends, [stored, scale])


def test_13_thousands_of_rows_are_evaluated_in_slices(tmp_path: Path) -> None:
    rows = node("Greater", ["count", "limit"], ["many"])
    model = model_of(  # class 1, unless more than 64 rows come at once
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "zero"], ["count"]),
            rows,
            node("Cast", ["many"], ["flag"], to=TensorProto.FLOAT),
            node("Mul", ["x", "none"], ["nothing"]),
            node("Add", ["nothing", "flag"], ["first"]),
            node("Add", ["nothing", "half"], ["second"]),
            node("Concat", ["first", "second"], ["scores"], axis=1),
        ],
        [tensor("x", "n", 1)],
        [tensor("scores", "n", 2)],
        [
            numpy_helper.from_array(np.array(0), "zero"),
            numpy_helper.from_array(np.array(64), "limit"),
            numpy_helper.from_array(np.array(0, np.float32), "none"),
            numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        ],
    )
    host = checks_host(tmp_path)
    pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "none", host=packaging_host(tmp_path))
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows" / "rows.npz", x=np.zeros((3000, 1), np.float32), label=np.ones(3000, np.int64))

    report = verify_performance(host, tmp_path / "m.hyperion", tmp_path / "rows", CollectingReporter())

    assert report.figures["accuracy"] == 1.0


def test_14_a_pointer_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "model.onnx").write_bytes(LFS_POINTER)

    with pytest.raises(ModelSourceError, match="Git LFS pointer") as refusal:
        pack(tmp_path / "d", tmp_path / "m.hyperion")

    assert "git lfs pull" in (refusal.value.hint or "")


def test_14_a_state_dict_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "weights.pth").write_bytes(pickle.dumps({"fc.weight": [1.0]}))

    with pytest.raises(ModelSourceError, match="without the network's class") as refusal:
        pack(tmp_path / "d", tmp_path / "m.hyperion")

    assert "torch.onnx.export" in (refusal.value.hint or "")


def test_15_texts_that_are_not_utf_8_are_refused_with_the_way_out(tmp_path: Path) -> None:
    host = checks_host(tmp_path)
    pack(write_model(tmp_path / "d", mlp()), tmp_path / "m.hyperion", "none", host=packaging_host(tmp_path))
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "rows.csv").write_bytes("x0,label\n1.0,café\n".encode("latin-1"))

    with pytest.raises(ConfigError, match="UTF-8"):
        verify_performance(host, tmp_path / "m.hyperion", tmp_path / "rows", CollectingReporter())


def test_15_classes_by_name_that_are_rare_or_absent_are_counted(tmp_path: Path) -> None:
    model = mlp()
    folder = write_model(tmp_path / "d", model)
    (folder / "hyperion.json").write_text(json.dumps({"name": "m", "labels": [f"class {i}" for i in range(8)]}))
    x = inputs(300, 3)
    scored = expected(model, x).argmax(axis=1)
    chosen = np.concatenate([np.flatnonzero(scored == 0), np.flatnonzero(scored == 1)[:1]])  # one row of class 1
    (tmp_path / "rows").mkdir()
    np.savez(tmp_path / "rows" / "rows.npz", x=x[chosen], label=np.array([f"class {i}" for i in scored[chosen]]))
    pack(folder, tmp_path / "m.hyperion", "none", host=packaging_host(tmp_path))

    report = verify_performance(checks_host(tmp_path), tmp_path / "m.hyperion", tmp_path / "rows", CollectingReporter())

    assert report.figures["accuracy"] == 1.0
    assert report.figures["per_class"]["class 1"]["support"] == 1


def test_a_budget_that_cannot_be_met_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="nothing was written"):
        labelled_pack(tmp_path, tmp_path / "m.hyperion", "w4", metric="cosine", max_loss=1e-9)

    assert not (tmp_path / "m.hyperion").exists()
