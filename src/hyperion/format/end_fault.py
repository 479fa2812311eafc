"""Why a file does not end as a package does, told apart by what a person would do about it."""

from __future__ import annotations

from hyperion.errors import MalformedPackageError
from hyperion.format.random_access import RandomAccess
from hyperion.format.zip_records import END_BYTES, end_records, read_end

_AGAIN = "fetch or make the package again"
_SIGNATURES = ((0, b"PK\x06\x06"), (56, b"PK\x06\x07"), (76, b"PK\x05\x06"))
"""Of the Zip64 end record, its locator and the end record, by their place in the last 98 bytes."""
_SEARCHED_BYTES = 64 * 1024 + END_BYTES
"""How far back an end is looked for: the longest comment that a zip may have."""


def end_fault(file: RandomAccess, source: str) -> MalformedPackageError:
    """The error for a file whose last 98 bytes are not the end of a package of its size.

    Args:
        file: The whole file.
        source: Its path, for messages.
    """
    size = file.size
    begin = max(0, size - _SEARCHED_BYTES)
    tail = file.read_at(begin, size - begin)
    end = tail[-END_BYTES:]
    if len(end) == END_BYTES and _is_end(end):
        return _size_fault(end, size, source)
    if any(end[place : place + 4] == signature for place, signature in _SIGNATURES):
        return MalformedPackageError(
            f"{source}: the end records are not those of a Hyperion package: another tool wrote the file or changed it",
            hint=_AGAIN,
            code="package.end_records",
        )
    after = _end_within(tail)
    if after is not None:
        return MalformedPackageError(
            f"{source}: the package ends at byte {begin + after} of {size}: the rest was added",
            hint=_AGAIN,
            expected=begin + after,
            actual=size,
            code="package.trailing_bytes",
        )
    return MalformedPackageError(
        f"{source}: the file of {size} bytes does not end as a package does: it is cut off",
        hint=_AGAIN,
        actual=size,
        code="package.truncated",
    )


def _is_end(end: bytes) -> bool:
    count, offset, length = read_end(end)
    return offset + length < 2**64 and end == end_records(count, offset, length)


def _size_fault(end: bytes, size: int, source: str) -> MalformedPackageError:
    """The error where the end records are sound, but speak of another size."""
    _, offset, length = read_end(end)
    claimed = offset + length + END_BYTES
    if claimed < size:
        return MalformedPackageError(
            f"{source}: the end records speak of {claimed} bytes, the file has {size}: the others belong to no entry",
            hint=_AGAIN,
            expected=claimed,
            actual=size,
            code="package.hidden_data",
        )
    return MalformedPackageError(
        f"{source}: the end records speak of {claimed} bytes, the file has {size}: a part is missing",
        hint=_AGAIN,
        expected=claimed,
        actual=size,
        code="package.truncated",
    )


def _end_within(tail: bytes) -> int | None:
    """Where the last end of a package lies before the end of ``tail``; None where none does."""
    (_, first), (locator, second), (last, third) = _SIGNATURES
    place = tail.rfind(third)
    while place >= last:
        start = place - last
        if tail[start : start + 4] == first and tail[start + locator : start + locator + 4] == second:
            return start + END_BYTES if start + END_BYTES < len(tail) else None
        place = tail.rfind(third, 0, place)
    return None
