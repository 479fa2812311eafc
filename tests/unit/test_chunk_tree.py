"""Chunk trees: which entries have one, where the digests stand, and what a reader demands of them."""

from __future__ import annotations

import hashlib
import io
from functools import partial
from pathlib import Path

import pytest
from tests.packages import manifest

from hyperion.domain.manifest import CHUNKS, ChunkTree, Entry, Manifest
from hyperion.errors import MalformedPackageError
from hyperion.format.archive import ArchiveReader, PendingEntry, repack, write_archive
from hyperion.format.chunk_tree import CHUNK_BYTES, CHUNKED_ABOVE_BYTES, root_of
from hyperion.format.verified import check_content

LARGE = bytes(range(251)) * (CHUNKED_ABOVE_BYTES // 251 + 2)
"""Three chunks, the last one short, none like another."""


def pending(name: str, data: bytes) -> PendingEntry:
    return PendingEntry(name, len(data), partial(io.BytesIO, data))


def packed(payloads: dict[str, bytes], change: dict[str, Entry] | None = None) -> ArchiveReader:
    def changed(written: dict[str, Entry]) -> Manifest:
        return manifest(written | (change or {}))

    stream = io.BytesIO()
    given = [pending("architecture.json", b"{}"), *(pending(*item) for item in payloads.items())]
    write_archive(stream, given, changed)
    return ArchiveReader(stream, "memory", Path("/nowhere"))


def test_an_entry_over_8_mib_has_the_digest_of_each_4_mib() -> None:
    package = packed({"assets/large": LARGE})

    digests = package.read(CHUNKS)

    chunks = [LARGE[start : start + CHUNK_BYTES] for start in range(0, len(LARGE), CHUNK_BYTES)]
    assert digests == b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    assert package.manifest.entries["assets/large"].chunks == ChunkTree(digest=root_of(digests))
    check_content(package, CHUNKS)


def test_lists_stand_in_the_order_of_the_names() -> None:
    package = packed({"assets/b": LARGE, "assets/a": LARGE[1:]})

    first, second = package.read(CHUNKS)[:96], package.read(CHUNKS)[96:]

    assert package.manifest.entries["assets/a"].chunks == ChunkTree(digest=root_of(first))
    assert package.manifest.entries["assets/b"].chunks == ChunkTree(digest=root_of(second))


def test_an_entry_of_8_mib_has_none() -> None:
    package = packed({"assets/large": LARGE[:CHUNKED_ABOVE_BYTES]})

    assert package.manifest.entries["assets/large"].chunks is None
    assert CHUNKS not in package.manifest.entries


def test_packing_again_gives_the_same_bytes() -> None:
    stream, again = io.BytesIO(), io.BytesIO()
    write_archive(stream, [pending("architecture.json", b"{}"), pending("assets/large", LARGE)], manifest)
    package = ArchiveReader(stream, "memory", Path("/nowhere"))

    repack(again, package)

    assert again.getvalue() == stream.getvalue()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("assets/large", Entry(digest="sha256:" + "0" * 64, size_bytes=len(LARGE))),
        ("architecture.json", Entry(digest="sha256:" + "0" * 64, size_bytes=2, chunks=ChunkTree(digest=root_of(b"")))),
    ],
)
def test_chunks_where_none_belong_and_none_where_some_do_are_refused(name: str, entry: Entry) -> None:
    with pytest.raises(MalformedPackageError) as refused:
        packed({"assets/large": LARGE}, {name: entry})

    assert (refused.value.code, refused.value.entry) == ("package.chunks", name)


def test_the_list_of_digests_is_nothing_that_can_be_given() -> None:
    with pytest.raises(MalformedPackageError, match="made by the packager"):
        packed({CHUNKS: bytes(96)})
