"""Which models need converting, by the names of their files and what config.json says; nothing else is read."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from hyperion.adapters.onnx.foreign_model import torch_kind
from hyperion.domain.manifest import MANIFEST, MODEL_FILE
from hyperion.ports.conversion import SourceKind

_SKOPS = ".skops"
_PICKLES = (".pkl", ".pickle", ".joblib")


def recognised(path: Path) -> tuple[SourceKind | None, Path]:
    """What a path holds, and where exactly: itself, or the one such file in it.

    None for a folder with an ONNX model, an extracted package, and whatever is not known or not the only one.
    """
    if path.is_file():
        return _kind_of_file(path), path
    if not path.is_dir() or (path / MODEL_FILE).exists() or (path / MANIFEST).exists():
        return None, path
    files = sorted(item for item in path.iterdir() if item.is_file())
    if any(item.suffix == ".onnx" for item in files):
        return None, path
    if _is_hugging_face(path):
        return "hugging-face", path
    found = [(kind, item) for item in files if (kind := _kind_of_file(item)) is not None]
    return found[0] if len(found) == 1 else (None, path)


def is_pickled(kind: SourceKind, source: Path) -> bool:
    """Whether reading it can run code that lies in it."""
    if kind == "hugging-face":
        return not _has_safetensors(source)
    return source.suffix != _SKOPS


def _kind_of_file(path: Path) -> SourceKind | None:
    if path.suffix == _SKOPS or path.suffix in _PICKLES:
        return "scikit-learn"
    return "torch" if path.suffix == ".pt2" or torch_kind(path) == "exported-program" else None


def _is_hugging_face(path: Path) -> bool:
    """Whether config.json names an architecture and weights lie beside it."""
    with suppress(OSError, ValueError, RecursionError):
        config = json.loads((path / "config.json").read_bytes())
        named = isinstance(config, dict) and ("model_type" in config or "architectures" in config)
        return named and (_has_safetensors(path) or any(path.glob("pytorch_model*.bin")))
    return False


def _has_safetensors(path: Path) -> bool:
    return any(path.glob("*.safetensors"))
