"""Models that nothing converts: each is named for what it is, and told what to do instead."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from hyperion.adapters.onnx.foreign_model import refuse_foreign, torch_kind
from hyperion.errors import ModelSourceError

TFJS = json.dumps({"format": "graph-model", "modelTopology": {}, "weightsManifest": [{"paths": ["s1of1.bin"]}]})


def torch_archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{path.stem}/{name}", b"x")
    return path


def refused(path: Path) -> ModelSourceError:
    with pytest.raises(ModelSourceError) as refusal:
        refuse_foreign(path)
    return refusal.value


@pytest.mark.parametrize(
    ("name", "content", "what", "instead"),
    [
        ("model.json", TFJS.encode(), "TensorFlow.js", "tf2onnx.convert --tfjs"),
        ("model.keras", b"PK\x03\x04", "Keras", "format='onnx'"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "Keras", "format='onnx'"),
        ("weights.bin", b"\x89HDF\r\n\x1a\n", "Keras", "format='onnx'"),
        ("model.gguf", b"GGUF\x03\0\0\0", "text generation is not supported yet", "embedding or classification"),
        ("net.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite", "tf2onnx.convert --tflite"),
        ("net.ort", b"\x1c\0\0\0ORTM", "ORT format", "ONNX model that it was made from"),
        ("net.engine", b"ftrt", "TensorRT", "ONNX model that it was made from"),
        ("net.xml", b'<?xml version="1.0"?>\n<net name="n" version="11">', "OpenVINO", "ONNX model"),
        ("net.mlmodel", b"\x08\x04", "Core ML", "ONNX model"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}", "weights without a graph", "config.json"),
        ("model.zip", b"PK\x05\x06", "an archive", "unpack it"),
        ("model.tar.gz", b"\x1f\x8b", "an archive", "unpack it"),
        ("old.hyperion", b"PK\x03\x04", "a package already", "hyperion extract model"),
        ("weights.pth", b"\x80\x02}q\0.", "without the network's class", "load_state_dict"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_is_refused_with_what_to_do(
    name: str, content: bytes, what: str, instead: str, inside: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    error = refused(tmp_path if inside else tmp_path / name)

    assert error.code == "model_source.foreign"
    assert str(tmp_path / name) in error.message
    assert what in error.message
    assert instead in (error.hint or "")


def test_a_saved_model_folder_is_named_also_where_it_lies_in_another_folder(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"\x08\x01")

    assert "SavedModel" in refused(saved).message
    assert "SavedModel" in refused(tmp_path).message


def test_a_git_lfs_pointer_goes_before_what_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n")

    assert refused(tmp_path).code == "model_source.lfs_pointer"


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        (("data.pkl", "data/0", "version"), "state-dict"),
        (("data.pkl", "constants.pkl", "code/__torch__.py"), "torchscript"),
        (("archive_format", "models/model.json"), "exported-program"),
        (("readme.txt",), None),
    ],
)
def test_pytorch_archives_are_told_apart_by_the_names_of_their_members(
    members: tuple[str, ...], kind: str | None, tmp_path: Path
) -> None:
    assert torch_kind(torch_archive(tmp_path / "m.pt", *members)) == kind


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\0" * 64])
def test_what_is_nothing_known_is_left_to_others(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_bytes(content)

    refuse_foreign(tmp_path)
