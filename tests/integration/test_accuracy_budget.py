"""Packaging within an accuracy budget, and holding packages to it elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file
from tests.fakes.checks_host import checks_host
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_dataset, write_model_dir
from tests.packaging import fragile, model_of, pack, tensor, weight, write_model

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Outcome
from hyperion.domain.manifest import QUANTIZATION
from hyperion.domain.scheme import QuantizationRecord
from hyperion.errors import BudgetError, ConfigError
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host
from hyperion.usecases.extract import extract_model
from hyperion.usecases.package import PackageSummary, package_model
from hyperion.usecases.packaging import BudgetOptions, PackageOptions
from hyperion.usecases.quantize import report_quantization
from hyperion.usecases.verify import verify_model
from hyperion.verification.budget import BUDGET
from hyperion.verification.budget_sample import SAMPLE, SAMPLE_TENSORS, load_sample
from hyperion.verification.plan import check_plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_dir(tmp_path / "model", model=mlp(0, hidden=128), golden=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """400 rows, labelled as the float model of 64 hidden units answers; so another one is mostly wrong."""
    return write_dataset(tmp_path / "data", rows=400)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "state").mkdir()
    return checks_host(tmp_path / "state")


def package(host: Host, folder: Path, output: Path, quantize: str | None = None, **budget: Any) -> PackageSummary:
    return pack(folder, output, quantize, host=host, budget=BudgetOptions(**budget))  # type: ignore[arg-type]


def policy(folder: Path, **keys: Any) -> Path:
    (folder / "config").mkdir(exist_ok=True)
    (folder / QUANTIZATION).write_text(json.dumps(keys))
    return folder


def small_layers(folder: Path) -> Path:
    """Two convolutions; the first has less than 4 KiB and so lies in the second one's layer."""
    node = helper.make_node
    model = model_of(
        [
            node("Conv", ["image", "conv1.weight"], ["a"], "conv1"),
            node("Relu", ["a"], ["b"], "relu"),
            node("Conv", ["b", "conv2.weight"], ["c"], "conv2"),
            node("GlobalAveragePool", ["c"], ["d"], "pool"),
            node("Flatten", ["d"], ["y"], "flatten"),
        ],
        [tensor("image", "n", 3, 8, 8)],
        [tensor("y", "n", 32)],
        [weight("conv1.weight", 16, 3, 3, 3), weight("conv2.weight", 32, 16, 3, 3)],
    )
    return write_model(folder, model)


def record(path: Path) -> QuantizationRecord:
    with LocalPackages().open(path) as package:
        found = read_quantization(package)
    assert found is not None
    return found


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


class TestPolicy:
    def test_the_file_is_read_as_the_policy_and_the_package_has_the_record(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        policy(
            folder, scheme="int8", seed=9, budget={"metric": "top1", "max_loss": 0.1}, data={"folder": "../data"},
            overrides=[{"match": "fc2*", "scheme": "none"}],
        )  # fmt: skip

        package(host, folder, tmp_path / "m.hyperion")

        found = record(tmp_path / "m.hyperion")
        assert (found.requested, found.seed) == ("int8", 9)
        assert found.budget is not None
        kept = {item.tensor: item.reason for layer in found.layers for item in layer.kept}
        assert kept == {"fc2.weight": "stays in float by an override"}

    def test_options_go_before_the_file(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> None:
        policy(folder, scheme="w4", budget={"metric": "top1", "max_loss": 0.1}, data={"folder": "../data"})

        package(host, folder, tmp_path / "m.hyperion", "int8", max_loss=0.2)

        found = record(tmp_path / "m.hyperion")
        assert (found.requested, found.budget and found.budget.max_loss) == ("int8", 0.2)

    def test_an_override_may_not_break_the_budget_unseen(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        policy(folder, overrides=[{"match": "fc*", "scheme": "w4"}], data={"folder": "../data"})

        with pytest.raises(BudgetError, match="the loss of cosine"):
            package(host, folder, tmp_path / "m.hyperion", metric="cosine", max_loss=1e-7)

    def test_an_override_that_matches_nothing_is_refused(self, host: Host, folder: Path, tmp_path: Path) -> None:
        policy(folder, overrides=[{"match": "encoder*", "scheme": "none"}])

        with pytest.raises(ConfigError, match=r"'encoder\*' matches no layer") as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert "'fc1.weight'" in (refusal.value.hint or "")

    @pytest.mark.parametrize("swapped", [False, True], ids=["layer last", "layer first"])
    def test_a_pattern_of_the_weights_own_name_goes_before_one_of_its_layer(
        self, swapped: bool, host: Host, tmp_path: Path
    ) -> None:
        overrides = [{"match": "conv1*", "scheme": "none"}, {"match": "conv2*", "scheme": "int8"}]
        folder = policy(small_layers(tmp_path / "d"), overrides=overrides[::-1] if swapped else overrides)

        summary = package(host, folder, tmp_path / "m.hyperion", "int8")

        found = {stored.tensor: stored.scheme for layer in summary.layers for stored in layer.weights}
        kept = [item.tensor for layer in summary.layers for item in layer.kept]
        assert (found, kept) == ({"conv2.weight": "int8"}, ["conv1.weight"])

    def test_an_override_that_no_weight_follows_is_refused_with_what_they_follow_instead(
        self, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        policy(folder, overrides=[{"match": "fc2*", "scheme": "none"}, {"match": "*", "scheme": "int8"}])

        with pytest.raises(ConfigError) as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert refusal.value.code == "quantize.override"
        assert "no weight follows the override 'fc2*' → none: 'fc2.weight' follows '*' → int8" in refusal.value.message

    def test_a_weight_that_cannot_take_its_layers_scheme_is_named_with_layer_and_pattern(
        self, host: Host, tmp_path: Path
    ) -> None:
        folder = policy(small_layers(tmp_path / "d"), overrides=[{"match": "conv2", "scheme": "w4"}])

        with pytest.raises(ConfigError) as refusal:
            package(host, folder, tmp_path / "m.hyperion")

        assert (
            "the override 'conv2' asks for w4 in 'conv1.weight', which lies in layer 'conv2'" in refusal.value.message
        )
        assert "'conv1.weight'" in (refusal.value.hint or "")

    def test_the_weight_that_the_pattern_names_itself_is_named_first(self, host: Host, tmp_path: Path) -> None:
        folder = policy(small_layers(tmp_path / "d"), overrides=[{"match": "conv2*", "scheme": "w4"}])

        with pytest.raises(ConfigError, match=r"the override 'conv2\*' asks for w4 in 'conv2.weight', which"):
            package(host, folder, tmp_path / "m.hyperion")

    def test_sets_may_have_folders_of_their_own_and_share_no_row(
        self, host: Host, folder: Path, tmp_path: Path
    ) -> None:
        for name in ("search", "report"):
            write_dataset(tmp_path / name, rows=60, seed=2 if name == "search" else 3)
        with np.load(tmp_path / "search" / "part0.npz") as shared:
            np.savez(tmp_path / "report" / "part1.npz", x=shared["x"][:20], label=shared["label"][:20])
        policy(
            folder, budget={"metric": "top1", "max_loss": 0.5}, data={"search": "../search", "report": "../report"}
        )  # fmt: skip

        sets = package(host, folder, tmp_path / "m.hyperion").measurements.sets

        assert sets is not None
        assert (sets.search, sets.report, sets.left_out) == (40, 80, 20)

    def test_beside_an_extracted_package_its_policy_is_taken(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        first = package(host, folder, tmp_path / "a.hyperion", "int8", dataset=data, metric="top1", max_loss=0.1)
        extract_model(host, tmp_path / "a.hyperion", folder, CollectingReporter())

        again = package(host, folder, tmp_path / "b.hyperion", dataset=data)

        assert again.digest == first.digest


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


class TestElsewhere:
    @pytest.fixture
    def packaged(self, host: Host, folder: Path, data: Path, tmp_path: Path) -> Path:
        package(host, folder, tmp_path / "m.hyperion", "int8", dataset=data, metric="top1", max_loss=0.05)
        return tmp_path / "m.hyperion"

    def broken(self, host: Host, packaged: Path) -> Path:
        """The package with the weights of its last layer spoiled, as a processor that saturates spoils products."""
        tree = packaged.parent / "tree"
        extract_model(host, packaged, tree, CollectingReporter())
        file = max((tree / "weights").iterdir())
        tensors = load_file(file)
        save_file({name: np.zeros_like(value) for name, value in tensors.items()}, file)
        pack(tree, packaged.parent / "broken.hyperion", None, host=host, as_new=True)  # type: ignore[arg-type]
        return packaged.parent / "broken.hyperion"

    def test_the_package_carries_rows_of_the_report_set_with_the_float_models_answers(self, packaged: Path) -> None:
        with LocalPackages().open(packaged) as package:
            found = load_sample(package)
            sizes = [package.manifest.entries[name].size_bytes for name in (SAMPLE, SAMPLE_TENSORS)]

        assert found is not None
        sample, batches = found
        assert sample.whole
        assert sum(item.batch.rows for item in batches) == 161
        assert all(item.reference.classes is not None for item in batches)
        assert sum(sizes) < 8 * 1024**2

    def test_verify_model_holds_it_to_its_budget_here(self, host: Host, packaged: Path) -> None:
        report = verify_model(host, packaged, CollectingReporter())

        finding = next(finding for finding in report.findings if finding.check == BUDGET)
        assert finding.outcome is Outcome.PASSED
        assert isinstance(finding.measured, dict)
        assert finding.measured["cpu_features"] is not None
        assert report.ok

    def test_a_package_that_answers_worse_here_fails(self, host: Host, packaged: Path) -> None:
        report = verify_model(host, self.broken(host, packaged), CollectingReporter())

        assert [finding.check for finding in report.failures()] == [BUDGET]

    def test_data_that_may_not_leave_stay_out_and_elsewhere_the_check_is_skipped_with_that_reason(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "private.hyperion"
        summary = package(host, folder, path, "int8", dataset=data, metric="top1", max_loss=0.05, sample=False)

        with host.packages.open(path) as opened:
            names = opened.names()
            plan = check_plan(
                host, path, opened, DeploymentConfig.model_validate({"name": "shop"}), None, CollectingReporter()
            )

        assert not any(name.startswith("assets/budget/") for name in names)
        assert summary.sample_rows == 0
        found = [finding for finding in plan.findings if finding.check == BUDGET]
        assert [(finding.outcome, "--no-sample" in str(finding.reason)) for finding in found] == [
            (Outcome.SKIPPED, True)
        ]
        assert not plan.failures()

    def test_the_file_can_keep_the_sample_out_as_well(
        self, host: Host, folder: Path, data: Path, tmp_path: Path
    ) -> None:
        policy(folder, sample=False, budget={"metric": "top1", "max_loss": 0.05})

        summary = package(host, folder, tmp_path / "m.hyperion", "int8", dataset=data)

        assert summary.sample_rows == 0

    def test_the_deploy_plan_holds_it_to_its_budget(self, host: Host, packaged: Path) -> None:
        path = self.broken(host, packaged)
        config = DeploymentConfig.model_validate({"name": "shop"})
        with host.packages.open(path) as package:
            report = check_plan(host, path, package, config, None, CollectingReporter())

        assert BUDGET in {finding.check for finding in report.failures()}

    @pytest.mark.slow  # a child for each
    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (lambda sample: sample["batches"][0].update(rows=9, classes=["class0"] * 9), "the engine refused|answer"),
            (lambda sample: sample["batches"][0].update(classes=None), "lacks inputs or answers"),
            (lambda sample: sample["batches"].append(sample["batches"][0]), "lacks inputs or answers"),
            (lambda sample: sample.update(output="nothing"), "no output 'nothing'"),
            (lambda sample: sample["batches"][0]["classes"].__setitem__(0, 2**70), "beyond"),
            (lambda sample: sample.update(batches=[]), "no row of the sample"),
        ],
        ids=["rows", "answers", "batches", "output", "integer", "empty"],
    )
    def test_a_sample_that_lies_is_a_finding(self, edit: Any, reason: str, host: Host, packaged: Path) -> None:
        tree = packaged.parent / "tree"
        extract_model(host, packaged, tree, CollectingReporter())
        sample = json.loads((tree / SAMPLE).read_text())
        edit(sample)
        (tree / SAMPLE).write_text(json.dumps(sample))
        lying = packaged.parent / "lying.hyperion"
        pack(tree, lying, None, host=host, as_new=True)  # type: ignore[arg-type]

        report = verify_model(host, lying, CollectingReporter())

        (finding,) = report.failures()
        assert finding.check == BUDGET
        assert re.search(reason, f"{finding.summary}: {finding.reason}")

    def test_a_rescue_does_not_wait_for_it(self, host: Host, packaged: Path) -> None:
        config = DeploymentConfig.model_validate({"name": "shop"})
        with host.packages.open(packaged) as package:
            report = check_plan(host, packaged, package, config, None, CollectingReporter(), rescue=True)

        assert {f.check: f.outcome for f in report.findings}[BUDGET] is Outcome.SKIPPED

    def test_the_report_shows_it_all_again(self, host: Host, packaged: Path) -> None:
        found = report_quantization(host, packaged)

        assert found.quantization == record(packaged)
        assert found.measurements.loss is not None
        assert found.sample == "161 rows, all of the report set"

    def test_elsewhere_the_report_says_what_was_not_measured_there(
        self, host: Host, packaged: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        other = replace(host, reports=checks_host(tmp_path / "other").reports)

        found = report_quantization(other, packaged)

        assert found.measurements.unavailable == "not measured on this host"
