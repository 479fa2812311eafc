"""Holding a package to its accuracy budget on another host, where its data are not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.budget_kit import package, policy, record
from tests.fakes.checks_host import checks_host
from tests.fakes.reporter import CollectingReporter
from tests.packaging import pack

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.finding import Outcome
from hyperion.ports import Host
from hyperion.usecases.extract import extract_model
from hyperion.usecases.quantize import report_quantization
from hyperion.usecases.verify import verify_model
from hyperion.verification.budget import BUDGET
from hyperion.verification.budget_sample import SAMPLE, SAMPLE_TENSORS, load_sample
from hyperion.verification.plan import check_plan


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
