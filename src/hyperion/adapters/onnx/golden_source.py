"""Golden requests of a model directory: golden/NAME.npz or NAME.json, with NAME.json beside an NPZ for tolerances."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from hyperion.domain.manifest import GoldenRequest
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError, HostError, ModelSourceError
from hyperion.format.strict_json import parse_document, parse_json
from hyperion.ports import Array, GoldenSource

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,100}")
_REQUEST_KEYS = {"inputs", "outputs"}


def read_golden_requests(folder: Path, signature: Signature) -> tuple[GoldenSource, ...]:
    """All golden requests, sorted by name.

    Raises:
        ModelSourceError: One does not fit the model (code ``model_source.golden``).
        ConfigError: The document beside it is wrong.
    """
    found = []
    arrays = sorted(folder.glob("*.npz"))
    for path in arrays:
        beside = path.with_suffix(".json")
        request, explicit = _tolerances(_read(beside), str(beside)) if beside.exists() else (GoldenRequest(), False)
        found.append(_request(path, _read_npz(path), request, signature, explicit=explicit))
    names = {path.stem for path in arrays}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in names:
            tensors, request, explicit = _read_json(path, signature)
            found.append(_request(path, tensors, request, signature, explicit=explicit))
    return tuple(sorted(found, key=lambda golden: golden.name))


def _tolerances(raw: bytes, source: str) -> tuple[GoldenRequest, bool]:
    request = parse_document(GoldenRequest, raw, source)
    return request, bool(request.model_fields_set & {"absolute", "relative", "comparison"})


def _read_npz(path: Path) -> dict[str, Array]:
    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, TypeError) as error:
        # NumPy's own words advise to load the file "unsafely": they are kept as the cause only.
        raise _bad(
            path, "is no NPZ file of plain arrays (numpy.savez writes one; object arrays are refused)"
        ) from error
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_json(path: Path, signature: Signature) -> tuple[dict[str, Array], GoldenRequest, bool]:
    """``{"inputs": {name: nested lists}, "outputs": {…}}`` and, beside them, the keys of GoldenRequest."""
    import orjson

    tree = parse_json(_read(path), str(path))
    if not isinstance(tree, dict) or "inputs" not in tree:
        raise ConfigError(f"{path}: expected an object with inputs and outputs", code="json.invalid")
    rest = {key: value for key, value in tree.items() if key not in _REQUEST_KEYS}
    request, explicit = _tolerances(orjson.dumps(rest), str(path))
    tensors: dict[str, Array] = {}
    for prefix, key, specs in (("input", "inputs", signature.inputs), ("output", "outputs", signature.outputs)):
        values = tree.get(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {key}: expected an object of nested lists by tensor name", code="json.invalid")
        by_name = {spec.name: spec for spec in specs}
        for name, value in values.items():
            tensors[f"{prefix}:{name}"] = _array(value, by_name.get(name), f"{path}: {key}.{name}")
    return tensors, request, explicit


def _array(value: JsonValue, spec: TensorSpec | None, where: str) -> Array:
    import numpy as np

    if spec is None:
        return np.asarray(value)  # unknown: refused by name later
    _refuse_unstorable(spec, where)
    try:
        return np.asarray(value, dtype=np.dtype(spec.dtype))
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelSourceError(
            f"{where}: is no array of {spec.describe()}: {error}", code="model_source.golden"
        ) from error


def _request(
    path: Path, tensors: Mapping[str, Array], request: GoldenRequest, signature: Signature, *, explicit: bool
) -> GoldenSource:
    """Sort tensors into inputs and outputs and demand that they fit the signature."""
    import numpy as np

    if not _NAME.fullmatch(path.stem):
        raise _bad(path, "has a name with characters other than letters, digits, '.', '_' and '-'")
    inputs, outputs = {spec.name: spec for spec in signature.inputs}, {spec.name: spec for spec in signature.outputs}
    given: dict[str, Array] = {}
    expected: dict[str, Array] = {}
    for key, array in tensors.items():
        kind, _, name = key.partition(":")
        if key in inputs or (kind == "input" and name in inputs):
            name = key if key in inputs else name
            given[name] = _fitting(array, inputs[name], f"{path}: input {name!r}")
        elif key in outputs or (kind == "output" and name in outputs):
            name = key if key in outputs else name
            expected[name] = _fitting(array, outputs[name], f"{path}: output {name!r}")
        else:
            known = ", ".join([*(f"input:{name}" for name in inputs), *(f"output:{name}" for name in outputs)])
            raise _bad(path, f"has the array {key!r}, which the model does not know; it has {known}")
    missing = sorted(name for name, spec in inputs.items() if name not in given and not spec.optional)
    if missing:
        raise _bad(path, f"lacks the inputs {', '.join(map(repr, missing))}")
    unknown = sorted(set(request.ignore) - set(outputs))
    if unknown:
        raise _bad(path, f"ignores the outputs {', '.join(map(repr, unknown))}, which the model does not have")
    ordered = {name: np.asarray(given[name], order="C") for name in inputs if name in given}
    wanted = {name: np.asarray(expected[name], order="C") for name in outputs if name in expected}
    return GoldenSource(path.stem, ordered, wanted, request, explicit)


def _fitting(array: Array, spec: TensorSpec, where: str) -> Array:
    import numpy as np

    _refuse_unstorable(spec, where)
    if array.dtype.kind in "OUS":
        raise ModelSourceError(f"{where}: holds {array.dtype} instead of {spec.describe()}", code="model_source.golden")
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.name != spec.dtype and np.can_cast(array.dtype, np.dtype(spec.dtype), "same_kind"):
        array = array.astype(spec.dtype)
    mismatch = spec.mismatch(array.dtype.name, array.shape)
    if mismatch is not None:
        raise ModelSourceError(f"{where}: {mismatch}", code="model_source.golden")
    return array


def _refuse_unstorable(spec: TensorSpec, where: str) -> None:
    if spec.dtype in ("string", "other", "bfloat16"):
        raise ModelSourceError(
            f"{where}: {spec.dtype} tensors cannot be kept in a golden request",
            hint="leave this golden request out; the model is then checked with a generated input",
            code="model_source.golden",
        )


def _bad(path: Path, fault: str) -> ModelSourceError:
    return ModelSourceError(f"{path}: {fault}", code="model_source.golden")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
