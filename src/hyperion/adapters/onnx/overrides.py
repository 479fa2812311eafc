"""The schemes that a person set for single weights and layers, in config/quantization.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from hyperion.adapters.onnx.forms import FormWeight
from hyperion.domain.manifest import WeightScheme
from hyperion.domain.quantization_policy import QuantizationPolicy, SchemeOverride
from hyperion.errors import ConfigError


def overridden_schemes(weights: Sequence[FormWeight], policy: QuantizationPolicy) -> dict[str, WeightScheme]:
    """The schemes that a person set, by key.

    Raises:
        ConfigError: An override names no weight, asks for a scheme that does not fit, or is followed by no weight
            because others go before it (code ``quantize.override``).
    """
    found = {
        weight.key: item for weight in weights if (item := policy.override(weight.layer_name, weight.name)) is not None
    }
    misfits = [
        weight
        for weight in weights
        if weight.key in found and found[weight.key].scheme not in ("none", *weight.options)
    ]
    # Of a pattern that names a weight and a layer of the same name, the weight is what was meant.
    misfits.sort(key=lambda weight: not _is_named(weight, found[weight.key]))
    if misfits:
        raise _misfit(misfits[0], found[misfits[0].key])
    for item in policy.overrides:
        named = [weight for weight in weights if item.names(weight.layer_name, weight.name)]
        if not named:
            raise _without_weights(item, weights)
        if not any(found[weight.key] is item for weight in named):
            raise _unfollowed(item, named, found)
    return {key: item.scheme for key, item in found.items()}


def _is_named(weight: FormWeight, item: SchemeOverride) -> bool:
    """Whether the pattern matches the weight's own name, not its layer's alone."""
    return fnmatchcase(weight.name, item.match)


def _misfit(weight: FormWeight, item: SchemeOverride) -> ConfigError:
    place = "" if _is_named(weight, item) else f"lies in layer {weight.layer_name!r} and "
    fault = weight.refused.get(item.scheme, "does not take it")
    instead = f"give {weight.name!r} one of its own, which goes before its layer's" if place else "a narrower pattern"
    return ConfigError(
        f"config/quantization.json: the override {item.match!r} asks for {item.scheme} in {weight.name!r}, which "
        f"{place}{fault}",
        hint=f"choose another scheme, or {instead}",
        code="quantize.override",
    )


def _without_weights(item: SchemeOverride, weights: Sequence[FormWeight]) -> ConfigError:
    names = ", ".join(repr(weight.name) for weight in weights[:8])
    return ConfigError(
        f"config/quantization.json: the override {item.match!r} matches no layer and no weight",
        hint=f"weights of this model are {names}, …" if names else "this model has no weights to quantize",
        code="quantize.override",
    )


def _unfollowed(item: SchemeOverride, named: Sequence[FormWeight], found: Mapping[str, SchemeOverride]) -> ConfigError:
    others = ", ".join(
        f"{weight.name!r} follows {found[weight.key].match!r} → {found[weight.key].scheme}" for weight in named[:5]
    )
    more = f" (and {len(named) - 5} more)" if len(named) > 5 else ""
    return ConfigError(
        f"config/quantization.json: no weight follows the override {item.match!r} → {item.scheme}: {others}{more}",
        hint="the last pattern that matches counts, and one of a weight's own name goes before one of its layer's; "
        "move this one behind the other, or leave it out",
        code="quantize.override",
    )
