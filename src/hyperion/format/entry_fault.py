"""What is said of an entry whose bytes are not those that were promised."""

from __future__ import annotations

from collections.abc import Sequence

from hyperion.domain.manifest import CHUNKS
from hyperion.errors import DigestMismatchError, MalformedPackageError
from hyperion.format.chunk_tree import CHUNK_BYTES, chunk_count
from hyperion.format.package import PackageReader

_AGAIN = "fetch or make the package again"
_RANGES_NAMED = 8


def damaged_entry(
    package: PackageReader, name: str, expected: str, found: str, chunks: Sequence[int] | None = None
) -> DigestMismatchError:
    """An entry with another digest.

    Args:
        package: What it is an entry of.
        name: The entry.
        expected: Its digest as the manifest says, or the root of its chunks.
        found: What its bytes come to.
        chunks: Numbers of the chunks that are not as they should be, from 0 on; None where that is not known.
    """
    where = "" if chunks is None else f"; {describe_damage(chunks, package.manifest.entries[name].size_bytes)}"
    return DigestMismatchError(
        f"{package.source}: the entry {name!r} is damaged or was edited: expected {expected}, found {found}{where}",
        hint=package.damage_hint,
        entry=name,
        expected=expected,
        actual=found,
    )


def wrong_chunks(package: PackageReader, name: str, found: str) -> MalformedPackageError:
    """An entry whose chunk digests do not come to the root that the manifest states.

    Args:
        package: What it is an entry of.
        name: The entry.
        found: What they come to.
    """
    tree = package.manifest.entries[name].chunks
    return MalformedPackageError(
        f"{package.source}: the chunk digests of {name!r} in {CHUNKS} are not those that the manifest means",
        hint=_AGAIN,
        entry=name,
        expected=tree and tree.digest,
        actual=found,
        code="package.chunks",
    )


def wrong_crc(name: str, source: str, stated: int, found: int, *, digest_known: bool) -> MalformedPackageError:
    """An entry whose CRC in the archive is not that of its bytes.

    Args:
        name: The entry.
        source: The package as the user named it.
        stated: By the archive.
        found: Of its bytes.
        digest_known: Whether its bytes have the right digest, so that it is the CRC that lies.
    """
    if digest_known:
        fault, expected, actual = "has the right digest but a wrong CRC", found, stated
    else:
        fault, expected, actual = "is damaged or was edited: its CRC is wrong", stated, found
    return MalformedPackageError(
        f"{source}: the entry {name!r} {fault}: expected {expected:08x}, found {actual:08x}",
        hint=_AGAIN,
        entry=name,
        expected=f"{expected:08x}",
        actual=f"{actual:08x}",
        code="package.crc",
    )


def describe_damage(chunks: Sequence[int], size_bytes: int) -> str:
    """Where an entry of this size is damaged, for people: byte ranges, first and last byte, and numbers from 1 on."""
    if not chunks:
        return "every chunk is as the manifest says, so its digest and its chunks contradict each other"
    count = chunk_count(size_bytes)
    runs: list[tuple[int, int]] = []
    for chunk in chunks:
        if runs and runs[-1][1] == chunk - 1:
            runs[-1] = (runs[-1][0], chunk)
        else:
            runs.append((chunk, chunk))
    named = [_describe_run(first, last, count, size_bytes) for first, last in runs[:_RANGES_NAMED]]
    more = f" and {len(runs) - _RANGES_NAMED} more ranges" if len(runs) > _RANGES_NAMED else ""
    return f"{', '.join(named)}{more} are damaged"


def _describe_run(first: int, last: int, count: int, size_bytes: int) -> str:
    begin, end = first * CHUNK_BYTES, min((last + 1) * CHUNK_BYTES, size_bytes) - 1
    which = f"chunk {first + 1}" if first == last else f"chunks {first + 1}–{last + 1}"
    return f"bytes {begin}–{end} ({which} of {count})"
