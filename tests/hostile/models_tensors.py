"""Models whose weights lie: shapes, types, lengths, places, sparse ones, blocks and scales of quantized ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.hostile.models_craft import FLOAT, INT64, HostileModel, hostile, model_of, node, tensor, value

ADD = (node("Add", ["x", "w"]),)


def shapes() -> Iterator[HostileModel]:
    def weight(dims: list[int], kind: int = FLOAT, **fields: object) -> onnx.TensorProto:
        return TensorProto(name="w", dims=dims, data_type=kind, **fields)

    for name, lying in {
        "a negative size": weight([-1, 4], raw_data=bytes(16)),
        "2^80 elements": weight([2**40, 2**40], raw_data=bytes(16)),
        "a product that wraps to 4": weight([2**62, 4, 4, 2**60], raw_data=bytes(16)),
        "2^40 elements without a byte": weight([2**40]),
        "2^40 elements, empty raw bytes": weight([2**40], raw_data=b""),
        "fewer bytes than its shape": weight([1000], raw_data=bytes(16)),
        "more bytes than its shape": weight([4], raw_data=bytes(16_000)),
        "fewer values than its shape": weight([1000], float_data=[1.0]),
        "values of another type": weight([4], int64_data=[1, 2, 3, 4]),
        "an unknown type": weight([4], kind=99, raw_data=bytes(16)),
        "no type": weight([4], kind=0, raw_data=bytes(16)),
        "texts as raw bytes": weight([4], kind=TensorProto.STRING, raw_data=bytes(16)),
        "100 dimensions": weight([1] * 100, raw_data=bytes(4)),
        "both kinds of values": weight([4], raw_data=bytes(16), float_data=[1.0] * 4),
        "a segment of a tensor": weight([4], raw_data=bytes(16), segment=TensorProto.Segment(begin=0, end=2**40)),
    }.items():
        yield hostile(f"a weight with {name}", model_of(ADD, [lying]))
        constant = node("Constant", [], ["w"], value=lying)
        yield hostile(f"a constant with {name}", model_of([constant, *ADD]))


def _external(**where: str) -> onnx.TensorProto:
    found = TensorProto(name="w", dims=[1024], data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    for key, text in where.items():
        found.external_data.add(key=key, value=text)
    return found


def _with_part(weight: onnx.TensorProto, prepare: str = "") -> HostileModel:
    def write(folder: Path) -> None:
        (folder / "w.bin").write_bytes(bytes(4096))
        if prepare == "link":
            (folder / "link.bin").symlink_to("w.bin")
        elif prepare == "hard link":
            os.link(folder / "w.bin", folder / "hard.bin")
        elif prepare == "pipe":
            os.mkfifo(folder / "pipe.bin")
        (folder / "model.onnx").write_bytes(bytes(model_of(ADD, [weight]).SerializeToString()))

    return HostileModel("", write)


def places() -> Iterator[HostileModel]:
    size = {"offset": "0", "length": "4096"}
    for name, prepare, where in (
        ("that is missing", "", {"location": "missing.bin", **size}),
        ("with an absolute path", "", {"location": "/etc/passwd", **size}),
        ("above the folder", "", {"location": "../w.bin", **size}),
        ("behind a link", "link", {"location": "link.bin", **size}),
        ("with two names", "hard link", {"location": "hard.bin", **size}),
        ("that is a pipe", "pipe", {"location": "pipe.bin", **size}),
        ("under /proc", "", {"location": "/proc/self/mem", **size}),
        ("at an address in memory", "", {"location": "*/_ORT_MEM_ADDR_/*", **size}),
        ("before its beginning", "", {"location": "w.bin", "offset": "-4096", "length": "4096"}),
        ("beyond its end", "", {"location": "w.bin", "offset": "4096", "length": "4096"}),
        ("at an offset that wraps", "", {"location": "w.bin", "offset": str(2**64 - 4096), "length": "4096"}),
        ("of another length", "", {"location": "w.bin", "offset": "0", "length": "12"}),
        ("at no number", "", {"location": "w.bin", "offset": "0x0", "length": "4096"}),
        ("with prepacked bytes", "", {"location": "w.bin", **size, "prepacked_0": "w|0|64|abc"}),
        ("with an unknown key", "", {"location": "w.bin", **size, "url": "http://evil.example"}),
        ("without a place", "", size),
        ("with a place of zeros", "", {"location": "w\0.bin", **size}),
    ):
        made = _with_part(_external(**where), prepare)
        yield HostileModel(f"a part {name}", made.write, "model_source.external_data")


def _aliased(folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(4096))
    weights, nodes = [], []
    for index in range(2000):
        weight = _external(location="w.bin", offset="0", length="4096")
        weight.name = f"w{index}"
        weights.append(weight)
        nodes.append(
            node("Add", [f"v{index}" if index else "x", weight.name], [f"v{index + 1}" if index < 1999 else "y"])
        )
    (folder / "model.onnx").write_bytes(
        bytes(model_of(nodes, weights, inputs=[value("x", FLOAT, [1024])]).SerializeToString())
    )


def sharing() -> Iterator[HostileModel]:
    yield HostileModel("2000 weights in the same bytes", _aliased, "model.too_large")


def sparse() -> Iterator[HostileModel]:
    for name, dims, indices, code in (
        ("of 2^40 elements", [2**20, 2**20], [0], "model.too_large"),
        ("of negative size", [-4], [0], "model.tensor"),
        ("with an index outside", [16], [2**40], None),
        ("with a negative index", [16], [-1], None),
        ("with more indices than values", [16], [0, 1, 2], None),
    ):
        values = tensor("w", [1.0])
        made = helper.make_sparse_tensor(values, tensor("", indices, np.int64), dims)
        model = model_of(ADD)
        model.graph.sparse_initializer.append(made)
        yield hostile(f"a sparse weight {name}", model, code)


def blocks() -> Iterator[HostileModel]:
    good = {"K": 64, "N": 8, "bits": 4, "block_size": 32}
    for change in (
        {"block_size": 0}, {"block_size": 15}, {"block_size": 2**30}, {"block_size": -32}, {"K": 0}, {"K": -64},
        {"N": 2**40}, {"bits": 3}, {"bits": 64}, {"K": 4096},
    ):  # fmt: skip
        packed, scales = tensor("b", np.zeros((8, 2, 16)), np.uint8), tensor("s", np.ones(16))
        packed_node = node("MatMulNBits", ["x", "b", "s"], domain="com.microsoft", **{**good, **change})
        inputs = [value("x", FLOAT, [1, 64])]
        yield hostile(
            f"packed blocks with {change}",
            model_of([packed_node], [packed, scales], inputs=inputs),
            "model.quantization",
        )
    for name, scale in (("NaN", np.nan), ("infinite", np.inf), ("zero", 0.0), ("negative", -1.0)):
        packed, scales = tensor("b", np.full((8, 2, 16), 255), np.uint8), tensor("s", np.full(16, scale))
        packed_node = node("MatMulNBits", ["x", "b", "s"], domain="com.microsoft", **good)
        yield hostile(
            f"packed blocks with {name} scales",
            model_of([packed_node], [packed, scales], inputs=[value("x", FLOAT, [1, 64])]),
        )
    for count in (1, 3):
        packed, scales = tensor("b", np.zeros((8, 2, 16)), np.uint8), tensor("s", np.ones(count))
        packed_node = node("MatMulNBits", ["x", "b", "s"], domain="com.microsoft", **good)
        yield hostile(
            f"packed blocks with {count} scales",
            model_of([packed_node], [packed, scales], inputs=[value("x", FLOAT, [1, 64])]),
        )
    for block, index in ((32, 10**9), (32, -(10**9)), (15, 0), (0, 0), (2**30, 0)):
        table, scales = tensor("t", np.zeros((16, 16)), np.uint8), tensor("s", np.ones((16, 1)))
        pick = node(
            "GatherBlockQuantized",
            ["t", "i", "s"],
            domain="com.microsoft",
            block_size=block,
            bits=4,
            gather_axis=0,
            quantize_axis=1,
        )
        chosen = [node("Mul", ["n", "far"], ["i"]), pick]
        yield hostile(
            f"a table in blocks of {block}, row {index}",
            model_of(chosen, [table, scales, tensor("far", [index], np.int64)], inputs=[value("n", INT64, [1])]),
        )
