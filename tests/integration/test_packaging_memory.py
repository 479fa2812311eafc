"""Packaging needs memory for its work, not for the model."""

from __future__ import annotations

import pytest
from benchmarks.quantization.memory import MIB, measure

LIMIT_BYTES = 400 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["none", "int8", "w4"])
def test_a_model_larger_than_the_limit_is_packaged_within_it(scheme: str) -> None:
    found = measure(600_000_000, scheme)

    assert int(str(found["model_bytes"])) > LIMIT_BYTES
    assert int(str(found["above_import_bytes"])) < LIMIT_BYTES
