"""Where graphs from strangers come in: the validator's refusals as errors that name the package or the source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.parts import EXTERNAL
from hyperion.adapters.onnx.refusal import Refusal
from hyperion.adapters.onnx.validator import host_policy, validate
from hyperion.domain.manifest import ARCHITECTURE
from hyperion.errors import IncompatibleError, MalformedPackageError, ModelSourceError
from hyperion.quantization.graph import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto

    from hyperion.format.package import PackageReader

OF_THE_HOST = frozenset({"model.operator", "model.operator_denied", "model.opset"})
"""Refusals that are no fault of the file: another engine, or another host, would take it."""
SHARING = 4
"""How often the weights of a source may be said to lie in the same bytes: exporters let tied weights share them."""


def validate_package(model: ModelProto, package: PackageReader) -> None:
    """Demand that the graph of a package keeps to the rules, once its references are known to be the package's own.

    Raises:
        MalformedPackageError: Its code begins with ``model.``.
        IncompatibleError: The same, where another engine or another host would take it.
    """
    try:
        validate(model, host_policy(), weights_bytes=package.manifest.weights_bytes)
    except Refusal as refusal:
        kind = IncompatibleError if refusal.code in OF_THE_HOST else MalformedPackageError
        message = f"{package.source}: {ARCHITECTURE}: {refusal.fault}"
        raise kind(message, hint=refusal.hint, code=refusal.code, entry=ARCHITECTURE) from refusal


def validate_source(model: ModelProto, path: Path) -> None:
    """Demand that a model keeps to the rules, once its references are known to be ranges of files beside it.

    Args:
        model: Of it.
        path: The model file.

    Raises:
        ModelSourceError: Its code begins with ``model.``.
        IncompatibleError: The same, where another engine or another host would take it.
    """
    try:
        validate(model, host_policy(), weights_bytes=SHARING * _size_of_parts(model, path.parent))
    except Refusal as refusal:
        kind = IncompatibleError if refusal.code in OF_THE_HOST else ModelSourceError
        raise kind(f"{path}: {refusal.fault}", hint=refusal.hint, code=refusal.code) from refusal


def _size_of_parts(model: ModelProto, folder: Path) -> int:
    locations = {
        item.value
        for _, graph in all_graphs(model.graph)
        for tensor in graph.initializer
        if tensor.data_location == EXTERNAL
        for item in tensor.external_data
        if item.key == "location"
    }
    return sum((folder / location).stat().st_size for location in locations)
