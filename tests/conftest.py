"""What holds for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine must not fail a law: time decides no test. CI repeats the same examples, people explore new ones.
settings.register_profile("hyperion", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("hyperion")

# These change how children behave, and differ between the machines of people and of CI: nobody's tests lean on them.
for variable in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "SHELL"):
    os.environ.pop(variable, None)

# A shell starts its background jobs with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever touches the state of the person who runs it."""
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "hyperion-home"))
