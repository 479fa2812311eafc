"""Finding the fewest weights that must stay in float for a model to agree with itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured with some groups quantized.

    Attributes:
        holds: Whether the model agrees well enough.
        error: Relative error of its outputs.
    """

    holds: bool
    error: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What to quantize.

    Attributes:
        quantized: Groups, in their order.
        kept: Groups that stay in float, each with the relative output error that it causes alone.
    """

    quantized: tuple[str, ...]
    kept: dict[str, float]


def choose(groups: Sequence[str], measure: Callable[[frozenset[str]], Trial]) -> Choice:
    """Quantize all groups if that holds; else keep the fewest of the most harmful ones in float.

    Each group is first tried alone. Then the number of groups kept, most harmful first, is searched by halving,
    which takes it that keeping more never breaks what held with fewer; the choice itself was measured to hold.

    Args:
        groups: Names, in the model's order.
        measure: Measures the model with these groups quantized and all others in float.
    """
    if not groups or measure(frozenset(groups)).holds:
        return Choice(tuple(groups), {})
    errors = {group: measure(frozenset({group})).error for group in groups}
    worst = sorted(groups, key=lambda group: -errors[group])  # stable: equal ones keep the model's order
    too_few, enough = 0, len(worst)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if measure(frozenset(worst[middle:])).holds:
            enough = middle
        else:
            too_few = middle
    kept = set(worst[:enough])
    return Choice(
        tuple(group for group in groups if group not in kept),
        {group: errors[group] for group in groups if group in kept},
    )
