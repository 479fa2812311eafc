from __future__ import annotations

from hyperion.domain.tensor import Signature, TensorSpec, free_dimensions

IMAGE = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 28, 28))
SCORES = TensorSpec(name="scores", dtype="float32", shape=("batch", 10))
LABEL = TensorSpec(name="label", dtype="int64", shape=("batch",))


def test_a_fitting_tensor_has_no_mismatch() -> None:
    assert IMAGE.mismatch("float32", [7, 1, 28, 28]) is None


def test_a_mismatch_says_what_was_expected_and_what_was_found() -> None:
    assert IMAGE.mismatch("float64", [7, 1, 28, 28]) == "expected dtype float32, found float64"
    assert "expected 4 dimensions" in (IMAGE.mismatch("float32", [28, 28]) or "")
    assert "expected size 28 in dimension 3" in (IMAGE.mismatch("float32", [7, 1, 28, 27]) or "")


def test_without_a_declared_shape_only_the_dtype_counts() -> None:
    loose = TensorSpec(name="any", dtype="int64", shape=None)

    assert loose.mismatch("int64", [1, 2, 3]) is None
    assert loose.describe() == "int64[?]"


def test_class_scores_are_found_behind_a_label_output() -> None:
    signature = Signature(inputs=(IMAGE,), outputs=(LABEL, SCORES), labels=tuple("0123456789"))

    assert signature.class_output() == SCORES


def test_an_output_of_another_length_than_the_labels_holds_no_class_scores() -> None:
    signature = Signature(inputs=(IMAGE,), outputs=(SCORES,), labels=("cat", "dog"))

    assert signature.class_output() is None


def test_named_dimensions_get_the_given_sizes_and_one_otherwise() -> None:
    text = TensorSpec(name="ids", dtype="int64", shape=("batch", "seq"))
    signature = Signature(inputs=(text,), outputs=())

    assert free_dimensions(signature, {"seq": 64}) == {"batch": 1, "seq": 64}
