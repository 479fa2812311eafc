"""Forms of one model: the same graph with its weights in chosen schemes, made as often as a search asks for them.

What is not chosen stays bit for bit. Weights are rounded tile by tile into files, each once for each scheme, so that
memory grows neither with the model nor with the number of forms.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.engine.prepacking import passing_options
from hyperion.adapters.engine.session import make_session
from hyperion.adapters.files.part_files import ROOT, PartFile, below_root
from hyperion.adapters.onnx.calibration import Activations
from hyperion.adapters.onnx.parts import EXTERNAL, refer
from hyperion.adapters.onnx.source import SourceModel
from hyperion.domain.layer import LayerPlan
from hyperion.domain.manifest import WeightScheme
from hyperion.errors import EngineError
from hyperion.ports import Tensors
from hyperion.quantization.batch_norm import Fold, foldable
from hyperion.quantization.distortion import Distortion
from hyperion.quantization.graph import all_graphs
from hyperion.quantization.lines import Lines
from hyperion.quantization.opset import opset_of, raised
from hyperion.quantization.parts import parts_of, round_into
from hyperion.quantization.rebuild import Chosen, rebuild
from hyperion.quantization.recognition import parameter_holders
from hyperion.quantization.static_ranges import ActivationPlan
from hyperion.quantization.survey import NEEDED_OPSET, SCHEMES, FloatWeight, Reader, refusal, survey
from hyperion.quantization.twins import find_twins, joined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto


@dataclass(frozen=True, slots=True)
class FormWeight:
    """A float matrix of a model, and what may become of it.

    Attributes:
        key: Path of its graph and its name.
        name: Its name in its graph.
        layer: Index of its layer.
        layer_name: That layer's name.
        node: Name of the first node that reads it.
        bytes_before: In the source.
        options: Bytes after rounding, by scheme that fits it.
        refused: Why other schemes do not.
    """

    key: str
    name: str
    layer: int
    layer_name: str
    node: str
    bytes_before: int
    options: Mapping[WeightScheme, int]
    refused: Mapping[WeightScheme, str]


@dataclass(frozen=True, slots=True)
class Form:
    """A model with chosen weights in few bits.

    Attributes:
        model: Its large tensors are external; their locations are relative to ``folder``.
        folder: The root of the file system, because they lie in several folders.
        origins: Key of every tensor that is new or has a new key → key of the weight that it stands for.
        schemes: What each chosen weight is stored in, by its key.
        reasons: Why a weight that was not chosen could not have been, by key.
    """

    model: ModelProto
    folder: Path
    origins: Mapping[str, str]
    schemes: Mapping[str, WeightScheme]
    reasons: Mapping[str, str]


class Forms:
    """Makes forms of one model."""

    def __init__(
        self,
        source: SourceModel,
        plans: Sequence[LayerPlan],
        *,
        full_range: bool,
        scratch: Path,
        calibration: Sequence[Tensors] = (),
    ) -> None:
        """Look at every weight once.

        Args:
            source: The float model.
            plans: Its layers.
            full_range: Whether the target's products cannot saturate (VNNI), so that int8 may use -127…127.
            scratch: An existing folder for rounded weights; forms refer to files in it.
            calibration: Inputs whose activations ``static-int8`` takes its ranges from.
        """
        self._base = _placed(source)
        self._read = SourceModel(self._base, ROOT).array
        self._full_range = full_range
        self._scratch = scratch
        self._found = {weight.key: weight for weight in survey(self._base)}
        self._twins = find_twins(tuple(self._found.values()), self._read)
        self._raised = self._raised_base()
        self._folds = self._found_folds()
        self._distortions: dict[tuple[str, WeightScheme], Distortion] = {}
        self._files: dict[tuple[str, WeightScheme], PartFile] = {}
        self._positions = {key: position for position, key in enumerate(self._found)}
        self._activations = self._observed(calibration)
        layers = {key: (index, plan.name) for index, plan in enumerate(plans) for key in plan.keys}
        self.weights = tuple(
            self._judged(weight, *layers[key]) for key, weight in self._found.items() if key in layers
        )  # fmt: skip
        self._options = {weight.key: weight for weight in self.weights}

    @cached_property
    def impossible(self) -> str | None:
        """Why no weight at all can be quantized, or None."""
        if any(weight.options for weight in self.weights):
            return None
        holders = parameter_holders(self._base)
        if holders:
            return f"its parameters are attributes of {', '.join(holders)}, which no scheme covers"
        if not self.weights:
            return "it has no weights that could be quantized"
        first, *others = self.weights
        more = f" (and {len(others)} more)" if others else ""
        return f"none of its weights can be quantized: {first.key!r} {next(iter(first.refused.values()))}{more}"

    def build(self, chosen: Mapping[str, WeightScheme]) -> Form:
        """The form with these weights in these schemes; keys left out, or with ``none``, stay in float.

        Raises:
            KeyError: A scheme does not fit its weight, or there is no such weight.
            HostError: No space for rounded weights.
        """
        stored = {key: self._chosen(key, scheme) for key, scheme in chosen.items() if scheme != "none"}
        schemes: dict[str, WeightScheme] = {key: item.scheme for key, item in stored.items()}
        self._join_twins(stored)
        needed = max((NEEDED_OPSET.get(item.scheme, 1) for item in stored.values()), default=1)
        model = _copy(self._raised if self._raised is not None and needed > opset_of(self._base) else self._base)
        origins = rebuild(model, stored, self._integers(stored)) if stored else {}
        return Form(
            model,
            ROOT,
            origins,
            schemes,
            {
                weight.key: next(iter(weight.refused.values()))
                for weight in self.weights
                if weight.key not in schemes and not weight.options
            },
        )

    def distortion(self, key: str, scheme: WeightScheme) -> Distortion:
        """How far a scheme moves a weight; the same on every machine.

        Raises:
            KeyError: The scheme does not fit the weight.
        """
        self._round(key, scheme)
        return self._distortions[key, scheme]

    @property
    def _opset(self) -> int:
        """The operator set that forms can have."""
        return opset_of(self._base if self._raised is None else self._raised)

    def _raised_base(self) -> ModelProto | None:
        """The model with a later operator set, where that is needed for some scheme and the engine loads it."""
        found = raised(self._base)
        if found is None:
            return None
        try:
            make_session(found.SerializeToString(), ROOT, passing_options(found), "the raised model")
        except EngineError:
            return None
        return found

    def _judged(self, weight: FloatWeight, layer: int, layer_name: str) -> FormWeight:
        peak = float("nan") if weight.fault else float(self._lines(weight, None).peaks().max(initial=0.0))
        options: dict[WeightScheme, int] = {}
        refused: dict[WeightScheme, str] = {}
        for scheme in SCHEMES:
            reason = refusal(weight, scheme, peak, self._opset)
            if reason is None and scheme == "static-int8":
                reason = self._activations.fault(weight)
            if reason is None:
                options[scheme] = sum(part.size_bytes for part in parts_of(weight, scheme).values())
            else:
                refused[scheme] = reason
        size = sum(part.size_bytes for part in parts_of(weight, "fp16").values()) * 2
        node = weight.readers[0].node
        name = node.name or (node.output[0] if node.output else node.op_type)
        return FormWeight(
            weight.key, weight.tensor.name, layer, layer_name, weight.readers[0].scope + name, size, options, refused
        )

    def _chosen(self, key: str, scheme: WeightScheme) -> Chosen:
        file = self._round(key, scheme)
        return Chosen(self._found[key], scheme, file.tensors, self._fold(key, scheme))

    def _round(self, key: str, scheme: WeightScheme) -> PartFile:
        """Round a weight, the first time that it is asked for."""
        if (key, scheme) not in self._files:
            weight = self._found[key]
            if scheme not in self._options[key].options:
                raise KeyError(f"{key!r} cannot be stored as {scheme}: {self._options[key].refused.get(scheme)}")
            file = PartFile(self._scratch / f"weight{self._positions[key]}-{scheme}", parts_of(weight, scheme))
            lines = self._lines(weight, self._fold(key, scheme), factored=scheme != "fp16")
            least = self._activations.least_scales(weight, self._bias_of) if scheme == "static-int8" else None
            self._distortions[key, scheme] = round_into(
                file.create(), lines, weight, scheme, full_range=self._full_range, least_scales=least
            )
            self._files[key, scheme] = file
        return self._files[key, scheme]

    def _join_twins(self, stored: dict[str, Chosen]) -> None:
        """Store a table that the model holds twice once, where both have a scheme that lies alike."""
        for key, table_key in self._twins.items():
            table = stored.get(table_key)
            if key in stored and table is not None and table.scheme == stored[key].scheme != "fp16":
                both = joined(table.weight, stored.pop(key).weight)
                file = self._files[table_key, table.scheme].seen_as(parts_of(both, table.scheme))
                stored[table_key] = Chosen(both, table.scheme, file.tensors)

    def _found_folds(self) -> dict[tuple[str, str], Fold]:
        """Batch normalizations by the result of the convolution before them, where it alone reads its weight."""
        found = foldable(self._base, self._read)
        places = [
            (reader.scope, reader.node.output[0])
            for weight in self._found.values()
            for reader in weight.readers
            if len(weight.readers) == 1
        ]
        return {place: found[place] for place in places if place in found}

    def _fold(self, key: str, scheme: WeightScheme) -> Fold | None:
        """The batch normalization that goes into a convolution's weight; half precision leaves it where it is."""
        reader = self._found[key].readers[0]
        return None if scheme == "fp16" or reader.reading != "conv" else self._fold_after(reader)

    def _fold_after(self, reader: Reader) -> Fold | None:
        return self._folds.get((reader.scope, reader.node.output[0]))

    def _observed(self, calibration: Sequence[Tensors]) -> Activations:
        """The activations of all weights that ``static-int8`` could take."""
        readers = [
            reader
            for weight in self._found.values()
            if refusal(weight, "static-int8", 0.0, self._opset) is None
            for reader in weight.readers
        ]
        folded = {name: fold.output for (scope, name), fold in self._folds.items() if not scope}
        return Activations(self._base, readers, folded, calibration)

    def _integers(self, stored: Mapping[str, Chosen]) -> ActivationPlan:
        chosen = [item for item in stored.values() if item.scheme == "static-int8"]
        return self._activations.plan([reader for item in chosen for reader in item.weight.readers])

    def _bias_of(self, reader: Reader) -> NDArray[np.float32] | None:
        """What a convolution of the outermost graph adds, where that is known."""
        fold = self._fold_after(reader)
        if fold is not None:
            return fold.bias
        name = reader.node.input[2] if len(reader.node.input) > 2 else ""
        return next((self._read(tensor) for tensor in self._base.graph.initializer if tensor.name == name), None)

    def _lines(self, weight: FloatWeight, fold: Fold | None, *, factored: bool = True) -> Lines:
        import numpy as np

        values = self._read(weight.tensor)
        values = values.T if weight.down else values.reshape(values.shape[0], -1)
        factors = None if fold is None else fold.factors
        if factored and weight.factor != 1:
            factors = np.full(values.shape[0], weight.factor, np.float32)
        return Lines(values, weight.down, factors)


def _placed(source: SourceModel) -> ModelProto:
    """A copy of the model whose external tensors say where they lie from the root on."""
    model = _copy(source.model)
    for _, graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_location == EXTERNAL:
                where = {item.key: item.value for item in tensor.external_data}
                place = below_root(source.folder / os.fsdecode(where["location"]))
                refer(tensor, place, int(where["offset"]), int(where["length"]))
    return model


def _copy(model: ModelProto) -> ModelProto:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


__all__ = ["Distortion", "Form", "FormWeight", "Forms"]
