"""A model directory into which its own package was extracted (docs/adr/0008) is still a model directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import write_model_dir
from tests.packaging import pack, packaging_host

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import ConflictError, ModelSourceError
from hyperion.usecases.extract import extract_model


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A model directory with README, config and assets, packaged to ``first.hyperion`` and extracted into itself."""
    folder = write_model_dir(tmp_path / "model")
    (folder / "README.md").write_text("# A model\n")
    for name in ("config/application.json", "assets/vocabulary.txt"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    pack(folder, tmp_path / "first.hyperion", "int8")
    extract_model(packaging_host(tmp_path), tmp_path / "first.hyperion", folder, CollectingReporter())
    return folder


def digest_of(path: Path) -> str:
    with LocalPackages().open(path) as package:
        return package.digest


def test_packaging_it_again_gives_the_same_package(mixed: Path, tmp_path: Path) -> None:
    pack(mixed, tmp_path / "second.hyperion", "int8")

    assert digest_of(tmp_path / "second.hyperion") == digest_of(tmp_path / "first.hyperion")


def test_the_model_counts_and_not_what_was_extracted(mixed: Path, tmp_path: Path) -> None:
    (mixed / "weights" / "layer0.weights").write_bytes(b"edited")

    pack(mixed, tmp_path / "second.hyperion", "int8")

    assert digest_of(tmp_path / "second.hyperion") == digest_of(tmp_path / "first.hyperion")


def test_two_sources_of_one_entry_that_differ_are_refused_by_both_names(mixed: Path, tmp_path: Path) -> None:
    (mixed / "README.md").write_text("# Another text\n")

    with pytest.raises(ModelSourceError, match=r"README\.md and .*assets/README\.md") as refusal:
        pack(mixed, tmp_path / "second.hyperion", "int8")

    assert refusal.value.code == "model_source.asset"
    assert not (tmp_path / "second.hyperion").exists()


def test_extracting_another_package_over_it_changes_nothing(mixed: Path, tmp_path: Path) -> None:
    pack(mixed, tmp_path / "other.hyperion", "none")
    before = {path: path.read_bytes() for path in mixed.rglob("*") if path.is_file()}

    with pytest.raises(ConflictError):
        extract_model(packaging_host(tmp_path), tmp_path / "other.hyperion", mixed, CollectingReporter())

    assert {path: path.read_bytes() for path in mixed.rglob("*") if path.is_file()} == before
