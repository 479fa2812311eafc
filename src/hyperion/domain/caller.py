"""What callers feel of a change, and the step that each thing of it asks for.

SemVer 2.0.0 asks for MAJOR where callers must change, MINOR where they gain something, PATCH otherwise. Callers feel
the signature and what happens to raw inputs, not weights, scheme, configs or metadata. An input and an output point
in opposite directions: of an input a caller must keep to what is taken, on an output it counts.

======================================  =====  ====================================================================
What changed                            Step   Why
======================================  =====  ====================================================================
input or output removed, renamed        MAJOR  its name is in requests and answers
element type                            MAJOR  in both directions
number of dimensions, a fixed size      MAJOR  in both directions
input: free or undeclared → fixed       MAJOR  sizes that were taken are refused
input: fixed → free or undeclared       MINOR  more is taken
output: fixed → free or undeclared      MAJOR  callers counted on the size
output: fixed → named by an input       MINOR  requests so far give that size still (see below)
output: named → fixed                   MAJOR  the size told something: rows that were sent, things that were found
output: unnamed or undeclared → fixed   MINOR  nothing was promised; now something is
dimensions renamed                      -      a name is only a name, but the same name twice means the same size
inputs newly share a dimension          MAJOR  sizes that could differ no longer can
inputs no longer share a dimension      MINOR  sizes may differ now
output no longer shares one             MAJOR  callers counted on it, unless what they sent so far ensures it still
new required input, optional → required MAJOR  requests without it are refused
new optional input, required → optional MINOR  requests go on as they are
new output                              MINOR  what was there before is there still
labels reordered, removed, renamed      MAJOR  an index or a name means something else
labels at the end, labels at all        MINOR  with them a score for each, if the outputs had one a label
processing of raw inputs                MAJOR  the same input means something else
anything else                           PATCH
======================================  =====  ====================================================================

The order of inputs and of outputs does not count: they are addressed by name.

An output's size n that is a named dimension now is ensured to those who call so far, where a required input was fixed
at the same n in a dimension that bears this name now: ``x [1, 4]`` and ``y [1, 3]`` that become ``x [batch, 4]`` and
``y [batch, 3]`` answer one row to one row still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hyperion.domain.document import Digest, Document
from hyperion.domain.manifest import PROCESSING, Manifest, Parent
from hyperion.domain.tensor import Dimension, Signature, TensorSpec
from hyperion.domain.version import Step

WEIGHT = {Step.PATCH: 0, Step.MINOR: 1, Step.MAJOR: 2}
"""Which of two steps tells more."""
_NAMED = 3
"""So many labels a reason names; the others it counts."""

_Shape = tuple[Dimension, ...] | None
_Axis = tuple[str, int]
"""A dimension of an input or output: its field and position."""


class StepReason(Document):
    """One thing that callers feel."""

    step: Step
    """What it alone asks for."""
    field: str
    """``inputs.NAME``, ``outputs.NAME``, ``labels`` or ``config/processing.json``."""
    text: str
    """What changed of it."""

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class CallerView:
    """What callers see of a model.

    Attributes:
        signature: Inputs, outputs and labels.
        processing: Digest of config/processing.json, None where there is none.
    """

    signature: Signature
    processing: Digest | None = None

    @classmethod
    def of(cls, known: Manifest | Parent) -> CallerView:
        """The view of a package, or of the parent that a package recorded."""
        if isinstance(known, Parent):
            return cls(known.signature, known.processing)
        entry = known.entries.get(PROCESSING)
        return cls(known.signature, None if entry is None else entry.digest)


def step_reasons(before: CallerView, after: CallerView) -> tuple[StepReason, ...]:
    """Everything that callers of ``before`` feel when they get ``after``: the heaviest first."""
    found = [
        *_input_reasons(before.signature, after.signature),
        *_output_reasons(before.signature, after.signature),
        *_sharing_reasons(before.signature, after.signature),
        *_label_reasons(before.signature.labels, after.signature.labels),
        *_processing_reasons(before.processing, after.processing),
    ]
    return tuple(sorted(found, key=lambda reason: -WEIGHT[reason.step]))


def _input_reasons(before: Signature, after: Signature) -> Iterator[StepReason]:
    yield from _name_reasons("inputs", before.inputs, after.inputs)
    for old, new in _kept(before.inputs, after.inputs):
        field = f"inputs.{old.name}"
        yield from _form_reasons(field, old, new, _input_shape_step(old.shape, new.shape))
        if old.optional != new.optional:
            step, text = (Step.MINOR, "became optional") if new.optional else (Step.MAJOR, "became required")
            yield StepReason(step=step, field=field, text=text)


def _output_reasons(before: Signature, after: Signature) -> Iterator[StepReason]:
    yield from _name_reasons("outputs", before.outputs, after.outputs)
    given = _sizes_that_are_given(before.inputs, after.inputs)
    for old, new in _kept(before.outputs, after.outputs):
        shape = _shape_with_labels(old, before.labels, new, after.labels)
        yield from _form_reasons(f"outputs.{old.name}", old, new, _output_shape_step(shape, new.shape, given))


def _name_reasons(kind: str, before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> Iterator[StepReason]:
    """What was removed, added, and what was likely renamed: one of the same type and form for another."""
    before_names, after_names = {spec.name for spec in before}, {spec.name for spec in after}
    added = [spec for spec in after if spec.name not in before_names]
    for spec in before:
        if spec.name in after_names:
            continue
        renamed = next((other for other in added if _form(other) == _form(spec)), None)
        text = f"was removed; it was {spec.describe()}"
        if renamed is not None:
            added.remove(renamed)
            text = f"renamed {spec.name} → {renamed.name}"
        yield StepReason(step=Step.MAJOR, field=f"{kind}.{spec.name}", text=text)
    for spec in added:
        is_required = kind == "inputs" and not spec.optional
        manner = ", required" if is_required else ", optional" if spec.optional else ""
        text = f"was added{manner}: {spec.describe()}"
        yield StepReason(step=Step.MAJOR if is_required else Step.MINOR, field=f"{kind}.{spec.name}", text=text)


def _kept(before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> Iterator[tuple[TensorSpec, TensorSpec]]:
    """Every tensor that is there before and after, in the order of before."""
    by_name = {spec.name: spec for spec in after}
    return ((spec, by_name[spec.name]) for spec in before if spec.name in by_name)


def _form(spec: TensorSpec) -> tuple[str, tuple[int | None, ...] | None]:
    """Type and shape without the names of dimensions."""
    if spec.shape is None:
        return spec.dtype, None
    return spec.dtype, tuple(size if isinstance(size, int) else None for size in spec.shape)


def _form_reasons(field: str, old: TensorSpec, new: TensorSpec, shape_step: Step | None) -> Iterator[StepReason]:
    """A changed element type or shape, or both, as one reason."""
    step = Step.MAJOR if old.dtype != new.dtype else shape_step
    if step is not None:
        yield StepReason(step=step, field=field, text=f"is {new.describe()}, was {old.describe()}")


def _input_shape_step(old: _Shape, new: _Shape) -> Step | None:
    if old is None or new is None:
        return None if old == new else Step.MINOR if new is None else Step.MAJOR
    if len(old) != len(new):
        return Step.MAJOR
    changed = [(was, now) for was, now in zip(old, new, strict=True) if isinstance(now, int) or isinstance(was, int)]
    steps = [Step.MAJOR if isinstance(now, int) else Step.MINOR for was, now in changed if was != now]
    return max(steps, key=WEIGHT.__getitem__, default=None)


def _output_shape_step(old: _Shape, new: _Shape, given: frozenset[tuple[Dimension, Dimension]]) -> Step | None:
    """``given``: sizes and their names now that requests of before always give."""
    if old is None or new is None:
        return None if old == new else Step.MAJOR if new is None else Step.MINOR
    if len(old) != len(new):
        return Step.MAJOR
    changed = [(was, now) for was, now in zip(old, new, strict=True) if isinstance(now, int) or isinstance(was, int)]
    steps = [Step.MINOR if was == "" or (was, now) in given else Step.MAJOR for was, now in changed if was != now]
    return max(steps, key=WEIGHT.__getitem__, default=None)


def _sizes_that_are_given(
    before: Sequence[TensorSpec], after: Sequence[TensorSpec]
) -> frozenset[tuple[Dimension, Dimension]]:
    """Each fixed size of an input that had to be sent, with the name that its place bears now."""
    shapes = [(old.shape or (), new.shape or ()) for old, new in _kept(before, after) if not old.optional]
    places = [place for old, new in shapes if len(old) == len(new) for place in zip(old, new, strict=True)]
    return frozenset((was, now) for was, now in places if isinstance(was, int) and isinstance(now, str) and now)


def _shape_with_labels(
    old: TensorSpec, old_labels: Sequence[str] | None, new: TensorSpec, new_labels: Sequence[str] | None
) -> _Shape:
    """The shape of an output before; with the scores that came with labels at the end, which tell of them."""
    if old_labels is None or new_labels is None or not _begins(new_labels, old_labels):
        return old.shape
    if not old.shape or not new.shape or not old.dtype.startswith(("float", "bfloat")):
        return old.shape
    has_score_for_each = (old.shape[-1], new.shape[-1]) == (len(old_labels), len(new_labels))
    return (*old.shape[:-1], len(new_labels)) if has_score_for_each else old.shape


def _sharing_reasons(before: Signature, after: Signature) -> Iterator[StepReason]:
    """What follows from dimensions that bear one name, and so have one size."""
    old, new = _axes_that_are_free(before, after)
    inputs = [axis for axis in old if axis[0].startswith("inputs.")]
    for name, axes in _sharing(new, inputs).items():
        if joined := _apart(old, axes):
            text = f"must have the same size {name!r} as {_listed(axis[0] for axis in joined)} now"
            yield StepReason(step=Step.MAJOR, field=axes[0][0], text=text)
    for name, axes in _sharing(old, inputs).items():
        if isinstance(name, str) and (parted := _apart(new, axes)):
            text = f"need not have the same size {name!r} as {_listed(axis[0] for axis in parted)} any more"
            yield StepReason(step=Step.MINOR, field=axes[0][0], text=text)
    ensured = _ensured_sizes(old, new, inputs)
    for name, axes in _sharing(old, old).items():
        for axis in axes:
            lost = [other for other in axes if ensured[other] != ensured[axis]]
            if lost and axis not in inputs and isinstance(name, str):
                text = f"need not have the same size {name!r} as {_listed(other[0] for other in lost)} any more"
                yield StepReason(step=Step.MAJOR, field=axis[0], text=text)


def _axes_that_are_free(before: Signature, after: Signature) -> tuple[dict[_Axis, Dimension], dict[_Axis, Dimension]]:
    """What every dimension of what was kept was, and its name, where it is free now."""
    kept = [("inputs", *pair) for pair in _kept(before.inputs, after.inputs)]
    kept += [("outputs", *pair) for pair in _kept(before.outputs, after.outputs)]
    was: dict[_Axis, Dimension] = {}
    now: dict[_Axis, Dimension] = {}
    for kind, old, new in kept:
        if old.shape is None or new.shape is None or len(old.shape) != len(new.shape):
            continue
        for index, name in enumerate(new.shape):
            if isinstance(name, str):
                was[f"{kind}.{old.name}", index], now[f"{kind}.{old.name}", index] = old.shape[index], name
    return was, now


def _sharing(sizes: Mapping[_Axis, Dimension], axes: Iterable[_Axis]) -> dict[Dimension, list[_Axis]]:
    """Which of ``axes`` bear each name or have each fixed size; those without a name share nothing."""
    found: dict[Dimension, list[_Axis]] = {}
    for axis in axes:
        if sizes[axis] != "":
            found.setdefault(sizes[axis], []).append(axis)
    return found


def _apart(sizes: Mapping[_Axis, Dimension], axes: Sequence[_Axis]) -> list[_Axis]:
    """Those of ``axes`` that need not have the size of the first one."""
    return [axis for axis in axes[1:] if sizes[axis] == "" or sizes[axis] != sizes[axes[0]]]


def _ensured_sizes(
    old: Mapping[_Axis, Dimension], new: Mapping[_Axis, Dimension], inputs: Iterable[_Axis]
) -> dict[_Axis, _Axis]:
    """For each dimension one that stands for all of its size, in the requests that callers of old send to new."""
    known = {axis: axis for axis in new}
    for group in [*_sharing(new, new).values(), *_sharing(old, inputs).values()]:
        for axis in group:
            gone, kept = known[axis], known[group[0]]
            known |= {other: kept for other, found in known.items() if found == gone}
    return known


def _label_reasons(before: Sequence[str] | None, after: Sequence[str] | None) -> Iterator[StepReason]:
    if before == after:
        return
    if after is None:
        step, text = Step.MAJOR, "were removed"
    elif before is None:
        step, text = Step.MINOR, f"name {len(after)} classes now"
    elif _begins(after, before):
        step, text = Step.MINOR, f"have {len(after) - len(before)} more at the end: {_listed(after[len(before) :])}"
    elif sorted(before) == sorted(after):
        moved = [label for label, other in zip(before, after, strict=True) if label != other]
        step, text = Step.MAJOR, f"were reordered: {_listed(moved)} moved"
    elif len(before) == len(after):
        changed = [f"{label} → {other}" for label, other in zip(before, after, strict=True) if label != other]
        step, text = Step.MAJOR, f"changed: {_listed(changed)}"
    elif gone := Counter(before) - Counter(after):
        step, text = Step.MAJOR, f"lost {_listed(gone)}"
    else:
        moved = [label for label, other in zip(before, after, strict=False) if label != other]
        step, text = Step.MAJOR, f"moved: {_listed(moved)}; new: {_listed(Counter(after) - Counter(before))}"
    yield StepReason(step=step, field="labels", text=text)


def _begins(labels: Sequence[str], start: Sequence[str]) -> bool:
    """Whether labels were only added, at the end."""
    return len(labels) > len(start) and list(labels[: len(start)]) == list(start)


def _listed(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    found = list(dict.fromkeys(names))
    rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + rest


def _processing_reasons(before: Digest | None, after: Digest | None) -> Iterator[StepReason]:
    if before != after:
        what = "was added" if before is None else "was removed" if after is None else "changed"
        text = f"{what}: the same raw input means something else"
        yield StepReason(step=Step.MAJOR, field=PROCESSING, text=text)
