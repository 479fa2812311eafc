"""architecture.json: the graph as protobuf's own JSON, one node a line, weights replaced by references.

    {"digest": "sha256:…",      of the deterministic serialization of the message below
     "model": {…}}              the ModelProto, keys sorted, field names as in onnx.proto

A weight is a tensor with ``data_location`` EXTERNAL and exactly two ``external_data`` keys: ``location``, the entry
that holds it, and ``tensor``, its name there. File offsets are never stored: they come from the package's own table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hyperion.adapters.onnx.proto import model_class
from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import ARCHITECTURE
from hyperion.errors import ConfigError, MalformedPackageError, ModelSourceError
from hyperion.format.strict_json import parse_json

if TYPE_CHECKING:
    from onnx import ModelProto

_FLOAT_FIELDS = ("f", "floats", "float_data")
_FLOAT_MAX = 3.4028234663852886e38
_FLOAT_OVERFLOW = 3.4028235677973366e38
"""From here on a double rounds to an infinite float32."""

_OPENED = {(), ("model",), ("model", "graph")}
"""Objects whose keys stand on lines of their own; their lists have one element a line."""


def architecture_bytes(model: ModelProto) -> bytes:
    """The document for a model, proven to give the same model back.

    Raises:
        ModelSourceError: The JSON form would lose something (code ``model_source.lossy``).
    """
    from google.protobuf import json_format  # type: ignore[import-untyped]

    serialized = model.SerializeToString(deterministic=True)
    tree = _within_float_range(json_format.MessageToDict(model, preserving_proto_field_name=True))
    raw = "".join(_render({"digest": digest_of(serialized), "model": tree}, ())).encode() + b"\n"
    if parse_architecture(raw, ARCHITECTURE).SerializeToString(deterministic=True) != serialized:
        raise ModelSourceError(
            "the model cannot be stored without loss: it holds fields that this version of ONNX does not know, "
            "or numbers that JSON cannot carry (NaN with a payload)",
            hint="export the model again, or upgrade onnx",
            code="model_source.lossy",
        )
    return raw


def parse_architecture(raw: bytes, source: str) -> ModelProto:
    """The model that a document describes; its references are not looked at.

    Raises:
        MalformedPackageError: Not strict JSON, or no ONNX model.
    """
    from google.protobuf import json_format

    try:
        tree = parse_json(raw, source)
    except ConfigError as error:
        raise MalformedPackageError(error.message, entry=ARCHITECTURE, code="package.architecture") from error
    if not isinstance(tree, dict) or set(tree) != {"digest", "model"} or not isinstance(tree["model"], dict):
        raise MalformedPackageError(
            f"{source}: expected an object with the keys digest and model", entry=ARCHITECTURE,
            code="package.architecture",
        )  # fmt: skip
    model = model_class()()
    try:
        json_format.ParseDict(tree["model"], model)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedPackageError(
            f"{source}: describes no ONNX model: {error}", entry=ARCHITECTURE, code="package.architecture"
        ) from error
    return model


def _within_float_range(value: Any, key: str = "") -> Any:
    """``value`` with FLT_MAX in full: its shortest spelling, 3.4028235e38, is one that protobuf does not read back."""
    if isinstance(value, dict):
        return {name: _within_float_range(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_within_float_range(item, key) for item in value]
    if isinstance(value, float) and key in _FLOAT_FIELDS and _FLOAT_MAX < abs(value) < _FLOAT_OVERFLOW:
        return math.copysign(_FLOAT_MAX, value)
    return value


def _render(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """JSON text with sorted keys; objects in _OPENED and their lists are spread over lines."""
    if isinstance(value, dict) and path in _OPENED:
        for position, key in enumerate(sorted(value)):
            yield f"{',' if position else '{'}\n{json.dumps(key)}:"
            yield from _render(value[key], (*path, key))
        yield "\n}"
    elif isinstance(value, list) and path[:-1] in _OPENED and value:
        for position, element in enumerate(value):
            yield f"{',' if position else '['}\n{_compact(element)}"
        yield "\n]"
    else:
        yield _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
