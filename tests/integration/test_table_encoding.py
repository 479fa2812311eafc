"""Rows of a table to tensors: scaling, categories, missing cells, and refusals by row and column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors import spec, table, table_processor

from hyperion.adapters.processing.route import make_processor
from hyperion.domain.raw_input import RawTexts
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError


class TestTables:
    def test_cells_are_scaled_and_put_in_the_documents_order(self) -> None:
        feeds = table_processor().encode(table(income=[1500, None], colour=["blue", "red"], age=["65", 40.0])).feeds

        assert feeds["row"].dtype == np.float32
        assert feeds["row"].tolist() == [[2.0, 2.0, 1.5], [0.0, 0.0, 2.5]]

    def test_a_column_with_a_stand_in_may_be_left_out(self) -> None:
        feeds = table_processor().encode(table(age=[40], colour=["red"])).feeds

        assert feeds["row"].tolist() == [[0.0, 0.0, 2.5]]

    def test_a_column_may_have_an_input_of_its_own(self) -> None:
        signature = Signature(
            inputs=(spec("age", "int64", "batch"), spec("city", "string", "batch", 1)),
            outputs=(spec("y", "float32", "batch"),),
        )
        columns = [{"name": "age", "input": "age"}, {"name": "city", "kind": "category", "input": "city"}]
        document = {"input": {"kind": "table", "columns": columns}, "output": {"kind": "vector", "output": "y"}}
        processor = make_processor(json.dumps(document).encode(), "p", signature, {})

        feeds = processor.encode(table(age=[3, 4], city=["Bonn", "Köln"])).feeds

        assert (feeds["age"].tolist(), feeds["city"].tolist()) == ([3, 4], [["Bonn"], ["Köln"]])

    @pytest.mark.parametrize(
        ("columns", "fault"),
        [
            ({"age": [float("nan")], "colour": ["red"]}, "row 100, column 'age': is empty or NaN"),
            ({"age": ["  "], "colour": ["red"]}, "row 100, column 'age': is empty or NaN"),
            ({"age": [float("inf")], "colour": ["red"]}, "row 100, column 'age': expected a finite number"),
            ({"age": ["12 years"], "colour": ["red"]}, "row 100, column 'age': expected a number, found text"),
            ({"age": [True], "colour": ["red"]}, "row 100, column 'age': expected a number, found a boolean"),
            ({"age": [[1]], "colour": ["red"]}, "row 100, column 'age': expected a number, found list"),
            ({"age": [10**400], "colour": ["red"]}, "row 100, column 'age': is out of range"),
            ({"age": [1e300], "colour": ["red"]}, "row 100, column 'age': is out of range of float32"),
            ({"age": [1, 2], "colour": ["red", "pink"]}, "row 101, column 'colour': is none of the 3 categories"),
            ({"age": [1], "colour": [1.5]}, "row 100, column 'colour': expected text, found float"),
            ({"colour": ["red"]}, "the column 'age' is missing"),
        ],
    )
    def test_faulty_cells_are_refused_by_row_and_column(self, columns: dict[str, list[Any]], fault: str) -> None:
        with pytest.raises(ConfigError) as refusal:
            table_processor().encode(table(**columns))

        assert fault in refusal.value.message

    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as refusal:
            table_processor().encode(table(age=["x", "y"], colour=["pink", "red"], income=["?", 1]))

        assert len(refusal.value.problems) == 4

    def test_a_model_that_deals_with_missing_values_gets_nan(self) -> None:
        processor = table_processor(columns=[{"name": "n", "missing": "nan"}])

        assert np.isnan(processor.encode(table(n=[None, ""])).feeds["row"]).all()

    def test_a_listed_category_that_the_model_takes_as_text_must_be_known(self) -> None:
        signature = Signature(inputs=(spec("city", "string", "batch", 1),), outputs=(spec("y", "float32", "batch"),))
        column = {"name": "city", "kind": "category", "categories": ["Bonn"], "input": "city"}
        document = {"input": {"kind": "table", "columns": [column]}, "output": {"kind": "vector", "output": "y"}}
        processor = make_processor(json.dumps(document).encode(), "p", signature, {})

        assert processor.encode(table(city=["Bonn"])).feeds["city"].tolist() == [["Bonn"]]
        with pytest.raises(ConfigError, match="is none of the 1 categories"):
            processor.encode(table(city=["Köln"]))

    def test_whole_numbers_stay_whole(self) -> None:
        processor = table_processor("int64", [{"name": "n"}])

        assert processor.encode(table(n=["7"])).feeds["row"].tolist() == [[7]]
        with pytest.raises(ConfigError, match="expected a whole number that int64 holds"):
            processor.encode(table(n=[7.5]))

    def test_texts_are_no_rows(self) -> None:
        with pytest.raises(ConfigError, match="takes rows of a table, not texts"):
            table_processor().encode(RawTexts(["a"]))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
    def test_numbers_are_those_of_numpy_rounded_once(self, ages: list[float]) -> None:
        found = _TABLE.encode(table(age=ages, colour=["red"] * len(ages))).feeds["row"][:, 0]

        assert found.tolist() == ((np.array(ages) - 40.0) / 12.5).astype(np.float32).tolist()


_TABLE = table_processor()
