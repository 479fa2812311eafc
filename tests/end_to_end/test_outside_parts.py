"""External parts that are missing, or lie outside the model directory in any of the ways there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.end_to_end.shell import Shell, refused
from tests.models import mlp, write_model_dir


def gone(part: Path, _outside: Path) -> str:
    part.unlink()
    return part.name


def parent(_part: Path, outside: Path) -> str:
    return f"../{outside.name}"


def absolute(_part: Path, outside: Path) -> str:
    return str(outside)


def symbolic_link(part: Path, outside: Path) -> str:
    part.unlink()
    part.symlink_to(outside)
    return part.name


def hard_link(part: Path, outside: Path) -> str:
    part.unlink()
    os.link(outside, part)
    return part.name


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (gone, "cannot be read"),
        (parent, "not inside"),
        (absolute, "not inside"),
        (symbolic_link, "symbolic link"),
        (hard_link, "hard link"),
    ],
)
def test_a_part_that_is_not_in_the_directory_is_named_and_nothing_is_written(
    workspace: Shell, tmp_path: Path, put: Callable[[Path, Path], str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_model_dir(tmp_path / "source")
    monkeypatch.chdir(source)
    onnx.save(mlp(), "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "outside.bin").write_bytes((source / "w.bin").read_bytes())
    location = put(source / "w.bin", tmp_path / "outside.bin")
    model = onnx.load("model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        next(pair for pair in tensor.external_data if pair.key == "location").value = location
    (source / "model.onnx").write_bytes(model.SerializeToString())

    said = refused(workspace.within("package", "model", "--input", source, "--output", tmp_path / "f.hyperion"), 3)

    assert words in said
    assert location in said
    assert "fc1.weight" in said
    assert "model_source.external_data" in said
    assert {path.name for path in tmp_path.iterdir()} == {"source", "outside.bin"}
