"""How one vector is made of a text's token vectors, as the files of sentence-transformers say; plain JSON, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hyperion.adapters.conversion.hugging_face_files import read_json
from hyperion.errors import ModelSourceError

Pooling = Literal["mean", "first", "last", "max"]

_MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
_NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "first", "lasttoken": "last", "max": "max"}


@dataclass(frozen=True, slots=True)
class SentencePooling:
    """What follows the encoder.

    Attributes:
        pooling: How token vectors become one.
        normalized: Whether it is divided by its Euclidean length.
        stated: Whether files of the folder say so; else it is the usual default.
        max_tokens: Length that texts are cut to, where the files say so.
    """

    pooling: Pooling = "mean"
    normalized: bool = True
    stated: bool = False
    max_tokens: int | None = None


def sentence_pooling(folder: Path) -> SentencePooling:
    """What modules.json and the files it names say; mean and L2 norm where there is none.

    Raises:
        ModelSourceError: It names a module or a pooling that is not supported.
    """
    limit = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    max_tokens = limit if isinstance(limit, int) else None
    modules = read_json(folder / "modules.json", list)
    if not modules:
        return SentencePooling(max_tokens=max_tokens)
    pooling: Pooling | None = None
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    for module, kind in zip(modules, kinds, strict=True):
        if kind == "Pooling":
            pooling = _pooling(folder / str(module.get("path", "")) / "config.json")
        elif kind not in ("Transformer", "Normalize"):
            raise ModelSourceError(
                f"{folder / 'modules.json'}: the module {module.get('type')} is not supported",
                hint="Transformer, Pooling and Normalize are; export model.onnx with sentence-transformers itself",
                code="model_source.not_convertible",
            )
    return SentencePooling(pooling or "mean", "Normalize" in kinds, stated=True, max_tokens=max_tokens)


def _pooling(config: Path) -> Pooling:
    found = read_json(config)
    named = found.get("pooling_mode")
    chosen = [mode for key, mode in _MODES.items() if found.get(key)]
    chosen += [_NAMES[named]] if isinstance(named, str) and named in _NAMES else []
    others = [key for key, value in found.items() if key.startswith("pooling_mode_") and value and key not in _MODES]
    if len(chosen) != 1 or others:
        raise ModelSourceError(
            f"{config}: expected exactly one of {', '.join(_MODES)} to be true, found {[*chosen, *others]}",
            code="model_source.not_convertible",
        )
    return chosen[0]
