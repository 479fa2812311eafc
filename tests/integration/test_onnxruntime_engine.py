"""The engine adapter: what it takes from a package on trust (nothing), and what its failures become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import inputs, mlp, write_model_dir
from tests.packaging import load, model_of, pack, packaging_host, tensor, weight, write_model

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.onnx.proto import model_class
from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import ARCHITECTURE, MANIFEST, Manifest
from hyperion.errors import EngineError, HyperionError, IncompatibleError, MalformedPackageError
from hyperion.format.manifest_json import manifest_bytes
from hyperion.ports import SessionOptions
from hyperion.usecases.extract import extract_model


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An extracted package that a test may forge."""
    pack(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "none")
    extract_model(packaging_host(tmp_path), tmp_path / "m.hyperion", tmp_path / "tree", CollectingReporter())
    return tmp_path / "tree"


def forge(tree: Path, change: Callable[[dict[str, Any]], object], name: str = ARCHITECTURE) -> None:
    """Change a document of the tree and make its digest in the manifest right again."""
    document = json.loads((tree / name).read_bytes())
    change(document)
    raw = json.dumps(document).encode()
    (tree / name).write_bytes(raw)
    if name == MANIFEST:
        return
    manifest = Manifest.model_validate_json((tree / MANIFEST).read_bytes())
    entry = manifest.entries[name].model_copy(update={"digest": digest_of(raw), "size_bytes": len(raw)})
    forged = manifest.model_copy(update={"entries": manifest.entries | {name: entry}})
    (tree / MANIFEST).write_bytes(manifest_bytes(forged))


def refused(tree: Path, kind: type[HyperionError] = MalformedPackageError) -> HyperionError:
    with pytest.raises(kind) as refusal:
        load(tree)
    return refusal.value


def first_weight(document: dict[str, Any]) -> dict[str, Any]:
    weight: dict[str, Any] = document["model"]["graph"]["initializer"][0]
    return weight


class TestReferences:
    """Every reference is validated against the weights entry before the engine sees any of them."""

    @pytest.mark.parametrize(
        "reference",
        [
            [{"key": "location", "value": "weights/layer9.weights"}, {"key": "tensor", "value": "fc1.weight"}],
            [{"key": "location", "value": "manifest.json"}, {"key": "tensor", "value": "fc1.weight"}],
            [{"key": "location", "value": "/etc/passwd"}, {"key": "tensor", "value": "fc1.weight"}],
            [{"key": "location", "value": "../x"}, {"key": "tensor", "value": "fc1.weight"}],
            [{"key": "location", "value": "weights/layer0.weights"}, {"key": "tensor", "value": "other"}],
            [{"key": "location", "value": "weights/layer0.weights"}],
            [{"key": "tensor", "value": "fc1.weight"}],
            [],
            [
                {"key": "location", "value": "weights/layer0.weights"},
                {"key": "tensor", "value": "fc1.weight"},
                {"key": "offset", "value": "0"},
            ],
            [
                {"key": "location", "value": "weights/layer0.weights"},
                {"key": "tensor", "value": "fc1.weight"},
                {"key": "prepacked_0", "value": "x"},
            ],
            [
                {"key": "location", "value": "weights/layer0.weights"},
                {"key": "location", "value": "weights/layer0.weights"},
                {"key": "tensor", "value": "fc1.weight"},
            ],
        ],
    )
    def test_a_reference_to_anything_but_a_stored_tensor_is_refused(
        self, reference: list[dict[str, str]], tree: Path
    ) -> None:
        forge(tree, lambda document: first_weight(document).update(external_data=reference))

        assert refused(tree).code == "package.architecture"

    @pytest.mark.parametrize(
        "change",
        [
            {"dims": ["32", "63"]},
            {"dims": ["64", "32"]},
            {"dims": ["-32", "-64"]},
            {"dims": ["9223372036854775807", "9223372036854775807"]},
            {"data_type": 10},
            {"data_type": 8},
            {"data_type": 99},
            {"raw_data": "AAAA"},
        ],
    )
    def test_a_type_or_shape_other_than_the_stored_one_is_refused(self, change: dict[str, Any], tree: Path) -> None:
        forge(tree, lambda document: first_weight(document).update(change))

        assert refused(tree).code == "package.architecture"

    def test_external_data_in_an_attribute_is_refused(self, tree: Path) -> None:
        def change(document: dict[str, Any]) -> None:
            value = dict(first_weight(document), external_data=[{"key": "location", "value": "/etc/passwd"}])
            node = {
                "op_type": "Constant",
                "output": ["c"],
                "attribute": [{"name": "value", "type": "TENSOR", "t": value}],
            }
            document["model"]["graph"]["node"].insert(0, node)

        forge(tree, change)

        assert "is external, but no initializer" in refused(tree).message

    def test_external_data_in_a_sparse_weight_is_refused(self, tree: Path) -> None:
        def change(document: dict[str, Any]) -> None:
            document["model"]["graph"]["sparse_initializer"] = [{"values": first_weight(document), "dims": ["1"]}]

        forge(tree, change)

        assert "is external, but no initializer" in refused(tree).message

    def test_external_data_inside_a_function_is_refused(self, tree: Path) -> None:
        def change(document: dict[str, Any]) -> None:
            branch = {"name": "b", "initializer": [first_weight(document)], "output": [{"name": "fc1.weight"}]}
            node = {"op_type": "If", "input": ["c"], "output": ["y"]}
            node["attribute"] = [{"name": "then_branch", "type": "GRAPH", "g": branch}]
            document["model"]["functions"] = [{"name": "f", "domain": "own", "node": [node], "output": ["y"]}]

        forge(tree, change)

        assert "is external, but no initializer" in refused(tree).message


class TestArchitecture:
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"[]",
            b"{}",
            b'{"digest": "x", "model": []}',
            b'{"digest": "x", "model": {"graph": {"node": 3}}}',
            b'{"digest": "x", "model": {"graph": {"nodes": []}}}',
            b'{"digest": "x", "model": {"ir_version": "many"}}',
            b'{"digest": "x", "model": {}, "model": {}}',
            b'{"digest": "x", "model": {}, "more": 1}',
            b'{"digest": "x", "model": '
            + b'{"graph": {"node": [{"attribute": [{"g": ' * 30
            + b"{}"
            + b"}]}]}}" * 30
            + b"}",
        ],
    )
    def test_what_describes_no_model_is_refused(self, raw: bytes, tree: Path) -> None:
        (tree / ARCHITECTURE).write_bytes(raw)
        manifest = Manifest.model_validate_json((tree / MANIFEST).read_bytes())
        entry = manifest.entries[ARCHITECTURE].model_copy(update={"digest": digest_of(raw), "size_bytes": len(raw)})
        forged = manifest.model_copy(update={"entries": manifest.entries | {ARCHITECTURE: entry}})
        (tree / MANIFEST).write_bytes(manifest_bytes(forged))

        assert refused(tree).code == "package.architecture"

    def test_an_unknown_operator_is_incompatible_and_no_fault_of_the_file(self, tree: Path) -> None:
        forge(tree, lambda document: document["model"]["graph"]["node"][1].update(op_type="NoSuchOperator"))

        error = refused(tree, IncompatibleError)

        assert error.code == "model.operator"
        assert "NoSuchOperator" in error.message

    def test_another_signature_than_the_manifest_promises_is_refused(self, tree: Path) -> None:
        def change(document: dict[str, Any]) -> None:
            document["model"]["graph"]["output"][0]["name"] = "logits"

        forge(tree, change)

        assert refused(tree).code == "package.signature"


class TestRequests:
    @pytest.fixture
    def model(self, tmp_path: Path):  # type: ignore[no-untyped-def]
        pack(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "none")
        return load(tmp_path / "m.hyperion")

    @pytest.mark.parametrize(
        ("feeds", "fault"),
        [
            ({}, "the input 'x' is missing"),
            ({"x": inputs(), "y": inputs()}, "no input 'y'"),
            ({"x": inputs().astype(np.float64)}, "expected dtype float32, found float64"),
            ({"x": inputs()[:, :5]}, "expected size 32"),
            ({"x": inputs()[0]}, "expected 2 dimensions"),
            ({"x": np.array([["a"]])}, "found string"),
            ({"x": [[1.0]]}, "expected numpy.ndarray, found list"),
        ],
    )
    def test_inputs_that_do_not_fit_are_refused_in_words(
        self, feeds: dict[str, np.ndarray], fault: str, model: Any
    ) -> None:
        with pytest.raises(EngineError) as refusal:
            model.run(feeds)

        assert refusal.value.code == "engine.bad_input"
        assert fault in refusal.value.message

    def test_a_failure_while_running_is_an_engine_error(self, tmp_path: Path) -> None:
        from onnx import helper

        graph = model_of(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            [tensor("x", "n", "m")],
            [tensor("y", "n", 8)],
            [weight("w", 8, 8)],
        )
        pack(write_model(tmp_path / "d", graph), tmp_path / "m.hyperion", "none")

        with pytest.raises(EngineError) as refusal:
            load(tmp_path / "m.hyperion").run({"x": np.zeros((1, 9), np.float32)})

        assert refusal.value.code == "engine.run_failed"

    def test_text_goes_in_and_comes_out(self, tmp_path: Path) -> None:
        import onnx

        text = onnx.TensorProto.STRING
        node = onnx.helper.make_node("Identity", ["s"], ["t"])
        graph = model_of([node], [tensor("s", "n", kind=text)], [tensor("t", "n", kind=text)], [])
        pack(write_model(tmp_path / "d", graph), tmp_path / "m.hyperion", "none")

        found = load(tmp_path / "m.hyperion").run({"s": np.array(["grün", ""], object)})

        assert found["t"].tolist() == ["grün", ""]

    def test_threads_do_not_change_answers(self, tmp_path: Path) -> None:
        pack(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "int8")
        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            found = [OnnxRuntimeEngine().load(package, SessionOptions(threads=n)).run({"x": inputs()}) for n in (1, 2)]

        assert np.array_equal(found[0]["probabilities"], found[1]["probabilities"])


class TestFacts:
    def test_operators_and_opsets_are_those_of_the_cpu(self) -> None:
        engine = OnnxRuntimeEngine()

        assert {
            "ai.onnx::MatMul",
            "com.microsoft::MatMulNBits",
            "ai.onnx.ml::TreeEnsembleClassifier",
        } <= engine.operators()
        assert engine.opsets()["ai.onnx"] >= 21
        assert engine.version()[0].isdigit()

    def test_every_operator_that_packages_name_is_registered(self, tmp_path: Path) -> None:
        for quantize in ("none", "int8", "w4"):
            pack(write_model(tmp_path / "d", mlp()), tmp_path / "m.hyperion", quantize)
            with LocalPackages().open(tmp_path / "m.hyperion") as package:
                assert set(package.manifest.engine.operators) <= OnnxRuntimeEngine().operators()

    def test_the_message_class_is_that_of_the_onnx_package(self) -> None:
        import onnx

        assert isinstance(onnx.ModelProto(), model_class())
