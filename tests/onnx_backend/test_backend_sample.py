"""A sample of ONNX's own cases in every run; `make onnx-backend` tries them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.onnx_backend.cases import BackendCase, converted_cases, node_cases
from tests.onnx_backend.trial import difference, try_case

NODE_CASES = {
    "ai_onnx_ml.label_encoder": ["test_ai_onnx_ml_label_encoder_string_int"],
    "ai_onnx_ml.tree_ensemble": ["test_ai_onnx_ml_tree_ensemble_single_tree"],
    "castlike": ["test_castlike_FLOAT_to_FLOAT16", "test_castlike_FLOAT_to_DOUBLE_expanded"],
    "constant": ["test_constant"],
    "constantofshape": ["test_constantofshape_int_shape_zero"],
    "dft": ["test_dft_axis_opset19"],
    "dropout": ["test_dropout_default_mask_ratio"],
    "einsum": ["test_einsum_batch_diagonal"],
    "gemm": ["test_gemm_default_scalar_bias", "test_gemm_all_attributes"],
    "identity": ["test_identity"],
    "if_": ["test_if"],
    "isinf": ["test_isinf_float16"],
    "loop": ["test_loop11"],
    "lstm": ["test_lstm_with_peepholes"],
    "matmulinteger": ["test_matmulinteger"],
    "maxpool": ["test_maxpool_with_argmax_2d_precomputed_pads"],
    "mod": ["test_mod_uint64", "test_mod_mixed_sign_float16"],
    "nonzero": ["test_nonzero_example"],
    "qlinearmatmul": ["test_qlinearmatmul_2D_int8_float32"],
    "reducesum": ["test_reduce_sum_empty_set", "test_reduce_sum_empty_axes_input_noop"],
    "reshape": ["test_reshape_allowzero_reordered"],
    "scan": ["test_scan9_multi_state"],
    "shape": ["test_shape_end_negative_1"],
    "slice": ["test_slice_start_out_of_bounds"],
    "split": ["test_split_zero_size_splits_opset18"],
    "string_concat": ["test_string_concat_utf8", "test_string_concat_zero_dimensional"],
    "string_split": ["test_string_split_empty_tensor"],
    "stringnormalizer": ["test_strnormalizer_nostopwords_nochangecase"],
    "tfidfvectorizer": ["test_tfidfvectorizer_tf_only_bigrams_skip0"],
    "topk": ["test_top_k_smallest"],
    "unique": ["test_unique_sorted_without_axis"],
    "where": ["test_where_long_example"],
}
"""By the module that makes them: every type, no rows, no dimensions, inner graphs, outputs left out."""

CONVERTED_CASES = [
    "test_Conv2d_groups",
    "test_ConvTranspose2d",
    "test_Embedding",
    "test_Linear_no_bias",
    "test_ReflectionPad2d",
]


@pytest.mark.parametrize("module", NODE_CASES)
def test_operators_answer_the_same_through_a_package(module: str, tmp_path: Path) -> None:
    wanted = NODE_CASES[module]
    found = {case.name: case for case in node_cases(module) if case.name in wanted}

    trials = {name: try_case(found[name], folder(tmp_path, name)) for name in wanted}

    assert {name: trial for name, trial in trials.items() if trial.outcome != "equal"} == {}


def test_whole_models_answer_the_same_through_a_package(tmp_path: Path) -> None:
    cases = [case for case in converted_cases("pytorch-converted") if case.name in CONVERTED_CASES]

    trials = [try_case(case, folder(tmp_path, case.name)) for case in cases]

    assert [trial.outcome for trial in trials] == ["equal"] * len(CONVERTED_CASES)


def test_a_case_that_the_engine_refuses_is_not_counted(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    case = BackendCase("node", "unknown", helper.make_model(graph), ({"x": np.zeros(1, np.float32)},))

    trial = try_case(case, tmp_path)

    assert trial.outcome == "not counted"
    assert trial.reason.startswith("ONNX Runtime does not load it")


@pytest.mark.parametrize(
    "found",
    [
        {"y": np.array([1.0, np.nan, 0.0])},
        {"y": np.array([1.0, np.nan, -0.0], np.float32).reshape(3, 1)},
        {"y": np.array([1.0, np.nan, 0.0], np.float32)},
        {"y": np.array([1.0, 1.0, -0.0], np.float32)},
        {"z": np.array([1.0, np.nan, -0.0], np.float32)},
    ],
    ids=["dtype", "shape", "sign of zero", "NaN", "name"],
)
def test_every_difference_is_seen(found: dict[str, np.ndarray]) -> None:
    wanted = {"y": np.array([1.0, np.nan, -0.0], np.float32)}

    assert difference(wanted, wanted) is None
    assert difference(wanted, found) is not None


def folder(place: Path, name: str) -> Path:
    made = place / name
    made.mkdir()
    return made
