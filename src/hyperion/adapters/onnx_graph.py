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
from hyperion.domain.manifest import WEIGHTS_FOLDER, GoldenRequest, SchemeName
from hyperion.domain.scheme import (
    GOLDEN_RELATIVE,
    STORAGE,
    KeptTensor,
    LayerScheme,
    QuantizationRecord,
    QuantizeChoice,
    TargetPlatform,
)
from hyperion.domain.tensor import Signature
from hyperion.format.weights import ITEM_BYTES
from hyperion.ports import GoldenSource, PreparedLayer, PreparedModel, Reporter
from hyperion.quantization.candidate import Scheme

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
        warnings = [*self._source.warnings, *_silent(golden)]
        with reporter.stage("Quantizing"):
            form = untouched(self._source.model, "none", None) if quantize == "none" else is_settled(self._source.model)
            finite: tuple[str, ...] = ()
            if form is None:
                scheme: Scheme = "w4" if quantize == "w4" else "int8"
                quantizing = Quantizing(self._source, plans, scheme, full_range=full_range)
                judged = tuple(_judged(request, scheme) for request in golden)
                if quantizing.impossible is not None:
                    form = untouched(self._source.model, "none", quantizing.impossible)
                else:
                    measure = FormMeasure(self._source, signature, judged, self._path)
                    form = quantizing.agreeing(measure, reporter) if quantize == "auto" else quantizing.all(measure)
                    finite = measure.finite_outputs
                if form.scheme != "none":
                    warnings += _uncompared(golden, judged)
                    golden = judged
        warnings += form.warnings
        source = SourceModel(form.model, self._source.folder)
        layers = hoist(source, plans, form.origins, lambda key: _scheme_of(key, form), _entry)
        record = _record(quantize, form, uses, plans, layers, full_range=full_range, finite_outputs=finite)
        return PreparedModel(
            architecture_bytes(form.model),
            layers,
            requirement_of(form.model),
            record,
            tuple(golden),
            form.measurements,
            tuple(warnings),
        )


def _entry(index: int) -> str:
    return f"{WEIGHTS_FOLDER}layer{index}.weights"


def _scheme_of(key: str, form: Form) -> SchemeName:
    return form.scheme if key in form.origins or form.scheme == "kept" else "none"


def _silent(golden: Sequence[GoldenSource]) -> list[str]:
    return [
        f"golden request {request.name!r} names no outputs: it is run, but nothing says which answers are right"
        for request in golden
        if not request.outputs
    ]


def _judged(golden: GoldenSource, scheme: Scheme) -> GoldenSource:
    """A golden request with the rule of its scheme, where nobody wrote one.

    Nothing of the rule is measured, so that it is the same on every machine. Beside floating-point outputs those of
    other types are not compared: they are decisions, and a quantized model may decide a near tie the other way.
    """
    if golden.explicit:
        return golden
    exact = {name for name, expected in golden.outputs.items() if expected.dtype.kind != "f"}
    ignored = exact if len(exact) < len(golden.outputs) else set()
    rule = GoldenRequest(
        comparison="norm",
        relative=GOLDEN_RELATIVE[scheme],
        ignore=tuple(sorted({*golden.request.ignore, *ignored})),
    )
    return replace(golden, request=rule)


def _uncompared(golden: Sequence[GoldenSource], judged: Sequence[GoldenSource]) -> list[str]:
    return [
        f"golden request {before.name!r}: {', '.join(map(repr, more))} is not compared: a quantized model may decide "
        "a near tie the other way"
        for before, after in zip(golden, judged, strict=True)
        if (more := [name for name in after.request.ignore if name not in before.request.ignore])
    ]


def _record(
    requested: QuantizeChoice,
    form: Form,
    uses: Sequence[WeightUse],
    plans: Sequence[LayerPlan],
    layers: Sequence[PreparedLayer],
    *,
    full_range: bool,
    finite_outputs: tuple[str, ...],
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
        finite_outputs=finite_outputs,
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
