"""keys.json: the API keys of a state folder, without the tokens; for its user alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from hyperion.adapters.files.atomic_file import translated
from hyperion.adapters.files.state_folder import make_private
from hyperion.domain.access import KeyRing
from hyperion.errors import ConfigError
from hyperion.format.file_stamp import file_stamp
from hyperion.ports import Files

_PRIVATE = 0o600
LARGEST_BYTES = 16 * 1024 * 1024


class LocalKeyRings:
    """Implements ports.KeyRings.

    Args:
        state: The state folder.
        files: Writes.
    """

    def __init__(self, state: Path, files: Files) -> None:
        self._path = state / "keys.json"
        self._lock = state / "keys.lock"
        self._files = files

    def load(self) -> KeyRing:
        """See ports.KeyRings."""
        with translated(self._path):
            try:
                with self._path.open("rb") as stream:
                    raw = stream.read(LARGEST_BYTES + 1)
            except FileNotFoundError:
                return KeyRing()
        try:
            return KeyRing.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise ConfigError(
                f"{self._path} is damaged: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}",
                hint="move it aside and make the keys again with 'hyperion key add', or put it back from a copy",
                code="keys.malformed",
            ) from error

    def change(self, edit: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """See ports.KeyRings."""
        with translated(self._path), self._locked():
            changed = edit(self.load())
            raw = changed.model_dump_json(indent=2).encode() + b"\n"
            if self._path.exists():
                with self._files.replacing(self._path) as stream:
                    stream.write(raw)
            else:
                self._files.create(self._path, raw, _PRIVATE)
            return changed

    def stamp(self) -> object:
        """See ports.KeyRings."""
        return file_stamp(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_private(self._lock.parent)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            with suppress(OSError):
                os.close(descriptor)
