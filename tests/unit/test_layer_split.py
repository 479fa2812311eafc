"""Splitting weights into layers by names and sizes alone."""

from __future__ import annotations

from hyperion.domain.layer import MINIMUM_LAYER_BYTES, WeightUse, split_layers

BIG = MINIMUM_LAYER_BYTES


def use(name: str, node: str = "", *, size: int = BIG, rank: int = 2) -> WeightUse:
    return WeightUse(name, name, node or name, rank, size)


def names_and_keys(uses: list[WeightUse]) -> list[tuple[str, tuple[str, ...]]]:
    return [(plan.name, plan.keys) for plan in split_layers(uses)]


def test_repeated_blocks_become_layers_with_what_stands_around_them() -> None:
    uses = [
        use("embeddings.word"),
        use("encoder.layer.0.query.weight"),
        use("encoder.layer.0.value.weight"),
        use("encoder.layer.1.query.weight"),
        use("classifier.weight"),
    ]

    assert names_and_keys(uses) == [
        ("before", ("embeddings.word",)),
        ("encoder.layer.0", ("encoder.layer.0.query.weight", "encoder.layer.0.value.weight")),
        ("encoder.layer.1", ("encoder.layer.1.query.weight",)),
        ("after", ("classifier.weight",)),
    ]


def test_node_names_count_where_exporters_rename_weights() -> None:
    uses = [
        use("onnx::MatMul_7", "/model/layers.0/q/MatMul"),
        use("onnx::MatMul_9", "/model/layers.1/q/MatMul"),
    ]

    assert [plan.name for plan in split_layers(uses)] == ["model.layers.0", "model.layers.1"]


def test_a_weight_without_scope_between_blocks_belongs_to_the_block_before_it() -> None:
    uses = [use("layer.0.a"), use("stray"), use("layer.1.a")]

    assert names_and_keys(uses) == [("layer.0", ("layer.0.a", "stray")), ("layer.1", ("layer.1.a",))]


def test_blocks_are_in_order_of_their_number_not_of_their_name() -> None:
    uses = [use(f"h.{number}.w") for number in (0, 2, 10)]

    assert [plan.name for plan in split_layers(uses)] == ["h.0", "h.2", "h.10"]


def test_of_nested_scopes_the_outer_one_counts() -> None:
    uses = [use(f"stage.{outer}.block.{inner}.w") for outer in (0, 1) for inner in (0, 1)]

    assert [plan.name for plan in split_layers(uses)] == ["stage.0", "stage.1"]


def test_without_repeated_scope_each_node_with_a_matrix_is_a_layer_with_its_bias() -> None:
    uses = [use("w1", "fc1"), use("b1", "fc1_add", rank=1, size=64), use("w2", "fc2"), use("b2", "fc2_add", rank=1)]

    assert names_and_keys(uses) == [("fc1", ("w1", "b1")), ("fc2", ("w2", "b2"))]


def test_a_number_at_the_end_of_a_name_is_no_scope() -> None:
    assert [plan.name for plan in split_layers([use("dense.0", "a"), use("dense.1", "b")])] == ["a", "b"]


def test_a_small_layer_joins_the_next_and_a_small_last_one_stays() -> None:
    uses = [use("w1", "fc1", size=BIG - 1), use("w2", "fc2"), use("w3", "fc3", size=8)]

    assert names_and_keys(uses) == [("fc2", ("w1", "w2")), ("fc3", ("w3",))]


def test_several_small_layers_join_until_they_are_large_enough() -> None:
    uses = [use(f"w{number}", f"n{number}", size=BIG // 2) for number in range(4)]

    assert [plan.keys for plan in split_layers(uses)] == [("w0", "w1"), ("w2", "w3")]


def test_a_model_without_weights_has_no_layers() -> None:
    assert split_layers([]) == ()


def test_vectors_alone_make_one_layer() -> None:
    assert names_and_keys([use("a", "n1", rank=1), use("b", "n2", rank=1)]) == [("n1", ("a", "b"))]
