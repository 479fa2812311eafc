"""The Open Inference Protocol v2 over HTTP: documents ↔ values, without a socket.

https://github.com/kserve/open-inference-protocol (inference_rest), with the binary tensor data extension: the body is a
JSON document, as long as the header Inference-Header-Content-Length says, and the tensors' bytes behind it.
A model with config/processing.json takes raw inputs in place of its tensors (format.raw_tensors).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import orjson

from hyperion.domain.processing import Processing
from hyperion.domain.raw_input import RawInputs
from hyperion.domain.tensor import TensorSpec
from hyperion.format.raw_tensors import are_raw, parse_raw_inputs
from hyperion.format.tensor_bytes import TensorBytesError, parse_tensor_bytes, tensor_bytes
from hyperion.format.tensor_json import DATATYPE_OF, TensorJsonError, all_finite, dtype_name, parse_tensor, tensor_data
from hyperion.ports import Array, Tensors
from hyperion.serving.output_shape import Shape, misshapen

STATUS_OF_CAUSE: dict[str, int] = {
    "bad_request": 400,
    "not_found": 404,
    "too_large": 413,
    "timeout": 503,
    "overloaded": 503,
    "engine": 500,
    "non_finite_output": 500,
    "internal": 500,
    "invalid_output": 500,
    "unauthorized": 401,
    "forbidden": 403,
    "rate_limited": 429,
    "slow_reader": 408,
    "key_expired": 401,
}
"""HTTP status by cause (domain.metrics.ERROR_CAUSES)."""

JSON_LENGTH_HEADER = b"inference-header-content-length"
BINARY_SIZE = "binary_data_size"
BINARY_TYPE = (b"content-type", b"application/octet-stream")
NOT_GIVEN = ("classification", "shared_memory_region")
"""Extensions by which a request asks for an output in a form that is not given here."""

Headers = list[tuple[bytes, bytes]]
Body = bytes | bytearray | memoryview


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
        finite_outputs: Names of outputs that golden requests have and that are finite in all of them.
        shapes: What the shapes of outputs must be (output_shape.proven_shapes).
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
    finite_outputs: frozenset[str] = frozenset()
    shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request that fits the model.

    Attributes:
        id: The client's name for it, echoed.
        feeds: Arrays by input name; optional inputs only where they were given, none where ``raw`` is set.
        outputs: Names of the wanted outputs, in the wanted order.
        raw: What was sent in place of tensors.
        binary: Names of the outputs that are wanted as bytes.
    """

    id: str | None
    feeds: dict[str, Array]
    outputs: tuple[str, ...]
    raw: RawInputs | None = None
    binary: frozenset[str] = frozenset()


def json_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """How long the JSON at the beginning of a body is, by its headers; None: it is all of it; -1: not to be read."""
    for name, value in headers:
        if name == JSON_LENGTH_HEADER:
            return int(value) if value.isdigit() and len(value) < 16 else -1
    return None


def parse_infer(model: ServedModel, body: Body, json_bytes: int | None = None) -> InferenceRequest:
    """Read an infer request and check it against the model.

    Args:
        model: What is asked.
        body: JSON, and binary tensors behind it.
        json_bytes: See json_length.

    Raises:
        RequestRefused: With cause ``bad_request``.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        found = f"{json_bytes} of {len(body)} bytes" if json_bytes >= 0 else "no number of bytes"
        raise RequestRefused("bad_request", f"Inference-Header-Content-Length is not within the body: {found}")
    try:
        request = _decoder.decode(body if json_bytes is None else memoryview(body)[:json_bytes])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused("bad_request", f"the body is no infer request: {error}") from error
    binary = {} if json_bytes is None else _binary_inputs(request.inputs, memoryview(body)[json_bytes:])
    feeds: dict[str, Array] = {}
    specs = {spec.name: spec for spec in model.inputs}
    if model.processing is not None and are_raw(request.inputs, model.processing, specs):
        raw = _raw_inputs(model.processing, request.inputs, binary)
        wanted, as_bytes = _wanted((*model.outputs, *model.answers), request)
        return InferenceRequest(request.id, feeds, wanted, raw, as_bytes)
    for given in request.inputs:
        spec = specs.get(given.name)
        if spec is None:
            raise RequestRefused("bad_request", f"unknown input {given.name[:100]!r}; {_taken(model)}")
        if given.name in feeds:
            raise RequestRefused("bad_request", f"input {given.name!r} is given twice")
        feeds[given.name] = _feed(spec, given, binary)
    missing = [name for name, spec in specs.items() if name not in feeds and not spec.optional]
    if missing:
        raise RequestRefused("bad_request", f"missing input {_names(missing)}")
    wanted, as_bytes = _wanted(model.outputs, request)
    return InferenceRequest(request.id, feeds, wanted, binary=as_bytes)


def render_infer(model: ServedModel, request: InferenceRequest, outputs: Tensors) -> tuple[Headers, bytes]:
    """The answer to an infer request: what its headers say of its body, and the body.

    Raises:
        RequestRefused: An output holds NaN or infinity where neither the golden requests' output nor this request's
            inputs do, or has a shape that they rule out (cause ``invalid_output``); or it is not finite, and JSON
            cannot carry that (``non_finite_output``).
    """
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    answer["parameters"] = {"revision": model.revision}
    tails: list[bytes] = []
    answer["outputs"] = [_rendered(model, request, name, np.asarray(outputs[name]), tails) for name in request.outputs]
    document = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not request.binary:
        return [], document
    return [BINARY_TYPE, (JSON_LENGTH_HEADER, b"%d" % len(document))], b"".join((document, *tails))


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
    return orjson.dumps({"name": "hyperion", "version": version, "extensions": ["binary_tensor_data"]})


def render_error(message: str) -> bytes:
    return orjson.dumps({"error": message})


def request_id(body: Body) -> str | None:
    """The id of a request that could not be answered, where it can be read; for the log."""
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Identified(msgspec.Struct):
    id: str | None = None


def _binary_inputs(inputs: Sequence[_Input], rest: memoryview) -> dict[str, memoryview]:
    """The bytes of each input that comes as bytes, in the order of the inputs."""
    found: dict[str, memoryview] = {}
    for given in inputs:
        size = (given.parameters or {}).get(BINARY_SIZE)
        if size is None:
            continue
        name = f"input {given.name[:100]!r}"
        if type(size) is not int or size < 0:
            raise RequestRefused("bad_request", f"{name}: {BINARY_SIZE} must be a number of bytes")
        if given.data is not None:
            raise RequestRefused("bad_request", f"{name}: it has JSON data and {BINARY_SIZE}; expected one of them")
        if size > len(rest):
            raise RequestRefused("bad_request", f"{name}: {BINARY_SIZE} is {size}, the body has {len(rest)} bytes left")
        found[given.name], rest = rest[:size], rest[size:]
    if rest:
        raise RequestRefused("bad_request", f"{len(rest)} bytes of the body belong to no input")
    return found


def _feed(spec: TensorSpec, given: _Input, binary: dict[str, memoryview]) -> Array:
    data = binary.get(given.name)
    if given.data is None and data is None:
        unsized = BINARY_SIZE in (given.parameters or {})
        absent = "binary data needs the header Inference-Header-Content-Length" if unsized else "it has no data"
        raise RequestRefused("bad_request", f"input {spec.name!r}: {absent}")
    expected = DATATYPE_OF.get(spec.dtype, "other")
    if given.datatype != expected:
        raise RequestRefused("bad_request", f"input {spec.name!r}: expected {expected}, found {given.datatype[:20]!r}")
    fault = spec.mismatch(spec.dtype, given.shape)
    if fault is not None:
        raise RequestRefused("bad_request", f"input {spec.name!r}: {fault[:500]}")
    try:
        if data is not None:
            return parse_tensor_bytes(given.datatype, given.shape, data)
        return parse_tensor(given.datatype, given.shape, given.data)
    except (TensorJsonError, TensorBytesError) as error:
        raise RequestRefused("bad_request", f"input {spec.name!r}: {error}") from error


def _raw_inputs(processing: Processing, inputs: Sequence[_Input], binary: dict[str, memoryview]) -> RawInputs:
    for given in inputs:
        data = binary.get(given.name)
        if data is None:
            continue
        try:
            given.data = parse_tensor_bytes(given.datatype, given.shape, data).reshape(-1).tolist()
        except TensorBytesError as error:
            raise RequestRefused("bad_request", f"input {given.name[:100]!r}: {error}") from error
    try:
        return parse_raw_inputs(inputs, processing)
    except TensorJsonError as error:
        raise RequestRefused("bad_request", str(error)) from error


def _taken(model: ServedModel) -> str:
    """What the model takes, for a request with something else."""
    tensors = f"the model takes {_names(spec.name for spec in model.inputs)}"
    if model.processing is not None:
        return f"{tensors}, or in their place {_names(spec.name for spec in model.processing.raw_inputs)}"
    return tensors if model.no_raw_inputs is None else f"{tensors}; {model.no_raw_inputs}"


def _wanted(outputs: Sequence[TensorSpec], request: _Request) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the outputs to give, and of those among them that go as bytes."""
    known = [spec.name for spec in outputs]
    all_binary = (request.parameters or {}).get("binary_data_output") is True
    if not request.outputs:
        return tuple(known), frozenset(known) if all_binary else frozenset()
    binary = set()
    for output in request.outputs:
        name, parameters = output.name, output.parameters or {}
        if name not in known:
            raise RequestRefused("bad_request", f"unknown output {name[:100]!r}; the model gives {_names(known)}")
        refused = [key for key in NOT_GIVEN if key in parameters]
        if refused:
            raise RequestRefused("bad_request", f"output {name!r}: {_names(refused)} is not supported")
        if parameters.get("binary_data", all_binary) is True:
            binary.add(name)
    return tuple(output.name for output in request.outputs), frozenset(binary)


def _rendered(
    model: ServedModel, request: InferenceRequest, name: str, values: Array, tails: list[bytes]
) -> dict[str, Any]:
    """An output as the answer's JSON has it; where it goes as bytes, those are added to ``tails``."""
    if values.dtype.kind in "fc" and not all_finite(values):
        _refuse_non_finite(model, request, name, values)
    if name in model.shapes and (fault := misshapen(model.shapes[name], values.shape, request.feeds)) is not None:
        raise RequestRefused("invalid_output", f"output {name!r}: {fault}")
    dtype = "string" if values.dtype.kind in "OUS" else dtype_name(values.dtype)
    rendered = {"name": name, "shape": list(values.shape), "datatype": DATATYPE_OF.get(dtype, dtype.upper())}
    if name not in request.binary:
        return {**rendered, "data": tensor_data(values)}
    tails.append(tensor_bytes(values))
    return {**rendered, "parameters": {BINARY_SIZE: len(tails[-1])}}


def _refuse_non_finite(model: ServedModel, request: InferenceRequest, name: str, values: Array) -> None:
    """Refuse an output that is not finite and should be; bytes can carry what JSON cannot."""
    count = int(values.size - np.isfinite(values).sum())
    found = f"output {name!r} holds {count} of {values.size} values that are NaN or infinite"
    given = all(feed.dtype.kind not in "fc" or all_finite(feed) for feed in request.feeds.values())
    if given and name in model.finite_outputs:
        raise RequestRefused("invalid_output", f"{found}, where the golden requests have none")
    if name not in request.binary:
        raise RequestRefused("non_finite_output", f"{found}, which JSON cannot carry")


def _metadata(spec: TensorSpec, *, raw: bool = False) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape or ()]
    metadata = {"name": spec.name, "datatype": DATATYPE_OF.get(spec.dtype, "UNKNOWN"), "shape": shape}
    # The protocol has no word for inputs with a default, nor for raw ones; parameters are its way of saying more.
    parameters = {key: True for key, holds in (("optional", spec.optional), ("raw", raw)) if holds}
    return {**metadata, "parameters": parameters} if parameters else metadata


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
