"""The guide's points for a step, with what is known of each and what is left to do."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import SIGNATURE, entries, write_package

from hyperion.domain.migration import GUIDE, MigrationPoint
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.domain.version import Step
from hyperion.errors import EngineError
from hyperion.usecases.compare import compare_versions

GAINING = Signature(inputs=SIGNATURE.inputs, outputs=(*SIGNATURE.outputs, TensorSpec(name="z", dtype="int64")))
BREAKING = Signature(inputs=SIGNATURE.inputs, outputs=(TensorSpec(name="z", dtype="int64"),))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def plan(stage: Stage, signature: Signature, version: str, **payloads: bytes) -> dict[str, MigrationPoint]:
    before = stage.package(0, version="1.0.0")
    after = write_package(
        stage.folder / "next's.hyperion", {**entries(1), **payloads}, version=version, signature=signature
    )
    found = compare_versions(stage.host, before, after, stage.reporter, quick=True, plan=True)
    assert found.plan is not None
    assert tuple(point.point for point in found.plan) == GUIDE[found.step.required]
    return {point.point: point for point in found.plan}


@pytest.mark.parametrize(
    ("signature", "version", "step"),
    [(BREAKING, "2.0.0", Step.MAJOR), (GAINING, "1.1.0", Step.MINOR), (SIGNATURE, "1.0.1", Step.PATCH)],
)
def test_every_point_says_what_was_found_and_leaves_nothing_half_said(
    stage: Stage, signature: Signature, version: str, step: Step
) -> None:
    points = plan(stage, signature, version)

    assert tuple(points) == GUIDE[step]
    for point in points.values():
        assert point.found
        assert point.todo is not None or point.command is None


TESTED = "Test affected functionality"


def test_without_golden_requests_they_are_what_is_to_be_recorded_and_nothing_failed(stage: Stage) -> None:
    point = plan(stage, SIGNATURE, "1.0.1")[TESTED]

    assert "no golden requests" in point.found
    assert "a generated input gives finite outputs" in point.found
    assert point.todo == (
        "record golden requests: put inputs and expected outputs into golden/ of the model directory and package it "
        "again; run it on data of your own"
    )


def test_a_model_that_does_not_load_is_to_be_mended(stage: Stage) -> None:
    stage.sandbox.error = EngineError("no such operator", code="engine.load_failed")

    point = plan(stage, SIGNATURE, "1.0.1")[TESTED]

    assert str(point.todo).startswith("mend what failed; ")


def test_outputs_that_nobody_knows_to_be_finite_are_to_be_looked_at(stage: Stage) -> None:
    stage.sandbox.answer = float("nan")

    point = plan(stage, SIGNATURE, "1.0.1")[TESTED]

    assert str(point.todo).startswith("record golden requests: ")
    assert "find out why outputs are NaN or infinite" in str(point.todo)


def test_the_way_back_is_the_backup_of_what_serves(stage: Stage) -> None:
    stage.deploy(0)
    backup = stage.backup()

    point = plan(stage, BREAKING, "2.0.0")["Plan rollback strategy"]

    assert "1.0.0 is active in tiny" in point.found
    assert backup.path in point.found
    assert str(point.command).startswith(f"hyperion rollback model --backup {shlex.quote(backup.path)} --reason")


def test_without_a_backup_the_command_makes_one_of_what_serves(stage: Stage) -> None:
    stage.deploy(0)

    points = plan(stage, SIGNATURE, "1.0.1")

    command = str(points["Deploy with quick rollback option"].command)
    assert command.startswith("hyperion backup model --name tiny --output backup/ && hyperion deploy model --input ")


def test_a_backup_that_is_gone_is_none(stage: Stage) -> None:
    stage.deploy(0)
    shutil.rmtree(stage.backup().path)

    assert "no backup" in plan(stage, BREAKING, "2.0.0")["Plan rollback strategy"].found


def test_paths_are_quoted_for_the_shell(stage: Stage) -> None:
    point = plan(stage, GAINING, "1.1.0")["Deploy with monitoring"]

    assert str(stage.folder / "next's.hyperion") in shlex.split(str(point.command))


def test_documents_that_changed_are_named(stage: Stage) -> None:
    silent = plan(stage, GAINING, "1.1.0")["Update documentation"]
    told = plan(stage, GAINING, "1.1.0", **{"assets/README.md": b"# z is new\n"})["Update documentation"]

    assert silent.found.startswith("no document")
    assert "assets/README.md" in told.found
