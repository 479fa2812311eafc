"""Lies of contents: code and archives under harmless names, documents that are none, and texts that blow up."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hyperion.domain.manifest import MANIFEST
from tests.hostile.forge import BadPackage, changed_manifest, honest_manifest, lie, pack, with_chunks
from tests.packages import entries

MEBIBYTE = 1024 * 1024
ASSET = "assets/innocent.txt"
CONFIG = "config/optimization.json"

PICKLES = {"pickle": b"\x80\x04\x95\x00\x00", "old pickle": b"\x80\x02}q\x00.", "newest pickle": b"\x80\x05}."}
ARCHIVES = {
    "zip": b"PK\x03\x04\x14\x00", "empty zip": b"PK\x05\x06" + bytes(18), "spanned zip": b"PK\x07\x08PK\x03\x04",
    "gzip": b"\x1f\x8b\x08\x00", "xz": b"\xfd7zXZ\x00\x00", "bzip2": b"BZh91AY&SY\x00", "7z": b"7z\xbc\xaf\x27\x1c\x00",
    "zstd": b"\x28\xb5\x2f\xfd\x00", "lz4": b"\x04\x22\x4d\x18\x00", "rar": b"Rar!\x1a\x07\x01\x00",
    "tar": bytes(257) + b"ustar\x0000" + bytes(300), "ar": b"!<arch>\n", "cabinet": b"MSCF\x00\x00",
    "rpm": b"\xed\xab\xee\xdb\x03",
}  # fmt: skip
PROGRAMS = {
    "elf": b"\x7fELF\x02\x01\x01", "windows program": b"MZ\x90\x00\x03\x00", "mach-o": b"\xcf\xfa\xed\xfe\x07",
    "mach-o of 32 bits": b"\xce\xfa\xed\xfe\x07", "fat mach-o": b"\xca\xfe\xba\xbe\x00",
    "wasm": b"\x00asm\x01\x00\x00\x00", "android program": b"dex\n035\x00",
}  # fmt: skip


def contents() -> Iterator[BadPackage]:
    """Code and archives."""
    for kinds, code in (
        (PICKLES, "package.pickle"), (ARCHIVES, "package.nested_archive"), (PROGRAMS, "package.native_code"),
    ):  # fmt: skip
        for name, data in kinds.items():
            yield lie(f"asset: {name}", pack(entries() | {ASSET: data}), code, ASSET)
    pickle = pack(entries() | {CONFIG: PICKLES["pickle"]})
    yield lie("config: pickle", pickle, "package.pickle", CONFIG)
    program = pack(entries() | {"architecture.json": PROGRAMS["elf"]})
    yield lie("architecture: elf", program, "package.native_code", "architecture.json")
    archive = pack(entries() | {"assets/golden/a.npz": ARCHIVES["zip"]})
    yield lie("golden request: npz", archive, "package.nested_archive", "assets/golden/a.npz")


def documents() -> Iterator[BadPackage]:
    """JSON that is none, or other than what its place asks for."""
    architecture, golden = "architecture.json", "assets/golden/a.json"
    for name, entry, data, code in (
        ("architecture is no json", architecture, b"{", "json.invalid"),
        ("architecture is empty", architecture, b"", "json.invalid"),
        ("architecture with a key twice", architecture, b'{"a":1,"a":2}', "json.duplicate_key"),
        ("architecture with a bom", architecture, b"\xef\xbb\xbf{}", "json.encoding"),
        ("architecture with an integer of 2^64", architecture, b'{"a":18446744073709551616}', "json.number"),
        ("architecture nested deeply", architecture, b"[" * 5000 + b"]" * 5000, "json.nesting"),
        ("config is yaml", CONFIG, b"threads: 1", "json.invalid"),
        ("config with NaN", CONFIG, b'{"a":NaN}', "json.number"),
        ("config in utf-16", CONFIG, '{"a":1}'.encode("utf-16"), "json.encoding"),
        ("config of another suffix is no json", "config/x.yaml", b"a: 1", "json.invalid"),
        ("golden document with an unknown key", golden, b'{"evil":1}', "package.document"),
        ("golden document is a list", golden, b"[]", "package.document"),
        ("golden document with a negative tolerance", golden, b'{"absolute":-1}', "package.document"),
    ):  # fmt: skip
        yield lie(f"document: {name}", pack(entries() | {entry: data}), code, entry)


def bombs() -> Iterator[BadPackage]:
    """Texts that are small on disk, or within every size, and large in memory or slow to read."""
    golden, lists = "assets/golden/a.json", _lists(5 * MEBIBYTE)

    def document(text: bytes) -> bytes:
        return pack(with_chunks(entries() | {golden: text}))

    def with_annotations(text: bytes) -> bytes:
        return pack(entries(), honest_manifest(entries()).replace(b'"annotations":{}', b'"annotations":' + text))

    wide = b'"' + b"x" * (9 * MEBIBYTE)
    for name, make, code, entry in (
        ("five million lists", lambda: document(lists), "json.too_large", golden),
        ("half a million lists", lambda: pack(entries() | {CONFIG: _lists(499_999)[:-1]}), "json.invalid", CONFIG),
        ("one wide character", lambda: document(wide + '😀"'.encode()), "json.too_large", golden),
        ("one wide character, escaped", lambda: document(wide + b'\\ud83d\\ude00"'), "json.too_large", golden),
        ("240 000 faults", lambda: document(b'{"ignore":[' + b"0," * 240_000 + b"0]}"), "package.document", golden),
        ("a document of 33 MiB", lambda: document(b" " * (33 * MEBIBYTE)), "package.too_large", golden),
        ("a manifest of five million lists", lambda: with_annotations(lists), "json.too_large", MANIFEST),
        ("a manifest with 240 000 faults", lambda: with_annotations(_numbers(240_000)), "package.manifest", MANIFEST),
        ("a text of 31 MiB without an end", lambda: document(b'"' + b"x" * (31 * MEBIBYTE)), "json.invalid", golden),
        ("a wide text without an end", lambda: document(b'"' + "😀".encode() * 2_000_000), "json.invalid", golden),
        ("a manifest of wide text", lambda: with_annotations(b'"' + "😀".encode() * 10**6), "json.invalid", MANIFEST),
        ("a manifest of empty entries", _empty_entries, "package.manifest", MANIFEST),
        ("a manifest with a name of 8 MiB", _long_name, "package.manifest", MANIFEST),
    ):  # fmt: skip
        yield BadPackage(f"bomb: {name}", make, code, entry)


def _lists(count: int) -> bytes:
    return b"[" + b"[]," * count + b"0]"


def _numbers(count: int) -> bytes:
    """An object whose every value is none of a text."""
    return json.dumps({f"k{number}": number for number in range(count)}, separators=(",", ":")).encode()


def _empty_entries() -> bytes:
    nothing = {f"assets/{number}": {} for number in range(120_000)}
    return pack(entries(), changed_manifest(lambda m: m.update(entries=nothing)))


def _long_name() -> bytes:
    return pack(entries(), changed_manifest(lambda m: m.update(name="x" * (8 * MEBIBYTE))))
