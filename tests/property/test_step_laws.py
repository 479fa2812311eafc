"""Laws of the version step, over any signature that a model can have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hyperion.domain.caller import CallerView, step_reasons
from hyperion.domain.step import covers, judge_step, next_version, required_step, step_taken
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.version import Step, Version

names = st.sampled_from("abcdef")
dimensions = st.one_of(st.integers(0, 3), st.sampled_from(["", "n", "m", "k"]))
shapes = st.one_of(st.none(), st.lists(dimensions, max_size=3).map(tuple))
dtypes = st.sampled_from(["float32", "int64", "string"])
inputs = st.builds(TensorSpec, name=names, dtype=dtypes, shape=shapes, optional=st.booleans())
outputs = st.builds(TensorSpec, name=names, dtype=dtypes, shape=shapes)
labels = st.one_of(st.none(), st.lists(st.sampled_from("uvwxyz"), max_size=4).map(tuple))
digests = st.sampled_from([None, "sha256:" + "1" * 64, "sha256:" + "2" * 64])


def several(specs: st.SearchStrategy[TensorSpec]) -> st.SearchStrategy[tuple[TensorSpec, ...]]:
    return st.lists(specs, max_size=4, unique_by=lambda spec: spec.name).map(tuple)


signatures = st.builds(Signature, inputs=several(inputs), outputs=several(outputs), labels=labels)
views = st.builds(CallerView, signatures, digests)
numbers = st.integers(0, 3)
versions = st.builds(
    lambda core, pre: Version.parse(".".join(map(str, core)) + pre),
    st.tuples(numbers, numbers, numbers),
    st.sampled_from(["", "-rc.1", "-rc.2"]),
)


def renamed(signature: Signature) -> Signature:
    """The same with other names for its dimensions."""

    def other(spec: TensorSpec) -> TensorSpec:
        if spec.shape is None:
            return spec
        return spec.model_copy(
            update={"shape": tuple(f"{size}'" if isinstance(size, str) and size else size for size in spec.shape)}
        )

    return signature.model_copy(
        update={"inputs": tuple(map(other, signature.inputs)), "outputs": tuple(map(other, signature.outputs))}
    )


def step(before: CallerView, after: CallerView) -> Step:
    return required_step(step_reasons(before, after))


@given(views)
def test_nothing_changed_asks_for_a_patch(view: CallerView) -> None:
    assert step_reasons(view, view) == ()
    assert step(view, view) is Step.PATCH


@given(views)
def test_other_names_of_dimensions_are_nothing(view: CallerView) -> None:
    assert step_reasons(view, CallerView(renamed(view.signature), view.processing)) == ()


@given(views)
def test_the_order_of_inputs_and_outputs_is_nothing(view: CallerView) -> None:
    turned = view.signature.model_copy(
        update={"inputs": view.signature.inputs[::-1], "outputs": view.signature.outputs[::-1]}
    )

    assert step_reasons(view, CallerView(turned, view.processing)) == ()


@given(views, st.data())
def test_what_is_removed_asks_for_a_major_step(view: CallerView, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["inputs", "outputs"]))
    specs = getattr(view.signature, kind)
    if not specs:
        return
    gone = data.draw(st.sampled_from(specs))
    less = view.signature.model_copy(update={kind: tuple(spec for spec in specs if spec != gone)})

    reasons = step_reasons(view, CallerView(less, view.processing))

    assert required_step(reasons) is Step.MAJOR
    assert f"{kind}.{gone.name}" in [reason.field for reason in reasons]


@given(views, outputs)
def test_a_new_output_asks_for_a_minor_step(view: CallerView, added: TensorSpec) -> None:
    new = added.model_copy(update={"name": "new"})
    more = view.signature.model_copy(update={"outputs": (*view.signature.outputs, new)})

    assert step(view, CallerView(more, view.processing)) is Step.MINOR


@given(views, inputs)
def test_a_new_input_asks_for_a_step_by_whether_it_must_be_sent(view: CallerView, added: TensorSpec) -> None:
    new = added.model_copy(update={"name": "new"})
    more = view.signature.model_copy(update={"inputs": (*view.signature.inputs, new)})

    wanted = Step.MINOR if new.optional else Step.MAJOR
    assert step(view, CallerView(more, view.processing)) is wanted


def widened(signature: Signature, size: int, name: str) -> Signature:
    """The same where every dimension of this size is a free one of this name."""

    def wide(spec: TensorSpec) -> TensorSpec:
        shape = None if spec.shape is None else tuple(name if found == size else found for found in spec.shape)
        return spec.model_copy(update={"shape": shape})

    specs = {kind: tuple(map(wide, getattr(signature, kind))) for kind in ("inputs", "outputs")}
    return signature.model_copy(update=specs)


@given(views, st.integers(0, 3))
def test_a_size_that_becomes_free_everywhere_breaks_nothing_just_where_callers_always_give_it(
    view: CallerView, size: int
) -> None:
    wide = CallerView(widened(view.signature, size, "free"), view.processing)
    gives = any(size in (spec.shape or ()) for spec in view.signature.required)
    counted = any(size in (spec.shape or ()) for spec in view.signature.outputs)
    taken = any(size in (spec.shape or ()) for spec in view.signature.inputs)

    wanted = Step.MAJOR if counted and not gives else Step.MINOR if counted or taken else Step.PATCH
    assert step(view, wide) is wanted


@given(views, views)
def test_what_breaks_nothing_is_taken_back_only_with_a_major_step(a: CallerView, b: CallerView) -> None:
    """Who gained something loses it on the way back, and no change is free in both directions but a patch."""
    if step(a, b) is Step.MINOR:
        assert step(b, a) is not Step.PATCH


@given(views, views)
def test_every_reason_asks_for_more_than_a_patch_and_the_verdict_for_the_heaviest(a: CallerView, b: CallerView) -> None:
    verdict = judge_step(a, "1.0.0", b, "1.0.1")

    assert all(reason.step is not Step.PATCH for reason in verdict.reasons)
    assert verdict.honest is (not verdict.reasons)
    assert bool(verdict.decisive) is bool(verdict.reasons)


@given(versions, versions)
def test_a_step_is_taken_just_where_a_version_comes_after(a: Version, b: Version) -> None:
    assert (step_taken(a, b) is not None) == a.precedes(b)


@given(versions, versions, versions)
def test_a_long_way_is_no_smaller_than_its_parts(a: Version, b: Version, c: Version) -> None:
    """Otherwise two small steps would carry further than the versions at their ends say."""
    if a.precedes(b) and b.precedes(c):
        parts = step_taken(a, b), step_taken(b, c)
        assert all(covers(step_taken(a, c), part) for part in parts if part is not None)


@given(versions, st.sampled_from(Step))
def test_the_next_version_always_covers(version: Version, required: Step) -> None:
    after = next_version(version, required)

    assert covers(step_taken(version, after), required)
