"""Packages that several integration tests deploy; made once, since they never change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import models
from tests.serving_kit import golden_bytes, make_package, rewritten
from tests.worker_kit import Pair, pair_of_workers


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``.hyperion`` files.

    v1, v2; plain (no golden requests); slow (tens of milliseconds for 2,000 rows); unsteady (answers NaN, and its
    golden request says so); wrong and nan (their golden requests expect what v1 answers).
    """
    folder = tmp_path_factory.mktemp("packages")
    make_package(folder, "v1", seed=0)
    make_package(folder, "v2", seed=1, version="1.1.0")
    make_package(folder, "plain", seed=0, golden=False)
    x = models.inputs()
    fine = models.expected(models.mlp(0), x)
    golden = "assets/golden/sample.safetensors"
    rewritten(folder / "v2.hyperion", folder / "wrong.hyperion", {golden: golden_bytes(x, fine)})
    unsteady = make_package(folder, "unsteady", model=models.mlp(0, nan=True))
    make_package(folder, "slow", model=models.mlp(0, hidden=8192))
    rewritten(unsteady, folder / "nan.hyperion", {golden: golden_bytes(x, fine)})
    return folder


@pytest.fixture(scope="session")
def worker_pair(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two workers on one listening socket, v1 and v2, without a supervisor."""
    with pair_of_workers(tmp_path_factory.mktemp("pair"), packages) as pair:
        yield pair
