"""Golden requests: recorded inputs with expected outputs, and the one rule that compares an answer with them.

The rule is shared by ``verify model``, by the proof of a candidate worker and by ``verify deployment``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyperion.domain.manifest import GOLDEN_FOLDER, GoldenRequest
from hyperion.errors import MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document
from hyperion.ports import Array, Tensors

TENSORS_SUFFIX = ".safetensors"
INPUT_PREFIX, OUTPUT_PREFIX = "input:", "output:"


@dataclass(frozen=True, slots=True)
class Golden:
    """One recorded request.

    Attributes:
        name: Its name under ``assets/golden/``.
        rule: How answers are compared.
        inputs: What to send; optional inputs may be missing.
        outputs: What to expect; empty where nobody said, then nothing is compared.
    """

    name: str
    rule: GoldenRequest
    inputs: Tensors
    outputs: Tensors

    @property
    def has_finite_outputs(self) -> bool:
        """Whether no expected output holds NaN or infinity."""
        return all(is_finite(value) for value in self.outputs.values())


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an answer relates to what was expected.

    Attributes:
        fault: What differs, naming output, place, expected and found; None where all agrees.
        largest_error: Largest absolute difference over all compared floating-point outputs, or None without any.
    """

    fault: str | None
    largest_error: float | None

    @property
    def ok(self) -> bool:
        return self.fault is None


def golden_names(package: PackageReader) -> tuple[str, ...]:
    """Names of the package's golden requests, sorted."""
    entries = (name for name in package.names() if name.startswith(GOLDEN_FOLDER) and name.endswith(TENSORS_SUFFIX))
    return tuple(name[len(GOLDEN_FOLDER) : -len(TENSORS_SUFFIX)] for name in entries)


def load_golden(package: PackageReader, name: str) -> Golden:
    """Read one golden request.

    Raises:
        MalformedPackageError: Its tensors or its rule break the format.
        DigestMismatchError: Its bytes are not those that the manifest names.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    entry = f"{GOLDEN_FOLDER}{name}{TENSORS_SUFFIX}"
    rule_entry = f"{GOLDEN_FOLDER}{name}.json"
    raw = package.read(entry)
    rule = GoldenRequest()
    if rule_entry in package.names():
        rule = parse_document(GoldenRequest, package.read(rule_entry), f"{package.source}:{rule_entry}")
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise MalformedPackageError(
            f"{package.source}: {entry} is no safetensors file: {error}", entry=entry, hint="package the model again"
        ) from error
    inputs = _with_prefix(tensors, INPUT_PREFIX)
    outputs = _with_prefix(tensors, OUTPUT_PREFIX)
    missing = [spec.name for spec in package.manifest.signature.required if spec.name not in inputs]
    if missing or len(inputs) + len(outputs) != len(tensors):
        raise MalformedPackageError(
            f"{package.source}: {entry} must hold tensors named 'input:NAME', one for every input that the model "
            f"needs, and 'output:NAME'; found {sorted(tensors)}",
            entry=entry,
        )
    return Golden(name, rule, inputs, outputs)


def load_golden_requests(package: PackageReader) -> tuple[Golden, ...]:
    """All golden requests of a package, in the order of their names; raises as load_golden."""
    return tuple(load_golden(package, name) for name in golden_names(package))


def compare(golden: Golden, found: Tensors) -> Comparison:
    """Compare an answer with what was recorded.

    Floating-point outputs follow the request's rule; NaN agrees with NaN and infinity with the same infinity.
    Integers may differ by at most ``absolute`` (rounded down), so by default not at all; booleans and text not.
    """
    largest: float | None = None
    for name, expected in golden.outputs.items():
        if name in golden.rule.ignore:
            continue
        if name not in found:
            return Comparison(f"output {name!r} is missing from the answer", largest)
        fault, error = _compare_tensor(name, golden.rule, np.asarray(expected), np.asarray(found[name]))
        if error is not None:
            largest = error if largest is None else max(largest, error)
        if fault is not None:
            return Comparison(fault, largest)
    return Comparison(None, largest)


def is_finite(value: Array) -> bool:
    """Whether no element is NaN or infinite; true for what cannot be."""
    return not _is_float(value) or bool(np.isfinite(value).all())


def _with_prefix(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): value for name, value in sorted(tensors.items()) if name.startswith(prefix)}


def _is_float(value: Array) -> bool:
    return value.dtype.kind in "fc" or value.dtype.name == "bfloat16"


def _compare_tensor(name: str, rule: GoldenRequest, expected: Array, found: Array) -> tuple[str | None, float | None]:
    if expected.shape != found.shape:
        return f"output {name!r}: expected shape {list(expected.shape)}, found {list(found.shape)}", None
    if _is_float(expected) != _is_float(found):
        return f"output {name!r}: expected {expected.dtype.name}, found {found.dtype.name}", None
    if not _is_float(expected):
        return _compare_exact(name, rule, expected, found), None
    wanted, given = expected.astype(np.float64), found.astype(np.float64)
    stray = np.isfinite(wanted) & ~np.isfinite(given)
    if stray.any():
        where = _first(stray)
        return f"output {name!r}{where}: expected {wanted[where]:.6g}, found {given[where]}", None
    both = np.isfinite(wanted) & np.isfinite(given)
    error = float(np.abs(wanted[both] - given[both]).max()) if both.any() else None
    if rule.comparison == "top1" and wanted.ndim > 0 and wanted.shape[-1] > 1:
        return _compare_top1(name, wanted, given), error
    if rule.comparison == "norm":
        return _compare_norm(name, rule, wanted, given), error
    if rule.comparison == "equal":
        wrong = ~((wanted == given) | (np.isnan(wanted) & np.isnan(given)))
    else:
        wrong = ~np.isclose(given, wanted, rtol=rule.relative, atol=rule.absolute, equal_nan=True)
    if not wrong.any():
        return None, error
    where = _first(wrong)
    allowed = 0.0 if rule.comparison == "equal" else rule.absolute + rule.relative * abs(float(wanted[where]))
    return (
        f"output {name!r}{where}: expected {wanted[where]:.6g} ± {allowed:.3g}, found {given[where]:.6g} "
        f"({int(wrong.sum())} of {wrong.size} elements are outside the tolerance)"
    ), error


def _compare_exact(name: str, rule: GoldenRequest, expected: Array, found: Array) -> str | None:
    if expected.dtype.kind in "iu" and found.dtype.kind in "iu" and rule.comparison == "close":
        wider, narrower = np.maximum(expected, found), np.minimum(expected, found)
        wrong = (wider - narrower) > int(rule.absolute)
    else:
        wrong = np.asarray(expected != found)
    if not wrong.any():
        return None
    where = _first(wrong)
    return f"output {name!r}{where}: expected {expected[where]!s}, found {found[where]!s}"


def _compare_norm(name: str, rule: GoldenRequest, wanted: Array, given: Array) -> str | None:
    """Root mean square of the differences against that of what is expected; NaN and infinity must be the same."""
    finite = np.isfinite(wanted)
    strange = ~finite & ~((wanted == given) | (np.isnan(wanted) & np.isnan(given)))
    if strange.any():
        where = _first(strange)
        return f"output {name!r}{where}: expected {wanted[where]}, found {given[where]}"
    if not finite.any():
        return None
    distance, norm = _root_mean_square(wanted[finite] - given[finite]), _root_mean_square(wanted[finite])
    allowed = rule.absolute + rule.relative * norm
    if distance <= allowed:
        return None
    return (
        f"output {name!r}: expected a distance of at most {allowed:.3g} ({rule.relative:.3g} of its norm), "
        f"found {distance:.3g}"
    )


def _root_mean_square(values: Array) -> float:
    peak = float(np.abs(values).max())
    if peak in (0.0, math.inf):
        return peak
    return peak * float(np.sqrt(np.mean(np.square(values / peak))))  # squares of large numbers would overflow


def _compare_top1(name: str, wanted: Array, given: Array) -> str | None:
    expected, found = wanted.argmax(axis=-1), given.argmax(axis=-1)
    wrong = np.asarray(expected != found)
    if not wrong.any():
        return None
    where = _first(wrong)
    return (
        f"output {name!r}: expected class {expected[where]} in row {list(where)}, found {found[where]} "
        f"({int(wrong.sum())} of {wrong.size} rows differ)"
    )


def _first(wrong: Array) -> tuple[int, ...]:
    return tuple(int(axis[0]) for axis in np.nonzero(wrong)) if wrong.ndim else ()
