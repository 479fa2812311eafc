"""The Open Inference Protocol v2 over HTTP: documents ↔ values, without a socket.

https://github.com/kserve/open-inference-protocol (inference_rest). JSON tensors only; the binary tensor extension
is refused by name. A model with config/processing.json takes raw inputs in place of its tensors (format.raw_tensors).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from hyperion.domain.processing import Processing
from hyperion.domain.raw_input import RawInputs
from hyperion.domain.tensor import TensorSpec
from hyperion.format.raw_tensors import are_raw, parse_raw_inputs
from hyperion.format.tensor_json import DATATYPE_OF, TensorJsonError, parse_tensor, tensor_data
from hyperion.ports import Array, Tensors

STATUS_OF_CAUSE: dict[str, int] = {
    "bad_request": 400,
    "not_found": 404,
    "too_large": 413,
    "timeout": 503,
    "overloaded": 503,
    "engine": 500,
    "non_finite_output": 500,
    "internal": 500,
}
"""HTTP status by cause (domain.metrics.ERROR_CAUSES)."""


class RequestRefused(Exception):  # noqa: N818  (a "no" to a client, not a fault of ours)
    """An inference request that gets no answer.

    Attributes:
        cause: One of ERROR_CAUSES.
        message: For the client; holds names, types and shapes, never data.
        status: HTTP status.
    """

    def __init__(self, cause: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.status = STATUS_OF_CAUSE[cause] if status is None else status


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Request)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a worker serves.

    Attributes:
        name: The deployment's name; the model's name in URLs and answers.
        version: Version of the package.
        revision: Number of the revision.
        inputs: In the model's order.
        outputs: In the model's order.
        platform: Engine, for the metadata document.
        processing: How raw inputs become tensors; None where only tensors are taken.
        answers: What a raw request gets beside the outputs.
        no_raw_inputs: Why raw inputs are not taken although the package has a config/processing.json.
    """

    name: str
    version: str
    revision: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    platform: str = "onnxruntime_onnx"
    processing: Processing | None = None
    answers: tuple[TensorSpec, ...] = ()
    no_raw_inputs: str | None = None


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request that fits the model.

    Attributes:
        id: The client's name for it, echoed.
        feeds: Arrays by input name; optional inputs only where they were given, none where ``raw`` is set.
        outputs: Names of the wanted outputs, in the wanted order.
        raw: What was sent in place of tensors.
    """

    id: str | None
    feeds: dict[str, Array]
    outputs: tuple[str, ...]
    raw: RawInputs | None = None


def parse_infer(model: ServedModel, body: bytes | bytearray) -> InferenceRequest:
    """Read an infer request and check it against the model.

    Raises:
        RequestRefused: With cause ``bad_request``.
    """
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused("bad_request", f"the body is no infer request: {error}") from error
    feeds: dict[str, Array] = {}
    specs = {spec.name: spec for spec in model.inputs}
    if model.processing is not None and are_raw(request.inputs, model.processing, specs):
        raw = _raw_inputs(model.processing, request.inputs)
        return InferenceRequest(request.id, feeds, _wanted((*model.outputs, *model.answers), request.outputs), raw)
    for given in request.inputs:
        spec = specs.get(given.name)
        if spec is None:
            raise RequestRefused("bad_request", f"unknown input {given.name[:100]!r}; {_taken(model)}")
        if given.name in feeds:
            raise RequestRefused("bad_request", f"input {given.name!r} is given twice")
        feeds[given.name] = _feed(spec, given)
    missing = [name for name, spec in specs.items() if name not in feeds and not spec.optional]
    if missing:
        raise RequestRefused("bad_request", f"missing input {_names(missing)}")
    return InferenceRequest(request.id, feeds, _wanted(model.outputs, request.outputs))


def render_infer(model: ServedModel, request: InferenceRequest, outputs: Tensors) -> bytes:
    """The answer to an infer request.

    Raises:
        RequestRefused: An output holds NaN or infinity, which JSON cannot carry (cause ``non_finite_output``).
    """
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    answer["parameters"] = {"revision": model.revision}
    answer["outputs"] = [_rendered(name, np.asarray(outputs[name])) for name in request.outputs]
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def render_model(model: ServedModel) -> bytes:
    """The model's metadata document; what raw requests send and get follows the tensors, marked as ``raw``."""
    names = {spec.name for spec in model.inputs}
    raw = () if model.processing is None else model.processing.raw_inputs
    return orjson.dumps(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": model.platform,
            "inputs": [
                *(_metadata(spec) for spec in model.inputs),
                *(_metadata(spec, raw=True) for spec in raw if spec.name not in names),
            ],
            "outputs": [
                *(_metadata(spec) for spec in model.outputs),
                *(_metadata(spec, raw=True) for spec in model.answers),
            ],
        }
    )


def render_server(version: str) -> bytes:
    """The server's metadata document."""
    return orjson.dumps({"name": "hyperion", "version": version, "extensions": []})


def render_error(message: str) -> bytes:
    return orjson.dumps({"error": message})


def request_id(body: bytes | bytearray) -> str | None:
    """The id of a request that could not be answered, where it can be read; for the log."""
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Identified(msgspec.Struct):
    id: str | None = None


def _feed(spec: TensorSpec, given: _Input) -> Array:
    if given.data is None:
        binary = "binary_data_size" in (given.parameters or {})
        absent = "binary tensors are not supported: send JSON data" if binary else "it has no data"
        raise RequestRefused("bad_request", f"input {spec.name!r}: {absent}")
    expected = DATATYPE_OF.get(spec.dtype, "other")
    if given.datatype != expected:
        raise RequestRefused("bad_request", f"input {spec.name!r}: expected {expected}, found {given.datatype[:20]!r}")
    fault = spec.mismatch(spec.dtype, given.shape)
    if fault is not None:
        raise RequestRefused("bad_request", f"input {spec.name!r}: {fault[:500]}")
    try:
        return parse_tensor(given.datatype, given.shape, given.data)
    except TensorJsonError as error:
        raise RequestRefused("bad_request", f"input {spec.name!r}: {error}") from error


def _raw_inputs(processing: Processing, given: Sequence[_Input]) -> RawInputs:
    try:
        return parse_raw_inputs(given, processing)
    except TensorJsonError as error:
        raise RequestRefused("bad_request", str(error)) from error


def _taken(model: ServedModel) -> str:
    """What the model takes, for a request with something else."""
    tensors = f"the model takes {_names(spec.name for spec in model.inputs)}"
    if model.processing is not None:
        return f"{tensors}, or in their place {_names(spec.name for spec in model.processing.raw_inputs)}"
    return tensors if model.no_raw_inputs is None else f"{tensors}; {model.no_raw_inputs}"


def _wanted(outputs: Sequence[TensorSpec], asked: list[_Output] | None) -> tuple[str, ...]:
    known = [spec.name for spec in outputs]
    if not asked:
        return tuple(known)
    for output in asked:
        if output.name not in known:
            raise RequestRefused(
                "bad_request", f"unknown output {output.name[:100]!r}; the model gives {_names(known)}"
            )
        if (output.parameters or {}).get("binary_data") is True:
            raise RequestRefused("bad_request", f"output {output.name!r}: binary tensors are not supported")
    return tuple(output.name for output in asked)


def _rendered(name: str, values: Array) -> dict[str, Any]:
    if values.dtype.kind in "fc" and not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise RequestRefused(
            "non_finite_output",
            f"output {name!r} holds {count} of {values.size} values that are NaN or infinite, which JSON cannot carry",
        )
    dtype = "string" if values.dtype.kind in "OUS" else values.dtype.name
    return {
        "name": name,
        "shape": list(values.shape),
        "datatype": DATATYPE_OF.get(dtype, dtype.upper()),
        "data": tensor_data(values),
    }


def _metadata(spec: TensorSpec, *, raw: bool = False) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape or ()]
    metadata = {"name": spec.name, "datatype": DATATYPE_OF.get(spec.dtype, "UNKNOWN"), "shape": shape}
    # The protocol has no word for inputs with a default, nor for raw ones; parameters are its way of saying more.
    parameters = {key: True for key, holds in (("optional", spec.optional), ("raw", raw)) if holds}
    return {**metadata, "parameters": parameters} if parameters else metadata


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
