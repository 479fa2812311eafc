"""Bad packages, one lie each, with the code of the error that must name it."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import rfc8785

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Entry
from hyperion.format.block_pump import crc32
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.zip_records import (
    END_BYTES,
    EntryRecord,
    directory_record,
    end_records,
    local_header,
)
from tests.packages import entries, manifest, package_bytes

MANIFEST = "manifest.json"
MISMATCH = "package.size_mismatch"


@dataclass(frozen=True)
class BadPackage:
    """One attack.

    Attributes:
        name: What it does.
        data: The file.
        code: Of the error that refuses it.
    """

    name: str
    data: bytes
    code: str


def pack(payloads: Sequence[tuple[str, bytes]], raw_manifest: bytes | None = None) -> bytes:
    """A container of these entries in this order, whatever their names; a true manifest is added where none is."""
    body, records = b"", []
    if raw_manifest is None and MANIFEST not in dict(payloads):
        raw_manifest = honest_manifest(dict(payloads))
    items = [*payloads, (MANIFEST, raw_manifest)] if raw_manifest is not None else list(payloads)
    for name, data in items:
        record = EntryRecord(name, len(data), crc32(data), len(body))
        body += local_header(record) + data
        records.append(record)
    return finish(body, records)


def finish(body: bytes, records: Sequence[EntryRecord]) -> bytes:
    directory = b"".join(directory_record(record) for record in records)
    return body + directory + end_records(len(records), len(body), len(directory))


def honest_manifest(payloads: dict[str, bytes]) -> bytes:
    """Canonical bytes of a manifest that lists these payloads truly; nothing else is checked."""
    written = {name: Entry(digest=digest_of(data), size_bytes=len(data)) for name, data in payloads.items()}
    return manifest_bytes(manifest(written))


def changed_manifest(change: Callable[[dict], object]) -> bytes:
    """The good package's manifest after ``change``, canonical again."""
    tree = json.loads(honest_manifest(entries()))
    change(tree)
    return rfc8785.dumps(tree)


def records_of(data: bytes) -> dict[str, EntryRecord]:
    """Where everything lies in a good package."""
    found, offset = {}, 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            record = EntryRecord(info.filename, info.file_size, info.CRC, info.header_offset)
            found[info.filename] = record
            offset = record.end
    assert offset < len(data)
    return found


def patched(data: bytes, position: int, value: bytes) -> bytes:
    position %= len(data)
    return data[:position] + value + data[position + len(value) :]


def corpus() -> Iterator[BadPackage]:
    """All of them."""
    yield from _no_packages()
    yield from _local_lies()
    yield from _directory_lies()
    yield from _end_lies()
    yield from _layouts()
    yield from _names()
    yield from _manifest_texts()
    yield from _manifest_lies()
    yield from _weights()
    yield from _contents()


def _no_packages() -> Iterator[BadPackage]:
    good = package_bytes()
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        for name, data in entries().items():
            archive.writestr(name, data)
    yield BadPackage("empty", b"", "package.not_a_package")
    yield BadPackage("text", b"hello\n" * 100, "package.not_a_package")
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    yield BadPackage("git lfs pointer", lfs, "package.not_a_package")
    yield BadPackage("elf", b"\x7fELF" + bytes(200), "package.not_a_package")
    yield BadPackage("plain zip", plain.getvalue(), "package.truncated")
    yield BadPackage("only a zip magic", b"PK\x03\x04", "package.truncated")
    yield BadPackage("last byte missing", good[:-1], "package.truncated")
    yield BadPackage("half of it", good[: len(good) // 2], "package.truncated")
    yield BadPackage("byte appended", good + b"\x00", "package.truncated")
    yield BadPackage("zip comment", good[:-2] + b"\x04\x00evil", "package.truncated")
    yield BadPackage("prefix", good[:4096] + good, "package.truncated")
    yield BadPackage("two packages in one", good + good, "package.truncated")


def _local_lies() -> Iterator[BadPackage]:
    good = package_bytes()
    start = records_of(good)["assets/README.md"].offset
    lies = {
        "signature": (0, b"QK"), "version needed": (4, b"\x14\x00"), "encrypted flag": (6, b"\x01\x08"),
        "deflate method": (8, b"\x08\x00"), "time": (10, b"\x01\x00"), "date": (12, b"\x00\x00"),
        "crc": (14, b"\x00\x00\x00\x00"), "compressed size": (18, b"\x01\x00\x00\x00"),
        "size": (22, b"\x01\x00\x00\x00"),
        "name length": (26, b"\x01\x00"), "extra length": (28, b"\x00\x00"), "name": (30, b"X"),
        "zip64 size": (30 + 16 + 4, b"\x01"), "padding id": (30 + 16 + 20, b"\x00\x00"),
        "hidden data in padding": (30 + 16 + 24, b"evil"),
    }  # fmt: skip
    for name, (offset, value) in lies.items():
        yield BadPackage(f"local header: {name}", patched(good, start + offset, value), "package.header")


def _directory_lies() -> Iterator[BadPackage]:
    good = package_bytes()
    start = records_of(good)[MANIFEST].end
    first = 46 + len("architecture.json")
    lies = {
        "signature": (0, b"QK"), "made by MS-DOS": (4, b"\x2d\x00"), "version needed": (6, b"\x14\x00"),
        "encrypted flag": (8, b"\x01\x08"), "deflate method": (10, b"\x08\x00"), "time": (12, b"\x01\x00"),
        "date": (14, b"\x00\x00"), "compressed size": (20, b"\x01\x00\x00\x00"), "extra length": (30, b"\x1d\x00"),
        "comment length": (32, b"\x01\x00"), "disk number": (34, b"\x01\x00"),
        "internal attributes": (36, b"\x01\x00"), "symbolic link": (38, struct.pack("<I", 0o120777 << 16)),
        "set-user-id": (38, struct.pack("<I", 0o104755 << 16)), "offset": (42, b"\x00\x00\x00\x00"),
        "extra id": (first, b"\x02"), "sizes differ": (first + 4, b"\x01"),
    }  # fmt: skip
    for name, (offset, value) in lies.items():
        yield BadPackage(f"directory: {name}", patched(good, start + offset, value), "package.directory")
    yield BadPackage("directory: crc", patched(good, start + 16, b"\x00\x00\x00\x00"), "package.header")
    yield BadPackage("directory: bad utf-8", patched(good, start + 46, b"\xff"), "package.directory")
    yield BadPackage("directory: name length", patched(good, start + 28, b"\xff\xff"), "package.directory")
    offset = struct.pack("<Q", 1)
    yield BadPackage("directory: offset beyond", patched(good, start + first + 20, offset), "package.overlap")
    huge = struct.pack("<QQ", 2**63, 2**63)
    yield BadPackage("directory: size of 8 EiB", patched(good, start + first + 4, huge), "package.overlap")


def _end_lies() -> Iterator[BadPackage]:
    good = package_bytes()
    count = len(entries()) + 1
    records = records_of(good)
    body_end = records[MANIFEST].end
    size = len(good) - END_BYTES - body_end
    for name, position in {
        "zip64 signature": 0, "zip64 size field": 4, "made by": 12, "needed": 14, "disk": 16, "directory disk": 20,
        "counts differ": 24, "locator signature": 56, "locator disk": 60, "locator offset": 64, "total disks": 72,
        "end signature": 76, "end disk": 80, "end counts": 84, "end size": 88, "end offset": 92, "comment": 96,
    }.items():  # fmt: skip
        where = len(good) - END_BYTES + position
        lie = bytes([good[where] ^ 1])
        yield BadPackage(f"end records: {name}", patched(good, where, lie), "package.truncated")
    for name, end, code in (
        ("an entry too many", end_records(count + 1, body_end, size), "package.directory"),
        ("an entry too few", end_records(count - 1, body_end, size), "package.hidden_data"),
        ("no entries", end_records(0, body_end, size), "package.too_large"),
        ("2^40 entries", end_records(2**40, body_end, size), "package.too_large"),
        ("directory of 2^63 bytes", end_records(count, body_end, 2**63), "package.truncated"),
        ("directory elsewhere", end_records(count, 0, size), "package.truncated"),
    ):
        yield BadPackage(f"end records: {name}", good[:-END_BYTES] + end, code)


def _layouts() -> Iterator[BadPackage]:
    payloads = sorted(entries().items())
    good = package_bytes()
    records = list(records_of(good).values())
    body = good[: records[-1].end]
    yield BadPackage("bytes between payloads and directory", finish(body + b"hidden", records), "package.hidden_data")
    yield BadPackage("gap before the first entry", _with_gap(), "package.overlap")
    overlapping = [records[0], EntryRecord("assets/README.md", 1, 0, 0), *records[2:]]
    yield BadPackage("two entries share bytes", finish(body, overlapping), "package.overlap")
    yield BadPackage("entry twice", pack([payloads[0], *payloads]), "package.duplicate_entry")
    yield BadPackage("entries not sorted", pack(payloads[::-1]), "package.order")
    raw = honest_manifest(dict(payloads))
    yield BadPackage("manifest first", pack([(MANIFEST, raw), *payloads]), "package.order")
    orphan = [item for item in payloads if item[0] != MANIFEST]
    yield BadPackage("no manifest", pack_plain(orphan), "package.manifest")
    yield BadPackage("unlisted entry", pack([*payloads, ("weights/zzz", b"x")], raw), "package.unlisted_entry")
    yield BadPackage("listed entry missing", pack(payloads[1:], raw), "package.missing_entry")
    longer = [(name, data + b" " if name == "architecture.json" else data) for name, data in payloads]
    yield BadPackage("size is not the manifest's", pack(longer, raw), "package.size_mismatch")
    flipped = [(n, bytes([d[0] ^ 1]) + d[1:] if n == "weights/layer0.weights" else d) for n, d in payloads]
    yield BadPackage("payload changed with its crc", pack(flipped, raw), "package.digest_mismatch")
    position = records_of(good)["weights/layer0.weights"].payload_offset + 200
    changed = patched(good, position, bytes([good[position] ^ 1]))
    yield BadPackage("payload bit flipped", changed, "package.digest_mismatch")
    yield BadPackage("crc wrong in both headers", _wrong_crc("assets/README.md"), "package.crc")
    yield BadPackage("manifest crc wrong in both headers", _wrong_crc(MANIFEST), "package.crc")


def pack_plain(items: Sequence[tuple[str, bytes]]) -> bytes:
    """A container without a manifest."""
    body, records = b"", []
    for name, data in items:
        record = EntryRecord(name, len(data), crc32(data), len(body))
        body += local_header(record) + data
        records.append(record)
    return finish(body, records)


def _with_gap() -> bytes:
    body, records = b"PK\x03\x04" + bytes(60), []
    items = sorted(entries().items())
    for name, data in [*items, (MANIFEST, honest_manifest(dict(items)))]:
        record = EntryRecord(name, len(data), crc32(data), len(body))
        body += local_header(record) + data
        records.append(record)
    return finish(body, records)


def _wrong_crc(target: str) -> bytes:
    body, records = b"", []
    items = sorted(entries().items())
    for name, data in [*items, (MANIFEST, honest_manifest(dict(items)))]:
        record = EntryRecord(name, len(data), crc32(data) ^ (name == target), len(body))
        body += local_header(record) + data
        records.append(record)
    return finish(body, records)


def _names() -> Iterator[BadPackage]:
    for name in (
        "../evil", "assets/../../evil", "/etc/passwd", "assets//x", "assets/./x", "assets/..", "assets\\evil",
        "C:/evil", "assets/con", "assets/NUL.txt", "assets/com1.json", "assets/dot.", "assets/.hidden", "assets/-rf",
        "assets/a b", "assets/\x1b[31mred", "assets/line\nbreak", "assets/é", "assets/\u202egpj.exe", "assets/a\x00b",
        "assets/" + "x" * 256, "assets/" + "d/" * 8 + "x", "elsewhere/x", "stray.txt", "assets/", "", "model.sig",
    ):  # fmt: skip
        items = sorted([*entries().items(), (name, b"x")], key=lambda item: item[0].encode())
        raw = honest_manifest(entries())
        yield BadPackage(f"name {name[:40]!r}", pack(items, raw), "package.unsafe_name")
    for name in ("assets/readme.md", "assets/README.md/x"):
        items = sorted([*entries().items(), (name, b"x")], key=lambda item: item[0].encode())
        yield BadPackage(f"name {name!r}", pack(items, honest_manifest(entries())), "package.duplicate_entry")


def _manifest_texts() -> Iterator[BadPackage]:
    payloads = sorted(entries().items())
    good = honest_manifest(dict(payloads))
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for name, raw in {
        "empty": b"", "no json": b"{", "not an object": b"[]", "bom": b"\xef\xbb\xbf" + good,
        "latin-1": b'{"a":"\xe9"}',
        "nan": good.replace(b'"annotations":{}', b'"annotations":NaN'),
        "infinite": good.replace(b'"annotations":{}', b'"annotations":1e999'),
        "integer of 2^53": good.replace(b'"annotations":{}', b'"annotations":9007199254740992'),
        "huge integer": good.replace(b'"annotations":{}', b'"annotations":' + b"9" * 5000),
        "lone surrogate": good.replace(b'"annotations":{}', b'"annotations":{"a":"\\ud800"}'),
        "key twice": good.replace(b'"annotations":{}', b'"annotations":{},"annotations":{}'),
        "deeply nested": deep, "spaces": good.replace(b":", b": "), "trailing text": good + b"x",
        "another format": good.replace(b'"hyperion"', b'"other"'),
    }.items():  # fmt: skip
        yield BadPackage(f"manifest: {name}", pack(payloads, raw), "package.manifest")
    for version in (b"1", b"-1", b'"0"', b"true", b"false", b"null", b"[]", b"0.5"):
        raw = rfc8785.dumps(json.loads(good.replace(b'"format_version":0', b'"format_version":' + version)))
        yield BadPackage(f"format version {version.decode()}", pack(payloads, raw), "package.unknown_format_version")
    too_large = pack(payloads, b'{"a":"' + b"x" * (17 * 1024 * 1024) + b'"}')
    yield BadPackage("manifest of 17 MiB", too_large, "package.too_large")


def _manifest_lies() -> Iterator[BadPackage]:
    payloads = sorted(entries().items())

    def bad(name: str, change: Callable[[dict], object], code: str = "package.manifest") -> BadPackage:
        return BadPackage(f"manifest: {name}", pack(payloads, changed_manifest(change)), code)

    digest = "sha256:" + "0" * 64
    yield bad("unknown key", lambda m: m.update(evil=1))
    yield bad("unknown key inside", lambda m: m["engine"].update(evil=1))
    yield bad("required key missing", lambda m: m.pop("signature"))
    yield bad("wrong type", lambda m: m.update(version=1))
    yield bad("bad name", lambda m: m.update(name="../Evil"))
    yield bad("version is no SemVer", lambda m: m.update(version="1.0"))
    yield bad("negative size", lambda m: m["entries"]["architecture.json"].update(size_bytes=-1))
    yield bad("size of 2^53 - 1", lambda m: m["entries"]["architecture.json"].update(size_bytes=2**53 - 1), MISMATCH)
    yield bad("other digest algorithm", lambda m: m["entries"]["architecture.json"].update(digest="md5:00"))
    yield bad("lists itself", lambda m: m["entries"].update({MANIFEST: {"digest": digest, "size_bytes": 1}}))
    yield bad("no architecture", lambda m: m["entries"].pop("architecture.json"))
    yield bad("layer without entry", lambda m: m["layers"][0].update(entry="weights/none.weights"))
    yield bad("layer is an asset", lambda m: m["layers"][0].update(entry="assets/README.md"))
    yield bad("layer index", lambda m: m["layers"][0].update(index=7))
    yield bad("weights of no layer", lambda m: m.update(layers=[]))
    yield bad("two layers, one entry", lambda m: m["layers"].append({**m["layers"][0], "index": 1}))
    evil = {"../evil": {"digest": digest, "size_bytes": 1}}
    yield bad("lists a bad name", lambda m: m["entries"].update(evil), "package.unsafe_name")
    yield bad(
        "another digest",
        lambda m: m["entries"]["architecture.json"].update(digest=digest),
        "package.digest_mismatch",
    )
    tensor = {"name": "ghost", "dtype": "F32", "shape": [1], "scheme": "none"}
    yield bad("tensor that is not there", lambda m: m["layers"][0]["tensors"].append(tensor), "package.weights")
    yield bad("another shape", lambda m: m["layers"][0]["tensors"][0].update(shape=[4, 8]), "package.weights")


def tensors_file(header: bytes, data: bytes = bytes(64), length: int | None = None) -> bytes:
    """A safetensors file with this header, padded to a multiple of 64, whatever it says."""
    if length is None:
        header += b" " * (-(8 + len(header)) % 64)
        length = len(header)
    return struct.pack("<Q", length) + header + data


def _weights() -> Iterator[BadPackage]:
    def header(**tensors: object) -> bytes:
        return json.dumps(tensors).encode()

    def tensor(begin: int, end: int, dtype: str = "U8", shape: object = None) -> dict[str, object]:
        return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}

    whole = tensor(0, 64)
    for name, data in {
        "empty": b"", "short": b"\x01\x02", "length 2^63": tensors_file(b"{}", length=2**63),
        "header longer than the entry": tensors_file(b"{}", length=4096), "no brace": tensors_file(b" {}"),
        "no json": tensors_file(b"{nonsense"), "not an object": tensors_file(b"[]"),
        "tensor twice": tensors_file(b'{"a":%b,"a":%b}' % ((json.dumps(whole).encode(),) * 2)),
        "overlap": tensors_file(header(a=whole, b=tensor(0, 64))),
        "hole": tensors_file(header(a=tensor(0, 32), b=tensor(48, 64))),
        "beyond the end": tensors_file(header(a=tensor(0, 128))),
        "trailing bytes": tensors_file(header(a=tensor(0, 32))),
        "misaligned": tensors_file(header(a=tensor(0, 32), b=tensor(32, 64))),
        "shape and size differ": tensors_file(header(a=tensor(0, 64, shape=[63]))),
        "shape overflows": tensors_file(header(a=tensor(0, 64, shape=[2**33, 2**33]))),
        "negative shape": tensors_file(header(a=tensor(0, 64, shape=[-8, -8]))),
        "fractional shape": tensors_file(header(a=tensor(0, 64, shape=[64.0]))),
        "boolean shape": tensors_file(header(a=tensor(0, 64, shape=[True, 64]))),
        "too many dimensions": tensors_file(header(a=tensor(0, 64, shape=[1] * 100_000 + [64]))),
        "end before begin": tensors_file(header(a={"dtype": "U8", "shape": [0], "data_offsets": [64, 0]})),
        "three offsets": tensors_file(header(a={"dtype": "U8", "shape": [64], "data_offsets": [0, 64, 64]})),
        "unknown dtype": tensors_file(header(a=tensor(0, 64, "I4"))),
        "dtype is a list": tensors_file(header(a=whole | {"dtype": ["U8"]})),
        "unknown key": tensors_file(header(a=whole | {"evil": 1})), "tensor is a number": tensors_file(header(a=1)),
        "metadata is a list": tensors_file(header(__metadata__=[], a=whole)),
        "metadata of numbers": tensors_file(header(__metadata__={"a": 1}, a=whole)),
        "deeply nested": tensors_file(b'{"a":' * 5000 + b"1" + b"}" * 5000),
        "no tensors of the manifest": tensors_file(header(a=whole)),
    }.items():  # fmt: skip
        payloads = entries() | {"weights/layer0.weights": data}
        yield BadPackage(f"weights: {name}", pack(sorted(payloads.items())), "package.weights")


def _contents() -> Iterator[BadPackage]:
    tar = bytes(257) + b"ustar\x0000" + bytes(300)
    for name, data in {
        "pickle": b"\x80\x04\x95\x00\x00", "old pickle": b"\x80\x02}q\x00.", "elf": b"\x7fELF\x02\x01\x01",
        "windows program": b"MZ\x90\x00\x03\x00", "mach-o": b"\xcf\xfa\xed\xfe\x07",
        "fat mach-o": b"\xca\xfe\xba\xbe\x00",
        "zip": b"PK\x03\x04\x14\x00", "empty zip": b"PK\x05\x06" + bytes(18), "gzip": b"\x1f\x8b\x08\x00",
        "xz": b"\xfd7zXZ\x00\x00", "bzip2": b"BZh91AY&SY\x00", "7z": b"7z\xbc\xaf\x27\x1c\x00",
        "zstd": b"\x28\xb5\x2f\xfd\x00",
        "rar": b"Rar!\x1a\x07\x01\x00", "tar": tar, "wasm": b"\x00asm\x01\x00\x00\x00",
    }.items():  # fmt: skip
        payloads = entries() | {"assets/innocent.txt": data}
        yield BadPackage(f"asset: {name}", pack(sorted(payloads.items())), "package.executable_content")
    for name, entry, data in (
        ("architecture is no json", "architecture.json", b"{"),
        ("architecture with a key twice", "architecture.json", b'{"a":1,"a":2}'),
        ("config is no json", "config/optimization.json", b"threads: 1"),
        ("config with NaN", "config/optimization.json", b'{"a":NaN}'),
        ("golden document with an unknown key", "assets/golden/a.json", b'{"evil":1}'),
    ):
        payloads = entries() | {entry: data}
        yield BadPackage(f"content: {name}", pack(sorted(payloads.items())), "package.document")
    payloads = entries() | {"assets/golden/a.safetensors": tensors_file(b"{}")}
    yield BadPackage("content: golden tensors", pack(sorted(payloads.items())), "package.weights")
