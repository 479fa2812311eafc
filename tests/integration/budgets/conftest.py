"""What accuracy budgets are tried on: a model, data that it was not made for, and a host."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.checks_host import checks_host
from tests.models import mlp, write_dataset, write_model_dir

from hyperion.ports import Host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_dir(tmp_path / "model", model=mlp(0, hidden=128), golden=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """400 rows, labelled as the float model of 64 hidden units answers; so another one is mostly wrong."""
    return write_dataset(tmp_path / "data", rows=400)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "state").mkdir()
    return checks_host(tmp_path / "state")
