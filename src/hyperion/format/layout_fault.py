"""The first thing that keeps a zip directory and its local headers from being as a package has them."""

from __future__ import annotations

from hyperion.errors import MalformedPackageError
from hyperion.format.random_access import RandomAccess
from hyperion.format.record_fault import directory_fault, local_fault
from hyperion.format.zip_records import EntryRecord, directory_record, local_header, read_directory_record

_AGAIN = "fetch or make the package again"


def layout_fault(
    file: RandomAccess, directory: bytes, count: int, directory_offset: int, source: str
) -> MalformedPackageError:
    """The error for a file that is not ``count`` entries, each behind the other, and then their directory.

    Args:
        file: The whole file.
        directory: What the end records call the directory.
        count: How many entries they claim.
        directory_offset: Where the directory begins.
        source: The file's path, for messages.
    """
    names: set[str] = set()
    position, offset = 0, 0
    for number in range(count):
        parsed = read_directory_record(directory, position)
        if parsed is None:
            return MalformedPackageError(
                f"{source}: record {number} of the zip directory is cut off or misnamed",
                hint=_AGAIN,
                code="package.directory",
            )
        record, after = parsed
        expected = directory_record(record)
        if directory[position:after] != expected:
            return directory_fault(expected, directory[position:after], record.name, source)
        if record.name in names:
            return MalformedPackageError(
                f"{source}: the entry {record.name!r} stands there twice",
                hint=_AGAIN,
                entry=record.name,
                code="package.duplicate_entry",
            )
        fault = _entry_fault(file, record, offset, directory_offset, source)
        if fault is not None:
            return fault
        names.add(record.name)
        position, offset = after, record.end
    return MalformedPackageError(
        f"{source}: there are bytes that belong to no entry",
        hint=_AGAIN,
        code="package.hidden_data",
    )


def _entry_fault(
    file: RandomAccess, record: EntryRecord, offset: int, directory_offset: int, source: str
) -> MalformedPackageError | None:
    """Why the entry does not begin at ``offset`` with exactly the header that follows from its record."""
    if record.offset > offset:
        return MalformedPackageError(
            f"{source}: the entry {record.name!r} should begin at byte {offset}, the directory says "
            f"{record.offset}: the bytes between belong to no entry",
            hint=_AGAIN,
            entry=record.name,
            expected=offset,
            actual=record.offset,
            code="package.gap",
        )
    if record.offset < offset:
        return MalformedPackageError(
            f"{source}: the entry {record.name!r} should begin at byte {offset}, the directory says "
            f"{record.offset}, where another entry lies",
            hint=_AGAIN,
            entry=record.name,
            expected=offset,
            actual=record.offset,
            code="package.overlap",
        )
    if record.end > directory_offset:
        return MalformedPackageError(
            f"{source}: the entry {record.name!r} of {record.size_bytes} bytes reaches into the directory",
            hint=_AGAIN,
            entry=record.name,
            code="package.overlap",
        )
    expected = local_header(record)
    found = file.read_at(offset, len(expected))
    return None if found == expected else local_fault(expected, found, record.name, source)
