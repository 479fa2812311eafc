"""Lies of weights entries: headers, and how tensors lie behind them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from functools import partial

from hyperion.format.weights import WeightTensor, weights_entry
from tests.hostile.forge import BadPackage, lie, pack, tensor, tensors_file, tensors_header, with_chunks
from tests.packages import TENSORS, entries, weights

LAYER = "weights/layer0.weights"
GOLDEN = "assets/golden/a.safetensors"
HEADER, LAYOUT = "package.weights_header", "package.weights_layout"


def headers() -> Iterator[BadPackage]:
    """Headers that cannot be read, or could be read otherwise."""
    whole = tensor(0, 64)
    twice = b'{"a":%b,"a":%b}' % ((json.dumps(whole).encode(),) * 2)
    for name, data, code in (
        ("empty", b"", HEADER), ("short", b"\x01\x02", HEADER), ("length 0", bytes(72), HEADER),
        ("length 2^63", tensors_file(b"{}", length=2**63), HEADER),
        ("length 2^64 - 1", tensors_file(b"{}", length=2**64 - 1), HEADER),
        ("longer than the entry", tensors_file(b"{}", length=4096), HEADER),
        ("space before the brace", tensors_file(b" {}"), HEADER), ("zeros", tensors_file(bytes(100)), HEADER),
        ("not an object", tensors_file(b"[]"), HEADER), ("no json", tensors_file(b"{nonsense"), "json.invalid"),
        ("tensor twice", tensors_file(twice), "json.duplicate_key"),
        ("shape of 2^64", tensors_file(tensors_header(a=tensor(0, 64, shape=[2**64]))), "json.number"),
        ("latin-1", tensors_file(b'{"\xe9":1}'), "json.encoding"),
        ("NaN", tensors_file(b'{"a":NaN}'), "json.number"),
        ("deeply nested", tensors_file(b'{"a":' * 5000 + b"1" + b"}" * 5000), "json.nesting"),
        ("negative shape", _of(tensor(0, 64, shape=[-8, -8])), HEADER),
        ("fractional shape", _of(tensor(0, 64, shape=[64.0])), HEADER),
        ("boolean shape", _of(tensor(0, 64, shape=[True, 64])), HEADER),
        ("shape is a number", _of(tensor(0, 64, shape=64)), HEADER),
        ("100 000 dimensions", _of(tensor(0, 64, shape=[1] * 100_000 + [64])), HEADER),
        ("negative offset", _of({**whole, "data_offsets": [-64, 0]}), HEADER),
        ("three offsets", _of({**whole, "data_offsets": [0, 64, 64]}), HEADER),
        ("unknown dtype", _of(tensor(0, 64, "I4")), HEADER),
        ("dtype is a list", _of({**whole, "dtype": ["U8"]}), HEADER),
        ("unknown key", _of({**whole, "evil": 1}), HEADER), ("key missing", _of({"dtype": "U8"}), HEADER),
        ("tensor is a number", _of(1), HEADER),
        ("metadata", tensors_file(tensors_header(__metadata__={"format": "pt"}, a=whole)), HEADER),
        ("metadata is a list", tensors_file(tensors_header(__metadata__=[], a=whole)), HEADER),
        ("metadata of numbers", tensors_file(tensors_header(__metadata__={"a": 1}, a=whole)), HEADER),
        ("spaces between keys", tensors_file(json.dumps({"a": whole}).encode()), HEADER),
        ("keys in another order", _of(dict(reversed(whole.items()))), HEADER),
        ("needless escape", tensors_file(tensors_header(a=whole).replace(b'"a"', b'"\\u0061"')), HEADER),
        ("padded to 64", tensors_file(tensors_header(a=whole), padding=64), HEADER),
        ("padded to 8192", tensors_file(tensors_header(a=whole), padding=8192), HEADER),
        ("padded with line feeds", _padded_with(b"\n"), HEADER), ("padded with tabs", _padded_with(b"\t"), HEADER),
        ("padded with zeros", _padded_with(b"\0"), "json.invalid"),
        ("tensors in another order", _tensors_swapped(), HEADER),
        ("needless padding tensor", tensors_file(tensors_header(a=whole, __pad0=tensor(64, 128)), bytes(128)), HEADER),
        ("padding of the wrong name", weights().replace(b"__pad0", b"__pad7"), HEADER),
    ):  # fmt: skip
        yield lie(f"tensor header: {name}", _package(data), code, LAYER)
    yield BadPackage("tensor header: 17 MiB", partial(_large_header, 17), HEADER, LAYER)
    yield BadPackage("tensor header: 15 MiB of one name", partial(_large_header, 15), HEADER, LAYER)
    yield BadPackage("tensor header: 40 000 tensors", partial(_empty_tensors, 40_000), "json.too_large", LAYER)


def layouts() -> Iterator[BadPackage]:
    """Tensors that overlap, leave holes, end elsewhere, are not the manifest's, or hide something between them."""
    whole = tensor(0, 64)
    for name, data in {
        "overlap": tensors_file(tensors_header(a=whole, b=whole)),
        "partial overlap": tensors_file(tensors_header(a=whole, b=tensor(32, 96)), bytes(96)),
        "hole": tensors_file(tensors_header(a=tensor(0, 32), b=tensor(48, 64))),
        "hole at the start": tensors_file(tensors_header(a=tensor(64, 128)), bytes(128)),
        "beyond the end": _of(tensor(0, 128)),
        "trailing bytes": _of(tensor(0, 32)),
        "no tensors but bytes": tensors_file(b"{}"),
        "misaligned": tensors_file(tensors_header(a=tensor(0, 32), b=tensor(32, 64))),
        "shape and size differ": _of(tensor(0, 64, shape=[63])),
        "dtype and size differ": _of(tensor(0, 64, "F64", shape=[64])),
        "shape overflows": _of(tensor(0, 64, shape=[2**33, 2**33])),
        "64 huge dimensions": _of(tensor(0, 64, shape=[2**53 - 1] * 64)),
        "end before begin": _of({"dtype": "U8", "shape": [0], "data_offsets": [64, 0]}),
        "offsets of 2^53 - 1": _of({"dtype": "U8", "shape": [0], "data_offsets": [2**53 - 1, 2**53 - 1]}),
        "data hidden in padding": _hidden_in_padding(),
    }.items():
        yield lie(f"tensors: {name}", _package(data), LAYOUT, LAYER)
    others = _of(whole)
    yield lie("tensors: others than the manifest's", _package(others), "package.weights_mismatch", LAYER)
    fewer = weights({"fc.weight": bytes(32)})
    yield lie("tensors: one missing", _package(fewer), "package.weights_mismatch", LAYER)
    renamed = weights({"fc.weights": bytes(32), "fc.bias": bytes(8)})
    yield lie("tensors: one renamed", _package(renamed), "package.weights_mismatch", LAYER)
    slow = partial(_one_byte_each, 17_000)
    yield BadPackage("tensors: 17 000 of one byte", slow, "package.weights_mismatch", LAYER)


def golden() -> Iterator[BadPackage]:
    """The same of a golden request's tensors, which keep no multiple of 64."""
    for name, data, code in (
        ("no header", b"", HEADER), ("trailing bytes", tensors_file(b"{}"), LAYOUT),
        ("hole", tensors_file(tensors_header(**{"input:x": tensor(8, 64)})), LAYOUT),
        ("key twice", tensors_file(b'{"a":1,"a":1}'), "json.duplicate_key"),
    ):  # fmt: skip
        yield lie(f"golden tensors: {name}", pack(entries() | {GOLDEN: data}), code, GOLDEN)


def _package(data: bytes) -> bytes:
    return pack(with_chunks(entries() | {LAYER: data}))


def _of(item: object) -> bytes:
    return tensors_file(tensors_header(a=item))


def _padded_with(filler: bytes) -> bytes:
    text = tensors_header(a=tensor(0, 64))
    text += filler * (4088 - len(text))
    return struct.pack("<Q", len(text)) + text + bytes(64)


def _tensors_swapped() -> bytes:
    """An unaligned tensor before an aligned one; a writer puts those first that need no padding."""
    items = {"a": tensor(0, 1), "__pad0": tensor(1, 64), "b": tensor(64, 128)}
    return tensors_file(tensors_header(**items), bytes(128))


def _hidden_in_padding() -> bytes:
    data = bytearray(weights())
    position = data.rindex(TENSORS["fc.weight"]) + 32
    data[position : position + 4] = b"evil"
    return bytes(data)


def _one_byte_each(count: int) -> bytes:
    """So many tensors that need padding: a reader that looks back at each takes minutes."""
    tensors = [WeightTensor(f"t{number}", "U8", (1,), 1, lambda: b"x") for number in range(count)]
    with weights_entry(tensors).open() as stream:
        return _package(stream.read())


def _empty_tensors(count: int) -> bytes:
    return _package(tensors_file(tensors_header(**{f"t{number}": tensor(0, 0) for number in range(count)}), b""))


def _large_header(mebibytes: int) -> bytes:
    return _package(tensors_file(b'{"%b":1}' % (b"x" * (mebibytes * 1024 * 1024))))
