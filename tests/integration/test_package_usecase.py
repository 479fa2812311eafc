"""Packaging with the real engine: what goes in, what comes out, what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import LABELS, inputs, mlp, write_model_dir
from tests.packages import write_directory
from tests.packaging import answers, load, pack, packaging_host, write_model

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.domain.manifest import ARCHITECTURE, QUANTIZATION
from hyperion.domain.scheme import QuantizationRecord
from hyperion.errors import ConfigError, ConflictError, DigestMismatchError, HyperionError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document
from hyperion.usecases.extract import extract_model
from hyperion.usecases.inspect import inspect_package
from hyperion.usecases.package import normalised_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_dir(tmp_path / "model")


def opened(path: Path) -> PackageReader:
    return LocalPackages().open(path)


class TestForms:
    @pytest.mark.parametrize("quantize", ["none", "int8", "w4"])
    def test_file_directory_and_store_give_the_same_answers(self, quantize: str, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", quantize)
        host = packaging_host(tmp_path)
        extract_model(host, tmp_path / "m.hyperion", tmp_path / "tree", CollectingReporter())
        store = LocalPackageStore(tmp_path / "state", host.files)
        with opened(tmp_path / "m.hyperion") as package:
            digest = store.admit(package)

        found = []
        for reader in (opened(tmp_path / "m.hyperion"), opened(tmp_path / "tree"), store.open(digest)):
            with reader:
                found.append(OnnxRuntimeEngine().load(reader).run({"x": inputs(16)})["probabilities"])

        assert np.array_equal(found[0], found[1])
        assert np.array_equal(found[0], found[2])

    @pytest.mark.parametrize("gemm", [True, False])
    def test_unquantized_answers_are_bit_equal_to_the_plain_engine(self, gemm: bool, tmp_path: Path) -> None:
        model = mlp(gemm=gemm)
        pack(write_model(tmp_path / "model", model), tmp_path / "m.hyperion", "none")

        found = load(tmp_path / "m.hyperion").run({"x": inputs(32)})

        assert np.array_equal(found["probabilities"], answers(model, {"x": inputs(32)})["probabilities"])

    def test_a_package_behind_a_symbolic_link_loads(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", "none")
        (tmp_path / "link.hyperion").symlink_to(tmp_path / "m.hyperion")

        assert load(tmp_path / "link.hyperion").run({"x": inputs()})["probabilities"].shape == (4, 8)

    def test_an_odd_file_name_loads(self, folder: Path, tmp_path: Path) -> None:
        output = tmp_path / "ein Modell #1 (größer).hyperion"
        pack(folder, output, "int8")

        assert load(output).run({"x": inputs()})["probabilities"].shape == (4, 8)


class TestBytes:
    @pytest.mark.parametrize("quantize", ["auto", "none", "w4"])
    def test_packing_twice_gives_the_same_bytes(self, quantize: str, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "a.hyperion", quantize)
        copied = shutil.copytree(folder, tmp_path / "elsewhere")

        pack(copied, tmp_path / "b.hyperion", quantize)

        assert (tmp_path / "a.hyperion").read_bytes() == (tmp_path / "b.hyperion").read_bytes()

    def test_an_extracted_tree_packs_to_the_same_bytes(self, folder: Path, tmp_path: Path) -> None:
        host = packaging_host(tmp_path)
        first = pack(folder, tmp_path / "a.hyperion", host=host)
        extract_model(host, tmp_path / "a.hyperion", tmp_path / "tree", CollectingReporter())

        again = pack(tmp_path / "tree", tmp_path / "b.hyperion", host=host)

        assert (tmp_path / "a.hyperion").read_bytes() == (tmp_path / "b.hyperion").read_bytes()
        assert (again.digest, again.layers, again.agreement) == (first.digest, first.layers, first.agreement)

    def test_an_edited_entry_of_a_tree_is_refused_by_name(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "a.hyperion")
        extract_model(packaging_host(tmp_path), tmp_path / "a.hyperion", tmp_path / "tree", CollectingReporter())
        edited = tmp_path / "tree" / "weights" / "layer0.weights"
        raw = bytearray(edited.read_bytes())
        raw[-1] ^= 1
        edited.write_bytes(bytes(raw))

        with pytest.raises(DigestMismatchError) as refusal:
            pack(tmp_path / "tree", tmp_path / "b.hyperion")

        assert refusal.value.entry == "weights/layer0.weights"
        assert "--as-new" in str(refusal.value.hint)
        assert not (tmp_path / "b.hyperion").exists()

    @pytest.mark.parametrize("option", [{"version": "2.0.0"}, {"quantize": "int8"}])
    def test_a_tree_is_packed_as_it_is_or_not_at_all(
        self, option: dict[str, str], folder: Path, tmp_path: Path
    ) -> None:
        pack(folder, tmp_path / "a.hyperion")
        extract_model(packaging_host(tmp_path), tmp_path / "a.hyperion", tmp_path / "tree", CollectingReporter())

        with pytest.raises(ConfigError, match="is packed again as it is") as refused:
            pack(tmp_path / "tree", tmp_path / "b.hyperion", **option)

        assert refused.value.code == "package.already_packed"

    def test_a_tree_without_quantization_record_packs_again(self, tmp_path: Path) -> None:
        write_directory(tmp_path / "tree")

        summary = pack(tmp_path / "tree", tmp_path / "m.hyperion")

        with opened(tmp_path / "tree") as package:
            assert summary.digest == package.digest
        assert (summary.scheme, summary.reason) == ("none", "the package holds no config/quantization.json")

    def test_architecture_has_one_node_a_line_and_no_weights(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", "none")

        with opened(tmp_path / "m.hyperion") as package:
            raw = package.read(ARCHITECTURE)
        document = json.loads(raw)
        lines = raw.decode().splitlines()
        assert sum('"op_type"' in line for line in lines) == len(document["model"]["graph"]["node"]) == 4
        assert b"raw_data" not in raw
        assert document["digest"].startswith("sha256:")


class TestWhatIsSaid:
    def test_the_summary_names_layers_sizes_and_digest(self, folder: Path, tmp_path: Path) -> None:
        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        with opened(tmp_path / "m.hyperion") as package:
            manifest, digest = package.manifest, package.digest
        assert summary.digest == digest
        assert summary.size_bytes == (tmp_path / "m.hyperion").stat().st_size
        assert [(layer.name, layer.scheme, layer.bits) for layer in summary.layers] == [
            ("fc1", "int8", 8),
            ("fc2", "int8", 8),
        ]
        assert summary.bytes_after < 0.31 * summary.bytes_before
        assert [layer.entry for layer in manifest.layers] == ["weights/layer0.weights", "weights/layer1.weights"]
        assert summary.warnings == ()

    def test_the_record_in_the_package_is_what_was_said(self, folder: Path, tmp_path: Path) -> None:
        summary = pack(folder, tmp_path / "m.hyperion", "w4")

        with opened(tmp_path / "m.hyperion") as package:
            record = parse_document(QuantizationRecord, package.read(QUANTIZATION), QUANTIZATION)
        assert (record.scheme, record.requested, record.layers) == ("w4", "w4", summary.layers)
        assert record.finite_outputs == ("probabilities",)
        assert "low nibble first" in record.storage["w4"]

    def test_two_versions_of_one_architecture_split_alike(self, folder: Path, tmp_path: Path) -> None:
        summaries = [pack(folder, tmp_path / f"{q}.hyperion", q) for q in ("none", "int8", "w4")]

        assert len({tuple(layer.name for layer in summary.layers) for summary in summaries}) == 1

    def test_missing_author_description_and_license_are_warned_of(self, tmp_path: Path) -> None:
        summary = pack(write_model(tmp_path / "My Model!", mlp()), tmp_path / "m.hyperion", "none")

        assert [warning.split(":")[0] for warning in summary.warnings] == ["no author", "no description", "no license"]
        assert (summary.name, summary.version) == ("my-model", "1.0.0")

    def test_a_name_outside_the_convention_is_warned_of_and_normalised(self, tmp_path: Path) -> None:
        folder = write_model_dir(tmp_path / "model", name="Größe/Modell")

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        assert summary.name == "gr-e-modell"
        assert "outside the convention" in summary.warnings[0]

    @pytest.mark.parametrize(
        ("text", "name"),
        [("a", "a"), ("My Model", "my-model"), ("--x--", "x"), ("???", "model"), ("A" * 100, "a" * 63)],
    )
    def test_names_are_normalised(self, text: str, name: str) -> None:
        assert normalised_name(text) == name

    def test_options_go_before_hyperion_json(self, folder: Path, tmp_path: Path) -> None:
        pack(
            folder, tmp_path / "m.hyperion", "none", name="other", version="2.0.0-rc.1", author="A", description="D",
            license="MIT",
        )  # fmt: skip

        seen = inspect_package(packaging_host(tmp_path), tmp_path / "m.hyperion")
        assert (seen.name, seen.version, seen.author, seen.description, seen.license) == (
            "other", "2.0.0-rc.1", "A", "D", "MIT",
        )  # fmt: skip
        assert seen.signature.labels == LABELS
        assert seen.golden == ("sample",)
        assert seen.quantization is not None
        assert "ai.onnx::Gemm" in seen.engine.operators
        assert seen.engine.opsets == {"ai.onnx": 17}

    def test_the_parent_is_recorded(self, folder: Path, tmp_path: Path) -> None:
        first = pack(folder, tmp_path / "v1.hyperion", "none")

        summary = pack(folder, tmp_path / "v2.hyperion", "none", version="1.1.0", parent=tmp_path / "v1.hyperion")

        with opened(tmp_path / "v2.hyperion") as package:
            parent = package.manifest.parent
        assert parent is not None
        assert (parent.digest, parent.version) == (first.digest, "1.0.0")
        assert summary.warnings == ()

    def test_a_version_that_does_not_follow_its_parent_is_warned_of(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "v1.hyperion", "none")

        summary = pack(folder, tmp_path / "v2.hyperion", "none", parent=tmp_path / "v1.hyperion")

        (warning,) = summary.warnings
        assert "1.0.0 → 1.0.0 is no step" in warning
        assert "--patch" in warning

    def test_labels_without_matching_output_are_warned_of(self, folder: Path, tmp_path: Path) -> None:
        (folder / "hyperion.json").write_text(
            json.dumps({"labels": ["a", "b", "c"], "author": "x", "license": "x", "description": "x"})
        )

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        assert "3 labels" in summary.warnings[0]

    def test_the_platform_is_recorded_and_only_vnni_gives_the_full_range(self, folder: Path, tmp_path: Path) -> None:
        ranges = {}
        for platform in ("linux/amd64", "linux/amd64+avx512_vnni"):
            pack(folder, tmp_path / "m.hyperion", "int8", platform=platform)
            with opened(tmp_path / "m.hyperion") as package:
                assert package.manifest.platform == platform
                record = parse_document(QuantizationRecord, package.read(QUANTIZATION), QUANTIZATION)
            ranges[platform] = record.full_range

        assert ranges == {"linux/amd64": False, "linux/amd64+avx512_vnni": True}

    def test_a_profile_file_names_the_platform(self, folder: Path, tmp_path: Path) -> None:
        profile = tmp_path / "target.json"
        profile.write_text(json.dumps({"os": "linux", "architecture": "amd64", "cpu_features": ["avx512_vnni"]}))

        pack(folder, tmp_path / "m.hyperion", "int8", platform=str(profile))

        with opened(tmp_path / "m.hyperion") as package:
            assert package.manifest.platform == "linux/amd64"

    def test_a_platform_that_is_neither_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="neither a platform"):
            pack(folder, tmp_path / "m.hyperion", platform="my laptop")


class TestOutput:
    def test_an_existing_package_is_replaced(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", "none")

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        with opened(tmp_path / "m.hyperion") as package:
            assert package.digest == summary.digest

    @pytest.mark.parametrize("content", [b"my only copy of something", b""])
    def test_a_file_that_is_no_package_is_not_touched(self, content: bytes, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_bytes(content)

        with pytest.raises(ConflictError):
            pack(folder, tmp_path / "notes.txt")

        assert (tmp_path / "notes.txt").read_bytes() == content

    def test_a_folder_is_not_touched(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()

        with pytest.raises(ConflictError):
            pack(folder, tmp_path / "out")

    @pytest.mark.parametrize("name", ["v1.hyperion", "model/../v1.hyperion", "symbolic", "hard"])
    def test_a_parent_is_never_replaced_by_its_child(self, name: str, folder: Path, tmp_path: Path) -> None:
        parent = tmp_path / "v1.hyperion"
        pack(folder, parent, "none")
        (tmp_path / "symbolic").symlink_to(parent)
        (tmp_path / "hard").hardlink_to(parent)
        before = parent.read_bytes()

        with pytest.raises(ConflictError) as refusal:
            pack(folder, tmp_path / name, "none", version="1.1.0", parent=parent)

        assert refusal.value.code == "conflict.output_is_parent"
        assert parent.read_bytes() == before

    def test_a_failure_leaves_nothing_behind(self, folder: Path, tmp_path: Path) -> None:
        graph = mlp()
        graph.graph.node[0].op_type = "NoSuchOperator"
        onnx.save(graph, folder / "model.onnx")

        with pytest.raises(HyperionError):
            pack(folder, tmp_path / "m.hyperion", "none")

        assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
