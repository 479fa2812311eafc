"""`package model --as-new`: an extracted package with edited entries becomes a new one, the old one its parent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.fakes.reporter import CollectingReporter
from tests.models import FEATURES, LABELS, write_model_dir
from tests.packaging import load, pack, packaging_host

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.version import Step
from hyperion.errors import ConfigError, EngineError, PackageError
from hyperion.format.signing_key import SigningKey
from hyperion.usecases.extract import extract_model
from hyperion.usecases.sign import sign_package
from hyperion.usecases.version import update_version


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An extracted package of version 1.0.0."""
    pack(write_model_dir(tmp_path / "model"), tmp_path / "a.hyperion", "none", version="1.0.0")
    extract_model(packaging_host(tmp_path), tmp_path / "a.hyperion", tmp_path / "tree", CollectingReporter())
    return tmp_path / "tree"


def test_an_edited_asset_makes_a_patch_of_the_old_package(tree: Path, tmp_path: Path) -> None:
    (tree / "assets" / "NOTES.md").write_text("tuned by hand\n")

    summary = pack(tree, tmp_path / "b.hyperion", as_new=True)

    with LocalPackages().open(tmp_path / "a.hyperion") as old, LocalPackages().open(tmp_path / "b.hyperion") as new:
        assert (new.manifest.version, new.digest) == ("1.0.1", summary.digest)
        assert new.manifest.parent is not None
        assert (new.manifest.parent.digest, new.manifest.parent.version) == (old.digest, "1.0.0")
        assert new.read("assets/NOTES.md") == b"tuned by hand\n"
        assert new.manifest.signature == old.manifest.signature


def test_changed_processing_of_raw_inputs_makes_a_major_version(tree: Path, tmp_path: Path) -> None:
    columns = [{"name": f"pixel{index}", "scale": 255.0} for index in range(FEATURES)]
    document = {
        "input": {"kind": "table", "input": "x", "columns": columns},
        "output": {"kind": "classes", "output": "probabilities", "labels": list(LABELS)},
    }
    (tree / "config" / "processing.json").write_text(json.dumps(document))

    assert pack(tree, tmp_path / "b.hyperion", as_new=True).version == "2.0.0"


def test_weights_that_another_library_wrote_are_encoded_anew(tree: Path, tmp_path: Path) -> None:
    path = tree / "weights" / "layer0.weights"
    tensors = {name: array for name, array in load_file(path).items() if not name.startswith("__pad")}
    save_file({name: array * 0 for name, array in tensors.items()}, path)

    pack(tree, tmp_path / "b.hyperion", as_new=True)

    before, after = load(tmp_path / "a.hyperion"), load(tmp_path / "b.hyperion")
    x = np.ones((2, before.inputs[0].shape[1]), np.float32)  # type: ignore[index]
    first, second = (next(iter(model.run({"x": x}).values())) for model in (before, after))
    assert not np.array_equal(first, second)


def test_a_signing_is_left_behind_and_that_is_said(tree: Path, tmp_path: Path) -> None:
    sign_package(packaging_host(tmp_path), tree, SigningKey.generate())
    (tree / "assets" / "NOTES.md").write_text("tuned by hand\n")

    summary = pack(tree, tmp_path / "b.hyperion", as_new=True)

    assert [warning.partition(":")[0] for warning in summary.warnings] == ["model.sig is not taken over"]
    with LocalPackages().open(tmp_path / "b.hyperion") as package:
        assert package.signing is None


def test_a_signing_that_is_none_is_packed_again_and_warned_of(tree: Path, tmp_path: Path) -> None:
    (tree / "model.sig").write_bytes(b"garbage")

    summary = pack(tree, tmp_path / "b.hyperion")

    (warning,) = summary.warnings
    assert warning.startswith("model.sig is packed as it is, but model.sig is no signing that can be checked")


def test_a_signing_of_another_package_is_packed_again_and_warned_of(tree: Path, tmp_path: Path) -> None:
    host = packaging_host(tmp_path)
    sign_package(host, tree, SigningKey.generate())
    signing = (tree / "model.sig").read_bytes()
    update_version(host, tree, Step.PATCH, None)
    (tree / "model.sig").write_bytes(signing)

    summary = pack(tree, tmp_path / "b.hyperion")

    (warning,) = summary.warnings
    assert warning.startswith("model.sig is packed as it is, but what was signed is another package")


def test_a_right_signing_is_packed_again_without_a_word(tree: Path, tmp_path: Path) -> None:
    sign_package(packaging_host(tmp_path), tree, SigningKey.generate())

    assert pack(tree, tmp_path / "b.hyperion").warnings == ()


def test_a_tree_that_nobody_edited_is_no_new_package(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing was edited"):
        pack(tree, tmp_path / "b.hyperion", as_new=True)

    assert not (tmp_path / "b.hyperion").exists()


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        ("architecture.json", b"{}"),
        ("config/broken.json", b"{"),
        ("assets/tool", b"\x7fELF\x02\x01\x01"),
        ("notes.txt", b"beside"),
        ("weights/layer0.weights", b"nothing"),
    ],
)
def test_edits_that_make_no_package_are_refused(entry: str, data: bytes, tree: Path, tmp_path: Path) -> None:
    (tree / entry).write_bytes(data)

    with pytest.raises((PackageError, EngineError)):
        pack(tree, tmp_path / "b.hyperion", as_new=True)

    assert not (tmp_path / "b.hyperion").exists()


def test_a_model_directory_is_no_extracted_package(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no extracted package") as refused:
        pack(write_model_dir(tmp_path / "model"), tmp_path / "b.hyperion", as_new=True)

    assert refused.value.code == "package.not_extracted"
