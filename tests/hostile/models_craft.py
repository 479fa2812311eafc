"""Tools to make models that no exporter would write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class HostileModel:
    """A model directory that is to be survived.

    Attributes:
        name: What is wrong with it.
        write: Writes it into an empty folder.
        code: Of the error that must refuse it before the engine sees it; None where the engine may say what it likes.
    """

    name: str
    write: Callable[[Path], object]
    code: str | None = None


def raw(name: str, data: bytes, code: str | None = None) -> HostileModel:
    """A ``model.onnx`` of these bytes."""
    return HostileModel(name, lambda folder: (folder / "model.onnx").write_bytes(data), code)


def hostile(name: str, model: onnx.ModelProto, code: str | None = None) -> HostileModel:
    """A model that is made already."""
    return raw(name, bytes(model.SerializeToString()), code)


def value(name: str, kind: int, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    opset: int = 21,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model of float ``x`` [1, 4] → ``y``, where nothing else is said."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        list(inputs if inputs is not None else [value("x", FLOAT, [1, 4])]),
        list(outputs if outputs is not None else [value("y", FLOAT, None)]),
        list(tensors),
    )
    domains = {"": opset, "com.microsoft": 1, "ai.onnx.ml": 5, **dict.fromkeys({f.domain for f in functions}, 1)}
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(k, v) for k, v in domains.items()], functions=list(functions)
    )
    model.ir_version = 10
    return model


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def tensor(name: str, values: Any, kind: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def body(nodes: Sequence[onnx.NodeProto], outputs: Sequence[onnx.ValueInfoProto], **more: Any) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", more.get("inputs", []), list(outputs), more.get("tensors", []))


def one_operator(
    op: str,
    values: Mapping[str, Any],
    *,
    live: bool,
    kind: int = FLOAT,
    outputs: Sequence[str] = ("y",),
    **attributes: Any,
) -> onnx.ModelProto:
    """One operator on chosen values; ``live`` ones are known only when it runs, others as soon as it is loaded."""
    arrays = {name: np.asarray(array) for name, array in values.items()}
    tensors, nodes, names = [], [], []
    for name, array in arrays.items():
        tensors.append(numpy_helper.from_array(array, f"{name}.given"))
        if live and array.dtype.kind in "fi" and array.dtype.itemsize >= 4:
            cast = {"f4": FLOAT, "f8": TensorProto.DOUBLE, "i4": TensorProto.INT32, "i8": INT64}[array.dtype.str[1:]]
            nodes.append(node("Cast", ["one"], [f"{name}.one"], to=cast))
            nodes.append(node("Mul", [f"{name}.given", f"{name}.one"], [name]))
        else:
            nodes.append(node("Identity", [f"{name}.given"], [name]))
        names.append(name)
    nodes.append(node(op, names, outputs, **attributes))
    return model_of(nodes, tensors, inputs=[value("one", INT64, [])], outputs=[value(outputs[0], kind, None)])
