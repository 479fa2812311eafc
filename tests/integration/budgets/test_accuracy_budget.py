"""Packaging within an accuracy budget: with a fixed scheme, and with the smallest that holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from tests.budget_kit import package, policy, record
from tests.models import expected, inputs, mlp
from tests.packaging import fragile, model_of, tensor, weight, write_model

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import QUANTIZATION
from hyperion.errors import BudgetError
from hyperion.ports import Host


class TestFixedScheme:
    def test_a_budget_that_holds_is_in_the_package_and_what_was_measured_is_not(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "m.hyperion"
        summary = package(host, folder, path, "int8", dataset=data, metric="top1", max_loss=0.05)

        loss = summary.measurements.loss
        assert loss is not None
        assert (loss.metric, loss.rows) == ("top1", 161)
        assert loss.low <= loss.loss <= loss.high
        with LocalPackages().open(path) as made:
            written = json.loads(made.read(QUANTIZATION))
        assert record(path).budget == summary.budget
        assert "loss" not in written

    def test_every_weight_has_its_bytes_and_its_error(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        summary = package(host, folder, tmp_path / "m.hyperion", "w4", dataset=data, metric="top1", max_loss=0.5)

        weights = {stored.tensor: stored for layer in summary.layers for stored in layer.weights}
        effects = {effect.tensor: effect for effect in summary.measurements.effects}
        assert weights.keys() == effects.keys() == {"fc1.weight", "fc2.weight"}
        for name, stored in weights.items():
            assert (stored.scheme, stored.bits) == ("w4", 4)
            assert stored.bytes_after < 0.2 * stored.bytes_before
            assert 10 < (stored.sqnr_db or 0) < 40
            assert 10 < (effects[name].sqnr_db or 0) < 40

    def test_a_convolution_is_compared_behind_the_normalization_that_went_into_it(
        self, host: Host, tmp_path: Path
    ) -> None:
        node = helper.make_node
        figures = {"scale": 2.0, "beta": 0.5, "mean": 0.1, "variance": 0.7}
        model = model_of(
            [
                node("Conv", ["image", "filters"], ["a"], "conv", pads=[1, 1, 1, 1]),
                node("BatchNormalization", ["a", *figures], ["b"], "norm"),
                node("GlobalAveragePool", ["b"], ["c"], "pool"),
                node("Flatten", ["c"], ["y"], "flatten"),
            ],
            [tensor("image", "n", 3, 8, 8)],
            [tensor("y", "n", 32)],
            [
                weight("filters", 32, 3, 3, 3),
                *(numpy_helper.from_array(np.full(32, value, np.float32), name) for name, value in figures.items()),
            ],
        )

        summary = package(host, write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        (effect,) = summary.measurements.effects
        assert (effect.tensor, effect.cosine > 0.99) == ("filters", True)

    def test_a_broken_budget_writes_nothing_and_names_what_costs_most(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(BudgetError, match=r"fc\d\.weight \(.*% of the output\)") as refusal:
            package(host, folder, tmp_path / "m.hyperion", "w4", dataset=data, metric="cosine", max_loss=1e-7)

        assert refusal.value.code == "quantize.budget"
        assert "--quantize auto" in (refusal.value.hint or "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model", "state"]

    def test_a_wide_interval_is_warned_of(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> None:
        summary = package(host, folder, tmp_path / "m.hyperion", "w8", dataset=data, metric="top1", max_loss=0.01)

        assert any("161 rows tell it to" in warning for warning in summary.warnings)


class TestAuto:
    def test_the_smallest_is_taken_where_it_holds(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> None:
        summary = package(host, folder, tmp_path / "m.hyperion", dataset=data, metric="top1", max_loss=0.2)

        assert summary.sample_rows == summary.measurements.sets.report  # type: ignore[union-attr]
        assert [w.scheme for layer in summary.layers for w in layer.weights] == ["w4", "w4"]
        assert [trial.what for trial in summary.measurements.trials] == ["w4 everywhere"]

    def test_what_costs_too_much_gets_more_bits_and_every_trial_is_told(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        budget: dict[str, Any] = {"dataset": data, "metric": "cosine", "max_loss": 1e-4}
        smallest = package(host, folder, tmp_path / "w4.hyperion", "w4", dataset=data, metric="cosine", max_loss=1.0)

        summary = package(host, folder, tmp_path / "m.hyperion", **budget)

        loss = summary.measurements.loss
        assert loss is not None
        assert loss.loss <= 1e-4 < (smallest.measurements.loss or loss).loss
        assert "w4 costs too much here" in [w.reason for layer in summary.layers for w in layer.weights]
        alone = [trial.what for trial in summary.measurements.trials if trial.what.endswith("alone")]
        assert "w4 in fc1.weight alone" in alone
        assert all(trial.latency_ms is not None for trial in summary.measurements.trials)

    def test_a_seed_gives_the_same_package(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> None:
        made = [
            package(
                host, folder, tmp_path / f"{n}.hyperion", dataset=data, metric="cosine", max_loss=1e-4, seed=seed
            ).digest
            for n, seed in enumerate([3, 3, 4])
        ]  # fmt: skip

        assert made[0] == made[1] != made[2]

    def test_a_budget_that_nothing_meets_leaves_the_model_in_float(self, host: Host, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "d", fragile())
        rows = np.random.default_rng(5).normal(size=(60, 64)).astype(np.float32)
        (tmp_path / "rows").mkdir()
        np.savez(tmp_path / "rows" / "a.npz", x=rows)

        summary = package(
            host, folder, tmp_path / "m.hyperion", dataset=tmp_path / "rows", metric="cosine", max_loss=0.0
        )

        assert (summary.scheme, summary.reason) == ("none", "nothing could be quantized")

    def test_what_holds_on_the_search_set_alone_is_refused_after_a_second_look(
        self, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        rows = inputs(600, 4)
        surest = expected(mlp(0, hidden=128), rows).max(axis=1).argsort()[-15:]
        for name, chosen in (("search", rows[surest] * np.float32(100)), ("report", rows[:60])):
            (tmp_path / name).mkdir()
            np.savez(tmp_path / name / "a.npz", x=chosen)
        policy(
            folder, budget={"metric": "cosine", "max_loss": 1e-6}, data={"search": "../search", "report": "../report"}
        )  # fmt: skip

        with pytest.raises(BudgetError, match="60 rows of the report set") as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert "more rows to search on" in (refusal.value.hint or "")
