"""The digest of a whole file, with the state that the file had meanwhile."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from hyperion.domain.digest import PREFIX
from hyperion.errors import HostError
from hyperion.format.file_state import FileState, state_of


def file_digest(path: Path) -> tuple[FileState, str]:
    """State and digest of a plain file.

    Raises:
        HostError: It changed while it was read (code ``host.file_changed``).
        OSError: It is a link, or cannot be read.
    """
    with open_plain(path) as stream:
        before = state_of(stream)
        digest = PREFIX + hashlib.file_digest(stream, "sha256").hexdigest()
        after = state_of(stream)
    if before is None or before != after:
        raise HostError(f"{path} changed while it was read", hint="try again", code="host.file_changed")
    return before, digest


def open_plain(path: Path) -> io.FileIO:
    """A stream of a file that is no symbolic link."""
    return io.FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
