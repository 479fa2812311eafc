"""Packaging that cannot come to its end leaves nothing half-written: bad calibration data, a full disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.models import FEATURES, mlp, write_model_dir
from tests.packaging import pack, packaging_host
from tests.small_disk import small_disk

from hyperion.adapters.dataset.reading import LocalDatasets
from hyperion.errors import HostError, HyperionError
from hyperion.usecases.packaging import BudgetOptions

Write = Callable[[Path], object]


def rows(values: np.ndarray) -> Write:
    return lambda folder: np.savez(folder / "part0.npz", x=values, label=np.zeros(len(values), np.int64))


GOOD = np.random.default_rng(0).normal(size=(400, FEATURES)).astype(np.float32)
BAD: dict[str, Write] = {
    "no file": lambda folder: None,
    "no rows": rows(GOOD[:0]),
    "another shape": rows(GOOD[:, :5]),
    "another type": rows(GOOD.astype(np.complex64)),
    "NaN": rows(np.where(np.arange(400)[:, None] == 17, np.float32(np.nan), GOOD)),
    "no array file": lambda folder: (folder / "part0.npz").write_bytes(b"PK\3\4" + bytes(100)),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_calibration_data_is_a_typed_error_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    model, data, output = write_model_dir(tmp_path / "model"), tmp_path / "data", tmp_path / "out"
    data.mkdir()
    output.mkdir()
    BAD[kind](data)
    host = replace(packaging_host(tmp_path / "state"), datasets=LocalDatasets())

    with pytest.raises(HyperionError) as caught:
        pack(model, output / "m.hyperion", "static-int8", host=host, budget=BudgetOptions(dataset=data))

    assert caught.value.code
    assert list(output.iterdir()) == []


def test_a_disk_that_fills_while_packaging_keeps_the_old_package(tmp_path: Path) -> None:
    model = write_model_dir(tmp_path / "model", model=mlp(0, hidden=16_000), golden=False)
    with small_disk(tmp_path / "disk", "2m") as disk:
        old = disk / "m.hyperion"
        pack(write_model_dir(tmp_path / "small"), old, "none", host=packaging_host(tmp_path / "state"))
        before = old.read_bytes()

        with pytest.raises(HostError):
            pack(model, old, "none", host=packaging_host(tmp_path / "state"))

        assert old.read_bytes() == before
        assert [path.name for path in disk.iterdir()] == ["m.hyperion"]
