"""Chunk digests: SHA-256 of every 4 MiB of a large entry, so that it is proven in parallel and damage has a place.

All lists stand one after the other in config/chunks.bin, in the order of the entries' names; the manifest holds the
root of each (docs/reference/format.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hyperion.domain.digest import PREFIX
from hyperion.domain.manifest import CHUNKS, Entry
from hyperion.format.names import in_order

CHUNK_BYTES = 4 * 1024 * 1024
CHUNKED_ABOVE_BYTES = 8 * 1024 * 1024
"""Entries longer than this have chunks, others do not."""
DIGEST_BYTES = 32

_ROOT_DOMAIN = b"\x01"
"""Before the digests, so that no list of digests hashes like a chunk."""


def is_chunked(name: str, size_bytes: int) -> bool:
    """Whether an entry has chunks: it follows from name and size alone."""
    return size_bytes > CHUNKED_ABOVE_BYTES and name != CHUNKS


def chunk_count(size_bytes: int) -> int:
    return -(-size_bytes // CHUNK_BYTES)


def root_of(digests: bytes) -> str:
    """The root over the concatenated chunk digests of one entry."""
    return PREFIX + hashlib.sha256(_ROOT_DOMAIN + digests).hexdigest()


def list_positions(entries: Mapping[str, int] | Mapping[str, Entry]) -> dict[str, slice]:
    """Where in config/chunks.bin the digests of each chunked entry stand, by name.

    Args:
        entries: Every entry with its size in bytes, or as the manifest has it.
    """
    positions: dict[str, slice] = {}
    begin = 0
    for name in in_order(entries):
        found = entries[name]
        size_bytes = found if isinstance(found, int) else found.size_bytes
        if is_chunked(name, size_bytes):
            end = begin + DIGEST_BYTES * chunk_count(size_bytes)
            positions[name] = slice(begin, end)
            begin = end
    return positions
