"""Answers: JSON for programs, plain text in a pipe, tables on a terminal of any width."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hyperion.cli import render
from hyperion.cli.render_report import show_report
from hyperion.domain.finding import Finding, Outcome, Report, Subject

HOSTILE = "\x1b[2J[bold red]<script>[/] \u202ename\r\n"


def report(*findings: Finding, **figures: object) -> Report:
    subject = Subject(name="mnist", version="1.0.0", digest="sha256:" + "a" * 64, source=HOSTILE)
    return Report(
        kind="model",
        subject=subject,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        findings=findings,
        figures=figures,  # type: ignore[arg-type]
        unavailable={"cycles": "no counters here"},
    )


def finding(outcome: Outcome = Outcome.PASSED, **changes: str) -> Finding:
    return Finding(check="model.golden", outcome=outcome, summary=changes.pop("summary", "answers"), **changes)


def drawn(value: Report, width: int = 80, *, terminal: bool = True) -> str:
    page = StringIO()
    show_report(Console(file=page, width=width, force_terminal=terminal, markup=False, highlight=False), value)
    return page.getvalue()


def test_plain_data_holds_documents_dataclasses_dates_paths_enums_and_no_nan() -> None:
    class Colour(StrEnum):
        RED = "red"

    @dataclass(frozen=True)
    class Value:
        at: datetime
        path: Path
        colour: Colour
        ratio: float

    value = Value(datetime(2026, 1, 1, tzinfo=UTC), Path("/x"), Colour.RED, float("nan"))

    assert render.plain_data({"value": value, "several": (1, None, True)}) == {
        "value": {"at": "2026-01-01T00:00:00+00:00", "path": "/x", "colour": "red", "ratio": None},
        "several": [1, None, True],
    }


def test_json_is_ascii_and_so_carries_no_escape_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    render.answer({"name": HOSTILE + "\x9b é"}, True, lambda _console, _value: None)

    page = capsys.readouterr().out
    assert page.isascii()
    assert not any(char < " " and char != "\n" for char in page)
    assert json.loads(page) == {"name": HOSTILE + "\x9b é"}


def test_a_pipe_gets_plain_text_that_never_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 100 + "end"

    render.answer(report(finding(summary=long)), False, show_report)

    page = capsys.readouterr().out
    assert long in page
    assert "\x1b" not in page
    assert not any(text.endswith(" ") for text in page.splitlines())


@pytest.mark.parametrize("width", [20, 40, 200])
def test_hostile_text_is_shown_not_obeyed(width: int) -> None:
    page = drawn(report(finding(Outcome.FAILED, reason=HOSTILE, entry=HOSTILE, hint=HOSTILE)), width)

    assert "\x1b[2J" not in page
    assert "\u202e" not in page
    assert "\r" not in page
    folded = "".join(page.split())
    assert "[bold" in folded
    assert "\\x1b[2J" in folded


def test_without_colour_the_words_still_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    page = drawn(report(finding(Outcome.FAILED)))

    assert "\x1b[31" not in page
    assert "\x1b[1;31" not in page
    assert "failed" in page
    assert "NOT OK: 1 failed" in page


def test_a_figure_that_is_missing_shows_its_reason() -> None:
    page = drawn(report(finding(), cycles=None, peak_bytes=3 * 1024 * 1024, latency_p95_ms=1.23456), terminal=False)

    assert "- (no counters here)" in page
    assert "3.0 MiB" in page
    assert "1.235" in page


def test_a_classifiers_report_has_a_table_by_class_and_a_confusion_matrix() -> None:
    per_class = {"cat": {"precision": 0.9, "recall": 1.0, "f1": 0.947, "support": 9}}
    matrix = {"labels": ["cat", "dog"], "counts": [[9, 0], [1, 5]]}
    macro = {"precision": 0.95, "recall": 0.917}

    page = drawn(report(finding(), macro=macro, per_class=per_class, confusion_matrix=matrix), terminal=False)

    lines = [" ".join(text.split()) for text in page.splitlines()]
    assert "macro precision 0.95, recall 0.917" in lines
    assert "class precision recall f1 support" in lines
    assert "cat 0.9 1 0.947 9" in lines
    assert "cat 9 ·" in lines
    assert "dog 1 5" in lines


@pytest.mark.parametrize("width", [40, 100])
def test_a_terminal_that_is_too_narrow_for_a_table_gets_pairs(width: int) -> None:
    page = StringIO()
    console = Console(file=page, width=width, force_terminal=True, color_system=None)

    render.table(console, ("deployment", "url", "requests"), [("current_model", "http://127.0.0.1:8080", 7)])

    text = page.getvalue()
    assert "current_model" in text
    assert "http://127.0.0.1:8080" in text
    assert max(map(len, text.splitlines())) <= width
    assert ("─" in text) is (width == 100)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["completion bash", "--version", "--help"])
def test_a_full_disk_behind_stdout_is_said(command: str, unbuffered: str) -> None:
    script = "from hyperion.cli.main import main; main()"

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, *command.split()],
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 9
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


LONG_ROW = ("description", "Reads one digit: a small network of 4,000 images.", "Reads one digit: trained much longer.")


def test_a_table_that_does_not_fit_loses_nothing() -> None:
    page = StringIO()
    console = Console(file=page, width=60, force_terminal=True, color_system=None, markup=False, highlight=False)

    render.table(console, ("  which", "before", "after"), [LONG_ROW])

    found = " ".join(page.getvalue().split())
    assert all(text in found for text in LONG_ROW)
    assert all(line.startswith("  ") for line in page.getvalue().splitlines() if line.strip())


def test_a_table_that_fits_exactly_stays_a_table() -> None:
    page = StringIO()
    needed = sum(map(len, LONG_ROW[:-1])) + render.NARROWEST_LAST + render.GAP * len(LONG_ROW)
    console = Console(file=page, width=needed, force_terminal=True, color_system=None, markup=False, highlight=False)

    render.table(console, ("which", "before", "after"), [LONG_ROW])

    assert "─" in page.getvalue()
    assert all(text in page.getvalue() for text in LONG_ROW[:-1])
    assert all(len(line) <= needed for line in page.getvalue().splitlines())
