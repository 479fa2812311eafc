"""How a model's weights are split into layers, by names and sizes alone, so that two versions split alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_LAYER_BYTES = 4096
"""A layer below this joins the next."""

_SEPARATOR = re.compile(r"[./]+")


@dataclass(frozen=True, slots=True)
class WeightUse:
    """A weight at its first use.

    Attributes:
        key: Its unique name in the model.
        name: Its name in its graph.
        node: Name of the node that uses it.
        rank: Number of its dimensions.
        size_bytes: Its size before quantizing.
    """

    key: str
    name: str
    node: str
    rank: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer: what it is called, and the keys of its weights in topological order."""

    name: str
    keys: tuple[str, ...]


@dataclass(slots=True)
class _Group:
    name: str
    uses: list[WeightUse]

    @property
    def size_bytes(self) -> int:
        return sum(use.size_bytes for use in self.uses)


def split_layers(uses: Sequence[WeightUse]) -> tuple[LayerPlan, ...]:
    """Split weights, given in topological order, into layers.

    One layer for each number of the repeated scope that holds most bytes (block 0, 1, …), what comes before and
    after as layers of their own; where there is no such scope, one for each node that uses a matrix. A layer under
    4 KiB joins the next.
    """
    scope = repeated_scope(uses)
    groups = _by_node(uses) if scope is None else _by_block(uses, scope)
    merged: list[_Group] = []
    small: list[WeightUse] = []
    for group in groups:
        if group.size_bytes + sum(use.size_bytes for use in small) < MINIMUM_LAYER_BYTES and group is not groups[-1]:
            small += group.uses
            continue
        merged.append(_Group(group.name, [*small, *group.uses]))
        small = []
    return tuple(LayerPlan(group.name, tuple(use.key for use in group.uses)) for group in merged)


def repeated_scope(uses: Sequence[WeightUse]) -> str | None:
    """The scope with at least two numbers that holds most bytes, such as ``encoder.layer``; None where none repeats."""
    sizes: dict[str, int] = {}
    numbers: dict[str, set[int]] = {}
    for use in uses:
        for scope, number in _numbered_scopes(use).items():
            sizes[scope] = sizes.get(scope, 0) + use.size_bytes
            numbers.setdefault(scope, set()).add(number)
    repeated = [scope for scope, found in numbers.items() if len(found) > 1]
    # Of nested scopes the outer one holds at least as many bytes: then the shorter name wins.
    return max(repeated, key=lambda scope: (sizes[scope], -len(scope), scope), default=None)


def _numbered_scopes(use: WeightUse) -> dict[str, int]:
    """``encoder.layer.0.query.weight`` → (``encoder.layer``, 0); the last component is a leaf, not a scope."""
    found: dict[str, int] = {}
    for text in (use.name, use.node):
        parts = [part for part in _SEPARATOR.split(text) if part]
        for index, part in enumerate(parts[:-1]):
            head, number = _numbered(part)
            if number is not None:
                found.setdefault(".".join([*parts[:index], head] if head else parts[:index]), number)
    return found


def _numbered(part: str) -> tuple[str, int | None]:
    """``0`` → ("", 0); ``block_3`` and ``block3`` stay names of their own unless a separator sets the number off."""
    if part.isascii() and part.isdigit() and len(part) < 9:
        return "", int(part)
    head, underscore, tail = part.rpartition("_")
    if underscore and head and tail.isascii() and tail.isdigit() and len(tail) < 9:
        return head, int(tail)
    return part, None


def _by_block(uses: Sequence[WeightUse], scope: str) -> list[_Group]:
    numbers = [_numbered_scopes(use).get(scope) for use in uses]
    first = next(index for index, number in enumerate(numbers) if number is not None)
    last = max(index for index, number in enumerate(numbers) if number is not None)
    blocks: dict[int, _Group] = {}
    current: int | None = None
    for use, number in list(zip(uses, numbers, strict=True))[first : last + 1]:
        current = number if number is not None else current  # what bears no scope belongs to the block before it
        assert current is not None  # noqa: S101 - the first one has a number
        blocks.setdefault(current, _Group(f"{scope}.{current}" if scope else str(current), [])).uses.append(use)
    before, after = list(uses[:first]), list(uses[last + 1 :])
    groups = [_Group("before", before)] if before else []
    groups += [blocks[number] for number in sorted(blocks)]
    return groups + ([_Group("after", after)] if after else [])


def _by_node(uses: Sequence[WeightUse]) -> list[_Group]:
    groups: list[_Group] = []
    waiting: list[WeightUse] = []
    previous: str | None = None
    for use in uses:
        if use.rank < 2 and not groups:
            waiting.append(use)
        elif use.rank < 2 or use.node == previous:
            groups[-1].uses.append(use)  # biases and scales stand with the matrix before them
        else:
            groups.append(_Group(use.node, [*waiting, use]))
            waiting, previous = [], use.node
    if waiting:
        groups.append(_Group(waiting[0].node, waiting))
    return groups
