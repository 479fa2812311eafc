"""The cases that ship inside the ``onnx`` package: a model, and what goes into it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

CONVERTED = ("simple", "pytorch-converted", "pytorch-operator")
"""Folders of ``onnx/backend/test/data`` with one model each case, and its inputs beside it."""

Feeds = dict[str, Any]


@dataclass(frozen=True)
class BackendCase:
    """One model with inputs.

    Attributes:
        kind: ``node``, ``light`` or one of CONVERTED.
        name: Unique within its kind.
        model: As onnx has it.
        feeds: One mapping for each data set: mostly arrays, but sequences and None too.
    """

    kind: str
    name: str
    model: onnx.ModelProto
    feeds: tuple[Feeds, ...]

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def backend_cases() -> Iterator[BackendCase]:
    """Every case whose model and inputs lie in the installed package, in a fixed order."""
    yield from node_cases()
    for kind in CONVERTED:
        yield from converted_cases(kind)
    yield from light_cases()


def node_cases(module: str | None = None) -> Iterator[BackendCase]:
    """One operator each; onnx makes them when a module of ``onnx.backend.test.case.node`` is imported."""
    from onnx.backend.test.case import node
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow and divide by zero on purpose
        if module is None:
            load_node_model_tests()
        else:
            import_module(f"{node.__name__}.{module}")
    for case in sorted(node._NodeTestCases, key=lambda case: case.name):
        feeds = tuple(_named(case.model, given) for given, _ in case.data_sets)
        yield BackendCase("node", case.name, case.model, feeds)


def converted_cases(kind: str) -> Iterator[BackendCase]:
    """Whole models, with their inputs in files."""
    for folder in sorted(path.parent for path in (_data_folder() / kind).glob("*/model.onnx")):
        model = onnx.load(folder / "model.onnx")
        sets = sorted(folder.glob("test_data_set_*"))
        yield BackendCase(kind, folder.name, model, tuple(_named(model, _stored(model, data)) for data in sets))


def light_cases() -> Iterator[BackendCase]:
    """Well-known image classifiers, their weights replaced by constants; onnx feeds them a ramp."""
    for path in sorted((_data_folder() / "light").glob("*.onnx")):
        model = onnx.load(path)
        yield BackendCase("light", path.stem, model, (_named(model, [_ramp(value) for value in _open_inputs(model)]),))


def _data_folder() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data"


def _open_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs without a default."""
    held = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in held]


def _named(model: onnx.ModelProto, values: Sequence[Any]) -> Feeds:
    return {value.name: _plain(given) for value, given in zip(_open_inputs(model), values, strict=False)}


def _plain(value: Any) -> Any:
    """The same value as an array, where it is one tensor."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic | bool | int | float) else value


def _stored(model: onnx.ModelProto, folder: Path) -> list[Any]:
    """The inputs of one data set, each in the form that its type asks for."""
    return [
        _parsed((folder / f"input_{index}.pb").read_bytes(), value.type.WhichOneof("value"))
        for index, value in enumerate(model.graph.input)
        if (folder / f"input_{index}.pb").is_file()
    ]


def _parsed(raw: bytes, kind: str | None) -> Any:
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(raw))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(raw))
    return numpy_helper.to_array(TensorProto.FromString(raw))


def _ramp(value: onnx.ValueInfoProto) -> np.ndarray:
    """0 up to 1 in equal steps, as onnx's own runner feeds these models."""
    shape = tuple(size.dim_value or 1 for size in value.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)
