"""Reading a file at positions, without sharing one: entries may be read side by side in threads."""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO


class RandomAccess:
    """A file (by preadv) or a stream in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.size = stream.seek(0, os.SEEK_END)
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, AttributeError):  # in memory
            self._descriptor = None

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset`` on, perhaps in part; 0 at the end."""
        if self._descriptor is not None:
            return os.preadv(self._descriptor, [buffer], offset)
        with self._lock:
            self._stream.seek(offset)
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """These bytes, or fewer where the file ends."""
        buffer = bytearray(size_bytes)
        view, filled = memoryview(buffer), 0
        while filled < size_bytes:
            count = self.read_into(offset + filled, view[filled:])
            if count == 0:
                break
            filled += count
        return bytes(view[:filled])

    def close(self) -> None:
        self._stream.close()


class Window(io.RawIOBase):
    """A part of a file as a stream of its own."""

    def __init__(self, file: RandomAccess, offset: int, size_bytes: int) -> None:
        self._file, self._offset, self._size, self._position = file, offset, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # only what is used
        view = memoryview(buffer).cast("B")
        left = max(0, self._size - self._position)
        count = self._file.read_into(self._offset + self._position, view[:left]) if left and len(view) else 0
        self._position += count
        return count
