"""Models of other tools that no converter takes: each is refused in words that say what to do instead."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from hyperion.adapters.onnx.parts import refuse_pointer
from hyperion.domain.manifest import MODEL_FILE
from hyperion.errors import HostError, ModelSourceError

HEAD_BYTES = 512
_LARGEST_TFJS_BYTES = 64 * 2**20

TorchKind = Literal["exported-program", "torchscript", "state-dict"]

_TF2ONNX = "convert it where it was made: pip install tf2onnx, then python -m tf2onnx.convert"
_FROM_ONNX = f"package the ONNX model that it was made from, as {MODEL_FILE}"

_WORDS: dict[str, tuple[str, str]] = {
    "tfjs": ("a TensorFlow.js model", f"{_TF2ONNX} --tfjs model.json --output {MODEL_FILE}"),
    "saved-model": ("a TensorFlow SavedModel", f"{_TF2ONNX} --saved-model DIR --output {MODEL_FILE}"),
    "tflite": ("a TensorFlow Lite model", f"{_TF2ONNX} --tflite FILE --output {MODEL_FILE}"),
    "keras": (
        "a Keras model",
        f"export it where it was made: keras.saving.load_model(FILE).export({MODEL_FILE!r}, format='onnx')",
    ),
    "state-dict": (
        "a PyTorch checkpoint: weights without the network's class, so no graph can be made of it",
        f"build the network where it was made, load_state_dict, and torch.onnx.export(…, {MODEL_FILE!r}, dynamo=True)",
    ),
    "torchscript": (
        "a TorchScript program",
        f"export it where it was made: torch.onnx.export(torch.jit.load(FILE), inputs, {MODEL_FILE!r}, dynamo=False)",
    ),
    "safetensors": (
        "weights without a graph (safetensors)",
        f"put config.json (with model_type) and tokenizer.json beside them, or export {MODEL_FILE} where it was made",
    ),
    "gguf": (
        "a GGUF model: text generation is not supported yet",
        "package an embedding or classification model (ONNX or a Hugging Face directory)",
    ),
    "ort": ("a model in ONNX Runtime's own ORT format", _FROM_ONNX),
    "tensorrt": ("a TensorRT engine, which fits one kind of GPU only", _FROM_ONNX),
    "openvino": ("an OpenVINO model", _FROM_ONNX),
    "coreml": ("a Core ML model", _FROM_ONNX),
    "archive": ("an archive", "unpack it and name the folder"),
    "package": ("a package already", "to change it: hyperion extract model, edit, and package the folder --as-new"),
}  # fmt: skip
_SUFFIXES = {
    ".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".tflite": "tflite", ".gguf": "gguf", ".ggml": "gguf",
    ".safetensors": "safetensors", ".ort": "ort", ".engine": "tensorrt", ".plan": "tensorrt", ".trt": "tensorrt",
    ".mlmodel": "coreml", ".mlpackage": "coreml", ".mlmodelc": "coreml", ".zip": "archive", ".tar": "archive",
    ".gz": "archive", ".tgz": "archive", ".xz": "archive", ".bz2": "archive", ".7z": "archive", ".hyperion": "package",
    ".ckpt": "state-dict", ".pt": "state-dict", ".pth": "state-dict",
}  # fmt: skip
_TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".pt2", ".ckpt", ".jit")


def refuse_foreign(path: Path) -> None:
    """Refuse a model of another tool, at ``path`` or directly in that folder; returns where nothing is recognised.

    Raises:
        ModelSourceError: A Git LFS pointer, or code ``model_source.foreign`` with what to do instead.
    """
    for item in [path, *_members(path)]:
        if item.is_file():
            refuse_pointer(head_of(item), item)
    for item in [path, *_members(path)]:
        kind = _kind(item)
        if kind is not None:
            what, hint = _WORDS[kind]
            raise ModelSourceError(f"{item}: is {what}", hint=hint, code="model_source.foreign")


def torch_kind(path: Path) -> TorchKind | None:
    """What a PyTorch archive holds, by the names of its members; None where it is none. Nothing of it is loaded."""
    if path.suffix not in _TORCH_SUFFIXES or not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError):
        return None
    if "archive_format" in names or "serialized_exported_program.json" in archive.namelist():
        return "exported-program"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    return "state-dict" if "data.pkl" in names else None


def head_of(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        HostError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error


def _members(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(item for item in path.iterdir() if not item.name.startswith("."))


def _kind(path: Path) -> str | None:
    if path.is_dir():
        if path.suffix in (".mlpackage", ".mlmodelc"):
            return "coreml"
        return "saved-model" if (path / "saved_model.pb").is_file() else None
    return _kind_by_content(path, head_of(path)) or _SUFFIXES.get(path.suffix.lower())


def _kind_by_content(path: Path, head: bytes) -> str | None:
    found = torch_kind(path)
    if found in ("torchscript", "state-dict"):
        return found
    if head.startswith(b"GGUF"):
        return "gguf"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[4:8] == b"ORTM":
        return "ort"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if path.name == "saved_model.pb":
        return "saved-model"
    if path.suffix == ".xml" and b"<net " in head:
        return "openvino"
    if path.suffix == ".json" and _is_tfjs(path):
        return "tfjs"
    return None


def _is_tfjs(path: Path) -> bool:
    """A graph or layers model in JSON, its weights in shards beside it."""
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _LARGEST_TFJS_BYTES:
            document = json.loads(path.read_bytes())
            return isinstance(document, dict) and "weightsManifest" in document and "modelTopology" in document
    return False
