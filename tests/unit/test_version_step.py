"""The step that a change asks for, and the step that two numbers take."""

from __future__ import annotations

import pytest
from tests.packages import SIGNATURE, manifest

from hyperion.domain.caller import CallerView, StepReason, step_reasons
from hyperion.domain.manifest import Entry, Parent
from hyperion.domain.step import covers, judge_step, next_version, required_step, step_taken
from hyperion.domain.tensor import Dimension, DType, Signature, TensorSpec
from hyperion.domain.version import Step, Version

MAJOR, MINOR, PATCH = Step.MAJOR, Step.MINOR, Step.PATCH
DIGEST, OTHER_DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
Shape = tuple[Dimension, ...] | None


def spec(name: str, shape: Shape = ("batch", 4), dtype: DType = "float32", optional: bool = False) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, optional=optional)


def view(
    *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), labels: tuple[str, ...] | None = None
) -> CallerView:
    return CallerView(Signature(inputs=inputs, outputs=outputs, labels=labels))


def outputs(*specs: TensorSpec, labels: tuple[str, ...] | None = None) -> CallerView:
    return view(spec("x"), outputs=specs, labels=labels)


def felt(before: CallerView, after: CallerView) -> list[tuple[Step, str]]:
    return [(reason.step, reason.field) for reason in step_reasons(before, after)]


def test_the_same_view_asks_for_no_more_than_a_patch() -> None:
    same = outputs(spec("y"), labels=("a", "b"))

    assert felt(same, same) == []
    assert required_step(()) is PATCH


class TestNames:
    def test_what_is_removed_breaks(self) -> None:
        assert felt(view(spec("x"), spec("z", (3,))), view(spec("x"))) == [(MAJOR, "inputs.z")]
        assert felt(outputs(spec("y")), outputs()) == [(MAJOR, "outputs.y")]

    @pytest.mark.parametrize("name", ["inputs", "outputs"])
    def test_one_of_the_same_form_for_another_is_called_a_rename(self, name: str) -> None:
        make = view if name == "inputs" else outputs

        (reason,) = step_reasons(make(spec("a")), make(spec("b", ("rows", 4))))

        assert (reason.step, str(reason)) == (MAJOR, f"{name}.a: renamed a → b")

    def test_one_without_a_shape_may_be_renamed_too(self) -> None:
        (reason,) = step_reasons(view(spec("a", None)), view(spec("b", None)))

        assert reason.text == "renamed a → b"

    def test_one_of_another_form_is_a_removal_and_an_addition(self) -> None:
        found = felt(view(spec("a")), view(spec("b", ("batch", 5))))

        assert found == [(MAJOR, "inputs.a"), (MAJOR, "inputs.b")]

    def test_two_removed_for_one_added_are_one_rename(self) -> None:
        reasons = step_reasons(outputs(spec("a"), spec("b")), outputs(spec("c")))

        assert [reason.text.split(" ")[0:2] for reason in reasons] == [["renamed", "a"], ["was", "removed;"]]

    def test_what_is_added_breaks_only_where_it_must_be_sent(self) -> None:
        assert felt(view(spec("x")), view(spec("x"), spec("z", (3,)))) == [(MAJOR, "inputs.z")]
        assert felt(view(spec("x")), view(spec("x"), spec("z", (3,), optional=True))) == [(MINOR, "inputs.z")]
        assert felt(outputs(), outputs(spec("y"))) == [(MINOR, "outputs.y")]

    def test_what_is_added_is_told_once(self) -> None:
        after = view(spec("x"), spec("z", (3,)), spec("o", optional=True), outputs=(spec("y", ("rows",), "int64"),))

        assert {str(reason) for reason in step_reasons(view(spec("x")), after)} == {
            "inputs.z: was added, required: float32[3]",
            "inputs.o: was added, optional: float32[batch, 4]",
            "outputs.y: was added: int64[rows]",
        }

    def test_the_order_does_not_count(self) -> None:
        assert felt(view(spec("x"), spec("z")), view(spec("z"), spec("x"))) == []

    def test_required_and_optional(self) -> None:
        required, optional = view(spec("x")), view(spec("x", optional=True))

        assert felt(required, optional) == [(MINOR, "inputs.x")]
        assert felt(optional, required) == [(MAJOR, "inputs.x")]


class TestForms:
    def test_another_element_type_breaks_in_both_directions(self) -> None:
        assert felt(view(spec("x")), view(spec("x", dtype="float64"))) == [(MAJOR, "inputs.x")]
        assert felt(outputs(spec("y")), outputs(spec("y", dtype="float16"))) == [(MAJOR, "outputs.y")]

    @pytest.mark.parametrize(
        ("old", "new", "of_input", "of_output"),
        [
            ((1, 4), (1, 4), None, None),
            ((1, 4), (1, 5), MAJOR, MAJOR),
            ((1, 4), (1, 4, 1), MAJOR, MAJOR),
            (("n", 4), (1, 4), MAJOR, MAJOR),
            (("", 4), (1, 4), MAJOR, MINOR),
            ((1, 4), ("n", 4), MINOR, MAJOR),
            ((1, 4), ("", 4), MINOR, MAJOR),
            ((1, 4), ("n", 5), MAJOR, MAJOR),
            (("", 4), (2, 5), MAJOR, MAJOR),
            (("n", 4), ("m", 4), None, None),
            (("n", 4), ("", 4), None, None),
            (("", 4), ("n", 4), None, None),
            (None, (1, 4), MAJOR, MINOR),
            ((1, 4), None, MINOR, MAJOR),
            (None, None, None, None),
            ((), (), None, None),
        ],
    )
    def test_shapes(self, old: Shape, new: Shape, of_input: Step | None, of_output: Step | None) -> None:
        found_in = felt(view(spec("x", old)), view(spec("x", new)))
        found_out = felt(view(outputs=(spec("y", old),)), view(outputs=(spec("y", new),)))

        assert found_in == ([] if of_input is None else [(of_input, "inputs.x")])
        assert found_out == ([] if of_output is None else [(of_output, "outputs.y")])


class TestSharedDimensions:
    def pair(self, x: Dimension, z: Dimension, *ys: Dimension) -> CallerView:
        named = tuple(spec(f"y{index}", (y,)) for index, y in enumerate(ys))
        return view(spec("x", (x,)), spec("z", (z,)), outputs=named)

    @pytest.mark.parametrize("before", [("n", "m"), ("", ""), ("n", ""), (4, "m")])
    def test_inputs_that_newly_share_one_break(self, before: tuple[Dimension, Dimension]) -> None:
        found = felt(self.pair(*before), self.pair("k", "k"))

        assert (MAJOR, "inputs.x") in found

    def test_inputs_of_one_fixed_size_may_share_a_name(self) -> None:
        assert felt(self.pair(4, 4), self.pair("k", "k")) == [(MINOR, "inputs.x"), (MINOR, "inputs.z")]

    @pytest.mark.parametrize("after", [("n", "m"), ("n", ""), ("", "")])
    def test_inputs_that_no_longer_share_one_gain(self, after: tuple[Dimension, Dimension]) -> None:
        assert felt(self.pair("n", "n"), self.pair(*after)) == [(MINOR, "inputs.x")]

    def test_a_name_for_both_is_only_a_name(self) -> None:
        assert felt(self.pair("n", "n", "n"), self.pair("k", "k", "k")) == []

    @pytest.mark.parametrize("y", ["m", ""])
    def test_an_output_that_no_longer_has_the_size_of_its_input_breaks(self, y: str) -> None:
        assert felt(self.pair("n", 3, "n"), self.pair("n", 3, y)) == [(MAJOR, "outputs.y0")]

    def test_outputs_that_no_longer_have_one_size_break(self) -> None:
        found = felt(self.pair(3, 3, "n", "n"), self.pair(3, 3, "n", "m"))

        assert found == [(MAJOR, "outputs.y0"), (MAJOR, "outputs.y1")]

    def test_an_output_keeps_its_size_where_old_callers_send_inputs_of_one_size(self) -> None:
        """y follows x alone now, and z may differ: callers so far send both alike, and get what they got."""
        assert felt(self.pair("n", "n", "n"), self.pair("n", "m", "n")) == [(MINOR, "inputs.x")]

    def test_many_that_share_one_are_named_in_short(self) -> None:
        names = [f"x{index}" for index in range(8)]
        before = view(*(spec(name, (name,)) for name in names))
        after = view(*(spec(name, ("n",)) for name in names))

        (reason,) = step_reasons(before, after)

        assert "and 4 more" in reason.text

    def test_what_changes_its_rank_or_loses_its_shape_shares_nothing(self) -> None:
        before = view(spec("x", ("n",)), outputs=(spec("y", ("n",)),))

        assert felt(before, view(spec("x", None), outputs=(spec("y", ("m",)),))) == [(MINOR, "inputs.x")]


class TestWiderTogether:
    """An output that was fixed and is named now, where callers so far send the size that it had."""

    def test_a_batch_that_is_free_in_input_and_output_gains(self) -> None:
        before = view(spec("x", (1, 4)), outputs=(spec("y", (1, 3)),))
        after = view(spec("x", ("batch", 4)), outputs=(spec("y", ("batch", 3)),))

        assert felt(before, after) == [(MINOR, "inputs.x"), (MINOR, "outputs.y")]

    def test_every_place_that_an_input_gives_is_ensured(self) -> None:
        before = view(spec("x", (1, 4)), spec("z", (7,)), outputs=(spec("y", (7, 4, 1)),))
        after = view(
            spec("x", ("batch", "time")), spec("z", ("rows",)), outputs=(spec("y", ("rows", "time", "batch")),)
        )

        assert (MINOR, "outputs.y") in felt(before, after)

    @pytest.mark.parametrize(
        ("old", "new", "old_y", "new_y"),
        [
            ((1, 4), ("batch", 4), (1, 3), ("rows", 3)),
            ((1, 4), ("batch", 4), (1, 3), ("", 3)),
            ((1, 4), ("", 4), (1, 3), ("", 3)),
            ((2, 4), ("batch", 4), (1, 3), ("batch", 3)),
            (("n", 4), ("batch", 4), (1, 3), ("batch", 3)),
            ((1, 4), ("batch", 4), (1, 3), ("batch", 5)),
            ((1, 4), ("batch", 5), (1, 4), ("batch", 5)),
            ((4,), ("batch", 4), (4, 3), ("batch", 3)),
            (None, ("batch", 4), (1, 3), ("batch", 3)),
            ((1, 4), None, (1, 3), ("batch", 3)),
        ],
    )
    def test_what_no_input_gives_breaks(self, old: Shape, new: Shape, old_y: Shape, new_y: Shape) -> None:
        before = view(spec("x", old), outputs=(spec("y", old_y),))
        after = view(spec("x", new), outputs=(spec("y", new_y),))

        assert (MAJOR, "outputs.y") in felt(before, after)

    @pytest.mark.parametrize(("was_optional", "is_optional", "step"), [(True, True, MAJOR), (False, True, MINOR)])
    def test_only_what_was_always_sent_ensures_it(self, was_optional: bool, is_optional: bool, step: Step) -> None:
        before = view(spec("x", (1, 4), optional=was_optional), outputs=(spec("y", (1, 3)),))
        after = view(spec("x", ("batch", 4), optional=is_optional), outputs=(spec("y", ("batch", 3)),))

        assert (step, "outputs.y") in felt(before, after)

    def test_labels_at_the_end_may_come_with_it(self) -> None:
        before = view(spec("x", (1, 4)), outputs=(spec("p", (1, 2)),), labels=("a", "b"))
        after = view(spec("x", ("batch", 4)), outputs=(spec("p", ("batch", 3)),), labels=("a", "b", "c"))

        assert felt(before, after) == [(MINOR, "inputs.x"), (MINOR, "outputs.p"), (MINOR, "labels")]


class TestLabels:
    def scores(self, size: int, *labels: str) -> CallerView:
        named = tuple(labels) or None
        return outputs(spec("p", ("batch", size)), spec("other", ("batch", 2), "int64"), labels=named)

    def test_labels_at_the_end_gain_and_take_a_score_each_with_them(self) -> None:
        assert felt(self.scores(2, "a", "b"), self.scores(3, "a", "b", "c")) == [(MINOR, "labels")]

    def test_scores_that_grow_by_another_count_break(self) -> None:
        found = felt(self.scores(2, "a", "b"), self.scores(4, "a", "b", "c"))

        assert found == [(MAJOR, "outputs.p"), (MINOR, "labels")]

    def test_scores_that_grow_without_labels_break(self) -> None:
        assert felt(self.scores(2), self.scores(3)) == [(MAJOR, "outputs.p")]

    def test_scores_of_another_type_break_all_the_same(self) -> None:
        before = outputs(spec("p", ("batch", 2)), labels=("a", "b"))
        after = outputs(spec("p", ("batch", 3), "float64"), labels=("a", "b", "c"))

        assert (MAJOR, "outputs.p") in felt(before, after)

    def test_an_output_without_a_shape_is_not_taken_for_scores(self) -> None:
        before, after = (outputs(spec("p", None), labels=labels) for labels in (("a",), ("a", "b")))

        assert felt(before, after) == [(MINOR, "labels")]

    @pytest.mark.parametrize(
        ("before", "after", "step", "text"),
        [
            (None, ("a", "b"), MINOR, "name 2 classes now"),
            (("a", "b"), None, MAJOR, "were removed"),
            (("a", "b"), ("b", "a"), MAJOR, "were reordered: a, b moved"),
            (("a", "b"), ("a",), MAJOR, "lost b"),
            (("a", "b"), ("a", "c"), MAJOR, "changed: b → c"),
            (("a", "b"), ("c", "a", "b"), MAJOR, "moved: a, b; new: c"),
            (("b", "a", "c"), ("a", "b", "c", "d"), MAJOR, "moved: b, a; new: d"),
            (("a", "b"), ("a", "c", "b", "d"), MAJOR, "moved: b; new: c, d"),
            (("a", "a"), ("a",), MAJOR, "lost a"),
            ((), ("a",), MINOR, "have 1 more at the end: a"),
        ],
    )
    def test_labels(self, before: tuple[str, ...] | None, after: tuple[str, ...] | None, step: Step, text: str) -> None:
        (reason,) = step_reasons(outputs(labels=before), outputs(labels=after))

        assert reason == StepReason(step=step, field="labels", text=text)


@pytest.mark.parametrize("pair", [(None, DIGEST), (DIGEST, None), (DIGEST, OTHER_DIGEST)])
def test_processing_that_changes_breaks(pair: tuple[str | None, str | None]) -> None:
    before, after = (CallerView(view(spec("x")).signature, processing) for processing in pair)

    assert felt(before, after) == [(MAJOR, "config/processing.json")]


def test_a_parents_record_gives_the_same_view_as_its_package() -> None:
    known = CallerView(view(spec("x")).signature, DIGEST)

    assert (
        CallerView.of(Parent(digest=OTHER_DIGEST, version="1.0.0", signature=known.signature, processing=DIGEST))
        == known
    )


def test_a_package_gives_its_signature_and_the_digest_of_its_processing() -> None:
    entry = Entry(digest=DIGEST, size_bytes=2)

    assert CallerView.of(manifest({})) == CallerView(SIGNATURE)
    assert CallerView.of(manifest({"config/processing.json": entry})) == CallerView(SIGNATURE, DIGEST)


def test_the_heaviest_reason_stands_first() -> None:
    before = view(spec("x"), spec("z", (3,)))
    after = view(spec("x", optional=True), outputs=(spec("y"),))

    assert [reason.step for reason in step_reasons(before, after)] == [MAJOR, MINOR, MINOR]


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ("1.4.0", "2.0.0", MAJOR),
        ("1.4.2", "1.5.0", MINOR),
        ("1.4.0", "1.4.1", PATCH),
        ("1.4.0", "3.1.4", MAJOR),
        ("1.4.0", "2.0.0-rc.1", MAJOR),
        ("1.4.0", "1.5.0-rc.1", MINOR),
        ("2.0.0-rc.1", "2.0.0-rc.2", MAJOR),
        ("2.0.0-rc.1", "2.0.0", MAJOR),
        ("1.5.0-rc.1", "1.5.0", MINOR),
        ("1.5.1-rc.1", "1.5.1", PATCH),
        ("1.5.0-rc.1", "1.5.1", MINOR),
        ("2.0.0-rc.1", "2.0.1", MAJOR),
        ("0.1.4", "0.2.0", MAJOR),
        ("0.1.4", "0.1.5", MINOR),
        ("0.0.1", "0.0.2", MINOR),
        ("0.9.0", "1.0.0", MAJOR),
        ("0.2.0-rc.1", "0.2.0", MAJOR),
        ("1.0.0", "1.0.0", None),
        ("1.0.0", "1.0.0+build.2", None),
        ("1.0.0", "1.0.0-rc.1", None),
        ("2.0.0", "1.9.9", None),
    ],
)
def test_the_step_between_two_numbers(before: str, after: str, taken: Step | None) -> None:
    assert step_taken(Version.parse(before), Version.parse(after)) is taken


@pytest.mark.parametrize(
    ("before", "required", "after"),
    [
        ("1.4.0", PATCH, "1.4.1"),
        ("1.4.0", MINOR, "1.5.0"),
        ("1.4.0", MAJOR, "2.0.0"),
        ("0.1.4", MINOR, "0.1.5"),
        ("0.1.4", MAJOR, "0.2.0"),
        ("2.0.0-rc.1", MAJOR, "2.0.0"),
        ("1.5.1-rc.1", MINOR, "1.6.0"),
    ],
)
def test_the_lowest_honest_version(before: str, required: Step, after: str) -> None:
    assert str(next_version(Version.parse(before), required)) == after


def test_no_step_covers_nothing() -> None:
    assert not covers(None, PATCH)
    assert covers(MAJOR, MINOR)
    assert not covers(MINOR, MAJOR)


@pytest.mark.parametrize(
    ("before", "after", "honest", "sentence"),
    [
        ("1.0.0", "1.1.0", False, "1.0.0 → 1.1.0 is a minor step; major is needed"),
        ("1.0.0", "2.0.0", True, "1.0.0 → 2.0.0 is a major step; major is enough"),
        ("1.0.0", "1.0.0", False, "1.0.0 → 1.0.0 is no step, yet the packages differ; major is needed"),
        ("1.0.0", "0.9.0", None, "1.0.0 → 0.9.0 goes back; what callers feel is major"),
    ],
)
def test_a_verdict_in_one_sentence(before: str, after: str, honest: bool | None, sentence: str) -> None:
    verdict = judge_step(view(spec("x")), before, view(spec("x", ("batch", 5))), after)

    assert (verdict.honest, verdict.sentence) == (honest, sentence)
    assert verdict.decisive == verdict.reasons
