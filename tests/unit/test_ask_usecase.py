"""ask_supervisor: an answer, none, or another than was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.domain.command import Status, StatusReply, Stopped
from hyperion.errors import HostError
from hyperion.usecases.ask import ask_supervisor, expect_reply


def test_a_running_supervisor_answers(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.control.running = True

    assert ask_supervisor(stage.host, Status(), StatusReply) == StatusReply(pid=4242, deployments=())


def test_without_a_supervisor_there_is_no_answer(tmp_path: Path) -> None:
    assert ask_supervisor(Stage(tmp_path).host, Status(), StatusReply) is None


@pytest.mark.parametrize(
    ("code", "answered"), [("supervisor.not_running", True), ("supervisor.gone", True), ("supervisor.timeout", False)]
)
def test_only_a_supervisor_that_ended_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, answered: bool
) -> None:
    stage = Stage(tmp_path)
    stage.control.running = True

    def fail(*_: object) -> None:
        raise HostError("no answer", code=code)

    monkeypatch.setattr(stage.control, "ask", fail)

    if answered:
        assert ask_supervisor(stage.host, Status(), StatusReply) is None
    else:
        with pytest.raises(HostError):
            ask_supervisor(stage.host, Status(), StatusReply)


def test_a_reply_of_another_kind_is_a_host_error() -> None:
    with pytest.raises(HostError) as refusal:
        expect_reply(Stopped(names=(), supervisor_ends=True), StatusReply)

    assert refusal.value.code == "supervisor.unexpected_reply"
    assert "Stopped" in refusal.value.message
