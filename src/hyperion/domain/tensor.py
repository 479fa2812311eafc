"""What a model takes and gives: named, typed, shaped tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Document, Many

DType = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "string", "other",
]  # fmt: skip
"""Element types by their numpy names; ``string`` is UTF-8 text, ``other`` is a type that numpy lacks."""

LARGEST_INTEGER = 2**53 - 1
"""Integers beyond it do not survive readers of JSON that keep numbers as doubles (RFC 8785)."""

Dimension = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] | str
"""A fixed size, or the name of a dimension that the caller chooses (``""`` where it has no name)."""


class TensorSpec(Document):
    """One input or output."""

    name: str
    dtype: DType
    shape: Many[Dimension] | None = None
    """Sizes and dimension names, outermost first; None where the model declares no shape."""
    optional: bool = False
    """Whether a request may leave this input out, since the model has a default for it; never true of an output."""

    def describe(self) -> str:
        """``float32[batch, 32]``, for people."""
        if self.shape is None:
            return f"{self.dtype}[?]"
        return f"{self.dtype}[{', '.join(str(size) if size != '' else '?' for size in self.shape)}]"

    def mismatch(self, dtype: str, shape: Sequence[int]) -> str | None:
        """Why a tensor of ``dtype`` and ``shape`` cannot be this input, or None where it can."""
        if dtype != self.dtype:
            return f"expected dtype {self.dtype}, found {dtype}"
        if self.shape is None:
            return None
        if len(shape) != len(self.shape):
            return f"expected {len(self.shape)} dimensions {self.describe()}, found {len(shape)}: {list(shape)}"
        for axis, (want, have) in enumerate(zip(self.shape, shape, strict=True)):
            if isinstance(want, int) and want != have:
                return f"expected size {want} in dimension {axis} of {self.describe()}, found {have}"
        return None


class Signature(Document):
    """The signature of a model: its inputs, its outputs, and its classes where it has some."""

    inputs: Many[TensorSpec]
    outputs: Many[TensorSpec]
    labels: Many[str] | None = None
    """Names of the classes, in the order of the last axis of the class scores."""

    @property
    def required(self) -> tuple[TensorSpec, ...]:
        """The inputs that every request must give."""
        return tuple(spec for spec in self.inputs if not spec.optional)

    def class_output(self) -> TensorSpec | None:
        """The output that holds class scores, or None where the model is no classifier.

        It is the first floating-point output whose last dimension is as long as ``labels``; without labels,
        the first floating-point output of shape [batch, n] with 2 ≤ n.
        """
        for spec in self.outputs:
            if not spec.dtype.startswith(("float", "bfloat")) or not spec.shape or len(spec.shape) != 2:
                continue
            size = spec.shape[-1]
            if self.labels is not None and size in (len(self.labels), ""):
                return spec
            if self.labels is None and isinstance(size, int) and size >= 2:
                return spec
        return None


def free_dimensions(signature: Signature, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes for every named dimension of the inputs: those given, else 1."""
    names = {d for spec in signature.inputs for d in spec.shape or () if isinstance(d, str)}
    return {name: sizes.get(name, 1) for name in names}
