"""``monitor …``: figures over windows, by a fake clock and a supervisor that answers as it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.checks_host import ScriptedLog, ScriptedSupervisor, activate, checks_host, packaged
from tests.fakes.clock import START, FakeClock
from tests.fakes.reporter import CollectingReporter

from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.metrics import Histogram, MetricsDocument, ServingFigures, WorkerFigures
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.ports import Host, ProcessUsage
from hyperion.usecases.monitor import error_rounds, monitor_model, performance_rounds, resource_rounds

QUIET = CollectingReporter()


class MeasuredFacts:
    """The facts that monitors ask for: each reading of a process is one step further."""

    def __init__(self, real: Host, counters: dict[str, int | None] | None = None) -> None:
        self._real, self._counters, self._readings = real.facts, counters, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def process(self, pid: int) -> ProcessUsage | None:
        self._readings += 1
        return ProcessUsage(
            cpu_s=3.0 * self._readings, resident_bytes=100, proportional_bytes=60, read_bytes=10 * self._readings,
            written_bytes=None,
        )  # fmt: skip

    def hardware_counters(self, pids: list[int], duration_s: float) -> tuple[dict[str, int | None], str | None]:
        if self._counters is None:
            names = ("cycles", "instructions", "cache_references", "cache_misses")
            return dict.fromkeys(names), "this machine has no hardware counters"
        return self._counters, None


def histogram(*counts: tuple[int, int], sum_s: float = 0.0) -> Histogram:
    filled = dict(counts)
    return Histogram(counts=tuple(filled.get(i, 0) for i in range(len(Histogram().counts))), sum_s=sum_s)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


@pytest.fixture
def host(tmp_path: Path, package: Path) -> Host:
    host = checks_host(tmp_path)
    activate(host, package)
    return replace(host, facts=MeasuredFacts(host))


def figures(host: Host, at_s: float, requests: int, latency: Histogram, **more: Any) -> ServingFigures:
    revision = host.ledger.revision("shop", 1)
    worker = WorkerFigures(
        worker="r1-w0", pid=7, revision=1, state="accepting", inflight=2, resident_bytes=100, cpu_s=1.0,
        started_at=START + timedelta(seconds=1),
    )  # fmt: skip
    return ServingFigures(
        deployment="shop", model=revision.model, version=revision.version, revision=1, digest=revision.digest,
        at=START + timedelta(seconds=at_s), uptime_s=at_s, workers=(worker,), requests=requests, latency=latency,
        received_bytes=10 * requests, sent_bytes=20 * requests, failures=more.get("failures", {}),
    )  # fmt: skip


@pytest.fixture
def busy(host: Host) -> Host:
    """40 requests in the first 10 s, 60 slower ones with 6 timeouts in the next 5 s, then none for 5 s."""
    first = figures(host, 10, 40, histogram((1, 40), sum_s=0.04))
    second = figures(host, 15, 100, histogram((1, 40), (4, 60), sum_s=0.54), failures={"timeout": 6})
    third = figures(host, 20, 100, histogram((1, 40), (4, 60), sum_s=0.54), failures={"timeout": 6})
    return replace(host, control=ScriptedSupervisor(figures=[first, second, third]))


class TestModel:
    def test_the_first_round_covers_the_revisions_life_and_the_next_ones_what_happened_since(
        self, busy: Host, package: Path
    ) -> None:
        first, second, third = monitor_model(busy, package, None, 5, reporter=QUIET, count=3)

        assert (first.window_s, second.window_s, third.window_s) == (10, 5, 5)
        assert (first.figures["requests"], first.figures["requests_per_s"]) == (40, 4.0)
        assert (second.figures["requests"], second.figures["requests_per_s"]) == (60, 12.0)
        assert second.figures["latency_mean_ms"] == pytest.approx(1000 * 0.5 / 60)
        assert first.figures["latency_p95_ms"] is not None
        assert 5 < second.figures["latency_p50_ms"] < 7.5
        assert (second.figures["failures"], second.figures["error_ratio"]) == ({"timeout": 6}, 0.1)
        assert second.figures["sent_bytes"] == 1200

    def test_a_window_without_requests_has_no_latency_and_says_so(self, busy: Host, package: Path) -> None:
        *_, third = monitor_model(busy, package, None, 5, reporter=QUIET, count=3)

        assert third.figures["requests"] == 0
        assert third.figures["latency_p95_ms"] is None
        assert third.figures["error_ratio"] is None
        assert third.unavailable["latency_p95_ms"] == "no requests in the window"
        assert third.figures["failures"] == {}

    def test_only_the_rounds_after_the_first_wait(self, busy: Host, package: Path) -> None:
        clock = busy.clock
        assert isinstance(clock, FakeClock)
        started = clock.monotonic()

        rounds = monitor_model(busy, package, None, 5, reporter=QUIET, count=3)

        assert [clock.monotonic() - started for _ in rounds] == [0, 5, 10]

    def test_processor_time_is_a_share_of_the_hosts_cores(self, busy: Host, package: Path) -> None:
        first, second = monitor_model(busy, package, None, 5, reporter=QUIET, count=2)

        cores = busy.facts.platform().cores
        assert cores is not None
        assert first.figures["cpu_utilisation"] == pytest.approx(3 / 9 / cores)
        assert second.figures["cpu_utilisation"] == pytest.approx(3 / 5 / cores)

    def test_each_round_replaces_metrics_json(self, busy: Host, package: Path, tmp_path: Path) -> None:
        metrics = tmp_path / "metrics.json"

        for document in monitor_model(busy, package, None, 5, reporter=QUIET, metrics=metrics, count=2):
            assert MetricsDocument.model_validate_json(metrics.read_bytes()) == document
        again = list(monitor_model(busy, package, None, 5, reporter=QUIET, metrics=metrics, count=1))

        assert len(again) == 1

    @pytest.mark.parametrize("content", ["years of work", "{}", "[]", '{"format": "other"}', ""])
    def test_a_file_that_is_not_ours_is_not_touched(
        self, busy: Host, package: Path, tmp_path: Path, content: str
    ) -> None:
        (tmp_path / "thesis").write_text(content)

        with pytest.raises(ConflictError) as caught:
            next(monitor_model(busy, package, None, 5, reporter=QUIET, metrics=tmp_path / "thesis"))

        assert caught.value.code == "metrics.not_ours"
        assert (tmp_path / "thesis").read_text() == content

    def test_another_revision_begins_a_new_count(self, host: Host, package: Path) -> None:
        activate(host, package)
        before = figures(host, 10, 1000, histogram((1, 1000)))
        after = figures(host, 15, 3, histogram((2, 3))).model_copy(update={"revision": 2})
        swapped = replace(host, control=ScriptedSupervisor(figures=[before, after]))

        *_, last = monitor_model(swapped, package, "shop", 5, reporter=QUIET, count=2)

        assert (last.revision, last.figures["requests"], last.window_s) == (2, 3, 15)

    def test_a_package_that_nothing_serves_is_not_found(self, busy: Host, tmp_path: Path) -> None:
        other = packaged(tmp_path, busy, "other", seed=1)

        with pytest.raises(NotFoundError):
            next(monitor_model(busy, other, None, 5, reporter=QUIET))

    def test_a_supervisor_that_goes_away_is_an_error(self, host: Host, package: Path) -> None:
        gone = HostError("no supervisor runs", code="supervisor.not_running")
        seen = figures(host, 10, 1, histogram((1, 1)))
        rounds = monitor_model(
            replace(host, control=ScriptedSupervisor(figures=[seen, gone])), package, None, 5, reporter=QUIET, count=2
        )

        assert next(rounds).figures["requests"] == 1
        with pytest.raises(HostError):
            next(rounds)


class TestPerformance:
    def test_caches_are_measured_or_null_with_the_reason(self, busy: Host, package: Path) -> None:
        found = next(performance_rounds(busy, package, None, 5, reporter=QUIET, count=1))

        assert found.kind == "performance"
        assert found.figures["cache_hit_ratio"] is None
        assert found.unavailable["cache_hit_ratio"] == "this machine has no hardware counters"
        assert found.figures["page_cache_resident_ratio"] == 1.0

    def test_the_hit_ratio_is_what_the_counters_say(self, busy: Host, package: Path) -> None:
        counters = {"cycles": 9, "instructions": 5, "cache_references": 200, "cache_misses": 50}
        counted = replace(busy, facts=MeasuredFacts(busy, counters))

        found = next(performance_rounds(counted, package, None, 5, reporter=QUIET, count=1))

        assert found.figures["cache_hit_ratio"] == 0.75


class TestResources:
    def test_memory_disk_network_and_cycles_of_a_window(self, busy: Host, package: Path) -> None:
        assert isinstance(busy.control, ScriptedSupervisor)
        busy.control.figures.insert(0, busy.control.figures[0])  # asked once more, for the processes to count

        _, second = resource_rounds(busy, package, None, 5, reporter=QUIET, count=2)

        assert second.figures["memory_resident_bytes"] == 100
        assert second.figures["memory_proportional_bytes"] == 60
        assert second.figures["disk_read_bytes"] == 10
        assert second.figures["disk_written_bytes"] is None
        assert second.figures["network_received_bytes"] == 600
        assert second.figures["network_sent_bytes_per_s"] == 240
        assert isinstance(second.figures["disk_bytes"], int)
        assert second.figures["cpu_cycles"] is None
        assert {name for name, value in second.figures.items() if value is None} == set(second.unavailable)


class TestErrors:
    LINES = (
        {"at": "2026-01-02T03:04:06+00:00", "level": "info", "event": "worker.ready", "message": "ready"},
        {
            "at": "2026-01-02T03:04:07+00:00", "level": "error", "event": "request.failed", "message": "too slow",
            "cause": "timeout", "status": 503, "request_id": "r-1", "revision": 1, "worker": "r1-w0",
        },
        {"message": "terminate called after throwing"},
    )  # fmt: skip

    @pytest.fixture
    def failing(self, host: Host) -> Host:
        return replace(host, log=ScriptedLog([self.LINES, [], [{**self.LINES[1], "request_id": "r-2"}]]))

    def test_errors_come_with_their_cause_and_only_once(self, failing: Host, package: Path) -> None:
        first, second, third = error_rounds(failing, package, None, 5, reporter=QUIET, count=3)

        assert first.by_cause == {"stderr": 1, "timeout": 1}
        assert [error.message for error in first.errors] == ["terminate called after throwing", "too slow"]
        assert (first.errors[1].status, first.errors[1].request_id) == (503, "r-1")
        assert (second.errors, second.window_s) == ((), 5)
        assert [error.request_id for error in third.errors] == ["r-2"]

    def test_crashed_workers_are_errors_too(self, failing: Host, package: Path) -> None:
        failing.ledger.append(
            EventDraft(
                kind=EventKind.WORKER_EXITED, deployment="shop", revision=1, actor="s",
                data={"worker": "r1-w0", "reason": "killed by SIGKILL"},
            )
        )  # fmt: skip

        first, second = error_rounds(failing, package, None, 5, reporter=QUIET, count=2)

        crash = first.errors[-1]
        assert "worker_exited" in first.by_cause
        assert ("worker_exited", "killed by SIGKILL") in {(e.cause, e.message) for e in first.errors}
        assert crash.worker == "r1-w0"
        assert second.errors == ()

    def test_errors_are_appended_as_json_lines_and_a_later_run_goes_on_after_them(
        self, failing: Host, package: Path, tmp_path: Path
    ) -> None:
        log = tmp_path / "errors.log"

        list(error_rounds(failing, package, None, 5, reporter=QUIET, log=log, count=1))
        again = list(error_rounds(failing, package, None, 5, reporter=QUIET, log=log, count=2))

        assert [len(found.errors) for found in again] == [0, 1]
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["cause"] for line in lines] == ["stderr", "timeout", "timeout"]
        assert {line["format"] for line in lines} == {"hyperion.error"}

    def test_a_log_without_errors_is_there_and_empty(self, host: Host, package: Path, tmp_path: Path) -> None:
        activate(host, package)

        list(error_rounds(host, package, None, 5, reporter=QUIET, log=tmp_path / "errors.log", count=1))

        assert (tmp_path / "errors.log").read_bytes() == b""

    def test_a_log_that_is_not_ours_is_not_touched(self, failing: Host, package: Path, tmp_path: Path) -> None:
        (tmp_path / "syslog").write_text("Jan 1 kernel: hello\n")

        with pytest.raises(ConflictError) as caught:
            next(error_rounds(failing, package, None, 5, reporter=QUIET, log=tmp_path / "syslog"))

        assert caught.value.code == "errors_log.not_ours"
        assert (tmp_path / "syslog").read_text() == "Jan 1 kernel: hello\n"

    def test_a_log_in_a_folder_that_is_not_there_is_an_error_of_the_host(
        self, failing: Host, package: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(HostError):
            next(error_rounds(failing, package, None, 5, reporter=QUIET, log=tmp_path / "none" / "errors.log"))
