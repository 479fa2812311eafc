"""Tensors of rounded weights in files, so that memory does not grow with the model."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.adapters.files.atomic_file import translated
from hyperion.adapters.onnx.parts import refer
from hyperion.errors import HostError
from hyperion.format.weights import ALIGNMENT
from hyperion.quantization.parts import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import TensorProto

ROOT = Path("/")
"""Locations are relative to this: the parts of one model lie in several folders."""
INLINE_BYTES = 4096
"""Smaller tensors are held in the graph itself."""


class PartFile:
    """The tensors of one weight in one scheme, one behind the other."""

    def __init__(self, path: Path, parts: Mapping[str, Part]) -> None:
        """Lay the parts out in a file; see ``create``."""
        self._path = path
        self._parts = parts
        self._offsets: dict[str, int] = {}
        self._size = 0
        for suffix, part in parts.items():
            self._offsets[suffix] = self._size
            self._size += -(-part.size_bytes // ALIGNMENT) * ALIGNMENT

    def create(self) -> dict[str, NDArray[Any]]:
        """Make the file and map its parts for writing, by suffix.

        Raises:
            HostError: No space, no permission.
        """
        with translated(self._path.parent):  # whoever gave the folder knows it; the file's name is our own business
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)  # a full disk must not show while writing mapped memory
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise HostError(
                    f"no space for {self._size} bytes of rounded weights in {self._path.parent}: {error.strerror}",
                    hint="free some space, or choose an output on another disk",
                    code="host.no_space",
                ) from error
            finally:
                os.close(descriptor)
            return {suffix: self._mapped(suffix, "r+") for suffix in self._parts}

    def seen_as(self, parts: Mapping[str, Part]) -> PartFile:
        """The same file, with parts of the same sizes in other shapes."""
        return PartFile(self._path, parts)

    def tensors(self) -> dict[str, TensorProto]:
        """Initializers without names that hold the parts or refer to them, by suffix."""
        return {suffix: self._tensor(suffix) for suffix in self._parts}

    def _tensor(self, suffix: str) -> TensorProto:
        import numpy as np
        from onnx import TensorProto, helper

        part = self._parts[suffix]
        tensor = TensorProto(data_type=helper.np_dtype_to_tensor_dtype(np.dtype(part.dtype)), dims=part.shape)
        if part.size_bytes < INLINE_BYTES:
            tensor.raw_data = self._mapped(suffix, "r").tobytes()
        else:
            refer(tensor, below_root(self._path), self._offsets[suffix], part.size_bytes)
        return tensor

    def _mapped(self, suffix: str, mode: Any) -> NDArray[Any]:
        import numpy as np

        part = self._parts[suffix]
        return np.memmap(self._path, part.dtype, mode, self._offsets[suffix], part.shape)


def below_root(path: Path) -> str:
    """A file's location relative to ROOT, without symbolic links: the engine refuses them."""
    return os.path.relpath(os.path.realpath(path), ROOT)
