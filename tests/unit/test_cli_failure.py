"""One handler turns every error into a message and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from hyperion.cli import failure, main
from hyperion.cli.exit_codes import INTERRUPTED
from hyperion.cli.main import run
from hyperion.errors import ConfigError, DigestMismatchError, NotFoundError, Problem

BROKEN = DigestMismatchError(
    "model.hyperion: weights/layer0.weights is not what the manifest says",
    entry="weights/layer0.weights",
    expected="sha256:aa",
    actual="sha256:bb",
    hint="fetch the package again",
)


def test_what_the_message_says_already_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    failure.report(
        DigestMismatchError("expected sha256:aa, found sha256:bb", expected="sha256:aa", actual="sha256:bb"), []
    )

    assert capsys.readouterr().err.count("sha256:aa") == 1


def test_an_error_says_what_where_expected_found_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    code = failure.report(BROKEN, ["deploy", "model"])

    page = capsys.readouterr()
    assert code == 3
    assert page.out == ""
    assert page.err == (
        "error: model.hyperion: weights/layer0.weights is not what the manifest says\n"
        "  entry:    weights/layer0.weights\n"
        "  expected: sha256:aa\n"
        "  found:    sha256:bb\n"
        "hint: fetch the package again\n"
        "code: package.digest_mismatch\n"
    )


def test_under_json_the_error_is_an_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    failure.report(BROKEN, ["deploy", "model", "--json"])

    page = capsys.readouterr()
    assert page.err == ""
    assert json.loads(page.out) == {"error": {**BROKEN.details(), "exit_code": 3}}


def test_problems_that_the_message_leaves_out_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem("serve.port", "input should be an integer"), Problem("workrs", "unknown key")]

    failure.report(ConfigError("deployment.json: workrs: unknown key", problems=problems), ["deploy"])

    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  - serve.port: input should be an integer"
    assert sum("workrs" in text for text in lines) == 1


def test_a_newline_in_a_name_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    failure.report(NotFoundError("there is no package at a\nhint: run this", hint="check b\nc"), ["inspect"])

    assert capsys.readouterr().err.splitlines()[:2] == [
        "error: there is no package at a\\nhint: run this",
        "hint: check b\\nc",
    ]


def test_an_unexpected_exception_is_a_bug_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYPERION_DEBUG", raising=False)

    code = failure.report(KeyError("\x1b[2Jboom"), ["status"])

    text = capsys.readouterr().err
    assert code == 70
    assert "unexpected KeyError" in text
    assert "HYPERION_DEBUG=1" in text
    assert "Traceback" not in text
    assert "\x1b" not in text


def test_the_traceback_comes_with_the_debug_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERION_DEBUG", "1")
    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        failure.report(error, ["status"])

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_memory_that_runs_out_is_the_host_not_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.report(MemoryError(), ["status", "--json"]) == 9
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "host.memory"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["package", "model"], ["deploy", "model", "--nonsense"], ["version", "update", "x"], ["stop"]],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_points_to_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_wrong_usage_under_json_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "model", "--json"]) == 2

    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert "--input" in error["message"]


@pytest.mark.parametrize("arguments", [[], ["verify"]], ids=["hyperion", "verify"])
def test_a_verb_alone_shows_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2

    page = capsys.readouterr()
    assert page.out == ""
    assert page.err.startswith("Usage: hyperion")
    assert "error:" not in page.err


@pytest.mark.parametrize(("typed", "meant"), [(["packge"], "package"), (["verify", "modle"], "model")], ids=str)
def test_a_mistyped_command_is_told_what_it_may_mean(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == 2

    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


def test_json_after_a_double_dash_is_a_word_not_a_flag() -> None:
    assert not failure.wants_json(["inspect", "--", "--json"])
    assert failure.wants_json(["inspect", "x", "--json"])


def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperion.cli.root.root.main", interrupt)

    assert run(["status"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("arguments", [["--help"], ["platform", "probe"], ["completion", "bash"]], ids=" ".join)
def test_a_reader_that_went_away_is_no_answer_no(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as closed:
        done = subprocess.run(
            [sys.executable, "-m", "hyperion", *arguments], stdout=closed, stderr=subprocess.PIPE, check=False
        )

    assert (done.returncode, done.stderr) == (141, b"")


def test_an_error_that_ctrl_c_was_turned_into_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_received", [signal.SIGINT])

    assert main.run(["no-such-command"]) == INTERRUPTED


def test_an_error_that_sigterm_was_turned_into_ends_as_sigterm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_received", [signal.SIGTERM])

    with pytest.raises(SystemExit) as ended:
        main.run(["no-such-command"])

    assert ended.value.code == 143


def test_an_empty_path_is_wrong_usage_and_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["inspect", ""])

    assert code == 2
    assert "a path was expected, found nothing" in capsys.readouterr().err
