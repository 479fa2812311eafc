"""Whether the file at a path changed since one looked: also where it was replaced, went or came."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.format.file_state import FileState


def file_stamp(path: Path) -> FileState | str:
    """Equal as long as nobody changed or replaced the file; why there is none, where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  (follows the links that certificate tools change)
    except OSError as error:
        return error.strerror or str(error)
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
