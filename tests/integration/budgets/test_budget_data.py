"""Data that an accuracy budget cannot be measured on, and budgets that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.budget_kit import package
from tests.fakes.reporter import CollectingReporter
from tests.models import inputs, write_dataset

from hyperion.errors import ConfigError
from hyperion.ports import Host
from hyperion.usecases.package import package_model
from hyperion.usecases.packaging import BudgetOptions, PackageOptions


class TestBadData:
    def refused(self, host: Host, folder: Path, data: Path, **budget: Any) -> ConfigError:
        with pytest.raises(ConfigError) as refusal:
            package(host, folder, folder.parent / "m.hyperion", dataset=data, **{"max_loss": 0.1, **budget})
        assert not (folder.parent / "m.hyperion").exists()
        return refusal.value

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.full((30, 32), np.nan, np.float32), "part0.npz: array 'x', row 0, element [0]: NaN"),
            (np.full((30, 32), np.inf, np.float32), "part0.npz: array 'x', row 0, element [0]: infinity"),
            (np.zeros((30, 31), np.float32), "part0.npz: array 'x': expected size 32"),
            (np.zeros((30, 32), np.int64), "part0.npz: array 'x': expected dtype float32, found int64"),
            (np.zeros((0, 32), np.float32), "part0.npz: holds no rows"),
        ],
        ids=["nan", "infinity", "shape", "dtype", "empty"],
    )
    def test_what_the_model_does_not_take_is_named_with_file_and_row(
        self, rows: np.ndarray, message: str, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "rows").mkdir()
        np.savez(tmp_path / "rows" / "part0.npz", x=rows)

        error = self.refused(host, folder, tmp_path / "rows")

        assert message in error.message
        assert error.code == "dataset.invalid"

    def test_too_few_rows_are_refused_with_their_number(self, host: Host, folder: Path, tmp_path: Path) -> None:
        error = self.refused(host, folder, write_dataset(tmp_path / "few", rows=12))

        assert error.code == "quantize.too_little_data"
        assert "of the 12 that there are" in error.message

    def test_equal_rows_are_one_row(self, host: Host, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "rows").mkdir()
        np.savez(tmp_path / "rows" / "part0.npz", x=np.repeat(inputs(1), 100, axis=0))

        assert self.refused(host, folder, tmp_path / "rows").code == "quantize.too_little_data"

    def test_repeated_rows_are_told_with_their_number(self, host: Host, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "rows").mkdir()
        rows = inputs(100)
        np.savez(tmp_path / "rows" / "part0.npz", x=np.concatenate([rows, rows[:60], rows[:20]]))
        reporter = CollectingReporter()

        package_model(
            host,
            PackageOptions(
                folder, tmp_path / "m.hyperion", "int8", budget=BudgetOptions(dataset=tmp_path / "rows", max_loss=0.5)
            ),
            reporter,
        )

        assert any(warning.startswith("80 of 180 rows are repeated") for warning in reporter.warnings)

    def test_rows_of_which_none_is_repeated_are_not_warned_of(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        reporter = CollectingReporter()

        package_model(
            host,
            PackageOptions(
                folder, tmp_path / "m.hyperion", "int8", budget=BudgetOptions(dataset=data, metric="top1", max_loss=0.5)
            ),
            reporter,
        )

        assert not [warning for warning in reporter.warnings if "repeated" in warning]

    def test_accuracy_needs_labels(self, host: Host, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "rows").mkdir()
        np.savez(tmp_path / "rows" / "part0.npz", x=inputs(100))

        assert self.refused(host, folder, tmp_path / "rows", metric="accuracy").code == "quantize.no_labels"

    def test_static_int8_needs_rows_to_calibrate_on(self, folder: Path, host: Host, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as refusal:
            package(host, folder, tmp_path / "m.hyperion", "static-int8")

        assert refusal.value.code == "quantize.no_calibration"

    def test_a_budget_needs_a_limit(self, host: Host, folder: Path, data: Path) -> None:
        assert self.refused(host, folder, data, metric="top1", max_loss=None).code == "quantize.no_limit"

    def test_a_budget_that_contradicts_itself_is_refused_in_words_of_its_own(
        self, host: Host, folder: Path, data: Path
    ) -> None:
        error = self.refused(host, folder, data, metric="cosine", max_class_loss=0.1)

        assert error.code == "quantize.budget_invalid"
        assert error.message.startswith("the budget is wrong: max_class_loss needs a metric by classes")

    @pytest.mark.parametrize(
        ("given", "named"),
        [({"max_loss": float("nan")}, "--max-loss"), ({"max_loss": 0.1, "max_class_loss": 2.0}, "--max-class-loss")],
    )
    def test_a_value_that_is_none_is_refused_by_the_name_of_its_option(
        self, given: dict[str, float], named: str, host: Host, folder: Path, data: Path
    ) -> None:
        error = self.refused(host, folder, data, **given)

        assert error.message.startswith(f"{named}: ")
        assert str(given[named[2:].replace("-", "_")]) in error.message
