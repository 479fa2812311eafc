"""What packaging measured: shown where this host measured it, and nowhere else."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.fakes.checks_host import checks_host, packaged
from tests.fakes.reporter import CollectingReporter
from tests.models import inputs, mlp, write_model_dir
from tests.packaging import pack

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.cli.render_package import show_overview
from hyperion.domain.finding import Finding, Report
from hyperion.domain.tuning import Curve, CurvePoint
from hyperion.domain.version import Step
from hyperion.ports import Host
from hyperion.serving.proof import prove
from hyperion.usecases.inspect import PackageOverview, inspect_package
from hyperion.usecases.package import PackageOptions, package_model
from hyperion.usecases.tune import keep_tuning
from hyperion.usecases.verify import verify_model
from hyperion.usecases.version import update_version


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


def elsewhere(tmp_path: Path) -> Host:
    (tmp_path / "other").mkdir()
    return checks_host(tmp_path / "other")


def verified(host: Host, path: Path) -> Report:
    return verify_model(host, path, CollectingReporter())


def finding(report: Report, check: str) -> Finding:
    return next(finding for finding in report.findings if finding.check == check)


class TestMeasurements:
    def test_the_host_that_measured_shows_them(self, host: Host, tmp_path: Path) -> None:
        path = packaged(tmp_path, host, quantize="int8")

        agreement = inspect_package(host, path).measurements.agreement

        assert agreement is not None
        assert verified(host, path).figures["agreement"] == agreement.value

    def test_they_stay_with_a_package_whose_version_alone_is_raised(self, host: Host, tmp_path: Path) -> None:
        path = packaged(tmp_path, host, quantize="int8")
        before = inspect_package(host, path).measurements

        update_version(host, path, Step.PATCH, None)

        assert inspect_package(host, path).measurements == before

    def test_measurements_that_cannot_be_read_do_not_stop_an_update(self, host: Host, tmp_path: Path) -> None:
        path = packaged(tmp_path, host, quantize="int8")
        (file,) = (host.state_dir / "measurements").rglob("*.json")
        file.write_text("{")

        assert update_version(host, path, Step.PATCH, None).version == "1.0.1"

    def test_another_host_says_that_it_did_not_measure(self, host: Host, tmp_path: Path) -> None:
        path, other = packaged(tmp_path, host, quantize="int8"), elsewhere(tmp_path)

        report = verified(other, path)

        assert inspect_package(other, path).measurements.unavailable == "not measured on this host"
        assert (report.figures["agreement"], report.unavailable["agreement"]) == (None, "not measured on this host")
        assert report.ok

    def test_of_a_float_model_there_is_nothing_to_show(self, host: Host, tmp_path: Path) -> None:
        path = packaged(tmp_path, host)

        assert inspect_package(host, path).measurements.unavailable == "nothing was quantized"
        assert "agreement" not in verified(host, path).figures

    def test_a_damaged_file_of_measurements_does_not_stop_anything(self, host: Host, tmp_path: Path) -> None:
        path = packaged(tmp_path, host, quantize="int8")
        (file,) = (host.state_dir / "measurements").rglob("*.json")
        file.write_text("{")

        assert "is damaged" in (inspect_package(host, path).measurements.unavailable or "")
        assert verified(host, path).ok

    def test_measurements_that_cannot_be_kept_are_warned_of(self, host: Host, tmp_path: Path) -> None:
        (host.state_dir / "measurements").write_text("a file")
        options = PackageOptions(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "int8")

        summary = package_model(host, options, CollectingReporter())

        assert summary.agreement is not None
        assert summary.warnings[-1].startswith("what was measured is not kept: the folder of reports ")


class TestBatching:
    @pytest.mark.parametrize(
        ("row_ms", "told"),
        [
            (0.02, "each request runs alone: one row takes 0.02 ms, less than 1 ms"),
            (4.0, "requests share runs of up to"),
        ],
    )
    def test_inspect_says_whether_requests_would_share_a_run_and_why(
        self, host: Host, tmp_path: Path, row_ms: float, told: str
    ) -> None:
        path = packaged(tmp_path, host)
        points = (CurvePoint(batch=1, run_ms=row_ms), CurvePoint(batch=2, run_ms=1.1 * row_ms))

        keep_tuning(
            host, inspect_package(host, path).digest, Curve(points=points, difference=0.0), "x", CollectingReporter()
        )

        assert told in shown(inspect_package(host, path))

    def test_inspect_says_that_nothing_was_measured(self, host: Host, tmp_path: Path) -> None:
        page = shown(inspect_package(host, packaged(tmp_path, host)))

        assert "each request runs alone: nothing was measured on this host" in page


def shown(overview: PackageOverview) -> str:
    page = StringIO()
    show_overview(Console(file=page, width=300, markup=False, highlight=False), overview)
    return page.getvalue()


class TestRequestsWithoutOutputs:
    def packed(self, tmp_path: Path, quantize: str = "none", *, nan: bool = False) -> Path:
        folder = write_model_dir(tmp_path / "model", model=mlp(nan=nan))
        np.savez(folder / "golden" / "sample.npz", x=inputs())
        pack(folder, tmp_path / "m.hyperion", quantize)
        return tmp_path / "m.hyperion"

    def test_they_are_run_and_nothing_is_claimed_of_them(self, host: Host, tmp_path: Path) -> None:
        report = verified(host, self.packed(tmp_path))

        golden = finding(report, "model.golden")
        assert (golden.outcome.value, golden.reason) == (
            "skipped",
            "they name no outputs: nothing says which answers are right",
        )
        assert finding(report, "model.outputs").outcome.value == "passed"

    def test_they_choose_what_agreement_is_measured_on(self, host: Host, tmp_path: Path) -> None:
        folder = write_model_dir(tmp_path / "model")
        np.savez(folder / "golden" / "sample.npz", x=inputs(20))

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.agreement is not None
        assert summary.agreement.golden_rows == 20

    def test_answers_that_are_no_numbers_are_worth_a_look(self, host: Host, tmp_path: Path) -> None:
        outputs = finding(verified(host, self.packed(tmp_path, nan=True)), "model.outputs")

        assert outputs.outcome.value == "warned"
        assert outputs.reason == "nothing says that the float model's outputs are finite"

    @pytest.mark.parametrize(("nan", "outcome"), [(False, "passed"), (True, "failed")])
    def test_a_worker_must_answer_them_with_numbers(self, nan: bool, outcome: str, tmp_path: Path) -> None:
        with LocalPackages().open(self.packed(tmp_path, nan=nan)) as package:
            (found,) = prove(package, OnnxRuntimeEngine().load(package)).findings

        assert (found.check, found.outcome.value) == ("model.outputs", outcome)
        assert "golden request 'sample'" in (found.reason or found.summary)
