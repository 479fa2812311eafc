"""Models that are no ONNX yet: converted in a child that can touch nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hyperion.ports.reporter import Reporter


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """What the person allows and asks.

    Attributes:
        trust_pickle: Whether code in pickle, joblib and .pt2 files may run, in the sandbox.
        trusted_types: Types of a skops file beyond those that skops itself trusts.
        task: Of a Hugging Face model, where its config.json does not say: ``embedding``, ``sequence-classification``
            or ``token-classification``.
    """

    trust_pickle: bool = False
    trusted_types: tuple[str, ...] = ()
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model directory made of a model in another form.

    Attributes:
        folder: Holds model.onnx, and where they follow from the model config/processing.json, assets/, hyperion.json.
        origin: What it was, such as ``Hugging Face BertModel``.
        notes: What a person should know.
    """

    folder: Path
    origin: str
    notes: tuple[str, ...] = ()


class ModelConverters(Protocol):
    """Turns models of other frameworks into model directories."""

    def recognise(self, path: Path) -> str | None:
        """What a path holds where it needs converting: ``hugging-face``, ``scikit-learn`` or ``torch``.

        None for a model directory with model.onnx, an extracted package, and everything else that reading will judge.
        """

    def convert(self, path: Path, options: ConversionOptions, reporter: Reporter) -> AbstractContextManager[Conversion]:
        """Convert; what was made is gone when the context ends.

        Raises:
            ModelSourceError: It cannot be converted, or is not trusted.
            ConfigError: A missing extra (code ``extra.missing``), or an option that does not apply.
            EngineError: The child crashed or ran out of time or memory.
        """
