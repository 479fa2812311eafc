"""Finding the smallest form of a model that is still good enough: sensitivities first, then greedy promotion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hyperion.domain.manifest import WeightScheme

FAITHFUL: tuple[WeightScheme, ...] = ("w4", "static-int8", "int8", "w8", "fp16", "none")
"""Schemes from the one that costs most by experience to the one that costs nothing; of equal sizes the later counts."""
STEPS_BACK = 8
"""Trials in which a promoted group is tried in its smaller scheme again."""

Assignment = Mapping[str, WeightScheme]
"""The scheme of every group."""


@dataclass(frozen=True, slots=True)
class Option:
    """A scheme that a group can take, and what it then takes in bytes."""

    scheme: WeightScheme
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided.

    Attributes:
        schemes: Of every group.
        errors: Relative error of the output with one group alone in one scheme, where that was asked.
    """

    schemes: dict[str, WeightScheme]
    errors: dict[tuple[str, WeightScheme], float] = field(default_factory=dict)


def choose(
    options: Mapping[str, Sequence[Option]],
    alone: Callable[[str, WeightScheme], float],
    holds: Callable[[Assignment], bool],
) -> Choice:
    """The smallest assignment that holds, as far as a bounded number of trials finds it.

    It begins with the smallest scheme everywhere. Where that does not hold, every group is tried alone in each of its
    schemes, and a path of promotions leads from there to float, each step the one that takes most squared error of the
    output for its bytes (the greedy rule of the knapsack problem with several choices; errors of single layers add up
    in squares as far as they are independent). On the path the first place that holds is searched by halving, which
    takes it that further promotion never breaks what held; then single promotions are taken back while it still holds.
    What is returned was itself measured to hold, unless it is float everywhere.

    Args:
        options: For each group in the model's order the schemes that it takes; float (``none``) among them.
        alone: Relative error of the output with one group in a scheme and the others in float; infinite where the
            engine refuses it.
        holds: Whether the model is good enough in an assignment.
    """
    smallest = {group: _smallest(found).scheme for group, found in options.items()}
    if not options or holds(smallest):
        return Choice(smallest)
    errors = {
        (group, option.scheme): 0.0 if option.scheme == "none" else alone(group, option.scheme)
        for group, found in options.items()
        for option in found
    }
    path = _promotions(smallest, options, errors)
    bad, good = 0, len(path) - 1
    while good - bad > 1:
        middle = (bad + good) // 2
        if holds(path[middle]):
            good = middle
        else:
            bad = middle
    return Choice(_stepped_back(path, good, options, holds), errors)


def _smallest(options: Sequence[Option]) -> Option:
    return min(options, key=lambda option: (option.size_bytes, -FAITHFUL.index(option.scheme)))


def _promotions(
    start: Assignment, options: Mapping[str, Sequence[Option]], errors: Mapping[tuple[str, WeightScheme], float]
) -> list[dict[str, WeightScheme]]:
    """The assignments from ``start`` to float everywhere, one promotion after the other."""
    sizes = {(group, option.scheme): option.size_bytes for group, found in options.items() for option in found}
    current = dict(start)
    path = [dict(current)]
    while True:
        steps = [
            (_worth(sizes, errors, group, current[group], option.scheme), group, option.scheme)
            for group, found in options.items()
            for option in found
            if errors[group, option.scheme] < errors[group, current[group]]
        ]
        if not steps:
            break
        _, group, scheme = max(steps, key=lambda step: step[0])  # the first of equal ones: the model's order
        current[group] = scheme
        path.append(dict(current))
    if any(scheme != "none" for scheme in current.values()):  # groups that cost nothing measurable come last
        path.append(dict.fromkeys(current, "none"))
    return path


def _worth(
    sizes: Mapping[tuple[str, WeightScheme], int],
    errors: Mapping[tuple[str, WeightScheme], float],
    group: str,
    now: WeightScheme,
    then: WeightScheme,
) -> float:
    """Squared error that a promotion takes away for each byte that it adds."""
    added = sizes[group, then] - sizes[group, now]
    gained = errors[group, now] ** 2 - errors[group, then] ** 2
    return gained / added if added > 0 else float("inf")


def _stepped_back(
    path: Sequence[Assignment],
    place: int,
    options: Mapping[str, Sequence[Option]],
    holds: Callable[[Assignment], bool],
) -> dict[str, WeightScheme]:
    """The assignment at a place of the path, less promotions that were not needed; the dearest are tried first."""
    sizes = {(group, option.scheme): option.size_bytes for group, found in options.items() for option in found}
    current = dict(path[place])
    before = path[place - 1]

    def saved(group: str) -> int:
        return sizes[group, current[group]] - sizes[group, path[0][group]]

    promoted = [group for group in current if current[group] == before[group] and saved(group) > 0]
    for group in sorted(promoted, key=saved, reverse=True)[:STEPS_BACK]:
        trial = {**current, group: path[0][group]}
        if holds(trial):
            current = trial
    return current
