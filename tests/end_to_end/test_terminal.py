"""What a person sees on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.end_to_end.conftest import Live
from tests.end_to_end.shell import Shell

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def text_of(drawn: str) -> str:
    return CONTROL.sub("", drawn)


def test_packaging_shows_its_stages_and_a_summary(workspace: Shell, tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07[red]x[/]"

    code, drawn = workspace.terminal(
        "package", "model", "--input", "model_dir", "--output", tmp_path / "f.hyperion", "--author", hostile
    )

    assert code == 0, drawn
    assert "Writing: done" in text_of(drawn)
    assert "packaged test-mlp 1.0.0" in text_of(drawn)
    assert "owned" not in COLOUR.sub("", drawn)


def test_no_color_is_heard(workspace: Shell) -> None:
    code, drawn = workspace.terminal("verify", "integrity", "model.hyperion", NO_COLOR="1")

    assert code == 0
    assert not re.search(r"\x1b\[(\d+;)*3\d", drawn)
    assert "ok: 3 passed" in text_of(drawn)


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_pages_fit_a_terminal_of_any_width(live: Live, columns: int) -> None:
    for words in (["status"], ["history", "current_model"], ["inspect", "model.hyperion"]):
        code, drawn = live.shell.terminal(*words, columns=columns)

        assert code == 0, drawn
        assert "current_model" in text_of(drawn).replace("\n", "") or words[0] == "inspect"
        tables = [line for line in text_of(drawn).splitlines() if "─" in line]
        assert all(len(line) <= columns for line in tables)


def test_monitor_model_draws_one_view_again_and_again(live: Live) -> None:
    code, drawn = live.shell.terminal(
        "monitor", "model", "--model", "model.hyperion", "--interval", "0.3", "--count", "2"
    )

    assert code == 0, drawn
    assert "latency_p95_ms" in text_of(drawn)
    assert "{" not in drawn
    assert "\x1b[1A" in drawn  # the cursor goes up to draw over the view before


@pytest.mark.parametrize(("what", "heading"), [("performance", "p95 ms"), ("resources", "resident")])
def test_monitor_rounds_are_rows_under_one_heading(live: Live, what: str, heading: str) -> None:
    code, drawn = live.shell.terminal("monitor", what, "--model", "model.hyperion", "--interval", "0.3", "--count", "2")

    assert code == 0, drawn
    assert drawn.count(heading) == 1
    assert len(re.findall(r"^\d\d:\d\d:\d\dZ ", text_of(drawn), re.MULTILINE)) == 2


def test_monitor_errors_says_when_there_are_none(live: Live, tmp_path: Path) -> None:
    words = ("monitor", "errors", "--model", "model.hyperion", "--log", tmp_path / "errors.log", "--interval", "0.2")

    code, drawn = live.shell.terminal(*words, "--count", "2")

    assert code == 0, drawn
    assert text_of(drawn).splitlines()[-1].endswith("no new errors")


def test_json_on_a_terminal_is_json(live: Live) -> None:
    code, drawn = live.shell.terminal("status", "--json")

    assert code == 0
    assert drawn.startswith("{")
    assert "\x1b" not in drawn
