"""The weights of a packaged model as its graph uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.format.package import PackageReader
    from hyperion.ports.tensors import Array


@dataclass(frozen=True, slots=True)
class ModelWeight:
    """One weight, in the form in which the float model has it, however it is stored.

    Attributes:
        name: What the float model calls it; unique in the package.
        entry: The weights entry that holds it.
        scheme: How it is stored.
        dtype: Element type of its stored values, as safetensors names it.
        bits: Of one stored value.
        shape: In the float model, input axis first where a linear layer uses it.
        rows: ``rows(start, stop)`` gives float32 values of a range of the first axis, dequantized; a scalar has one
            row. None where the values cannot be had.
        unavailable: Why not.
    """

    name: str
    entry: str
    scheme: str
    dtype: str
    bits: int
    shape: tuple[int, ...]
    rows: Callable[[int, int], Array] | None
    unavailable: str | None = None


class ModelWeights(Protocol):
    """Reads weights out of packages."""

    def read(self, package: PackageReader) -> tuple[ModelWeight, ...]:
        """Every weight of the package; only the graph and tensor headers are read, values when their turn comes.

        Values are read where they lie, unchecked: prove the entry's digest first.

        Raises:
            MalformedPackageError: architecture.json or a tensor header breaks the format.
        """
