"""Lies of chunk trees: entries over 8 MiB, their digests in config/chunks.bin, and the roots in the manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import rfc8785

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import CHUNKS, MANIFEST
from hyperion.format.chunk_tree import CHUNKED_ABOVE_BYTES
from tests.hostile.forge import BadPackage, chunk_digests, honest_manifest, pack, with_chunks
from tests.packages import entries

BIG = "assets/big.bin"
SMALL = "assets/README.md"
CODE = "package.chunks"

_TREE = {"size_bytes": 4_194_304, "digest": "sha256:" + "0" * 64}


def chunks() -> Iterator[BadPackage]:
    """One lie about the chunks of an entry of 8 MiB + 1 zeros, or about an entry that may have none."""

    def tree(m: dict[str, Any]) -> dict[str, Any]:
        return m["entries"][BIG]["chunks"]  # type: ignore[no-any-return]

    def lying(name: str, change: Callable[[dict[str, Any]], object], code: str = CODE, entry: str = BIG) -> BadPackage:
        return BadPackage(f"chunks: {name}", lambda: _changed(change), code, entry)

    yield lying("missing for an entry over 8 MiB", lambda m: m["entries"][BIG].pop("chunks"))
    yield lying("present for a small entry", lambda m: m["entries"][SMALL].update(chunks=_TREE), entry=SMALL)
    yield lying("present for their own entry", lambda m: m["entries"][CHUNKS].update(chunks=_TREE), entry=CHUNKS)
    yield lying("wrong root", lambda m: tree(m).update(digest=_TREE["digest"]))
    yield lying("root is the entry's digest", lambda m: tree(m).update(digest=m["entries"][BIG]["digest"]))
    plain = "sha256:" + hashlib.sha256(chunk_digests(bytes(CHUNKED_ABOVE_BYTES + 1))).hexdigest()
    yield lying("root without its leading byte", lambda m: tree(m).update(digest=plain))
    for size in (1, 4_194_305, 8_388_608, 0, -1, "4194304", 4_194_304.5):
        yield lying(f"chunk size {size!r}", lambda m, size=size: tree(m).update(size_bytes=size), "package.manifest",
                    MANIFEST)  # type: ignore[misc]  # fmt: skip
    yield lying("no chunk size", lambda m: tree(m).pop("size_bytes"), "package.manifest_encoding", MANIFEST)
    yield lying("another digest algorithm", lambda m: tree(m).update(digest="md5:00"), "package.manifest", MANIFEST)
    yield lying("a list of digests", lambda m: m["entries"][BIG].update(chunks=[]), "package.manifest", MANIFEST)
    yield lying("digests unlisted", lambda m: m["entries"].pop(CHUNKS), entry=CHUNKS)
    yield from _digest_files()


def _digest_files() -> Iterator[BadPackage]:
    """The same, told by config/chunks.bin itself, which the manifest lists truly."""
    big = bytes(CHUNKED_ABOVE_BYTES + 1)
    true = chunk_digests(big)
    for name, digests in {
        "a digest too few": true[:-32], "a digest too many": true + bytes(32), "half a digest": true[:-16],
        "empty": b"",
    }.items():  # fmt: skip
        yield BadPackage(f"chunks: {name}", lambda digests=digests: _with_digests(digests), CODE, CHUNKS)  # type: ignore[misc]
    for name, digests in {
        "another digest": bytes(32) + true[32:], "digests in another order": true[-32:] + true[:-32],
    }.items():  # fmt: skip
        yield BadPackage(f"chunks: {name}", lambda digests=digests: _with_digests(digests), CODE, BIG)  # type: ignore[misc]
    yield BadPackage("chunks: digests for nobody", lambda: pack(entries() | {CHUNKS: bytes(32)}), CODE, CHUNKS)
    yield BadPackage("chunks: no digests", _without_digests, "package.missing_entry", CHUNKS)


def _payloads() -> dict[str, bytes]:
    return with_chunks(entries() | {BIG: bytes(CHUNKED_ABOVE_BYTES + 1)})


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    payloads = _payloads()
    listed = json.loads(honest_manifest(payloads))
    change(listed)
    return pack(payloads, rfc8785.dumps(listed))


def _with_digests(digests: bytes) -> bytes:
    payloads = _payloads() | {CHUNKS: digests}
    listed = json.loads(honest_manifest(payloads))
    listed["entries"][CHUNKS] = {"digest": digest_of(digests), "size_bytes": len(digests)}
    return pack(payloads, rfc8785.dumps(listed))


def _without_digests() -> bytes:
    payloads = _payloads()
    raw = honest_manifest(payloads)
    del payloads[CHUNKS]
    return pack(payloads, raw)
