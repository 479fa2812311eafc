"""How far the weights of two packages are apart: dequantized, and measured range by range, so memory stays small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.domain.comparison import LayerComparison, LayerSide, largest, stored_form
from hyperion.domain.difference import SAME, Difference, StoredForm, WeightDifference
from hyperion.domain.manifest import Layer, Manifest
from hyperion.format.package import PackageReader
from hyperion.format.proving import prove_entries
from hyperion.format.side_by_side import available_cores
from hyperion.ports import Host, Reporter
from hyperion.ports.weights import ModelWeight

if TYPE_CHECKING:
    from hyperion.ports import Array

RANGE_VALUES = 1 << 20
"""Values of each side that are in memory at a time, unless one row has more."""
NOT_READ = Difference(unavailable="only the manifests were read")
_ONE_SIDE = Difference(unavailable="only one of the packages has it")

Advance = Callable[[int], None]


@dataclass(slots=True)
class DifferenceMeter:
    """Sums over pairs of ranges; SQNR is 10 · log10(Σ a² / Σ (b - a)²)."""

    values: int = 0
    largest: float = 0.0
    total: float = 0.0
    energy: float = 0.0
    noise: float = 0.0

    def add(self, a: Array, b: Array) -> None:
        """Note two arrays of one shape."""
        import numpy as np

        with np.errstate(all="ignore"):  # what is not finite shows in the sums
            wanted = a.astype(np.float64)
            apart = np.abs(b.astype(np.float64) - wanted)
            self.values += apart.size
            self.largest = max(self.largest, float(apart.max(initial=0.0)))
            self.total += float(apart.sum())
            self.noise += float(np.square(apart).sum())
            self.energy += float(np.square(wanted).sum())

    def join(self, other: DifferenceMeter) -> None:
        """Note everything that another meter has noted."""
        self.values += other.values
        self.largest = max(self.largest, other.largest)
        self.total += other.total
        self.noise += other.noise
        self.energy += other.energy

    def difference(self) -> Difference:
        """The figures; null with the reason where there are none."""
        if not self.values:
            return Difference(unavailable="it has no values")
        if not (math.isfinite(self.noise) and math.isfinite(self.energy)):
            return Difference(unavailable="it has NaN or infinite values")
        sqnr, why = None, None
        if self.noise == 0:
            why = SAME.sqnr_unavailable
        elif self.energy == 0:
            why = "it was zero everywhere"
        else:
            sqnr = 10 * math.log10(self.energy / self.noise)
        mean = self.total / self.values
        return Difference(max_abs=self.largest, mean_abs=mean, sqnr_db=sqnr, sqnr_unavailable=why)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer of both packages; None where one lacks it."""

    before: Layer | None
    after: Layer | None
    changed: bool


def compare_layers(
    host: Host, before: PackageReader, after: PackageReader, reporter: Reporter, *, quick: bool
) -> tuple[LayerComparison, ...]:
    """Every layer of both packages, matched by name; bytes are read only of layers whose digests differ.

    Args:
        host: This host.
        before: Package A.
        after: Package B.
        reporter: Where progress goes.
        quick: Whether to compare by the manifests alone.

    Raises:
        DigestMismatchError: A layer that must be read is damaged.
        MalformedPackageError: The graph or a tensor header breaks the format.
    """
    pairs = _pairs(before.manifest, after.manifest)
    old, new = before.manifest, after.manifest
    if quick or not any(pair.changed for pair in pairs):
        return tuple(_layer(pair, old, new, NOT_READ, ()) for pair in pairs)
    changed = [pair for pair in pairs if pair.changed]
    _prove(before, [pair.before for pair in changed], reporter)
    _prove(after, [pair.after for pair in changed], reporter)
    matched = _match(changed, host.weights.read(before), host.weights.read(after))
    total = sum(math.prod(b.shape) for found in matched for a, b in found if a and b and _fault(a, b) is None)
    with reporter.stage("Compare the layers that differ", total, "values") as advance:
        measured = iter([_measured(found, advance) for found in matched])
    return tuple(_layer(pair, old, new, *(next(measured) if pair.changed else (SAME, ()))) for pair in pairs)


def _pairs(before: Manifest, after: Manifest) -> list[_Pair]:
    """All layers of A in order, each with the layer of that name in B; then those that only B has."""
    waiting: dict[str, list[Layer]] = {}
    for layer in after.layers:
        waiting.setdefault(layer.name, []).append(layer)
    pairs = []
    for layer in before.layers:
        others = waiting.get(layer.name)
        other = others.pop(0) if others else None
        same = other is not None and before.entries[layer.entry].digest == after.entries[other.entry].digest
        pairs.append(_Pair(layer, other, changed=not same))
    left = {layer.entry for layers in waiting.values() for layer in layers}
    return pairs + [_Pair(None, layer, changed=True) for layer in after.layers if layer.entry in left]


def _prove(package: PackageReader, layers: Iterable[Layer | None], reporter: Reporter) -> None:
    """Demand that layers hold what the manifest promises, before figures are made of them."""
    names = [layer.entry for layer in layers if layer is not None]
    total = sum(package.manifest.entries[name].size_bytes for name in names)
    with reporter.stage(f"Prove the layers that differ in {package.source}", total, "B") as advance:
        proving = prove_entries(package, names, available_cores(), advance)
    for fault in proving.faults.values():
        raise fault


_Matches = list[tuple[ModelWeight | None, ModelWeight | None]]


def _match(pairs: Sequence[_Pair], old: Sequence[ModelWeight], new: Sequence[ModelWeight]) -> list[_Matches]:
    """The weights of each pair of layers: by name wherever in A, then by place among those of one shape left over."""
    read = {layer.entry for pair in pairs for layer in (pair.before, pair.after) if layer is not None}
    by_name = {weight.name: weight for weight in old if weight.entry in read}
    found: list[_Matches] = []
    for pair in pairs:
        own = [weight for weight in new if pair.after is not None and weight.entry == pair.after.entry]
        found.append([(by_name.pop(weight.name, None), weight) for weight in own])
    for pair, matches in zip(pairs, found, strict=True):
        left = [weight for weight in by_name.values() if pair.before is not None and weight.entry == pair.before.entry]
        for index, (known, weight) in enumerate(matches):
            twin = next((other for other in left if weight is not None and other.shape == weight.shape), None)
            if known is None and twin is not None:
                matches[index] = (twin, weight)
                left.remove(twin)
        matches += [(weight, None) for weight in left]
    return found


def _measured(matches: _Matches, advance: Advance) -> tuple[Difference, tuple[WeightDifference, ...]]:
    """The differences of a layer's weights, one by one and all together."""
    whole = DifferenceMeter()
    weights = []
    for a, b in matches:
        fault = _ONE_SIDE.unavailable if a is None or b is None else _fault(a, b)
        difference = Difference(unavailable=fault)
        if fault is None and a is not None and b is not None:
            meter = _meter(a, b, advance)
            whole.join(meter)
            difference = meter.difference()
        weights.append(_weight_difference(a, b, difference))
    if whole.values or not weights:
        return whole.difference(), tuple(weights)
    reasons = dict.fromkeys(str(weight.difference.unavailable) for weight in weights)
    return Difference(unavailable="; ".join(reasons)), tuple(weights)


def _fault(a: ModelWeight, b: ModelWeight) -> str | None:
    """Why two weights cannot be compared by value, or None."""
    if a.rows is None or b.rows is None:
        return a.unavailable or b.unavailable or "its values cannot be read"
    return None if a.shape == b.shape else f"its shape is {list(b.shape)}, was {list(a.shape)}"


def _meter(a: ModelWeight, b: ModelWeight, advance: Advance) -> DifferenceMeter:
    """The sums over two weights of one shape."""
    meter = DifferenceMeter()
    count = a.shape[0] if a.shape else 1
    row = math.prod(a.shape[1:])
    step = max(1, RANGE_VALUES // max(row, 1))
    for start in range(0, count, step):
        stop = min(start + step, count)
        if a.rows is not None and b.rows is not None:
            meter.add(a.rows(start, stop), b.rows(start, stop))
        advance((stop - start) * row)
    return meter


def _weight_difference(a: ModelWeight | None, b: ModelWeight | None, difference: Difference) -> WeightDifference:
    name = b.name if b is not None else a.name if a is not None else ""
    renamed = a.name if a is not None and a.name != name else None
    return WeightDifference(name=name, before=_form(a), after=_form(b), renamed_from=renamed, difference=difference)


def _form(weight: ModelWeight | None) -> StoredForm | None:
    if weight is None:
        return None
    return StoredForm(scheme=weight.scheme, dtype=weight.dtype, bits=weight.bits, shape=weight.shape)


def _layer(
    pair: _Pair, old: Manifest, new: Manifest, difference: Difference, weights: tuple[WeightDifference, ...]
) -> LayerComparison:
    """The row of one layer; ``difference`` counts where it changed."""
    known = pair.after or pair.before
    before = largest(weight.before for weight in weights if weight.before is not None)
    after = largest(weight.after for weight in weights if weight.after is not None)
    return LayerComparison(
        name="" if known is None else known.name,
        before=_side(old, pair.before, before),
        after=_side(new, pair.after, after),
        changed=pair.changed,
        difference=difference if pair.changed else SAME,
        weights=weights,
    )


def _side(manifest: Manifest, layer: Layer | None, form: StoredForm | None) -> LayerSide | None:
    if layer is None:
        return None
    entry = manifest.entries[layer.entry]
    return LayerSide(digest=entry.digest, size_bytes=entry.size_bytes, form=form or stored_form(layer))
