"""Why a header is not the one that must stand there: what a person wants to know of it, else its first odd field."""

from __future__ import annotations

import stat

from hyperion.errors import MalformedPackageError
from hyperion.format.zip_records import directory_difference, local_difference

_AGAIN = "fetch or make the package again"
_LOCAL_FLAGS, _DIRECTORY_FLAGS, _ATTRIBUTES = 6, 8, 38
"""Where these fields stand; the compression method follows the flags."""
_ENCRYPTED = 1
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def local_fault(expected: bytes, found: bytes, name: str, source: str) -> MalformedPackageError:
    """The error for a local header.

    Args:
        expected: The header that follows from the entry's directory record.
        found: What stands there.
        name: The entry.
        source: The package's path, for messages.
    """
    if found[:4] == expected[:4]:
        fault = _method_fault(found[_LOCAL_FLAGS : _LOCAL_FLAGS + 4], name, source)
        if fault is not None:
            return fault
    field = local_difference(expected, found, name)
    return MalformedPackageError(
        f"{source}: the local header of {name!r} has an unexpected {field}",
        hint=_AGAIN,
        entry=name,
        code="package.header",
    )


def directory_fault(expected: bytes, found: bytes, name: str, source: str) -> MalformedPackageError:
    """The error for a directory record; arguments as of ``local_fault``."""
    if found[:4] == expected[:4]:
        fault = _method_fault(found[_DIRECTORY_FLAGS : _DIRECTORY_FLAGS + 4], name, source)
        if fault is not None:
            return fault
        kind = _KINDS.get(stat.S_IFMT(int.from_bytes(found[_ATTRIBUTES : _ATTRIBUTES + 4], "little") >> 16))
        if kind is not None:
            return MalformedPackageError(
                f"{source}: the entry {name!r} is {kind}; packages hold plain files only",
                hint=_AGAIN,
                entry=name,
                code="package.special_file",
            )
    field = directory_difference(expected, found, name)
    return MalformedPackageError(
        f"{source}: the directory record of {name!r} has an unexpected {field}",
        hint=_AGAIN,
        entry=name,
        code="package.directory",
    )


def _method_fault(flags_and_method: bytes, name: str, source: str) -> MalformedPackageError | None:
    """The error for an entry that another tool encrypted or compressed."""
    if flags_and_method[0] & _ENCRYPTED:
        return MalformedPackageError(
            f"{source}: the entry {name!r} is encrypted; packages are read by everybody",
            hint="encrypt the package file as a whole, or make it again",
            entry=name,
            code="package.encrypted",
        )
    method = int.from_bytes(flags_and_method[2:], "little")
    if method:
        return MalformedPackageError(
            f"{source}: the entry {name!r} is compressed (zip method {method}); packages store entries as they are",
            hint="make the package with 'hyperion package model', not with a zip tool",
            entry=name,
            actual=method,
            code="package.compressed",
        )
    return None
