"""What hyperion.json and the options of packaging say, taken in or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.models import write_model_dir
from tests.packaging import pack

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import ConfigError, HostError, NotFoundError
from hyperion.format.package import PackageReader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_dir(tmp_path / "model")


def opened(path: Path) -> PackageReader:
    return LocalPackages().open(path)


def test_annotations_of_hyperion_json_are_kept(folder: Path, tmp_path: Path) -> None:
    card = json.loads((folder / "hyperion.json").read_text())
    (folder / "hyperion.json").write_text(json.dumps(card | {"annotations": {"training-run": "2026-11-20/7"}}))

    pack(folder, tmp_path / "m.hyperion", "none")

    with opened(tmp_path / "m.hyperion") as package:
        assert package.manifest.annotations == {"training-run": "2026-11-20/7"}


class TestCard:
    def test_a_folder_in_place_of_hyperion_json_is_refused(self, folder: Path, tmp_path: Path) -> None:
        (folder / "hyperion.json").unlink(missing_ok=True)
        (folder / "hyperion.json").mkdir()

        with pytest.raises(ConfigError, match=r"hyperion\.json: is a folder; expected a JSON file"):
            pack(folder, tmp_path / "f.hyperion")

    def test_a_missing_folder_of_the_output_is_told_before_the_work(self, folder: Path, tmp_path: Path) -> None:
        (folder / "model.onnx").unlink()  # so that any work would fail in another way

        with pytest.raises(HostError, match="there is no folder") as refusal:
            pack(folder, tmp_path / "absent" / "f.hyperion")

        assert refusal.value.code == "host.no_folder"

    def test_all_faults_of_hyperion_json_are_told_at_once(self, folder: Path, tmp_path: Path) -> None:
        (folder / "hyperion.json").write_text(json.dumps({"nane": "x", "version": 1, "labels": "a"}))

        with pytest.raises(ConfigError) as refusal:
            pack(folder, tmp_path / "m.hyperion")

        assert {problem.path for problem in refusal.value.problems} == {"nane", "version", "labels"}

    def test_faults_of_several_documents_are_told_at_once(self, folder: Path, tmp_path: Path) -> None:
        (folder / "hyperion.json").write_text('{"nane": 1}')
        (folder / "config").mkdir()
        (folder / "config" / "a.json").write_text("{'a': 1}")

        with pytest.raises(ConfigError) as refusal:
            pack(folder, tmp_path / "m.hyperion")

        assert "hyperion.json" in refusal.value.message
        assert "a.json" in refusal.value.message

    def test_a_version_that_is_not_semantic_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as refusal:
            pack(folder, tmp_path / "m.hyperion", version="v1")

        assert refusal.value.code == "version.invalid"
        assert refusal.value.message == "--version: 'v1' is not a semantic version"

    def test_a_version_of_hyperion_json_that_is_not_semantic_is_refused_with_its_place(
        self, folder: Path, tmp_path: Path
    ) -> None:
        (folder / "hyperion.json").write_text('{"version": "1.0"}')

        with pytest.raises(ConfigError) as refusal:
            pack(folder, tmp_path / "m.hyperion")

        assert refusal.value.message == f"{folder}/hyperion.json: version: '1.0' is not a semantic version"
        assert [problem.path for problem in refusal.value.problems] == ["version"]

    def test_an_unknown_way_to_quantize_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as refusal:
            pack(folder, tmp_path / "m.hyperion", "int4")

        assert refusal.value.code == "quantize.unknown"

    def test_a_missing_parent_is_named(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="gone"):
            pack(folder, tmp_path / "m.hyperion", parent=tmp_path / "gone.hyperion")

    def test_configs_assets_readme_and_license_are_taken_in(self, folder: Path, tmp_path: Path) -> None:
        (folder / "config").mkdir()
        (folder / "config" / "optimization.json").write_text('{"threads": 1}')
        (folder / "config" / "notes.txt").write_text("x")
        (folder / "assets" / "deep").mkdir(parents=True)
        (folder / "assets" / "deep" / "vocab.txt").write_text("a\nb\n")
        (folder / "assets" / ".DS_Store").write_text("x")
        (folder / "README.md").write_text("# Model")
        (folder / "LICENSE").write_text("Apache-2.0")
        (folder / "train.py").write_text("print()")

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        with opened(tmp_path / "m.hyperion") as package:
            names = set(package.names())
        assert {"config/optimization.json", "assets/deep/vocab.txt", "assets/README.md", "assets/LICENSE"} <= names
        assert not any("train" in name or "DS_Store" in name or "notes" in name for name in names)
        assert summary.warnings == (
            "left out: assets/.DS_Store: hidden", "left out: config/notes.txt: only .json files are taken from config/",
        )  # fmt: skip
