"""Comparing real packages: both versions of the example, in every scheme, weights and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.fakes.checks_host import checks_host, packaged
from tests.fakes.reporter import CollectingReporter
from tests.models import CLASSES, HIDDEN, expected, inputs, mlp, write_dataset

from hyperion.adapters.onnx.values import OnnxWeights
from hyperion.domain.comparison import VersionComparison
from hyperion.domain.migration import GUIDE
from hyperion.domain.scheme import QuantizeChoice
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, DigestMismatchError
from hyperion.ports import Host
from hyperion.usecases.compare import compare_versions
from hyperion.usecases.package import PackageOptions, package_model
from hyperion.usecases.verify import verify_performance

MNIST = Path(__file__).parents[2] / "examples" / "mnist"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return checks_host(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Path:
    """v1 and v2 of the example in int8, float and w4: ``v1-int8.hyperion``, …"""
    folder = tmp_path_factory.mktemp("mnist")
    schemes: tuple[QuantizeChoice, ...] = ("int8", "none", "w4")
    for scheme in schemes:
        for version in ("v1", "v2"):
            output = folder / f"{version}-{scheme}.hyperion"
            package_model(host, PackageOptions(MNIST / version, output, scheme), CollectingReporter())
    return folder


def compare(host: Host, a: Path, b: Path, **options: object) -> VersionComparison:
    return compare_versions(host, a, b, CollectingReporter(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(host: Host, mnist: Path) -> VersionComparison:
    """Both versions of the example in int8, with dataset and plan."""
    a, b = mnist / "v1-int8.hyperion", mnist / "v2-int8.hyperion"
    return compare(host, a, b, dataset=MNIST / "test_data", plan=True)


def initializers(model: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(model).graph.initializer}


def test_float_weights_differ_by_what_numpy_says(host: Host, mnist: Path) -> None:
    old, new = (initializers(MNIST / version / "model.onnx") for version in ("v1", "v2"))

    comparison = compare(host, mnist / "v1-none.hyperion", mnist / "v2-none.hyperion")

    found = {weight.name: weight.difference for layer in comparison.layers for weight in layer.weights}
    assert found.keys() == {name for name, value in old.items() if value.dtype == np.float32}
    for name, difference in found.items():
        a, b = old[name].astype(np.float64), new[name].astype(np.float64)
        assert difference.max_abs == pytest.approx(np.abs(b - a).max())
        assert difference.mean_abs == pytest.approx(np.abs(b - a).mean())
        assert difference.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((b - a) ** 2).sum()))


@pytest.mark.parametrize(("scheme", "least_db"), [("int8", 30.0), ("w4", 15.0)])
def test_quantized_weights_are_compared_as_they_are_used(host: Host, mnist: Path, scheme: str, least_db: float) -> None:
    comparison = compare(host, mnist / "v1-none.hyperion", mnist / f"v1-{scheme}.hyperion")

    weights = {weight.name: weight for layer in comparison.layers for weight in layer.weights}
    linear = weights["fc1.weight"]
    assert linear.before is not None
    assert linear.after is not None
    assert (linear.before.scheme, linear.after.scheme) == ("none", scheme)
    assert linear.before.shape == linear.after.shape == (3136, 256)
    assert linear.difference.sqnr_db is not None
    assert linear.difference.sqnr_db > least_db
    assert weights["fc1.bias"].difference.max_abs == 0


def test_four_bit_weights_are_dequantized_as_the_engine_does_it(host: Host, mnist: Path) -> None:
    """The engine's own operator, times one: what it answers is the weight."""
    import onnxruntime

    with host.packages.open(mnist / "v1-w4.hyperion") as package:
        weight = next(found for found in OnnxWeights().read(package) if found.name == "fc2.weight")
        assert weight.rows is not None
        values = np.concatenate([weight.rows(0, 7), weight.rows(7, 256)])
        with package.open(weight.entry) as stream:
            parts = _safetensors(stream.read())
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMulNBits", ["x", "w", "s", "z"], ["y"], domain="com.microsoft", K=rows, N=columns, bits=4,
                          block_size=32)],
        "one", [helper.make_tensor_value_info("x", 1, [rows, rows])],
        [helper.make_tensor_value_info("y", 1, [rows, columns])],
        [numpy_helper.from_array(parts[f"fc2.weight_{part}"], name)
         for name, part in (("w", "w4"), ("s", "w4_scale"), ("z", "w4_zero"))],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    )
    model.ir_version = 9
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    (answer,) = session.run(None, {"x": np.eye(rows, dtype=np.float32)})

    np.testing.assert_allclose(values, answer, rtol=1e-5, atol=1e-7)


def _safetensors(data: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(data)


def test_the_answers_are_those_that_verify_performance_finds(host: Host, mnist: Path, whole: VersionComparison) -> None:
    alone = verify_performance(host, mnist / "v2-int8.hyperion", MNIST / "test_data", CollectingReporter()).figures

    answers = whole.answers

    assert answers is not None
    assert answers.classes is not None
    assert answers.rows == 1000
    assert answers.classes.accuracy_after == alone["accuracy"]
    assert answers.classes.changed_rows == sum(change.rows for change in answers.classes.changes) > 0
    assert answers.classes.mended_rows is not None
    assert answers.classes.broken_rows is not None
    assert answers.classes.mended_rows > answers.classes.broken_rows
    assert [output.name for output in answers.outputs] == ["probabilities"]


def test_the_two_versions_of_the_example_are_safe_to_swap(whole: VersionComparison) -> None:
    comparison = whole

    assert (comparison.step.required, comparison.step.taken, comparison.step.honest) == (Step.PATCH, Step.MINOR, True)
    assert comparison.safe_to_swap.safe
    assert "predictions change" in comparison.safe_to_swap.because
    assert "accuracy" in comparison.safe_to_swap.because
    assert comparison.plan is not None
    assert tuple(point.point for point in comparison.plan) == GUIDE[Step.PATCH]
    assert "golden requests answered within tolerance" in comparison.plan[1].found


def test_a_model_that_is_wrong_more_often_is_not_safe_to_swap(host: Host, mnist: Path) -> None:
    backwards = compare(host, mnist / "v2-int8.hyperion", mnist / "v1-int8.hyperion", dataset=MNIST / "test_data")

    assert backwards.step.honest is None
    assert not backwards.safe_to_swap.safe
    assert "wrong more often" in backwards.safe_to_swap.because


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Path:
    """base.hyperion, and tuned.hyperion with another last layer."""
    folder = tmp_path_factory.mktemp("head")
    tuned = mlp(0)
    for tensor in tuned.graph.initializer:
        if tensor.name == "fc2.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    packaged(folder, host, "base", golden=False)
    packaged(folder, host, "tuned", model=tuned, version="1.0.1", golden=False)
    return folder


def test_of_a_tuned_head_one_layer_changed_and_by_how_much(host: Host, head: Path) -> None:
    comparison = compare(host, head / "base.hyperion", head / "tuned.hyperion")

    changed = [layer for layer in comparison.layers if layer.changed]
    assert len(changed) == 1 < len(comparison.layers)
    (weight,) = [weight for weight in changed[0].weights if weight.name == "fc2.weight"]
    assert weight.difference.sqnr_db == pytest.approx(20 * np.log10(2))


def test_a_damaged_layer_that_did_not_change_is_not_read(host: Host, head: Path, tmp_path: Path) -> None:
    base, comparison = head / "base.hyperion", compare(host, head / "base.hyperion", head / "tuned.hyperion")
    with host.packages.open(base) as package:
        layer = next(found for found in comparison.layers if not found.changed)
        entry = next(found.entry for found in package.manifest.layers if found.name == layer.name)
        location = package.locate(entry)
    data = bytearray(base.read_bytes())
    data[location.offset + location.size_bytes - 1] ^= 1
    (tmp_path / "broken.hyperion").write_bytes(data)

    assert compare(host, tmp_path / "broken.hyperion", head / "tuned.hyperion").layers == comparison.layers


def test_a_damaged_layer_that_must_be_read_is_told(host: Host, head: Path, tmp_path: Path) -> None:
    tuned = head / "tuned.hyperion"
    with host.packages.open(tuned) as package:
        location = package.locate(package.manifest.layers[-1].entry)
    data = bytearray(tuned.read_bytes())
    data[location.offset + location.size_bytes - 1] ^= 1
    (tmp_path / "broken.hyperion").write_bytes(data)

    with pytest.raises(DigestMismatchError):
        compare(host, head / "base.hyperion", tmp_path / "broken.hyperion")


def test_weights_of_another_shape_have_no_figures_but_a_reason(host: Host, tmp_path: Path) -> None:
    a = packaged(tmp_path, host, "narrow", golden=False)
    b = packaged(tmp_path, host, "wide", golden=False, model=mlp(0, hidden=2 * HIDDEN), version="1.0.1")

    comparison = compare(host, a, b)

    weights = {weight.name: weight for layer in comparison.layers for weight in layer.weights}
    assert weights["fc1.weight"].difference.max_abs is None
    assert weights["fc1.weight"].difference.unavailable == "its shape is [32, 128], was [32, 64]"
    assert weights["fc2.bias"].difference.max_abs is not None
    assert comparison.step.required is Step.PATCH


def test_weights_with_nan_have_no_figures_but_a_reason(host: Host, tmp_path: Path) -> None:
    a = packaged(tmp_path, host, "sound", golden=False)
    b = packaged(tmp_path, host, "nan", golden=False, model=mlp(0, nan=True), version="1.0.1")
    dataset = write_dataset(tmp_path / "data")

    comparison = compare(host, a, b, dataset=dataset)

    weights = {weight.name: weight for layer in comparison.layers for weight in layer.weights}
    assert weights["fc2.weight"].difference.unavailable == "it has NaN or infinite values"
    assert comparison.answers is not None
    assert comparison.answers.stray_rows == 64
    assert "NaN" in comparison.safe_to_swap.because


def test_a_weight_that_the_exporter_calls_otherwise_is_matched_by_its_place(host: Host, tmp_path: Path) -> None:
    other = mlp(0)
    other.graph.initializer[0].name = "onnx::Gemm_17"
    other.graph.node[0].input[1] = "onnx::Gemm_17"
    a = packaged(tmp_path, host, "named", golden=False)
    b = packaged(tmp_path, host, "numbered", golden=False, model=other, version="1.0.1")

    weights = [weight for layer in compare(host, a, b).layers for weight in layer.weights]

    (matched,) = [weight for weight in weights if weight.renamed_from is not None]
    assert (matched.renamed_from, matched.name, matched.difference.max_abs) == ("fc1.weight", "onnx::Gemm_17", 0)


def test_a_dataset_that_only_the_first_takes_is_why_it_is_not_safe(host: Host, tmp_path: Path) -> None:
    renamed = mlp(0)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "features"
    a = packaged(tmp_path, host, "a", golden=False)
    b = packaged(tmp_path, host, "b", golden=False, model=renamed, version="2.0.0")
    dataset = write_dataset(tmp_path / "data")

    comparison = compare(host, a, b, dataset=dataset, plan=True)

    assert comparison.answers is not None
    assert comparison.answers.unavailable is not None
    assert [str(reason) for reason in comparison.step.reasons] == ["inputs.x: renamed x → features"]
    assert "callers must change" in comparison.safe_to_swap.because
    assert comparison.plan is not None
    assert tuple(point.point for point in comparison.plan) == GUIDE[Step.MAJOR]
    assert "1 breaking change" in comparison.plan[0].found
    with pytest.raises(ConfigError):
        compare(host, b, a, dataset=dataset)


def test_a_dataset_without_labels_and_a_model_without_classes(host: Host, tmp_path: Path) -> None:
    a = packaged(tmp_path, host, "a", golden=False)
    b = packaged(tmp_path, host, "b", golden=False, seed=1, version="1.0.1")
    (tmp_path / "data").mkdir()
    x = inputs(40)
    np.savez(tmp_path / "data" / "part.npz", x=x)

    answers = compare(host, a, b, dataset=tmp_path / "data").answers

    assert answers is not None
    assert answers.classes is not None
    assert answers.classes.accuracy_before is None
    old, new = (expected(mlp(seed), x).astype(np.float64) for seed in (0, 1))
    assert answers.classes.changed_rows == int((old.argmax(axis=1) != new.argmax(axis=1)).sum())
    (output,) = answers.outputs
    cosines = (old * new).sum(axis=1) / (np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1))
    assert output.max_abs == pytest.approx(np.abs(new - old).max(), rel=1e-4)
    assert output.cosine == pytest.approx(cosines.mean(), rel=1e-5)
    assert old.shape[1] == CLASSES


def test_a_package_that_lies_about_its_parts_gets_no_values(host: Host, mnist: Path) -> None:
    with host.packages.open(mnist / "v1-int8.hyperion") as package:
        manifest = package.manifest
        layers = [
            layer.model_copy(update={"tensors": tuple(t.model_copy(update={"scheme": "w4"}) for t in layer.tensors)})
            for layer in manifest.layers
        ]
        package._manifest = manifest.model_copy(update={"layers": tuple(layers)})  # type: ignore[attr-defined]

        weights = OnnxWeights().read(package)

    assert all(weight.rows is not None or weight.unavailable for weight in weights)
