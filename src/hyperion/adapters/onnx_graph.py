"""Models as ONNX graphs: read, quantized, proven against the float model, split into layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hyperion.adapters.onnx_architecture import architecture_bytes
from hyperion.adapters.onnx_measure import FormMeasure
from hyperion.adapters.onnx_quantize import Form, Quantizing, is_settled, untouched
from hyperion.adapters.onnx_signature import requirement_of, signature_of
from hyperion.adapters.onnx_source import SourceModel, read_source
from hyperion.adapters.onnx_weights import hoist, weight_uses
from hyperion.domain.layer import LayerPlan, WeightUse, split_layers
from hyperion.domain.manifest import WEIGHTS_FOLDER, SchemeName
from hyperion.domain.scheme import (
    STORAGE,
    KeptTensor,
    LayerScheme,
    QuantizationRecord,
    QuantizeChoice,
    TargetPlatform,
    tolerance_for,
)
from hyperion.domain.tensor import Signature
from hyperion.format.weights import ITEM_BYTES
from hyperion.ports import Array, GoldenSource, PreparedLayer, PreparedModel, Reporter

_SMALL_TYPES = ("I8", "U8")


class OnnxGraphs:
    """Implements ports.ModelGraphs."""

    def load(self, model: Path) -> OnnxGraph:
        """Read a model; see ports.ModelGraphs."""
        return OnnxGraph(read_source(model), str(model))


class OnnxGraph:
    """Implements ports.ModelGraph."""

    def __init__(self, source: SourceModel, path: str) -> None:
        self._source = source
        self._path = path
        self._signature = signature_of(source.model, path)

    @property
    def signature(self) -> Signature:
        return self._signature

    def prepare(
        self,
        quantize: QuantizeChoice,
        signature: Signature,
        golden: Sequence[GoldenSource],
        platform: TargetPlatform | None,
        reporter: Reporter,
    ) -> PreparedModel:
        """Quantize as asked and split into layers; see ports.ModelGraph."""
        uses = weight_uses(self._source.model)
        plans = split_layers(uses)
        full_range = platform is not None and platform.has_vnni
        measure = None
        with reporter.stage("Quantizing"):
            form = untouched(self._source.model, "none", None) if quantize == "none" else is_settled(self._source.model)
            quantizing = None
            if form is None:
                quantizing = Quantizing(
                    self._source, plans, "w4" if quantize == "w4" else "int8", full_range=full_range
                )
                if quantizing.impossible is not None:
                    form, quantizing = untouched(self._source.model, "none", quantizing.impossible), None
            if quantizing is not None or any(not request.outputs for request in golden):
                measure = FormMeasure(self._source, signature, golden, self._path)
                golden = measure.recorded()
        if form is None:
            assert quantizing is not None and measure is not None  # noqa: S101, PT018 - made together above
            form = quantizing.agreeing(measure, reporter) if quantize == "auto" else quantizing.all(measure)
        warnings = list(form.warnings)
        if measure is not None and form.scheme not in ("none", "kept"):
            golden = _widened(golden, measure.golden_answers(form.model), warnings)
        source = SourceModel(form.model, self._source.folder)
        layers = hoist(source, plans, form.origins, lambda key: _scheme_of(key, form), _entry)
        record = _record(quantize, form, uses, plans, layers, full_range=full_range)
        return PreparedModel(
            architecture_bytes(form.model), layers, requirement_of(form.model), record, tuple(golden), tuple(warnings)
        )


def _entry(index: int) -> str:
    return f"{WEIGHTS_FOLDER}layer{index}.weights"


def _scheme_of(key: str, form: Form) -> SchemeName:
    return form.scheme if key in form.origins or form.scheme == "kept" else "none"


def _widened(
    golden: Sequence[GoldenSource], answers: dict[str, dict[str, Array]], warnings: list[str]
) -> tuple[GoldenSource, ...]:
    """Golden requests whose tolerances nobody wrote get ones that the quantized model was measured to need."""
    return tuple(
        request if request.explicit else _widen(request, answers[request.name], warnings) for request in golden
    )


def _widen(golden: GoldenSource, answers: dict[str, Array], warnings: list[str]) -> GoldenSource:
    import numpy as np

    largest, ignore = 0.0, []
    for name, expected in golden.outputs.items():
        found = answers[name]
        if expected.dtype.kind == "f" and expected.shape == found.shape:
            both = np.isfinite(expected) & np.isfinite(found)
            difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))[both]
            largest = max(largest, float(difference.max(initial=0.0)))
        elif not np.array_equal(expected, found):
            ignore.append(name)
            warnings.append(
                f"golden request {golden.name!r}: the quantized model gives other values for {name!r}, "
                "which is therefore not compared"
            )
    request = golden.request.model_copy(
        update={
            "absolute": max(golden.request.absolute, tolerance_for(largest)),
            "ignore": tuple(sorted({*golden.request.ignore, *ignore})),
        }
    )
    return replace(golden, request=request)


def _record(
    requested: QuantizeChoice,
    form: Form,
    uses: Sequence[WeightUse],
    plans: Sequence[LayerPlan],
    layers: Sequence[PreparedLayer],
    *,
    full_range: bool,
) -> QuantizationRecord:
    sizes = {use.key: use.size_bytes for use in uses}
    schemes = tuple(
        _layer_scheme(index, plan, layer, sizes, form)
        for index, (plan, layer) in enumerate(zip(plans, layers, strict=True))
    )
    return QuantizationRecord(
        requested=requested,
        scheme=form.scheme,
        reason=form.reason,
        full_range=full_range and form.scheme == "int8",
        storage={form.scheme: STORAGE[form.scheme]} if form.scheme in STORAGE else {},
        bytes_before=sum(layer.bytes_before for layer in schemes),
        bytes_after=sum(layer.bytes_after for layer in schemes),
        layers=schemes,
        agreement=form.agreement,
        agreement_unavailable=form.agreement_unavailable,
    )


def _layer_scheme(index: int, plan: LayerPlan, layer: PreparedLayer, sizes: dict[str, int], form: Form) -> LayerScheme:
    largest = max(range(len(layer.tensors)), key=lambda position: layer.tensors[position].size_bytes)
    small = [s for s, t in zip(layer.schemes, layer.tensors, strict=True) if s != "kept" or t.dtype in _SMALL_TYPES]
    scheme: SchemeName = next((scheme for scheme in small if scheme != "none"), "none")
    bits = 4 if layer.schemes[largest] == "w4" else 8 * ITEM_BYTES[layer.tensors[largest].dtype]
    return LayerScheme(
        index=index,
        name=plan.name,
        scheme=scheme,
        bits=bits,
        bytes_before=sum(sizes[key] for key in plan.keys),
        bytes_after=sum(tensor.size_bytes for tensor in layer.tensors),
        kept=tuple(KeptTensor(tensor=key, reason=form.reasons[key]) for key in plan.keys if key in form.reasons),
    )
