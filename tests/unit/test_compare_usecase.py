"""Comparing two packages by their manifests; values and answers need a real engine (tests/integration)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.packages import ENGINE, SIGNATURE, entries, write_directory, write_package
from tests.partial_host import files_host

from hyperion.adapters.dataset.reading import LocalDatasets
from hyperion.domain.comparison import VersionComparison
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, NotFoundError
from hyperion.usecases.compare import compare_versions

OTHER_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 5)),),
    outputs=(*SIGNATURE.outputs, TensorSpec(name="z", dtype="int64", shape=None)),
    labels=("no", "yes"),
)


def compare(tmp_path: Path, a: Path, b: Path) -> VersionComparison:
    return compare_versions(files_host(tmp_path), a, b, CollectingReporter(), quick=True)


def test_a_package_and_itself_are_identical_and_safe_to_swap(tmp_path: Path) -> None:
    path, tree = write_package(tmp_path / "p"), write_directory(tmp_path / "tree")

    comparison = compare(tmp_path, path, tree)

    assert comparison.is_identical
    assert comparison.order == "same"
    assert [*comparison.signature, *comparison.configs, *comparison.metadata] == []
    assert not any(layer.changed for layer in comparison.layers)
    assert comparison.step.honest
    assert str(comparison.safe_to_swap) == "safe to swap: yes, because both are the same package"


def test_every_kind_of_change_is_shown_once(tmp_path: Path) -> None:
    old = write_package(tmp_path / "old", license="MIT")
    payloads = entries(1) | {"assets/NEW.md": b"new", "config/processing.json": b"{}"}
    payloads |= {"weights/layer1.weights": payloads["weights/layer0.weights"]}
    del payloads["config/optimization.json"]
    new = write_package(tmp_path / "new", payloads, version="1.1.0", license="BSD", signature=OTHER_SIGNATURE)

    comparison = compare(tmp_path, old, new)

    assert comparison.order == "newer"
    assert not comparison.is_identical
    assert [change.path for change in comparison.signature] == ["inputs.x", "outputs.z", "labels"]
    assert (comparison.signature[0].before, comparison.signature[0].after) == ("float32[batch, 4]", "float32[batch, 5]")
    assert [change.path for change in comparison.processing] == ["config/processing.json"]
    assert [(layer.name, layer.changed) for layer in comparison.layers] == [("layer0", True), ("layer1", True)]
    assert comparison.layers[1].before is None
    assert {c.path for c in comparison.configs} == {"architecture.json", "assets/NEW.md", "config/optimization.json"}
    assert [(c.path, c.before, c.after) for c in comparison.metadata] == [("license", "MIT", "BSD")]
    assert comparison.after.weights_bytes == 2 * comparison.before.weights_bytes


def test_what_is_asked_of_the_engine_and_annotations_are_compared_one_by_one(tmp_path: Path) -> None:
    engine = ENGINE.model_copy(update={"minimum_version": "1.23", "opsets": {"ai.onnx": 17, "com.microsoft": 1}})
    a, b = ({"stage": "dev", "team": "x"}, {"team": "y"})
    old = write_package(tmp_path / "old", annotations=a)
    new = write_package(tmp_path / "new", version="1.0.1", annotations=b, engine=engine)

    comparison = compare(tmp_path, old, new)

    assert [(change.path, change.before, change.after) for change in comparison.metadata] == [
        ("engine.minimum_version", "1.20.0", "1.23"),
        ("annotations.stage", "dev", None),
        ("annotations.team", "x", "y"),
        ("engine.opsets.com.microsoft", None, 1),
    ]


def test_another_model_is_not_safe_to_swap(tmp_path: Path) -> None:
    old, new = write_package(tmp_path / "old", name="m"), write_package(tmp_path / "new", name="zzz", version="1.0.1")

    assert "B is another model, 'zzz'" in compare(tmp_path, old, new).safe_to_swap.because


@pytest.mark.parametrize("is_there", [False, True])
def test_a_dataset_that_is_none_is_refused_before_a_layer_is_read(tmp_path: Path, is_there: bool) -> None:
    old, new = write_package(tmp_path / "old"), write_package(tmp_path / "new", entries(1), version="1.0.1")
    new.write_bytes(new.read_bytes().replace(bytes(range(1, 33)), bytes(32)))
    dataset = tmp_path / "data"
    if is_there:
        dataset.mkdir()
    host = files_host(tmp_path, datasets=LocalDatasets())

    with pytest.raises(ConfigError if is_there else NotFoundError, match="data"):
        compare_versions(host, old, new, CollectingReporter(), dataset=dataset)


def test_a_breaking_change_under_a_minor_step_is_not_honest_and_not_safe(tmp_path: Path) -> None:
    old = write_package(tmp_path / "old")
    new = write_package(tmp_path / "new", version="1.1.0", signature=OTHER_SIGNATURE)

    comparison = compare(tmp_path, old, new)

    assert (comparison.step.required, comparison.step.taken, comparison.step.honest) == (Step.MAJOR, Step.MINOR, False)
    assert not comparison.safe_to_swap.safe
    assert "inputs.x" in comparison.safe_to_swap.because


def test_a_major_change_with_a_major_step_is_honest_and_still_not_safe(tmp_path: Path) -> None:
    old = write_package(tmp_path / "old")
    new = write_package(tmp_path / "new", version="2.0.0", signature=OTHER_SIGNATURE)

    comparison = compare(tmp_path, old, new)

    assert comparison.step.honest
    assert not comparison.safe_to_swap.safe


def test_without_a_dataset_a_yes_says_that_answers_were_not_measured(tmp_path: Path) -> None:
    old, new = write_package(tmp_path / "old"), write_package(tmp_path / "new", entries(1), version="1.0.1")

    comparison = compare(tmp_path, old, new)

    assert comparison.safe_to_swap.safe
    assert "not measured" in comparison.safe_to_swap.because


def test_build_metadata_does_not_change_the_order_and_older_is_older(tmp_path: Path) -> None:
    a, b, c = (write_package(tmp_path / v, version=v) for v in ("1.0.0", "1.0.0+b", "0.9.0"))

    assert compare(tmp_path, a, b).order == "same"
    assert compare(tmp_path, a, c).order == "older"


def test_manifests_alone_are_compared_although_a_payload_is_damaged(tmp_path: Path) -> None:
    old, new = write_package(tmp_path / "old"), write_package(tmp_path / "new", entries(1), version="1.0.1")
    new.write_bytes(new.read_bytes().replace(bytes(range(1, 33)), bytes(32)))

    layer = compare(tmp_path, old, new).layers[0]

    assert layer.changed
    assert layer.difference.max_abs is None
    assert layer.difference.unavailable == "only the manifests were read"
