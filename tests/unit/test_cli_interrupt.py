"""Ctrl-C once the answer is out: the work is done, and the exit code says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from hyperion.cli import main
from hyperion.cli.render import answer


@pytest.fixture
def handled() -> Iterator[None]:
    """Ctrl-C as the command line takes it."""
    before = signal.signal(signal.SIGINT, main._end)
    yield
    signal.signal(signal.SIGINT, before)
    main._received.clear()


@pytest.mark.usefixtures("handled")
def test_ctrl_c_after_the_answer_interrupts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"rows": 1}, True, lambda *_: None)

    signal.raise_signal(signal.SIGINT)

    assert '"rows": 1' in capsys.readouterr().out


@pytest.mark.usefixtures("handled")
def test_ctrl_c_before_it_does() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
