"""``verify model``, ``performance`` and ``memory`` on real packages, in real children."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save
from tests.fakes.checks_host import activate, checks_host, damaged, packaged
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_dataset, write_model_dir
from tests.packages import entries, write_package

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.config import MemoryConfig
from hyperion.domain.finding import Finding, Outcome, Report
from hyperion.errors import ConfigError, EngineError, NotFoundError
from hyperion.format.archive import PendingEntry, write_archive
from hyperion.format.package import PackageReader
from hyperion.format.weights import read_header
from hyperion.ports import Host, InferenceJob, InferenceResult, SandboxLimits
from hyperion.usecases.verify import (
    verify_integrity,
    verify_memory,
    verify_model,
    verify_performance,
)
from hyperion.verification.model import check_configs, check_model

REPORTER = CollectingReporter()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


@pytest.fixture(scope="module")
def without_golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("without")
    return packaged(folder, checks_host(folder), golden=False)


def finding(report: Report, check: str) -> Finding:
    return next(found for found in report.findings if found.check == check)


def one_node(node: onnx.NodeProto, x: list[int | str], y: list[int | str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def with_nan_weights(source: Path, output: Path) -> Path:
    """The same package, sound in every digest, with NaN in all float tensors of its weights."""

    def spoiled(package: PackageReader, name: str) -> bytes:
        data = bytearray(package.read(name))
        if name.startswith("weights/"):
            for tensor in read_header(BytesIO(data), len(data), name).values():
                if tensor.dtype == "F32":
                    nan = np.full(tensor.size_bytes // 4, np.nan, np.float32).tobytes()
                    data[tensor.offset : tensor.offset + tensor.size_bytes] = nan
        return bytes(data)

    with LocalPackages().open(source) as package, output.open("w+b") as stream:
        contents = {name: spoiled(package, name) for name in package.names()}
        pending = [PendingEntry(name, len(data), partial(BytesIO, data)) for name, data in contents.items()]
        write_archive(stream, pending, lambda entries: package.manifest.model_copy(update={"entries": entries}))
    return output


class ScriptedSandbox:
    """Implements ports.Sandbox: fails as it is told, once for each job."""

    def __init__(self, real: Host, *errors: EngineError | None) -> None:
        self._real, self._errors = real.sandbox, list(errors)

    def run(self, job: InferenceJob, limits: SandboxLimits = SandboxLimits()) -> InferenceResult:  # noqa: B008
        error = self._errors.pop(0)
        if error is not None:
            raise error
        return self._real.run(job, limits)


class TestModel:
    def test_a_good_package_passes_every_check(self, host: Host, package: Path) -> None:
        report = verify_model(host, package, REPORTER)

        assert report.ok
        assert report.subject is not None
        assert report.subject.name == "test-mlp"
        assert [found.check for found in report.findings][-4:] == [
            "model.configs", "model.load", "model.golden", "model.outputs",
        ]  # fmt: skip

    def test_a_damaged_package_is_a_failed_finding_and_is_not_run(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        report = verify_model(host, damaged(package, tmp_path), REPORTER)

        assert not report.ok
        assert all(found.check.startswith("integrity.") for found in report.findings)

    def test_a_file_that_is_no_package_is_a_failed_finding(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "x.hyperion").write_bytes(b"nothing")

        for verify in (verify_model, verify_integrity):
            report = verify(host, tmp_path / "x.hyperion", REPORTER)
            assert not report.ok
            assert report.subject is None

    def test_nothing_there_is_not_found(self, host: Host, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            verify_model(host, tmp_path / "none", REPORTER)

    def test_wrong_golden_outputs_fail_and_say_by_how_much(self, host: Host, tmp_path: Path) -> None:
        source = write_model_dir(tmp_path / "wrong", golden=False)
        (source / "golden").mkdir()
        x = inputs()
        wrong = expected(mlp(0), x) + np.float32(0.5)
        np.savez(source / "golden" / "sample.npz", **{"input:x": x, "output:probabilities": wrong})
        broken = packaged(tmp_path, host, "wrong", golden=False)

        report = verify_model(host, broken, REPORTER)

        found = finding(report, "model.golden")
        assert found.outcome is Outcome.FAILED
        assert "sample: output 'probabilities'(0, 0): expected" in str(found.reason)
        assert isinstance(found.measured, dict)
        assert found.measured["largest_error"] == pytest.approx(0.5, abs=1e-3)

    def test_without_golden_requests_a_generated_input_is_run(self, host: Host, without_golden: Path) -> None:
        report = verify_model(host, without_golden, REPORTER)

        assert report.ok
        assert finding(report, "model.golden").outcome is Outcome.SKIPPED
        assert finding(report, "model.outputs").outcome is Outcome.PASSED

    def test_a_generated_input_that_the_model_rejects_is_skipped_with_the_reason(
        self, host: Host, tmp_path: Path
    ) -> None:
        node = helper.make_node("Reshape", ["x", "shape"], ["y"])
        model = one_node(node, ["n"], [3, 2])
        model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [3, 2]))
        picky = packaged(tmp_path, host, "picky", model=model, golden=False)

        report = verify_model(host, picky, REPORTER)

        assert report.ok
        found = finding(report, "model.outputs")
        assert found.outcome is Outcome.SKIPPED
        assert "rejects a generated input" in str(found.reason)

    def test_outputs_that_are_not_finite_without_a_record_only_warn(self, host: Host, tmp_path: Path) -> None:
        strange = packaged(tmp_path, host, "nan", model=mlp(0, nan=True), golden=False)

        report = verify_model(host, strange, REPORTER)

        assert report.ok
        assert finding(report, "model.outputs").outcome is Outcome.WARNED

    def test_outputs_that_are_not_finite_fail_where_the_float_models_were(self, host: Host, tmp_path: Path) -> None:
        whole = packaged(tmp_path, host, "whole", model=mlp(0), golden=False, quantize="int8")
        broken = with_nan_weights(whole, tmp_path / "broken.hyperion")

        report = verify_model(host, broken, REPORTER)

        assert finding(report, "model.outputs").outcome is Outcome.FAILED

    def test_a_child_that_crashes_while_running_is_told_from_one_that_crashes_while_loading(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        crash = EngineError("killed by SIGSEGV", code="engine.crashed")
        running = checks_host(tmp_path, sandbox=ScriptedSandbox(host, crash, None))
        loading = checks_host(tmp_path, sandbox=ScriptedSandbox(host, crash, crash))

        ran = verify_model(running, package, REPORTER)
        loaded = verify_model(loading, package, REPORTER)

        assert finding(ran, "model.load").outcome is Outcome.PASSED
        assert finding(ran, "model.golden").outcome is Outcome.FAILED
        assert "SIGSEGV" in str(finding(ran, "model.golden").reason)
        assert finding(loaded, "model.load").outcome is Outcome.FAILED

    def test_the_report_is_kept_under_every_deployment_that_serves_the_package(
        self, host: Host, package: Path, without_golden: Path
    ) -> None:
        activate(host, package, "shop")
        activate(host, without_golden, "other")

        report = verify_integrity(host, package, REPORTER)

        assert host.reports.recent("shop") == (report,)
        assert host.reports.recent("other") == ()


class TestDocuments:
    """A package whose bytes have their digests, but whose documents say nonsense."""

    def test_configs_that_are_no_json_objects_are_named(self, tmp_path: Path) -> None:
        path = write_package(tmp_path / "p.hyperion", {**entries(), "config/a.json": b"[]", "config/b.json": b"{"})

        with LocalPackages().open(path) as package:
            found = check_configs(package)

        assert found.outcome is Outcome.FAILED
        assert found.summary.startswith("2 of ")
        assert "config/a.json" in str(found.reason)

    @pytest.mark.parametrize(
        ("tensors", "rule"),
        [
            (b"nonsense", b"{}"),
            (save({"output:y": np.zeros(1)}), b"{}"),
            (save({"input:x": np.zeros(1), "output:y": np.zeros(1)}), b'{"comparison": "roughly"}'),
        ],
    )
    def test_golden_requests_that_cannot_be_read_fail_and_nothing_is_run(
        self, host: Host, tmp_path: Path, tensors: bytes, rule: bytes
    ) -> None:
        golden = {"assets/golden/g.safetensors": tensors, "assets/golden/g.json": rule}
        path = write_package(tmp_path / "p.hyperion", {**entries(), **golden})

        with LocalPackages().open(path) as package:
            (found,) = check_model(host, path, package, REPORTER)

        assert (found.check, found.outcome) == ("model.golden", Outcome.FAILED)


class TestPerformance:
    def test_a_labelled_dataset_gives_speed_resources_and_accuracy(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        data = write_dataset(tmp_path / "data", rows=50)

        report = verify_performance(host, package, data, REPORTER, batch_size=16)

        figures = report.figures
        assert report.ok
        assert (figures["rows"], figures["batches"], figures["accuracy"]) == (50, 4, 1.0)
        for name in ("throughput_rows_s", "cpu_s", "memory_peak_bytes", "memory_steady_bytes", "disk_bytes"):
            assert isinstance(figures[name], int | float), name
            assert figures[name] > 0, name
        latency = figures["batch_latency_ms"]
        assert isinstance(latency, dict)
        assert latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"] <= latency["max"]
        assert figures["page_cache_resident_ratio"] == 1.0
        assert {name for name, value in figures.items() if value is None} == set(report.unavailable)

    def test_a_dataset_without_labels_has_no_accuracy_and_says_so(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        np.savez(tmp_path / "data" / "a.npz", x=inputs(3))

        report = verify_performance(host, package, tmp_path / "data", REPORTER)

        assert report.ok
        assert report.figures["accuracy"] is None
        assert report.unavailable["accuracy"] == "the dataset has no labels"

    def test_a_faulty_dataset_is_an_error_that_names_it(self, host: Host, package: Path, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        x = inputs(3)
        x[2, 0] = np.nan
        np.savez(tmp_path / "data" / "a.npz", x=x)

        with pytest.raises(ConfigError, match=r"a\.npz.*row 2"):
            verify_performance(host, package, tmp_path / "data", REPORTER, batch_size=2)

    def test_batches_that_the_engine_refuses_fail_with_their_place(self, host: Host, tmp_path: Path) -> None:
        node = helper.make_node("Reshape", ["x", "shape"], ["y"])
        model = one_node(node, ["n"], [3, 2])
        model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [3, 2]))
        picky = packaged(tmp_path, host, "picky", model=model, golden=False)
        (tmp_path / "data").mkdir()
        np.savez(tmp_path / "data" / "a.npz", x=np.zeros(10, np.float32))

        report = verify_performance(host, picky, tmp_path / "data", REPORTER, batch_size=6)

        found = finding(report, "performance.run")
        assert found.outcome is Outcome.FAILED
        assert "a.npz, rows from 6" in str(found.reason)
        assert report.figures["rows"] == 6

    def test_a_damaged_package_is_not_measured(self, host: Host, package: Path, tmp_path: Path) -> None:
        report = verify_performance(host, damaged(package, tmp_path), tmp_path / "no data", REPORTER)

        assert not report.ok
        assert report.figures == {}


class TestMemory:
    def test_memory_is_measured_against_the_budget(self, host: Host, package: Path) -> None:
        report = verify_memory(host, package, MemoryConfig(runs=2, batch_size=8), REPORTER)

        assert report.ok
        assert finding(report, "memory.run").measured == 2
        assert report.figures["peak_bytes"] == finding(report, "memory.peak").measured

    def test_a_budget_that_is_too_small_fails_with_what_is_over_it(self, host: Host, package: Path) -> None:
        report = verify_memory(host, package, MemoryConfig(budget_mb=10, runs=1), REPORTER)

        found = finding(report, "memory.peak")
        assert found.outcome is Outcome.FAILED
        assert found.limit == 10 * 1024**2
        assert "over the budget" in str(found.reason)

    def test_a_model_that_cannot_be_run_is_measured_as_loaded(self, host: Host, tmp_path: Path) -> None:
        node = helper.make_node("Reshape", ["x", "shape"], ["y"])
        model = one_node(node, ["n"], [3, 2])
        model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [3, 2]))
        picky = packaged(tmp_path, host, "picky", model=model, golden=False)

        report = verify_memory(host, picky, MemoryConfig(runs=1), REPORTER)

        assert finding(report, "memory.run").outcome is Outcome.SKIPPED
        assert finding(report, "memory.peak").outcome is Outcome.PASSED

    def test_a_model_that_crashes_is_a_failed_finding_of_memory_and_of_performance(
        self, host: Host, package: Path, tmp_path: Path
    ) -> None:
        crash = EngineError("killed by SIGSEGV", code="engine.crashed")
        crashing = replace(host, sandbox=ScriptedSandbox(host, crash, crash))

        memory = verify_memory(crashing, package, MemoryConfig(runs=1), REPORTER)
        speed = verify_performance(crashing, package, write_dataset(tmp_path / "data"), REPORTER)

        assert finding(memory, "memory.run").outcome is Outcome.FAILED
        assert finding(speed, "performance.run").outcome is Outcome.FAILED
        assert (memory.figures, speed.figures) == ({}, {})
