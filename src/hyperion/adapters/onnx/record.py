"""What config/quantization.json of a package says: which scheme each weight has, what it saved, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hyperion.adapters.onnx.choice import Decision
from hyperion.adapters.onnx.forms import Form, Forms, FormWeight
from hyperion.domain.layer import LayerPlan, WeightUse
from hyperion.domain.manifest import SchemeName
from hyperion.domain.scheme import STORAGE, KeptTensor, LayerScheme, QuantizationRecord, StoredWeight
from hyperion.format.weights import ITEM_BYTES
from hyperion.ports import PreparedLayer, QuantizeRequest

BITS: dict[SchemeName, int] = {"w4": 4, "int8": 8, "w8": 8, "static-int8": 8, "fp16": 16}
_SMALL_TYPES = ("I8", "U8")


def scheme_of_most(form: Form | None, forms: Forms | None, untouched: SchemeName) -> SchemeName:
    """The scheme that most of the quantized bytes have, counted in float; ``untouched`` where nothing is quantized."""
    if form is None or forms is None or not form.schemes:
        return untouched
    sizes = Counter[SchemeName]()
    for weight in forms.weights:
        if weight.key in form.schemes:
            sizes[form.schemes[weight.key]] += weight.bytes_before
    return max(sizes, key=lambda scheme: (sizes[scheme], scheme))


def quantization_record(
    request: QuantizeRequest,
    decision: Decision,
    forms: Forms | None,
    uses: Sequence[WeightUse],
    plans: Sequence[LayerPlan],
    layers: Sequence[PreparedLayer],
    *,
    scheme: SchemeName,
    full_range: bool,
    finite_outputs: tuple[str, ...],
) -> QuantizationRecord:
    """The record of a model; nothing in it was measured through the engine."""
    sizes = {use.key: use.size_bytes for use in uses}
    schemes = tuple(
        _layer_scheme(index, plan, layer, sizes, decision, forms)
        for index, (plan, layer) in enumerate(zip(plans, layers, strict=True))
    )
    used = {scheme, *(() if decision.form is None else decision.form.schemes.values())}
    return QuantizationRecord(
        requested=request.choice,
        scheme=scheme,
        reason=decision.reason,
        budget=request.policy.budget,
        seed=None if request.sets is None else request.policy.seed,
        full_range=full_range and not used.isdisjoint({"int8", "static-int8"}),
        storage={name: STORAGE[name] for name in sorted(used) if name in STORAGE},
        bytes_before=sum(layer.bytes_before for layer in schemes),
        bytes_after=sum(layer.bytes_after for layer in schemes),
        layers=schemes,
        finite_outputs=finite_outputs,
    )


def _layer_scheme(
    index: int,
    plan: LayerPlan,
    layer: PreparedLayer,
    sizes: Mapping[str, int],
    decision: Decision,
    forms: Forms | None,
) -> LayerScheme:
    weights = [] if forms is None else [weight for weight in forms.weights if weight.layer == index]
    stored = () if decision.form is None or forms is None else _stored(weights, decision, decision.form, forms)
    largest = max(layer.tensors, key=lambda tensor: tensor.size_bytes, default=None)  # none: a twin is in another layer
    scheme, bits = _kept_already(layer), 32 if largest is None else 8 * ITEM_BYTES[largest.dtype]
    if stored:
        heaviest = max(stored, key=lambda item: item.bytes_before)
        in_float = max((w.bytes_before for w in weights if w.key in decision.reasons), default=0)
        scheme, bits = heaviest.scheme, heaviest.bits if heaviest.bytes_before >= in_float else 32
    return LayerScheme(
        index=index,
        name=plan.name,
        scheme=scheme,
        bits=bits,
        bytes_before=sum(sizes[key] for key in plan.keys),
        bytes_after=sum(tensor.size_bytes for tensor in layer.tensors),
        kept=tuple(
            KeptTensor(tensor=key, reason=decision.reasons[key]) for key in plan.keys if key in decision.reasons
        ),
        weights=stored,
    )


def _kept_already(layer: PreparedLayer) -> SchemeName:
    """``kept`` where a layer of a model that was quantized before holds small integers."""
    small = [s for s, t in zip(layer.schemes, layer.tensors, strict=True) if s == "kept" and t.dtype in _SMALL_TYPES]
    return "kept" if small else "none"


def _stored(weights: Sequence[FormWeight], decision: Decision, form: Form, forms: Forms) -> tuple[StoredWeight, ...]:
    found = []
    for weight in weights:
        scheme = form.schemes.get(weight.key)
        if scheme is None:
            continue
        distortion = forms.distortion(weight.key, scheme)
        found.append(
            StoredWeight(
                tensor=weight.key, scheme=scheme, bits=BITS[scheme], bytes_before=weight.bytes_before,
                bytes_after=weight.options[scheme], sqnr_db=distortion.sqnr_db, cosine=distortion.cosine,
                reason=decision.promoted.get(weight.key),
            )
        )  # fmt: skip
    return tuple(found)
