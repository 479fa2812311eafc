"""Dataset folders: what is read, in which slices, and how every fault is named."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hyperion.adapters.dataset.reading import LocalDatasets
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError, NotFoundError
from hyperion.ports import Dataset

OUT = TensorSpec(name="y", dtype="float32", shape=("batch", 3))


def spec(name: str = "x", dtype: str = "float32", shape: tuple[int | str, ...] | None = ("batch", 2)) -> TensorSpec:
    return TensorSpec.model_validate({"name": name, "dtype": dtype, "shape": shape})


def signature(*inputs: TensorSpec, labels: tuple[str, ...] | None = None) -> Signature:
    return Signature(inputs=inputs or (spec(),), outputs=(OUT,), labels=labels)


def opened(folder: Path, *inputs: TensorSpec, labels: tuple[str, ...] | None = None) -> Dataset:
    return LocalDatasets().open(folder, signature(*inputs, labels=labels))


def rows(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + 2 * count, dtype=np.float32).reshape(count, 2)


def read_all(folder: Path, *inputs: TensorSpec) -> None:
    for _ in opened(folder, *inputs).batches(2):
        pass


def fault(folder: Path, *inputs: TensorSpec, read: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        (read_all if read else opened)(folder, *inputs)
    assert caught.value.code == "dataset.invalid"
    return caught.value.message


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_rows_come_in_order_in_slices_that_do_not_span_files(self, tmp_path: Path, save: object) -> None:
        assert callable(save)
        save(tmp_path / "a.npz", x=rows(5), label=np.array([0, 1, 2, 0, 1]))
        save(tmp_path / "b.npz", x=rows(2, 100), label=np.array([2, 2]))

        dataset = opened(tmp_path)
        batches = list(dataset.batches(2))

        assert (dataset.rows, dataset.has_labels) == (7, True)
        assert [(b.source, b.first_row, b.rows) for b in batches] == [
            ("a.npz", 0, 2), ("a.npz", 2, 2), ("a.npz", 4, 1), ("b.npz", 0, 2),
        ]  # fmt: skip
        np.testing.assert_array_equal(np.concatenate([b.feeds["x"] for b in batches[:3]]), rows(5))
        np.testing.assert_array_equal(batches[2].labels, [1])

    def test_arrays_in_fortran_order_and_in_other_byte_order_are_the_same_rows(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.asfortranarray(rows(3)))
        np.savez(tmp_path / "b.npz", x=rows(3).astype(">f4"))

        batches = list(opened(tmp_path).batches(2))

        assert [b.feeds["x"].dtype.str for b in batches] == ["<f4"] * 4
        np.testing.assert_array_equal(np.concatenate([b.feeds["x"] for b in batches]), np.vstack([rows(3), rows(3)]))

    def test_text_inputs_and_text_labels_are_read_without_pickle(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=np.array([["ä", "b"]]), label=np.array(["cat"]))

        batch = next(opened(tmp_path, spec(dtype="string")).batches(8))

        assert batch.feeds["x"].tolist() == [["ä", "b"]]
        assert batch.labels is not None
        assert batch.labels.tolist() == ["cat"]

    def test_a_model_with_a_fixed_batch_gets_full_batches_and_only_real_rows_count(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=rows(5), label=np.arange(5) % 3)

        batches = list(opened(tmp_path, spec(shape=(4, 2))).batches(32))

        assert [b.feeds["x"].shape for b in batches] == [(4, 2), (4, 2)]
        assert [b.rows for b in batches] == [4, 1]
        assert batches[1].labels is not None
        assert len(batches[1].labels) == 1

    def test_an_input_without_dimensions_is_the_same_in_every_batch(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=rows(3), rate=np.array(16000, dtype=np.int64))

        batches = list(opened(tmp_path, spec(), spec("rate", "int64", ())).batches(2))

        assert [b.feeds["rate"].tolist() for b in batches] == [16000, 16000]

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"x": rows(2).astype(np.int64)}, "array 'x': expected dtype float32, found int64"),
            ({"x": np.zeros((2, 3), np.float32)}, "expected size 2 in dimension 1"),
            ({"x": np.zeros(2, np.float32)}, "expected 2 dimensions"),
            ({"label": np.zeros(2, np.int64)}, "array 'x' is missing"),
            ({"x": rows(2), "labels": np.zeros(2)}, "array 'labels' is no input of the model and not 'label'"),
            ({"x": rows(2), "label": np.zeros(3, np.int64)}, "arrays differ in their number of rows"),
            ({"x": rows(2), "label": np.zeros(2)}, "array 'label': expected integers or text, found float64"),
            ({"x": rows(2), "label": np.zeros((2, 2), int)}, "array 'label': expected shape [rows]"),
            ({"x": rows(0)}, "holds no rows"),
        ],
    )
    def test_an_array_that_does_not_fit_is_named(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], said: str
    ) -> None:
        np.savez(tmp_path / "part.npz", **arrays)

        found = fault(tmp_path)

        assert "part.npz" in found
        assert said in found

    def test_python_objects_are_refused_unread(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "part.npz", x=np.array([{"a": 1}], dtype=object))

        assert "holds Python objects" in fault(tmp_path)

    @pytest.mark.parametrize(
        ("value", "said"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")], ids=["nan", "inf", "-inf"]
    )
    def test_what_is_no_finite_number_is_named_with_its_row(self, tmp_path: Path, value: float, said: str) -> None:
        x = rows(5)
        x[3, 1] = value
        np.savez(tmp_path / "part.npz", x=x)

        assert f"part.npz: array 'x', row 3, element [1]: {said}" in fault(tmp_path, read=True)

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_float64_as_numpy_makes_it_is_read_in_the_width_of_the_model(self, tmp_path: Path, dtype: str) -> None:
        np.savez(tmp_path / "part.npz", x=np.array([[0.1, 2.0]]))

        found = next(opened(tmp_path, spec(dtype=dtype)).batches(1)).feeds["x"]

        np.testing.assert_array_equal(found, np.array([[0.1, 2.0]], dtype))
        assert found.dtype == dtype

    def test_a_float64_out_of_range_of_the_model_is_named_with_its_row(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "part.npz", x=np.array([[1.0, 2.0], [3.0, 1e300]]))

        assert "part.npz: array 'x', row 1, element [1]: expected float32, found 1e+300" in fault(tmp_path, read=True)

    def test_files_that_are_no_npz_or_lie_about_their_size_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.npz").write_bytes(b"no zip")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1_000_000, 2)})
        with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
            archive.writestr("x.npy", header.getvalue() + b"1234")

        found = fault(tmp_path)

        assert "a.npz: is no readable NPZ file" in found
        assert "b.npz: is no readable NPZ file: x.npy has another size than its header says" in found

    def test_files_that_disagree_about_labels_are_named(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x=rows(1), label=np.array([1]))
        np.savez(tmp_path / "b.npz", x=rows(1))

        assert "b.npz: 'label' is absent, but in a.npz it is integer" in fault(tmp_path)


class TestCsv:
    def test_feature_columns_go_to_the_inputs_in_order_and_the_label_stands_anywhere(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("\ufeffu,label,v,n\n1,0,2.5,7\n\n3,1,4.5,8\n5,2,6.5,9\n")

        dataset = opened(tmp_path, spec(), spec("count", "int64", ("batch", 1)))
        batches = list(dataset.batches(2))

        assert dataset.rows == 3
        np.testing.assert_array_equal(batches[0].feeds["x"], np.array([[1, 2.5], [3, 4.5]], np.float32))
        np.testing.assert_array_equal(batches[1].feeds["count"], np.array([[9]]))
        assert batches[0].feeds["count"].dtype == np.int64
        assert batches[0].labels is not None
        assert batches[0].labels.tolist() == [0, 1]

    def test_columns_fill_the_shape_of_an_image(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("a,b,c,d\n1,2,3,4\n")

        batch = next(opened(tmp_path, spec(shape=("batch", 1, 2, 2))).batches(1))

        assert batch.feeds["x"].tolist() == [[[[1, 2], [3, 4]]]]
        assert batch.labels is None

    def test_labels_that_are_names_of_the_model_stay_names_even_if_they_are_digits(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("a,b,label\n1,2,2\n1,2,3\n")

        named = next(opened(tmp_path, labels=("1", "2", "3")).batches(2)).labels
        counted = next(opened(tmp_path).batches(2)).labels

        assert named is not None
        assert counted is not None
        assert (named.tolist(), counted.tolist()) == (["2", "3"], [2, 3])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a,b\n1,2\n3,x\n", "row 1, column 'b': expected float32, found 'x'"),
            ("a,b\n1,2\n3,\n", "row 1, column 'b': empty, expected float32"),
            ("a,b\n1,nan\n", "row 0, column 'b': NaN"),
            ("a,b\n1,2\n-inf,2\n", "row 1, column 'a': infinity"),
            ("a,b\n1,1e400\n", "row 0, column 'b': infinity"),
            ("a,b\n1,1e300\n", "row 0, column 'b': expected float32, found '1e300'"),
            ("a,b,label\n1,2,\n", "row 0, column 'label': empty"),
            ("a,b\n1,2\n3\n", "line 3: expected 2 columns, found 1"),
            ("a,b,c\n1,2,3\n", "expected 2 feature columns ('x' float32[batch, 2] takes 2), found 3"),
            ("1,2\n3,4\n", "its first line must name the columns"),
            ("a,b\n", "holds no rows"),
            ("", "its first line must name the columns"),
            ('a,b\n"1,2\n', "line 2:"),
        ],
    )
    def test_a_faulty_line_is_named_with_row_and_column(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "part.csv").write_text(text)

        found = fault(tmp_path, read=True)

        assert "part.csv" in found
        assert said in found

    @pytest.mark.parametrize(
        ("dtype", "cell"), [("int64", "1.5"), ("uint8", "256"), ("uint8", "-1"), ("bool", "maybe"), ("int8", "1e2")]
    )
    def test_numbers_outside_their_type_are_faults(self, tmp_path: Path, dtype: str, cell: str) -> None:
        (tmp_path / "part.csv").write_text(f"a,b\n1,1\n1,{cell}\n")

        assert f"row 1, column 'b': expected {dtype}, found '{cell}'" in fault(tmp_path, spec(dtype=dtype), read=True)

    def test_text_that_is_not_utf_8_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "part.csv").write_bytes("a,b\nä,ö\n".encode("latin-1"))

        assert "part.csv: is not UTF-8 text" in fault(tmp_path, spec(dtype="string"))

    def test_columns_named_like_the_inputs_but_in_another_order_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "part.csv").write_text("v,u\n1,2\n")
        inputs = (spec("u", shape=("batch", 1)), spec("v", shape=("batch", 1)))

        assert "columns must be in the order of the inputs" in fault(tmp_path, *inputs)

    def test_dimensions_that_columns_cannot_fix_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "part.csv").write_text("a,b\n1,2\n")

        assert "has free dimensions" in fault(tmp_path, spec(shape=("batch", "h", "w")))


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(NotFoundError) as caught:
            opened(path)
        assert caught.value.code == "dataset.not_found"


def test_a_folder_without_data_says_what_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello")

    with pytest.raises(ConfigError, match="neither") as caught:
        opened(tmp_path)

    assert "'x' float32[batch, 2]" in str(caught.value.hint)


def test_all_faulty_files_are_named_at_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=rows(1))
    (tmp_path / "b.csv").write_text("a\n1\n")

    with pytest.raises(ConfigError, match=r"a\.npz") as caught:
        opened(tmp_path)

    assert {problem.path for problem in caught.value.problems} == {"a.npz", "b.csv"}
