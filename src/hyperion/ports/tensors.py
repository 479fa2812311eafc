"""Arrays by tensor name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from numpy.typing import NDArray


Array: TypeAlias = "NDArray[Any]"
Tensors: TypeAlias = "Mapping[str, Array]"
"""Arrays by tensor name; text tensors have dtype object and hold str."""
