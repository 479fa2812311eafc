"""Lies of the container: no packages, local headers, directory records, end records, and how they lie together."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

from hyperion.domain.manifest import ARCHITECTURE, MANIFEST
from hyperion.format.zip_records import END_BYTES, EntryRecord, end_records
from tests.hostile.forge import BadPackage, finish, honest_manifest, lie, pack, pack_only, patched, records_of
from tests.packages import entries, package_bytes

README = "assets/README.md"
LAYER = "weights/layer0.weights"


def no_packages() -> Iterator[BadPackage]:
    """Files that are something else, cut off, or more than a package."""
    good = package_bytes()
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    yield lie("empty", b"", "package.not_a_package")
    yield lie("text", b"hello\n" * 100, "package.not_a_package")
    yield lie("git lfs pointer", lfs, "package.not_a_package")
    yield lie("elf", b"\x7fELF" + bytes(200), "package.not_a_package")
    yield lie("only a zip magic", b"PK\x03\x04", "package.truncated")
    yield lie("last byte missing", good[:-1], "package.truncated")
    yield lie("half of it", good[: len(good) // 2], "package.truncated")
    yield lie("a page missing in the middle", good[:8192] + good[12288:], "package.truncated")
    yield lie("byte appended", good + b"x", "package.trailing_bytes")
    yield lie("zeros appended", good + bytes(5000), "package.update_interrupted")
    yield lie("zip comment", good[:-2] + b"\x04\x00evil", "package.trailing_bytes")
    yield lie("64 KiB appended", good + b"evil" * 16_384, "package.trailing_bytes")
    yield lie("prefix", good[:4096] + good, "package.hidden_data")
    yield lie("two packages in one", good + good, "package.hidden_data")
    for name, method in {"plain zip": zipfile.ZIP_STORED, "deflated zip": zipfile.ZIP_DEFLATED}.items():
        plain = io.BytesIO()
        with zipfile.ZipFile(plain, "w", method) as archive:
            for entry, data in entries().items():
                archive.writestr(entry, data)
        yield lie(name, plain.getvalue(), "package.end_records")


def local_headers() -> Iterator[BadPackage]:
    """One field of one local header."""
    good = package_bytes()
    start = records_of(good)[README].offset
    sizes, padding = 30 + len(README), 30 + len(README) + 20
    lies = {
        "signature": (0, b"QK"), "version needed": (4, b"\x14\x00"), "no utf-8 flag": (6, b"\x00\x00"),
        "data descriptor flag": (6, b"\x08\x08"), "time": (10, b"\x01\x00"), "date": (12, b"\x00\x00"),
        "crc": (14, b"\x00\x00\x00\x00"), "compressed size": (18, b"\x01\x00\x00\x00"),
        "size": (22, b"\x01\x00\x00\x00"), "name length": (26, b"\x01\x00"), "extra length": (28, b"\x00\x00"),
        "name": (30, b"X"), "zip64 id": (sizes, b"\x02"), "zip64 size": (sizes + 4, b"\x01"),
        "zip64 compressed size": (sizes + 12, b"\x01"), "padding id": (padding, b"\x00\x00"),
        "padding length": (padding + 2, b"\x00\x00"), "hidden data in padding": (padding + 4, b"evil"),
    }  # fmt: skip
    for name, (offset, value) in lies.items():
        yield lie(f"local header: {name}", patched(good, start + offset, value), "package.header", README)
    deflated = patched(good, start + 8, b"\x08\x00")
    yield lie("local header: deflate method", deflated, "package.compressed", README)
    encrypted = patched(good, start + 6, b"\x01\x08")
    yield lie("local header: encrypted flag", encrypted, "package.encrypted", README)


def directories() -> Iterator[BadPackage]:
    """One field of the first directory record."""
    good = package_bytes()
    start = records_of(good)[MANIFEST].end
    extra = 46 + len(ARCHITECTURE)
    lies = {
        "signature": (0, b"QK"), "made by MS-DOS": (4, b"\x2d\x00"), "version needed": (6, b"\x14\x00"),
        "no utf-8 flag": (8, b"\x00\x00"), "time": (12, b"\x01\x00"), "date": (14, b"\x00\x00"),
        "compressed size": (20, b"\x01\x00\x00\x00"), "extra length": (30, b"\x1d\x00"),
        "comment length": (32, b"\x01\x00"), "disk number": (34, b"\x01\x00"),
        "internal attributes": (36, b"\x01\x00"), "offset": (42, b"\x00\x00\x00\x00"), "extra id": (extra, b"\x02"),
        "sizes differ": (extra + 4, b"\x01"),
    }  # fmt: skip
    for name, (offset, value) in lies.items():
        yield lie(f"directory: {name}", patched(good, start + offset, value), "package.directory", ARCHITECTURE)
    deflated = patched(good, start + 10, b"\x08\x00")
    yield lie("directory: deflate method", deflated, "package.compressed", ARCHITECTURE)
    encrypted = patched(good, start + 8, b"\x01\x08")
    yield lie("directory: encrypted flag", encrypted, "package.encrypted", ARCHITECTURE)
    yield from _modes(good, start + 38)
    wrong = patched(good, start + 16, b"\x00\x00\x00\x00")
    yield lie("directory: crc", wrong, "package.header", ARCHITECTURE)
    yield lie("directory: bad utf-8", patched(good, start + 46, b"\xff"), "package.directory")
    yield lie("directory: name length", patched(good, start + 28, b"\xff\xff"), "package.directory")
    beyond = patched(good, start + extra + 20, struct.pack("<Q", 1))
    yield lie("directory: offset beyond", beyond, "package.gap", ARCHITECTURE)
    huge = patched(good, start + extra + 4, struct.pack("<QQ", 2**63, 2**63))
    yield lie("directory: size of 8 EiB", huge, "package.overlap", ARCHITECTURE)
    largest = patched(good, start + extra + 4, struct.pack("<QQ", 2**64 - 1, 2**64 - 1))
    yield lie("directory: size of 2^64 - 1", largest, "package.overlap", ARCHITECTURE)
    far = patched(good, start + extra + 20, struct.pack("<Q", 2**64 - 1))
    yield lie("directory: offset of 2^64 - 1", far, "package.gap", ARCHITECTURE)


def _modes(good: bytes, position: int) -> Iterator[BadPackage]:
    """What a careless unpacker would make of it: links, devices, programs."""
    for name, mode in {
        "symbolic link": 0o120777, "character device": 0o020666, "block device": 0o060666, "pipe": 0o010644,
        "socket": 0o140644, "folder": 0o040755,
    }.items():  # fmt: skip
        data = patched(good, position, struct.pack("<I", mode << 16))
        yield lie(f"directory: {name}", data, "package.special_file", ARCHITECTURE)
    for name, attributes in {
        "set-user-id": 0o104755 << 16, "executable": 0o100755 << 16, "no mode": 0,
        "MS-DOS folder attribute": (0o100644 << 16) | 0x10,
    }.items():  # fmt: skip
        data = patched(good, position, struct.pack("<I", attributes))
        yield lie(f"directory: {name}", data, "package.directory", ARCHITECTURE)


def end_lies() -> Iterator[BadPackage]:
    """One field of the end records, and Zip64 counts and sizes that are not so."""
    good = package_bytes()
    count, body_end = len(entries()) + 1, records_of(good)[MANIFEST].end
    size = len(good) - END_BYTES - body_end
    for name, position in {
        "zip64 signature": 0, "zip64 size field": 4, "made by": 12, "needed": 14, "disk": 16, "directory disk": 20,
        "counts differ": 24, "locator signature": 56, "locator disk": 60, "locator offset": 64, "total disks": 72,
        "end signature": 76, "end disk": 80, "end counts": 84, "end size": 88, "end offset": 92, "comment": 96,
    }.items():  # fmt: skip
        where = len(good) - END_BYTES + position
        data = patched(good, where, bytes([good[where] ^ 1]))
        yield lie(f"end records: {name}", data, "package.end_records")
    for name, end, code in (
        ("an entry too many", end_records(count + 1, body_end, size), "package.directory"),
        ("an entry too few", end_records(count - 1, body_end, size), "package.hidden_data"),
        ("no entries", end_records(0, body_end, size), "package.too_large"),
        ("65 537 entries", end_records(65_537, body_end, size), "package.too_large"),
        ("2^40 entries", end_records(2**40, body_end, size), "package.too_large"),
        ("2^64 - 1 entries", end_records(2**64 - 1, body_end, size), "package.too_large"),
        ("directory of 2^63 bytes", end_records(count, body_end, 2**63), "package.truncated"),
        ("directory elsewhere", end_records(count, 0, size), "package.hidden_data"),
        ("directory over all", end_records(count, 0, body_end + size), "package.too_large"),
    ):
        yield lie(f"end records: {name}", good[:-END_BYTES] + end, code)
    end64 = struct.pack("<QQQQ", count, count, 2**64 - 1, 2**64 - 1)
    overflow = patched(good, len(good) - END_BYTES + 24, end64)
    yield lie("end records: offset and size overflow", overflow, "package.end_records")


def layouts() -> Iterator[BadPackage]:
    """Entries that overlap, leave room, stand twice, in another order, or are not the manifest's."""
    payloads = sorted(entries().items())
    good, raw = package_bytes(), honest_manifest(entries())
    records = list(records_of(good).values())
    body = good[: records[-1].end]
    yield lie("bytes between payloads and directory", finish(body + b"hidden", records), "package.hidden_data")
    hidden = pack_only([*payloads, (MANIFEST, raw)], prefix=b"PK\x03\x04" + bytes(60))
    yield lie("bytes before the first entry", hidden, "package.gap", ARCHITECTURE)
    overlapping = [records[0], EntryRecord(README, 1, 0, 0), *records[2:]]
    yield lie("two entries share bytes", finish(body, overlapping), "package.overlap", README)
    yield lie("bomb of one payload in many names", *_one_payload_many_times())
    yield lie("room between two entries", *_gap_inside())
    yield lie("entry twice", pack([payloads[0], *payloads]), "package.duplicate_entry", ARCHITECTURE)
    twice = pack_only([*payloads, (MANIFEST, raw), (MANIFEST, raw)])
    yield lie("manifest twice", twice, "package.duplicate_entry", MANIFEST)
    yield lie("entries not sorted", pack(payloads[::-1]), "package.order", LAYER)
    yield lie("manifest first", pack([(MANIFEST, raw), *payloads]), "package.order", MANIFEST)
    yield lie("no manifest", pack_only(payloads), "package.missing_entry", MANIFEST)
    extra = pack([*payloads, ("weights/zzz", b"x")], raw)
    yield lie("unlisted entry", extra, "package.unlisted_entry", "weights/zzz")
    yield lie("listed entry missing", pack(payloads[1:], raw), "package.missing_entry", ARCHITECTURE)
    longer = [(name, data + b" " if name == ARCHITECTURE else data) for name, data in payloads]
    yield lie("size is not the manifest's", pack(longer, raw), "package.size_mismatch", ARCHITECTURE)
    flipped = [(name, bytes([data[0] ^ 1]) + data[1:] if name == LAYER else data) for name, data in payloads]
    yield lie("payload changed with its crc", pack(flipped, raw), "package.digest_mismatch", LAYER)
    position = records_of(good)[LAYER].payload_offset + 200
    changed = patched(good, position, bytes([good[position] ^ 1]))
    yield lie("payload bit flipped", changed, "package.digest_mismatch", LAYER)
    for name in (README, MANIFEST):
        data = pack_only([*payloads, (MANIFEST, raw)], wrong_crc=name)
        yield lie(f"crc of {name} wrong in both headers", data, "package.crc", name)


def _one_payload_many_times() -> tuple[bytes, str, str]:
    """The overlapping zip bomb: every record points to the one payload at the start."""
    good = package_bytes()
    first = records_of(good)[ARCHITECTURE]
    names = [f"assets/{number:04}" for number in range(1000)]
    records = [first, *(EntryRecord(name, first.size_bytes, first.crc32, 0) for name in names)]
    return finish(good[: first.end], records), "package.overlap", names[0]


def _gap_inside() -> tuple[bytes, str, str]:
    good = package_bytes()
    first, *others = records_of(good).values()
    body = good[: first.end] + bytes(4096) + good[first.end : others[-1].end]
    moved = [EntryRecord(one.name, one.size_bytes, one.crc32, one.offset + 4096) for one in others]
    return finish(body, [first, *moved]), "package.gap", others[0].name
