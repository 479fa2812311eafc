"""The body of a request, put together from the pieces in which it came."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.serving.protocol import json_length

ALIGNMENT = 16
"""Of the data of any bytes object; enough for every type of numbers."""


class ReceivedBody:
    """What has come so far.

    Attributes:
        size: In bytes.
    """

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Take in the next piece."""
        self.size += len(piece)
        self._pieces.append(piece)

    def whole(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | memoryview:
        """All of it: not copied where it came at once, as small ones do; else once.

        The tensors behind its JSON then lie aligned, so that they are used where they are.
        """
        if len(self._pieces) == 1:
            return self._pieces[0]
        pad = -(json_length(headers) or 0) % ALIGNMENT
        return memoryview(b"".join((bytes(pad), *self._pieces)))[pad:] if pad else b"".join(self._pieces)
