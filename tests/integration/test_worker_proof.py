"""What a worker shows with a real model: its answers, its p99, and the golden requests again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.models import write_model_dir
from tests.packaging import pack

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.finding import Finding, Outcome
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Session, Tensors
from hyperion.serving.proof import P99_RUNS, prove
from hyperion.serving.replay import GoldenReplay
from hyperion.verification.golden import load_golden_requests


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proof")
    pack(write_model_dir(folder / "model"), folder / "m.hyperion", "none")
    return folder / "m.hyperion"


@pytest.fixture
def package(packaged: Path) -> Iterator[PackageReader]:
    with LocalPackages().open(packaged) as opened:
        yield opened


@pytest.fixture
def session(package: PackageReader) -> Session:
    return OnnxRuntimeEngine().load(package)


def p99_of(package: PackageReader, session: Session, limit_ms: float) -> Finding:
    findings = prove(package, session, limit_ms).findings
    return next(found for found in findings if found.check == "performance.latency_p99")


def test_a_p99_within_its_limit_is_measured_over_many_runs(package: PackageReader, session: Session) -> None:
    found = p99_of(package, session, 60_000)
    assert found.outcome is Outcome.PASSED
    assert found.summary.startswith(f"99 % of {P99_RUNS} warm runs take at most ")


def test_a_p99_beyond_its_limit_fails_the_proof(package: PackageReader, session: Session) -> None:
    found = p99_of(package, session, 1e-6)
    assert found.outcome is Outcome.FAILED
    assert "expected at most gates.p99_ms = 1e-06, found " in (found.reason or "")


class SlowRows:
    """A session that takes 2 ms for each row that it is given."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, feeds: Tensors) -> dict[str, Array]:
        time.sleep(0.002 * len(next(iter(feeds.values()))))
        return dict(self._session.run(feeds))


def test_what_a_request_takes_is_told_by_one_row_not_by_how_many_rows_the_golden_request_has(
    package: PackageReader, session: Session
) -> None:
    (golden,) = load_golden_requests(package)
    rows = len(next(iter(golden.inputs.values())))

    proof = prove(package, cast("Session", SlowRows(session)))

    assert rows > 1
    assert 2 <= proof.run_ms < 2 * rows
    assert proof.run_elements == next(iter(golden.inputs.values()))[0].size


def test_without_a_limit_no_p99_is_measured(package: PackageReader, session: Session) -> None:
    assert [found.check for found in prove(package, session).findings] == ["model.golden"]


def test_outputs_that_are_finite_in_all_golden_requests_are_known(package: PackageReader, session: Session) -> None:
    assert prove(package, session).finite_outputs == {"probabilities"}


def test_a_replay_finds_the_answers_as_they_were(package: PackageReader, session: Session) -> None:
    replay = GoldenReplay(load_golden_requests(package), session)
    assert [(found.check, found.outcome) for found in replay.run()] == [("model.golden", Outcome.PASSED)]


def test_a_replay_finds_answers_that_are_other_ones_now(package: PackageReader, session: Session) -> None:
    (golden,) = load_golden_requests(package)
    moved = replace(golden, outputs={name: np.asarray(value) + 1 for name, value in golden.outputs.items()})
    (found,) = GoldenReplay([moved], session).run()
    assert found.outcome is Outcome.FAILED
    assert (found.reason or "").startswith("output 'probabilities'(0, 0): expected 1.")


def test_a_replay_that_the_engine_refuses_is_a_finding(package: PackageReader, session: Session) -> None:
    (golden,) = load_golden_requests(package)
    (found,) = GoldenReplay([replace(golden, inputs={"x": np.zeros((1, 3), np.float32)})], session).run()
    assert (found.outcome, found.summary) == (Outcome.FAILED, "golden request 'sample' was refused")


def test_a_replay_without_golden_requests_finds_nothing(session: Session) -> None:
    assert GoldenReplay([], session).run() == ()
