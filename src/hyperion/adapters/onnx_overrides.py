"""The schemes that a person set for single weights and layers, in config/quantization.json."""

from __future__ import annotations

from collections.abc import Sequence

from hyperion.adapters.onnx_forms import FormWeight
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.quantization_policy import QuantizationPolicy
from hyperion.errors import ConfigError


def overridden_schemes(weights: Sequence[FormWeight], policy: QuantizationPolicy) -> dict[str, WeightScheme]:
    """The schemes that a person set, by key.

    Raises:
        ConfigError: An override names no weight, or a scheme that does not fit (code ``quantize.override``).
    """
    found: dict[str, WeightScheme] = {}
    for weight in weights:
        scheme = policy.override(weight.layer_name, weight.name)
        if scheme is None:
            continue
        if scheme != "none" and scheme not in weight.options:
            raise ConfigError(
                f"config/quantization.json: overrides ask for {scheme} in {weight.name!r}, which "
                f"{weight.refused.get(scheme, 'does not take it')}",
                hint="choose another scheme or a narrower pattern",
                code="quantize.override",
            )
        found[weight.key] = scheme
    for item in policy.overrides:
        if not any(item.names(weight.layer_name, weight.name) for weight in weights):
            names = ", ".join(repr(weight.name) for weight in weights[:8])
            raise ConfigError(
                f"config/quantization.json: the override {item.match!r} matches no layer and no weight",
                hint=f"weights of this model are {names}, …" if names else "this model has no weights to quantize",
                code="quantize.override",
            )
    return found
