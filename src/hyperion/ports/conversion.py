"""Models that are no ONNX yet: converted in a child that can touch nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from hyperion.ports.reporter import Reporter

SourceKind = Literal["hugging-face", "scikit-learn", "torch"]
"""Frameworks whose models are converted."""
SourceTask = Literal["embedding", "sequence-classification", "token-classification"]
"""What a Hugging Face model is converted for."""


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """What the person allows and asks.

    Attributes:
        trust_pickle: Whether code in pickle, joblib and .pt2 files may run, in the sandbox.
        trusted_types: Types of a skops file beyond those that skops itself trusts.
        task: What a Hugging Face model is for, where its files do not say (SourceTask); None to go by them.
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

    def recognise(self, path: Path) -> SourceKind | None:
        """What a path holds where it needs converting.

        None for an ONNX model, an extracted package, and everything else: reading it will judge.
        """

    def convert(self, path: Path, options: ConversionOptions, reporter: Reporter) -> AbstractContextManager[Conversion]:
        """Convert; what was made is gone when the context ends.

        Raises:
            ModelSourceError: It cannot be converted, or is not trusted.
            ConfigError: A missing extra (code ``extra.missing``), or an option that does not apply (code
                ``convert.option``).
            EngineError: The child crashed or ran out of time or memory.
        """
