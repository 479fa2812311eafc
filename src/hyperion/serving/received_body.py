"""The body of a request: put together from the pieces in which it came, or written to its place as it comes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hyperion.serving.protocol import json_length

ALIGNMENT = 16
"""Of the data of any bytes object or array; enough for every type of numbers."""
LARGE_BYTES = 64 * 1024
"""Where so many bytes are still to come, it pays to write them to their place."""
BEGUN_BYTES = 16 * 1024
"""So many must have come before: nobody gets a place for a length alone."""
FIRST_ROOM_BYTES = 1024 * 1024
"""The first place of a body; larger ones are at most twice of what came."""

MOST_PIECES = 1024
"""So many small pieces are joined: as objects they take more memory than their bytes, many times over."""

_NOWHERE = memoryview(b"")


class ReceivedBody:
    """What has come so far.

    Attributes:
        size: In bytes.
        expected: How many bytes it will have; None where its client does not say.
    """

    def __init__(self) -> None:
        self.size = 0
        self.expected: int | None = None
        self._pieces: list[bytes] = []
        self._joined = 0
        self._place = _NOWHERE
        self._pad = 0

    @property
    def is_largely_missing(self) -> bool:
        """Whether the rest is better written to its place."""
        return self.size >= BEGUN_BYTES and self.expected is not None and self.expected - self.size >= LARGE_BYTES

    @property
    def is_complete(self) -> bool:
        return self.size == self.expected

    def add(self, piece: bytes) -> None:
        """Take in the next piece."""
        self.size += len(piece)
        self._pieces.append(piece)
        if len(self._pieces) - self._joined == MOST_PIECES:
            self._pieces[self._joined :] = [b"".join(self._pieces[self._joined :])]
            self._joined += 1

    def take_place(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Have a place of its own, where ``room`` is; the request's headers say where its tensors begin."""
        self._pad = _pad(headers)
        self._place = self._new_place()
        begin = self._pad
        for piece in self._pieces:
            self._place[begin : begin + len(piece)] = piece
            begin += len(piece)
        self._pieces.clear()

    def room(self) -> memoryview:
        """Where, in its place, the next bytes are to be written; never empty while some are missing."""
        end = self._pad + self.size
        if end == len(self._place):
            larger = self._new_place()
            larger[:end] = self._place
            self._place = larger
        return self._place[end:]

    def grew(self, size: int) -> None:
        """So many bytes were written to ``room``."""
        self.size += size

    def whole(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | memoryview:
        """All of it: not copied where it came at once, as small ones do, or has a place; else once.

        The tensors behind its JSON then lie aligned, so that they are used where they are.
        """
        if self._place:
            return self._place[self._pad : self._pad + self.size].toreadonly()
        if len(self._pieces) == 1:
            return self._pieces[0]
        pad = _pad(headers)
        return memoryview(b"".join((bytes(pad), *self._pieces)))[pad:] if pad else b"".join(self._pieces)

    def _new_place(self) -> memoryview:
        """Memory that nobody has written to: what is not received is not even there."""
        expected = self.size if self.expected is None else self.expected
        room = min(expected, max(FIRST_ROOM_BYTES, 2 * self.size))
        return np.empty(self._pad + room, np.uint8).data


def _pad(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """How many bytes before the body make its tensors aligned."""
    return -(json_length(headers) or 0) % ALIGNMENT
