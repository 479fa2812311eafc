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
        if self._descriptor is None:
            with self._lock:
                self._stream.seek(offset)
                return self._stream.read(size_bytes)
        data = os.pread(self._descriptor, size_bytes, offset)
        while data and len(data) < size_bytes:  # the system may give less than there is
            more = os.pread(self._descriptor, size_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    @property
    def descriptor(self) -> int | None:
        """The file's descriptor; None in memory.

        Raises:
            ValueError: The file is closed, and the number may be another file's by now.
        """
        if self._stream.closed:
            raise ValueError("the package is closed")
        return self._descriptor

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def close(self) -> None:
        self._descriptor = None  # the system gives the number to the next file that is opened
        self._stream.close()


class Window(io.RawIOBase):
    """A part of a file as a stream of its own."""

    def __init__(self, file: RandomAccess, offset: int, size_bytes: int) -> None:
        self._file, self._offset, self._size, self._position = file, offset, size_bytes, 0

    @property
    def file(self) -> RandomAccess:
        """The whole file; a window has no fileno(), which would let a reader leave it."""
        return self._file

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


def descriptor_of(stream: BinaryIO) -> int | None:
    """The descriptor of the file behind an entry's stream, for questions about the file; None in memory."""
    if isinstance(stream, Window):
        return stream.file.descriptor
    try:
        return stream.fileno()
    except OSError:  # io.UnsupportedOperation: in memory
        return None
