"""A comparison as a terminal shows it: words for people, and no line too many."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import ENGINE, entries, write_package

from hyperion.cli.markdown_comparison import comparison_markdown
from hyperion.cli.render import make_console
from hyperion.cli.render_comparison import show_comparison
from hyperion.domain.comparison import VersionComparison
from hyperion.usecases.compare import compare_versions


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def compare(stage: Stage, *, plan: bool = False, **fields: object) -> VersionComparison:
    """Tiny 1.0.0 and a package of other weights with these fields."""
    new = write_package(stage.folder / "new.hyperion", entries(1), **fields)
    return compare_versions(stage.host, stage.package(0), new, stage.reporter, quick=True, plan=plan)


def shown(comparison: VersionComparison) -> list[str]:
    page = StringIO()
    show_comparison(make_console(page), comparison)
    return page.getvalue().splitlines()


def test_two_packages_that_are_the_same_leave_one_empty_line_before_the_last_one(stage: Stage) -> None:
    path = stage.package(0)

    lines = shown(compare_versions(stage.host, path, path, stage.reporter))

    assert lines[-3:] == [
        "step: none: both are the same package",
        "",
        "safe to swap: yes, because both are the same package",
    ]


def test_nothing_stands_between_two_empty_lines(stage: Stage) -> None:
    lines = shown(compare(stage, version="1.1.0", plan=True))

    assert "" in lines
    assert ("", "") not in list(pairwise(lines))


def test_what_an_engine_must_offer_is_words(stage: Stage) -> None:
    engine = ENGINE.model_copy(
        update={"minimum_version": "1.23", "operators": ("ai.onnx::Add", "ai.onnx::Erf"), "opsets": {"ai.onnx": 18}}
    )

    lines = shown(compare(stage, version="1.1.0", engine=engine))

    rows = [line.split() for line in lines if "engine." in line]
    assert rows == [
        ["engine.minimum_version", "1.20.0", "1.23"],
        ["engine.opsets.ai.onnx", "17", "18"],
        ["engine.operators", "removed", "ai.onnx::MatMul", "added", "ai.onnx::Add,", "ai.onnx::Erf"],
    ]


def test_operators_that_were_only_added_are_named_alone(stage: Stage) -> None:
    engine = ENGINE.model_copy(update={"operators": (*ENGINE.operators, "ai.onnx::Relu")})

    lines = shown(compare(stage, version="1.1.0", engine=engine))

    assert [line.split() for line in lines if "engine." in line] == [
        ["engine.operators", "-", "added", "ai.onnx::Relu"]
    ]


@pytest.mark.parametrize(
    ("version", "title"),
    [
        ("1.0.1", "a patch update"),
        ("1.1.0", "what changed needs a patch update (the version says minor)"),
        ("0.9.0", "what changed needs a patch update"),
    ],
)
def test_a_plan_is_titled_by_what_is_needed(stage: Stage, version: str, title: str) -> None:
    comparison = compare(stage, version=version, plan=True)

    assert f"migration: {title}" in shown(comparison)
    assert f"## Migration: {title}" in comparison_markdown(comparison).splitlines()


def test_another_model_is_named_in_the_heading(stage: Stage) -> None:
    comparison = compare(stage, name="zzz", version="1.0.1")

    assert shown(comparison)[0] == "tiny 1.0.0 → zzz 1.0.1"
    assert comparison_markdown(comparison).splitlines()[0] == "# tiny 1.0.0 → zzz 1.0.1"
