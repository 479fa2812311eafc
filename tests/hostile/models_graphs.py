"""Models whose structure lies: files that are none, cycles, functions that call themselves, depths, counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.hostile.models_craft import BOOL, FLOAT, HostileModel, body, hostile, model_of, node, raw, tensor, value

NO_ONNX = "model_source.not_onnx"


def files() -> Iterator[HostileModel]:
    good = bytes(model_of([node("Relu", ["x"])]).SerializeToString())
    yield raw("an empty file", b"", NO_ONNX)
    yield raw("a text", b"this is no model\n" * 100)
    yield raw("zeros", bytes(10_000))
    yield raw("a pickle", b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR.")
    yield raw(
        "a pointer of Git LFS",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "model_source.lfs_pointer",
    )
    yield raw("the first half of a model", good[: len(good) // 2])
    yield raw("a model and then something", good + b"\xff" * 100)
    yield raw("a length that promises 2^60 bytes", b"\x3a" + b"\x80" * 8 + b"\x10")
    yield raw("groups without an end", b"\x0b" * 5_000)
    yield raw("a model in a model 10,000 deep", b"\x3a\x7f" * 10_000)
    yield HostileModel("a folder called model.onnx", lambda folder: (folder / "model.onnx").mkdir())
    yield HostileModel("a link to /dev/zero", lambda folder: (folder / "model.onnx").symlink_to("/dev/zero"))


def versions() -> Iterator[HostileModel]:
    for opset in (-1, 0, 999, 2**62):
        yield hostile(f"operator set {opset}", model_of([node("Relu", ["x"])], opset=opset), "model.opset")
    for version in (0, -5, 999):
        model = model_of([node("Relu", ["x"])])
        model.ir_version = version
        yield hostile(f"format version {version}", model)


def operators() -> Iterator[HostileModel]:
    for name, domain in (
        ("NoSuchOperator", ""), ("Relu", "evil.example"), ("Conv", "com.microsoft.nchwc"), ("", ""),
        ("\x1b[31m" + "A" * 100_000, "com.microsoft"), ("Gradient", "ai.onnx.preview.training"),
    ):  # fmt: skip
        yield hostile(
            f"operator {domain[:20]}::{name[:20]!r}", model_of([node(name, ["x"], domain=domain)]), "model.operator"
        )
    denied = node("BeamSearch", ["x"] * 5, domain="com.microsoft", eos_token_id=0, pad_token_id=0)
    yield hostile("a search over a model of its own", model_of([denied]), "model.operator_denied")


def wirings() -> Iterator[HostileModel]:
    relu = node("Relu", ["x"])
    yield hostile(
        "a cycle", model_of([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"])])
    )
    yield hostile("a node that reads itself", model_of([node("Add", ["x", "y"])]))
    yield hostile("two nodes with one output", model_of([relu, node("Tanh", ["x"])]))
    yield hostile(
        "two weights with one name", model_of([node("Add", ["x", "w"])], [tensor("w", [1.0]), tensor("w", [2.0])])
    )
    yield hostile("two inputs with one name", model_of([relu], inputs=[value("x", FLOAT, [1]), value("x", FLOAT, [2])]))
    yield hostile("an input that is nowhere", model_of([node("Add", ["x", "nowhere"])]))
    yield hostile("an output that nobody makes", model_of([relu], outputs=[value("z", FLOAT, [1])]))
    yield hostile("an output of another type", model_of([relu], outputs=[value("y", TensorProto.STRING, [1])]))
    yield hostile("an output of another shape", model_of([relu], outputs=[value("y", FLOAT, [7, 7, 7])]))
    yield hostile("an input of negative size", model_of([relu], inputs=[value("x", FLOAT, [-7, 4])]))
    yield hostile("an input of 2^62 elements", model_of([relu], inputs=[value("x", FLOAT, [2**31, 2**31])]))
    yield hostile("an input of type 99", model_of([relu], inputs=[value("x", 99, [1])]))
    yield hostile("an input without a type", model_of([relu], inputs=[onnx.ValueInfoProto(name="x")]))
    yield hostile("too many inputs of a node", model_of([node("Relu", ["x"] * 10_000)]))
    yield hostile("no input of a node", model_of([node("Add", [])]))
    yield hostile("an attribute of another type", model_of([node("Softmax", ["x"], axis="one")]))
    yield hostile("a missing attribute", model_of([node("Cast", ["x"])]))
    yield hostile(
        "20,000 nodes",
        model_of([node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}" if i < 19_999 else "y"]) for i in range(20_000)]),
    )
    hidden = model_of([relu])
    hidden.graph.node[0].name = "\x1b]0;owned\x07\u202e" * 1000
    yield hostile("a name that commands terminals", hidden)


def depths() -> Iterator[HostileModel]:
    for depth, code in ((3, None), (20, "model.nesting")):
        inner = body([node("Identity", ["x"], ["out"])], [value("out", FLOAT, None)])
        for _ in range(depth):
            branch = node(
                "If",
                ["c"],
                ["out"],
                then_branch=inner,
                else_branch=inner
                if depth < 5
                else body([node("Identity", ["x"], ["out"])], [value("out", FLOAT, None)]),
            )
            inner = body([branch], [value("out", FLOAT, None)])
        top = node(
            "If",
            ["c"],
            ["y"],
            then_branch=inner,
            else_branch=inner if depth < 5 else body([node("Identity", ["x"], ["out"])], [value("out", FLOAT, None)]),
        )
        inputs = [value("x", FLOAT, [1, 4]), value("c", BOOL, [])]
        yield hostile(f"branches {depth} deep", model_of([top], inputs=inputs), code)
    bare = body([], [])
    yield hostile(
        "branches that give nothing",
        model_of([node("If", ["c"], then_branch=bare, else_branch=bare)], inputs=[value("c", BOOL, [])]),
    )
    yield hostile(
        "a branch that is missing", model_of([node("If", ["c"], then_branch=bare)], inputs=[value("c", BOOL, [])])
    )


def functions() -> Iterator[HostileModel]:
    def function(name: str, nodes: list[onnx.NodeProto], inputs: tuple[str, ...] = ("a",)) -> onnx.FunctionProto:
        sets = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
        return helper.make_function("f", name, list(inputs), ["r"], nodes, sets)

    call = node("F", ["x"], domain="f")
    yield hostile(
        "a function that calls itself",
        model_of([call], functions=[function("F", [node("F", ["a"], ["r"], domain="f")])]),
        "model.function",
    )
    two = [function("F", [node("G", ["a"], ["r"], domain="f")]), function("G", [node("F", ["a"], ["r"], domain="f")])]
    yield hostile("functions that call each other", model_of([call], functions=two), "model.function")
    doubling = [
        function(
            f"F{i}" if i else "F",
            [node(f"F{i + 1}", ["a"], ["b"], domain="f"), node(f"F{i + 1}", ["b"], ["r"], domain="f")],
        )
        for i in range(40)
    ]
    doubling.append(function("F40", [node("Relu", ["a"], ["r"])]))
    yield hostile("functions that grow to 2^40 nodes", model_of([call], functions=doubling), "model.too_large")
    yield hostile(
        "a function of an unknown operator",
        model_of([call], functions=[function("F", [node("Evil", ["a"], ["r"])])]),
        "model.operator",
    )
    yield hostile(
        "a function that is called with too much",
        model_of([node("F", ["x"] * 9, domain="f")], functions=[function("F", [node("Relu", ["a"], ["r"])])]),
    )
    yield hostile("a function without its output", model_of([call], functions=[function("F", [])]))


def links(folder: Path) -> None:
    """A model whose folder is full of links that lead away."""
    (folder / "model.onnx").write_bytes(bytes(model_of([node("Relu", ["x"])]).SerializeToString()))
    (folder / "assets").symlink_to("/etc")


def folders() -> Iterator[HostileModel]:
    yield HostileModel("a folder of assets that leads to /etc", links)
