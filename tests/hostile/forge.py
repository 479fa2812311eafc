"""Containers that say whatever they are told to: the tools that the lies of the corpus are made with."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import CHUNKS, MANIFEST, ChunkTree, Entry
from hyperion.format.block_pump import crc32
from hyperion.format.chunk_tree import CHUNK_BYTES, is_chunked, root_of
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.weights import ALIGNMENT
from hyperion.format.zip_records import EntryRecord, directory_record, end_records, local_header
from tests.packages import entries, manifest

SMALL_BYTES = 100_000

Item = tuple[str, bytes]
"""Name and payload of an entry."""


@dataclass(frozen=True)
class BadPackage:
    """One lie.

    Attributes:
        name: What it says that is not so.
        make: Makes the file; called anew each time, so that large ones are not kept.
        code: Of the error that refuses it.
        entry: The entry that the error names; None where none is concerned.
        is_small: Whether the file is at hand, and of some ten kilobytes at most.
    """

    name: str
    make: Callable[[], bytes]
    code: str
    entry: str | None = None
    is_small: bool = False


def lie(name: str, data: bytes, code: str, entry: str | None = None) -> BadPackage:
    """A bad package that is made already."""
    return BadPackage(name, lambda: data, code, entry, is_small=len(data) <= SMALL_BYTES)


def pack(payloads: Sequence[Item] | Mapping[str, bytes], raw_manifest: bytes | None = None) -> bytes:
    """A true container of these entries in this order, whatever they are called; a mapping's are sorted.

    Args:
        payloads: The entries.
        raw_manifest: Bytes of manifest.json, which comes last; a true one is made where neither this is given nor
            an entry of that name.
    """
    items = sorted(payloads.items(), key=lambda item: item[0].encode()) if isinstance(payloads, Mapping) else payloads
    if raw_manifest is None and MANIFEST not in dict(items):
        raw_manifest = honest_manifest(dict(items))
    return pack_only(items if raw_manifest is None else [*items, (MANIFEST, raw_manifest)])


def pack_only(items: Iterable[Item], *, prefix: bytes = b"", wrong_crc: str | None = None) -> bytes:
    """A container of just these entries, perhaps behind other bytes, perhaps with the CRC of one of them wrong."""
    body, records = bytearray(prefix), []
    for name, data in items:
        record = EntryRecord(name, len(data), crc32(data) ^ (name == wrong_crc), len(body))
        body += local_header(record) + data
        records.append(record)
    return finish(bytes(body), records)


def finish(body: bytes, records: Sequence[EntryRecord]) -> bytes:
    """``body`` with a directory of these records and the end records behind it."""
    directory = b"".join(directory_record(record) for record in records)
    return body + directory + end_records(len(records), len(body), len(directory))


def chunk_digests(data: bytes) -> bytes:
    """SHA-256 of every 4 MiB, one behind the other."""
    view = memoryview(data)
    return b"".join(
        hashlib.sha256(view[begin : begin + CHUNK_BYTES]).digest() for begin in range(0, len(data), CHUNK_BYTES)
    )


def listed(name: str, data: bytes) -> Entry:
    """What a true manifest says of an entry."""
    tree = ChunkTree(digest=root_of(chunk_digests(data))) if is_chunked(name, len(data)) else None
    return Entry(digest=digest_of(data), size_bytes=len(data), chunks=tree)


def with_chunks(payloads: Mapping[str, bytes]) -> dict[str, bytes]:
    """The payloads with the config/chunks.bin that belongs to them, where one does."""
    digests = b"".join(chunk_digests(data) for name, data in sorted(payloads.items()) if is_chunked(name, len(data)))
    return {**payloads, CHUNKS: digests} if digests else dict(payloads)


def honest_manifest(payloads: Mapping[str, bytes]) -> bytes:
    """Canonical bytes of a manifest that lists these payloads truly; nothing else is checked."""
    return manifest_bytes(manifest({name: listed(name, data) for name, data in payloads.items()}))


def changed_manifest(change: Callable[[dict[str, Any]], object], payloads: Mapping[str, bytes] | None = None) -> bytes:
    """The manifest of these payloads (the good package's, where none are given) after ``change``, canonical again."""
    tree = json.loads(honest_manifest(entries() if payloads is None else payloads))
    change(tree)
    return rfc8785.dumps(tree)


def records_of(data: bytes) -> dict[str, EntryRecord]:
    """Where everything lies in a good package."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            info.filename: EntryRecord(info.filename, info.file_size, info.CRC, info.header_offset)
            for info in archive.infolist()
        }


def patched(data: bytes, position: int, value: bytes) -> bytes:
    """``data`` with other bytes at ``position``."""
    return data[:position] + value + data[position + len(value) :]


def tensors_file(header: bytes, data: bytes = bytes(64), *, length: int | None = None, padding: int = 4096) -> bytes:
    """A safetensors file with this header, padded with spaces to a multiple of ``padding``, whatever it says.

    Args:
        header: JSON text, or not.
        data: What follows the header.
        length: The header's length as it is claimed; the true one by default, and then the header is padded.
        padding: 4096 for weights entries; other files need a multiple of 64 at most.
    """
    if length is None:
        header += b" " * (-(8 + len(header)) % padding)
        length = len(header)
    return struct.pack("<Q", length) + header + data


def tensor(begin: int, end: int, dtype: str = "U8", shape: object = None) -> dict[str, object]:
    """One item of a safetensors header, in the order of the keys that we write."""
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def tensors_header(**tensors: object) -> bytes:
    """A compact safetensors header."""
    return json.dumps(tensors, separators=(",", ":")).encode()


__all__ = [
    "ALIGNMENT", "BadPackage", "Item", "changed_manifest", "chunk_digests", "finish", "honest_manifest", "lie",
    "listed", "pack", "pack_only", "patched", "records_of", "tensor", "tensors_file", "tensors_header", "with_chunks",
]  # fmt: skip
